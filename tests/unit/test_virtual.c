#include "sim/virtual.h"

#include "base/defs.h"
#include "trial.h"

/* ---- the same on each run ---- */

static struct fleet_spec *troubled_fleet(uint64_t seed)
{
    static const struct fleet_fault faults[] = {
        {.to_us = HOUR_US, .what = FAULT_503, .share = 0.1},
        {.from_us = MINUTE_US, .what = FAULT_RESET, .share = 0.05},
        {.what = FAULT_SLOW, .share = 0.1, .factor = 5},
        {.what = FAULT_ERROR, .share = 0.05},
        {.what = FAULT_TRUNCATED, .share = 0.02},
        {.what = FAULT_MALFORMED, .share = 0.02},
        {.what = FAULT_WRONG_REGION, .share = 0.02},
    };
    struct fleet_spec *spec = eight_endpoints(seed);
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        spec->endpoints[i].service = (struct dist){.kind = DIST_LOGNORMAL, .a = 40e6, .b = 0.5};
        spec->endpoints[i].cold = seconds_between(100, 400);
        spec->endpoints[i].containers = 1 + (unsigned)i % 3;
    }
    set_faults(spec, faults, ARRAY_LEN(faults));
    return spec;
}

static char *trace_of(uint64_t seed)
{
    struct trial *t = trial_new(troubled_fleet(seed), 30);
    t->options.commit_us = 3 * MS_US;
    trial_run(t);
    assert_true(t->events[EVENT_ATTEMPT_FAILED] > 10 && t->events[EVENT_HOP] > 10);
    char *trace = buf_take(&t->trace);
    trial_free(t);
    return trace;
}

static void test_the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    char *first = trace_of(7), *again = trace_of(7), *other = trace_of(8);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    free(first);
    free(again);
    free(other);
}

/* ---- what an endpoint does ---- */

static void test_a_chain_of_303s(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.cold = seconds_between(500, 500);
    struct trial *t = one_endpoint(1, e);
    assert_int_equal(trial_run(t), 540 * SECOND_US);
    assert_int_equal(succeeded(t), 1);
    assert_int_equal(view_of(t).posts, 1);
    assert_int_equal(view_of(t).hops, 3); /* after 150, 300 and 450 s */
    trial_free(t);
}

static void test_polling_a_202(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.redirect_status = 202;
    e.redirect_after_us = 10 * SECOND_US;
    e.retry_after_us = 30 * SECOND_US;
    struct trial *t = one_endpoint(1, e);
    trial_run(t);
    assert_int_equal(succeeded(t), 1);
    assert_int_equal(view_of(t).hops, 5); /* at 40, 70, ... 160; it is there at 140 */
    trial_free(t);
}

static void test_retry_after_is_obeyed(void **state)
{
    (void)state;
    static const struct fleet_fault faults[] = {{.to_us = 25 * SECOND_US, .what = FAULT_429, .share = 1}};
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.retry_after_us = 30 * SECOND_US;
    struct trial *t = one_endpoint(1, e);
    set_faults(t->fleet, faults, 1);
    trial_run(t);
    assert_int_equal(succeeded(t), 1);
    assert_int_equal(view_of(t).posts, 2);
    assert_true(t->last_post_us - t->first_us >= 30 * SECOND_US);
    assert_int_equal(t->events[EVENT_ENDPOINT_HELD], 1);
    trial_free(t);
}

static void test_a_fault_has_its_window(void **state)
{
    (void)state;
    static const struct fleet_fault faults[] = {
        {.from_us = 200 * SECOND_US, .to_us = 300 * SECOND_US, .region = "us", .what = FAULT_500, .share = 1}};
    struct fleet_endpoint endpoints[2] = {plain_endpoint("us", "m"), plain_endpoint("eu", "m")};
    struct trial *t = trial_new(make_spec(1, endpoints, 2), 10);
    t->table->endpoints[0].retry = (struct retry_rule){.attempts = 100, .base_us = SECOND_US, .cap_us = 4 * SECOND_US};
    set_faults(t->fleet, faults, 1);
    trial_run(t);
    const struct fleet_counts *us = fleet_counts(virtual_fleet(t->world),
                                                 0), *eu = fleet_counts(virtual_fleet(t->world), 1);
    assert_int_equal(succeeded(t), 20);
    assert_true(us->faults[FAULT_500] > 5);
    assert_int_equal(us->faults[FAULT_500], t->events[EVENT_ATTEMPT_FAILED]);
    assert_int_equal(eu->posts, 10);
    trial_free(t);
}

