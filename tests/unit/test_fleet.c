/* A simulated fleet that works as it should: containers, lines, results. */
#include <stdlib.h>

#include "base/defs.h"
#include "base/mem.h"
#include "fleet_fixture.h"

/* ---- containers ---- */

static void test_the_first_call_is_cold_and_the_second_is_not(void **state)
{
    (void)state;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, plain_endpoint("us", "m"));
    struct fleet_ended e;
    ask(f, 0);
    assert_true(next_end(f, &e));
    assert_int_equal(e.end, FLEET_ANSWERED);
    assert_int_equal(e.at_us, S(140));
    assert_int_equal(e.started_us, S(100));
    assert_true(e.cold);
    assert_true(str_is(e.prompt, "what is 2+2?"));

    fleet_advance(f, S(200));
    ask(f, 0);
    assert_true(next_end(f, &e));
    assert_int_equal(e.at_us, S(240));
    assert_false(e.cold);
    assert_int_equal(fleet_totals(f)->cold_starts, 1);
    assert_int_equal(fleet_totals(f)->busy_us, S(80));
    finish(f, spec);
}

static void test_an_idle_container_goes_away(void **state)
{
    (void)state;
    static const struct { double idle_s; unsigned cold_starts; double took_s; } cases[] = {
        {0, 1, 40}, {599.999, 1, 40}, {600, 2, 140}, {5000, 2, 140},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, plain_endpoint("us", "m"));
        ask(f, 0);
        expect_end(f, FLEET_ANSWERED, S(140));
        fleet_advance(f, S(140 + cases[i].idle_s));
        ask(f, 0);
        expect_end(f, FLEET_ANSWERED, S(140 + cases[i].idle_s) + S(cases[i].took_s));
        assert_int_equal(fleet_totals(f)->cold_starts, cases[i].cold_starts);
        finish(f, spec);
    }
}

static void test_containers_work_side_by_side(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.containers = 3;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    for (int i = 0; i < 4; i++)
        ask(f, 0);
    assert_int_equal(fleet_load_of(f, 0).starting, 3);
    for (int i = 0; i < 3; i++)
        expect_end(f, FLEET_ANSWERED, S(140));
    expect_end(f, FLEET_COME_BACK, S(150)); /* the fourth waited for the first and runs till 180 */
    assert_int_equal(fleet_load_of(f, 0).busy, 1);
    finish(f, spec);
}

static void test_the_container_used_last_is_used_again(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.containers = 2;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    struct fleet_ended ended;
    ask(f, 0);
    fleet_advance(f, S(10));
    ask(f, 0);
    for (int i = 0; i < 30; i++) { /* one at a time from here on: the other container is left to go */
        if (i >= 2)
            ask(f, 0);
        assert_true(next_end(f, &ended));
    }
    assert_int_equal(fleet_load_of(f, 0).containers, 1);
    assert_int_equal(fleet_totals(f)->cold_starts, 2);
    finish(f, spec);
}

/* ---- overflow ---- */

static void test_the_line_is_bounded(void **state)
{
    (void)state;
    static const struct { enum fleet_overflow overflow; unsigned queue, admitted; } cases[] = {
        {OVERFLOW_503, 0, 1}, {OVERFLOW_503, 2, 3}, {OVERFLOW_429, 2, 3}, {OVERFLOW_RESET, 5, 6},
        {OVERFLOW_QUEUE, 0, 20},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_endpoint e = plain_endpoint("us", "m");
        e.overflow = cases[i].overflow;
        e.queue = cases[i].queue;
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, e);
        for (int n = 0; n < 20; n++)
            ask(f, 0);
        struct fleet_ended ended;
        unsigned refused = 0;
        while (fleet_take(f, &ended)) {
            assert_int_equal(ended.end, FLEET_OVERFLOW);
            refused++;
        }
        assert_int_equal(refused, 20 - cases[i].admitted);
        assert_int_equal(fleet_totals(f)->overflows, refused);
        assert_int_equal(fleet_load_of(f, 0).waiting, cases[i].admitted);
        finish(f, spec);
    }
}

