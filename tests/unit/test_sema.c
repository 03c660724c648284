/* Permits: how many, when closed, when paced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/timeutil.h"
#include "core/sema.h"

static void permits_are_counted(void **state)
{
    (void)state;
    struct sema s;
    int64_t retry_us = -1;
    sema_init(&s, "eu/mistral-7b", 2, 0);
    assert_true(list_empty(&s.waiters));
    assert_string_equal(s.name, "eu/mistral-7b");
    sema_take(&s, 0);
    assert_true(sema_free_at(&s, 0, &retry_us));
    assert_int_equal(retry_us, -1);
    sema_take(&s, 0);
    assert_false(sema_free_at(&s, 0, &retry_us));
    assert_true(retry_us == NEVER_US);
    sema_release(&s);
    assert_true(sema_free_at(&s, 0, &retry_us));
    assert_int_equal(s.used, 1);
    assert_int_equal(s.peak, 2);
}

static void a_cut_drains_by_itself(void **state)
{
    (void)state;
    struct sema s;
    int64_t retry_us;
    sema_init(&s, "global", 3, 0);
    for (int i = 0; i < 3; i++)
        sema_take(&s, 0);
    s.limit = 1;
    for (int i = 0; i < 2; i++) {
        sema_release(&s);
        assert_false(sema_free_at(&s, 0, &retry_us));
    }
    sema_release(&s);
    assert_true(sema_free_at(&s, 0, &retry_us));
}

static void closed_and_paced_say_when(void **state)
{
    (void)state;
    struct sema s;
    int64_t retry_us = 0;
    sema_init(&s, "x", 0, 60);
    sema_take(&s, SECOND_US);
    assert_false(sema_free_at(&s, SECOND_US, &retry_us));
    assert_int_equal(retry_us, 2 * SECOND_US);
    s.closed_until_us = 9 * SECOND_US;
    assert_false(sema_free_at(&s, 3 * SECOND_US, &retry_us));
    assert_int_equal(retry_us, 9 * SECOND_US);
    assert_true(sema_free_at(&s, 9 * SECOND_US, &retry_us));
    s.limit = 1; /* full and closed: no time alone helps */
    assert_false(sema_free_at(&s, 3 * SECOND_US, &retry_us));
    assert_true(retry_us == NEVER_US);
}

/* A walk of takes, releases, closings and changes against a count of its own. */
static void a_random_walk_keeps_the_count(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2);
    struct sema s;
    sema_init(&s, "walk", 3, 0);
    unsigned used = 0, peak = 0;
    int64_t now_us = 0, closed_us = 0;
    for (int step = 0; step < 50000; step++) {
        now_us += (int64_t)(rng_next(&rng) % 100);
        uint64_t what = rng_next(&rng) % 100;
        if (what < 3)
            s.limit = (unsigned)(rng_next(&rng) % 5);
        else if (what < 6)
            s.closed_until_us = closed_us = now_us + (int64_t)(rng_next(&rng) % 1000);
        int64_t retry_us = -1;
        bool expected = (s.limit == 0 || used < s.limit) && now_us >= closed_us;
        assert_int_equal(sema_free_at(&s, now_us, &retry_us), expected);
        if (!expected)
            assert_true(retry_us == (s.limit && used >= s.limit ? NEVER_US : closed_us));
        if (expected && what < 60) {
            sema_take(&s, now_us);
            used++;
            peak = used > peak ? used : peak;
        } else if (used && what >= 60) {
            sema_release(&s);
            used--;
        }
        assert_int_equal(s.used, used);
        assert_int_equal(s.peak, peak);
    }
    assert_true(peak >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permits_are_counted),
        cmocka_unit_test(a_cut_drains_by_itself),
        cmocka_unit_test(closed_and_paced_say_when),
        cmocka_unit_test(a_random_walk_keeps_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
