/* Jobs that end early, and any weather, in a world where time is a number. */
#include "engine/state.h"
#include "world.h"

/* ---- ending early ---- */

static void abort_closes_every_socket_and_leaves_no_row_open(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 8);
    w->policy = 1;
    w->respond = hang;
    world_start(w);
    while (w->flying_count < 8)
        assert_true(world_step(w));
    engine_stop(w->job, STOP_ABORT, JOB_CANCELLED, "cancelled by hand");
    assert_int_equal(w->flying_count, 0);
    assert_int_equal(w->cancelled, 8);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.state, JOB_CANCELLED);
    assert_int_equal(v.tally.by_status[STATUS_CANCELLED], 64);
    world_free(w);
}

static void drain_lets_what_is_in_flight_end(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 8);
    world_start(w);
    while (w->flying_count < 8)
        assert_true(world_step(w));
    engine_stop(w->job, STOP_DRAIN, JOB_CANCELLED, "interrupted");
    engine_stop(w->job, STOP_DRAIN, JOB_CANCELLED, "interrupted");
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(w->cancelled, 0);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 8);
    assert_int_equal(v.tally.by_status[STATUS_CANCELLED], 56);
    world_free(w);
}

/* Before the first request has left, which else starts the timeout anew. */
static void a_drain_has_no_timeout(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 2);
    w->spec->timeout_us = SECOND_US / 2; /* an answer takes longer */
    world_start(w);
    while (w->began_rows == 0)
        assert_true(world_step(w));
    assert_int_equal(w->posts, 0);
    engine_stop(w->job, STOP_DRAIN, JOB_CANCELLED, "interrupted");
    world_run_to_end(w);
    assert_int_equal(w->cancelled, 0);
    assert_int_equal(world_view(w).tally.by_status[STATUS_SUCCEEDED], 1);
    world_free(w);
}

static void abort_works_in_every_phase(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 60; steps++) {
        struct world *w = world_new(1, 3, 6);
        w->commit_us = 400;
        w->respond = steps % 2 ? lost_on_the_result_url : always_503;
        world_start(w);
        for (unsigned i = 0; i < steps && !w->over; i++)
            assert_true(world_step(w));
        if (!w->over)
            engine_stop(w->job, STOP_DRAIN, JOB_CANCELLED, "first");
        if (!w->over)
            engine_stop(w->job, STOP_ABORT, JOB_CANCELLED, "second");
        world_run_to_end(w);
        world_free(w);
    }
}

static void the_jobs_timeout_is_counted_from_the_first_dispatch(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 4);
    w->spec->timeout_us = 10 * SECOND_US;
    w->policy = 5; /* sleeps 5 s before it runs anything */
    w->respond = hang;
    world_start(w);
    int64_t took_us = world_run(w);
    world_check_ended(w);
    struct job_view v = world_view(w);
    assert_int_equal(took_us, 15 * SECOND_US);
    assert_int_equal(v.state, JOB_TIMED_OUT);
    assert_int_equal(v.tally.by_status[STATUS_CANCELLED], 8);
    assert_int_equal(w->row_class[0], CLASS_TIMEOUT);
    assert_string_equal(v.reason, "job timeout of 10.0 s ran out");
    world_free(w);
}

static void a_job_that_asks_nothing_times_out(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct world *w = world_new(1, 2, 4);
        w->policy = paused ? 0 : 5;
        if (paused)
            w->table->endpoints[0].paused = w->table->endpoints[1].paused = "no quota";
        w->spec->timeout_us = 3 * SECOND_US;
        world_start(w);
        assert_int_equal(world_run(w), 3 * SECOND_US);
        world_check_ended(w);
        assert_int_equal(world_view(w).state, JOB_TIMED_OUT);
        assert_int_equal(world_view(w).posts, 0);
        assert_non_null(strstr(world_view(w).reason, "before anything was asked"));
        world_free(w);
    }
}

static void a_slow_disk_does_not_use_up_the_jobs_timeout(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 2);
    w->commit_us = 100 * SECOND_US;
    w->spec->timeout_us = MINUTE_US;
    world_start(w);
    world_run(w);
    world_check_ended(w);
    assert_int_equal(world_view(w).posts, 2); /* the first of each endpoint left, after 100 s */
    world_free(w);
}

/* Naps of no time, runs of nothing, and the whole plan again and again: the host gets its turn, and a stop works. */
static void a_policy_that_never_waits_can_be_stopped(void **state)
{
    (void)state;
    for (int policy = 7; policy <= 9; policy++) {
        struct world *w = world_new(1, 2, 3);
        w->policy = policy;
        world_start(w);
        int64_t began_us = w->now_us;
        for (unsigned i = 0; i < 1000; i++) {
            uint32_t before = w->part;
            assert_true(world_step(w));
            assert_true(w->part - before <= 5000);
        }
        if (policy == 7) /* it does not take the whole CPU either */
            assert_true(w->part - 1000 <= (w->now_us - began_us) / MS_US + 1);
        engine_stop(w->job, STOP_DRAIN, JOB_CANCELLED, "interrupted");
        world_run(w);
        world_check_ended(w);
        assert_int_equal(world_view(w).state, JOB_CANCELLED);
        world_free(w);
    }
}

