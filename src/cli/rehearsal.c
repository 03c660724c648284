#include "cli/rehearsal.h"

#include "base/timeutil.h"
#include "script/table_file.h"
#include "sim/plain.h"

/* A policy that sleeps for ever would never end, nor soon if it sleeps a second at a time. */
#define HORIZON_US (365 * 24 * HOUR_US)
enum { IDLE_STEPS_MAX = 100000 };

struct running {
    const struct rehearsal *asked;
    struct rehearsal_end end;
    unsigned batches, idle_steps; /* since the last request */
    bool over;
};

static void observe(void *ctx, const struct event *event)
{
    struct running *r = ctx;
    const struct observer_port *further = &r->asked->observer;
    if (event->kind == EVENT_BATCH_STARTED && ++r->batches > r->end.max_batches)
        r->end.max_batches = r->batches;
    if (event->kind == EVENT_BATCH_COMPLETED)
        r->batches--;
    if (event->kind == EVENT_ATTEMPT_STARTED || event->kind == EVENT_HOP)
        r->idle_steps = 0;
    if (further->event)
        further->event(further->ctx, event);
}

static void job_ended(void *ctx, struct engine_job *job)
{
    struct running *r = ctx;
    (void)job;
    r->over = true;
}

static bool goes_on(struct running *r, struct virtual *world)
{
    if (r->over)
        return false;
    r->end.stuck = ++r->idle_steps > IDLE_STEPS_MAX || virtual_next_us(world) > VIRTUAL_START_US + HORIZON_US;
    return !r->end.stuck && virtual_step(world);
}

static void tell_end(struct running *r, const struct engine_job *job, struct virtual *world)
{
    struct job_view view;
    engine_job_view(job, &view);
    r->end.view = &view;
    r->end.world = world;
    if (view.first_dispatch_us)
        r->end.makespan_us = (view.ended_us ? view.ended_us : virtual_now_us(world)) - view.first_dispatch_us;
    r->asked->ended(r->asked->ctx, &r->end);
}

void rehearsal_run(const struct rehearsal *asked)
{
    struct running r = {.asked = asked};
    struct plain_adapter plain;
    struct engine_ports ports = {.observer = {&r, observe}, .seed = asked->world.seed};
    struct virtual *world = virtual_new(&asked->world);
    virtual_ports(world, &ports);
    if (asked->world.fleet)
        adapters_port(&ports.adapter);
    else
        plain_adapter_port(&plain, &ports.adapter);
    struct engine *engine = engine_new(&ports, asked->plan->table);
    virtual_attach(world, engine);
    struct job_start start = {.id = "rehearsal", .first_row = 1, .spec = asked->spec, .plan = asked->plan,
                              .ended = job_ended, .ctx = &r};
    job_file_policy(asked->file, asked->plan, &start.policy);
    struct engine_job *job = engine_submit(engine, &start);
    while (goes_on(&r, world))
        ;
    tell_end(&r, job, world);
    engine_free(engine);
    virtual_free(world);
}
