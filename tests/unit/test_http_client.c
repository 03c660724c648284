/* The HTTP client against a server that can misbehave in every way: a stub of plain sockets on the same loop,
 * which counts connections and whole requests, and does with each request what its case says. */
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

static void visitor_free(struct visitor *v)
{
    list_unlink(&v->link);
    loop_io_free(v->io);
    close(v->fd);
    buf_done(&v->in);
    free(v);
}

/* The length of the whole request at the front of what came; 0: not there yet. */
static size_t whole_request(const struct buf *in)
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

static void visitor_ready(void *ctx, int events)
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

static void visitor_comes(void *ctx, int events)
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

static void tell(struct visitor *v, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(v->fd, text, len, MSG_NOSIGNAL), len);
    v->stub->bytes_out += len;
}

static void act_reply(struct visitor *v)
{
    tell(v, v->stub->reply);
}

static void act_silent(struct visitor *v)
{
    (void)v;
}

static void act_close(struct visitor *v)
{
    visitor_free(v);
}

static void act_reply_and_close(struct visitor *v)
{
    tell(v, v->stub->reply);
    visitor_free(v);
}

static void act_reset(struct visitor *v)
{
    setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    visitor_free(v);
}

static void act_second_dies(struct visitor *v)
{
    if (v->requests == 2)
        act_close(v);
    else
        act_reply(v);
}

static void act_second_reset(struct visitor *v)
{
    if (v->requests == 2)
        act_reset(v);
    else
        act_reply(v);
}

static void act_hold(struct visitor *v)
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

static int listen_somewhere(uint16_t *port, int backlog)
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

static struct http_target *target_at(struct scene *sc, uint16_t port, int64_t connect_us)
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

static void scene_open(struct scene *sc, void (*act)(struct visitor *v), const char *reply)
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

static void scene_close(struct scene *sc)
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

static void seen_done(struct answer_seen *a)
{
    free(a->body);
    free(a->detail);
    free(a->location);
    free(a->retry_after);
}

static void count_answer(struct scene *sc, const struct response *r)
{
    sc->by_wire[r->wire]++;
    if (++sc->answered == sc->awaited)
        loop_stop(sc->loop);
}

static void keep_answer(void *ctx, const struct response *r)
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

static void only_count(void *ctx, const struct response *r)
{
    count_answer(ctx, r);
}

/* Sends one request and runs the loop to its end. */
static void ask(struct scene *sc, const struct http_send *what, struct answer_seen *a)
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

static void post(struct scene *sc, struct answer_seen *a)
{
    ask(sc, &(struct http_send){.post = true, .body = STR("{\"q\":1}")}, a);
}

static bool sent_line(struct scene *sc, const char *line)
{
    char whole[512];
    snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
    const char *at = strstr(sc->stub.last.ptr, whole);
    return at && at < strstr(sc->stub.last.ptr, "\r\n\r\n") + 2;
}

/* ---- what is sent ---- */

static void test_post(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_reply, OK_REPLY);
    ask(&sc, &(struct http_send){.post = true, .body = STR("{\"q\":1}"), .trace_id = "trace-7"}, &a);
    assert_memory_equal(sc.stub.last.ptr, "POST /a/b?c=1 HTTP/1.1\r\n", 24);
    assert_true(sent_line(&sc, "Content-Type: application/json"));
    assert_true(sent_line(&sc, "Content-Length: 7"));
    assert_true(sent_line(&sc, "X-Trace-Id: trace-7"));
    assert_true(sent_line(&sc, "User-Agent: canvass-test"));
    assert_true(sent_line(&sc, "Authorization: Bearer s3cret"));
    assert_true(sent_line(&sc, "X-Empty:"));
    assert_null(strstr(sc.stub.last.ptr, "Expect"));
    assert_null(strstr(sc.stub.last.ptr, "Accept-Encoding"));
    assert_string_equal(strstr(sc.stub.last.ptr, "\r\n\r\n") + 4, "{\"q\":1}");

    assert_int_equal(a.r.wire, WIRE_ANSWERED);
    assert_int_equal(a.r.http_status, 200);
    assert_string_equal(a.body, "hello");
    assert_null(a.detail);
    assert_null(a.location);
    assert_null(a.retry_after);
    assert_int_equal(a.r.bytes_out, sc.stub.bytes_in);
    assert_int_equal(a.r.bytes_in, sc.stub.bytes_out);
    assert_true(a.r.first_byte_us >= a.sent_us && a.r.first_byte_us <= a.ended_us);
    seen_done(&a);
    scene_close(&sc);
}

