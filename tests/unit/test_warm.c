/* Warming endpoints up before the policy starts. */
#include "world.h"

static struct world *warm_world(unsigned models, unsigned questions, enum warm_rule rule)
{
    struct world *w = world_new(1, models, questions);
    w->spec->warm = true;
    for (unsigned i = 0; i < w->table->endpoint_count; i++)
        w->table->endpoints[i].warm = rule;
    return w;
}

static void run_to_end(struct world *w)
{
    world_run(w);
    world_check_ended(w);
}

static bool is_warm(const struct world *w, unsigned i)
{
    struct endpoint_view v;
    engine_endpoint_view(w->engine, i, &v);
    return !v.cold;
}

static void check_warm(const struct world *w, unsigned planned, unsigned warm, unsigned posts, unsigned hops)
{
    struct warm_tally t = world_view(w).warm;
    assert_int_equal(t.planned, planned);
    assert_int_equal(t.warm, warm);
    assert_int_equal(t.failed, planned - warm);
    assert_int_equal(t.posts, posts);
    assert_int_equal(t.hops, hops);
}

static bool is_health(const struct exchange *x)
{
    return x->url && strstr(x->url, "/health");
}

/* ---- the stage ---- */

static void nothing_is_warmed_up_unless_the_job_says_so(void **state)
{
    (void)state;
    struct world *w = warm_world(3, 2, WARM_ASK);
    w->spec->warm = false;
    world_start(w);
    run_to_end(w);
    assert_int_equal(w->posts, 6);
    check_warm(w, 0, 0, 0, 0);
    world_free(w);
}

static void an_endpoint_that_needs_none_gets_none(void **state)
{
    (void)state;
    struct world *w = warm_world(3, 2, WARM_NO);
    w->table->endpoints[1].warm = WARM_ASK;
    w->table->endpoints[2].warm = WARM_ASK;
    w->table->endpoints[2].paused = "broken";
    w->spec->on_missing = ON_MISSING_SKIP;
    world_start(w);
    run_to_end(w);
    check_warm(w, 1, 1, 1, 0);
    assert_int_equal(w->posts_to[0], 2);
    assert_int_equal(w->posts_to[1], 3);
    assert_int_equal(w->posts_to[2], 0);
    world_free(w);
}

static void slowest_last(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    out->takes_us = (x->endpoint->index + 1) * SECOND_US;
}

/* Three endpoints, 1 s, 2 s and 3 s a call: the policy starts when the third is warm, and finds all slots open. */
static void the_policy_starts_when_all_are_warm(void **state)
{
    (void)state;
    struct world *w = warm_world(3, 4, WARM_ASK);
    w->respond = slowest_last;
    for (unsigned i = 0; i < 3; i++)
        w->table->endpoints[i].slots = 2;
    world_start(w);
    while (w->now_us < 1003 * SECOND_US) {
        assert_true(w->posts <= 3);
        assert_int_equal(world_view(w).first_dispatch_us, 0);
        assert_true(world_step(w));
    }
    run_to_end(w);
    struct job_view v = world_view(w);
    check_warm(w, 3, 3, 3, 0);
    assert_int_equal(v.first_dispatch_us, 1003 * SECOND_US);
    assert_int_equal(v.warm.ended_us - v.warm.began_us, 3 * SECOND_US);
    assert_int_equal(v.state, JOB_SUCCEEDED);
    assert_int_equal(v.posts, 12);
    assert_int_equal(v.attempts, 12);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(v.endpoints[i].cold_count, 0);
        assert_int_equal(w->peak[i], 2);
    }
    world_free(w);
}

