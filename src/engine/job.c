/* Jobs: counting what their executions do, stopping them, and ending them when nothing is left. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/state.h"

static void timeout_fired(struct timer *t);

static void lines_init(struct engine_job *job)
{
    job->lines = mem_zalloc(job->plan->endpoint_count * sizeof *job->lines);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        struct line *line = &job->lines[i];
        line->job = job;
        line->position = i;
        line->endpoint = engine_endpoint(job->engine, job->plan->table, plan_endpoint(job->plan, i));
        line->endpoint->lines++;
        list_init(&line->link);
        list_init(&line->parts);
        list_init(&line->due);
        list_init(&line->lives);
    }
}

static void tallies_init(struct engine_job *job)
{
    const struct plan *p = job->plan;
    job->status = mem_zalloc(p->count);
    job->questions = mem_zalloc(p->question_count * sizeof *job->questions);
    job->endpoints = mem_zalloc(p->endpoint_count * sizeof *job->endpoints);
    for (uint32_t i = 0; i < p->question_count; i++)
        job->questions[i].tally.planned = p->sample_count * p->endpoint_count;
    for (uint32_t i = 0; i < p->endpoint_count; i++)
        job->endpoints[i].tally.planned = p->sample_count * p->question_count;
    for (uint64_t n = 0; n < p->count; n++) {
        struct cell cell = plan_cell(p, n);
        job->status[n] = job->past ? job->past->status[n] : STATUS_PENDING;
        job->questions[cell.question].tally.by_status[job->status[n]]++;
        job->endpoints[cell.endpoint].tally.by_status[job->status[n]]++;
        job->tally.by_status[job->status[n]]++;
    }
    job->tally.planned = (uint32_t)p->count;
}

/* Before the policy starts: what earlier runs have under way goes first. */
static void take_up_past(struct engine_job *job)
{
    const struct job_past *past = job->past;
    if (!past)
        return;
    job->posts = past->posts;
    job->hops = past->hops;
    job->attempts = past->attempts;
    job->cost = past->cost;
    for (size_t i = 0; i < past->begun_count; i++) {
        const struct begun *b = &past->begun[i];
        if (b->status != STATUS_PENDING)
            live_take_up(&job->lines[plan_cell(job->plan, b->n).endpoint], b);
    }
}

static void job_record_state(struct engine_job *job, enum job_state state, int64_t started_us, int64_t ended_us,
                             uint64_t *number)
{
    struct engine *e = job->engine;
    struct job_changed row = {
        .job_id = job->id,
        .state = state,
        .started_at = engine_unix_s(e, started_us),
        .ended_at = engine_unix_s(e, ended_us),
    };
    *number = e->ports.recorder.job_changed(e->ports.recorder.ctx, &row);
}

void line_close_away(struct line *line)
{
    struct engine_job *job = line->job;
    const char *why = endpoint_away(line->endpoint);
    if (!why || job->spec->on_missing != ON_MISSING_SKIP || job->stopping != JOB_GOES_ON || job->closed)
        return;
    char *reason = mem_printf("the endpoint is paused: %s", why);
    job_close_endpoint(job, line->position, CLASS_NONE, reason);
    free(reason);
}

struct engine_job *engine_submit(struct engine *e, const struct job_start *start)
{
    struct engine_job *job = mem_zalloc(sizeof *job);
    job->engine = e;
    job->id = mem_strdup(start->id);
    job->first_row = start->first_row;
    job->spec = start->spec;
    job->plan = start->plan;
    job->policy = start->policy;
    job->past = start->past;
    job->ended = start->ended;
    job->ctx = start->ctx;
    job->state = JOB_RUNNING;
    job->last_batch = job->max_batch_gap_us = -1;
    job->cost = NAN;
    job->timeout.fire = timeout_fired;
    list_init(&job->runs);
    list_init(&job->ended_runs);
    list_init(&job->naps);
    list_init(&job->closing.link);
    gate_init(&job->gate, e, job->id, job->spec->in_flight, 0);
    list_push(&e->jobs, &job->link);
    tallies_init(job);
    lines_init(job);
    take_up_past(job);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
        line_close_away(&job->lines[i]);
    if (job->spec->warm)
        warm_begin(job);
    job_start_policy(job);
    engine_poke(e);
    return job;
}

void *engine_job_ctx(const struct engine_job *job)
{
    return job->ctx;
}

void engine_job_free(struct engine_job *job)
{
    if (!job)
        return;
    assert(job->over);
    runs_free(job);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        line_leave(&job->lines[i]);
        job->lines[i].endpoint->lines--;
    }
    timer_off(&job->engine->timers, &job->timeout);
    list_unlink(&job->closing.link);
    gate_done(&job->gate);
    list_unlink(&job->link);
    plan_free(job->plan);
    free(job->lines);
    free(job->status);
    free(job->questions);
    free(job->endpoints);
    free(job->reason);
    free(job->id);
    free(job);
}