static void test_what_is_wrong_with_an_answer(void **state)
{
    (void)state;
    static const struct { enum fault_what what; enum failure_class class; } cases[] = {
        {FAULT_RESET, CLASS_UNKNOWN_OUTCOME}, {FAULT_HANG, CLASS_TIMEOUT}, {FAULT_TRUNCATED, CLASS_UNKNOWN_OUTCOME},
        {FAULT_MALFORMED, CLASS_BAD_RESPONSE}, {FAULT_ERROR, CLASS_BAD_RESPONSE},
        {FAULT_WRONG_REGION, CLASS_WRONG_REGION},
        {FAULT_WRONG_MODEL, CLASS_WRONG_MODEL}, {FAULT_TOO_LARGE, CLASS_TOO_LARGE}, {FAULT_404, CLASS_NOT_FOUND},
        {FAULT_401, CLASS_HTTP_CLIENT}, {FAULT_QUOTA, CLASS_QUOTA_EXHAUSTED}, {FAULT_REDIRECT_AWAY, CLASS_CONFIG},
        {FAULT_500, CLASS_HTTP_SERVER}, {FAULT_EMPTY, CLASS_NONE}, {FAULT_REFUSAL, CLASS_NONE},
        {FAULT_SLOW, CLASS_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_fault fault = {.what = cases[i].what, .share = 1, .factor = 2, .to = "https://elsewhere/"};
        struct trial *t = trial_new(eight_endpoints(1), 1);
        set_faults(t->fleet, &fault, 1);
        trial_run(t);
        if (t->last_class != cases[i].class)
            fail_msg("%s: %s", fault_name(cases[i].what), class_name(t->last_class));
        trial_free(t);
    }
}

static void test_who_is_not_in_the_fleet(void **state)
{
    (void)state;
    struct trial *t = trial_new(eight_endpoints(1), 1);
    t->table->endpoints[3].id = "eu/another";
    t->table->endpoints[3].retry.attempts = 2;
    trial_start(t);
    while (!t->over)
        assert_true(virtual_step(t->world));
    assert_int_equal(succeeded(t), 7);
    assert_int_equal(t->last_class, CLASS_NONE);
    assert_non_null(strstr(buf_str(&t->trace).ptr, "does not have this endpoint"));
    assert_int_equal(view_of(t).posts, 7);
    trial_free(t);
}

/* ---- closing ---- */

static void test_an_abort_closes_all_in_the_fleet(void **state)
{
    (void)state;
    struct trial *t = trial_new(eight_endpoints(1), 4);
    trial_start(t);
    while (virtual_now_us(t->world) < VIRTUAL_START_US + 60 * SECOND_US && virtual_next_us(t->world) < 61 * SECOND_US)
        virtual_step(t->world);
    assert_int_equal(fleet_totals(virtual_fleet(t->world))->open, 8);
    virtual_go(t->world, VIRTUAL_START_US + 60 * SECOND_US); /* somebody acts between two things due */
    engine_stop(t->job, STOP_ABORT, JOB_CANCELLED, "enough");
    while (!t->over)
        assert_true(virtual_step(t->world));
    check_counts(t);
    assert_int_equal(fleet_totals(virtual_fleet(t->world))->calls_cancelled, 8);
    assert_int_equal(virtual_now_us(t->world), VIRTUAL_START_US + 60 * SECOND_US);
    trial_free(t);
}

static void test_a_deadline_closes_a_hanging_exchange(void **state)
{
    (void)state;
    static const struct fleet_fault faults[] = {{.what = FAULT_HANG, .share = 1}};
    struct trial *t = one_endpoint(2, plain_endpoint("us", "m"));
    set_faults(t->fleet, faults, 1);
    assert_int_equal(trial_run(t), 2 * 3 * MINUTE_US);
    assert_int_equal(fleet_totals(virtual_fleet(t->world))->aborted, 2);
    trial_free(t);
}

static void test_freed_in_mid_run(void **state)
{
    (void)state;
    struct trial *t = trial_new(troubled_fleet(3), 30);
    trial_start(t);
    for (int i = 0; i < 200; i++)
        virtual_step(t->world);
    assert_true(fleet_totals(virtual_fleet(t->world))->open > 0);
    trial_free(t);
}

/* ---- time ---- */

static void test_cold_again_after_a_scaledown(void **state)
{
    (void)state;
    for (int longer = 0; longer < 2; longer++) {
        struct trial *t = one_endpoint(2, plain_endpoint("us", "m"));
        t->order = ORDER_TWICE_WITH_A_NAP;
        t->nap_us = longer ? 11 * MINUTE_US : 9 * MINUTE_US;
        int64_t took_us = trial_run(t);
        assert_int_equal(took_us, t->nap_us + (longer ? 280 : 180) * SECOND_US);
        assert_int_equal(fleet_totals(virtual_fleet(t->world))->cold_starts, 1 + longer);
        assert_int_equal(t->cold_ends, 1 + longer);
        assert_int_equal(view_of(t).endpoints[0].cold_count, 1 + longer); /* as the engine saw it */
        assert_int_equal(view_of(t).endpoints[0].longest_idle_us, t->nap_us);
        trial_free(t);
    }
}

static void test_a_commit_takes_time(void **state)
{
    (void)state;
    struct trial *t = one_endpoint(3, plain_endpoint("us", "m"));
    t->options.commit_us = 10 * MS_US;
    t->order = ORDER_BY_ENDPOINT;
    /* Between two POSTs: the answer's row, then the row of the next POST. */
    assert_int_equal(trial_run(t), 220 * SECOND_US + 5 * 10 * MS_US);
    trial_free(t);
}

static void test_a_fast_fleet(void **state)
{
    (void)state;
    struct trial *t = trial_new(eight_endpoints(1), 3);
    t->options.speed = 60;
    int64_t took_us = trial_run(t);
    assert_in_range(took_us, 220 * SECOND_US / 60, 220 * SECOND_US / 60 + 10);
    trial_free(t);
}

static int64_t answered_in(void *ctx, const struct exchange *x)
{
    (void)ctx;
    return (x->endpoint->index + 1) * SECOND_US;
}

static void test_without_a_fleet(void **state)
{
    (void)state;
    struct trial *t = trial_new(eight_endpoints(1), 5);
    t->options = (struct virtual_options){.speed = 1, .takes_us = answered_in, .ctx = t};
    trial_start(t);
    while (!t->over)
        assert_true(virtual_step(t->world));
    assert_int_equal(succeeded(t), 40);
    assert_int_equal(view_of(t).ended_us - view_of(t).first_dispatch_us, 5 * 8 * SECOND_US);
    trial_free(t);
}

/* ---- the least time ---- */

static void test_one_after_another_takes_the_least_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fleet_spec *fleet = eight_endpoints(seed);
        int64_t least_us = 0;
        for (size_t i = 0; i < fleet->endpoint_count; i++) {
            fleet->endpoints[i].service = (struct dist){.kind = DIST_LOGNORMAL, .a = 40e6, .b = 0.5};
            fleet->endpoints[i].cold = seconds_between(100, 400);
            int64_t own_us = fleet_least_us(fleet, seed, i, 20, 1);
            least_us = own_us > least_us ? own_us : least_us;
        }
        struct trial *t = trial_new(fleet, 20);
        t->order = ORDER_BY_ENDPOINT;
        assert_int_equal(trial_run(t), least_us);
        trial_free(t);
    }
}

