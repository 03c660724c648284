/* Requests as the handler sees them, and replies as the client does. */
#include "http_server_fixture.h"

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
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_new_says_what_is_wrong),
        cmocka_unit_test(test_a_reply_that_goes_on),
        cmocka_unit_test(test_a_reader_goes_away),
        cmocka_unit_test(test_a_reader_that_does_not_read),
    };
    return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