static void test_get_and_other_url(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_reply, OK_REPLY);
    ask(&sc, &(struct http_send){.post = false}, &a);
    assert_memory_equal(sc.stub.last.ptr, "GET /a/b?c=1 HTTP/1.1\r\n", 23);
    assert_true(sent_line(&sc, "Authorization: Bearer s3cret"));
    assert_null(strstr(sc.stub.last.ptr, "Content-"));
    assert_null(strstr(sc.stub.last.ptr, "X-Trace-Id"));
    seen_done(&a);

    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/result?id=1", (unsigned)sc.stub.port);
    ask(&sc, &(struct http_send){.url = url, .without_headers = true, .trace_id = "t"}, &a);
    assert_memory_equal(sc.stub.last.ptr, "GET /result?id=1 HTTP/1.1\r\n", 27);
    assert_null(strstr(sc.stub.last.ptr, "s3cret"));
    assert_null(strstr(sc.stub.last.ptr, "X-Empty"));
    assert_true(sent_line(&sc, "X-Trace-Id: t"));
    assert_true(sent_line(&sc, "User-Agent: canvass-test"));
    seen_done(&a);

    ask(&sc, &(struct http_send){.url = url, .post = true, .body = STR("b"), .without_headers = true}, &a);
    assert_memory_equal(sc.stub.last.ptr, "POST /result?id=1 HTTP/1.1\r\n", 28);
    assert_null(strstr(sc.stub.last.ptr, "s3cret"));
    assert_true(sent_line(&sc, "Content-Type: application/json"));
    seen_done(&a);

    ask(&sc, &(struct http_send){.url = "http://[bad"}, &a);
    assert_int_equal(a.r.wire, WIRE_CONNECT);
    assert_int_equal(sc.stub.requests, 3);
    seen_done(&a);
    scene_close(&sc);
}

/* Bodies on both sides of what libcurl sends along with the headers. */
static void test_body_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1 << 20};
    static struct scene sc;
    scene_open(&sc, act_reply, OK_REPLY);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct answer_seen a;
        char *body = mem_alloc(sizes[i] + 1);
        for (size_t k = 0; k < sizes[i]; k++)
            body[k] = (char)('a' + k % 26);
        body[sizes[i]] = '\0';
        sc.stub.bytes_in = 0;
        ask(&sc, &(struct http_send){.post = true, .body = {body, sizes[i]}}, &a);
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        assert_string_equal(strstr(sc.stub.last.ptr, "\r\n\r\n") + 4, body);
        assert_null(strstr(sc.stub.last.ptr, "Expect"));
        assert_int_equal(a.r.bytes_out, sc.stub.bytes_in);
        seen_done(&a);
        free(body);
    }
    assert_int_equal(sc.stub.connections, 1);
    scene_close(&sc);
}

static void test_own_content_type_replaces_ours(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    struct err err;
    char url[64];
    scene_open(&sc, act_reply, OK_REPLY);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned)sc.stub.port);
    struct http_header own[] = {{"content-type", "text/plain"}, {"user-agent", "me"}};
    struct http_target *t = http_target_new(sc.client, &(struct http_target_options){.url = url, .headers = own,
                                            .header_count = 2, .max_body_bytes = MAX_BODY}, &err);
    assert_non_null(t);
    ask(&sc, &(struct http_send){.target = t, .post = true, .body = STR("x")}, &a);
    assert_true(sent_line(&sc, "content-type: text/plain"));
    assert_true(sent_line(&sc, "user-agent: me"));
    assert_null(strstr(sc.stub.last.ptr, "application/json"));
    assert_null(strstr(sc.stub.last.ptr, "canvass-test"));
    seen_done(&a);
    http_target_free(t);
    scene_close(&sc);
}

