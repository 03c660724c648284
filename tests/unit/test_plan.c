/* The plan: which cells, in which order, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/defs.h"
#include "core/plan.h"
#include "tables.h"

/* A model may have regions of its own after a colon: "mistral-7b:eu,asia". */
struct wish {
    const char *models[4], *regions[4];
};

static const char *const *split(struct arena *a, const char *list, size_t *count)
{
    const char **names = arena_alloc(a, 8 * sizeof *names);
    char *rest = arena_strdup(a, list);
    *count = 0;
    for (char *name = strtok(rest, ","); name; name = strtok(NULL, ","))
        names[(*count)++] = name;
    return names;
}

static struct job_spec *job_of(const struct wish *wish)
{
    struct job_spec *job = tables_job(8, 1);
    job->models = arena_alloc(&job->arena, 4 * sizeof *job->models);
    for (; job->model_count < 4 && wish->models[job->model_count]; job->model_count++) {
        struct model_choice *choice = &job->models[job->model_count];
        char *name = arena_strdup(&job->arena, wish->models[job->model_count]), *colon = strchr(name, ':');
        choice->model = name;
        if (colon) {
            *colon = '\0';
            choice->regions = split(&job->arena, colon + 1, &choice->region_count);
        }
    }
    job->regions = wish->regions;
    while (job->region_count < 4 && wish->regions[job->region_count])
        job->region_count++;
    return job;
}

static void the_cells_are_what_was_chosen(void **state)
{
    (void)state;
    static const struct {
        struct wish wish;
        const char *endpoints; /* or what the error says */
        bool good;
    } rows[] = {
        {{{0}, {0}}, "us/llama3.2-1b us/qwen2.5-1.5b eu/llama3.2-1b eu/mistral-7b eu/qwen2.5-1.5b asia/llama3.2-1b "
                     "asia/mistral-7b asia/qwen2.5-1.5b ", true},
        {{{0},
        {"asia", "us"}}, "us/llama3.2-1b us/qwen2.5-1.5b asia/llama3.2-1b asia/mistral-7b asia/qwen2.5-1.5b ", true},
        {{{"mistral-7b"}, {0}}, "eu/mistral-7b asia/mistral-7b ", true},
        {{{"mistral-7b", "llama3.2-1b"},
        {"us-east", "eu", "us"}}, "us/llama3.2-1b eu/llama3.2-1b eu/mistral-7b ", true},
        {{{"llama3.2-1b:eu,us,eu-west", "qwen2.5-1.5b:asia"},
        {0}}, "us/llama3.2-1b eu/llama3.2-1b asia/qwen2.5-1.5b ", true},
        {{{"llama3.2-1b:us", "llama3.2-1b:eu", "llama3.2-1b:us"}, {0}}, "us/llama3.2-1b eu/llama3.2-1b ", true},
        {{{"llama3.2-1b:us,eu"}, {"eu", "asia"}}, "eu/llama3.2-1b ", true},
        {{{"mistral-7b:us,eu"}, {0}}, "eu/mistral-7b ", true},
        {{{0},
        {"euu"}},
        "unknown region \"euu\" (job bias): did you mean \"eu\"? the region table has us, eu, asia, us-east, eu-west",
         false},
        {{{0}, {"mars"}}, "unknown region \"mars\" (job bias): the region table has us, eu, asia", false},
        {{{"llama3.2-1b:moon"}, {0}}, "unknown region \"moon\"", false},
        {{{"lama3.2-1b"},
        {0}}, "unknown model \"lama3.2-1b\" (job bias): did you mean \"llama3.2-1b\"? the region table has "
                                "llama3.2-1b, qwen2.5-1.5b, mistral-7b", false},
        {{{"llama3.2-1b:us"},
        {"eu"}}, "model \"llama3.2-1b\" has no region in common with the job (job bias): ", false},
        {{{"llama3.2-1b", "mistral-7b"},
        {"us"}}, "model \"mistral-7b\" runs in none of the chosen regions (job bias): ", false},
        {{{"mistral-7b:us"}, {0}}, "model \"mistral-7b\" runs in none of the chosen regions (job bias): ", false},
    };
    struct region_table *t = tables_upstream();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct job_spec *job = job_of(&rows[i].wish);
        struct err err = {.text = ""};
        struct plan *plan = plan_make(job, t, &err);
        struct buf found;
        buf_init(&found, 4000);
        for (uint32_t e = 0; plan && e < plan->endpoint_count; e++)
            buf_addf(&found, "%s ", plan_endpoint(plan, e)->id);
        if (!plan != !rows[i].good || (plan && strcmp(found.ptr, rows[i].endpoints) != 0) ||
            (!plan && (strncmp(err.text, rows[i].endpoints, strlen(rows[i].endpoints)) != 0 || err.code != ERR_CONFIG)))
            fail_msg("row %zu: %s%s", i, buf_str(&found).ptr, err.text);
        if (plan)
            assert_int_equal(plan->count, 8 * plan->endpoint_count);
        buf_done(&found);
        plan_free(plan);
        job_spec_free(job);
    }
    assert_int_equal(t->refs, 1);
    region_table_unref(t);
}

