#include "sim/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/mem.h"
#include "fleet_fixture.h"

#define S(seconds) ((int64_t)((seconds) * 1e6))

static struct fleet_exchange *ask(struct fleet *f, size_t endpoint)
{
    return fleet_post(f, endpoint, STR("what is 2+2?"), NULL);
}

/* Goes from event to event until something is to be taken; false: nothing will ever be. */
static bool next_end(struct fleet *f, struct fleet_ended *e)
{
    while (!fleet_take(f, e)) {
        int64_t next_us = fleet_next_us(f);
        if (next_us == NEVER_US)
            return false;
        fleet_advance(f, next_us);
    }
    return true;
}

static void expect_end(struct fleet *f, enum fleet_end end, int64_t at_us)
{
    struct fleet_ended e;
    assert_true(next_end(f, &e));
    assert_int_equal(e.end, end);
    assert_int_equal(e.at_us, at_us);
}

static struct fleet *one(struct fleet_spec **spec, struct fleet_endpoint endpoint)
{
    *spec = make_spec(1, &endpoint, 1);
    return fleet_new(*spec);
}

static void finish(struct fleet *f, struct fleet_spec *spec)
{
    fleet_free(f);
    fleet_spec_free(spec);
}

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

static struct fleet_spec *noisy_spec(uint64_t seed)
{
    struct fleet_spec *spec = eight_endpoints(seed);
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        spec->endpoints[i].service = (struct dist){.kind = DIST_LOGNORMAL, .a = 40e6, .b = 0.5};
        spec->endpoints[i].cold = seconds_between(60, 90);
        spec->endpoints[i].containers = 2;
    }
    return spec;
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

/* ---- faults ---- */

static void test_a_share_is_a_share(void **state)
{
    (void)state;
    static const double shares[] = {0, 0.05, 0.2, 0.5, 1};
    enum { POSTS = 10000 };
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        struct fleet_endpoint e = plain_endpoint("us", "m");
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, e);
        set_faults(spec, &(struct fleet_fault){.what = FAULT_500, .share = shares[i]}, 1);
        struct fleet_ended ended;
        for (int n = 0; n < POSTS; n++) {
            ask(f, 0);
            while (fleet_take(f, &ended))
                assert_true(ended.end == FLEET_OVERFLOW ||
                            (ended.end == FLEET_FAILED && ended.fault->what == FAULT_500));
        }
        double expected = shares[i] * POSTS, spread = 4 * 50; /* four standard deviations of the widest */
        uint64_t struck = fleet_totals(f)->faults[FAULT_500];
        if (shares[i] > 0 && shares[i] < 1)
            assert_true((double)struck > expected - spread && (double)struck < expected + spread);
        else
            assert_int_equal(struck, (uint64_t)expected);
        assert_int_equal(fleet_totals(f)->failed, struck);
        finish(f, spec);
    }
}

static void test_where_and_when_a_fault_strikes(void **state)
{
    (void)state;
    static const struct { struct fleet_fault fault; bool strikes; } cases[] = {
        {{.what = FAULT_404, .share = 1}, true},
        {{.what = FAULT_404, .share = 1, .region = "us"}, true},
        {{.what = FAULT_404, .share = 1, .region = "eu"}, false},
        {{.what = FAULT_404, .share = 1, .model = "llama3.2-1b"}, true},
        {{.what = FAULT_404, .share = 1, .model = "mistral-7b"}, false},
        {{.what = FAULT_404, .share = 1, .question = "2+2"}, true},
        {{.what = FAULT_404, .share = 1, .question = "Taiwan"}, false},
        {{.what = FAULT_404, .share = 1, .from_us = S(60)}, true}, /* asked at 60 s after the first */
        {{.what = FAULT_404, .share = 1, .from_us = S(60.001)}, false},
        {{.what = FAULT_404, .share = 1, .from_us = S(10), .to_us = S(60)}, false},
        {{.what = FAULT_404, .share = 1, .to_us = S(60.001)}, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_spec *spec = eight_endpoints(1);
        set_faults(spec, &cases[i].fault, 1);
        struct fleet *f = fleet_new(spec);
        struct fleet_ended e;
        fleet_advance(f, S(1000)); /* fault times count from the first request */
        ask(f, 7);
        fleet_advance(f, S(1060));
        while (fleet_take(f, &e))
            continue;
        ask(f, 0);
        bool struck = fleet_take(f, &e) && e.endpoint == 0 && e.end == FLEET_FAILED;
        assert_int_equal(struck, cases[i].strikes);
        finish(f, spec);
    }
}

static void test_what_faults_do(void **state)
{
    (void)state;
    static const struct { enum fault_what what; enum fleet_end end; double at_s; } cases[] = {
        {FAULT_RESET, FLEET_FAILED, 0}, {FAULT_401, FLEET_FAILED, 0}, {FAULT_QUOTA, FLEET_FAILED, 0},
        {FAULT_REDIRECT_AWAY, FLEET_FAILED, 0}, {FAULT_MALFORMED, FLEET_ANSWERED, 140},
        {FAULT_EMPTY, FLEET_ANSWERED, 140},
        {FAULT_WRONG_REGION, FLEET_ANSWERED, 140}, {FAULT_REFUSAL, FLEET_ANSWERED, 140},
        {FAULT_SLOW, FLEET_ANSWERED, 148},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_spec *spec;
        struct fleet *f = one(&spec, plain_endpoint("us", "m"));
        set_faults(spec, &(struct fleet_fault){.what = cases[i].what, .share = 1, .factor = 1.2}, 1);
        struct fleet_ended e;
        ask(f, 0);
        assert_true(next_end(f, &e));
        assert_int_equal(e.end, cases[i].end);
        assert_int_equal(e.at_us, S(cases[i].at_s));
        assert_non_null(e.fault);
        assert_int_equal(e.fault->what, cases[i].what);
        assert_int_equal(fleet_totals(f)->faults[cases[i].what], 1);
        assert_int_equal(fleet_load_of(f, 0).containers, e.end == FLEET_ANSWERED);
        finish(f, spec);
    }
}

static void test_a_hanging_exchange_hangs_until_it_is_closed(void **state)
{
    (void)state;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, plain_endpoint("us", "m"));
    set_faults(spec, &(struct fleet_fault){.what = FAULT_HANG, .share = 1}, 1);
    struct fleet_exchange *x = ask(f, 0);
    ask(f, 0); /* left open: freed with the fleet */
    struct fleet_ended e;
    assert_false(next_end(f, &e));
    assert_int_equal(fleet_totals(f)->open, 2);
    fleet_close(f, x);
    assert_int_equal(fleet_totals(f)->open, 1);
    assert_int_equal(fleet_totals(f)->aborted, 1);
    finish(f, spec);
}

