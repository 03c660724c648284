/* http_client_internal.h -- what the files of the HTTP client share.
 *
 * A request is in exactly one list: of its shard while libcurl has it, `done` between its end inside libcurl and
 * ended(), `spare` between two uses. The easy handle lives as long as the request and keeps the settings that are the
 * same for all. */
#ifndef NET_HTTP_CLIENT_INTERNAL_H
#define NET_HTTP_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "net/http_client.h"
#include "net/loop.h"

struct x509_store_st; /* OpenSSL's X509_STORE */

/* Header lines, shared by all requests of a target: what only a POST has comes first. */
struct http_chain {
    struct curl_slist *for_post;
    struct curl_slist *for_get;         /* points into for_post */
};

struct http_client {
    struct loop *loop;
    struct loop_hook hook;
    struct loop_task kick;              /* posted while shards are in `kicked` or requests in `done` */
    struct list kicked;                 /* shards that libcurl wants to be called at once */
    struct list touched;                /* shards that may have finished transfers */
    struct list done;
    struct list spare;
    struct list targets;
    unsigned in_use, spare_count;       /* requests */
    struct http_shard **shards;
    unsigned shard_count, shards_wanted;
    bool http2;
    struct loop_timer *connect_timer;
    CURLSH *share;                      /* names and TLS sessions, one cache for all shards */
    struct x509_store_st *trust;
    int64_t connect_due_us;             /* when it fires; NEVER_US: nobody waits */
    char *user_agent;
    struct http_chain bare;             /* of requests that go without their target's headers */
    bool inside;                        /* libcurl is on the stack: it may not be entered again */
    bool ending;                        /* an ended() is on the stack */
};

/* One multi handle. */
struct http_shard {
    struct http_client *client;
    CURLM *multi;
    struct loop_timer *timer;
    struct loop_timer *nudge;           /* runs while requests that share connections are in flight */
    bool nudging;
    struct list kick_link, touch_link;
    struct list requests;
    unsigned in_flight, targets;
};

struct http_target {
    struct http_client *client;         /* NULL: the client is gone */
    struct list link;
    struct list connecting;             /* requests without a connection, oldest first */
    struct http_shard *home;
    unsigned in_flight;
    CURLU *url;
    char *url_text;
    bool multiplex;                     /* HTTP/2, as far as is known: requests share connections */
    char *proxy;
    int64_t connect_us;
    size_t max_body_bytes;
    struct http_chain chain;
};

enum request_state { REQUEST_SPARE, REQUEST_FLYING, REQUEST_DONE, REQUEST_ENDING };

struct http_request {
    struct list link;
    struct list connect_link;           /* in the target's `connecting` */
    enum request_state state;
    CURL *easy;
    struct http_shard *shard;
    struct http_target *target;
    bool post;
    bool has_proxy;                     /* the handle, from one request to the next */
    int64_t timeout_us, sent_us;
    void (*ended)(void *ctx, const struct response *r);
    void *ctx;

    struct curl_slist trace;            /* in front of the target's chain */
    struct buf trace_line;
    struct buf answer;
    char *location, *retry_after;       /* as sent; location is made absolute at the end */
    size_t header_bytes;
    CURLcode code;
    bool began;                         /* has had a connection */
    bool repeat_refused;                /* libcurl was about to send a POST a second time */
    bool headers_complete, headers_too_large, fold_refused;
    unsigned head_lines;                /* of the head that is being read; the first is the status line */
    char error[CURL_ERROR_SIZE];
    char detail[2 * CURL_ERROR_SIZE];
};

/* ---- http_client_shard.c ---- */

/* The one to put a request of this target in; a new one when all are full. */
struct http_shard *http_shard_pick(struct http_target *t);
struct http_shard *http_shard_home(struct http_client *c);
void http_shard_free(struct http_shard *s);
void http_shard_add(struct http_shard *s, struct http_request *q);
void http_shard_remove(struct http_request *q);
/* Moves what has ended to client->done. */
void http_shard_drain(struct http_shard *s);
void http_shard_kick(struct http_shard *s);

/* ---- http_client_target.c ---- */

void http_chain_build(struct http_chain *chain, const char *user_agent, const struct http_header *headers,
                      size_t count);
void http_chain_done(struct http_chain *chain);

/* ---- http_client_request.c ---- */

struct http_request *http_request_get(struct http_client *c);
void http_request_put(struct http_client *c, struct http_request *q); /* back to the spare ones */
void http_request_free(struct http_request *q);
void http_request_prepare(struct http_request *q, const struct http_send *s);

/* ---- http_client_result.c ---- */

/* What became of q, once libcurl has let go of it. Points into q. */
void http_request_result(struct http_request *q, struct response *out);

/* ---- http_client_trust.c ---- */

MUST_USE bool http_trust_load(struct http_client *c, const char *ca_file, struct err *err);
void http_trust_use(struct http_client *c, CURL *easy);
void http_trust_done(struct http_client *c);

#endif
