/* Order and permits, in a world where time is a number. */
#include <unistd.h>

#include "engine/state.h"
#include "world.h"


static void asks_everything_once(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4, 8);
    world_start(w);
    world_run_to_end(w);
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
        world_run_to_end(w);
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
    world_run_to_end(w);
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
    world_run_to_end(w);
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
    world_run_to_end(w);
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
    world_run_to_end(w);
    assert_int_equal(w->posts, 10);
    assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
    world_free(w);
}

static void all_answer_at_once(struct world *w)
{
    while (w->flying_count) {
        struct exchange *x = w->flying[0].x;
        world_land(w, 0);
        engine_exchange_ended(w->engine, x,
                              &(struct response){.wire = WIRE_ANSWERED, .http_status = 200, .body = STR("ok")});
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
    world_run_to_end(w);
    alarm(0);
    assert_int_equal(w->posts, 6);
    assert_int_equal(w->engine->regions.list[0]->sema.peak, 1);
    assert_int_equal(w->engine->groups.list[0]->sema.peak, 1);
    world_free(w);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
