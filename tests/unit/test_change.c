/* The region table is exchanged while a job runs. */
#include "core/breaker.h"
#include "world.h"

/* Another snapshot of the same shape, revision 8. */
static struct region_table *next_table(unsigned regions, unsigned models)
{
    struct world *like = world_new(regions, models, 1);
    struct region_table *t = region_table_ref(like->table);
    t->revision = 8;
    world_free(like);
    return t;
}

static void change(struct world *w, struct region_table *t)
{
    engine_change_table(w->engine, t);
    region_table_unref(w->table);
    w->table = t;
}

static void step_until_posts(struct world *w, unsigned posts)
{
    while (w->posts < posts)
        assert_true(world_step(w));
}

static struct endpoint_view endpoint(const struct world *w, unsigned i)
{
    struct endpoint_view v;
    engine_job_endpoint_view(w->job, i, &v);
    return v;
}

static void all_succeeded(const struct world *w)
{
    struct job_view v = world_view(w);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], v.plan->count);
    assert_int_equal(w->cancelled, 0);
    assert_int_equal(engine_in_flight(w->engine, NULL), 0);
}

enum bound { BY_ENDPOINT, BY_REGION, BY_GROUP, BY_GLOBAL, BOUNDS };

static void bind_table(struct region_table *t, enum bound by, unsigned limit)
{
    t->group_count = 1;
    t->groups = arena_alloc(&t->arena, sizeof *t->groups);
    t->groups[0] = (struct group_spec){.name = "quota", .in_flight = by == BY_GROUP ? limit : 0};
    t->regions[0].in_flight = by == BY_REGION ? limit : 0;
    t->in_flight = by == BY_GLOBAL ? limit : 0;
    for (size_t i = 0; i < t->endpoint_count; i++) {
        t->endpoints[i].group = 0;
        t->endpoints[i].slots = by == BY_ENDPOINT ? limit : 50;
    }
}

static struct world *bound_world(enum bound by, unsigned limit)
{
    struct world *w = world_new(1, 1, 100);
    bind_table(w->table, by, limit);
    world_start(w);
    step_until_posts(w, 20); /* warm, and as much in flight as may be */
    assert_int_equal(w->peak_all, limit);
    return w;
}

static void raised_permits_are_used_within_one_turn(void **state)
{
    (void)state;
    for (enum bound by = 0; by < BOUNDS; by++) {
        struct world *w = bound_world(by, 2);
        struct region_table *t = next_table(1, 1);
        bind_table(t, by, by == BY_ENDPOINT ? 9 : 0); /* a cap may go altogether */
        change(w, t);
        engine_turn(w->engine);
        assert_int_equal(engine_in_flight(w->engine, NULL), by == BY_ENDPOINT ? 9 : 50);
        world_run(w);
        world_check_ended(w);
        all_succeeded(w);
        world_free(w);
    }
}

static void lowered_permits_drain(void **state)
{
    (void)state;
    for (enum bound by = 0; by < BOUNDS; by++) {
        struct world *w = bound_world(by, 8);
        struct region_table *t = next_table(1, 1);
        bind_table(t, by, 3);
        change(w, t);
        for (unsigned before = w->open_all; !w->over; before = w->open_all) {
            assert_true(world_step(w));
            assert_true(w->open_all <= 3 || w->open_all <= before);
        }
        all_succeeded(w);
        world_free(w);
    }
}

/* The endpoint 1 of 2 is paused or gone, and comes back. */
static struct region_table *without(bool paused)
{
    struct region_table *t = next_table(1, paused ? 2 : 1);
    if (paused)
        t->endpoints[1].paused = "too dear";
    return t;
}

