#include "net/http_client_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/timeutil.h"

enum { DEFAULT_CONNECT_S = 10 };

static const struct http_header *find_header(const struct http_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(headers[i].name, name) == 0)
            return &headers[i];
    return NULL;
}

/* RFC 9110, 5.1 and 5.5. What passes here cannot end the header early. */
static bool check_headers(const struct http_target_options *o, struct err *err)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (size_t i = 0; i < o->header_count; i++) {
        const struct http_header *h = &o->headers[i];
        if (!h->name[0] || h->name[strspn(h->name, token)])
            return err_set(err, ERR_CONFIG, "'%s' is not a header's name (%s): use letters, digits and '-'", h->name,
                           o->url);
        if (strpbrk(h->value, "\r\n"))
            return err_set(err, ERR_CONFIG, "the value of header %s holds a line break (%s): remove it", h->name,
                           o->url);
    }
    return true;
}

static struct curl_slist **append(struct curl_slist **tail, char *line)
{
    struct curl_slist *node = mem_zalloc(sizeof *node);
    node->data = line;
    *tail = node;
    return &node->next;
}

void http_chain_build(struct http_chain *chain, const char *user_agent, const struct http_header *headers,
                      size_t count)
{
    struct curl_slist **tail = &chain->for_post;
    if (!find_header(headers, count, "Content-Type"))
        tail = append(tail, mem_strdup("Content-Type: application/json"));
    /* Else libcurl asks for permission before a large body, and waits a second for it. */
    if (!find_header(headers, count, "Expect"))
        tail = append(tail, mem_strdup("Expect:"));
    struct curl_slist **shared = tail;
    if (user_agent && !find_header(headers, count, "User-Agent"))
        tail = append(tail, mem_printf("User-Agent: %s", user_agent));
    for (size_t i = 0; i < count; i++) {
        const struct http_header *h = &headers[i];
        /* "NAME:" would remove a header; "NAME;" is libcurl's way to send an empty one. */
        tail = append(tail, h->value[0] ? mem_printf("%s: %s", h->name, h->value) : mem_printf("%s;", h->name));
    }
    chain->for_get = *shared;
}

void http_chain_done(struct http_chain *chain)
{
    while (chain->for_post) {
        struct curl_slist *node = chain->for_post;
        chain->for_post = node->next;
        free(node->data);
        free(node);
    }
    chain->for_get = NULL;
}

struct http_target *http_target_new(struct http_client *c, const struct http_target_options *o, struct err *err)
{
    if (!check_headers(o, err))
        return NULL;
    CURLU *url = curl_url();
    if (!url)
        abort(); /* out of memory */
    char *scheme = NULL;
    CURLUcode code = curl_url_set(url, CURLUPART_URL, o->url, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    bool tls = scheme && strcmp(scheme, "https") == 0;
    if (code != CURLUE_OK || (!tls && strcmp(scheme, "http") != 0)) {
        err_set(err, ERR_CONFIG, "not a usable URL, %s (%s): give an absolute http or https URL",
                code == CURLUE_OK ? "another scheme" : curl_url_strerror(code), o->url);
        curl_free(scheme);
        curl_url_cleanup(url);
        return NULL;
    }
    curl_free(scheme);

    struct http_target *t = mem_zalloc(sizeof *t);
    t->client = c;
    t->url = url;
    t->url_text = mem_strdup(o->url);
    t->multiplex = tls && c->http2;
    t->proxy = mem_strdup(o->proxy);
    t->connect_us = o->connect_us > 0 ? o->connect_us : DEFAULT_CONNECT_S * SECOND_US;
    t->max_body_bytes = o->max_body_bytes;
    t->home = http_shard_home(c);
    list_init(&t->connecting);
    list_push(&c->targets, &t->link);
    http_chain_build(&t->chain, c->user_agent, o->headers, o->header_count);
    return t;
}

void http_target_free(struct http_target *t)
{
    if (!t)
        return;
    assert(t->in_flight == 0);
    if (t->client)
        t->home->targets--;
    list_unlink(&t->link);
    http_chain_done(&t->chain);
    curl_url_cleanup(t->url);
    free(t->url_text);
    free(t->proxy);
    free(t);
}