static void test_an_outage_hits_gets_and_leaves_the_call_alone(void **state)
{
    (void)state;
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, plain_endpoint("us", "m"));
    spec->endpoints[0].service = seconds_between(100, 100);
    static const struct fleet_fault faults[] = {
        {.what = FAULT_503, .share = 1, .from_us = S(100), .to_us = S(160)},
        {.what = FAULT_404, .share = 1, .from_us = S(160)}, /* of POSTs only */
    };
    set_faults(spec, faults, ARRAY_LEN(faults));
    struct fleet_ended e;
    ask(f, 0);
    assert_true(next_end(f, &e));
    uint64_t result = e.result;
    fleet_get(f, result, NULL);
    expect_end(f, FLEET_FAILED, S(150));
    fleet_advance(f, S(160));
    fleet_get(f, result, NULL);
    expect_end(f, FLEET_ANSWERED, S(200));
    finish(f, spec);
}

/* ---- a random walk ---- */

enum { WALK_STEPS = 20000, WALK_OPEN = 400 };

struct walk {
    struct fleet *f;
    struct fleet_spec *spec;
    struct rng rng;
    struct fleet_exchange *open[WALK_OPEN];
    size_t slots[WALK_OPEN];                     /* a free one holds its own number */
    uint64_t results[64];
    uint64_t posts, gets, ended[4], aborted, open_count;
};

static size_t below(struct walk *w, size_t n)
{
    return (size_t)(rng_next(&w->rng) % n);
}

static void walk_take(struct walk *w)
{
    struct fleet_ended e;
    while (fleet_take(w->f, &e)) {
        size_t *slot = e.user;
        assert_non_null(w->open[*slot]);
        w->open[*slot] = NULL;
        w->ended[e.end]++;
        w->open_count--;
        if (e.end == FLEET_COME_BACK) {
            assert_true(e.result);
            w->results[below(w, ARRAY_LEN(w->results))] = e.result;
        }
        if (e.end == FLEET_ANSWERED) {
            assert_true(e.asked_us <= e.started_us && e.started_us <= e.ended_us && e.ended_us <= e.at_us);
            assert_true(e.get || e.at_us - e.asked_us <= w->spec->endpoints[e.endpoint].redirect_after_us);
        }
    }
}

static void walk_request(struct walk *w)
{
    size_t slot = below(w, WALK_OPEN), endpoint;
    if (w->open[slot])
        return;
    uint64_t result = w->results[below(w, ARRAY_LEN(w->results))];
    if (below(w, 2) && fleet_result(w->f, result, &endpoint) == RESULT_KNOWN) {
        w->open[slot] = fleet_get(w->f, result, &w->slots[slot]);
        w->gets++;
    } else {
        w->open[slot] = fleet_post(w->f, below(w, w->spec->endpoint_count), STR("why?"), &w->slots[slot]);
        w->posts++;
    }
    w->open_count++;
}

static void walk_close(struct walk *w)
{
    size_t slot = below(w, WALK_OPEN);
    if (!w->open[slot])
        return;
    fleet_close(w->f, w->open[slot]);
    w->open[slot] = NULL;
    w->aborted++;
    w->open_count--;
}