static void what_waits_for_an_endpoint_goes_on_when_it_returns(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct world *w = world_new(1, 2, 10);
        struct region_table *again = next_table(1, 2), *out = without(paused);
        world_start(w);
        step_until_posts(w, 6);
        engine_change_table(w->engine, out);
        struct change_effect effect;
        unsigned asked = w->posts_to[1];
        while (world_step(w))
            continue;
        assert_int_equal(w->posts_to[1], asked);
        assert_int_equal(w->row_status[1], STATUS_SUCCEEDED); /* it was in flight */
        assert_int_equal(w->cancelled, 0);
        assert_int_equal(w->posts_to[0], 10);
        assert_string_equal(endpoint(w, 1).away, paused ? "too dear" : "it is not in the region table");
        engine_change_effect(w->job, again, &effect);
        assert_int_equal(effect.released, 10 - asked);
        again->revision = 9;
        change(w, again);
        world_run(w);
        world_check_ended(w);
        all_succeeded(w);
        assert_int_equal(w->row_revision[0], 7);
        assert_int_equal(w->row_revision[19], 9);
        region_table_unref(out);
        world_free(w);
    }
}

static void what_need_not_wait_for_an_endpoint_is_skipped(void **state)
{
    (void)state;
    for (int policy = 0; policy <= 2; policy++)
        for (int paused = 0; paused < 2; paused++) {
            struct world *w = world_new(1, 2, 10);
            struct region_table *out = without(paused);
            struct change_effect effect;
            w->spec->on_missing = ON_MISSING_SKIP;
            w->policy = policy;
            world_start(w);
            step_until_posts(w, 5);
            uint32_t pending = world_view(w).endpoints[1].tally.by_status[STATUS_PENDING];
            engine_change_effect(w->job, out, &effect);
            assert_int_equal(effect.skipped, pending);
            assert_int_equal(effect.moved + effect.waiting + effect.released, 0);
            engine_change_table(w->engine, out);
            world_run(w);
            struct job_view v = world_view(w);
            assert_int_equal(v.state, JOB_PARTIAL);
            assert_int_equal(v.endpoints[0].tally.by_status[STATUS_SUCCEEDED], 10);
            assert_int_equal(v.endpoints[1].tally.by_status[STATUS_SUCCEEDED], 10 - pending);
            assert_int_equal(v.endpoints[1].tally.by_status[STATUS_SKIPPED], pending);
            region_table_unref(out);
            world_free(w);
        }
}

/* Only at the old address does the first attempt fail. */
static void fails_at_the_old_url(struct world *w, const struct exchange *x, struct reply *out)
{
    bool moved = strstr(x->endpoint->url, "moved");
    w->part += moved;
    if (!moved && w->posts == 0)
        *out = (struct reply){.status = 503, .body = "transient", .takes_us = 3 * SECOND_US};
}

static void a_moved_url_is_for_what_is_sent_from_then_on(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 6);
    struct region_table *t = next_table(1, 1);
    struct change_effect effect;
    w->respond = fails_at_the_old_url;
    world_start(w);
    step_until_posts(w, 2);
    t->endpoints[0].url = "http://h/moved";
    t->endpoints[0].slots = 2;
    engine_change_effect(w->job, t, &effect);
    assert_int_equal(effect.moved, 5 - 1 + (w->row_status[0] == STATUS_BACKING_OFF));
    assert_int_equal(effect.finishing, 1);
    assert_int_equal(effect.revision, 7);
    change(w, t);
    world_run(w);
    world_check_ended(w);
    all_succeeded(w);
    assert_int_equal(w->part, w->posts - 2);
    assert_int_equal(w->row_revision[0], 8); /* its retry */
    assert_int_equal(w->row_revision[1], 7); /* in flight */
    assert_int_equal(w->row_revision[5], 8);
    world_free(w);
}

static void result_then_ok(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (x->post)
        *out = (struct reply){.status = 303, .location = "http://h/result/1", .takes_us = SECOND_US};
    else
        out->takes_us = 5 * SECOND_US;
}

static void a_result_url_is_followed_whatever_became_of_its_endpoint(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    struct region_table *none = next_table(1, 1);
    none->endpoint_count = 0;
    w->respond = result_then_ok;
    world_start(w);
    step_until_posts(w, 1);
    engine_change_table(w->engine, none);
    world_run(w);
    all_succeeded(w);
    assert_int_equal(w->posts, 1);
    assert_int_equal(w->gets, 1);
    assert_int_equal(w->row_revision[0], 7);
    region_table_unref(none);
    world_free(w);
}

