/* http_client.h -- many HTTP exchanges at once (libcurl multi inside, driven by the loop).
 *
 * Redirects are never followed here. TLS is always verified. Callbacks of libcurl only append;
 * ended() is called from the loop's turn hook, never inline, and may send and cancel.
 * Transfers are spread over multi handles of a few hundred each; a
 * target's connections are reused, and shared by many requests where the server speaks HTTP/2. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "core/outcome.h"

struct loop;
struct http_client;
struct http_target;
struct http_request;

struct http_client_options {
    const char *ca_file;     /* PEM bundle instead of the system's; NULL: the system's */
    const char *user_agent;
    unsigned in_flight_hint; /* expected requests in flight: sizes connection caches and descriptors */
    bool http2;              /* requests share connections where the server speaks HTTP/2 */
};

/* Fails when the certificates cannot be read. */
MUST_USE struct http_client *http_client_new(struct loop *loop, const struct http_client_options *o, struct err *err);
void http_client_free(struct http_client *c); /* cancels what is in flight */

/* What is the same for every request to an endpoint: parsed once. */
struct http_header { const char *name, *value; };
struct http_target_options {
    const char *url;                    /* checked already; copied */
    const struct http_header *headers;  /* copied; Content-Type: application/json is added to POSTs unless there */
    size_t header_count;
    const char *proxy;                  /* NULL: none, the environment is not looked at */
    int64_t connect_us;
    size_t max_body_bytes;
};
MUST_USE struct http_target *http_target_new(struct http_client *c, const struct http_target_options *o,
                                             struct err *err);
void http_target_free(struct http_target *t); /* when none of its requests is in flight */

struct http_send {
    struct http_target *target;
    const char *url;         /* instead of the target's; NULL: the target's. Borrowed until ended */
    bool post;
    bool without_headers;    /* none of the target's headers: another origin */
    struct str body;         /* borrowed until ended */
    const char *trace_id;    /* X-Trace-Id; NULL: none; borrowed until ended */
    int64_t timeout_us;      /* of the whole exchange; 0: none (the engine has its own deadlines) */
    /* r and what it points to live until ended() returns. */
    void (*ended)(void *ctx, const struct response *r);
    void *ctx;
};
/* Never fails: errors come by ended(). */
struct http_request *http_send(struct http_client *c, const struct http_send *s);
void http_cancel(struct http_request *q); /* closes the connection (HTTP/2: resets the stream); ended() is not called */

#endif
