/* Connections that are used again, die or are closed, and what ended() may do. */
#include "http_client_fixture.h"

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
        cmocka_unit_test(test_connections_are_reused),
        cmocka_unit_test(test_connection_closed_while_idle),
        cmocka_unit_test(test_a_post_is_never_repeated),
        cmocka_unit_test(test_a_get_may_be_repeated),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_cancel_closes_the_connection),
        cmocka_unit_test(test_ended_may_send_and_cancel),
        cmocka_unit_test(test_free_in_flight),
    };
    return cmocka_run_group_tests_name("http_client_connections", tests, NULL, NULL);
}
