/* What a seed stands for. */
#include <string.h>

#include "base/defs.h"
#include "base/timeutil.h"
#include "search.h"

uint64_t draw(struct search *s, uint64_t below)
{
    return below ? rng_next(&s->rng) % below : 0;
}

bool chance(struct search *s, double share)
{
    return rng_unit(&s->rng) < share;
}

static struct dist between(struct search *s, double longest_s)
{
    double a = rng_between(&s->rng, 0, longest_s * 1e6), b = rng_between(&s->rng, 0, longest_s * 1e6);
    return (struct dist){.kind = DIST_UNIFORM, .a = a < b ? a : b, .b = a < b ? b : a};
}

static void draw_fault(struct search *s, struct fleet_fault *f)
{
    static const enum fault_what kinds[] = {
        FAULT_RESET, FAULT_HANG, FAULT_500, FAULT_503, FAULT_429, FAULT_429, FAULT_404, FAULT_401, FAULT_QUOTA,
        FAULT_MALFORMED, FAULT_TRUNCATED, FAULT_EMPTY, FAULT_ERROR, FAULT_WRONG_REGION, FAULT_WRONG_MODEL, FAULT_SLOW,
        FAULT_REDIRECT_AWAY,
    };
    f->what = kinds[draw(s, ARRAY_LEN(kinds))];
    f->share = chance(s, 0.15) ? 1 : rng_unit(&s->rng) * 0.4;
    f->factor = 1 + rng_unit(&s->rng) * 20;
    f->to = "https://elsewhere/";
    if (chance(s, 0.5)) {
        f->from_us = (int64_t)draw(s, 300) * SECOND_US;
        f->to_us = f->from_us + SECOND_US + (int64_t)draw(s, 300) * SECOND_US;
    }
    if (chance(s, 0.5))
        f->region = s->fleet->regions[draw(s, s->fleet->region_count)];
}

static void draw_fleet(struct search *s, unsigned regions, unsigned models)
{
    static const int redirects[] = {303, 303, 302, 202};
    struct fleet_spec *f = s->fleet = fleet_spec_new();
    const char **names = arena_alloc(&f->arena, regions * sizeof *names);
    f->path = "drawn";
    f->seed = rng_next(&s->rng);
    f->regions = names;
    f->endpoints = arena_alloc(&f->arena, regions * models * sizeof *f->endpoints);
    for (unsigned r = 0; r < regions; r++) {
        names[f->region_count++] = arena_printf(&f->arena, "r%u", r);
        for (unsigned m = 0; m < models; m++)
            f->endpoints[f->endpoint_count++] = (struct fleet_endpoint){
                .region = names[r], .model = arena_printf(&f->arena, "m%u", m), .schema = SCHEMA_PLAIN,
                .containers = 1 + (unsigned)draw(s, 3), .queue = (unsigned)draw(s, 3),
                .overflow = (enum fleet_overflow)draw(s, 4), .scaledown_us = (int64_t)(1 + draw(s, 300)) * SECOND_US,
                .redirect_after_us = chance(s, 0.3) ? 0 : (int64_t)(1 + draw(s, 30)) * SECOND_US,
                .redirect_status = redirects[draw(s, ARRAY_LEN(redirects))],
                .cold = between(s, 60), .service = between(s, 40),
                .retry_after_us = chance(s, 0.5) ? (int64_t)(1 + draw(s, 40)) * SECOND_US : 0,
                .served_region = chance(s, 0.03) ? "elsewhere" : NULL,
            };
    }
    f->fault_count = draw(s, 5);
    f->faults = arena_alloc(&f->arena, (f->fault_count + 1) * sizeof *f->faults);
    for (size_t i = 0; i < f->fault_count; i++)
        draw_fault(s, &f->faults[i]);
}

