#include "engine/engine.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/state.h"

enum { TURN_ROUNDS = 16 };

int64_t engine_now(const struct engine *e)
{
    return e->ports.clock.now_us(e->ports.clock.ctx);
}

double engine_unix_s(const struct engine *e, int64_t at_us)
{
    return at_us ? e->ports.clock.unix_zero_s + (double)at_us / (double)SECOND_US : NAN;
}

int64_t engine_us(const struct engine *e, double unix_s)
{
    return isnan(unix_s) ? 0 : (int64_t)((unix_s - e->ports.clock.unix_zero_s) * (double)SECOND_US);
}

/* Asks for a turn now. Once is enough, and within a turn not needed. */
void engine_poke(struct engine *e)
{
    if (e->turning || e->woken)
        return;
    e->woken = true;
    e->ports.clock.wake_at(e->ports.clock.ctx, engine_now(e));
}

void engine_await(struct engine *e, struct await *a, uint64_t number)
{
    if (number <= e->durable) { /* a recorder that keeps nothing may say so at once */
        engine_poke(e);
        number = e->durable;
    }
    a->number = number;
    list_push(&e->awaiting, &a->link);
}

void engine_tell(struct engine *e, const struct event *event)
{
    if (e->ports.observer.event)
        e->ports.observer.event(e->ports.observer.ctx, event);
}

struct engine *engine_new(const struct engine_ports *ports, struct region_table *table)
{
    struct engine *e = mem_zalloc(sizeof *e);
    e->ports = *ports;
    rng_seed(&e->rng, ports->seed);
    list_init(&e->ready);
    list_init(&e->awaiting);
    list_init(&e->jobs);
    map_init(&e->ids);
    gate_init(&e->global, e, "global", 0, 0);
    table_enter(e, table);
    return e;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    while (!list_empty(&e->jobs)) {
        struct engine_job *job = container_of(e->jobs.next, struct engine_job, link);
        job_fail(job, "the program ends");
        job->over = true;
        engine_job_free(job);
    }
    table_leave(e);
    gate_done(&e->global);
    timers_done(&e->timers);
    free(e);
}

static bool tell_durable(struct engine *e)
{
    bool told = false;
    while (!list_empty(&e->awaiting)) {
        struct await *a = container_of(e->awaiting.next, struct await, link);
        if (a->number > e->durable)
            break;
        list_unlink(&a->link);
        a->durable(a);
        told = true;
    }
    return told;
}

void engine_durable(struct engine *e, uint64_t number)
{
    assert(number >= e->durable);
    e->durable = number;
    engine_poke(e);
}

/* A policy that never waits for anything real must not keep the host from its signals and sockets: what is left
 * after some rounds is for the next turn. */
void engine_turn(struct engine *e)
{
    bool busy = true;
    e->woken = false;
    e->turning = true;
    for (unsigned rounds = 0; busy && rounds < TURN_ROUNDS && !e->store_failed; rounds++) {
        busy = tell_durable(e);
        busy |= timers_fire(&e->timers, engine_now(e));
        for (struct list *it = e->jobs.next, *next; it != &e->jobs; it = next) {
            next = it->next;
            struct engine_job *job = container_of(it, struct engine_job, link);
            busy |= job_ready_policies(job);
        }
        busy |= !list_empty(&e->ready);
        lines_pump(e);
    }
    e->turning = false;
    for (struct list *it = e->jobs.next, *next; it != &e->jobs; it = next) {
        next = it->next;
        job_settle(container_of(it, struct engine_job, link));
    }
    if (busy && !e->store_failed)
        engine_poke(e);
    int64_t next_us = timers_next_us(&e->timers);
    if (next_us != NEVER_US && !e->woken)
        e->ports.clock.wake_at(e->ports.clock.ctx, next_us);
}

void engine_exchange_ended(struct engine *e, struct exchange *x, const struct response *r)
{
    live_exchange_ended(container_of(x, struct live, x), r);
    engine_poke(e);
}

void engine_drain(struct engine *e)
{
    e->draining = true;
}

void engine_store_failed(struct engine *e, const char *error)
{
    if (e->store_failed)
        return;
    e->store_failed = true;
    LIST_EACH(it, &e->jobs)
        job_fail(container_of(it, struct engine_job, link), error);
    engine_poke(e);
}

unsigned engine_in_flight(const struct engine *e, unsigned *peak)
{
    if (peak)
        *peak = e->global.sema.peak;
    return e->global.sema.used;
}
