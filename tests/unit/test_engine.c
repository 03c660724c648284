/* The engine's rules, in a world where time is a number. */
#include <unistd.h>

#include "engine/state.h"
#include "world.h"

static void run_to_end(struct world *w)
{
    world_run(w);
    world_check_ended(w);
}

/* ---- order and permits ---- */

static void asks_everything_once(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 8);
    world_start(w);
    run_to_end(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.state, JOB_SUCCEEDED);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 64);
    assert_int_equal(w->posts, 64);
    assert_int_equal(w->began_rows, 64);
    assert_int_equal(w->ended_rows, 64);
    world_free(w);
}

static void uneven(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    out->takes_us = (x->endpoint->index + 1) * SECOND_US;
}

static void sequential_has_a_barrier_and_others_do_not(void **state)
{
    (void)state;
    for (int policy = 0; policy <= 2; policy++) {
        struct world *w = world_new(1, 3, 3);
        w->policy = policy;
        w->respond = uneven;
        world_start(w);
        run_to_end(w);
        if (policy == 1)
            assert_string_equal(w->log, "+0 -0 +1 -1 +2 -2 ");
        else
            assert_string_equal(w->log, "+0 +1 +2 -0 -1 -2 ");
        world_free(w);
    }
}

static void the_gap_between_batches_is_what_the_disk_takes(void **state)
{
    (void)state;
    struct world *w = world_new(1, 3, 4);
    w->policy = 1;
    w->commit_us = 700;
    world_start(w);
    run_to_end(w);
    assert_int_equal(world_view(w).max_batch_gap_us, 1400); /* the last end's row, the next attempt's row */
    world_free(w);
}

static void every_cap_is_reached_and_never_passed(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 12);
    w->table->in_flight = 7;
    w->table->regions[0].in_flight = 3;
    for (unsigned i = 0; i < 8; i++)
        w->table->endpoints[i].slots = 2;
    world_start(w);
    unsigned peak_region = 0;
    for (unsigned steps = 0; !w->over; steps++) {
        assert_true(world_step(w));
        unsigned region = w->open[0] + w->open[1] + w->open[2] + w->open[3];
        peak_region = region > peak_region ? region : peak_region;
    }
    world_check_ended(w);
    assert_int_equal(w->peak_all, 7);
    assert_int_equal(peak_region, 3);
    assert_int_equal(w->peak[5], 2);
    world_free(w);
}

static void a_jobs_own_cap_holds(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 4);
    w->spec->in_flight = 5;
    world_start(w);
    run_to_end(w);
    assert_int_equal(w->peak_all, 5);
    world_free(w);
}

static void one_request_at_most_goes_to_a_cold_endpoint(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 10);
    w->table->endpoints[0].slots = 4;
    world_start(w);
    while (w->row_status[0] != STATUS_SUCCEEDED) {
        assert_true(world_step(w));
        if (w->row_status[0] != STATUS_SUCCEEDED)
            assert_true(w->open[0] <= 1);
    }
    run_to_end(w);
    assert_int_equal(w->peak[0], 4);
    assert_int_equal(world_view(w).endpoints[0].cold_count, 1);
    world_free(w);
}

static void some_misbehave(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (x->endpoint->index == 0)
        out->takes_us = NEVER_US;
    if (x->endpoint->index == 1)
        out->status = 500;
}

static void no_endpoint_holds_back_another(void **state)
{
    (void)state;
    int64_t alone_us = 0, beside_us = 0;
    for (int others = 0; others < 2; others++) {
        struct world *w = world_new(1, 3, 20);
        w->respond = others ? some_misbehave : world_ok;
        world_start(w);
        world_run(w);
        const struct endpoint_tally *t = &world_view(w).endpoints[2];
        assert_int_equal(t->tally.by_status[STATUS_SUCCEEDED], 20);
        *(others ? &beside_us : &alone_us) = t->cold_us + t->warm_us;
        world_check_ended(w);
        world_free(w);
    }
    assert_int_equal(alone_us, beside_us);
}

