/* The ports of the engine under search: a recorder that commits when it likes, and a transport that loses and answers
 * what it likes. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "search.h"
#include "sim/results.h"

/* ---- recorder ---- */

static void begin_commit(struct search *s)
{
    s->commit_due_us = virtual_now_us(s->world) + (draw(s, 10) ? s->commit_us : s->slow_commit_us);
    s->committing = s->queue_count;
}

static uint64_t keep(struct search *s, const struct record *r)
{
    PROMISE(s, !s->store_failed, "something is recorded after the store has failed");
    rows_apply(s, s->said, r);
    if (s->queue_count == s->queue_cap) {
        s->queue_cap = s->queue_cap ? 2 * s->queue_cap : 64;
        s->queue = mem_array(s->queue, s->queue_cap, sizeof *s->queue);
    }
    s->queue[s->queue_count++] = *r;
    if (s->commit_due_us == NEVER_US)
        begin_commit(s);
    return ++s->recorded;
}

static uint64_t attempt_began(void *ctx, const struct attempt_began *a)
{
    struct search *s = ctx;
    struct record r = {.kind = RECORD_BEGAN, .row = a->row, .number = a->number};
    trace(s, "row %d began attempt %u", (int)a->row, a->number);
    referee_began(s, &r);
    return keep(s, &r);
}

static uint64_t attempt_hopped(void *ctx, const struct attempt_hopped *h)
{
    struct search *s = ctx;
    struct record r = {.kind = RECORD_HOPPED, .row = h->row, .number = h->number, .hops = h->hops};
    snprintf(r.url, sizeof r.url, "%s", h->result_url);
    trace(s, "row %d has %s", (int)h->row, h->result_url);
    return keep(s, &r);
}

static uint64_t attempt_ended(void *ctx, const struct attempt_ended *a)
{
    struct search *s = ctx;
    struct record r = {.kind = RECORD_ENDED, .row = a->row, .number = a->number, .hops = a->hops,
                       .posts = a->execution.posts, .all_hops = a->execution.hops, .attempt_status = a->status,
                       .status = a->execution.status, .class = a->class};
    trace(s, "row %d ended attempt %u: %s, the execution is %s: %s", (int)a->row, a->number, status_name(a->status),
          status_name(a->execution.status), a->error ? a->error : "");
    referee_ended(s, &r);
    return keep(s, &r);
}

static uint64_t rows_closed(void *ctx, const struct rows_closed *c)
{
    struct search *s = ctx;
    struct record r = {.kind = RECORD_CLOSED, .row = c->first_row, .count = c->count, .endpoint = -1,
                       .waiting_only = c->waiting_only, .status = c->status};
    for (size_t i = 0; c->endpoint && i < s->first_table->endpoint_count; i++)
        if (strcmp(s->table->endpoints[i].id, c->endpoint) == 0)
            r.endpoint = (int)i;
    trace(s, "rows from %d, %d of them, are closed as %s: %s", (int)c->first_row, (int)c->count,
          status_name(c->status), c->error);
    return keep(s, &r);
}

static uint64_t job_changed(void *ctx, const struct job_changed *j)
{
    struct search *s = ctx;
    trace(s, "job %s is %s", j->job_id, job_state_name(j->state));
    return keep(s, &(struct record){.kind = RECORD_JOB});
}

static void commit_if_due(struct search *s)
{
    if (s->commit_due_us > virtual_now_us(s->world))
        return;
    for (size_t i = 0; i < s->committing; i++)
        rows_apply(s, s->disk, &s->queue[i]);
    s->durable += s->committing;
    s->queue_count -= s->committing;
    memmove(s->queue, s->queue + s->committing, s->queue_count * sizeof *s->queue);
    s->commit_due_us = NEVER_US;
    if (s->queue_count)
        begin_commit(s);
    engine_durable(s->engine, s->durable);
}

/* ---- clock and transport ---- */

static int64_t now_us(void *ctx)
{
    return search_now_us(ctx);
}

static void wake_at(void *ctx, int64_t at_us)
{
    struct search *s = ctx;
    s->clock.wake_at(s->clock.ctx, at_us - s->jumped_us);
}

static unsigned row_of(struct search *s, const struct exchange *x, unsigned *attempt)
{
    unsigned job, number;
    int read = sscanf(x->trace_id, "j%u.%u.%u", &job, &number, attempt);
    PROMISE(s, read == 3 && job < s->job_count, "a trace id that is none: %s", x->trace_id);
    return (unsigned)s->jobs[job].first_row + number - 1;
}

/* Nobody knows until the answer says so: a GET that is cut off before is rightly sent again. */
static bool is_forgotten(const struct search *s, const struct exchange *x)
{
    size_t owner;
    const char *id = x->post ? NULL : strrchr(x->url, '=');
    return !x->post &&
           (!id || fleet_result(virtual_fleet(s->world), result_id_read(0, id + 1), &owner) != RESULT_KNOWN);
}