static void walk_check(const struct walk *w)
{
    const struct fleet_counts *t = fleet_totals(w->f);
    assert_int_equal(t->posts, w->posts);
    assert_int_equal(t->gets, w->gets);
    assert_int_equal(t->answered, w->ended[FLEET_ANSWERED]);
    assert_int_equal(t->redirects, w->ended[FLEET_COME_BACK]);
    assert_int_equal(t->overflows, w->ended[FLEET_OVERFLOW]);
    assert_int_equal(t->failed, w->ended[FLEET_FAILED]);
    assert_int_equal(t->aborted, w->aborted);
    assert_int_equal(t->open, w->open_count);
    assert_true(t->max_open >= t->open);
    assert_int_equal(t->posts + t->gets, t->open + t->answered + t->redirects + t->overflows + t->failed + t->aborted);
    uint64_t posts = 0, answered = 0, cold_starts = 0;
    for (size_t i = 0; i < w->spec->endpoint_count; i++) {
        const struct fleet_counts *c = fleet_counts(w->f, i);
        struct fleet_load load = fleet_load_of(w->f, i);
        const struct fleet_endpoint *e = &w->spec->endpoints[i];
        assert_true(load.containers <= e->containers);
        assert_true(load.busy + load.starting <= load.containers);
        assert_true(load.waiting <= e->queue + load.starting || e->overflow == OVERFLOW_QUEUE);
        if (load.waiting > load.starting) /* nobody waits while there is a container to be had */
            assert_int_equal(load.busy + load.starting, e->containers);
        posts += c->posts;
        answered += c->answered;
        cold_starts += c->cold_starts;
    }
    assert_int_equal(posts, t->posts);
    assert_int_equal(answered, t->answered);
    assert_int_equal(cold_starts, t->cold_starts);
}

static void test_a_random_walk_adds_up(void **state)
{
    (void)state;
    struct walk *w = mem_zalloc(sizeof *w);
    rng_seed(&w->rng, 42);
    w->spec = noisy_spec(5);
    w->spec->endpoints[1].overflow = OVERFLOW_QUEUE;
    w->spec->endpoints[2].containers = 7;
    w->spec->endpoints[3].scaledown_us = S(5);
    w->spec->endpoints[4].redirect_after_us = S(20);
    static const struct fleet_fault faults[] = {
        {.what = FAULT_RESET, .share = 0.02}, {.what = FAULT_HANG, .share = 0.02},
        {.what = FAULT_SLOW, .share = 0.1, .factor = 4},
        {.what = FAULT_ERROR, .share = 0.1},
    };
    set_faults(w->spec, faults, ARRAY_LEN(faults));
    w->f = fleet_new(w->spec);
    for (size_t i = 0; i < WALK_OPEN; i++)
        w->slots[i] = i;
    for (int step = 0; step < WALK_STEPS; step++) {
        size_t what = below(w, 10);
        if (what < 5)
            walk_request(w);
        else if (what < 6)
            walk_close(w);
        else if (what < 9)
            fleet_advance(w->f, fleet_now_us(w->f) + S(rng_unit(&w->rng) * 8));
        if (what != 9)
            walk_take(w); /* now and then what has ended is left lying, and may be closed */
        walk_check(w);
    }
    for (int end = 0; end < 4; end++)
        assert_true(w->ended[end] > 20); /* the walk went everywhere */
    assert_true(w->gets > 100 && w->aborted > 100);
    fleet_free(w->f);
    fleet_spec_free(w->spec);
    free(w);
}

static void test_only_so_many_results_are_kept(void **state)
{
    (void)state;
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.schema = SCHEMA_RUNPOD;
    e.overflow = OVERFLOW_QUEUE;
    e.cold = e.service = seconds_between(0.01, 0.01);
    struct fleet_spec *spec;
    struct fleet *f = one(&spec, e);
    struct fleet_ended ended;
    size_t endpoint;
    uint64_t first = 0, second = 0, last = 0;
    for (int i = 0; i <= FLEET_RESULTS_MAX; i++) {
        ask(f, 0);
        assert_true(fleet_take(f, &ended));
        last = ended.result;
        if (i == 0)
            first = last;
        else if (i == 1)
            second = last;
    }
    fleet_advance(f, S(300));
    assert_int_equal(fleet_totals(f)->calls_done, FLEET_RESULTS_MAX + 1);
    assert_int_equal(fleet_result(f, first, &endpoint), RESULT_EXPIRED);
    assert_int_equal(fleet_result(f, second, &endpoint), RESULT_KNOWN);
    assert_int_equal(fleet_result(f, last, &endpoint), RESULT_KNOWN);
    finish(f, spec);
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
        cmocka_unit_test(test_a_share_is_a_share),
        cmocka_unit_test(test_where_and_when_a_fault_strikes),
        cmocka_unit_test(test_what_faults_do),
        cmocka_unit_test(test_a_hanging_exchange_hangs_until_it_is_closed),
        cmocka_unit_test(test_an_outage_hits_gets_and_leaves_the_call_alone),
        cmocka_unit_test(test_a_random_walk_adds_up),
        cmocka_unit_test(test_only_so_many_results_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
