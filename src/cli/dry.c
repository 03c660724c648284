#include "cli/dry.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/timers.h"

/* Instant 0 means "not yet" to the engine. */
#define START_US SECOND_US
/* A policy that sleeps for ever would never end, nor soon if it sleeps a second at a time. */
#define HORIZON_US (365 * 24 * HOUR_US)
enum { IDLE_TURNS_MAX = 100000 };

struct dry {
    const struct dry_options *options;
    struct engine *engine;
    int64_t now_us, wake_us, first_us;
    struct timers answers;
    bool *answered;            /* by endpoint index */
    uint64_t recorded, durable;
    unsigned batches, idle_turns; /* since the last execution was asked */
    struct dry_result *result;
    bool ended;
};

struct dry_answer {
    struct timer timer;
    struct dry *dry;
    struct exchange *exchange;
};

/* ---- clock ---- */

static int64_t now(void *ctx)
{
    struct dry *d = ctx;
    return d->now_us;
}

static void wake_at(void *ctx, int64_t at_us)
{
    struct dry *d = ctx;
    if (at_us < d->wake_us)
        d->wake_us = at_us;
}

/* ---- transport ---- */

static void answer(struct timer *t)
{
    struct dry_answer *a = container_of(t, struct dry_answer, timer);
    struct dry *d = a->dry;
    struct exchange *x = a->exchange;
    struct response response = {
        .wire = WIRE_ANSWERED, .http_status = 200, .body = STR("{}"), .first_byte_us = d->now_us};
    d->answered[x->endpoint->index] = true;
    x->wire = NULL;
    free(a);
    engine_exchange_ended(d->engine, x, &response);
}

static void send_exchange(void *ctx, struct exchange *x)
{
    struct dry *d = ctx;
    unsigned endpoint = x->endpoint->index;
    struct dry_answer *a = mem_zalloc(sizeof *a);
    a->timer.fire = answer;
    a->dry = d;
    a->exchange = x;
    x->wire = a;
    const int64_t *takes_us = d->answered[endpoint] ? d->options->answer_us : d->options->first_us;
    timer_set(&d->answers, &a->timer, d->now_us + takes_us[endpoint]);
}

static void cancel_exchange(void *ctx, struct exchange *x)
{
    struct dry *d = ctx;
    struct dry_answer *a = x->wire;
    timer_off(&d->answers, &a->timer);
    x->wire = NULL;
    free(a);
}

/* ---- adapter: nothing to write, nothing to read ---- */

static bool make_request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    (void)ctx;
    (void)ask;
    (void)body;
    (void)err;
    return true;
}

static void read_answer(void *ctx, const struct ask *ask, const struct response *response, struct answer *out)
{
    (void)ctx;
    (void)ask;
    (void)response;
    *out = (struct answer){.kind = ANSWER_TEXT, .text = STR(""), .prompt_tokens = -1, .completion_tokens = -1,
                           .wait_us = -1};
}

/* ---- recorder: keeps nothing, but is asked to be durable like the real one ---- */

#define RECORDER(name)                                          \
    static uint64_t name(void *ctx, const struct name *record)  \
    {                                                           \
        struct dry *d = ctx;                                    \
        (void)record;                                           \
        return ++d->recorded;                                   \
    }

RECORDER(attempt_began)
RECORDER(attempt_hopped)
RECORDER(attempt_ended)
RECORDER(rows_closed)
RECORDER(job_changed)

/* ---- observer ---- */

static void observe(void *ctx, const struct event *event)
{
    struct dry *d = ctx;
    if (event->kind == EVENT_BATCH_STARTED && ++d->batches > d->result->max_batches)
        d->result->max_batches = d->batches;
    if (event->kind == EVENT_BATCH_COMPLETED)
        d->batches--;
    if (event->kind != EVENT_ATTEMPT_STARTED)
        return;
    d->idle_turns = 0;
    if (!d->first_us)
        d->first_us = event->at_us;
    if (d->options->asked)
        d->options->asked(d->options->ctx, event->cell, event->at_us - d->first_us);
}

/* ---- running ---- */

static void ended(void *ctx, struct engine_job *job)
{
    struct dry *d = ctx;
    (void)job;
    d->ended = true;
}

static void take_turns(struct dry *d)
{
    while (!d->ended) {
        d->wake_us = NEVER_US;
        engine_turn(d->engine);
        if (d->ended)
            return;
        if (d->recorded > d->durable) {
            d->durable = d->recorded;
            engine_durable(d->engine, d->durable);
            continue;
        }
        int64_t next_us = timers_next_us(&d->answers);
        next_us = d->wake_us < next_us ? d->wake_us : next_us;
        if (next_us == NEVER_US || next_us > START_US + HORIZON_US || ++d->idle_turns > IDLE_TURNS_MAX) {
            d->result->stuck = true;
            return;
        }
        d->now_us = next_us > d->now_us ? next_us : d->now_us;
        timers_fire(&d->answers, d->now_us);
    }
}

static void start(struct dry *d)
{
    struct engine_ports ports = {
        .clock = {.ctx = d, .unix_zero_s = unix_now_s() - (double)START_US / SECOND_US, .now_us = now, .wake_at = wake_at},
        .transport = {.ctx = d, .send = send_exchange, .cancel = cancel_exchange},
        .adapter = {.ctx = d, .request = make_request, .read = read_answer},
        .recorder = {d, attempt_began, attempt_hopped, attempt_ended, rows_closed, job_changed},
        .observer = {.ctx = d, .event = observe},
        .seed = 1,
    };
    d->engine = engine_new(&ports, d->options->plan->table);
}

static void take_result(struct dry *d, const struct engine_job *job)
{
    struct job_view view;
    engine_job_view(job, &view);
    d->result->state = view.state;
    d->result->tally = view.tally;
    d->result->posts = view.posts;
    d->result->max_in_flight = view.max_in_flight;
    d->result->makespan_us = d->first_us ? (view.ended_us ? view.ended_us : d->now_us) - d->first_us : 0;
    if (view.policy_failed)
        snprintf(d->result->reason, sizeof d->result->reason, "%s", view.reason);
}

void dry_run(const struct dry_options *o, struct dry_result *out)
{
    *out = (struct dry_result){0};
    struct region_table *table = region_table_ref(o->plan->table);
    struct dry d = {.options = o, .now_us = START_US, .wake_us = NEVER_US, .result = out};
    d.answered = mem_zalloc(table->endpoint_count * sizeof *d.answered);
    start(&d);
    struct job_start job_start = {.id = "plan", .first_row = 1, .spec = o->spec, .plan = o->plan, .ended = ended,
                                  .ctx = &d};
    job_file_policy(o->file, o->plan, &job_start.policy);
    struct engine_job *job = engine_submit(d.engine, &job_start);
    take_turns(&d);
    take_result(&d, job);
    engine_free(d.engine);
    timers_done(&d.answers);
    free(d.answered);
    region_table_unref(table);
}
