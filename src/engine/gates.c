/* Permits: which line may start its next execution, and who is told when one comes free.
 *
 * The rule that keeps everybody moving: a gate with a free permit and a waiter has called as
 * many waiters as it has permits for. A permit that is kept for a called line is not given to
 * another, so nobody barges; a called line that does not use it hands the call on. */
#include <assert.h>
#include <stdlib.h>

#include "base/timeutil.h"
#include "engine/state.h"

static void gate_timer(struct timer *t)
{
    gate_call(container_of(t, struct gate, timer));
}

void gate_init(struct gate *g, struct engine *e, const char *name, unsigned limit, double rate_per_minute)
{
    *g = (struct gate){.engine = e, .timer.fire = gate_timer};
    sema_init(&g->sema, name, limit, rate_per_minute);
}

void gate_done(struct gate *g)
{
    assert(list_empty(&g->sema.waiters));
    timer_off(&g->engine->timers, &g->timer);
    free(g->name);
}

/* Would this gate let one more start, calls aside? If only time can tell, *retry_us is when. */
static bool gate_open(struct gate *g, int64_t now_us, int64_t *retry_us)
{
    struct endpoint *ep = g->endpoint;
    *retry_us = NEVER_US;
    if (ep && endpoint_away(ep))
        return false;
    if (ep && !breaker_allows(&ep->breaker, now_us)) {
        if (ep->breaker.state == BREAKER_OPEN)
            *retry_us = ep->breaker.open_until_us;
        return false;
    }
    if (!sema_free_at(&g->sema, now_us, retry_us))
        return false;
    if (g->held)
        gate_ramp(g);
    return true;
}

unsigned gate_limit(const struct gate *g)
{
    return g->ramp && (g->ramp < g->sema.limit || !g->sema.limit) ? g->ramp : g->sema.limit;
}

static bool gate_has_room_beside(const struct gate *g, unsigned called)
{
    unsigned limit = gate_limit(g);
    return limit == 0 || g->sema.used + called < limit;
}

static bool gate_has_room(const struct gate *g)
{
    return gate_has_room_beside(g, g->called);
}

/* Whoever waits stands in rounds, and each job has one line in each: so all get the same share, whatever the number of
 * their endpoints. The search ends at the job's own last line, which is last of all where only one job waits. */
static void gate_wait(struct gate *g, struct line *line)
{
    struct list *waiters = &g->sema.waiters, *it = waiters->prev;
    while (it != waiters && container_of(it, struct line, link)->job != line->job)
        it = it->prev;
    uint64_t latest = it == waiters ? 0 : container_of(it, struct line, link)->round;
    line->round = (latest > g->round ? latest : g->round) + 1;
    for (it = waiters->prev; it != waiters && container_of(it, struct line, link)->round > line->round;)
        it = it->prev;
    list_push(it->next, &line->link);
}

void gate_call(struct gate *g)
{
    if (list_empty(&g->sema.waiters))
        return;
    int64_t now_us = engine_now(g->engine), retry_us;
    if (g->endpoint && g->endpoint->breaker.state == BREAKER_DEAD)
        gate_empty(g); /* each skips what it has */
    while (!list_empty(&g->sema.waiters)) {
        if (!gate_open(g, now_us, &retry_us)) {
            timer_set(&g->engine->timers, &g->timer, retry_us);
            return;
        }
        if (!gate_has_room(g) || (g->sema.rate.per_minute > 0 && g->called))
            return;
        struct line *line = container_of(list_pop(&g->sema.waiters), struct line, link);
        if (line->round > g->round)
            g->round = line->round;
        line->called_by = g;
        g->called++;
        list_push(&g->engine->ready, &line->link);
        engine_poke(g->engine);
    }
}

void gate_empty(struct gate *g)
{
    while (!list_empty(&g->sema.waiters))
        line_wake(container_of(list_pop(&g->sema.waiters), struct line, link));
}

void gate_hold(struct gate *g, int64_t until_us)
{
    if (until_us > g->sema.closed_until_us)
        g->sema.closed_until_us = until_us;
    g->held = true;
    gate_call(g);
}

void gate_ramp(struct gate *g)
{
    g->held = false;
    g->ramp = g->sema.used + 1;
}

