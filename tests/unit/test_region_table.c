/* The region table, the job and the fleet as data: names, references, and what served answers match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/timeutil.h"
#include "core/fleet_spec.h"
#include "tables.h"

static int freed;

static void count_free(void *ctx)
{
    assert_ptr_equal(ctx, &freed);
    freed++;
}

static void the_last_reference_frees(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream();
    t->adapters = &freed;
    t->adapters_free = count_free;
    assert_ptr_equal(region_table_ref(t), t);
    region_table_unref(t);
    assert_int_equal(freed, 0);
    assert_string_equal(t->endpoints[7].id, "asia/qwen2.5-1.5b");
    region_table_unref(t);
    assert_int_equal(freed, 1);
    region_table_unref(NULL);
    region_table_unref(region_table_new());
}

static void names_are_found(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream();
    assert_int_equal(region_table_region(t, "us"), 0);
    assert_int_equal(region_table_region(t, "eu-west"), 1);
    assert_int_equal(region_table_region(t, "EU"), NO_INDEX);
    assert_int_equal(region_table_region(t, ""), NO_INDEX);
    assert_string_equal(region_table_endpoint(t, 1, "mistral-7b")->id, "eu/mistral-7b");
    assert_null(region_table_endpoint(t, 0, "mistral-7b"));
    assert_null(region_table_endpoint(t, NO_INDEX, "mistral-7b"));
    region_table_unref(t);
}

static void a_region_is_known_by_its_names(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream();
    const struct endpoint_spec *us = region_table_endpoint(t, 0, "llama3.2-1b");
    static const char *const good[] = {NULL, "", "us", "US", "us-east", "US-East"};
    static const char *const bad[] = {"eu", "us-west", "u", "us-east-1", "usa"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(endpoint_served_region_ok(t, us, good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(endpoint_served_region_ok(t, us, bad[i]));
    region_table_unref(t);
}

static void a_model_is_known_by_its_name_date_or_list(void **state)
{
    (void)state;
    static const char *const serves[] = {"my-deployment"};
    struct endpoint_spec e = {.model = "gpt-4o", .sent_as = "org/four", .serves = serves, .serves_count = 1};
    static const char *const good[] = {
        NULL, "", "gpt-4o", "GPT-4o", "gpt-4o-2024-07-18", "gpt-4o-20240718", "gpt-4o-0613", "gpt-4o@20240718",
        "gpt-4o@0101",
        "my-deployment", "My-Deployment", "org/four", "org/four-2024-07-18",
    };
    static const char *const bad[] = {
        "gpt-4", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-", "gpt-4o-2024-13-18", "gpt-4o-2024-07-32",
        "gpt-4o-20240000",
        "gpt-4o-1324", "gpt-4o-0600", "gpt-4o-2048", "gpt-4o-7000", "gpt-4o-061", "gpt-4o-06130", "gpt-4o_0613",
        "gpt-4o-2024/07/18", "gpt-4o-21000718", "gpt-4o-2024-07-18x", "x-gpt-4o", "my-deployment-0613", "gpt-4o 0613",
        "org/four-mini",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!endpoint_served_model_ok(&e, good[i]))
            fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (endpoint_served_model_ok(&e, bad[i]))
            fail_msg("%s was taken", bad[i]);
}

static void a_job_starts_with_its_defaults(void **state)
{
    (void)state;
    struct job_spec *job = job_spec_new();
    assert_int_equal(job->samples, 1);
    assert_string_equal(job->parameters, "{}");
    assert_int_equal(job->on_missing, ON_MISSING_WAIT);
    assert_int_equal(job->timeout_us, 0);
    job_spec_free(job);
    job_spec_free(NULL);
}

static void a_fleet_draws_times(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 9);
    const struct dist uniform = {DIST_UNIFORM, 38e6, 42e6}, tailed = {DIST_LOGNORMAL, 40e6, 0.5};
    const struct dist negative = {DIST_UNIFORM, -5, -1}, wild = {DIST_LOGNORMAL, 1e300, 1};
    int below = 0;
    for (int i = 0; i < 10000; i++) {
        int64_t us = dist_draw(&uniform, &rng);
        assert_true(us >= 38 * SECOND_US && us <= 42 * SECOND_US);
        us = dist_draw(&tailed, &rng);
        assert_true(us > 0);
        below += us < 40 * SECOND_US;
    }
    assert_true(below > 4800 && below < 5200);
    assert_int_equal(dist_draw(&negative, &rng), 0);
    assert_true(dist_draw(&wild, &rng) == 365 * 24 * HOUR_US);

    freed = 0;
    struct fleet_spec *fleet = fleet_spec_new();
    fleet->script = &freed;
    fleet->script_free = count_free;
    fleet_spec_free(fleet);
    fleet_spec_free(NULL);
    assert_int_equal(freed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_reference_frees),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(a_region_is_known_by_its_names),
        cmocka_unit_test(a_model_is_known_by_its_name_date_or_list),
        cmocka_unit_test(a_job_starts_with_its_defaults),
        cmocka_unit_test(a_fleet_draws_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
