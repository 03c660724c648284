/* What follows from what an endpoint does, in a world where time is a number. */
#include "engine/state.h"
#include "world.h"


static void fails_twice(struct world *w, const struct exchange *x, struct reply *out)
{
    if (strstr(x->trace_id, "t-1.1.") && w->posts < 3)
        out->status = 503;
    out->takes_us = SECOND_US / 10;
}

static void a_retry_gives_its_permits_back_and_goes_first_when_due(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 30);
    w->respond = fails_twice;
    world_start(w);
    bool others_ran = false;
    while (!w->over) {
        assert_true(world_step(w));
        others_ran |= w->row_status[0] == STATUS_BACKING_OFF && w->open[0] == 1;
    }
    world_check_ended(w);
    assert_true(others_ran);
    assert_int_equal(w->row_status[0], STATUS_SUCCEEDED);
    assert_true(w->row_posts[0] >= 2);
    world_free(w);
}

static void attempts_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->table->endpoints[0].breaker.failures = 0;
    w->respond = always_503;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->posts, 4);
    assert_int_equal(w->row_class[0], CLASS_HTTP_SERVER);
    assert_int_equal(world_view(w).state, JOB_FAILED);
    world_free(w);
}

static void chain_of_60(struct world *w, const struct exchange *x, struct reply *out)
{
    if (x->post || w->gets < 59) {
        out->status = 303;
        out->location = "http://h/r0/m0?id=1";
    }
    out->takes_us = x->post ? 150 * SECOND_US / 60 : 10 * SECOND_US;
}

static void a_chain_of_60_hops_costs_one_post(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->commit_us = 300;
    w->respond = chain_of_60;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->gets, 60);
    assert_int_equal(w->row_hops[0], 60);
    assert_int_equal(w->row_status[0], STATUS_SUCCEEDED);
    assert_string_equal(w->committed_url, "http://h/r0/m0?id=1");
    world_free(w);
}

static void accepted_then_done(struct world *w, const struct exchange *x, struct reply *out)
{
    if (x->post || w->gets < 4)
        *out = (struct reply){.status = 202, .location = "http://h/result", .takes_us = SECOND_US / 100};
}

static void a_202_is_polled_at_a_growing_pace(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = accepted_then_done;
    world_start(w);
    int64_t took_us = world_run(w);
    world_check_ended(w);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->gets, 5);
    assert_true(took_us > 8 * SECOND_US); /* 1 + 1.5 + 2.25 + 3.4 + 5 and the exchanges */
    world_free(w);
}

static void a_result_url_survives_bad_connections(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = lost_on_the_result_url;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->row_status[0], STATUS_SUCCEEDED);
    world_free(w);
}

static void refused_thrice(struct world *w, const struct exchange *x, struct reply *out)
{
    static const enum wire first[] = {WIRE_CONNECT, WIRE_TLS, WIRE_NOT_SENT};
    (void)x;
    if (w->posts < 3)
        out->wire = first[w->posts];
    out->takes_us = 4 * SECOND_US;
}

static void a_post_that_never_left_is_none(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->table->endpoints[0].price_per_second = 0.25;
    w->respond = refused_thrice;
    world_start(w);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(w->posts, 4);
    assert_int_equal(v.attempts, 4);
    assert_int_equal(v.posts, 1);
    assert_int_equal(w->row_posts[0], 1);
    assert_true(v.cost > 0.999 && v.cost < 1.001); /* the 4 s of the one that was answered */
    world_free(w);
}

static void lost(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->wire = WIRE_LOST;
}

static void an_unknown_outcome_is_not_asked_again_unless_told(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct world *w = world_new(1, 1, 1);
        w->table->endpoints[0].retry.unknown = told;
        w->respond = lost;
        world_start(w);
        world_run_to_end(w);
        assert_int_equal(w->posts, told ? 4 : 1);
        assert_int_equal(w->row_class[0], CLASS_UNKNOWN_OUTCOME);
        world_free(w);
    }
}