static void test_target_new_says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *url, *name, *value, *says;
    } cases[] = {
        {"ftp://h/", "A", "b", "ftp://h/"},
        {"not a url", "A", "b", "not a url"},
        {"http://h/", "A", "b\r\nX-Evil: 1", "line break"},
        {"http://h/", "A:", "b", "A:"},
        {"http://h/", "", "b", "name"},
    };
    static struct scene sc;
    scene_open(&sc, act_reply, OK_REPLY);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct http_header h = {cases[i].name, cases[i].value};
        struct http_target_options o = {.url = cases[i].url, .headers = &h, .header_count = 1};
        assert_null(http_target_new(sc.client, &o, &err));
        assert_int_equal(err.code, ERR_CONFIG);
        assert_non_null(strstr(err.text, cases[i].says));
    }
    http_target_free(NULL);
    scene_close(&sc);

    struct err err = {0};
    struct loop *loop = loop_new();
    struct http_client_options o = {.ca_file = "/nonexistent/ca.pem"};
    assert_null(http_client_new(loop, &o, &err));
    assert_non_null(strstr(err.text, "/nonexistent/ca.pem"));
    http_client_free(NULL);
    loop_free(loop);
}

/* ---- what is read ---- */

static void test_locations(void **state)
{
    (void)state;
    /* @ stands for the stub's origin */
    static const struct {
        const char *reply;
        int status;
        const char *location, *retry_after;
    } cases[] = {
        {"HTTP/1.1 303 See Other\r\nLocation: http://other.example/x?fc=1\r\nContent-Length: 0\r\n\r\n", 303,
         "http://other.example/x?fc=1", NULL},
        {"HTTP/1.1 303 See Other\r\nlocation: /r?fc=2#part\r\nContent-Length: 0\r\n\r\n", 303, "@/r?fc=2", NULL},
        {"HTTP/1.1 302 Found\r\nLocation: ?fc=3\r\nContent-Length: 0\r\n\r\n", 302, "@/a/b?fc=3", NULL},
        {"HTTP/1.1 302 Found\r\nLocation: ../up\r\nContent-Length: 0\r\n\r\n", 302, "@/up", NULL},
        {"HTTP/1.1 307 T\r\nLocation: //other.example:81/y\r\nContent-Length: 0\r\n\r\n", 307,
         "http://other.example:81/y", NULL},
        {"HTTP/1.1 308 P\r\nLOCATION:   c d  \r\nContent-Length: 0\r\n\r\n", 308, "@/a/c%20d", NULL},
        {"HTTP/1.1 202 Accepted\r\nLocation: jobs/1\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n", 202,
         "@/a/jobs/1", "2"},
        {"HTTP/1.1 201 Created\r\nLocation: /jobs/2\r\nContent-Length: 0\r\n\r\n", 201, "@/jobs/2", NULL},
        {"HTTP/1.1 303 S\r\nLocation: ftp://elsewhere/z\r\nContent-Length: 0\r\n\r\n", 303, "ftp://elsewhere/z", NULL},
        {"HTTP/1.1 303 S\r\nLocation: /one\r\nLocation: /two\r\nContent-Length: 0\r\n\r\n", 303, "@/two", NULL},
        {"HTTP/1.1 303 S\r\nLocation:\r\nContent-Length: 0\r\n\r\n", 303, NULL, NULL},
        {"HTTP/1.1 303 S\r\nLocation: /a\x1b[2J\r\nContent-Length: 0\r\n\r\n", 303, NULL, NULL},
        {"HTTP/1.1 303 S\r\nLocation: http://[broken\r\nContent-Length: 0\r\n\r\n", 303, NULL, NULL},
        {"HTTP/1.1 103 Early Hints\r\nLocation: /early\r\nRetry-After: 9\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, NULL, NULL},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
         "Content-Length: 0\r\n\r\n", 429, NULL, "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"HTTP/1.1 503 Busy\r\nX-Location: /no\r\nRetry-Afterwards: 3\r\nRetry-After:\r\nContent-Length: 0\r\n\r\n",
         503, NULL, ""},
    };
    static struct scene sc;
    scene_open(&sc, act_reply, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer_seen a;
        char want[128];
        unsigned before = sc.stub.requests;
        sc.stub.reply = cases[i].reply;
        post(&sc, &a);
        assert_int_equal(sc.stub.requests, before + 1); /* not followed */
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        assert_int_equal(a.r.http_status, cases[i].status);
        if (cases[i].location && cases[i].location[0] == '@')
            snprintf(want, sizeof want, "http://127.0.0.1:%u%s", (unsigned)sc.stub.port, cases[i].location + 1);
        else if (cases[i].location)
            snprintf(want, sizeof want, "%s", cases[i].location);
        if (cases[i].location)
            assert_string_equal(a.location, want);
        else
            assert_null(a.location);
        if (cases[i].retry_after)
            assert_string_equal(a.retry_after, cases[i].retry_after);
        else
            assert_null(a.retry_after);
        seen_done(&a);
    }
    scene_close(&sc);
}