static void permits_go_back_to_the_group_they_are_of(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 30);
    bind_table(w->table, BY_GROUP, 4);
    world_start(w);
    step_until_posts(w, 10);
    for (unsigned i = 0; i < 6; i++) { /* to another group, to none, and back */
        struct region_table *t = next_table(1, 2);
        bind_table(t, BY_GROUP, 1 + i);
        t->endpoints[0].slots = t->endpoints[1].slots = 3;
        t->groups[0].name = i % 2 ? "quota" : "other";
        if (i % 3 == 2)
            t->endpoints[0].group = t->endpoints[1].group = NO_INDEX;
        change(w, t);
        step_until_posts(w, w->posts + 4);
    }
    world_run(w);
    all_succeeded(w);
    world_free(w);
}

static void always_500(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    *out = (struct reply){.status = 500, .body = "error", .takes_us = SECOND_US};
}

static void a_breaker_stays_open_unless_the_url_moves(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 20);
    w->respond = always_500;
    world_start(w);
    while (endpoint(w, 0).breaker != BREAKER_OPEN)
        assert_true(world_step(w));
    int64_t until_us = endpoint(w, 0).breaker_until_us;
    struct region_table *t = next_table(1, 1), *moved = next_table(1, 1);
    t->endpoints[0].slots = 5;
    t->endpoints[0].deadline_us = HOUR_US;
    change(w, t);
    assert_int_equal(endpoint(w, 0).breaker, BREAKER_OPEN);
    assert_int_equal(endpoint(w, 0).breaker_until_us, until_us);
    moved->endpoints[0].url = "http://h/moved";
    change(w, moved);
    assert_int_equal(endpoint(w, 0).breaker, BREAKER_CLOSED);
    w->respond = world_ok;
    world_run(w);
    assert_true(world_view(w).tally.by_status[STATUS_SUCCEEDED] >= 10);
    world_free(w);
}

static void an_adaptive_limit_is_kept_within_its_new_bounds(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 300);
    w->table->endpoints[0].adaptive = (struct adaptive_rule){1, 20};
    world_start(w);
    while (endpoint(w, 0).limit < 12)
        assert_true(world_step(w));
    unsigned found = endpoint(w, 0).limit;
    for (unsigned ceiling = 30; ceiling > 0; ceiling = ceiling == 30 ? 5 : 0) {
        struct region_table *t = next_table(1, 1);
        t->endpoints[0].adaptive = (struct adaptive_rule){1, ceiling};
        change(w, t);
        assert_int_equal(endpoint(w, 0).limit, ceiling < found ? ceiling : found);
    }
    world_run(w);
    all_succeeded(w);
    world_free(w);
}

static void a_deadline_is_of_the_snapshot_it_was_sent_under(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 2);
    struct region_table *t = next_table(1, 1);
    w->respond = hang;
    w->table->endpoints[0].deadline_us = w->table->endpoints[0].hop_us = 100 * SECOND_US;
    t->endpoints[0].deadline_us = t->endpoints[0].hop_us = 10 * SECOND_US;
    world_start(w);
    step_until_posts(w, 1);
    change(w, t);
    assert_int_equal(world_run(w), 110 * SECOND_US);
    assert_int_equal(w->row_revision[0], 7);
    assert_int_equal(w->row_revision[1], 8);
    world_free(w);
}

static void a_job_does_not_wait_to_warm_what_went_away(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 3);
    w->spec->warm = true;
    w->table->in_flight = 1;
    w->table->endpoints[0].warm = w->table->endpoints[1].warm = WARM_ASK;
    w->spec->on_missing = ON_MISSING_SKIP;
    world_start(w);
    struct region_table *out = without(true);
    out->endpoints[0].warm = out->endpoints[1].warm = WARM_ASK;
    change(w, out);
    world_run(w);
    struct job_view v = world_view(w);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 3);
    assert_int_equal(v.tally.by_status[STATUS_SKIPPED], 3);
    assert_int_equal(v.warm.failed, 1);
    world_free(w);
}