static void runs_that_overlap_ask_once(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 5);
    w->policy = 6;
    world_start(w);
    run_to_end(w);
    assert_int_equal(w->posts, 10);
    assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
    world_free(w);
}

static void all_answer_at_once(struct world *w)
{
    while (w->flying_count) {
        struct exchange *x = w->flying[0].x;
        world_land(w, 0);
        engine_exchange_ended(w->engine, x, &(struct response){.wire = WIRE_ANSWERED, .http_status = 200, .body = STR("ok")});
    }
}

/* Two lines wait for the region, two for the group, and each needs both. Both come free in the same turn: what one gate
 * keeps for a line it called must not keep out who was called by the other. */
static void lines_called_by_two_gates_do_not_call_one_another_for_ever(void **state)
{
    (void)state;
    struct world *w = world_new(2, 3, 1);
    struct group_spec groups[] = {{.name = "workspace", .in_flight = 1}};
    struct endpoint_spec *e = w->table->endpoints;
    w->table->groups = groups;
    w->table->group_count = 1;
    w->table->regions[0].in_flight = 1;
    e[3].region = 1;
    e[4].region = e[5].region = 0;
    for (unsigned i = 1; i < 6; i++)
        e[i].group = 0;
    world_start(w);
    while (w->flying_count < 2)
        assert_true(world_step(w));
    assert_int_equal(w->posts_to[0] + w->posts_to[3], 2); /* one has the region, the other the group */
    alarm(30);
    all_answer_at_once(w);
    run_to_end(w);
    alarm(0);
    assert_int_equal(w->posts, 6);
    assert_int_equal(w->engine->regions.list[0]->sema.peak, 1);
    assert_int_equal(w->engine->groups.list[0]->sema.peak, 1);
    world_free(w);
}

/* ---- outcomes ---- */

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

static void always_503(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->status = 503;
}

static void attempts_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->table->endpoints[0].breaker.failures = 0;
    w->respond = always_503;
    world_start(w);
    run_to_end(w);
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
    run_to_end(w);
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

static void lost_on_the_result_url(struct world *w, const struct exchange *x, struct reply *out)
{
    if (x->post)
        *out = (struct reply){.status = 303, .location = "http://h/result", .takes_us = SECOND_US};
    else if (w->gets < 3)
        *out = (struct reply){.wire = w->gets ? WIRE_LOST : WIRE_CONNECT, .takes_us = SECOND_US};
    else if (w->gets < 5)
        *out = (struct reply){.status = 502, .takes_us = SECOND_US};
}

static void a_result_url_survives_bad_connections(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    w->respond = lost_on_the_result_url;
    world_start(w);
    run_to_end(w);
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
    run_to_end(w);
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
        run_to_end(w);
        assert_int_equal(w->posts, told ? 4 : 1);
        assert_int_equal(w->row_class[0], CLASS_UNKNOWN_OUTCOME);
        world_free(w);
    }
}

static void hang(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->takes_us = NEVER_US;
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
        run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
        run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
        run_to_end(w);
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
    run_to_end(w);
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
    run_to_end(w);
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
        run_to_end(w);
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
        run_to_end(w);
        if (w->table->in_flight)
            assert_true(w->peak_all <= w->table->in_flight);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_everything_once),
        cmocka_unit_test(sequential_has_a_barrier_and_others_do_not),
        cmocka_unit_test(the_gap_between_batches_is_what_the_disk_takes),
        cmocka_unit_test(every_cap_is_reached_and_never_passed),
        cmocka_unit_test(a_jobs_own_cap_holds),
        cmocka_unit_test(one_request_at_most_goes_to_a_cold_endpoint),
        cmocka_unit_test(no_endpoint_holds_back_another),
        cmocka_unit_test(runs_that_overlap_ask_once),
        cmocka_unit_test(lines_called_by_two_gates_do_not_call_one_another_for_ever),
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