static void test_all_questions_at_once_overflow_and_one_by_one_do_not(void **state)
{
    (void)state;
    struct fleet_spec *spec = eight_endpoints(1);
    struct fleet *f = fleet_new(spec);
    for (int question = 0; question < 8; question++)
        for (size_t endpoint = 0; endpoint < 8; endpoint++)
            ask(f, endpoint);
    struct fleet_ended e;
    while (fleet_take(f, &e))
        assert_int_equal(e.end, FLEET_OVERFLOW);
    assert_int_equal(fleet_totals(f)->overflows, 40);
    assert_int_equal(fleet_totals(f)->max_open, 64);
    fleet_free(f);

    f = fleet_new(spec);
    for (int question = 0; question < 8; question++) {
        for (size_t endpoint = 0; endpoint < 8; endpoint++)
            ask(f, endpoint);
        for (int i = 0; i < 8; i++) {
            assert_true(next_end(f, &e));
            assert_int_equal(e.end, FLEET_ANSWERED);
        }
    }
    assert_int_equal(fleet_now_us(f), S(100 + 8 * 40));
    assert_int_equal(fleet_totals(f)->answered, 64);
    assert_int_equal(fleet_totals(f)->cold_starts, 8);
    assert_int_equal(fleet_totals(f)->max_open, 8);
    finish(f, spec);
}

/* ---- results ---- */

static void test_a_long_call_is_fetched_through_a_chain(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.service = seconds_between(300, 300);
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    struct fleet_ended ended;
    ask(f, 0);
    assert_true(next_end(f, &ended));
    assert_int_equal(ended.end, FLEET_COME_BACK);
    assert_int_equal(ended.at_us, S(150)); /* the cold start counts */
    uint64_t result = ended.result;
    assert_true(result);

    static const struct { enum fleet_end end; double at_s; } legs[] = {
        {FLEET_COME_BACK, 300}, {FLEET_ANSWERED, 400}, {FLEET_ANSWERED, 400}, /* once more: it is kept */
    };
    uint64_t seed = 0;
    for (size_t i = 0; i < ARRAY_LEN(legs); i++) {
        fleet_get(f, result, NULL);
        assert_true(next_end(f, &ended));
        assert_int_equal(ended.end, legs[i].end);
        assert_int_equal(ended.at_us, S(legs[i].at_s));
        assert_true(ended.get);
        assert_int_equal(ended.result, result);
        if (i)
            assert_int_equal(ended.seed, seed); /* the same answer each time */
        seed = ended.seed;
    }
    assert_int_equal(fleet_totals(f)->posts, 1);
    assert_int_equal(fleet_totals(f)->gets, 3);
    assert_int_equal(fleet_totals(f)->redirects, 2);
    assert_int_equal(fleet_totals(f)->calls_done, 1);
    finish(f, spec);
}

static void test_an_answer_in_time_is_no_redirect(void **state)
{
    (void)state;
    static const struct { double service_s, redirect_s; enum fleet_end end; double at_s; } cases[] = {
        {49.9, 150, FLEET_ANSWERED, 149.9},
        {50, 150, FLEET_ANSWERED, 150},      /* in the same instant the answer wins */
        {50.1, 150, FLEET_COME_BACK, 150},
        {5000, 0, FLEET_ANSWERED, 5100},     /* 0: never */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_endpoint e = plain_endpoint("us", "m");
        e.service = seconds_between(cases[i].service_s, cases[i].service_s);
        e.redirect_after_us = S(cases[i].redirect_s);
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, e);
        ask(f, 0);
        expect_end(f, cases[i].end, S(cases[i].at_s));
        finish(f, spec);
    }
}

