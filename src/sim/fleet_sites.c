#include "sim/fleet_state.h"

#include <assert.h>
#include <stdlib.h>

#include "base/defs.h"
#include "base/mem.h"

/* ---- calls ---- */

static void call_drop(struct call *call)
{
    if (!call->done || call->refs || !list_empty(&call->kept))
        return;
    results_release(&call->site->fleet->results, call->result);
    timer_off(&call->site->fleet->timers, &call->expiry);
    list_unlink(&call->link);
    free(call->prompt);
    free(call);
}

void call_unref(struct call *call)
{
    call->refs--;
    call_drop(call);
}

static void call_forget(struct call *call)
{
    list_unlink(&call->kept);
    call->site->fleet->kept_count--;
    call_drop(call);
}

static void call_expired(struct timer *t)
{
    call_forget(container_of(t, struct call, expiry));
}

/* One number of the endpoint's for each POST, all else of the call from that: the n-th call is
 * the same whatever became of the others. */
struct rng call_draw(struct site *s, int64_t *service_us)
{
    struct rng own;
    rng_seed(&own, rng_next(&s->calls));
    *service_us = dist_draw(&s->spec->service, &own);
    assert(*service_us >= 0);
    return own;
}

struct call *call_new(struct site *s, struct str prompt)
{
    struct call *call = mem_zalloc(sizeof *call);
    call->site = s;
    call->prompt = mem_strndup(prompt.ptr, prompt.len);
    call->prompt_len = prompt.len;
    call->expiry.fire = call_expired;
    list_push(&s->fleet->calls, &call->link);
    list_init(&call->line);
    list_init(&call->kept);
    list_init(&call->exchanges);
    struct rng own = call_draw(s, &call->service_us);
    call->refuses = rng_unit(&own) < s->spec->refusal_share;
    call->seed = rng_next(&own);
    call->asked_us = s->fleet->now_us;
    call->started_us = call->ended_us = NEVER_US;
    return call;
}

void call_refuse(struct call *call)
{
    call->done = true;
    call_drop(call);
}

/* ---- containers ---- */

static void container_serve(struct container *c, struct call *call)
{
    struct fleet *f = c->site->fleet;
    c->state = CONTAINER_BUSY;
    c->call = call;
    call->container = c;
    call->cold = c->fresh;
    call->started_us = f->now_us;
    c->fresh = false;
    timer_set(&f->timers, &c->timer, from_now(f, call->service_us));
}

static void container_ready(struct container *c)
{
    struct site *s = c->site;
    if (list_empty(&s->line)) {
        c->state = CONTAINER_IDLE;
        list_push_front(&s->idle, &c->link);
        timer_set(&s->fleet->timers, &c->timer, from_now(s->fleet, s->spec->scaledown_us));
        return;
    }
    struct call *next = container_of(list_pop(&s->line), struct call, line);
    s->waiting--;
    container_serve(c, next);
}

/* The call leaves its container, done or not; the container takes the next one. */
static void container_release(struct container *c)
{
    struct call *call = c->call;
    timer_off(&c->site->fleet->timers, &c->timer);
    COUNT(c->site, busy_us, c->site->fleet->now_us - call->started_us);
    call->container = NULL;
    c->call = NULL;
    container_ready(c);
}

static void keep_result(struct fleet *f, struct call *call)
{
    timer_set(&f->timers, &call->expiry, f->now_us + FLEET_RESULT_KEPT_US);
    list_push(&f->kept, &call->kept);
    if (++f->kept_count > FLEET_RESULTS_MAX)
        call_forget(container_of(f->kept.next, struct call, kept));
}

static void call_finish(struct call *call)
{
    struct site *s = call->site;
    call->ended_us = s->fleet->now_us;
    call->done = true;
    COUNT(s, calls_done, 1);
    container_release(call->container);
    while (!list_empty(&call->exchanges))
        exchange_end(container_of(call->exchanges.next, struct fleet_exchange, link), FLEET_ANSWERED);
    if (call->result)
        keep_result(s->fleet, call);
    else
        assert(call->refs); /* or somebody should have cancelled it */
}

static void container_fired(struct timer *t)
{
    struct container *c = container_of(t, struct container, timer);
    struct site *s = c->site;
    s->fleet->now_us = t->at_us;
    switch (c->state) {
    case CONTAINER_BUSY:
        call_finish(c->call);
        break;
    case CONTAINER_STARTING:
        s->starting--;
        container_ready(c);
        break;
    case CONTAINER_IDLE:
        list_unlink(&c->link);
        c->state = CONTAINER_NONE;
        s->containers--;
        break;
    case CONTAINER_NONE:
        assert(c->state != CONTAINER_NONE); /* what is not there has no timer */
    }
}