static void draw_endpoint(struct search *s, struct region_table *t, unsigned i)
{
    const struct fleet_endpoint *e = &s->fleet->endpoints[i];
    struct endpoint_spec *spec = &t->endpoints[i];
    *spec = (struct endpoint_spec){
        .index = i, .region = (unsigned)region_table_region(t, e->region), .group = NO_INDEX,
        .id = arena_printf(&t->arena, "%s/%s", e->region, e->model), .model = e->model,
        .url = arena_printf(&t->arena, "https://h/%s/%s", e->region, e->model), .slots = 1 + (unsigned)draw(s, 4),
        .rate_per_minute = chance(s, 0.25) ? 1 + (double)draw(s, 200) : 0,
        .deadline_us = (int64_t)(20 + draw(s, 400)) * SECOND_US, .connect_us = 10 * SECOND_US,
        .hop_us = (int64_t)(10 + draw(s, 100)) * SECOND_US, .scaledown_us = (int64_t)(5 + draw(s, 300)) * SECOND_US,
        .poll_us = SECOND_US / 2, .max_body_bytes = 8 << 20,
        .retry = {.attempts = 1 + (unsigned)draw(s, 4), .base_us = (int64_t)(1 + draw(s, 2000)) * MS_US,
                  .cap_us = 20 * SECOND_US, .unknown = chance(s, 0.3)},
    };
    if (t->group_count && chance(s, 0.6))
        spec->group = (int)draw(s, t->group_count);
    if (chance(s, 0.5))
        spec->breaker = (struct breaker_rule){1 + (unsigned)draw(s, 5), MINUTE_US,
                                              (int64_t)(1 + draw(s, 40)) * SECOND_US};
    if (chance(s, 0.3))
        spec->adaptive = (struct adaptive_rule){1, 1 + (unsigned)draw(s, 6)};
    if (chance(s, 0.05))
        spec->paused = "for the night";
}

static void draw_table(struct search *s)
{
    struct region_table *t = s->table = region_table_new();
    s->first_table = region_table_ref(t);
    const struct fleet_spec *f = s->fleet;
    t->revision = 1;
    t->in_flight = chance(s, 0.4) ? 1 + (unsigned)draw(s, 8) : 0;
    t->regions = arena_alloc(&t->arena, f->region_count * sizeof *t->regions);
    for (; t->region_count < f->region_count; t->region_count++) {
        t->regions[t->region_count] = (struct region_spec){
            .id = f->regions[t->region_count], .in_flight = chance(s, 0.4) ? 1 + (unsigned)draw(s, 4) : 0};
        map_add(&t->region_names, str_from(f->regions[t->region_count]), (uint32_t)t->region_count);
    }
    t->group_count = draw(s, 3);
    t->groups = arena_alloc(&t->arena, (t->group_count + 1) * sizeof *t->groups);
    for (size_t i = 0; i < t->group_count; i++)
        t->groups[i] = (struct group_spec){
            .name = arena_printf(&t->arena, "g%zu", i), .in_flight = chance(s, 0.5) ? 1 + (unsigned)draw(s, 4) : 0,
            .rate_per_minute = chance(s, 0.3) ? 1 + (double)draw(s, 300) : 0};
    t->endpoints = arena_alloc(&t->arena, f->endpoint_count * sizeof *t->endpoints);
    for (; t->endpoint_count < f->endpoint_count; t->endpoint_count++)
        draw_endpoint(s, t, (unsigned)t->endpoint_count);
}

static const char not_there[] = "not in the table";

static unsigned retuned(struct search *s, unsigned limit, unsigned most)
{
    return chance(s, 0.3) ? 1 + (unsigned)draw(s, most) : limit;
}

static void retune_endpoint(struct search *s, struct endpoint_spec *spec)
{
    spec->slots = retuned(s, spec->slots, 4);
    if (spec->adaptive.ceiling)
        spec->adaptive.ceiling = retuned(s, spec->adaptive.ceiling, 6);
    if (spec->paused == not_there)
        spec->paused = NULL;
    else if (chance(s, 0.2))
        spec->paused = spec->paused ? NULL : "drawn to be paused";
}

