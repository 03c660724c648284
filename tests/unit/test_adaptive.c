/* The adaptive limit: how it goes up and down, and what must not move it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/adaptive.h"

static struct adaptive of(unsigned floor, unsigned ceiling, unsigned slots)
{
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){floor, ceiling}, slots);
    return a;
}

static unsigned after_clean(struct adaptive *a, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        adaptive_clean(a, true);
    return adaptive_limit(a);
}

static void without_a_rule_slots_hold(void **state)
{
    (void)state;
    struct adaptive a = of(0, 0, 5);
    assert_int_equal(after_clean(&a, 1000), 5);
    assert_false(adaptive_refused(&a, 5, 0, 0));
    assert_int_equal(adaptive_limit(&a), 5);
}

static void grows_quickly_until_refused_and_only_while_saturated(void **state)
{
    (void)state;
    struct adaptive a = of(1, 60, 1);
    for (int i = 0; i < 1000; i++)
        adaptive_clean(&a, false); /* idle: nothing is known of more */
    assert_int_equal(adaptive_limit(&a), 1);
    static const unsigned limits[] = {2, 4, 7, 10, 13};
    for (int i = 0; i < 5; i++)
        assert_int_equal(after_clean(&a, 1), limits[i]);
    assert_int_equal(after_clean(&a, 15), 58); /* after 20 answers */
    assert_int_equal(after_clean(&a, 1000), 60);
}

static void one_refusal_cuts_to_nine_tenths_of_what_is_left(void **state)
{
    (void)state;
    static const unsigned left[][2] = {{1, 1}, {2, 2}, {9, 9}, {10, 9}, {11, 10}, {20, 18}, {64, 58}};
    for (int i = 0; i < 7; i++) {
        struct adaptive a = of(1, 100, left[i][0] + 1);
        assert_true(adaptive_refused(&a, left[i][0] + 1, 0, 0)); /* instant 0 is an instant like others */
        assert_int_equal(adaptive_limit(&a), left[i][1]);
    }
}

static void a_volley_of_refusals_cuts_to_half_once(void **state)
{
    (void)state;
    struct adaptive a = of(2, 100, 20);
    for (unsigned i = 0; i < 20; i++)
        adaptive_refused(&a, 20 - i, 0, 1 + i);
    assert_int_equal(adaptive_limit(&a), 10);
    adaptive_refused(&a, 1, 1, 1000); /* late, but sent before the cut */
    assert_int_equal(adaptive_limit(&a), 10);
    assert_true(adaptive_refused(&a, 10, 2, 2000)); /* sent after it: a new round */
    assert_int_equal(adaptive_limit(&a), 9);
    for (int i = 3; i < 30; i++)
        adaptive_refused(&a, adaptive_limit(&a), i * 1000, i * 1000);
    assert_int_equal(adaptive_limit(&a), 2);
    assert_false(adaptive_refused(&a, 2, 99000, 99000)); /* at the floor it is not ours to ask for less */
}

static void part_of_a_volley_leaves_what_was_borne(void **state)
{
    (void)state;
    struct adaptive a = of(1, 100, 7);
    for (unsigned i = 7; i > 4; i--)
        adaptive_refused(&a, i, 0, 0);
    assert_int_equal(adaptive_limit(&a), 4);
}

static void at_the_wall_it_is_patient(void **state)
{
    (void)state;
    struct adaptive a = of(1, 100, 21);
    after_clean(&a, 1);
    adaptive_refused(&a, 22, 0, 0);
    assert_int_equal(adaptive_limit(&a), 19); /* the wall is at 21 */
    assert_int_equal(after_clean(&a, 18), 19);
    assert_int_equal(after_clean(&a, 1), 20);
    assert_int_equal(after_clean(&a, 20), 21);
    assert_int_equal(after_clean(&a, ADAPTIVE_PATIENCE - 1), 21);
    assert_int_equal(after_clean(&a, 1), 22);
    adaptive_refused(&a, 22, 1, 1);
    assert_int_equal(adaptive_limit(&a), 19);
}

static void a_wall_that_is_gone_is_passed_quickly(void **state)
{
    (void)state;
    struct adaptive a = of(1, 100, 4);
    after_clean(&a, 1);
    adaptive_refused(&a, 5, 0, 0);
    assert_int_equal(after_clean(&a, ADAPTIVE_PATIENCE), 5);
    assert_int_equal(after_clean(&a, 4), 5);
    assert_int_equal(after_clean(&a, 1), 8);
    assert_int_equal(after_clean(&a, 4), 20);
}

static void after_an_outage_it_is_soon_back(void **state)
{
    (void)state;
    struct adaptive a = of(1, 100, 64);
    after_clean(&a, 100);
    for (int i = 0; i < 100; i++) /* it is down: nothing is answered any more */
        adaptive_refused(&a, adaptive_limit(&a), i + 1, i + 1);
    assert_int_equal(adaptive_limit(&a), 1);
    assert_true(after_clean(&a, 35) >= 90);
}

static void slots_outside_the_rule_are_brought_in(void **state)
{
    (void)state;
    assert_int_equal(of(3, 6, 1).limit, 3);
    assert_int_equal(of(3, 6, 10).limit, 6);
    struct adaptive a = of(0, 6, 1);
    for (int i = 0; i < 9; i++)
        adaptive_refused(&a, 1, i, i);
    assert_int_equal(adaptive_limit(&a), 1); /* never to a standstill */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_slots_hold),
        cmocka_unit_test(grows_quickly_until_refused_and_only_while_saturated),
        cmocka_unit_test(one_refusal_cuts_to_nine_tenths_of_what_is_left),
        cmocka_unit_test(a_volley_of_refusals_cuts_to_half_once),
        cmocka_unit_test(part_of_a_volley_leaves_what_was_borne),
        cmocka_unit_test(at_the_wall_it_is_patient),
        cmocka_unit_test(a_wall_that_is_gone_is_passed_quickly),
        cmocka_unit_test(after_an_outage_it_is_soon_back),
        cmocka_unit_test(slots_outside_the_rule_are_brought_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
