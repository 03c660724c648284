/* How an attempt ends and an execution with it: permits go back, rows are written, and then it is told. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timeutil.h"
#include "core/retry.h"
#include "engine/live.h"

static void end_durable(struct await *a);

void live_tell(const struct live *live, enum event_kind kind, int64_t wait_us)
{
    struct event event = {
        .kind = kind,
        .job = live->line->job,
        .endpoint = live_spec(live),
        .cell = live->cell,
        .warm = live->warm,
        .attempt = live->attempt,
        .hops = live->attempt_hops,
        .status = live->end_status,
        .class = live->class,
        .error = live->error[0] ? live->error : NULL,
        .at_us = engine_now(live_engine(live)),
        .wait_us = wait_us,
        .took_us = live->ended_us && live->started_us ? live->ended_us - live->started_us : 0,
    };
    engine_tell(live_engine(live), &event);
}

void live_wait(struct live *live, enum phase phase, void (*durable)(struct await *), uint64_t number)
{
    live->phase = phase;
    list_unlink(&live->await.link);
    live->await.durable = durable;
    engine_await(live_engine(live), &live->await, number);
}

void live_set_error(struct live *live, enum failure_class class, const char *error)
{
    live->class = class;
    if (snprintf(live->error, sizeof live->error, "%s", error) >= (int)sizeof live->error)
        memcpy(live->error + sizeof live->error - 4, "...", 4);
}

static void give_back_permits(struct live *live)
{
    struct endpoint *ep = live->line->endpoint;
    list_unlink(&live->link);
    ep->last_used_us = engine_now(live_engine(live));
    live->line->job->in_flight--;
    permits_release(live);
}

static void add_cost(struct live *live, const struct answer *a)
{
    const struct endpoint_spec *spec = live_spec(live);
    double cost = 0;
    if (live->warm == WARM_HEALTH)
        return;
    int64_t from_us = live->charged_from_us ? live->charged_from_us : live->dispatched_us;
    if (from_us && !live->unsent)
        cost += spec->price_per_second * (double)(live->ended_us - from_us) / (double)SECOND_US;
    if (a && a->prompt_tokens > 0)
        cost += spec->price_per_token * (double)a->prompt_tokens;
    if (a && a->completion_tokens > 0)
        cost += spec->price_per_token * (double)a->completion_tokens;
    if (spec->price_per_second > 0 || spec->price_per_token > 0)
        live->cost = isnan(live->cost) ? cost : live->cost + cost;
}

/* Records that the attempt is over and what the execution is now. r and a may be NULL. Returns the record's number. */
static uint64_t record_end(struct live *live, enum status attempt, enum status execution, const struct response *r,
                           const struct answer *a)
{
    struct engine_job *job = live->line->job;
    struct engine *e = job->engine;
    bool failed = attempt != STATUS_SUCCEEDED;
    const char *error = failed && live->error[0] ? live->error : NULL;
    live->ended_us = engine_now(e);
    live->end_status = execution;
    add_cost(live, a);
    struct attempt_ended row = {
        .row = job->first_row + (int64_t)live->n,
        .number = live->attempt,
        .status = attempt,
        .class = failed ? live->class : CLASS_NONE,
        .error = error,
        .http_status = r ? r->http_status : 0,
        .hops = live->attempt_hops,
        .response = r && r->http_status ? r->body : (struct str){0},
        .served_model = a ? a->served_model : NULL,
        .served_region = a ? a->served_region : NULL,
        .dispatched_at = engine_unix_s(e, live->dispatched_us),
        .first_byte_at = engine_unix_s(e, live->first_byte_us),
        .ended_at = engine_unix_s(e, live->ended_us),
        .bytes_in = live->bytes_in,
        .bytes_out = live->bytes_out,
        .execution = {
            .status = execution,
            .class = failed ? live->class : CLASS_NONE,
            .error = error,
            .answer = failed || !a ? (struct str){0} : (struct str){a->text.ptr ? a->text.ptr : "", a->text.len},
            .attempts = live->attempt,
            .posts = live->posts,
            .hops = live->hops,
            .cold = live->cold,
            .revision = live->table->revision,
            .ended_at = status_is_final(execution) ? engine_unix_s(e, live->ended_us) : NAN,
            .prompt_tokens = a ? a->prompt_tokens : -1,
            .completion_tokens = a ? a->completion_tokens : -1,
            .cost = live->cost,
        },
    };
    return e->ports.recorder.attempt_ended(e->ports.recorder.ctx, &row);
}

void live_end_attempt(struct live *live, enum status status, const struct response *r, const struct answer *a)
{
    uint64_t number = record_end(live, status, status, r, a);
    timer_off(&live_engine(live)->timers, &live->timer);
    buf_done(&live->body);
    give_back_permits(live);
    live_wait(live, PHASE_ENDING, end_durable, number);
}

