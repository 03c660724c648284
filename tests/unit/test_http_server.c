/* The HTTP server, seen from the other end of a socket: plain sockets as clients, all on one loop. */
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

static void stream_closed(void *ctx, struct http_stream *stream)
{
    struct house *h = ctx;
    assert_ptr_equal(stream, h->stream);
    h->stream = NULL;
    h->streams_closed++;
    loop_stop(h->loop);
}

static void echo(struct house *h, struct http_call *c)
{
    struct str body = http_call_body(c);
    const char *q = http_call_query(c, "q"), *trace = http_call_header(c, "x-trace-id");
    buf_clear(&h->last);
    buf_addf(&h->last, "%s %s q=%s trace=%s body=%.*s", http_call_method(c), http_call_path(c), q ? q : "-",
             trace ? trace : "-", (int)body.len, body.ptr);
    struct http_reply_header extra[] = {{"Location", "/there"}, {"Retry-After", "7"}};
    http_reply(c, 200, "text/plain", buf_str(&h->last), extra, ARRAY_LEN(extra));
}

static void handle(void *ctx, struct http_call *c)
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

static void abandoned(void *ctx, struct http_call *c)
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

static void open_house(struct house *h, unsigned max_connections, int64_t idle_us)
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

static void close_house(struct house *h)
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

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void client_read(void *ctx, int events)
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