static void edits_without_end_lose_and_repeat_nothing(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5);
    struct world *w = world_new(2, 3, 60);
    w->commit_us = 100 * MS_US;
    world_start(w);
    for (unsigned edits = 0; !w->over; edits++) {
        struct region_table *t = next_table(2, edits < 500 ? (unsigned)(rng_next(&rng) % 4) : 3);
        t->revision = 8 + edits;
        t->in_flight = (unsigned)(rng_next(&rng) % 5);
        t->regions[0].in_flight = (unsigned)(rng_next(&rng) % 3);
        for (size_t i = 0; i < t->endpoint_count; i++) {
            t->endpoints[i].slots = 1 + (unsigned)(rng_next(&rng) % 4);
            t->endpoints[i].paused = edits < 500 && rng_next(&rng) % 4 == 0 ? "drawn" : NULL;
            if (rng_next(&rng) % 4 == 0)
                t->endpoints[i].url = "http://h/elsewhere";
        }
        engine_change_table(w->engine, t);
        region_table_unref(t);
        for (unsigned n = (unsigned)(rng_next(&rng) % 4); n > 0 && !w->over; n--)
            if (!world_step(w))
                break;
    }
    all_succeeded(w);
    assert_int_equal(w->posts, 360);
    world_free(w);
}

/* In each phase of an execution: nothing new leaves, what is under way ends, and then all of it. */
static void a_paused_job_asks_nobody(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 60; steps++) {
        struct world *w = world_new(2, 2, 5);
        world_start(w);
        for (unsigned i = 0; i < steps && !w->over; i++)
            world_step(w);
        unsigned recorded = w->began_rows;
        if (!engine_pause(w->job, "lunch")) {
            assert_int_equal(recorded, 20); /* it ends, or has ended */
            world_run(w);
            world_free(w);
            continue;
        }
        assert_false(engine_pause(w->job, "again"));
        assert_int_equal(world_view(w).state, JOB_PAUSED);
        assert_string_equal(world_view(w).reason, "lunch");
        while (!w->over && world_step(w))
            continue;
        assert_int_equal(w->began_rows, recorded);
        assert_int_equal(engine_in_flight(w->engine, NULL), 0);
        assert_true(engine_unpause(w->job) || recorded == 20);
        assert_false(engine_unpause(w->job));
        world_run(w);
        world_check_ended(w);
        all_succeeded(w);
        world_free(w);
    }
}

static void a_paused_job_can_be_stopped(void **state)
{
    (void)state;
    for (int how = STOP_DRAIN; how <= STOP_ABORT; how++) {
        struct world *w = world_new(1, 2, 5);
        world_start(w);
        step_until_posts(w, 2);
        assert_true(engine_pause(w->job, "lunch"));
        engine_stop(w->job, (enum stop_how)how, JOB_CANCELLED, "enough");
        assert_false(engine_unpause(w->job));
        world_run(w);
        assert_int_equal(world_view(w).state, JOB_CANCELLED);
        world_free(w);
    }
}

/* In each phase: the chosen ones end so, all others are answered, and whoever waited for them goes on. */
static void some_are_cancelled_and_the_others_go_on(void **state)
{
    (void)state;
    static const struct execution_choice choices[] = {{7, -1, -1}, {-1, 2, -1}, {-1, -1, 1}, {-1, 3, 1}, {-1, -1, -1}};
    for (int policy = 0; policy <= 2; policy++)
        for (size_t c = 0; c < ARRAY_LEN(choices); c++)
            for (unsigned steps = 0; steps < 40; steps += 3) {
                struct world *w = world_new(1, 2, 5);
                w->policy = policy;
                world_start(w);
                for (unsigned i = 0; i < steps && !w->over; i++)
                    world_step(w);
                uint64_t cancelled = engine_cancel_some(w->job, &choices[c], "not wanted");
                assert_int_equal(engine_cancel_some(w->job, &choices[c], "again"), 0);
                world_run(w);
                struct job_view v = world_view(w);
                assert_int_equal(v.tally.by_status[STATUS_CANCELLED], cancelled);
                assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 10 - cancelled);
                assert_int_equal(v.state, !cancelled ? JOB_SUCCEEDED : cancelled < 10 ? JOB_PARTIAL : JOB_FAILED);
                assert_int_equal(engine_in_flight(w->engine, NULL), 0);
                world_free(w);
            }
}

