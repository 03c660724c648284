/* The adaptive limit: up by one, down to 0.7, and what must not move it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/adaptive.h"

static void clean_times(struct adaptive *a, unsigned times, bool saturated)
{
    for (unsigned i = 0; i < times; i++)
        adaptive_clean(a, saturated);
}

static void without_a_rule_slots_hold(void **state)
{
    (void)state;
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){0}, 5);
    clean_times(&a, 1000, true);
    assert_false(adaptive_refused(&a, 0));
    assert_int_equal(adaptive_limit(&a), 5);
}

static void grows_by_one_a_round_while_saturated(void **state)
{
    (void)state;
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){.floor = 1, .ceiling = 5}, 2);
    clean_times(&a, 100, false); /* idle: nothing is known of more */
    assert_int_equal(adaptive_limit(&a), 2);
    clean_times(&a, 1, true);
    assert_int_equal(adaptive_limit(&a), 2);
    clean_times(&a, 1, true);
    assert_int_equal(adaptive_limit(&a), 3);
    clean_times(&a, 3, true);
    assert_int_equal(adaptive_limit(&a), 4);
    clean_times(&a, 1000, true);
    assert_int_equal(adaptive_limit(&a), 5);
}

static void a_volley_of_refusals_is_one_cut(void **state)
{
    (void)state;
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){.floor = 2, .ceiling = 100}, 20);
    assert_true(adaptive_refused(&a, 0)); /* instant 0 is an instant like others */
    assert_int_equal(adaptive_limit(&a), 14);
    for (int i = 0; i < 19; i++)
        assert_false(adaptive_refused(&a, i));
    assert_int_equal(adaptive_limit(&a), 14);
    assert_false(adaptive_refused(&a, ADAPTIVE_DEBOUNCE_US - 1));
    assert_true(adaptive_refused(&a, ADAPTIVE_DEBOUNCE_US));
    assert_int_equal(adaptive_limit(&a), 9);
    for (int i = 2; i < 30; i++)
        adaptive_refused(&a, i * ADAPTIVE_DEBOUNCE_US);
    assert_int_equal(adaptive_limit(&a), 2);
    assert_false(adaptive_refused(&a, 99 * ADAPTIVE_DEBOUNCE_US)); /* at the floor nothing is cut */
}

static void a_refusal_ends_the_clean_row(void **state)
{
    (void)state;
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){.floor = 4, .ceiling = 9}, 4);
    clean_times(&a, 3, true);
    adaptive_refused(&a, 0);
    clean_times(&a, 3, true);
    assert_int_equal(adaptive_limit(&a), 4);
    clean_times(&a, 1, true);
    assert_int_equal(adaptive_limit(&a), 5);
}

static void slots_outside_the_rule_are_brought_in(void **state)
{
    (void)state;
    struct adaptive a;
    adaptive_init(&a, &(struct adaptive_rule){.floor = 3, .ceiling = 6}, 1);
    assert_int_equal(adaptive_limit(&a), 3);
    adaptive_init(&a, &(struct adaptive_rule){.floor = 3, .ceiling = 6}, 10);
    assert_int_equal(adaptive_limit(&a), 6);
    adaptive_init(&a, &(struct adaptive_rule){.floor = 0, .ceiling = 6}, 1);
    for (int i = 0; i < 9; i++)
        adaptive_refused(&a, i * ADAPTIVE_DEBOUNCE_US);
    assert_int_equal(adaptive_limit(&a), 1); /* never to a standstill */
}

/* An endpoint that bears `hidden` requests: after a while the limit stays near it, whichever side it starts from. */
static void finds_a_hidden_limit(void **state)
{
    (void)state;
    static const unsigned starts[] = {1, 64};
    for (int k = 0; k < 2; k++) {
        const unsigned hidden = 24;
        struct adaptive a;
        adaptive_init(&a, &(struct adaptive_rule){.floor = 1, .ceiling = 64}, starts[k]);
        double sum = 0;
        for (int round = 0; round < 2000; round++) {
            unsigned limit = adaptive_limit(&a), borne = limit < hidden ? limit : hidden;
            clean_times(&a, borne, true);
            for (unsigned i = borne; i < limit; i++)
                adaptive_refused(&a, round * 10 * SECOND_US);
            if (round >= 100)
                sum += adaptive_limit(&a);
            assert_true(round < 100 || adaptive_limit(&a) <= hidden + 2);
        }
        assert_true(sum / 1900 > hidden * 0.75);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_slots_hold),
        cmocka_unit_test(grows_by_one_a_round_while_saturated),
        cmocka_unit_test(a_volley_of_refusals_is_one_cut),
        cmocka_unit_test(a_refusal_ends_the_clean_row),
        cmocka_unit_test(slots_outside_the_rule_are_brought_in),
        cmocka_unit_test(finds_a_hidden_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