/* How exchanges go wrong, each on a fresh connection. */
static void test_wire(void **state)
{
    (void)state;
    static char big[8 * MAX_BODY], flood[400 * 1024], line[400 * 1024], exact[2 * MAX_BODY];
    snprintf(exact, sizeof exact, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%0*d", MAX_BODY, MAX_BODY, 1);
    snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%0*d\r\n0\r\n\r\n",
             MAX_BODY + 1, MAX_BODY + 1, 1);
    strcpy(flood, "HTTP/1.1 200 OK\r\n");
    for (size_t len = strlen(flood); len + 100 < sizeof flood; len += 88)
        snprintf(flood + len, sizeof flood - len, "X-Flood: %077d\r\n", 0);
    snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\nX-Long: %0*d\r\n\r\n", (int)sizeof line - 100, 0);
    const struct {
        const char *name;
        void (*act)(struct visitor *v);
        const char *reply;
        enum wire wire;
        int status;
        const char *body;
    } cases[] = {
        {"reset", act_reset, NULL, WIRE_LOST, 0, ""},
        {"closed without an answer", act_close, NULL, WIRE_LOST, 0, ""},
        {"only an interim answer", act_reply_and_close, "HTTP/1.1 100 Continue\r\n\r\n", WIRE_LOST, 0, ""},
        {"an interim answer, then none", act_reply_and_close,
         "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/2021.1 421\r\nA: b\r\n\r\nx", WIRE_LOST, 0, NULL},
        {"trailers", act_reply_and_close,
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\nA: b\r\n\r\n", WIRE_ANSWERED, 200, "full"},
        {"an interim answer, then one", act_reply_and_close,
         "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nfull", WIRE_ANSWERED, 200, "full"},
        {"an interim answer with two spaces, then one", act_reply_and_close,
         "HTTP/1.1  103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nfull", WIRE_ANSWERED, 200, "full"},
        {"a protocol nobody asked for", act_reply_and_close,
         "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nfull", WIRE_LOST, 0, NULL},
        {"a header like a status line", act_reply_and_close,
         "HTTP/1.1 200 OK\r\nHTTP/1.1 100 x: y\r\n\r\nfull", WIRE_ANSWERED, 200, "full"},
        {"a trailer like a status line", act_reply_and_close,
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\nHTTP/1.1 100 x: y\r\n\r\n",
         WIRE_ANSWERED, 200, "full"},
        {"closed inside the headers", act_reply_and_close, "HTTP/1.1 200 OK\r\nContent-Le", WIRE_LOST, 200, ""},
        {"truncated", act_reply_and_close, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", WIRE_LOST, 200, "half"},
        {"truncated chunk", act_reply_and_close, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
         WIRE_LOST, 200, "half"},
        {"ended by the close", act_reply_and_close, "HTTP/1.1 200 OK\r\n\r\nall", WIRE_ANSWERED, 200, "all"},
        {"as long as allowed", act_reply, exact, WIRE_ANSWERED, 200, strstr(exact, "\r\n\r\n") + 4},
        {"too long, announced", act_reply, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", WIRE_TOO_LARGE, 200, ""},
        {"too long, by surprise", act_reply, big, WIRE_TOO_LARGE, 200, NULL},
        {"not HTTP", act_reply_and_close, "SSH-2.0-OpenSSH_9.2\r\n", WIRE_BAD, 0, ""},
        {"a flood of headers", act_reply_and_close, flood, WIRE_BAD, 200, ""},
        {"one long header", act_reply_and_close, line, WIRE_BAD, 200, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static struct scene sc;
        struct answer_seen a;
        print_message("%s\n", cases[i].name);
        scene_open(&sc, cases[i].act, cases[i].reply);
        post(&sc, &a);
        assert_int_equal(a.r.wire, cases[i].wire);
        assert_int_equal(a.r.http_status, cases[i].status);
        assert_int_equal(sc.stub.requests, 1);
        if (cases[i].body)
            assert_string_equal(a.body, cases[i].body);
        if (cases[i].wire == WIRE_ANSWERED)
            assert_null(a.detail);
        else
            assert_true(a.detail && a.detail[0]);
        assert_true((a.r.first_byte_us != 0) == (a.r.http_status != 0));
        seen_done(&a);
        scene_close(&sc);
    }
}

/* libcurl 7.88 writes to the last header of the response before, if the easy handle is the same. */
static void test_folded_first_header(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\n fol: ded\r\nB: c\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n fol: ded\r\n\r\n",
        "HTTP/1.1  103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n fol: ded\r\n\r\n",
    };
    static struct scene sc;
    struct answer_seen a;
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        scene_open(&sc, act_reply_and_close, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
        post(&sc, &a);
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        seen_done(&a);
        sc.stub.reply = replies[i];
        post(&sc, &a);
        assert_int_equal(a.r.wire, WIRE_BAD);
        seen_done(&a);
        scene_close(&sc);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    uint16_t port;
    scene_open(&sc, act_reply, OK_REPLY);
    int nobody = listen_somewhere(&port, -1); /* bound, so that nobody else listens there */
    struct http_target *t = target_at(&sc, port, SECOND_US);
    ask(&sc, &(struct http_send){.target = t, .post = true, .body = STR("x")}, &a);
    assert_int_equal(a.r.wire, WIRE_CONNECT);
    assert_non_null(strstr(a.detail, "refused"));
    assert_int_equal(a.r.http_status, 0);
    assert_int_equal(a.r.bytes_out, 0);
    seen_done(&a);
    http_target_free(t);
    close(nobody);
    scene_close(&sc);
}

/* A listener whose line is full lets further clients knock in vain. */
static void test_connect_times_out(void **state)
{
    (void)state;
    enum { FILL = 4 };
    static struct scene sc;
    struct answer_seen a;
    uint16_t port;
    int fill[FILL];
    scene_open(&sc, act_reply, OK_REPLY);
    int full = listen_somewhere(&port, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < FILL; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    struct http_target *t = target_at(&sc, port, 50 * MS_US);
    ask(&sc, &(struct http_send){.target = t, .post = true, .body = STR("x")}, &a);
    assert_int_equal(a.r.wire, WIRE_CONNECT);
    assert_string_equal(a.detail, "connect timed out after 50.0 ms");
    assert_true(a.ended_us >= a.sent_us + 50 * MS_US);
    seen_done(&a);
    http_target_free(t);
    for (int i = 0; i < FILL; i++)
        close(fill[i]);
    close(full);
    scene_close(&sc);
}

static void test_exchange_times_out(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_silent, NULL);
    sc.stub.stop_on_close = true;
    ask(&sc, &(struct http_send){.post = true, .body = STR("x"), .timeout_us = 50 * MS_US}, &a);
    assert_int_equal(a.r.wire, WIRE_LOST);
    assert_string_equal(a.detail, "the exchange timed out after 50.0 ms");
    if (!sc.stub.closed)
        loop_run(sc.loop);
    assert_int_equal(sc.stub.requests, 1);
    seen_done(&a);
    scene_close(&sc);
}

/* ---- connections ---- */

static void test_connections_are_reused(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_reply, OK_REPLY);
    for (int i = 0; i < 20; i++) {
        ask(&sc, &(struct http_send){.post = i % 2 == 0, .body = STR("x")}, &a);
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        seen_done(&a);
    }
    assert_int_equal(sc.stub.requests, 20);
    assert_int_equal(sc.stub.connections, 1);
    scene_close(&sc);
}

static void test_connection_closed_while_idle(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_reply_and_close, OK_REPLY);
    for (int i = 0; i < 5; i++) {
        post(&sc, &a);
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        seen_done(&a);
    }
    assert_int_equal(sc.stub.requests, 5);
    assert_int_equal(sc.stub.connections, 5);
    scene_close(&sc);
}

/* libcurl repeats what a reused connection dies under. For a POST that would be paying twice. */
static void test_a_post_is_never_repeated(void **state)
{
    (void)state;
    void (*acts[])(struct visitor *) = {act_second_dies, act_second_reset};
    static const size_t sizes[] = {1, 1000, 100 * 1000};
    for (size_t i = 0; i < ARRAY_LEN(acts); i++)
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            static struct scene sc;
            struct answer_seen a;
            char *body = mem_alloc(sizes[k]);
            memset(body, 'b', sizes[k]);
            scene_open(&sc, acts[i], OK_REPLY);
            post(&sc, &a);
            assert_int_equal(a.r.wire, WIRE_ANSWERED);
            seen_done(&a);
            ask(&sc, &(struct http_send){.post = true, .body = {body, sizes[k]}}, &a);
            assert_int_equal(a.r.wire, WIRE_LOST);
            assert_true(a.detail && a.detail[0]);
            assert_int_equal(sc.stub.requests, 2); /* the first, and the second once */
            assert_int_equal(a.r.http_status, 0);
            seen_done(&a);
            free(body);

            post(&sc, &a); /* and the client is as good as before */
            assert_int_equal(a.r.wire, WIRE_ANSWERED);
            assert_int_equal(sc.stub.requests, 3);
            seen_done(&a);
            scene_close(&sc);
        }
}

static void test_a_get_may_be_repeated(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a;
    scene_open(&sc, act_second_dies, OK_REPLY);
    for (int i = 0; i < 2; i++) {
        ask(&sc, &(struct http_send){.post = false}, &a);
        assert_int_equal(a.r.wire, WIRE_ANSWERED);
        seen_done(&a);
    }
    assert_int_equal(sc.stub.requests, 3);
    assert_int_equal(sc.stub.connections, 2);
    scene_close(&sc);
}

/* The stub answers when all have come, so all are in flight together. */
static void test_many_at_once(void **state)
{
    (void)state;
    static struct scene sc;
    scene_open(&sc, act_hold, OK_REPLY);
    sc.stub.hold = MANY;
    for (int wave = 1; wave <= 2; wave++) {
        sc.answered = 0;
        sc.awaited = MANY;
        struct http_send s = {.target = sc.target, .ended = only_count, .ctx = &sc};
        for (int i = 0; i < MANY; i++)
            http_send(sc.client, &s);
        loop_run(sc.loop);
        assert_int_equal(sc.by_wire[WIRE_ANSWERED], wave * MANY);
        assert_int_equal(sc.stub.requests, wave * MANY);
        assert_int_equal(sc.stub.connections, MANY); /* the second wave comes by the same ones */
    }
    scene_close(&sc);
}

/* ---- cancelling, and what ended() may do ---- */

static void test_cancel_closes_the_connection(void **state)
{
    (void)state;
    static struct scene sc;
    struct answer_seen a = {.scene = &sc};
    scene_open(&sc, act_silent, NULL);
    sc.stub.stop_on_request = true;
    struct http_send s = {.target = sc.target, .post = true, .body = STR("x"), .ended = keep_answer, .ctx = &a};
    struct http_request *q = http_send(sc.client, &s);
    loop_run(sc.loop);
    assert_int_equal(sc.stub.requests, 1);
    http_cancel(q);
    sc.stub.stop_on_close = true;
    loop_run(sc.loop); /* ends when the stub sees the close */
    assert_int_equal(sc.stub.closed, 1);

    http_cancel(http_send(sc.client, &s)); /* before anything has happened */
    assert_int_equal(a.count, 0);

    sc.stub.stop_on_request = sc.stub.stop_on_close = false;
    sc.stub.act = act_reply;
    sc.stub.reply = OK_REPLY;
    post(&sc, &a);
    assert_int_equal(a.r.wire, WIRE_ANSWERED);
    assert_int_equal(sc.stub.requests, 2);
    seen_done(&a);
    scene_close(&sc);
}

struct racer {
    struct race *race;
    struct http_request *request;
};

struct race {
    struct scene *scene;
    struct racer racers[10];
    int rounds_left, ended;
};

static void round_over(void *ctx, const struct response *r);

static void start_round(struct race *race)
{
    for (size_t i = 0; i < ARRAY_LEN(race->racers); i++) {
        struct racer *racer = &race->racers[i];
        racer->race = race;
        racer->request = http_send(race->scene->client, &(struct http_send){
            .target = race->scene->target, .post = true, .body = STR("x"), .ended = round_over, .ctx = racer});
    }
}

/* The answers come together; the first to end cancels the others while they wait for their ended(). */
static void round_over(void *ctx, const struct response *r)
{
    struct racer *first = ctx;
    struct race *race = first->race;
    assert_int_equal(r->wire, WIRE_ANSWERED);
    assert_string_equal(r->body.ptr, "hello");
    race->ended++;
    for (size_t i = 0; i < ARRAY_LEN(race->racers); i++)
        if (&race->racers[i] != first)
            http_cancel(race->racers[i].request);
    if (--race->rounds_left == 0)
        loop_stop(race->scene->loop);
    else
        start_round(race);
}

static void test_ended_may_send_and_cancel(void **state)
{
    (void)state;
    static struct scene sc;
    struct race race = {.scene = &sc, .rounds_left = 50};
    scene_open(&sc, act_hold, OK_REPLY);
    sc.stub.hold = ARRAY_LEN(race.racers);
    start_round(&race);
    loop_run(sc.loop);
    assert_int_equal(race.ended, 50);
    assert_int_equal(sc.stub.requests, 50 * ARRAY_LEN(race.racers));
    scene_close(&sc);
}

static void never(void *ctx, const struct response *r)
{
    (void)ctx, (void)r;
    fail_msg("a cancelled request has ended");
}

static void test_free_in_flight(void **state)
{
    (void)state;
    static struct scene sc;
    scene_open(&sc, act_silent, NULL);
    struct http_send s = {.target = sc.target, .post = true, .body = STR("x"), .trace_id = "t", .ended = never};
    for (int i = 0; i < 300; i++)
        http_send(sc.client, &s);
    sc.stub.stop_on_request = true;
    loop_run(sc.loop);
    http_client_free(sc.client); /* and the target after it */
    sc.client = NULL;
    scene_close(&sc);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(120); /* a hang is a failure */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_get_and_other_url),
        cmocka_unit_test(test_body_sizes),
        cmocka_unit_test(test_own_content_type_replaces_ours),
        cmocka_unit_test(test_target_new_says_what_is_wrong),
        cmocka_unit_test(test_locations),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_folded_first_header),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_connect_times_out),
        cmocka_unit_test(test_exchange_times_out),
        cmocka_unit_test(test_connections_are_reused),
        cmocka_unit_test(test_connection_closed_while_idle),
        cmocka_unit_test(test_a_post_is_never_repeated),
        cmocka_unit_test(test_a_get_may_be_repeated),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_cancel_closes_the_connection),
        cmocka_unit_test(test_ended_may_send_and_cancel),
        cmocka_unit_test(test_free_in_flight),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
