/* When to ask again: jitter, Retry-After, polling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/timeutil.h"
#include "core/retry.h"

static void jitter_is_full_and_capped(void **state)
{
    (void)state;
    static const struct retry_rule rule = {.attempts = 9, .base_us = SECOND_US, .cap_us = 60 * SECOND_US};
    static const struct {
        unsigned attempt;
        int64_t limit_us;
    } rows[] = {{1, SECOND_US}, {2, 2 * SECOND_US}, {3, 4 * SECOND_US}, {6, 32 * SECOND_US}, {7, 60 * SECOND_US},
                {8, 60 * SECOND_US}, {200, 60 * SECOND_US}, {UINT32_MAX, 60 * SECOND_US}};
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t low = NEVER_US, high = 0, sum = 0;
        for (int j = 0; j < 4000; j++) {
            int64_t us = retry_delay_us(&rule, rows[i].attempt, &rng);
            assert_true(us >= 0 && us < rows[i].limit_us);
            low = us < low ? us : low;
            high = us > high ? us : high;
            sum += us;
        }
        assert_true(low < rows[i].limit_us / 100 && high > rows[i].limit_us * 99 / 100);
        assert_true(sum / 4000 > rows[i].limit_us * 47 / 100 && sum / 4000 < rows[i].limit_us * 53 / 100);
    }
}

static void jitter_survives_odd_rules(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5);
    const struct retry_rule huge = {.base_us = INT64_MAX / 3, .cap_us = INT64_MAX - 1};
    const struct retry_rule none = {.base_us = 0, .cap_us = SECOND_US};
    const struct retry_rule capped = {.base_us = 9 * SECOND_US, .cap_us = 10};
    for (unsigned attempt = 1; attempt < 100; attempt++) {
        assert_true(retry_delay_us(&huge, attempt, &rng) >= 0);
        assert_int_equal(retry_delay_us(&none, attempt, &rng), 0);
        assert_true(retry_delay_us(&capped, attempt, &rng) < 10);
    }
}

static void retry_after_in_all_its_forms(void **state)
{
    (void)state;
    const double now = 784111777 - 90; /* 90 seconds before Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *value;
        int64_t us; /* -1: refused */
    } rows[] = {
        {"0", 0}, {"120", 120 * SECOND_US}, {" 7\t", 7 * SECOND_US}, {"1.5", 1500000}, {"0.25", 250000},
        {"99999999999999999999999999", INT64_C(315576000) * SECOND_US},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 90 * SECOND_US}, {"Sunday, 06-Nov-94 08:49:37 GMT", 90 * SECOND_US},
        {"Sun Nov  6 08:49:37 1994", 90 * SECOND_US}, {"Sun, 06 Nov 1994 08:48:07 GMT", 0},
        {"Sat, 05 Nov 1994 08:49:37 GMT", 0}, {"Mon, 07 Nov 1994 08:49:37 GMT", 90 * SECOND_US + 24 * HOUR_US},
        {"Tuesday, 09-Nov-04 08:49:37 GMT", INT64_C(315576000) * SECOND_US},
        {"Wednesday, 06-Nov-74 08:49:37 GMT", 0},
        {"", -1}, {" ", -1}, {"-1", -1}, {"+1", -1}, {"1s", -1}, {"1.", -1}, {".5", -1}, {"1e3", -1}, {"soon", -1},
        {"1 2", -1},
        {"Sun, 06 Nov 1994 08:49:37 CET", -1}, {"Sun, 06 Nov 1994 08:49:37", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT x", -1},
        {"Sun, 06 Foo 1994 08:49:37 GMT", -1}, {"Sun, 00 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 24:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08:60:37 GMT", -1}, {"Sun, 06 Nov 1994 -8:49:37 GMT", -1},
        {"Sunday the sixth of November in the year of 1994 at about nine o'clock", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t us = -7;
        bool good = retry_after_parse(rows[i].value, now, &us);
        if (good != (rows[i].us >= 0) || us != (good ? rows[i].us : -7))
            fail_msg("\"%s\" gave %d, %lld", rows[i].value, good, (long long)us);
    }
}

static void retry_after_dates_know_the_calendar(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        double unix_s;
    } rows[] = {
        {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800}, {"Fri, 01 Mar 2024 00:00:00 GMT", 1709251200},
        {"Wed, 01 Oct 2025 23:53:00 GMT", 1759362780}, {"Tue, 01 Jan 2030 00:00:00 GMT", 1893456000},
        {"Tue, 31 Dec 2030 23:59:59 GMT", 1924991999}, {"Fri, 01 Mar 2030 00:00:00 GMT", 1898553600},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t us = 0;
        assert_true(retry_after_parse(rows[i].value, rows[i].unix_s - 1, &us));
        assert_int_equal(us, SECOND_US);
    }
    int64_t us; /* in 2026 a year 30 is 2030, not 1930, and 99 is the past */
    assert_true(retry_after_parse("Tuesday, 01-Jan-30 00:00:00 GMT", 1767225600, &us));
    assert_int_equal(us, (1893456000 - 1767225600) * SECOND_US);
    assert_true(retry_after_parse("Friday, 01-Jan-99 00:00:00 GMT", 1767225600, &us));
    assert_int_equal(us, 0);
}

static void polls_grow_by_half_to_a_cap(void **state)
{
    (void)state;
    static const int64_t expected_ms[] = {1000, 1500, 2250, 3375, 5062, 7593, 11390, 15000, 15000};
    for (unsigned i = 0; i < ARRAY_LEN(expected_ms); i++)
        assert_int_equal(poll_delay_us(SECOND_US, i) / MS_US, expected_ms[i]);
    assert_int_equal(poll_delay_us(SECOND_US, UINT32_MAX), 15 * SECOND_US);
    assert_int_equal(poll_delay_us(60 * SECOND_US, 0), 60 * SECOND_US);
    assert_int_equal(poll_delay_us(60 * SECOND_US, 9), 60 * SECOND_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jitter_is_full_and_capped),
        cmocka_unit_test(jitter_survives_odd_rules),
        cmocka_unit_test(retry_after_in_all_its_forms),
        cmocka_unit_test(retry_after_dates_know_the_calendar),
        cmocka_unit_test(polls_grow_by_half_to_a_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
