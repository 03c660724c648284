/* The breaker: closed, open, half open, dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/timeutil.h"
#include "core/breaker.h"

static const struct breaker_rule rule = {.failures = 3, .window_us = 60 * SECOND_US, .cooldown_us = 30 * SECOND_US};

static void fail_times(struct breaker *b, int times, int64_t now_us)
{
    for (int i = 0; i < times; i++) {
        assert_true(breaker_allows(b, now_us));
        breaker_started(b);
    }
    for (int i = 0; i < times; i++)
        breaker_failed(b, now_us);
}

static void opens_after_failures_in_a_row(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    fail_times(&b, 2, 0);
    breaker_succeeded(&b); /* the row is broken */
    fail_times(&b, 2, 1);
    assert_true(breaker_allows(&b, 1));
    breaker_failed(&b, 1);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_false(breaker_allows(&b, 30 * SECOND_US));
    assert_int_equal(b.open_until_us, 30 * SECOND_US + 1);
    assert_true(breaker_allows(&b, 30 * SECOND_US + 1));
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
}

static void old_failures_do_not_count(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    fail_times(&b, 2, 0);
    fail_times(&b, 1, 61 * SECOND_US);
    assert_int_equal(b.state, BREAKER_CLOSED);
    fail_times(&b, 1, 62 * SECOND_US);
    assert_int_equal(b.state, BREAKER_CLOSED);
    fail_times(&b, 1, 121 * SECOND_US); /* the third within 60 s of the one at 61 s */
    assert_int_equal(b.state, BREAKER_OPEN);
}

static void one_probe_at_a_time(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    fail_times(&b, 3, 0);
    assert_true(breaker_allows(&b, 30 * SECOND_US));
    assert_true(breaker_allows(&b, 30 * SECOND_US)); /* asking is not starting */
    breaker_started(&b);
    assert_false(breaker_allows(&b, 40 * SECOND_US));
    breaker_withdrawn(&b); /* cancelled: the next may probe */
    assert_true(breaker_allows(&b, 40 * SECOND_US));
    breaker_started(&b);
    breaker_succeeded(&b);
    assert_int_equal(b.state, BREAKER_CLOSED);
    fail_times(&b, 2, 41 * SECOND_US); /* and it starts from nothing */
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void dead_after_failed_probes(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    fail_times(&b, 3, 0);
    int64_t now_us = 0;
    for (int probe = 1; probe <= BREAKER_PROBES; probe++) {
        assert_int_equal(b.state, BREAKER_OPEN);
        now_us += 30 * SECOND_US;
        fail_times(&b, 1, now_us);
    }
    assert_int_equal(b.state, BREAKER_DEAD);
    assert_false(breaker_allows(&b, now_us + HOUR_US));
    breaker_succeeded(&b); /* a straggler does not wake the dead */
    breaker_failed(&b, now_us);
    breaker_withdrawn(&b);
    assert_int_equal(b.state, BREAKER_DEAD);
}

static void a_good_probe_forgives_the_failed_ones(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    int64_t now_us = 0;
    for (int round = 0; round < 5; round++) {
        fail_times(&b, 3, now_us);
        for (int probe = 1; probe < BREAKER_PROBES; probe++)
            fail_times(&b, 1, now_us += 30 * SECOND_US);
        assert_int_equal(b.state, BREAKER_OPEN);
        assert_true(breaker_allows(&b, now_us += 30 * SECOND_US));
        breaker_started(&b);
        breaker_succeeded(&b);
    }
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void stragglers_are_no_probes(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b, &rule);
    fail_times(&b, 3, 0);
    for (int i = 0; i < 10; i++)
        breaker_failed(&b, 29 * SECOND_US); /* sent before it opened: neither longer nor deader */
    assert_int_equal(b.open_until_us, 30 * SECOND_US);
    for (int i = 1; i < 10; i++) {
        assert_true(breaker_allows(&b, i * 30 * SECOND_US));
        breaker_failed(&b, i * 30 * SECOND_US); /* half open, no probe out */
        assert_int_equal(b.state, BREAKER_OPEN);
    }
    breaker_succeeded(&b); /* an answer is newer news than the failures */
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void no_rule_still_dies_of_quota(void **state)
{
    (void)state;
    static const struct breaker_rule none = {.failures = 0};
    struct breaker b;
    breaker_init(&b, &none);
    fail_times(&b, 1000, 0);
    assert_int_equal(b.state, BREAKER_CLOSED);
    breaker_kill(&b);
    assert_false(breaker_allows(&b, NEVER_US));
}

/* However the ends come, a half-open breaker lets one through, and an open one nobody before its time. */
static void a_random_walk_never_lets_two_probes_out(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 4);
    unsigned opened = 0, died = 0;
    for (int life = 0; life < 300; life++) {
        struct breaker b;
        breaker_init(&b, &rule);
        unsigned in_flight = 0;
        int64_t now_us = 0;
        for (int step = 0; step < 300; step++) {
            now_us += (int64_t)(rng_unit(&rng) * 10e6);
            enum breaker_state before = b.state;
            bool probing = b.probing, allowed = breaker_allows(&b, now_us);
            assert_true(!allowed || !(before == BREAKER_OPEN && now_us < b.open_until_us));
            assert_true(!allowed || !(before == BREAKER_HALF_OPEN && probing));
            assert_true(!allowed || before != BREAKER_DEAD);
            if (allowed && rng_unit(&rng) < 0.5) {
                breaker_started(&b);
                in_flight++;
            } else if (in_flight) {
                double how = rng_unit(&rng);
                in_flight--;
                if (how < 0.7)
                    breaker_failed(&b, now_us);
                else if (how < 0.9)
                    breaker_succeeded(&b);
                else
                    breaker_withdrawn(&b);
            }
            opened += before != BREAKER_OPEN && b.state == BREAKER_OPEN;
            died += before != BREAKER_DEAD && b.state == BREAKER_DEAD;
            assert_true(b.failed_probes <= BREAKER_PROBES);
        }
    }
    assert_true(opened > 100 && died > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_in_a_row),
        cmocka_unit_test(old_failures_do_not_count),
        cmocka_unit_test(one_probe_at_a_time),
        cmocka_unit_test(dead_after_failed_probes),
        cmocka_unit_test(a_good_probe_forgives_the_failed_ones),
        cmocka_unit_test(stragglers_are_no_probes),
        cmocka_unit_test(no_rule_still_dies_of_quota),
        cmocka_unit_test(a_random_walk_never_lets_two_probes_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
