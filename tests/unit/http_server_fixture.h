/* http_server_fixture.h -- a server whose handler does what the path says, and clients of plain sockets on the same
 * loop. */
#ifndef TESTS_HTTP_SERVER_FIXTURE_H
#define TESTS_HTTP_SERVER_FIXTURE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "net/http_server.h"
#include "net/loop.h"

enum { MAX_BODY = 1000, PARKED_MAX = 10000 };

struct house {
    struct loop *loop;
    struct http_server *server;
    struct http_call *parked[PARKED_MAX];
    unsigned parked_count, abandoned, handled;
    struct buf last;              /* what the last call looked like */
    bool stop_when_parked, stop_when_abandoned;
    struct http_stream *stream;
    unsigned streams_closed;
};

enum { STREAM_MAX = 256 * 1024 };

static inline void stream_closed(void *ctx, struct http_stream *stream)
{
    struct house *h = ctx;
    assert_ptr_equal(stream, h->stream);
    h->stream = NULL;
    h->streams_closed++;
    loop_stop(h->loop);
}

static inline void echo(struct house *h, struct http_call *c)
{
    struct str body = http_call_body(c);
    const char *q = http_call_query(c, "q"), *trace = http_call_header(c, "x-trace-id");
    buf_clear(&h->last);
    buf_addf(&h->last, "%s %s q=%s trace=%s body=%.*s", http_call_method(c), http_call_path(c), q ? q : "-",
             trace ? trace : "-", (int)body.len, body.ptr);
    struct http_reply_header extra[] = {{"Location", "/there"}, {"Retry-After", "7"}};
    http_reply(c, 200, "text/plain", buf_str(&h->last), extra, ARRAY_LEN(extra));
}

static inline void handle(void *ctx, struct http_call *c)
{
    struct house *h = ctx;
    const char *path = http_call_path(c);
    h->handled++;
    if (strcmp(path, "/park") == 0) {
        http_call_set_user(c, h);
        h->parked[h->parked_count++] = c;
        if (h->stop_when_parked)
            loop_stop(h->loop);
    } else if (strcmp(path, "/reset") == 0) {
        http_reply_reset(c);
    } else if (strcmp(path, "/cut") == 0) {
        http_reply_truncated(c, 200, STR("only this"), 100);
    } else if (strcmp(path, "/stream") == 0) {
        h->stream = http_reply_stream(c, 200, "text/event-stream", NULL, 0,
                                      &(struct http_stream_options){STREAM_MAX, stream_closed, h});
    } else if (strcmp(path, "/empty") == 0) {
        http_reply(c, 204, NULL, STR(""), NULL, 0);
    } else {
        echo(h, c);
    }
}

static inline void abandoned(void *ctx, struct http_call *c)
{
    struct house *h = ctx;
    assert_ptr_equal(http_call_user(c), h);
    assert_string_equal(http_call_path(c), "/park");
    for (unsigned i = 0; i < h->parked_count; i++)
        if (h->parked[i] == c)
            h->parked[i] = NULL;
    h->abandoned++;
    if (h->stop_when_abandoned)
        loop_stop(h->loop);
}

static inline void open_house(struct house *h, unsigned max_connections, int64_t idle_us)
{
    memset(h, 0, sizeof *h);
    h->loop = loop_new();
    buf_init(&h->last, 64 * 1024);
    struct http_server_options o = {.address = "127.0.0.1", .max_body_bytes = MAX_BODY,
                                    .max_connections = max_connections, .idle_us = idle_us, .handle = handle,
                                    .abandoned = abandoned, .ctx = h};
    struct err err;
    h->server = http_server_new(h->loop, &o, &err);
    assert_non_null(h->server);
    assert_true(http_server_port(h->server) != 0);
}

static inline void close_house(struct house *h)
{
    http_server_free(h->server);
    loop_free(h->loop);
    buf_done(&h->last);
}

/* ---- clients ---- */

struct client {
    struct house *house;
    int fd, error;
    struct loop_io *io;
    struct buf got;
    const char *awaited;
    size_t answers_awaited;
    bool closed;
};

static inline size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static inline void client_read(void *ctx, int events)
{
    (void)events;
    struct client *c = ctx;
    char part[4096];
    ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);
    if (n > 0) {
        buf_add(&c->got, part, (size_t)n);
    } else {
        c->closed = true;
        c->error = n < 0 ? errno : 0;
        loop_io_set(c->io, 0);
    }
    if (c->closed || (c->awaited && count_of(c->got.ptr, c->awaited) >= c->answers_awaited))
        loop_stop(c->house->loop);
}

static inline void dial(struct client *c, struct house *h)
{
    *c = (struct client){.house = h, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(http_server_port(h->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c->fd, (struct sockaddr *)&at, sizeof at), 0);
    c->io = loop_io_new(h->loop, c->fd, LOOP_READ, client_read, c);
    buf_init(&c->got, 1 << 20);
}

static inline void say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs the loop until `awaited` came `count` times or the connection is closed. */
static inline void hear_many(struct client *c, const char *awaited, size_t count)
{
    c->awaited = awaited;
    c->answers_awaited = count;
    loop_run(c->house->loop);
}

static inline void hear(struct client *c, const char *awaited)
{
    hear_many(c, awaited, 1);
}

static inline void hear_end(struct client *c)
{
    c->awaited = NULL;
    loop_run(c->house->loop);
    assert_true(c->closed);
}

static inline void hang_up(struct client *c)
{
    loop_io_free(c->io);
    c->io = NULL;
    close(c->fd);
    buf_done(&c->got);
}

#endif