/* While it is held answers say nothing of what it bears after. No more than ever were in flight is a herd. */
void gate_answered(struct gate *g)
{
    if (g->ramp && !g->held && ++g->ramp > g->sema.peak)
        g->ramp = 0;
}

/* The gates a line needs, its endpoint's first: that is where a full one should make it wait. */
static size_t line_gates(struct line *line, struct gate *gates[5])
{
    size_t n = 0;
    gates[n++] = &line->endpoint->gate;
    if (line->endpoint->group)
        gates[n++] = line->endpoint->group;
    if (line->endpoint->region)
        gates[n++] = line->endpoint->region;
    if (line->job->gate.sema.limit)
        gates[n++] = &line->job->gate;
    gates[n++] = &line->job->engine->global;
    return n;
}

/* Of the gates it took them from: its endpoint may be in another group by now. */
void permits_release(struct live *live)
{
    struct engine_job *job = live->line->job;
    struct gate *gates[] = {&live->line->endpoint->gate, live->group, live->region,
                            job->gate.sema.limit ? &job->gate : NULL, &job->engine->global};
    live->group = live->region = NULL;
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        if (gates[i]) {
            sema_release(&gates[i]->sema);
            gate_call(gates[i]);
        }
}

/* Forgets that a gate called this line, and passes the call on. */
static void line_uncall(struct line *line)
{
    struct gate *g = line->called_by;
    if (g) {
        line->called_by = NULL;
        g->called--;
        gate_call(g);
    }
}

void line_leave(struct line *line)
{
    list_unlink(&line->link);
    line_uncall(line);
}

void line_wake(struct line *line)
{
    if (list_empty(&line->link)) {
        list_push(&line->job->engine->ready, &line->link);
        engine_poke(line->job->engine);
    }
}

void line_look_again(struct line *line)
{
    line_leave(line);
    line_wake(line);
}

static bool line_has_work(struct line *line)
{
    struct run *run;
    struct cell cell;
    const struct engine_job *job = line->job;
    if (job->stopping != JOB_GOES_ON || job->state == JOB_PAUSED || job->engine->draining)
        return false;
    if (line->endpoint->breaker.state == BREAKER_DEAD)
        job_close_endpoint(line->job, line->position, CLASS_BREAKER_OPEN,
                           "the endpoint kept failing: look at its earlier errors, then retry");
    else
        line_close_away(line);
    if (!list_empty(&line->due) || warm_wanted(line))
        return true;
    bool more = line_next(line, &run, &cell) && line->backing_off < LINE_BACKING_OFF_MAX;
    return more || !list_empty(&line->due); /* on its way it may have come to something that waited for it */
}

/* All permits or none. The line waits at the first gate that refuses; one that was called and refused goes first
 * in line again, for it has waited longest. */
static bool line_take_permits(struct line *line, int64_t now_us)
{
    struct gate *gates[5], *caller = line->called_by;
    size_t count = line_gates(line, gates);
    if (caller) {
        line->called_by = NULL;
        caller->called--;
    }
    endpoint_touch(line->endpoint, now_us);
    for (size_t i = 0; i < count; i++) {
        struct gate *g = gates[i];
        int64_t retry_us;
        /* Two called lines, each kept out by the permit that is kept for the other, would call one another for ever. */
        bool first = caller ? gate_has_room_beside(g, 0) : list_empty(&g->sema.waiters) && gate_has_room(g);
        if (first && gate_open(g, now_us, &retry_us))
            continue;
        if (g == caller)
            list_push_front(&g->sema.waiters, &line->link);
        else
            gate_wait(g, line);
        gate_call(g); /* arms its timer */
        if (caller && caller != g)
            gate_call(caller);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        sema_take(&gates[i]->sema, now_us);
    breaker_started(&line->endpoint->breaker);
    if (caller)
        gate_call(caller); /* a paced gate calls one at a time */
    return true;
}

void lines_pump(struct engine *e)
{
    while (!list_empty(&e->ready) && !e->store_failed) {
        struct line *line = container_of(list_pop(&e->ready), struct line, link);
        if (!line_has_work(line)) {
            line_uncall(line);
            continue;
        }
        if (!line_take_permits(line, engine_now(e)))
            continue;
        live_start(line);
        if (line_has_work(line))
            line_wake(line); /* at the end: the lines take turns */
    }
}
