/* trial.h -- a job before a simulated fleet in virtual time, made in C. */
#ifndef TESTS_UNIT_TRIAL_H
#define TESTS_UNIT_TRIAL_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/plan.h"
#include "fleet_fixture.h"
#include "sim/plain.h"
#include "sim/virtual.h"

enum order { ORDER_FREE, ORDER_BY_ENDPOINT, ORDER_TWICE_WITH_A_NAP };

struct trial {
    struct fleet_spec *fleet;
    struct region_table *table;
    struct job_spec *spec;
    struct virtual_options options;
    void (*wrap)(struct trial *t, struct engine_ports *ports); /* NULL: the ports are as the world has them */
    struct plain_adapter adapter;
    struct virtual *world;
    struct engine *engine;
    struct engine_job *job;
    struct selection *all;
    enum order order;
    int64_t nap_us;
    uint32_t *parts;            /* of each endpoint that were begun */
    unsigned lanes, naps;       /* that have not ended */
    bool over;
    struct buf trace;           /* every event and every end in the fleet */
    unsigned events[EVENT_JOB_ENDED + 1];
    int64_t first_us, last_post_us;
    unsigned cold_ends;
    enum failure_class last_class;
    int64_t commit_us;
};

static inline void note(void *ctx, const struct event *e)
{
    struct trial *t = ctx;
    t->events[e->kind]++;
    if (e->kind == EVENT_ATTEMPT_STARTED) {
        t->first_us = t->first_us ? t->first_us : e->at_us;
        t->last_post_us = e->at_us;
    }
    if (e->kind == EVENT_ATTEMPT_FAILED || e->kind == EVENT_EXECUTION_ENDED)
        t->last_class = e->class;
    buf_addf(&t->trace, "%" PRId64 " %d %s %u/%u.%u #%u hops %u %s %s %s\n", e->at_us, (int)e->kind,
             e->endpoint ? e->endpoint->id : "-", e->cell.question, e->cell.endpoint, e->cell.sample, e->attempt,
             e->hops, status_name(e->status), class_name(e->class), e->error ? e->error : "");
}

static inline void note_end(void *ctx, const struct exchange *x, const struct fleet_ended *e)
{
    struct trial *t = ctx;
    t->cold_ends += e->end == FLEET_ANSWERED && e->cold;
    buf_addf(&t->trace, "%" PRId64 " fleet %s %d seed %" PRIu64 " %s\n", e->at_us, x->endpoint->id, (int)e->end,
             e->seed, x->trace_id);
}

static inline void next_part(struct trial *t, uint32_t lane)
{
    char label[256];
    struct selection *mine = selection_part(t->all, KEY_ENDPOINT, lane, label);
    if (t->parts[lane] < selection_part_count(mine, KEY_QUESTION))
        engine_run(t->job, selection_part(mine, KEY_QUESTION, t->parts[lane]++, label), (void *)(uintptr_t)lane);
    else if (--t->lanes == 0)
        engine_policy_ended(t->job, NULL);
    selection_free(mine);
}

static inline void policy_start(void *ctx, struct engine_job *job)
{
    struct trial *t = ctx;
    char label[256];
    t->job = job;
    if (t->order == ORDER_FREE)
        engine_run(job, selection_copy(t->all), NULL);
    else if (t->order == ORDER_TWICE_WITH_A_NAP)
        engine_run(job, selection_part(t->all, KEY_QUESTION, 0, label), NULL);
    else
        for (uint32_t i = 0; i < t->all->endpoint_count; i++)
            next_part(t, i);
}

static inline void policy_ready(void *ctx, void *token)
{
    struct trial *t = ctx;
    if (t->order == ORDER_BY_ENDPOINT)
        next_part(t, (uint32_t)(uintptr_t)token);
    else if (t->order == ORDER_TWICE_WITH_A_NAP && t->naps++ < 2)
        t->naps == 1 ? engine_sleep(t->job, t->nap_us, NULL) : engine_run(t->job, selection_copy(t->all), NULL);
    else
        engine_policy_ended(t->job, NULL);
}

static inline void policy_stop(void *ctx)
{
    (void)ctx;
}

static inline void job_ended(void *ctx, struct engine_job *job)
{
    struct trial *t = ctx;
    (void)job;
    t->over = true;
}