static void a_warm_up_is_on_disk_before_it_leaves(void **state)
{
    (void)state;
    struct world *w = warm_world(1, 1, WARM_ASK);
    w->commit_us = SECOND_US;
    world_start(w);
    assert_true(world_step(w));
    assert_int_equal(w->began_rows, 1);
    assert_int_equal(w->row_status[1], STATUS_RUNNING); /* the row of one more question */
    assert_int_equal(w->row_status[0], STATUS_PENDING);
    while (w->posts == 0)
        assert_true(world_step(w));
    assert_int_equal(w->now_us, 1001 * SECOND_US);
    run_to_end(w);
    assert_int_equal(w->row_status[1], STATUS_SUCCEEDED);
    assert_int_equal(w->row_posts[1], 1);
    world_free(w);
}

static void the_caps_hold_for_warm_ups(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world *w = warm_world(8, 1, WARM_ASK);
        if (how == 0)
            w->table->in_flight = 3;
        else if (how == 1)
            w->table->regions[0].in_flight = 3;
        else
            w->spec->in_flight = 3;
        world_start(w);
        while (!world_view(w).first_dispatch_us)
            assert_true(world_step(w));
        assert_int_equal(w->peak_all, 3);
        run_to_end(w);
        assert_int_equal(w->peak_all, 3);
        check_warm(w, 8, 8, 8, 0);
        world_free(w);
    }
}

static void a_warm_endpoint_is_not_warmed_again(void **state)
{
    (void)state;
    for (int idle = 0; idle < 2; idle++) {
        struct world *w = warm_world(2, 1, WARM_ASK);
        world_start(w);
        run_to_end(w);
        assert_int_equal(w->posts, 4);
        engine_job_free(w->job);
        selection_free(w->all);
        w->over = false;
        w->now_us += idle ? 11 * MINUTE_US : MINUTE_US; /* scaledown is 10 minutes */
        struct err err;
        struct plan *plan = plan_make(w->spec, w->table, &err);
        w->all = selection_all(plan);
        memset(w->row_status, 0, sizeof w->row_status);
        struct job_start start = {
            .id = "t-2", .spec = w->spec, .plan = plan, .ended = world_job_ended, .ctx = w,
            .policy = {.ctx = w, .start = world_policy_start, .ready = world_policy_ready, .stop = world_policy_stop},
        };
        w->job = engine_submit(w->engine, &start);
        world_run(w);
        check_warm(w, idle ? 2 : 0, idle ? 2 : 0, idle ? 2 : 0, 0);
        assert_int_equal(w->posts, idle ? 8 : 6);
        world_free(w);
    }
}

/* ---- result URLs and health URLs ---- */

static void held_for_150_s(struct world *w, const struct exchange *x, struct reply *out)
{
    if (w->sent > 0)
        return;
    assert_true(x->post);
    *out = (struct reply){.status = 303, .location = "http://h/result/1", .takes_us = 150 * SECOND_US};
}

static void a_303_is_followed_during_a_warm_up(void **state)
{
    (void)state;
    struct world *w = warm_world(1, 2, WARM_ASK);
    w->respond = held_for_150_s;
    world_start(w);
    run_to_end(w);
    check_warm(w, 1, 1, 1, 1);
    assert_int_equal(w->hop_rows, 1);
    assert_int_equal(world_view(w).posts, 2);
    assert_int_equal(world_view(w).hops, 0);
    world_free(w);
}

static void unwell_at_first(struct world *w, const struct exchange *x, struct reply *out)
{
    static const struct reply replies[] = {
        {.status = 503, .body = "starting", .takes_us = SECOND_US},
        {.wire = WIRE_CONNECT, .takes_us = SECOND_US},
        {.status = 200, .body = "poll", .takes_us = SECOND_US},
    };
    if (!is_health(x))
        return;
    assert_false(x->post);
    assert_false(x->other_origin);
    if (w->gets < 3)
        *out = replies[w->gets];
}