static void container_start(struct site *s)
{
    struct container *c = s->all;
    while (c->state != CONTAINER_NONE)
        c++;
    assert(c < s->all + s->spec->containers);
    c->state = CONTAINER_STARTING;
    c->fresh = true;
    s->containers++;
    s->starting++;
    COUNT(s, cold_starts, 1);
    timer_set(&s->fleet->timers, &c->timer, from_now(s->fleet, dist_draw(&s->spec->cold, &s->colds)));
}

/* Those for whom a container is starting are not in anybody's way. */
static bool line_has_room(const struct site *s)
{
    unsigned room = s->spec->overflow == OVERFLOW_QUEUE ? FLEET_QUEUE_MAX : s->spec->queue;
    return s->waiting < s->starting || s->waiting - s->starting < room;
}

bool site_admit(struct site *s, struct call *call)
{
    if (!list_empty(&s->idle)) {
        struct container *c = container_of(list_pop(&s->idle), struct container, link);
        container_serve(c, call);
        return true;
    }
    if (s->containers < s->spec->containers && s->waiting >= s->starting)
        container_start(s);
    else if (!line_has_room(s))
        return false;
    list_push(&s->line, &call->line);
    s->waiting++;
    return true;
}

bool call_finish_if_due(struct call *call, int64_t at_us)
{
    struct container *c = call->container;
    if (!c || c->timer.at_us != at_us)
        return false;
    call_finish(call);
    return true;
}

void call_cancel(struct call *call)
{
    struct site *s = call->site;
    COUNT(s, calls_cancelled, 1);
    call->done = true;
    if (call->container) {
        container_release(call->container);
    } else {
        list_unlink(&call->line);
        s->waiting--;
    }
}

/* ---- sites ---- */

void site_seed(struct site *s, uint64_t fleet_seed)
{
    uint64_t seed = rng_hash(fleet_seed, s->name);
    rng_seed(&s->calls, rng_hash(seed, "calls"));
    rng_seed(&s->colds, rng_hash(seed, "colds"));
    rng_seed(&s->faults, rng_hash(seed, "faults"));
}

void site_init(struct site *s, struct fleet *f, const struct fleet_endpoint *spec)
{
    assert(spec->containers >= 1);
    s->fleet = f;
    s->spec = spec;
    s->name = mem_printf("%s/%s", spec->region, spec->model);
    site_seed(s, f->spec->seed);
    list_init(&s->line);
    list_init(&s->idle);
    s->all = mem_array(NULL, spec->containers, sizeof *s->all);
    for (unsigned i = 0; i < spec->containers; i++) {
        s->all[i] = (struct container){.site = s, .timer.fire = container_fired};
        list_init(&s->all[i].link);
    }
}

void site_done(struct site *s)
{
    free(s->name);
    free(s->all);
}

/* ---- the least time ---- */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Whether another container makes it faster depends on its cold start: the best of 1, 2, 3, ... of the quickest. */
int64_t fleet_least_us(const struct fleet_spec *spec, uint64_t seed, size_t endpoint, uint64_t calls,
                       unsigned containers)
{
    const struct fleet_endpoint *e = &spec->endpoints[endpoint];
    struct site s = {.spec = e, .name = mem_printf("%s/%s", e->region, e->model)};
    int64_t service_us, work_us = 0, longest_us = 0, least_us = calls ? NEVER_US : 0;
    uint64_t count = containers < e->containers ? containers : e->containers;
    count = calls < count ? calls : count;
    site_seed(&s, seed);
    for (uint64_t i = 0; i < calls; i++) {
        call_draw(&s, &service_us);
        work_us += service_us;
        longest_us = service_us > longest_us ? service_us : longest_us;
    }
    int64_t *colds = mem_array(NULL, count + 1, sizeof *colds);
    for (uint64_t i = 0; i < count; i++)
        colds[i] = dist_draw(&e->cold, &s.colds);
    qsort(colds, count, sizeof *colds, by_time);
    for (uint64_t i = 0; i < count; i++) {
        work_us += colds[i];
        int64_t all_us = work_us / (int64_t)(i + 1);
        least_us = all_us < least_us ? all_us : least_us;
    }
    if (count && least_us < colds[0] + longest_us)
        least_us = colds[0] + longest_us;
    free(colds);
    free(s.name);
    return least_us;
}
