/* What is known of an endpoint: whether it is warm, broken or on hold, and how much of it may be asked at once. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/state.h"

struct endpoint *endpoint_new(struct engine *e)
{
    struct endpoint *ep = mem_zalloc(sizeof *ep);
    ep->engine = e;
    gate_init(&ep->gate, e, "", 1, 0);
    ep->gate.endpoint = ep;
    list_init(&ep->in_flight);
    return ep;
}

void endpoint_free(struct endpoint *ep)
{
    gate_done(&ep->gate);
    region_table_unref(ep->table);
    free(ep);
}

const char *endpoint_away(const struct endpoint *ep)
{
    return ep->absent ? "it is not in the region table" : ep->spec->paused;
}

/* Of another URL nothing is known yet. */
static void forget(struct endpoint *ep, const struct endpoint_spec *spec)
{
    ep->warm = false;
    ep->gate.held = false;
    ep->gate.ramp = 0;
    ep->gate.sema.closed_until_us = 0;
    breaker_init(&ep->breaker, &spec->breaker);
    adaptive_init(&ep->adaptive, &spec->adaptive, spec->slots);
}

void endpoint_follow(struct endpoint *ep, struct region_table *table, const struct endpoint_spec *spec)
{
    bool was_away = ep->spec && endpoint_away(ep);
    ep->absent = !spec;
    if (ep->absent)
        return;
    if (!ep->spec || strcmp(ep->spec->url, spec->url) != 0) {
        forget(ep, spec);
    } else if (was_away && !spec->paused && ep->breaker.state == BREAKER_DEAD) {
        breaker_init(&ep->breaker, &spec->breaker); /* who gives it back says that it is well */
    } else {
        breaker_change(&ep->breaker, &spec->breaker);
        adaptive_change(&ep->adaptive, &spec->adaptive, spec->slots);
    }
    region_table_ref(table);
    region_table_unref(ep->table);
    ep->table = table;
    ep->spec = spec;
    ep->gate.sema.name = spec->id;
    ep->gate.sema.limit = endpoint_limit(ep);
    rate_set(&ep->gate.sema.rate, spec->rate_per_minute);
}

unsigned endpoint_limit(const struct endpoint *ep)
{
    return ep->warm ? adaptive_limit(&ep->adaptive) : 1;
}

static void endpoint_update(struct endpoint *ep)
{
    ep->gate.sema.limit = endpoint_limit(ep);
    gate_call(&ep->gate);
}

void endpoint_touch(struct endpoint *ep, int64_t now_us)
{
    if (ep->warm && list_empty(&ep->in_flight) && now_us - ep->last_used_us > ep->spec->scaledown_us) {
        ep->warm = false;
        ep->gate.sema.limit = endpoint_limit(ep);
    }
}

/* ---- judging ---- */

static void tell_endpoint(struct endpoint *ep, enum event_kind kind, const char *error, int64_t wait_us)
{
    struct event event = {.kind = kind, .endpoint = ep->spec, .error = error, .wait_us = wait_us,
                          .at_us = engine_now(ep->engine)};
    engine_tell(ep->engine, &event);
}

static void kill_breaker(struct endpoint *ep, const char *error)
{
    if (ep->breaker.state != BREAKER_DEAD) {
        breaker_kill(&ep->breaker);
        tell_endpoint(ep, EVENT_BREAKER_OPENED, error, NEVER_US);
        endpoint_update(ep);
    }
}

bool endpoint_judge(struct endpoint *ep, const struct outcome *o, int64_t sent_us)
{
    struct engine *e = ep->engine;
    int64_t now_us = engine_now(e);
    enum breaker_state before = ep->breaker.state;
    if (o->action == ACTION_FOLLOW || o->action == ACTION_REPOST)
        return false; /* not over yet */
    if (o->action == ACTION_SUCCEED) {
        adaptive_clean(&ep->adaptive, ep->gate.sema.used >= endpoint_limit(ep));
        ep->warm = true;
        breaker_succeeded(&ep->breaker);
        if (before != BREAKER_CLOSED && ep->breaker.state == BREAKER_CLOSED)
            gate_ramp(&ep->gate);
        else
            gate_answered(&ep->gate);
        if (ep->group)
            gate_answered(ep->group);
    } else if (o->counts_as_failure) {
        breaker_failed(&ep->breaker, now_us);
    } else {
        breaker_withdrawn(&ep->breaker);
    }
    bool too_much = o->refused && adaptive_refused(&ep->adaptive, ep->gate.sema.used, sent_us, now_us);
    if (ep->breaker.state == BREAKER_CLOSED && before != BREAKER_CLOSED)
        tell_endpoint(ep, EVENT_BREAKER_CLOSED, NULL, 0);
    if (ep->breaker.state != before && ep->breaker.state == BREAKER_OPEN)
        tell_endpoint(ep, EVENT_BREAKER_OPENED, o->error, ep->breaker.open_until_us - now_us);
    if (ep->breaker.state == BREAKER_DEAD && before != BREAKER_DEAD)
        tell_endpoint(ep, EVENT_BREAKER_OPENED, o->error, NEVER_US);
    if (o->quota && ep->group) {
        for (size_t i = 0; i < e->table->endpoint_count; i++)
            if (e->endpoints[i]->group == ep->group)
                kill_breaker(e->endpoints[i], o->error);
    } else if (o->quota) {
        kill_breaker(ep, o->error);
    }
    if (o->hold_endpoint) {
        tell_endpoint(ep, EVENT_ENDPOINT_HELD, o->error, o->wait_us);
        gate_hold(&ep->gate, now_us + o->wait_us);
        if (ep->group)
            gate_hold(ep->group, now_us + o->wait_us);
    }
    endpoint_update(ep);
    return too_much;
}

/* ---- for eyes ---- */

static void view_endpoint(const struct engine *e, const struct endpoint *ep, struct endpoint_view *out)
{
    const struct list *oldest = ep->in_flight.next;
    *out = (struct endpoint_view){
        .spec = ep->spec,
        .away = endpoint_away(ep),
        .in_flight = ep->gate.sema.used,
        .limit = gate_limit(&ep->gate),
        .backing_off = ep->backing_off,
        .cold = !ep->warm,
        .held_until_us = ep->gate.sema.closed_until_us > engine_now(e) ? ep->gate.sema.closed_until_us : 0,
        .breaker = (int)ep->breaker.state,
        .breaker_until_us = ep->breaker.open_until_us,
        .oldest_dispatch_us =
            list_empty(&ep->in_flight) ? 0 : container_of(oldest, struct live, link)->dispatched_us,
    };
    LIST_EACH(it, &e->jobs) {
        const struct engine_job *job = container_of(it, struct engine_job, link);
        for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
            if (job->lines[i].endpoint == ep)
                out->waiting += job->endpoints[i].tally.by_status[STATUS_PENDING];
    }
}

void engine_endpoint_view(const struct engine *e, unsigned index, struct endpoint_view *out)
{
    assert(index < e->table->endpoint_count);
    view_endpoint(e, e->endpoints[index], out);
}

void engine_job_endpoint_view(const struct engine_job *job, uint32_t position, struct endpoint_view *out)
{
    assert(position < job->plan->endpoint_count);
    view_endpoint(job->engine, job->lines[position].endpoint, out);
}