/* What the fleet has forgotten is answered here, too. */
static void maybe_inject(struct search *s, struct open_exchange *o)
{
    if (!chance(s, s->inject_share) && !is_forgotten(s, o->x))
        return;
    o->inject = o->x->post ? INJECT_CONNECT + (int)draw(s, 3) : INJECT_GONE;
    o->due_us = virtual_now_us(s->world) + (int64_t)draw(s, 3) * SECOND_US;
    s->figures->faults++;
}

static void send_exchange(void *ctx, struct exchange *x)
{
    struct search *s = ctx;
    unsigned attempt, row = row_of(s, x, &attempt);
    trace(s, "row %u %s attempt %u %s", row, x->post ? "POST" : "GET", attempt, x->url ? x->url : "");
    referee_sent(s, x, row, attempt);
    PROMISE(s, s->open_count < OPEN_MAX, "too many are open");
    struct open_exchange *o = &s->open[s->open_count++];
    *o = (struct open_exchange){.x = x, .row = row, .sent_us = search_now_us(s), .due_us = NEVER_US};
    s->figures->posts += x->post;
    maybe_inject(s, o);
    if (!o->inject)
        s->transport.send(s->transport.ctx, x);
}

static struct open_exchange take_open(struct search *s, const struct exchange *x)
{
    unsigned i = 0;
    while (i < s->open_count && s->open[i].x != x)
        i++;
    PROMISE(s, i < s->open_count, "an exchange ends that is not in flight");
    struct open_exchange o = s->open[i];
    s->open[i] = s->open[--s->open_count];
    return o;
}

static void cancel_exchange(void *ctx, struct exchange *x)
{
    struct search *s = ctx;
    struct open_exchange o = take_open(s, x);
    trace(s, "row %u is cut off", o.row);
    if (!o.inject)
        s->transport.cancel(s->transport.ctx, x);
}

void ports_fleet_ended(void *ctx, const struct exchange *x, const struct fleet_ended *e)
{
    struct search *s = ctx;
    unsigned attempt, row = row_of(s, x, &attempt);
    take_open(s, x);
    trace(s, "row %u fleet: end %d fault %s", row, (int)e->end, e->fault ? fault_name(e->fault->what) : "none");
    referee_fleet_ended(s, x, row, e);
}

static void answer_injected(struct search *s, struct exchange *x)
{
    static const struct response replies[] = {
        [INJECT_CONNECT] = {.wire = WIRE_CONNECT},
        [INJECT_NOT_SENT] = {.wire = WIRE_NOT_SENT},
        [INJECT_REPOST] = {.wire = WIRE_ANSWERED, .http_status = 307, .location = "https://h/again"},
        [INJECT_GONE] = {.wire = WIRE_ANSWERED, .http_status = 410},
    };
    struct open_exchange o = take_open(s, x);
    trace(s, "row %u gets injected reply %d", o.row, (int)o.inject);
    referee_injected(s, &o);
    engine_exchange_ended(s->engine, x, &replies[o.inject]);
}

/* Each of them may lead to others. */
static void answer_due(struct search *s)
{
    for (unsigned i = 0; i < s->open_count;) {
        if (s->open[i].inject && s->open[i].due_us <= virtual_now_us(s->world)) {
            answer_injected(s, s->open[i].x);
            i = 0;
        } else {
            i++;
        }
    }
}

static bool read_request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    struct search *s = ctx;
    return s->adapter.request(s->adapter.ctx, ask, body, err);
}

static void read_reply(void *ctx, const struct ask *ask, const struct response *r, struct answer *out)
{
    struct search *s = ctx;
    s->adapter.read(s->adapter.ctx, ask, r, out);
}

static void observe(void *ctx, const struct event *e)
{
    struct search *s = ctx;
    s->figures->events++;
    trace(s, "event %d %s", (int)e->kind, e->endpoint ? e->endpoint->id : "");
    referee_event(s, e);
}

/* ---- for the lives ---- */

void ports_begin(struct search *s, struct engine_ports *out)
{
    *out = (struct engine_ports){.observer = {s, observe}, .seed = s->seed};
    virtual_ports(s->world, out);
    s->clock = out->clock;
    s->transport = out->transport;
    plain_adapter_port(&s->plain, &s->adapter);
    out->clock = (struct clock_port){s, out->clock.unix_zero_s, now_us, wake_at};
    out->transport = (struct transport_port){s, send_exchange, cancel_exchange};
    out->recorder = (struct recorder_port){s, attempt_began, attempt_hopped, attempt_ended, rows_closed, job_changed};
    out->adapter = (struct adapter_port){s, read_request, read_reply};
    s->store_failed = false;
    s->commit_due_us = NEVER_US;
    s->durable = s->recorded;
    s->queue_count = s->committing = 0;
}

int64_t ports_next_us(const struct search *s)
{
    int64_t next = virtual_next_us(s->world);
    if (s->commit_due_us < next)
        next = s->commit_due_us;
    for (unsigned i = 0; i < s->open_count; i++)
        if (s->open[i].due_us < next)
            next = s->open[i].due_us;
    return next;
}

void ports_run_due(struct search *s)
{
    answer_due(s);
    commit_if_due(s);
}