static void a_failed_policy_fails_the_job(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 4);
    w->policy = 3;
    world_start(w);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.state, JOB_FAILED);
    assert_true(v.policy_failed);
    assert_int_equal(v.tally.by_status[STATUS_SKIPPED], 8);
    world_free(w);
}

static void what_a_policy_leaves_out_is_skipped(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 4);
    w->policy = 4;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(world_view(w).tally.by_status[STATUS_SKIPPED], 8);
    world_free(w);
}

static void a_paused_endpoint_waits_or_is_skipped(void **state)
{
    (void)state;
    for (int skip = 0; skip < 2; skip++) {
        struct world *w = world_new(1, 2, 4);
        w->table->endpoints[1].paused = "no quota";
        w->spec->on_missing = skip ? ON_MISSING_SKIP : ON_MISSING_WAIT;
        w->spec->timeout_us = MINUTE_US;
        world_start(w);
        world_run_to_end(w);
        struct job_view v = world_view(w);
        assert_int_equal(v.endpoints[0].tally.by_status[STATUS_SUCCEEDED], 4);
        assert_int_equal(v.endpoints[1].tally.by_status[skip ? STATUS_SKIPPED : STATUS_CANCELLED], 4);
        assert_int_equal(v.state, skip ? JOB_PARTIAL : JOB_TIMED_OUT);
        world_free(w);
    }
}

static void a_lost_store_ends_the_job_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 4);
    world_start(w);
    while (w->flying_count < 2)
        assert_true(world_step(w));
    engine_store_failed(w->engine, "disk full (canvass.db): make room");
    assert_int_equal(w->flying_count, 0);
    world_run(w);
    assert_int_equal(world_view(w).state, JOB_FAILED);
    world_free(w);
}

/* ---- anything goes ---- */

static struct rng dice;

static void anything(struct world *w, const struct exchange *x, struct reply *out)
{
    static const int statuses[] = {200, 200, 200, 200, 200, 500, 503, 429, 404, 400, 303, 202, 408, 529, 307, 418};
    static const char *const bodies[] = {"ok", "ok", "ok", "transient", "error", "region r0", "poll http://h/p", ""};
    (void)w;
    out->wire = rng_unit(&dice) < 0.9 ? WIRE_ANSWERED : (enum wire)(rng_next(&dice) % 7);
    out->status = statuses[rng_next(&dice) % 16];
    out->body = bodies[rng_next(&dice) % 8];
    out->location = out->status / 100 != 3 && out->status != 202 ? NULL
                    : rng_unit(&dice) < 0.9 ? "http://h/p?x" : "http://evil/";
    out->retry_after = rng_unit(&dice) < 0.2 ? "3" : NULL;
    out->takes_us = rng_unit(&dice) < 0.02 ? NEVER_US : (int64_t)(rng_unit(&dice) * 30 * SECOND_US);
    (void)x;
}

static void any_weather_ends_with_every_row_final(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        rng_seed(&dice, seed);
        struct world *w = world_new(1 + (unsigned)(seed % 3), 1 + (unsigned)(seed % 4), 1 + (unsigned)(seed % 11));
        w->respond = anything;
        w->commit_us = (int64_t)(rng_unit(&dice) * 2000);
        w->policy = (int)(seed % 3);
        w->spec->samples = 1 + (unsigned)(seed % 2);
        w->table->in_flight = (unsigned)(seed % 5);
        w->spec->timeout_us = seed % 7 == 0 ? 5 * MINUTE_US : 0;
        w->spec->warm = seed % 5 < 2;
        for (unsigned i = 0; i < w->table->endpoint_count; i++) {
            w->table->endpoints[i].slots = 1 + (unsigned)(rng_next(&dice) % 4);
            w->table->endpoints[i].rate_per_minute = rng_unit(&dice) < 0.2 ? 30 : 0;
            w->table->endpoints[i].retry.unknown = rng_unit(&dice) < 0.3;
            w->table->endpoints[i].warm = (enum warm_rule)(seed / 5 % 3);
        }
        world_start(w);
        world_run_to_end(w);
        if (w->table->in_flight)
            assert_true(w->peak_all <= w->table->in_flight);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(abort_closes_every_socket_and_leaves_no_row_open),
        cmocka_unit_test(drain_lets_what_is_in_flight_end),
        cmocka_unit_test(a_drain_has_no_timeout),
        cmocka_unit_test(abort_works_in_every_phase),
        cmocka_unit_test(the_jobs_timeout_is_counted_from_the_first_dispatch),
        cmocka_unit_test(a_job_that_asks_nothing_times_out),
        cmocka_unit_test(a_slow_disk_does_not_use_up_the_jobs_timeout),
        cmocka_unit_test(a_policy_that_never_waits_can_be_stopped),
        cmocka_unit_test(a_failed_policy_fails_the_job),
        cmocka_unit_test(what_a_policy_leaves_out_is_skipped),
        cmocka_unit_test(a_paused_endpoint_waits_or_is_skipped),
        cmocka_unit_test(a_lost_store_ends_the_job_at_once),
        cmocka_unit_test(any_weather_ends_with_every_row_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
