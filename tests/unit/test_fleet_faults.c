/* A simulated fleet that does not, and one that anything is done to. */
#include <stdlib.h>

#include "base/defs.h"
#include "base/mem.h"
#include "fleet_fixture.h"

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
