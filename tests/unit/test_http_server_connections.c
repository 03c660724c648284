/* Connections that are many, idle, slow or closed. */
#include "http_server_fixture.h"

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
        cmocka_unit_test(test_client_hangs_up),
        cmocka_unit_test(test_connections_over_the_limit),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_many_parked),
        cmocka_unit_test(test_a_request_that_never_ends),
    };
    return cmocka_run_group_tests_name("http_server_connections", tests, NULL, NULL);
}