/* Its line waits at a gate that will never call it: what was cancelled must not need a permit to be over. */
static void what_waits_for_a_paused_endpoint_can_be_cancelled(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 5);
    w->table->endpoints[1].paused = "too dear";
    world_start(w);
    while (world_step(w))
        continue;
    assert_false(w->over);
    assert_int_equal(engine_cancel_some(w->job, &(struct execution_choice){-1, -1, 1}, "not wanted"), 5);
    world_run(w);
    world_check_ended(w);
    assert_int_equal(world_view(w).tally.by_status[STATUS_SUCCEEDED], 5);
    world_free(w);
}

static void not_sent(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w, (void)x;
    out->wire = WIRE_NOT_SENT;
}

/* A second run wants what the first has begun, and its line is asleep at a paused endpoint until the deadline. */
static void a_deadline_at_a_paused_endpoint_ends_all_that_wait_for_it(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    struct region_table *t = next_table(1, 1);
    t->endpoints[0].paused = "too dear";
    w->respond = not_sent;
    world_start(w);
    while (w->ended_rows == 0)
        assert_true(world_step(w));
    change(w, t);
    while (endpoint(w, 0).backing_off)
        assert_true(world_step(w));
    w->policy = 6;
    w->part = 1;
    engine_run(w->job, selection_copy(w->all), NULL);
    world_run(w);
    world_check_ended(w);
    assert_int_equal(w->row_status[0], STATUS_FAILED);
    world_free(w);
}

static void a_drained_engine_leaves_the_rest_open(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2, 5);
    world_start(w);
    step_until_posts(w, 4);
    unsigned recorded = w->began_rows;
    engine_drain(w->engine);
    while (world_step(w))
        continue;
    assert_false(w->over);
    assert_int_equal(w->began_rows, recorded);
    assert_int_equal(engine_in_flight(w->engine, NULL), 0);
    struct job_view v = world_view(w);
    assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], recorded);
    assert_int_equal(v.tally.by_status[STATUS_PENDING], 10 - recorded);
    assert_int_equal(v.state, JOB_RUNNING);
    engine_stop(w->job, STOP_ABORT, JOB_CANCELLED, "enough");
    world_run(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_job_asks_nobody),
        cmocka_unit_test(a_paused_job_can_be_stopped),
        cmocka_unit_test(some_are_cancelled_and_the_others_go_on),
        cmocka_unit_test(what_waits_for_a_paused_endpoint_can_be_cancelled),
        cmocka_unit_test(a_deadline_at_a_paused_endpoint_ends_all_that_wait_for_it),
        cmocka_unit_test(a_drained_engine_leaves_the_rest_open),
        cmocka_unit_test(raised_permits_are_used_within_one_turn),
        cmocka_unit_test(lowered_permits_drain),
        cmocka_unit_test(what_waits_for_an_endpoint_goes_on_when_it_returns),
        cmocka_unit_test(what_need_not_wait_for_an_endpoint_is_skipped),
        cmocka_unit_test(a_moved_url_is_for_what_is_sent_from_then_on),
        cmocka_unit_test(a_result_url_is_followed_whatever_became_of_its_endpoint),
        cmocka_unit_test(permits_go_back_to_the_group_they_are_of),
        cmocka_unit_test(a_breaker_stays_open_unless_the_url_moves),
        cmocka_unit_test(an_adaptive_limit_is_kept_within_its_new_bounds),
        cmocka_unit_test(a_deadline_is_of_the_snapshot_it_was_sent_under),
        cmocka_unit_test(a_job_does_not_wait_to_warm_what_went_away),
        cmocka_unit_test(edits_without_end_lose_and_repeat_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
