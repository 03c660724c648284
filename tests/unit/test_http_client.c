/* What a request sends, and what is read of the answer. */
#include "http_client_fixture.h"

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
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\nA: b\r\n\r\n", WIRE_ANSWERED, 200,
         "full"},
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
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