static void a_health_url_is_asked_until_it_is_well(void **state)
{
    (void)state;
    struct world *w = warm_world(1, 5, WARM_HEALTH);
    w->table->endpoints[0].slots = 3;
    w->respond = unwell_at_first;
    world_start(w);
    while (!world_view(w).first_dispatch_us)
        assert_true(world_step(w));
    assert_int_equal(w->now_us - 1000 * SECOND_US, 4000 * MS_US + 1000 * MS_US + 1500 * MS_US + 2250 * MS_US);
    run_to_end(w);
    check_warm(w, 1, 1, 0, 4);
    assert_int_equal(w->peak[0], 3);
    assert_int_equal(w->hop_rows, 0); /* nothing to commit: the row has the URL */
    assert_int_equal(world_view(w).endpoints[0].cold_count, 0);
    assert_true(isnan(world_view(w).cost));
    world_free(w);
}

/* ---- what goes wrong ---- */

static void warm_ups_fail(struct world *w, const struct exchange *x, struct reply *out)
{
    if (is_health(x) || world_view(w).warm.warm + world_view(w).warm.failed < 1)
        *out = (struct reply){.status = 400, .body = "error", .takes_us = SECOND_US};
}

static void a_failed_warm_up_fails_no_job(void **state)
{
    (void)state;
    struct world *w = warm_world(1, 6, WARM_ASK);
    w->table->endpoints[0].slots = 3;
    w->respond = warm_ups_fail;
    w->table->endpoints[0].price_per_second = 1;
    world_start(w);
    while (!world_view(w).first_dispatch_us)
        assert_true(world_step(w));
    assert_false(is_warm(w, 0));
    assert_int_equal(w->row_class[6], CLASS_HTTP_CLIENT);
    run_to_end(w);
    check_warm(w, 1, 0, 1, 0);
    assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
    assert_int_equal(world_view(w).endpoints[0].cold_count, 1);
    assert_float_equal(world_view(w).cost, 7, 0.001); /* each call takes a second; the warm-up was paid for too */
    world_free(w);
}

static void never_well(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (is_health(x))
        *out = (struct reply){.status = 503, .body = "starting", .takes_us = SECOND_US};
}

/* The timeout is far shorter than what the warm-up takes, and longer than what the job takes then. */
static void a_deadline_bounds_a_warm_up_and_the_timeout_does_not(void **state)
{
    (void)state;
    struct world *w = warm_world(2, 1, WARM_HEALTH);
    w->respond = never_well;
    w->table->endpoints[0].deadline_us = 5 * MINUTE_US;
    w->table->endpoints[1].warm = WARM_NO;
    w->spec->timeout_us = 20 * SECOND_US;
    world_start(w);
    run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.state, JOB_SUCCEEDED);
    assert_int_equal(v.first_dispatch_us, 1300 * SECOND_US);
    check_warm(w, 1, 0, 0, (unsigned)v.warm.hops);
    assert_int_equal(w->row_class[2], CLASS_TIMEOUT);
    assert_string_equal(w->last_error, "deadline of 5m 00s ran out: the health URL never told that all is well");
    world_free(w);
}

static void busy_twice(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)x;
    if (w->posts <= 1)
        *out = (struct reply){.status = 503, .body = "busy", .takes_us = SECOND_US};
}

static void a_warm_up_is_asked_again_like_anything_else(void **state)
{
    (void)state;
    struct world *w = warm_world(1, 1, WARM_ASK);
    w->respond = busy_twice;
    world_start(w);
    run_to_end(w);
    check_warm(w, 1, 1, 3, 0);
    assert_int_equal(world_view(w).attempts, 1);
    assert_int_equal(world_view(w).posts, 1);
    world_free(w);
}

static void spent(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (x->endpoint->index < 2)
        *out = (struct reply){.status = 402, .body = "pay", .takes_us = SECOND_US};
}