/* Its texts stay in the first table, which the search keeps. The last endpoints may be missing; their places stay. */
struct region_table *table_retuned(struct search *s, bool whole)
{
    const struct region_table *old = s->table;
    struct region_table *t = region_table_new();
    t->revision = old->revision + 1;
    t->in_flight = old->in_flight ? retuned(s, old->in_flight, 8) : 0;
    t->region_count = old->region_count;
    t->regions = arena_alloc(&t->arena, old->region_count * sizeof *t->regions);
    for (size_t i = 0; i < t->region_count; i++) {
        t->regions[i] = old->regions[i];
        t->regions[i].in_flight = retuned(s, old->regions[i].in_flight, 4);
        map_add(&t->region_names, str_from(t->regions[i].id), (uint32_t)i);
    }
    t->group_count = old->group_count;
    t->groups = arena_alloc(&t->arena, (old->group_count + 1) * sizeof *t->groups);
    for (size_t i = 0; i < t->group_count; i++) {
        t->groups[i] = old->groups[i];
        t->groups[i].in_flight = retuned(s, old->groups[i].in_flight, 4);
    }
    size_t all = s->first_table->endpoint_count;
    t->endpoint_count = !whole && chance(s, 0.3) ? 1 + draw(s, all) : all;
    t->endpoints = arena_alloc(&t->arena, all * sizeof *t->endpoints);
    for (size_t i = 0; i < all; i++) {
        t->endpoints[i] = old->endpoints[i];
        retune_endpoint(s, &t->endpoints[i]);
        if (i >= t->endpoint_count)
            t->endpoints[i].paused = not_there;
    }
    return t;
}

static void draw_job(struct search *s, struct search_job *j)
{
    struct job_spec *spec = j->spec = job_spec_new();
    j->search = s;
    spec->name = "j";
    spec->policy = "drawn";
    spec->parameters = "{}";
    spec->samples = 1 + (unsigned)draw(s, 2);
    spec->in_flight = chance(s, 0.3) ? 1 + (unsigned)draw(s, 5) : 0;
    spec->timeout_us = chance(s, 0.15) ? (int64_t)(5 + draw(s, 2000)) * SECOND_US : 0;
    spec->on_missing = chance(s, 0.5) ? ON_MISSING_SKIP : ON_MISSING_WAIT;
    spec->question_count = 1 + draw(s, 6);
    spec->questions = arena_alloc(&spec->arena, spec->question_count * sizeof *spec->questions);
    for (size_t q = 0; q < spec->question_count; q++)
        spec->questions[q] = (struct question){.id = arena_printf(&spec->arena, "q%zu", q), .prompt = STR("why?")};
    j->first_row = s->rows_count;
    j->count = spec->question_count * spec->samples * s->table->endpoint_count;
    s->rows_count += (unsigned)j->count;
    j->outer = chance(s, 0.5) ? (int)draw(s, KEY_COUNT) : -1;
    j->inner = chance(s, 0.3) ? -1 : chance(s, 0.6) ? KEY_QUESTION : (int)draw(s, KEY_COUNT);
    j->order = (int)draw(s, 4);
    j->twice = chance(s, 0.1);
    j->nap_share = chance(s, 0.2) ? 0.3 : 0;
    j->error_share = chance(s, 0.05) ? 0.1 : 0;
}

/* Half of the worlds are calm in each way, so that what one kind of trouble breaks is not hidden by another. */
static double trouble(struct search *s, double most)
{
    return chance(s, 0.5) ? 0 : rng_unit(&s->rng) * most;
}

void scenario_draw(struct search *s)
{
    static const int64_t commits_us[] = {0, 0, MS_US, 50 * MS_US, SECOND_US};
    unsigned regions = 1 + (unsigned)draw(s, 3);
    draw_fleet(s, regions, 1 + (unsigned)draw(s, ENDPOINTS_MAX / regions));
    draw_table(s);
    s->job_count = 1 + (unsigned)draw(s, JOBS_MAX);
    for (unsigned i = 0; i < s->job_count; i++)
        draw_job(s, &s->jobs[i]);
    s->lives = 1 + (unsigned)draw(s, LIVES_MAX);
    s->inject_share = trouble(s, 0.2);
    s->crash_share = trouble(s, 0.02);
    s->stop_share = trouble(s, 0.01);
    s->jump_share = trouble(s, 0.02);
    s->retune_share = trouble(s, 0.02);
    s->fail_share = trouble(s, 0.003);
    s->pause_share = trouble(s, 0.02);
    s->cancel_share = trouble(s, 0.02);
    s->commit_us = commits_us[draw(s, ARRAY_LEN(commits_us))];
    s->slow_commit_us = chance(s, 0.2) ? 60 * SECOND_US : s->commit_us;
}