/* ---- counting ---- */

static void tally_move(struct tally *t, enum status from, enum status to)
{
    t->by_status[from]--;
    t->by_status[to]++;
}

static uint32_t tally_ended(const struct tally *t)
{
    return t->by_status[STATUS_SUCCEEDED] + t->by_status[STATUS_FAILED] + t->by_status[STATUS_CANCELLED] +
           t->by_status[STATUS_SKIPPED];
}

static void batch_event(struct engine_job *job, enum event_kind kind, uint32_t question, int64_t took_us)
{
    struct event event = {
        .kind = kind,
        .job = job,
        .cell = {.question = question},
        .at_us = engine_now(job->engine),
        .took_us = took_us,
        .executions = job->questions[question].tally.planned,
    };
    engine_tell(job->engine, &event);
}

static void job_event(struct engine_job *job, enum event_kind kind)
{
    struct event event = {
        .kind = kind,
        .job = job,
        .error = job->reason,
        .at_us = engine_now(job->engine),
        .took_us = job->first_dispatch_us && job->ended_us ? job->ended_us - job->first_dispatch_us : 0,
        .executions = job->plan->count,
    };
    engine_tell(job->engine, &event);
}

void job_move(struct engine_job *job, struct cell cell, enum status to)
{
    uint64_t n = plan_number(job->plan, cell);
    enum status from = job->status[n];
    struct question_tally *question = &job->questions[cell.question];
    if (from == to)
        return;
    assert(!status_is_final(from));
    job->status[n] = (uint8_t)to;
    tally_move(&job->tally, from, to);
    tally_move(&question->tally, from, to);
    tally_move(&job->endpoints[cell.endpoint].tally, from, to);
    if (!status_is_final(to))
        return;
    if (tally_ended(&question->tally) == question->tally.planned) {
        if (!question->last_end_us)
            question->last_end_us = engine_now(job->engine);
        if (question->first_dispatch_us)
            batch_event(job, EVENT_BATCH_COMPLETED, cell.question, question->last_end_us - question->first_dispatch_us);
    }
}

void job_dispatched(struct engine_job *job, const struct live *live, int64_t now_us)
{
    struct question_tally *question = &job->questions[live->cell.question];
    struct endpoint_tally *endpoint = &job->endpoints[live->cell.endpoint];
    int64_t last_used_us = live->line->endpoint->last_used_us;
    const struct list *all = &live->line->endpoint->in_flight;
    bool alone = all->next == &live->link && live->link.next == all;
    if (!job->first_dispatch_us) {
        uint64_t number;
        job->first_dispatch_us = now_us;
        job_record_state(job, job->state, now_us, 0, &number);
        if (job->spec->timeout_us && job->stopping == JOB_GOES_ON)
            timer_set(&job->engine->timers, &job->timeout, now_us + job->spec->timeout_us);
        job_event(job, EVENT_JOB_STARTED);
    }
    if (!endpoint->first_dispatch_us)
        endpoint->first_dispatch_us = now_us;
    else if (alone && last_used_us && now_us - last_used_us > endpoint->longest_idle_us)
        endpoint->longest_idle_us = now_us - last_used_us;
    if (question->first_dispatch_us)
        return;
    question->first_dispatch_us = now_us;
    if (job->last_batch >= 0) {
        const struct question_tally *before = &job->questions[job->last_batch];
        int64_t gap_us = now_us - before->last_end_us;
        if (tally_ended(&before->tally) == before->tally.planned && gap_us > job->max_batch_gap_us)
            job->max_batch_gap_us = gap_us;
    }
    job->last_batch = live->cell.question;
    batch_event(job, EVENT_BATCH_STARTED, live->cell.question, 0);
}

void job_add_cost(struct engine_job *job, double cost)
{
    if (!isnan(cost))
        job->cost = isnan(job->cost) ? cost : job->cost + cost;
}

static void count_ended(const struct live *live)
{
    struct engine_job *job = live->line->job;
    struct question_tally *question = &job->questions[live->cell.question];
    struct endpoint_tally *endpoint = &job->endpoints[live->cell.endpoint];
    if (live->ended_us > question->last_end_us)
        question->last_end_us = live->ended_us;
    job_add_cost(job, live->cost);
    if (live->end_status != STATUS_SUCCEEDED)
        return;
    int64_t took_us = live->ended_us - live->dispatched_us;
    if (live->cold) {
        endpoint->cold_count++;
        endpoint->cold_us += took_us;
    } else {
        endpoint->warm_count++;
        endpoint->warm_us += took_us;
    }
}

