#include "sim/fleet.h"

#include <assert.h>
#include <stdlib.h>

#include "base/defs.h"
#include "base/mem.h"
#include "sim/fleet_state.h"

/* ---- exchanges ---- */

void exchange_end(struct fleet_exchange *x, enum fleet_end end)
{
    struct fleet *f = x->site->fleet;
    timer_off(&f->timers, &x->hold);
    list_unlink(&x->link);
    list_push(&f->ended, &x->link);
    x->ended_us = f->now_us;
    x->end = end;
}

static void exchange_come_back(struct fleet_exchange *x)
{
    struct call *call = x->call;
    if (!call->result)
        call->result = results_issue(&call->site->fleet->results, call);
    exchange_end(x, FLEET_COME_BACK);
}

static void exchange_held(struct timer *t)
{
    struct fleet_exchange *x = container_of(t, struct fleet_exchange, hold);
    x->site->fleet->now_us = t->at_us;
    /* An answer that is ready in the same instant wins, however the two timers were ordered. */
    if (!call_finish_if_due(x->call, t->at_us))
        exchange_come_back(x);
}

static void count_open(struct fleet_counts *c)
{
    if (++c->open > c->max_open)
        c->max_open = c->open;
}

static struct fleet_exchange *exchange_new(struct site *s, bool get, void *user)
{
    struct fleet_exchange *x = mem_zalloc(sizeof *x);
    x->site = s;
    x->get = get;
    x->user = user;
    x->hold.fire = exchange_held;
    list_init(&x->link);
    list_push(&s->fleet->exchanges, &x->all);
    count_open(&s->counts);
    count_open(&s->fleet->totals);
    return x;
}

static void exchange_free(struct fleet_exchange *x)
{
    struct site *s = x->site;
    timer_off(&s->fleet->timers, &x->hold);
    list_unlink(&x->link);
    list_unlink(&x->all);
    s->counts.open--;
    s->fleet->totals.open--;
    free(x);
}

/* How long a client is held before it is told to come back; 0: not at all. */
static int64_t hold_us(const struct fleet_endpoint *e, bool get)
{
    if (e->schema == SCHEMA_RUNPOD || (get && e->redirect_status == 202))
        return 0; /* made to be polled */
    return e->redirect_after_us > 0 ? e->redirect_after_us : NEVER_US;
}

static void exchange_wait(struct fleet_exchange *x, struct call *call)
{
    struct fleet *f = x->site->fleet;
    x->call = call;
    call->refs++;
    list_push(&call->exchanges, &x->link);
    int64_t hold = hold_us(x->site->spec, x->get);
    if (call->done)
        exchange_end(x, FLEET_ANSWERED);
    else if (hold == 0)
        exchange_come_back(x);
    else
        timer_set(&f->timers, &x->hold, from_now(f, hold));
}

/* True: the fault is all the client gets. A hanging exchange is in no list until the client closes. */
static bool struck(struct fleet_exchange *x)
{
    if (!x->fault || !fault_at_the_door(x->fault->what))
        return false;
    if (x->fault->what != FAULT_HANG)
        exchange_end(x, FLEET_FAILED);
    return true;
}

struct fleet_exchange *fleet_post(struct fleet *f, size_t endpoint, struct str prompt, void *user)
{
    assert(endpoint < f->spec->endpoint_count);
    struct site *s = &f->sites[endpoint];
    if (f->first_post_us == NEVER_US)
        f->first_post_us = f->now_us;
    COUNT(s, posts, 1);
    struct fleet_exchange *x = exchange_new(s, false, user);
    struct call *call = call_new(s, prompt);
    x->fault = call->fault = fault_draw(s, prompt, false);
    if (x->fault && x->fault->what == FAULT_SLOW)
        call->service_us = (int64_t)((double)call->service_us * x->fault->factor);
    if (struck(x)) {
        call_refuse(call);
    } else if (site_admit(s, call)) {
        exchange_wait(x, call);
    } else {
        exchange_end(x, FLEET_OVERFLOW);
        call_refuse(call);
    }
    return x;
}

struct fleet_exchange *fleet_get(struct fleet *f, uint64_t result, void *user)
{
    struct call *call = results_find(&f->results, result);
    assert(call);
    COUNT(call->site, gets, 1);
    struct fleet_exchange *x = exchange_new(call->site, true, user);
    x->fault = fault_draw(call->site, (struct str){call->prompt, call->prompt_len}, true);
    if (!struck(x))
        exchange_wait(x, call);
    return x;
}

void fleet_close(struct fleet *f, struct fleet_exchange *x)
{
    struct call *call = x->call;
    assert(x->site->fleet == f);
    COUNT(x->site, aborted, 1);
    if (call && !call->done && !call->result)
        call_cancel(call);
    exchange_free(x);
    if (call)
        call_unref(call);
}

enum fleet_result_state fleet_result(const struct fleet *f, uint64_t result, size_t *endpoint)
{
    const struct call *call = results_find(&f->results, result);
    if (!call)
        return results_issued(&f->results, result) ? RESULT_EXPIRED : RESULT_UNKNOWN;
    if (call->done && list_empty(&call->kept))
        return RESULT_EXPIRED;
    *endpoint = (size_t)(call->site - f->sites);
    return RESULT_KNOWN;
}