static void dial(struct client *c, struct house *h)
{
    *c = (struct client){.house = h, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(http_server_port(h->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c->fd, (struct sockaddr *)&at, sizeof at), 0);
    c->io = loop_io_new(h->loop, c->fd, LOOP_READ, client_read, c);
    buf_init(&c->got, 1 << 20);
}

static void say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs the loop until `awaited` came `count` times or the connection is closed. */
static void hear_many(struct client *c, const char *awaited, size_t count)
{
    c->awaited = awaited;
    c->answers_awaited = count;
    loop_run(c->house->loop);
}

static void hear(struct client *c, const char *awaited)
{
    hear_many(c, awaited, 1);
}

static void hear_end(struct client *c)
{
    c->awaited = NULL;
    loop_run(c->house->loop);
    assert_true(c->closed);
}

static void hang_up(struct client *c)
{
    loop_io_free(c->io);
    c->io = NULL;
    close(c->fd);
    buf_done(&c->got);
}

/* ---- tests ---- */

static void test_requests_as_the_handler_sees_them(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *seen;
    } cases[] = {
        {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a q=- trace=- body="},
        {"GET /a%20b%2Fc?q=1%2B1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a b/c q=1+1 trace=- body="},
        {"DELETE /a?q= HTTP/1.1\r\nHost: x\r\nX-Trace-Id: t-1\r\n\r\n", "DELETE /a q= trace=t-1 body="},
        {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /p q=- trace=- body=hello"},
        {"PUT /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         "PUT /p q=- trace=- body=abcde"},
        {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST /p q=- trace=- body="},
    };
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    dial(&c, &h); /* one connection for all of them */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&c.got);
        say(&c, cases[i].sent);
        hear(&c, cases[i].seen);
        assert_false(c.closed);
        assert_string_equal(h.last.ptr, cases[i].seen);
        assert_non_null(strstr(c.got.ptr, "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(c.got.ptr, "\r\nContent-Type: text/plain\r\n"));
        assert_non_null(strstr(c.got.ptr, "\r\nLocation: /there\r\n"));
        assert_non_null(strstr(c.got.ptr, "\r\nRetry-After: 7\r\n"));
    }
    hang_up(&c);
    close_house(&h);
}

static void test_no_content(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    dial(&c, &h);
    say(&c, "GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    hear_end(&c);
    assert_non_null(strstr(c.got.ptr, "HTTP/1.1 204 "));
    assert_null(strstr(c.got.ptr, "Content-Type"));
    hang_up(&c);
    close_house(&h);
}

static void test_pipelined_requests(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    dial(&c, &h);
    say(&c, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(&c, "/3 q=");
    assert_int_equal(h.handled, 3);
    assert_int_equal(count_of(c.got.ptr, "HTTP/1.1 200"), 3);
    hang_up(&c);
    close_house(&h);
}

static void test_body_over_the_limit(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    char sent[4 * MAX_BODY];
    struct client c;

    dial(&c, &h); /* sent anyway, in one go */
    int head = snprintf(sent, sizeof sent, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", MAX_BODY + 1);
    memset(sent + head, 'b', MAX_BODY + 1);
    sent[head + MAX_BODY + 1] = '\0';
    say(&c, sent);
    hear(&c, "HTTP/1.1 413 ");
    assert_false(c.closed);
    hang_up(&c);

    dial(&c, &h); /* asks first */
    say(&c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    hear(&c, "\r\n\r\n");
    assert_memory_equal(c.got.ptr, "HTTP/1.1 413 ", 13);
    hang_up(&c);

    dial(&c, &h); /* exactly the limit */
    head = snprintf(sent, sizeof sent, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", MAX_BODY);
    memset(sent + head, 'b', MAX_BODY);
    sent[head + MAX_BODY] = '\0';
    say(&c, sent);
    hear(&c, "HTTP/1.1 200 ");
    assert_false(c.closed);
    hang_up(&c);
    assert_int_equal(h.handled, 1);
    close_house(&h);
}

static void test_headers_over_the_limit(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    static char sent[40000];
    int head = snprintf(sent, sizeof sent, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(sent + head, 'x', sizeof sent - (size_t)head - 1);
    memcpy(sent + sizeof sent - 5, "\r\n\r\n", 4);
    dial(&c, &h);
    say(&c, sent);
    hear_end(&c);
    assert_int_equal(h.handled, 0);
    hang_up(&c);
    close_house(&h);
}

static void test_parked_and_answered_later(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    h.stop_when_parked = true;
    struct client c;
    dial(&c, &h);
    for (int i = 0; i < 3; i++) { /* the connection stays usable */
        say(&c, "POST /park HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        loop_run(h.loop);
        assert_true(str_is(http_call_body(h.parked[i]), "hi"));
        http_reply(h.parked[i], 200, NULL, STR("late"), NULL, 0);
        h.parked[i] = NULL;
        buf_clear(&c.got);
        hear(&c, "late");
        assert_false(c.closed);
    }
    hang_up(&c);
    assert_int_equal(h.abandoned, 0);
    close_house(&h);
}

struct way_out {
    const char *name;
    bool half_close, with_unread_bytes, reset;
};

/* However the client goes away, the parked call is abandoned once. */
static void test_client_hangs_up(void **state)
{
    (void)state;
    static const struct way_out ways[] = {
        {.name = "close"},
        {.name = "shutdown", .half_close = true},
        {.name = "close behind a pipelined request", .with_unread_bytes = true},
        {.name = "reset", .reset = true},
    };
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    h.stop_when_parked = h.stop_when_abandoned = true;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        print_message("client goes by %s\n", ways[i].name);
        struct client c, other;
        dial(&c, &h);
        say(&c, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
        loop_run(h.loop);
        dial(&other, &h);
        say(&other, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
        loop_run(h.loop);
        if (ways[i].with_unread_bytes)
            say(&c, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
        if (ways[i].reset)
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        if (ways[i].half_close)
            shutdown(c.fd, SHUT_WR);
        else
            hang_up(&c);
        unsigned before = h.abandoned;
        while (h.abandoned == before)
            loop_run(h.loop);
        assert_int_equal(h.abandoned, before + 1);
        if (ways[i].half_close) {
            hear_end(&c);
            hang_up(&c);
        }
        struct http_call *rest = h.parked[h.parked_count - 1]; /* the other one is not touched */
        assert_non_null(rest);
        http_reply(rest, 200, NULL, STR("fine"), NULL, 0);
        h.parked_count = 0;
        hear(&other, "fine");
        assert_false(other.closed);
        hang_up(&other);
    }
    close_house(&h);
}

static void test_reset(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    h.stop_when_parked = true;
    struct client c;
    dial(&c, &h); /* at once */
    say(&c, "GET /reset HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_end(&c);
    assert_int_equal(c.error, ECONNRESET);
    assert_int_equal(c.got.len, 0);
    hang_up(&c);

    dial(&c, &h); /* after a while */
    say(&c, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    loop_run(h.loop);
    http_reply_reset(h.parked[0]);
    hear_end(&c);
    assert_int_equal(c.error, ECONNRESET);
    hang_up(&c);
    assert_int_equal(h.abandoned, 0);
    close_house(&h);
}

static void test_truncated(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    dial(&c, &h);
    say(&c, "GET /cut HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_end(&c);
    assert_int_equal(c.error, 0);
    assert_non_null(strstr(c.got.ptr, "Content-Length: 100\r\n"));
    assert_string_equal(c.got.ptr + c.got.len - 9, "only this");
    hang_up(&c);
    close_house(&h);
}

static void test_connections_over_the_limit(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 2, 10 * SECOND_US);
    struct client a, b, c;
    dial(&a, &h);
    say(&a, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(&a, "/a");
    dial(&b, &h);
    say(&b, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(&b, "/b");
    dial(&c, &h);
    hear_end(&c);
    hang_up(&c);

    hang_up(&a); /* room again, as soon as the server has seen it */
    bool served = false;
    while (!served) {
        dial(&c, &h);
        (void)!send(c.fd, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n", 28, MSG_NOSIGNAL);
        hear(&c, "/c");
        served = !c.closed;
        hang_up(&c);
    }
    hang_up(&b);
    close_house(&h);
}

/* Silence is ended, before and inside a request; a parked call may wait as long as it likes. */
static void test_idle_connections(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, SECOND_US);
    struct client silent, half, parked;
    dial(&parked, &h);
    say(&parked, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    dial(&silent, &h);
    dial(&half, &h);
    say(&half, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    hear_end(&silent);
    if (!half.closed)
        hear_end(&half);
    assert_false(parked.closed);
    assert_int_equal(h.parked_count, 1);
    http_reply(h.parked[0], 200, NULL, STR("still here"), NULL, 0);
    hear(&parked, "still here");
    assert_false(parked.closed);
    hang_up(&silent);
    hang_up(&half);
    hang_up(&parked);
    close_house(&h);
}

static void test_many_parked(void **state)
{
    (void)state;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    unsigned many = limit.rlim_cur > 2100 ? 1000 : ((unsigned)limit.rlim_cur - 100) / 2;
    static struct house h;
    open_house(&h, PARKED_MAX, 10 * SECOND_US);
    struct client *clients = mem_array(NULL, many, sizeof *clients);
    for (unsigned i = 0; i < many; i++) {
        dial(&clients[i], &h);
        say(&clients[i], "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    h.stop_when_parked = true;
    while (h.parked_count < many)
        loop_run(h.loop);
    h.stop_when_parked = false;
    for (unsigned i = 0; i < many; i += 2) /* half of them */
        http_reply(h.parked[i], 200, NULL, STR("done"), NULL, 0);
    unsigned answered = 0;
    for (unsigned i = 0; i < many; i++) {
        clients[i].awaited = "done";
        clients[i].answers_awaited = 1;
    }
    while (answered < (many + 1) / 2) {
        loop_run(h.loop);
        answered = 0;
        for (unsigned i = 0; i < many; i++)
            answered += clients[i].got.len > 0;
    }
    http_server_free(h.server); /* the others are abandoned */
    h.server = NULL;
    assert_int_equal(h.abandoned, many - answered);
    for (unsigned i = 0; i < many; i++)
        hang_up(&clients[i]);
    free(clients);
    close_house(&h);
}

static void test_new_says_what_is_wrong(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, SECOND_US);
    struct err err = {0};
    struct http_server_options o = {.address = "localhost", .max_connections = 1, .handle = handle, .ctx = &h};
    assert_null(http_server_new(h.loop, &o, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.text, "localhost"));
    o.address = "127.0.0.1";
    o.port = http_server_port(h.server);
    assert_null(http_server_new(h.loop, &o, &err));
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_non_null(strstr(err.text, "in use"));
    http_server_free(NULL);
    close_house(&h);
}

static void open_stream(struct client *c, struct house *h)
{
    dial(c, h);
    say(c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(c, "\r\n\r\n");
    assert_non_null(h->stream);
    assert_non_null(strstr(c->got.ptr, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(c->got.ptr, "Content-Type: text/event-stream\r\n"));
}

static void test_a_reply_that_goes_on(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c;
    open_stream(&c, &h);
    http_stream_write(h.stream, STR("one "));
    http_stream_write(h.stream, STR("two "));
    hear(&c, "two ");
    assert_non_null(strstr(c.got.ptr, "one two "));
    http_stream_write(h.stream, STR("three"));
    http_stream_end(h.stream);
    hear(&c, "three\r\n0\r\n\r\n");
    assert_false(c.closed);
    assert_int_equal(h.streams_closed, 0);
    buf_clear(&c.got);
    say(&c, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection stays usable */
    hear(&c, "/next q=");
    hang_up(&c);
    close_house(&h);
}

static void test_a_reader_goes_away(void **state)
{
    (void)state;
    static struct house h;
    open_house(&h, 10, 10 * SECOND_US);
    struct client c, other;
    open_stream(&c, &h);
    hang_up(&c);
    loop_run(h.loop);
    assert_int_equal(h.streams_closed, 1);
    open_stream(&c, &h);
    dial(&other, &h);
    say(&other, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n"); /* others are served meanwhile */
    hear(&other, "/other q=");
    hang_up(&other);
    loop_io_free(c.io);
    close_house(&h); /* while it streams */
    assert_int_equal(h.streams_closed, 2);
    close(c.fd);
    buf_done(&c.got);
}

static void test_a_reader_that_does_not_read(void **state)
{
    (void)state;
    static struct house h;
    static char block[64 * 1024];
    open_house(&h, 10, 60 * SECOND_US);
    struct client c;
    open_stream(&c, &h);
    loop_io_set(c.io, 0);
    memset(block, 'b', sizeof block);
    size_t written = 0;
    struct client ticker; /* its answers turn the loop */
    dial(&ticker, &h);
    while (h.stream) {
        http_stream_write(h.stream, (struct str){block, sizeof block});
        written += sizeof block;
        assert_true(written < 64u << 20); /* what sockets take, and no more */
        buf_clear(&ticker.got);
        say(&ticker, "GET /tick HTTP/1.1\r\nHost: x\r\n\r\n");
        hear(&ticker, "/tick q=");
    }
    assert_int_equal(h.streams_closed, 1);
    hang_up(&ticker);
    hang_up(&c);
    close_house(&h);
}

struct drip {
    struct client *client;
    struct loop_timer *timer;
    unsigned sent;
};

static void drip_on(void *ctx)
{
    struct drip *d = ctx;
    if (send(d->client->fd, "x", 1, MSG_NOSIGNAL) == 1)
        d->sent++;
    loop_timer_at(d->timer, loop_now_us(d->client->house->loop) + 5 * MS_US);
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

static void test_a_request_that_never_ends(void **state)
{
    (void)state;
    static const char *const begins[] = {"GET /", "GET / HTTP/1.1\r\nHost: x\r\nX: ",
                                         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n",
                                         "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /"};
    static struct house h;
    memset(&h, 0, sizeof h);
    h.loop = loop_new();
    buf_init(&h.last, 64 * 1024);
    struct http_server_options o = {.address = "127.0.0.1", .max_body_bytes = MAX_BODY, .max_connections = 10,
                                    .idle_us = 60 * SECOND_US, .request_us = 200 * MS_US, .handle = handle,
                                    .abandoned = abandoned, .ctx = &h};
    h.server = http_server_new(h.loop, &o, NULL);
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        struct client c;
        dial(&c, &h);
        struct drip d = {.client = &c};
        d.timer = loop_timer_new(h.loop, drip_on, &d);
        say(&c, begins[i]);
        drip_on(&d);
        hear_end(&c); /* never silent, closed all the same */
        loop_timer_free(d.timer);
        hang_up(&c);
    }
    assert_int_equal(h.handled, 1); /* the whole one of the last */
    h.stop_when_parked = true;
    struct client c;
    dial(&c, &h);
    say(&c, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n"); /* it owes nothing while it waits for us */
    loop_run(h.loop);
    struct loop_timer *later = loop_timer_new(h.loop, stop_loop, h.loop);
    loop_timer_at(later, loop_now_us(h.loop) + 2 * o.request_us);
    loop_run(h.loop);
    loop_timer_free(later);
    assert_false(c.closed);
    http_reply(h.parked[0], 200, NULL, STR("late"), NULL, 0);
    hear(&c, "late");
    hang_up(&c);
    close_house(&h);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(120); /* a hang is a failure */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_as_the_handler_sees_them),
        cmocka_unit_test(test_no_content),
        cmocka_unit_test(test_pipelined_requests),
        cmocka_unit_test(test_body_over_the_limit),
        cmocka_unit_test(test_headers_over_the_limit),
        cmocka_unit_test(test_parked_and_answered_later),
        cmocka_unit_test(test_client_hangs_up),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_connections_over_the_limit),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_many_parked),
        cmocka_unit_test(test_new_says_what_is_wrong),
        cmocka_unit_test(test_a_reply_that_goes_on),
        cmocka_unit_test(test_a_reader_goes_away),
        cmocka_unit_test(test_a_reader_that_does_not_read),
        cmocka_unit_test(test_a_request_that_never_ends),
    };
    return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