void job_execution_ended(struct live *live)
{
    struct engine_job *job = live->line->job;
    count_ended(live);
    job_move(job, live->cell, live->end_status);
    if (live->run)
        run_count_down(live->run);
    LIST_EACH(it, &live->watchers)
        run_count_down(container_of(it, struct watcher, link)->run);
    live_free(live);
}

/* ---- closing what will not be asked ---- */

static void close_pending(struct engine_job *job, uint32_t position, enum status status)
{
    for (uint32_t q = 0; q < job->plan->question_count; q++)
        for (uint32_t s = 0; s < job->plan->sample_count; s++) {
            struct cell cell = {.question = q, .sample = s, .endpoint = position};
            if (job->status[plan_number(job->plan, cell)] == STATUS_PENDING)
                job_move(job, cell, status);
        }
}

static uint64_t record_closed(struct engine_job *job, const char *endpoint, enum status status,
                              enum failure_class class,
                              const char *reason)
{
    struct engine *e = job->engine;
    struct rows_closed row = {
        .first_row = job->first_row,
        .count = job->plan->count,
        .endpoint = endpoint,
        .waiting_only = true,
        .status = status,
        .class = class,
        .error = reason,
        .ended_at = engine_unix_s(e, engine_now(e)),
    };
    return e->ports.recorder.rows_closed(e->ports.recorder.ctx, &row);
}

void job_close_endpoint(struct engine_job *job, uint32_t position, enum failure_class class, const char *reason)
{
    struct line *line = &job->lines[position];
    for (struct list *it = line->lives.next, *next; it != &line->lives; it = next) {
        struct live *live = container_of(it, struct live, in_line);
        next = it->next;
        if (live->phase == PHASE_BACKING_OFF || live->phase == PHASE_DUE)
            live_give_up(live, class, reason);
    }
    if (!line->closed) {
        line->closed = true;
        record_closed(job, line->endpoint->spec->id, STATUS_SKIPPED, class, reason);
        close_pending(job, position, STATUS_SKIPPED);
    }
}

/* ---- stopping and ending ---- */

static void stop_policy(struct engine_job *job)
{
    if (!job->policy_ended) {
        job->policy_ended = true;
        if (job->policy_started)
            job->policy.stop(job->policy.ctx);
    }
    runs_free(job);
}

static void stop_lives(struct engine_job *job, enum stop_how how, enum failure_class class)
{
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        struct line *line = &job->lines[i];
        for (struct list *it = line->lives.next, *next; it != &line->lives; it = next) {
            struct live *live = container_of(it, struct live, in_line);
            next = it->next;
            bool idle = live->phase == PHASE_BACKING_OFF || live->phase == PHASE_DUE;
            if (how == STOP_ABORT || idle || live->warm) /* nobody needs a warm endpoint any more */
                live_stop(live, class, job->reason);
        }
        line_leave(line);
    }
}

void engine_stop(struct engine_job *job, enum stop_how how, enum job_state state, const char *reason)
{
    bool more = how == STOP_ABORT ? job->stopping != JOB_STOPPED : job->stopping == JOB_GOES_ON;
    if (job->closed || !more)
        return;
    if (job->stopping == JOB_GOES_ON) {
        job->stop_state = state;
        free(job->reason);
        job->reason = mem_strdup(reason);
    }
    job->stopping = how == STOP_ABORT ? JOB_STOPPED : JOB_DRAINS;
    timer_off(&job->engine->timers, &job->timeout);
    stop_lives(job, how, state == JOB_TIMED_OUT ? CLASS_TIMEOUT : CLASS_NONE);
    stop_policy(job);
    engine_poke(job->engine);
}

/* Runs from the start, and anew from the first request on. Before that one only a job that waits for others, or for
 * its first row to reach the disk, is given more. */
static void timeout_fired(struct timer *t)
{
    struct engine_job *job = container_of(t, struct engine_job, timeout);
    char text[DURATION_TEXT], reason[120];
    if (!job->first_dispatch_us && job->engine->global.sema.used) {
        timer_set(&job->engine->timers, t, engine_now(job->engine) + job->spec->timeout_us);
        return;
    }
    snprintf(reason, sizeof reason, "job timeout of %s ran out%s", duration_format(job->spec->timeout_us, text),
             job->first_dispatch_us ? "" : " before anything was asked");
    engine_stop(job, STOP_ABORT, JOB_TIMED_OUT, reason);
}

void engine_policy_ended(struct engine_job *job, const char *error)
{
    if (job->policy_ended)
        return;
    job->policy_ended = true;
    if (error) {
        job->policy_failed = true;
        engine_stop(job, STOP_ABORT, JOB_FAILED, error);
    }
    engine_poke(job->engine);
}

