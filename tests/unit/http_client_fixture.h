/* http_client_fixture.h -- the HTTP client before a server that can misbehave in every way: a stub of plain sockets on
 * the same loop, which counts connections and whole requests, and does with each request what its case says. */
#ifndef TESTS_HTTP_CLIENT_FIXTURE_H
#define TESTS_HTTP_CLIENT_FIXTURE_H

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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "net/http_client.h"
#include "net/loop.h"

enum { MAX_BODY = 1000, MANY = 1000 };

struct stub;

struct visitor {
    struct list link;
    struct stub *stub;
    int fd;
    struct loop_io *io;
    struct buf in;
    unsigned requests;
    bool holds;
};

struct stub {
    struct loop *loop;
    int fd;
    struct loop_io *io;
    uint16_t port;
    struct list visitors;
    unsigned connections, requests, closed;
    size_t bytes_in, bytes_out;
    struct buf last;                       /* the last whole request */
    void (*act)(struct visitor *v);        /* what to do with it */
    const char *reply;
    unsigned hold;                         /* act_hold: answer when so many have come */
    bool stop_on_close, stop_on_request;
};

static inline void visitor_free(struct visitor *v)
{
    list_unlink(&v->link);
    loop_io_free(v->io);
    close(v->fd);
    buf_done(&v->in);
    free(v);
}

/* The length of the whole request at the front of what came; 0: not there yet. */
static inline size_t whole_request(const struct buf *in)
{
    const char *end = in->len ? strstr(in->ptr, "\r\n\r\n") : NULL, *length;
    if (!end)
        return 0;
    size_t head = (size_t)(end - in->ptr) + 4, body = 0;
    length = strstr(in->ptr, "Content-Length: ");
    if (length && length < end)
        body = strtoul(length + 16, NULL, 10);
    return in->len >= head + body ? head + body : 0;
}

static inline void visitor_ready(void *ctx, int events)
{
    (void)events;
    struct visitor *v = ctx;
    struct stub *s = v->stub;
    static char part[65536];
    ssize_t n = recv(v->fd, part, sizeof part, MSG_DONTWAIT);
    if (n <= 0) {
        s->closed++;
        visitor_free(v);
        if (s->stop_on_close)
            loop_stop(s->loop);
        return;
    }
    s->bytes_in += (size_t)n;
    buf_add(&v->in, part, (size_t)n);
    size_t len = whole_request(&v->in);
    if (!len)
        return;
    assert_int_equal(len, v->in.len); /* nobody pipelines */
    s->requests++;
    v->requests++;
    buf_clear(&s->last);
    buf_add(&s->last, v->in.ptr, len);
    buf_clear(&v->in);
    if (s->stop_on_request)
        loop_stop(s->loop);
    s->act(v);
}

static inline void visitor_comes(void *ctx, int events)
{
    (void)events;
    struct stub *s = ctx;
    struct visitor *v = mem_zalloc(sizeof *v);
    v->stub = s;
    v->fd = accept(s->fd, NULL, NULL);
    assert_true(v->fd >= 0);
    setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    buf_init(&v->in, 4 << 20);
    list_push(&s->visitors, &v->link);
    v->io = loop_io_new(s->loop, v->fd, LOOP_READ, visitor_ready, v);
    s->connections++;
}

static inline void tell(struct visitor *v, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(v->fd, text, len, MSG_NOSIGNAL), len);
    v->stub->bytes_out += len;
}

static inline void act_reply(struct visitor *v)
{
    tell(v, v->stub->reply);
}

static inline void act_silent(struct visitor *v)
{
    (void)v;
}

static inline void act_close(struct visitor *v)
{
    visitor_free(v);
}

static inline void act_reply_and_close(struct visitor *v)
{
    tell(v, v->stub->reply);
    visitor_free(v);
}

static inline void act_reset(struct visitor *v)
{
    setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    visitor_free(v);
}

static inline void act_second_dies(struct visitor *v)
{
    if (v->requests == 2)
        act_close(v);
    else
        act_reply(v);
}

static inline void act_second_reset(struct visitor *v)
{
    if (v->requests == 2)
        act_reset(v);
    else
        act_reply(v);
}

static inline void act_hold(struct visitor *v)
{
    struct stub *s = v->stub;
    v->holds = true;
    if (s->requests % s->hold)
        return;
    LIST_EACH(it, &s->visitors) {
        struct visitor *waiting = container_of(it, struct visitor, link);
        if (waiting->holds)
            tell(waiting, s->reply);
        waiting->holds = false;
    }
}

