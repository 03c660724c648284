#include "net/http_client_internal.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* libcurl reads the certificates anew for every multi handle (and, with a folder set, for every
 * connection: 14 ms and 0.9 MB each). Here they are read once, and every connection borrows the store. */

bool http_trust_load(struct http_client *c, const char *ca_file, struct err *err)
{
    const char *ssl = curl_version_info(CURLVERSION_NOW)->ssl_version;
    if (!ssl || strncmp(ssl, "OpenSSL/", 8) != 0)
        return err_set(err, ERR_SYSTEM, "libcurl is built with %s (TLS): install the OpenSSL flavour of libcurl",
                       ssl ? ssl : "no TLS");

    X509_STORE *store = X509_STORE_new();
    if (!store)
        return err_set(err, ERR_SYSTEM, "no certificate store (OpenSSL): close other programs");
    bool ok = ca_file ? X509_STORE_load_file(store, ca_file) == 1 : X509_STORE_set_default_paths(store) == 1;
    unsigned long why = ERR_get_error();
    ERR_clear_error();
    if (!ok) {
        X509_STORE_free(store);
        const char *reason = ERR_reason_error_string(why);
        return err_set(err, ERR_CONFIG, "cannot read certificates, %s (%s): give a PEM file with certificates",
                       reason ? reason : "unknown reason", ca_file ? ca_file : "the system's");
    }
    /* A listed intermediate is trusted without its root, as libcurl does it. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
    c->trust = store;
    return true;
}

/* The system's certificates take a fifth of a second of a short run: they are read when the first
 * connection needs them. */
static CURLcode lend_store(CURL *easy, void *ssl_ctx, void *ctx)
{
    struct http_client *c = ctx;
    (void)easy;
    if (!c->trust && !http_trust_load(c, NULL, NULL))
        return CURLE_SSL_CACERT_BADFILE;
    SSL_CTX_set1_cert_store(ssl_ctx, c->trust);
    return CURLE_OK;
}

void http_trust_use(struct http_client *c, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, lend_store);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, c);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
}

void http_trust_done(struct http_client *c)
{
    X509_STORE_free(c->trust);
    c->trust = NULL;
}