/* A region table with every endpoint of the fleet, as `simulate --table` would write it. */
static inline struct region_table *table_of(const struct fleet_spec *fleet)
{
    struct region_table *t = region_table_new();
    t->revision = 1;
    t->regions = arena_alloc(&t->arena, fleet->region_count * sizeof *t->regions);
    for (; t->region_count < fleet->region_count; t->region_count++) {
        t->regions[t->region_count] = (struct region_spec){.id = fleet->regions[t->region_count]};
        map_add(&t->region_names, str_from(fleet->regions[t->region_count]), (uint32_t)t->region_count);
    }
    t->endpoints = arena_alloc(&t->arena, fleet->endpoint_count * sizeof *t->endpoints);
    for (; t->endpoint_count < fleet->endpoint_count; t->endpoint_count++) {
        const struct fleet_endpoint *e = &fleet->endpoints[t->endpoint_count];
        unsigned i = (unsigned)t->endpoint_count;
        t->endpoints[i] = (struct endpoint_spec){
            .index = i, .region = (unsigned)region_table_region(t, e->region), .group = NO_INDEX,
            .id = arena_printf(&t->arena, "%s/%s", e->region, e->model), .model = e->model,
            .url = arena_printf(&t->arena, "https://h/%s/%s?x=1", e->region, e->model), .slots = e->containers,
            .deadline_us = 15 * MINUTE_US, .connect_us = 10 * SECOND_US, .hop_us = 3 * MINUTE_US,
            .scaledown_us = e->scaledown_us, .poll_us = SECOND_US, .max_body_bytes = 8 << 20,
            .retry = {.attempts = 4, .base_us = SECOND_US, .cap_us = MINUTE_US},
        };
    }
    return t;
}

static inline struct trial *trial_new(struct fleet_spec *fleet, unsigned questions)
{
    struct trial *t = mem_zalloc(sizeof *t);
    t->fleet = fleet;
    for (size_t i = 0; i < fleet->endpoint_count; i++)
        fleet->endpoints[i].schema = SCHEMA_PLAIN;
    t->table = table_of(fleet);
    struct job_spec *s = t->spec = job_spec_new();
    s->name = "t";
    s->samples = 1;
    s->policy = "own";
    s->parameters = "{}";
    s->question_count = questions;
    s->questions = arena_alloc(&s->arena, questions * sizeof *s->questions);
    for (unsigned q = 0; q < questions; q++)
        s->questions[q] = (struct question){.id = arena_printf(&s->arena, "q%u", q), .prompt = STR("why?")};
    t->options = (struct virtual_options){
        .fleet = fleet, .seed = fleet->seed, .speed = 1, .unix_zero_s = 1e9, .ended = note_end, .ctx = t};
    buf_init(&t->trace, 1 << 30);
    return t;
}

static inline void trial_start(struct trial *t)
{
    struct err err;
    struct engine_ports ports = {.observer = {t, note}, .seed = 1};
    t->world = virtual_new(&t->options);
    virtual_ports(t->world, &ports);
    plain_adapter_port(&t->adapter, &ports.adapter);
    if (t->wrap)
        t->wrap(t, &ports);
    t->engine = engine_new(&ports, t->table);
    virtual_attach(t->world, t->engine);
    struct plan *plan = plan_make(t->spec, t->table, &err);
    if (!plan)
        fail_msg("%s", err.text);
    t->all = selection_all(plan);
    t->lanes = plan->endpoint_count;
    t->parts = mem_zalloc(t->lanes * sizeof *t->parts);
    t->job = engine_submit(t->engine, &(struct job_start){
        .id = "t-1", .first_row = 1, .spec = t->spec, .plan = plan, .ended = job_ended, .ctx = t,
        .policy = {t, policy_start, policy_ready, policy_stop}});
}

static inline struct job_view view_of(const struct trial *t)
{
    struct job_view view;
    engine_job_view(t->job, &view);
    return view;
}

static inline unsigned slots_at_most(const struct endpoint_spec *e)
{
    return e->adaptive.ceiling ? e->adaptive.ceiling : e->slots;
}

/* The fleet and the engine have counted the same, and nothing is left open in either. */
static inline void check_counts(const struct trial *t)
{
    const struct fleet_counts *f = fleet_totals(virtual_fleet(t->world));
    struct job_view view = view_of(t);
    assert_int_equal(f->posts, view.posts);
    assert_int_equal(f->gets, view.hops);
    assert_int_equal(f->posts, t->events[EVENT_ATTEMPT_STARTED]);
    assert_int_equal(f->posts + f->gets, f->answered + f->redirects + f->overflows + f->failed + f->aborted);
    assert_int_equal(f->open, 0);
    assert_int_equal(engine_in_flight(t->engine, NULL), 0);
    for (size_t i = 0; i < t->fleet->endpoint_count; i++)
        assert_true(fleet_counts(virtual_fleet(t->world), i)->max_open <= slots_at_most(&t->table->endpoints[i]));
}

static inline int64_t trial_run(struct trial *t)
{
    trial_start(t);
    while (!t->over)
        assert_true(virtual_step(t->world));
    check_counts(t);
    return view_of(t).ended_us - view_of(t).first_dispatch_us;
}

static inline void trial_free(struct trial *t)
{
    selection_free(t->all);
    free(t->parts);
    engine_free(t->engine);
    virtual_free(t->world);
    region_table_unref(t->table);
    job_spec_free(t->spec);
    fleet_spec_free(t->fleet);
    buf_done(&t->trace);
    free(t);
}

static inline unsigned succeeded(const struct trial *t)
{
    return view_of(t).tally.by_status[STATUS_SUCCEEDED];
}

static inline struct trial *one_endpoint(unsigned questions, struct fleet_endpoint e)
{
    return trial_new(make_spec(1, &e, 1), questions);
}

#endif