static void count_end(struct fleet *f, const struct fleet_exchange *x)
{
    switch (x->end) {
    case FLEET_ANSWERED:
        COUNT(x->site, answered, 1);
        f->last_answer_us = x->ended_us;
        break;
    case FLEET_COME_BACK:
        COUNT(x->site, redirects, 1);
        break;
    case FLEET_OVERFLOW:
        COUNT(x->site, overflows, 1);
        break;
    case FLEET_FAILED:
        COUNT(x->site, failed, 1);
        break;
    }
}

/* The exchange's own reference to its call becomes the fleet's: it goes with the next take or advance. */
static void lend(struct fleet *f, struct call *call)
{
    if (f->lent)
        call_unref(f->lent);
    f->lent = call;
}

void fleet_advance(struct fleet *f, int64_t now_us)
{
    assert(now_us >= f->now_us);
    lend(f, NULL);
    timers_fire(&f->timers, now_us);
    f->now_us = now_us;
}

static void describe(const struct fleet *f, const struct fleet_exchange *x, struct fleet_ended *out)
{
    *out = (struct fleet_ended){.user = x->user, .end = x->end, .endpoint = (size_t)(x->site - f->sites),
                                .get = x->get, .fault = x->fault, .at_us = x->ended_us, .prompt = STR(""),
                                .asked_us = x->ended_us, .started_us = NEVER_US, .ended_us = NEVER_US};
    const struct call *call = x->call;
    if (!call)
        return;
    out->result = call->result;
    out->fault = call->fault;
    out->prompt = (struct str){call->prompt, call->prompt_len};
    out->seed = call->seed;
    out->refuses = call->refuses;
    out->cold = call->cold;
    out->asked_us = call->asked_us;
    out->started_us = call->started_us;
    out->ended_us = call->ended_us;
}

bool fleet_take(struct fleet *f, struct fleet_ended *out)
{
    lend(f, NULL);
    if (list_empty(&f->ended))
        return false;
    struct fleet_exchange *x = container_of(f->ended.next, struct fleet_exchange, link);
    count_end(f, x);
    describe(f, x, out);
    lend(f, x->call);
    exchange_free(x);
    return true;
}

/* ---- the fleet ---- */

struct fleet *fleet_new(const struct fleet_spec *spec)
{
    struct fleet *f = mem_zalloc(sizeof *f);
    f->spec = spec;
    f->first_post_us = f->last_answer_us = NEVER_US;
    list_init(&f->exchanges);
    list_init(&f->calls);
    list_init(&f->ended);
    list_init(&f->kept);
    map_init(&f->names);
    f->sites = mem_zalloc((spec->endpoint_count + 1) * sizeof *f->sites);
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        site_init(&f->sites[i], f, &spec->endpoints[i]);
        bool added = map_add(&f->names, str_from(f->sites[i].name), (uint32_t)i);
        assert(added);
        (void)added;
    }
    return f;
}

void fleet_free(struct fleet *f)
{
    if (!f)
        return;
    while (!list_empty(&f->exchanges))
        free(container_of(list_pop(&f->exchanges), struct fleet_exchange, all));
    while (!list_empty(&f->calls)) {
        struct call *call = container_of(list_pop(&f->calls), struct call, link);
        free(call->prompt);
        free(call);
    }
    for (size_t i = 0; i < f->spec->endpoint_count; i++)
        site_done(&f->sites[i]);
    map_done(&f->names);
    results_done(&f->results);
    timers_done(&f->timers);
    free(f->sites);
    free(f);
}

bool fleet_find(const struct fleet *f, struct str name, size_t *endpoint)
{
    uint32_t index;
    if (!map_get(&f->names, name, &index))
        return false;
    *endpoint = index;
    return true;
}

int64_t fleet_now_us(const struct fleet *f)
{
    return f->now_us;
}

int64_t fleet_next_us(const struct fleet *f)
{
    return list_empty(&f->ended) ? timers_next_us(&f->timers) : f->now_us;
}

const struct fleet_counts *fleet_counts(const struct fleet *f, size_t endpoint)
{
    assert(endpoint < f->spec->endpoint_count);
    return &f->sites[endpoint].counts;
}

const struct fleet_counts *fleet_totals(const struct fleet *f)
{
    return &f->totals;
}

struct fleet_load fleet_load_of(const struct fleet *f, size_t endpoint)
{
    assert(endpoint < f->spec->endpoint_count);
    const struct site *s = &f->sites[endpoint];
    struct fleet_load load = {.containers = s->containers, .starting = s->starting, .waiting = s->waiting};
    for (unsigned i = 0; i < s->spec->containers; i++)
        load.busy += s->all[i].state == CONTAINER_BUSY;
    return load;
}

int64_t fleet_first_post_us(const struct fleet *f)
{
    return f->first_post_us;
}

int64_t fleet_last_answer_us(const struct fleet *f)
{
    return f->last_answer_us;
}