bool engine_pause(struct engine_job *job, const char *reason)
{
    uint64_t number;
    if (job->closed || job->stopping != JOB_GOES_ON || job->state == JOB_PAUSED)
        return false;
    job->state = JOB_PAUSED;
    free(job->reason);
    job->reason = mem_strdup(reason);
    job_record_state(job, job->state, 0, 0, &number);
    return true;
}

bool engine_unpause(struct engine_job *job)
{
    uint64_t number;
    if (job->closed || job->stopping != JOB_GOES_ON || job->state != JOB_PAUSED)
        return false;
    job->state = JOB_RUNNING;
    free(job->reason);
    job->reason = NULL;
    job_record_state(job, job->state, 0, 0, &number);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
        line_wake(&job->lines[i]);
    return true;
}

static enum job_state final_state(const struct engine_job *job)
{
    if (job->stopping != JOB_GOES_ON)
        return job->stop_state;
    if (job->tally.by_status[STATUS_SUCCEEDED] == job->tally.planned)
        return JOB_SUCCEEDED;
    return job->tally.by_status[STATUS_SUCCEEDED] ? JOB_PARTIAL : JOB_FAILED;
}

static void job_over(struct await *a)
{
    struct engine_job *job = container_of(a, struct engine_job, closing);
    job->over = true;
    job_event(job, EVENT_JOB_ENDED);
    job->ended(job->ctx, job);
}

/* The policy has ended, and never came to them. */
static void give_up_unwanted(struct engine_job *job)
{
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
        for (struct list *it = job->lines[i].lives.next, *next; it != &job->lines[i].lives; it = next) {
            struct live *live = container_of(it, struct live, in_line);
            next = it->next;
            if (live->phase == PHASE_DUE && !live_is_wanted(live) && !live->collecting)
                live_give_up(live, CLASS_NONE, "");
        }
}

void job_settle(struct engine_job *job)
{
    struct engine *e = job->engine;
    if (e->store_failed && !job->over)
        job_over(&job->closing);
    if (!job->closed && job->policy_ended && list_empty(&job->runs))
        give_up_unwanted(job);
    if (job->closed || !job->policy_ended || job->live_count || !list_empty(&job->runs))
        return;
    bool stopped = job->stopping != JOB_GOES_ON;
    if (job->tally.by_status[STATUS_PENDING]) {
        enum status status = stopped && !job->policy_failed ? STATUS_CANCELLED : STATUS_SKIPPED;
        record_closed(job, NULL, status, job->stop_state == JOB_TIMED_OUT ? CLASS_TIMEOUT : CLASS_NONE,
                      stopped ? job->reason : "the policy ended without asking it");
        for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
            close_pending(job, i, status);
    }
    uint64_t number;
    job->closed = true;
    job->ended_us = engine_now(e);
    job->state = final_state(job);
    timer_off(&e->timers, &job->timeout);
    job_record_state(job, job->state, 0, job->ended_us, &number);
    job->closing.durable = job_over;
    engine_await(e, &job->closing, number);
}

void job_fail(struct engine_job *job, const char *reason)
{
    struct engine *e = job->engine;
    if (job->over)
        return;
    stop_policy(job);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        struct line *line = &job->lines[i];
        while (!list_empty(&line->lives)) {
            struct live *live = container_of(line->lives.next, struct live, in_line);
            if (live->phase == PHASE_ASKING)
                e->ports.transport.cancel(e->ports.transport.ctx, &live->x);
            live_free(live);
        }
        line_leave(line);
    }
    free(job->reason);
    job->reason = mem_strdup(reason);
    job->state = JOB_FAILED;
    job->stopping = JOB_STOPPED;
    job->closed = true;
    list_unlink(&job->closing.link);
    timer_off(&e->timers, &job->timeout);
}

double engine_job_now_s(const struct engine_job *job)
{
    return engine_unix_s(job->engine, engine_now(job->engine));
}

void engine_job_view(const struct engine_job *job, struct job_view *out)
{
    *out = (struct job_view){
        .id = job->id,
        .state = job->state,
        .reason = job->reason,
        .policy_failed = job->policy_failed,
        .plan = job->plan,
        .tally = job->tally,
        .questions = job->questions,
        .endpoints = job->endpoints,
        .warm = job->warm,
        .posts = job->posts,
        .hops = job->hops,
        .attempts = job->attempts,
        .in_flight = job->in_flight,
        .max_in_flight = job->max_in_flight,
        .first_dispatch_us = job->first_dispatch_us,
        .ended_us = job->ended_us,
        .max_batch_gap_us = job->max_batch_gap_us,
        .cost = job->cost,
    };
}