static void what_is_reserved_is_asked_by_name(void **state)
{
    (void)state;
    static const struct wish all = {{0}, {0}}, named = {{"mistral-7b"}, {0}};
    struct region_table *t = tables_upstream();
    for (size_t i = 0; i < t->endpoint_count; i++)
        t->endpoints[i].reserved = strcmp(t->endpoints[i].model, "mistral-7b") == 0;
    struct job_spec *jobs[] = {job_of(&all), job_of(&named)};
    for (int i = 0; i < 2; i++) {
        struct err err;
        struct plan *plan = plan_make(jobs[i], t, &err);
        assert_non_null(plan);
        assert_int_equal(plan->endpoint_count, i ? 2 : 6);
        for (uint32_t e = 0; e < plan->endpoint_count; e++)
            assert_int_equal(plan_endpoint(plan, e)->reserved, i);
        plan_free(plan);
        job_spec_free(jobs[i]);
    }
    region_table_unref(t);
}

static void numbers_and_cells_are_two_names_of_one_thing(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream();
    struct job_spec *job = tables_job(5, 3);
    struct err err;
    struct plan *plan = plan_make(job, t, &err);
    assert_int_equal(plan->count, 5 * 3 * 8);
    uint64_t n = 0;
    for (uint32_t q = 0; q < 5; q++)
        for (uint32_t s = 0; s < 3; s++)
            for (uint32_t e = 0; e < 8; e++, n++) {
                struct cell c = plan_cell(plan, n);
                assert_true(c.question == q && c.sample == s && c.endpoint == e);
                assert_int_equal(plan_number(plan, c), n);
            }
    region_table_unref(t); /* the plan holds one of its own */
    assert_string_equal(plan_endpoint(plan, 3)->id, "eu/mistral-7b");
    plan_free(plan);
    plan_free(NULL);
    job_spec_free(job);
}

static void too_little_and_too_much_are_refused(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream(), *empty = region_table_new();
    struct job_spec *none = tables_job(0, 1), *job = tables_job(4, 1);
    struct err err;
    assert_null(plan_make(none, t, &err));
    assert_non_null(strstr(err.text, "no question (job bias)"));
    assert_null(plan_make(job, empty, &err));
    assert_non_null(strstr(err.text, "no model runs in the chosen regions (job bias)"));
    job->samples = 0;
    assert_null(plan_make(job, t, &err));
    job->samples = 1 << 26; /* 4 x 8 x 2^26 = 2^31: the most there may be */
    struct plan *plan = plan_make(job, t, &err);
    assert_non_null(plan);
    assert_int_equal(plan->count, UINT64_C(1) << 31);
    assert_int_equal(plan_number(plan, plan_cell(plan, plan->count - 1)), plan->count - 1);
    plan_free(plan);
    job->samples++;
    assert_null(plan_make(job, t, &err));
    assert_non_null(strstr(err.text, "4 questions x 67108865 samples x 8 endpoints"));
    job->samples = UINT32_MAX;
    assert_null(plan_make(job, t, NULL));
    job_spec_free(none);
    job_spec_free(job);
    region_table_unref(empty);
    region_table_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cells_are_what_was_chosen),
        cmocka_unit_test(what_is_reserved_is_asked_by_name),
        cmocka_unit_test(numbers_and_cells_are_two_names_of_one_thing),
        cmocka_unit_test(too_little_and_too_much_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
