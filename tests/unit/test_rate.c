/* The token bucket: how many starts, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "core/rate.h"

static void starts_are_evenly_spread(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_set(&r, 60);
    int64_t now_us = 5 * SECOND_US;
    assert_int_equal(rate_next_us(&r, now_us), now_us);
    rate_take(&r, now_us);
    assert_int_equal(rate_next_us(&r, now_us), now_us + SECOND_US);
    assert_int_equal(rate_next_us(&r, now_us + 300000), now_us + SECOND_US);
    rate_take(&r, now_us + SECOND_US);
    assert_int_equal(rate_next_us(&r, now_us + SECOND_US), now_us + 2 * SECOND_US);
    /* An hour of silence earns no more than one start. */
    now_us += HOUR_US;
    rate_take(&r, now_us);
    assert_int_equal(rate_next_us(&r, now_us), now_us + SECOND_US);
}

static void no_rate_is_no_limit(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_set(&r, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rate_next_us(&r, 7), 7);
        rate_take(&r, 7);
    }
}

/* Starts as early as allowed: never more in a minute than the rate and one burst, and in the long run no slower. */
static void no_minute_has_too_many(void **state)
{
    (void)state;
    static const double rates[] = {1, 7, 60, 61, 600, 6000.5, 100000};
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t k = 0; k < ARRAY_LEN(rates); k++) {
        enum { STARTS = 20000 };
        static int64_t starts[STARTS];
        struct rate r = {0};
        rate_set(&r, rates[k]);
        double burst = rates[k] / 60 > 1 ? rates[k] / 60 : 1;
        int64_t now_us = 0, idle_us = 0;
        for (int i = 0, first = 0; i < STARTS; i++) {
            int64_t due_us = rate_next_us(&r, now_us);
            assert_true(due_us >= now_us);
            now_us = due_us;
            rate_take(&r, now_us);
            starts[i] = now_us;
            if (burst == 1 && i > 0) /* not even a fraction of a microsecond too early, or a day would add up */
                assert_true((double)(starts[i] - starts[i - 1]) >= 6e7 / rates[k]);
            while (starts[first] <= now_us - MINUTE_US)
                first++;
            if (i - first + 1 > (int)(rates[k] + burst + 1))
                fail_msg("rate %g: %d starts in a minute", rates[k], i - first + 1);
            if (rng_unit(&rng) < 0.01) { /* now and then there is nothing to ask */
                int64_t pause_us = (int64_t)(rng_unit(&rng) * 3e9 / rates[k]);
                now_us += pause_us;
                idle_us += pause_us;
            }
        }
        double least_us = (STARTS - 1) * 6e7 / rates[k];
        assert_true((double)(now_us - idle_us) <= least_us * 1.002 + 1e6);
    }
}

static void a_burst_is_one_seconds_worth(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_set(&r, 600);
    int burst = 0;
    while (rate_next_us(&r, SECOND_US) <= SECOND_US) {
        rate_take(&r, SECOND_US);
        burst++;
    }
    assert_int_equal(burst, 10);
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US + 100 * MS_US);
}

static void a_change_helps_the_faster_and_holds_the_slower(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_set(&r, 1);
    rate_take(&r, SECOND_US);
    rate_set(&r, 1); /* the same again is no reset */
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US + MINUTE_US);
    rate_set(&r, 0.5);
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US + MINUTE_US);
    rate_set(&r, 60);
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US);
    rate_take(&r, SECOND_US);
    rate_set(&r, 0);
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US);
    rate_set(&r, 60);
    assert_int_equal(rate_next_us(&r, SECOND_US), SECOND_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_are_evenly_spread),
        cmocka_unit_test(no_rate_is_no_limit),
        cmocka_unit_test(no_minute_has_too_many),
        cmocka_unit_test(a_burst_is_one_seconds_worth),
        cmocka_unit_test(a_change_helps_the_faster_and_holds_the_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
