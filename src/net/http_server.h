/* http_server.h -- an HTTP/1.1 server inside the loop (libmicrohttpd inside).
 *
 * A request is handed over whole, body included. The handler answers at once or
 * later; while it is parked, a client that closes its connection is noticed. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct loop;
struct http_server;
struct http_call;

struct http_server_options {
    const char *address;      /* "127.0.0.1"; an IPv4 or IPv6 literal */
    uint16_t port;            /* 0: any free one */
    size_t max_body_bytes;    /* a larger body is answered 413 */
    unsigned max_connections; /* further ones are closed */
    int64_t idle_us;          /* a connection silent this long, between requests or inside one, is closed; not while
                               * its call is parked */
    int64_t request_us;       /* a connection that has not sent its first or next request whole in this time is closed,
                               * whether silent or slow; 0: no such limit */
    /* Called once the whole request is there. Answer with one of the http_reply functions, now or later. */
    void (*handle)(void *ctx, struct http_call *call);
    /* The same for a request whose body was over the limit and is not there; NULL: 413 in plain text. */
    void (*too_large)(void *ctx, struct http_call *call);
    /* The client closed its connection before the reply; the call is gone when this returns. May be NULL. */
    void (*abandoned)(void *ctx, struct http_call *call);
    void *ctx;
};

MUST_USE struct http_server *http_server_new(struct loop *loop, const struct http_server_options *o, struct err *err);
void http_server_free(struct http_server *s);   /* closes every connection; open calls get abandoned() */
uint16_t http_server_port(const struct http_server *s);

const char *http_call_method(const struct http_call *c);
const char *http_call_path(const struct http_call *c);                      /* decoded, without the query */
const char *http_call_query(const struct http_call *c, const char *name);   /* decoded; NULL: not there */
const char *http_call_header(const struct http_call *c, const char *name);  /* NULL: not there */
struct str http_call_body(const struct http_call *c);
void *http_call_server_ctx(const struct http_call *c);                      /* of the server's options */
void http_call_set_user(struct http_call *c, void *user);
void *http_call_user(const struct http_call *c);

struct http_reply_header { const char *name, *value; };
/* The call is gone after each of these. */
void http_reply(struct http_call *c, int status, const char *content_type, struct str body,
                const struct http_reply_header *headers, size_t header_count);
void http_reply_reset(struct http_call *c);      /* TCP RST instead of an answer */
/* Content-Length lies. */
void http_reply_truncated(struct http_call *c, int status, struct str body, size_t promised_bytes);

/* A reply that goes on: its head leaves now, then whatever is written. */
struct http_stream;
struct http_stream_options {
    size_t waiting_max_bytes;     /* a reader that leaves more than this unread is cut off; nobody waits for it */
    /* The client is gone, was cut off, or the server is freed; the stream is gone when this returns. Not after
     * http_stream_end(), and never from within a function of this header but http_server_free(). */
    void (*closed)(void *ctx, struct http_stream *stream);
    void *ctx;
};
struct http_stream *http_reply_stream(struct http_call *c, int status, const char *content_type,
                                      const struct http_reply_header *headers, size_t header_count,
                                      const struct http_stream_options *o);
void http_stream_write(struct http_stream *st, struct str data);
void http_stream_end(struct http_stream *st);    /* what was written still leaves; the stream is gone */

#endif
