/* tables.h -- small region tables and jobs for the unit tests of core/. */
#ifndef TESTS_UNIT_TABLES_H
#define TESTS_UNIT_TABLES_H

#include <stdint.h>

#include "core/job_spec.h"
#include "core/region_table.h"

struct tables_region {
    const char *id, *alias;        /* alias NULL: none */
    const char *const *models;     /* NULL ends the list */
};

/* One reference, the caller's. */
static inline struct region_table *tables_make(const struct tables_region *regions, uint32_t count)
{
    struct region_table *t = region_table_new();
    t->regions = arena_alloc(&t->arena, count * sizeof *t->regions);
    t->region_count = count;
    for (uint32_t r = 0; r < count; r++)
        for (const char *const *model = regions[r].models; *model; model++)
            t->endpoint_count++;
    t->endpoints = arena_alloc(&t->arena, t->endpoint_count * sizeof *t->endpoints);

    unsigned next = 0;
    for (uint32_t r = 0; r < count; r++) {
        t->regions[r].id = arena_strdup(&t->arena, regions[r].id);
        map_add(&t->region_names, str_from(t->regions[r].id), r);
        if (regions[r].alias) {
            const char **aliases = arena_alloc(&t->arena, sizeof *aliases);
            aliases[0] = arena_strdup(&t->arena, regions[r].alias);
            t->regions[r].aliases = aliases;
            t->regions[r].alias_count = 1;
            map_add(&t->region_names, str_from(aliases[0]), r);
        }
        for (const char *const *model = regions[r].models; *model; model++, next++) {
            struct endpoint_spec *e = &t->endpoints[next];
            e->index = next;
            e->region = r;
            e->group = NO_INDEX;
            e->model = arena_strdup(&t->arena, *model);
            e->id = arena_printf(&t->arena, "%s/%s", regions[r].id, *model);
            e->url = arena_printf(&t->arena, "https://%s.example.com/%s", regions[r].id, *model);
            e->slots = 1;
            e->retry = (struct retry_rule){.attempts = 4, .base_us = 1000000, .cap_us = 60000000};
        }
    }
    return t;
}

/* The upstream map: 2 + 3 + 3 endpoints. */
static inline struct region_table *tables_upstream(void)
{
    static const char *const us[] = {"llama3.2-1b", "qwen2.5-1.5b", NULL};
    static const char *const all[] = {"llama3.2-1b", "mistral-7b", "qwen2.5-1.5b", NULL};
    static const struct tables_region regions[] = {{"us", "us-east", us}, {"eu", "eu-west", all}, {"asia", NULL, all}};
    return tables_make(regions, 3);
}

/* `regions` times `models` endpoints, each model in each region; at most 9 of each. */
static inline struct region_table *tables_grid(uint32_t regions, uint32_t models)
{
    static const char *const names[] = {"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"};
    static const char *const ids[] = {"r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"};
    const char *list[10] = {NULL};
    struct tables_region rows[9];
    for (uint32_t m = 0; m < models; m++)
        list[m] = names[m];
    for (uint32_t r = 0; r < regions; r++)
        rows[r] = (struct tables_region){ids[r], NULL, list};
    return tables_make(rows, regions);
}

static inline struct job_spec *tables_job(uint32_t questions, unsigned samples)
{
    struct job_spec *job = job_spec_new();
    job->name = "bias";
    job->samples = samples;
    job->question_count = questions;
    job->questions = arena_alloc(&job->arena, questions * sizeof *job->questions);
    for (uint32_t q = 0; q < questions; q++)
        job->questions[q] = (struct question){.id = arena_printf(&job->arena, "q%u", q), .prompt = STR("why?")};
    return job;
}

#endif