static void the_deadline_that_fires_is_named(void **state)
{
    (void)state;
    struct { int64_t hop_us, deadline_us; const char *name; } cases[] = {
        {3 * MINUTE_US, 15 * MINUTE_US, "hop of 3m 00s"},
        {20 * MINUTE_US, 15 * MINUTE_US, "deadline of 15m 00s"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct world *w = world_new(1, 1, 1);
        w->table->endpoints[0].hop_us = cases[i].hop_us;
        w->table->endpoints[0].deadline_us = cases[i].deadline_us;
        w->respond = hang;
        world_start(w);
        world_run_to_end(w);
        assert_int_equal(w->posts, 1);
        assert_int_equal(w->cancelled, 1);
        assert_int_equal(w->row_class[0], CLASS_TIMEOUT);
        if (!strstr(w->last_error, cases[i].name))
            fail_msg("%s not in: %s", cases[i].name, w->last_error);
        world_free(w);
    }
}

static void redirects_for_ever(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    *out = (struct reply){.status = 303, .location = "http://h/result", .takes_us = 150 * SECOND_US};
}

static void a_chain_is_bounded_by_the_deadline(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = redirects_for_ever;
    world_start(w);
    int64_t took_us = world_run(w);
    world_check_ended(w);
    assert_int_equal(took_us, 15 * MINUTE_US);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->row_class[0], CLASS_TIMEOUT);
    assert_non_null(strstr(w->last_error, "result URL"));
    world_free(w);
}

static void first_get_hangs(struct world *w, const struct exchange *x, struct reply *out)
{
    if (x->post)
        *out = (struct reply){.status = 303, .location = "http://h/result", .takes_us = SECOND_US};
    else if (w->gets == 0)
        out->takes_us = NEVER_US;
}

static void a_get_that_hangs_costs_its_hop_not_the_result(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = first_get_hangs;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->cancelled, 1);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->gets, 2);
    assert_int_equal(w->row_status[0], STATUS_SUCCEEDED);
    world_free(w);
}

static void refused_and_then_the_disk_is_slow(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)x;
    out->status = 503;
    w->commit_us = w->table->endpoints[0].deadline_us;
}

static void no_post_leaves_after_the_deadline(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = refused_and_then_the_disk_is_slow;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->began_rows, 2);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->row_class[0], CLASS_TIMEOUT);
    assert_non_null(strstr(w->last_error, "before the request was sent again"));
    world_free(w);
}

static void moved(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)x;
    if (w->posts < (unsigned)w->part)
        *out = (struct reply){.status = 308, .location = "http://h/elsewhere", .takes_us = SECOND_US};
}

static void a_308_repeats_the_post_five_times_at_most(void **state)
{
    (void)state;
    for (unsigned times = 5; times <= 6; times++) {
        struct world *w = world_new(1, 1, 1);
        w->part = times; /* how often it is sent on */
        w->respond = moved;
        world_start(w);
        world_run_to_end(w);
        assert_int_equal(w->posts, 6);
        assert_int_equal(w->row_status[0], times == 5 ? STATUS_SUCCEEDED : STATUS_FAILED);
        world_free(w);
    }
}

static void elsewhere(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->body = "region r1";
}

static void an_answer_from_elsewhere_is_not_this_cells(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1, 2);
    w->respond = elsewhere;
    world_start(w);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.endpoints[0].tally.by_status[STATUS_FAILED], 2);
    assert_int_equal(v.endpoints[1].tally.by_status[STATUS_SUCCEEDED], 2);
    assert_int_equal(w->row_class[0], CLASS_WRONG_REGION);
    assert_int_equal(v.state, JOB_PARTIAL);
    world_free(w);
}

static void busy_once(struct world *w, const struct exchange *x, struct reply *out)
{
    out->takes_us = SECOND_US / 10;
    if (x->endpoint->index == 0 && w->posts_to[0] == 2)
        *out = (struct reply){.status = 429, .retry_after = "60", .takes_us = SECOND_US / 10};
}