static void test_the_least_time_of_several_containers(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m"); /* 100 s cold, 40 s each */
    e.containers = 4;
    struct fleet_spec *fleet = make_spec(1, &e, 1);
    static const struct { uint64_t calls; unsigned slots; int64_t least_s; } cases[] = {
        {0, 4, 0}, {1, 4, 140}, {1, 1, 140}, {4, 1, 260}, {4, 4, 140}, {4, 100, 140}, {8, 4, 180}, {8, 2, 260},
        {6, 4, 160},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(fleet_least_us(fleet, 1, 0, cases[i].calls, cases[i].slots), cases[i].least_s * SECOND_US);
    fleet_spec_free(fleet);
}

/* ---- many ---- */

static void test_three_hundred_endpoints(void **state)
{
    (void)state;
    enum { ENDPOINTS = 300, QUESTIONS = 100 };
    struct fleet_endpoint *endpoints = mem_array(NULL, ENDPOINTS, sizeof *endpoints);
    char names[ENDPOINTS][16];
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        snprintf(names[i], sizeof names[i], "m%u", i);
        endpoints[i] = plain_endpoint(i < 150 ? "us" : "eu", names[i]);
        endpoints[i].service = seconds_between(20, 60);
    }
    struct fleet_spec *fleet = make_spec(1, endpoints, ENDPOINTS);
    int64_t least_us = 0;
    for (size_t i = 0; i < ENDPOINTS; i++) {
        int64_t own_us = fleet_least_us(fleet, 1, i, QUESTIONS, 1);
        least_us = own_us > least_us ? own_us : least_us;
    }
    struct trial *t = trial_new(fleet, QUESTIONS);
    int64_t began_us = mono_now_us();
    assert_int_equal(trial_run(t), least_us);
    print_message("%u executions in %" PRId64 " ms\n", succeeded(t), (mono_now_us() - began_us) / MS_US);
    assert_int_equal(succeeded(t), ENDPOINTS * QUESTIONS);
    assert_int_equal(view_of(t).max_in_flight, ENDPOINTS);
    trial_free(t);
    free(endpoints);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_is_the_same_run),
        cmocka_unit_test(test_a_chain_of_303s),
        cmocka_unit_test(test_polling_a_202),
        cmocka_unit_test(test_retry_after_is_obeyed),
        cmocka_unit_test(test_a_fault_has_its_window),
        cmocka_unit_test(test_what_is_wrong_with_an_answer),
        cmocka_unit_test(test_who_is_not_in_the_fleet),
        cmocka_unit_test(test_an_abort_closes_all_in_the_fleet),
        cmocka_unit_test(test_a_deadline_closes_a_hanging_exchange),
        cmocka_unit_test(test_freed_in_mid_run),
        cmocka_unit_test(test_cold_again_after_a_scaledown),
        cmocka_unit_test(test_a_commit_takes_time),
        cmocka_unit_test(test_a_fast_fleet),
        cmocka_unit_test(test_without_a_fleet),
        cmocka_unit_test(test_one_after_another_takes_the_least_time),
        cmocka_unit_test(test_the_least_time_of_several_containers),
        cmocka_unit_test(test_three_hundred_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