static void test_polled_results_are_told_at_once(void **state)
{
    (void)state;
    static const struct { enum fleet_schema schema; int status; double first_s; } cases[] = {
        {SCHEMA_MODAL, 202, 30}, {SCHEMA_RUNPOD, 303, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_endpoint e = plain_endpoint("us", "m");
        e.schema = cases[i].schema;
        e.redirect_status = cases[i].status;
        e.redirect_after_us = S(30);
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, e);
        struct fleet_ended ended;
        ask(f, 0);
        assert_true(next_end(f, &ended));
        assert_int_equal(ended.at_us, S(cases[i].first_s));
        assert_int_equal(ended.started_us, NEVER_US);
        uint64_t result = ended.result;
        fleet_advance(f, S(120));
        fleet_get(f, result, NULL);
        assert_true(fleet_take(f, &ended));
        assert_int_equal(ended.end, FLEET_COME_BACK);
        assert_int_equal(ended.started_us, S(100));
        fleet_advance(f, S(200));
        fleet_get(f, result, NULL);
        assert_true(fleet_take(f, &ended));
        assert_int_equal(ended.end, FLEET_ANSWERED);
        assert_int_equal(ended.ended_us, S(140));
        finish(f, spec);
    }
}

static void test_results_expire_and_are_not_mixed_up(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.service = seconds_between(60, 60);
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    struct fleet_ended ended;
    size_t endpoint = 77;
    ask(f, 0);
    assert_true(next_end(f, &ended));
    uint64_t result = ended.result;
    assert_int_equal(fleet_result(f, result, &endpoint), RESULT_KNOWN);
    assert_int_equal(endpoint, 0);
    assert_int_equal(fleet_result(f, 0, &endpoint), RESULT_UNKNOWN);
    assert_int_equal(fleet_result(f, result + 1, &endpoint), RESULT_UNKNOWN);
    assert_int_equal(fleet_result(f, result + (UINT64_C(1) << 32), &endpoint), RESULT_UNKNOWN);

    fleet_advance(f, S(160) + FLEET_RESULT_KEPT_US - 1);
    assert_int_equal(fleet_result(f, result, &endpoint), RESULT_KNOWN);
    fleet_advance(f, S(160) + FLEET_RESULT_KEPT_US);
    assert_int_equal(fleet_result(f, result, &endpoint), RESULT_EXPIRED);

    ask(f, 0); /* takes the place of the one that went */
    assert_true(next_end(f, &ended));
    assert_int_equal(ended.end, FLEET_COME_BACK);
    assert_int_not_equal(ended.result, result);
    assert_int_equal(fleet_result(f, result, &endpoint), RESULT_EXPIRED);
    finish(f, spec);
}

/* ---- closing ---- */

static void test_a_closed_post_frees_its_place(void **state)
{
    (void)state;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, plain_endpoint("us", "m"));
    struct fleet_exchange *running = ask(f, 0), *waiting = ask(f, 0);
    struct fleet_ended e;
    ask(f, 0);
    fleet_advance(f, S(110));
    assert_int_equal(fleet_load_of(f, 0).waiting, 2);
    fleet_close(f, waiting);
    assert_int_equal(fleet_load_of(f, 0).waiting, 1);
    fleet_close(f, running);
    assert_int_equal(fleet_load_of(f, 0).waiting, 0);
    assert_true(next_end(f, &e));
    assert_int_equal(e.end, FLEET_ANSWERED);
    assert_int_equal(e.started_us, S(110)); /* the third went in at once */
    assert_int_equal(e.at_us, S(150));
    assert_int_equal(fleet_totals(f)->aborted, 2);
    assert_int_equal(fleet_totals(f)->calls_cancelled, 2);
    assert_int_equal(fleet_totals(f)->calls_done, 1);
    assert_int_equal(fleet_totals(f)->open, 0);
    assert_int_equal(fleet_totals(f)->busy_us, S(50));
    finish(f, spec);
}

static void test_a_container_started_for_somebody_gone_is_used_by_the_next(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.containers = 2;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    fleet_close(f, ask(f, 0));
    fleet_advance(f, S(60));
    ask(f, 0);
    assert_int_equal(fleet_load_of(f, 0).starting, 1); /* no second start for the same need */
    expect_end(f, FLEET_ANSWERED, S(140));
    finish(f, spec);
}