/* Endpoint 1 waits for the group's only permit when the quota turns out to be spent. */
static void an_endpoint_that_is_given_up_holds_nobody_back(void **state)
{
    (void)state;
    struct world *w = warm_world(3, 2, WARM_ASK);
    struct group_spec group = {.name = "g", .in_flight = 1};
    w->table->groups = &group;
    w->table->group_count = 1;
    w->table->endpoints[0].group = w->table->endpoints[1].group = 0;
    w->respond = spent;
    world_start(w);
    run_to_end(w);
    check_warm(w, 3, 1, 2, 0);
    assert_int_equal(w->posts_to[0] + w->posts_to[1], 1);
    assert_int_equal(world_view(w).tally.by_status[STATUS_SUCCEEDED], 2);
    assert_int_equal(world_view(w).tally.by_status[STATUS_SKIPPED], 4);
    world_free(w);
}

/* ---- ending early ---- */

static void both_stops_end_a_warm_up_at_once(void **state)
{
    (void)state;
    for (int how = STOP_DRAIN; how <= STOP_ABORT; how++) {
        struct world *w = warm_world(4, 2, WARM_ASK);
        w->table->in_flight = 2;
        w->respond = hang;
        world_start(w);
        while (w->flying_count < 2)
            assert_true(world_step(w));
        engine_stop(w->job, (enum stop_how)how, JOB_CANCELLED, "interrupted");
        assert_int_equal(w->cancelled, 2);
        run_to_end(w);
        assert_int_equal(world_view(w).state, JOB_CANCELLED);
        assert_int_equal(world_view(w).tally.by_status[STATUS_CANCELLED], 8);
        assert_int_equal(world_view(w).posts, 0);
        assert_int_equal(w->row_status[8], STATUS_CANCELLED);
        assert_string_equal(w->log, ""); /* the policy neither started nor was stopped */
        world_free(w);
    }
}

static void a_stop_works_in_every_phase(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 40; steps++) {
        struct world *w = warm_world(3, 2, steps % 3 ? WARM_ASK : WARM_HEALTH);
        w->commit_us = 400;
        w->respond = steps % 2 ? never_well : busy_twice;
        world_start(w);
        for (unsigned i = 0; i < steps && !w->over; i++)
            assert_true(world_step(w));
        if (!w->over)
            engine_stop(w->job, steps % 5 ? STOP_ABORT : STOP_DRAIN, JOB_CANCELLED, "stop");
        run_to_end(w);
        world_free(w);
    }
}

static void a_lost_store_ends_a_warm_up(void **state)
{
    (void)state;
    struct world *w = warm_world(2, 2, WARM_ASK);
    w->respond = hang;
    world_start(w);
    while (w->flying_count < 2)
        assert_true(world_step(w));
    engine_store_failed(w->engine, "disk full");
    assert_int_equal(w->flying_count, 0);
    world_run(w);
    assert_int_equal(world_view(w).state, JOB_FAILED);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_warmed_up_unless_the_job_says_so),
        cmocka_unit_test(an_endpoint_that_needs_none_gets_none),
        cmocka_unit_test(the_policy_starts_when_all_are_warm),
        cmocka_unit_test(a_warm_up_is_on_disk_before_it_leaves),
        cmocka_unit_test(the_caps_hold_for_warm_ups),
        cmocka_unit_test(a_warm_endpoint_is_not_warmed_again),
        cmocka_unit_test(a_303_is_followed_during_a_warm_up),
        cmocka_unit_test(a_health_url_is_asked_until_it_is_well),
        cmocka_unit_test(a_failed_warm_up_fails_no_job),
        cmocka_unit_test(a_deadline_bounds_a_warm_up_and_the_timeout_does_not),
        cmocka_unit_test(a_warm_up_is_asked_again_like_anything_else),
        cmocka_unit_test(an_endpoint_that_is_given_up_holds_nobody_back),
        cmocka_unit_test(both_stops_end_a_warm_up_at_once),
        cmocka_unit_test(a_stop_works_in_every_phase),
        cmocka_unit_test(a_lost_store_ends_a_warm_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