static void retry_after_holds_the_whole_endpoint_and_no_other(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 10);
    w->table->endpoints[0].slots = 2;
    w->respond = busy_once;
    world_start(w);
    int64_t began_us = w->now_us;
    while (world_view(w).endpoints[1].tally.by_status[STATUS_SUCCEEDED] < 10)
        assert_true(world_step(w));
    assert_true(w->now_us - began_us < 5 * SECOND_US);
    unsigned posts = w->posts_to[0];
    while (w->now_us - began_us < 60 * SECOND_US)
        assert_true(world_step(w));
    assert_true(w->posts_to[0] <= posts + 2); /* those that were in flight, and the first after the wait */
    world_run_to_end(w);
    assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
    assert_non_null(strstr(w->log, "held"));
    world_free(w);
}

static void spent(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (x->endpoint->index == 0)
        *out = (struct reply){.status = 429, .body = "workspace billing cycle spend limit reached",
                              .takes_us = SECOND_US};
}

static void a_spent_quota_stops_its_group_only(void **state)
{
    (void)state;
    struct world *w = world_new(1, 3, 10);
    struct group_spec groups[] = {{.name = "workspace"}};
    w->table->groups = groups;
    w->table->group_count = 1;
    w->table->endpoints[0].group = w->table->endpoints[1].group = 0;
    w->respond = spent;
    world_start(w);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.endpoints[2].tally.by_status[STATUS_SUCCEEDED], 10);
    assert_int_equal(v.endpoints[0].tally.by_status[STATUS_FAILED], 1);
    assert_int_equal(v.endpoints[0].tally.by_status[STATUS_SKIPPED], 9);
    assert_true(v.endpoints[1].tally.by_status[STATUS_SKIPPED] >= 8);
    assert_int_equal(w->row_class[0], CLASS_QUOTA_EXHAUSTED);
    world_free(w);
}

static void not_there(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->status = 404;
}

static void a_dead_endpoint_is_probed_three_times_and_then_left(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 100);
    w->respond = not_there;
    world_start(w);
    world_run_to_end(w);
    assert_int_equal(w->posts, 8); /* 5 failures, 3 probes */
    assert_non_null(strstr(w->log, "dead"));
    assert_int_equal(world_view(w).tally.by_status[STATUS_SKIPPED], 92);
    world_free(w);
}

static void recovers(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)x;
    if (w->posts < 6)
        out->status = 404;
}

static void a_good_probe_closes_the_breaker(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 20);
    w->respond = recovers;
    world_start(w);
    world_run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.tally.by_status[STATUS_FAILED], 6);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 14);
    assert_non_null(strstr(w->log, "closed"));
    world_free(w);
}

static void a_rate_paces_the_starts(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 31);
    w->table->endpoints[0].rate_per_minute = 60;
    w->table->endpoints[0].slots = 8;
    world_start(w);
    int64_t took_us = world_run(w);
    world_check_ended(w);
    assert_true(took_us >= 30 * SECOND_US && took_us <= 32 * SECOND_US);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_retry_gives_its_permits_back_and_goes_first_when_due),
        cmocka_unit_test(attempts_are_bounded),
        cmocka_unit_test(a_chain_of_60_hops_costs_one_post),
        cmocka_unit_test(a_202_is_polled_at_a_growing_pace),
        cmocka_unit_test(a_result_url_survives_bad_connections),
        cmocka_unit_test(a_post_that_never_left_is_none),
        cmocka_unit_test(an_unknown_outcome_is_not_asked_again_unless_told),
        cmocka_unit_test(the_deadline_that_fires_is_named),
        cmocka_unit_test(a_chain_is_bounded_by_the_deadline),
        cmocka_unit_test(a_get_that_hangs_costs_its_hop_not_the_result),
        cmocka_unit_test(no_post_leaves_after_the_deadline),
        cmocka_unit_test(a_308_repeats_the_post_five_times_at_most),
        cmocka_unit_test(an_answer_from_elsewhere_is_not_this_cells),
        cmocka_unit_test(retry_after_holds_the_whole_endpoint_and_no_other),
        cmocka_unit_test(a_spent_quota_stops_its_group_only),
        cmocka_unit_test(a_dead_endpoint_is_probed_three_times_and_then_left),
        cmocka_unit_test(a_good_probe_closes_the_breaker),
        cmocka_unit_test(a_rate_paces_the_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