static void test_a_closed_get_cancels_nothing(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.service = seconds_between(300, 300);
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    struct fleet_ended ended;
    ask(f, 0);
    assert_true(next_end(f, &ended));
    uint64_t result = ended.result;
    struct fleet_exchange *get = fleet_get(f, result, NULL);
    fleet_advance(f, S(200));
    fleet_close(f, get);
    assert_int_equal(fleet_load_of(f, 0).busy, 1);
    fleet_advance(f, S(1000));
    fleet_get(f, result, NULL);
    assert_true(fleet_take(f, &ended));
    assert_int_equal(ended.end, FLEET_ANSWERED);
    assert_int_equal(ended.ended_us, S(400));
    assert_int_equal(fleet_totals(f)->calls_cancelled, 0);
    finish(f, spec);
}

/* ---- reproducible ---- */

struct trace {
    int64_t at_us[200], started_us[200];
    int ends[200];
    uint64_t seeds[200];
    size_t count;
};

/* The same asking of endpoint 0; `others`: with traffic at the rest in between. */
static void run_trace(struct fleet_spec *spec, bool others, struct trace *t)
{
    struct fleet *f = fleet_new(spec);
    struct fleet_ended e;
    memset(t, 0, sizeof *t);
    for (int step = 0; step < 200; step++) {
        fleet_advance(f, S(step * 25));
        for (size_t i = 1; others && i < spec->endpoint_count; i++)
            if ((step + (int)i) % 3 == 0)
                fleet_close(f, ask(f, i));
            else
                ask(f, i);
        ask(f, 0);
        while (fleet_take(f, &e)) {
            if (e.endpoint != 0)
                continue;
            t->at_us[t->count] = e.at_us;
            t->started_us[t->count] = e.started_us;
            t->seeds[t->count] = e.seed;
            t->ends[t->count++] = (int)e.end;
        }
    }
    fleet_free(f);
}

static void test_a_seed_fixes_an_endpoint_whatever_the_others_do(void **state)
{
    (void)state;
    struct fleet_spec *spec = noisy_spec(7), *other_seed = noisy_spec(8);
    struct trace a, b;
    run_trace(spec, false, &a);
    assert_true(a.count > 100);
    for (size_t i = 1; i < a.count; i++)
        assert_true(a.seeds[i] != a.seeds[i - 1] || a.ends[i] == FLEET_OVERFLOW); /* no two calls are alike */
    run_trace(spec, false, &b);
    assert_memory_equal(&a, &b, sizeof a);
    run_trace(spec, true, &b);
    assert_memory_equal(&a, &b, sizeof a);
    run_trace(other_seed, false, &b);
    assert_memory_not_equal(&a, &b, sizeof a);
    fleet_spec_free(other_seed);

    /* A fault that never strikes moves no number. */
    set_faults(spec, &(struct fleet_fault){.what = FAULT_500, .share = 0}, 1);
    run_trace(spec, false, &b);
    assert_memory_equal(&a, &b, sizeof a);
    fleet_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_call_is_cold_and_the_second_is_not),
        cmocka_unit_test(test_an_idle_container_goes_away),
        cmocka_unit_test(test_containers_work_side_by_side),
        cmocka_unit_test(test_the_container_used_last_is_used_again),
        cmocka_unit_test(test_the_line_is_bounded),
        cmocka_unit_test(test_all_questions_at_once_overflow_and_one_by_one_do_not),
        cmocka_unit_test(test_a_long_call_is_fetched_through_a_chain),
        cmocka_unit_test(test_an_answer_in_time_is_no_redirect),
        cmocka_unit_test(test_polled_results_are_told_at_once),
        cmocka_unit_test(test_results_expire_and_are_not_mixed_up),
        cmocka_unit_test(test_a_closed_post_frees_its_place),
        cmocka_unit_test(test_a_container_started_for_somebody_gone_is_used_by_the_next),
        cmocka_unit_test(test_a_closed_get_cancels_nothing),
        cmocka_unit_test(test_a_seed_fixes_an_endpoint_whatever_the_others_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