/* ---- the scene: a loop, a stub, a client, a target ---- */

struct answer_seen {
    struct scene *scene;
    unsigned count;
    struct response r;
    char *body, *detail, *location, *retry_after;
    int64_t sent_us, ended_us;
};

struct scene {
    struct loop *loop;
    struct stub stub;
    struct http_client *client;
    struct http_target *target;
    unsigned awaited, answered;
    unsigned by_wire[WIRE_BAD + 1];
};

#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static inline int listen_somewhere(uint16_t *port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static inline struct http_target *target_at(struct scene *sc, uint16_t port, int64_t connect_us)
{
    static const struct http_header headers[] = {{"Authorization", "Bearer s3cret"}, {"X-Empty", ""}};
    char url[64];
    struct err err;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/a/b?c=1", (unsigned)port);
    struct http_target_options o = {.url = url, .headers = headers, .header_count = ARRAY_LEN(headers),
                                    .connect_us = connect_us, .max_body_bytes = MAX_BODY};
    struct http_target *t = http_target_new(sc->client, &o, &err);
    assert_non_null(t);
    return t;
}

static inline void scene_open(struct scene *sc, void (*act)(struct visitor *v), const char *reply)
{
    memset(sc, 0, sizeof *sc);
    struct stub *s = &sc->stub;
    sc->loop = s->loop = loop_new();
    s->fd = listen_somewhere(&s->port, 4096);
    s->io = loop_io_new(s->loop, s->fd, LOOP_READ, visitor_comes, s);
    list_init(&s->visitors);
    buf_init(&s->last, 4 << 20);
    s->act = act;
    s->reply = reply;
    struct err err;
    struct http_client_options o = {.user_agent = "canvass-test", .in_flight_hint = MANY};
    sc->client = http_client_new(sc->loop, &o, &err);
    assert_non_null(sc->client);
    sc->target = target_at(sc, s->port, 10 * SECOND_US);
}

static inline void scene_close(struct scene *sc)
{
    http_target_free(sc->target);
    http_client_free(sc->client);
    while (!list_empty(&sc->stub.visitors))
        visitor_free(container_of(sc->stub.visitors.next, struct visitor, link));
    loop_io_free(sc->stub.io);
    close(sc->stub.fd);
    buf_done(&sc->stub.last);
    loop_free(sc->loop);
}

static inline void seen_done(struct answer_seen *a)
{
    free(a->body);
    free(a->detail);
    free(a->location);
    free(a->retry_after);
}

static inline void count_answer(struct scene *sc, const struct response *r)
{
    sc->by_wire[r->wire]++;
    if (++sc->answered == sc->awaited)
        loop_stop(sc->loop);
}

static inline void keep_answer(void *ctx, const struct response *r)
{
    struct answer_seen *a = ctx;
    a->count++;
    a->ended_us = loop_now_us(a->scene->loop);
    a->r = *r;
    a->body = mem_strndup(r->body.ptr, r->body.len);
    a->detail = mem_strdup(r->detail);
    a->location = mem_strdup(r->location);
    a->retry_after = mem_strdup(r->retry_after);
    count_answer(a->scene, r);
}

static inline void only_count(void *ctx, const struct response *r)
{
    count_answer(ctx, r);
}

/* Sends one request and runs the loop to its end. */
static inline void ask(struct scene *sc, const struct http_send *what, struct answer_seen *a)
{
    struct http_send s = *what;
    memset(a, 0, sizeof *a);
    a->scene = sc;
    if (!s.target)
        s.target = sc->target;
    s.ended = keep_answer;
    s.ctx = a;
    sc->answered = 0;
    sc->awaited = 1;
    a->sent_us = loop_now_us(sc->loop);
    http_send(sc->client, &s);
    assert_int_equal(a->count, 0); /* never inline */
    loop_run(sc->loop);
    assert_int_equal(a->count, 1);
}

static inline void post(struct scene *sc, struct answer_seen *a)
{
    ask(sc, &(struct http_send){.post = true, .body = STR("{\"q\":1}")}, a);
}

static inline bool sent_line(struct scene *sc, const char *line)
{
    char whole[512];
    snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
    const char *at = strstr(sc->stub.last.ptr, whole);
    return at && at < strstr(sc->stub.last.ptr, "\r\n\r\n") + 2;
}

#endif