static void back_off(struct live *live, int64_t wait_us, const struct response *r)
{
    struct line *line = live->line;
    struct engine *e = live_engine(live);
    record_end(live, STATUS_FAILED, STATUS_BACKING_OFF, r, NULL);
    give_back_permits(live);
    if (live->charged_from_us)
        live->started_us = 0; /* collected so far: the deadline runs anew from the POST that the policy asks for */
    live->phase = PHASE_BACKING_OFF;
    line->backing_off++;
    line->endpoint->backing_off++;
    live_move(live, STATUS_BACKING_OFF);
    live->queued_us = live->ended_us + wait_us;
    timer_set(&e->timers, &live->timer, live->queued_us);
    live_tell(live, EVENT_ATTEMPT_FAILED, wait_us);
    live_pin(live);
}

static bool may_try_again(const struct live *live)
{
    return live->attempt - live->forgiven < live_spec(live)->retry.attempts && live->attempt < ATTEMPTS_MAX;
}

void live_fail_or_retry(struct live *live, bool retry, int64_t asked_wait_us, const struct response *r,
                        const struct answer *a)
{
    struct engine *e = live_engine(live);
    unsigned counted = live->attempt - live->forgiven;
    int64_t wait_us = retry_delay_us(&live_spec(live)->retry, counted ? counted : 1, &e->rng);
    if (asked_wait_us > wait_us)
        wait_us = asked_wait_us;
    bool in_time = live->started_us == 0 || engine_now(e) + wait_us < live_deadline_us(live);
    if (retry && may_try_again(live) && in_time && live->line->job->stopping == JOB_GOES_ON)
        back_off(live, wait_us, r);
    else
        live_end_attempt(live, STATUS_FAILED, r, a);
}

/* Ends an execution that has no attempt under way. */
static void end_between_attempts(struct live *live, enum status status)
{
    struct engine *e = live_engine(live);
    struct line *line = live->line;
    if (live->phase == PHASE_BACKING_OFF) {
        line->backing_off--;
        line->endpoint->backing_off--;
    }
    live->ended_us = engine_now(e);
    live->end_status = status;
    list_unlink(&live->link);
    timer_off(&e->timers, &live->timer);
    buf_done(&live->body);
    if (live->warm) { /* its attempts' rows say it all */
        live_wait(live, PHASE_ENDING, end_durable, e->durable);
        return;
    }
    struct rows_closed row = {
        .first_row = line->job->first_row + (int64_t)live->n,
        .count = 1,
        .status = status,
        .class = live->class,
        .error = live->error,
        .ended_at = engine_unix_s(e, live->ended_us),
    };
    live_wait(live, PHASE_ENDING, end_durable, e->ports.recorder.rows_closed(e->ports.recorder.ctx, &row));
}

void live_give_up(struct live *live, enum failure_class class, const char *reason)
{
    if (live->collecting)
        live_set_error(live, class, reason);
    end_between_attempts(live, live->collecting ? STATUS_SKIPPED : STATUS_FAILED);
}

static void end_durable(struct await *a)
{
    struct live *live = container_of(a, struct live, await);
    live_tell(live, EVENT_EXECUTION_ENDED, 0);
    if (live->warm)
        warm_ended(live);
    else
        job_execution_ended(live);
}

void live_stop(struct live *live, enum failure_class class, const char *reason)
{
    struct engine *e = live_engine(live);
    if (live->phase == PHASE_ENDING)
        return;
    live_set_error(live, class, reason);
    if (live->phase > PHASE_POLL_WAIT) {
        end_between_attempts(live, STATUS_CANCELLED);
        return;
    }
    if (live->phase == PHASE_ASKING)
        e->ports.transport.cancel(e->ports.transport.ctx, &live->x);
    breaker_withdrawn(&live->line->endpoint->breaker);
    live_end_attempt(live, STATUS_CANCELLED, NULL, NULL);
}

/* Its POST was as good as sent, and nobody is left who could hear the answer. */
void live_end_lost(struct live *live)
{
    bool again = live_spec(live)->retry.unknown && may_try_again(live);
    live_set_error(live, CLASS_UNKNOWN_OUTCOME, "the process that sent the request is gone: it may have run");
    uint64_t number = record_end(live, STATUS_FAILED, again ? STATUS_BACKING_OFF : STATUS_FAILED, NULL, NULL);
    if (again) {
        job_move(live->line->job, live->cell, STATUS_PENDING);
        live_free(live);
    } else {
        live_wait(live, PHASE_ENDING, end_durable, number);
    }
}
