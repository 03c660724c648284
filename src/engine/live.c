/* The life of an execution, attempt by attempt:
 *
 *   RECORDING -> ASKING -> ENDING                            the usual way
 *                ASKING -> HOP_RECORDING -> POLL_WAIT -> ASKING ...    a result URL is followed
 *                ASKING -> BACKING_OFF -> DUE -> RECORDING ...         another attempt
 *
 * It holds its permits from RECORDING to POLL_WAIT, never while it backs off or only waits for the disk. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "core/retry.h"
#include "core/url.h"
#include "engine/state.h"

static void attempt_durable(struct await *a);
static void hop_durable(struct await *a);
static void end_durable(struct await *a);
static void timer_fired(struct timer *t);

static struct engine *engine_of(const struct live *live)
{
    return live->line->job->engine;
}

static const struct endpoint_spec *spec_of(const struct live *live)
{
    return live->line->endpoint->spec;
}

static bool has_permits(const struct live *live)
{
    return live->phase <= PHASE_POLL_WAIT;
}

static void wait_durable(struct live *live, enum phase phase, void (*durable)(struct await *), uint64_t number)
{
    live->phase = phase;
    list_unlink(&live->await.link);
    live->await.durable = durable;
    engine_await(engine_of(live), &live->await, number);
}

static struct live *live_new(struct line *line, struct run *run, struct cell cell)
{
    struct live *live = mem_zalloc(sizeof *live);
    live->line = line;
    live->run = run;
    live->cell = cell;
    live->n = plan_number(line->job->plan, cell);
    live->queued_us = run->queued_us;
    live->timer.fire = timer_fired;
    live->cost = NAN;
    list_init(&live->link);
    list_init(&live->await.link);
    list_init(&live->watchers);
    list_push(&line->lives, &live->in_line);
    buf_init(&live->body, REQUEST_BYTES_MAX);
    line->job->live_count++;
    return live;
}

void live_free(struct live *live)
{
    list_unlink(&live->link);
    list_unlink(&live->in_line);
    list_unlink(&live->await.link);
    timer_off(&engine_of(live)->timers, &live->timer);
    while (!list_empty(&live->watchers))
        free(container_of(list_pop(&live->watchers), struct watcher, link));
    buf_done(&live->body);
    free(live->result_url);
    free(live->post_url);
    live->line->job->live_count--;
    free(live);
}

static struct ask ask_of(const struct live *live)
{
    const struct engine_job *job = live->line->job;
    return (struct ask){
        .job = job->spec,
        .question = &job->spec->questions[live->cell.question],
        .table = job->plan->table,
        .endpoint = spec_of(live),
        .sample = live->cell.sample + 1,
    };
}

static void tell(const struct live *live, enum event_kind kind, int64_t wait_us)
{
    struct event event = {
        .kind = kind,
        .job = live->line->job,
        .endpoint = spec_of(live),
        .cell = live->cell,
        .attempt = live->attempt,
        .hops = live->attempt_hops,
        .status = live->end_status,
        .class = live->class,
        .error = live->error[0] ? live->error : NULL,
        .at_us = engine_now(engine_of(live)),
        .wait_us = wait_us,
        .took_us = live->ended_us && live->started_us ? live->ended_us - live->started_us : 0,
    };
    engine_tell(engine_of(live), &event);
}

/* ---- leaving the attempt ---- */

static void give_back_permits(struct live *live)
{
    struct endpoint *ep = live->line->endpoint;
    list_unlink(&live->link);
    ep->last_used_us = engine_now(engine_of(live));
    live->line->job->in_flight--;
    permits_release(live->line);
}

static void add_cost(struct live *live, const struct answer *a)
{
    const struct endpoint_spec *spec = spec_of(live);
    double cost = 0;
    if (live->dispatched_us && !live->unsent)
        cost += spec->price_per_second * (double)(live->ended_us - live->dispatched_us) / (double)SECOND_US;
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
            .revision = job->plan->table->revision,
            .ended_at = status_is_final(execution) ? engine_unix_s(e, live->ended_us) : NAN,
            .prompt_tokens = a ? a->prompt_tokens : -1,
            .completion_tokens = a ? a->completion_tokens : -1,
            .cost = live->cost,
        },
    };
    return e->ports.recorder.attempt_ended(e->ports.recorder.ctx, &row);
}

static void end_attempt(struct live *live, enum status status, const struct response *r, const struct answer *a)
{
    uint64_t number = record_end(live, status, status, r, a);
    timer_off(&engine_of(live)->timers, &live->timer);
    buf_done(&live->body);
    give_back_permits(live);
    wait_durable(live, PHASE_ENDING, end_durable, number);
}

static void set_error(struct live *live, enum failure_class class, const char *error)
{
    live->class = class;
    if (snprintf(live->error, sizeof live->error, "%s", error) >= (int)sizeof live->error)
        memcpy(live->error + sizeof live->error - 4, "...", 4);
}

/* Ends an execution that has no attempt under way. */
static void end_between_attempts(struct live *live, enum status status)
{
    struct engine *e = engine_of(live);
    struct line *line = live->line;
    if (live->phase == PHASE_BACKING_OFF) {
        line->backing_off--;
        line->endpoint->backing_off--;
    }
    live->ended_us = engine_now(e);
    live->end_status = status;
    struct rows_closed row = {
        .first_row = line->job->first_row + (int64_t)live->n,
        .count = 1,
        .status = status,
        .class = live->class,
        .error = live->error,
        .ended_at = engine_unix_s(e, live->ended_us),
    };
    list_unlink(&live->link);
    timer_off(&e->timers, &live->timer);
    buf_done(&live->body);
    wait_durable(live, PHASE_ENDING, end_durable, e->ports.recorder.rows_closed(e->ports.recorder.ctx, &row));
}

void live_give_up(struct live *live)
{
    end_between_attempts(live, STATUS_FAILED);
}

static void end_durable(struct await *a)
{
    struct live *live = container_of(a, struct live, await);
    tell(live, EVENT_EXECUTION_ENDED, 0);
    job_execution_ended(live);
}

void live_stop(struct live *live, enum failure_class class, const char *reason)
{
    struct engine *e = engine_of(live);
    if (live->phase == PHASE_ENDING)
        return;
    set_error(live, class, reason);
    if (!has_permits(live)) {
        end_between_attempts(live, STATUS_CANCELLED);
        return;
    }
    if (live->phase == PHASE_ASKING)
        e->ports.transport.cancel(e->ports.transport.ctx, &live->x);
    breaker_withdrawn(&live->line->endpoint->breaker);
    end_attempt(live, STATUS_CANCELLED, NULL, NULL);
}

/* ---- asking ---- */

static int64_t execution_deadline_us(const struct live *live)
{
    return live->started_us + spec_of(live)->deadline_us;
}

static void send_exchange(struct live *live, bool post, const char *url)
{
    struct engine *e = engine_of(live);
    const struct endpoint_spec *spec = spec_of(live);
    live->sent_us = engine_now(e);
    if (!live->dispatched_us)
        live->dispatched_us = live->sent_us;
    if (!live->started_us)
        live->started_us = live->sent_us;
    live->x = (struct exchange){
        .endpoint = spec,
        .url = url,
        .post = post,
        .other_origin = url && !url_same_origin(url, spec->url),
        .body = post ? buf_str(&live->body) : (struct str){0},
        .trace_id = live->trace_id,
    };
    live->phase = PHASE_ASKING;
    int64_t hop_us = live->sent_us + spec->hop_us, deadline_us = execution_deadline_us(live);
    timer_set(&e->timers, &live->timer, hop_us < deadline_us ? hop_us : deadline_us);
    e->ports.transport.send(e->ports.transport.ctx, &live->x);
}

static void post(struct live *live)
{
    struct engine_job *job = live->line->job;
    live->posts++;
    job->posts++;
    live->unsent = false;
    send_exchange(live, true, live->post_url);
}

static void get(struct live *live)
{
    live->hops++;
    live->attempt_hops++;
    live->line->job->hops++;
    tell(live, EVENT_HOP, 0);
    send_exchange(live, false, live->result_url);
}

static void attempt_durable(struct await *a)
{
    struct live *live = container_of(a, struct live, await);
    post(live);
    job_dispatched(live->line->job, live, live->sent_us);
    tell(live, EVENT_ATTEMPT_STARTED, 0);
}

static bool request_build(struct live *live)
{
    struct engine *e = engine_of(live);
    struct ask ask = ask_of(live);
    struct err err;
    if (live->body.len)
        return true; /* a further attempt sends the same bytes */
    if (e->ports.adapter.request(e->ports.adapter.ctx, &ask, &live->body, &err) && !live->body.full)
        return true;
    set_error(live, CLASS_CONFIG, live->body.full ? "the request is over 16 MiB: make the prompt shorter" : err.text);
    buf_clear(&live->body);
    return false;
}

void live_start(struct line *line)
{
    struct engine_job *job = line->job;
    struct engine *e = job->engine;
    struct live *live;
    struct run *run;
    struct cell cell;
    if (!list_empty(&line->due)) {
        live = container_of(list_pop(&line->due), struct live, link);
    } else {
        bool found = line_next(line, &run, &cell);
        assert(found);
        live = live_new(line, run, cell);
        line_started(line);
    }
    timer_off(&e->timers, &live->timer);
    live->phase = PHASE_RECORDING;
    live->attempt++;
    live->attempt_hops = live->polls = live->reposts = 0;
    live->dispatched_us = live->first_byte_us = 0;
    live->bytes_in = live->bytes_out = 0;
    live->on_result_url = live->unsent = false;
    live->cold = live->cold || !line->endpoint->warm;
    list_push(&line->endpoint->in_flight, &live->link);
    job->attempts++;
    if (++job->in_flight > job->max_in_flight)
        job->max_in_flight = job->in_flight;
    job_move(job, live->cell, STATUS_RUNNING);
    snprintf(live->trace_id, sizeof live->trace_id, "%s.%llu.%u", job->id, (unsigned long long)live->n + 1, live->attempt);

    bool ok = request_build(live);
    struct attempt_began row = {
        .row = job->first_row + (int64_t)live->n,
        .number = live->attempt,
        .url = live->post_url ? live->post_url : line->endpoint->spec->url,
        .request = buf_str(&live->body),
        .queued_at = engine_unix_s(e, live->queued_us),
        .in_flight = e->global.sema.used,
        .revision = job->plan->table->revision,
        .first = live->attempt == 1,
        .cold = live->cold,
    };
    uint64_t number = e->ports.recorder.attempt_began(e->ports.recorder.ctx, &row);
    if (ok) {
        wait_durable(live, PHASE_RECORDING, attempt_durable, number);
    } else {
        breaker_withdrawn(&line->endpoint->breaker);
        end_attempt(live, STATUS_FAILED, NULL, NULL);
    }
}

/* ---- what came back ---- */

static void back_off(struct live *live, int64_t wait_us, const struct response *r)
{
    struct line *line = live->line;
    struct engine *e = engine_of(live);
    record_end(live, STATUS_FAILED, STATUS_BACKING_OFF, r, NULL);
    give_back_permits(live);
    live->phase = PHASE_BACKING_OFF;
    line->backing_off++;
    line->endpoint->backing_off++;
    job_move(line->job, live->cell, STATUS_BACKING_OFF);
    live->queued_us = live->ended_us + wait_us;
    timer_set(&e->timers, &live->timer, live->queued_us);
    tell(live, EVENT_ATTEMPT_FAILED, wait_us);
}

static void fail_or_retry(struct live *live, bool retry, int64_t asked_wait_us, const struct response *r, const struct answer *a)
{
    const struct retry_rule *rule = &spec_of(live)->retry;
    struct engine *e = engine_of(live);
    int64_t wait_us = retry_delay_us(rule, live->attempt, &e->rng);
    if (asked_wait_us > wait_us)
        wait_us = asked_wait_us;
    bool in_time = live->started_us == 0 || engine_now(e) + wait_us < execution_deadline_us(live);
    if (retry && live->attempt < rule->attempts && in_time && live->line->job->stopping == JOB_GOES_ON)
        back_off(live, wait_us, r);
    else
        end_attempt(live, STATUS_FAILED, r, a);
}

static void fetch_after(struct live *live, int64_t wait_us)
{
    struct engine *e = engine_of(live);
    live->phase = PHASE_POLL_WAIT;
    if (wait_us <= 0) {
        get(live);
        return;
    }
    int64_t due_us = engine_now(e) + wait_us, deadline_us = execution_deadline_us(live);
    timer_set(&e->timers, &live->timer, due_us < deadline_us ? due_us : deadline_us);
}

static void hop_durable(struct await *a)
{
    struct live *live = container_of(a, struct live, await);
    fetch_after(live, live->poll_wait_us);
}

/* A 303 is followed at once, for the provider holds the GET; whoever answers without
 * holding it (202, an error, hundreds of hops) is asked at a growing pace. */
static int64_t follow_wait_us(struct live *live, const struct outcome *o, int http_status)
{
    if (o->wait_us > 0)
        return o->wait_us;
    bool held = o->next_hop && http_status != 202;
    if ((held || o->wait_us == 0) && live->attempt_hops < HOPS_UNPACED)
        return 0;
    return poll_delay_us(spec_of(live)->poll_us, live->polls++);
}

static void follow(struct live *live, const struct outcome *o, const struct response *r)
{
    struct engine_job *job = live->line->job;
    struct engine *e = job->engine;
    bool commit = o->next_hop || !live->on_result_url;
    timer_off(&e->timers, &live->timer);
    if (o->url) {
        char *url = mem_strdup(o->url);
        free(live->result_url);
        live->result_url = url;
    }
    live->on_result_url = true;
    live->poll_wait_us = follow_wait_us(live, o, r->http_status);
    job_move(job, live->cell, STATUS_WAITING_RESULT);
    if (!commit) {
        fetch_after(live, live->poll_wait_us);
        return;
    }
    struct attempt_hopped row = {
        .row = job->first_row + (int64_t)live->n,
        .number = live->attempt,
        .result_url = live->result_url,
        .hops = live->attempt_hops,
        .http_status = r->http_status,
        .dispatched_at = engine_unix_s(e, live->dispatched_us),
        .first_byte_at = engine_unix_s(e, live->first_byte_us),
    };
    wait_durable(live, PHASE_HOP_RECORDING, hop_durable, e->ports.recorder.attempt_hopped(e->ports.recorder.ctx, &row));
}

static void tell_endpoint(struct endpoint *ep, enum event_kind kind, const char *error, int64_t wait_us)
{
    struct event event = {.kind = kind, .endpoint = ep->spec, .error = error, .wait_us = wait_us, .at_us = engine_now(ep->engine)};
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

/* What the exchange says about the endpoint, whatever it means for the execution. */
static void judge_endpoint(struct live *live, const struct outcome *o)
{
    struct endpoint *ep = live->line->endpoint;
    struct engine *e = ep->engine;
    int64_t now_us = engine_now(e);
    enum breaker_state before = ep->breaker.state;
    if (o->action == ACTION_FOLLOW || o->action == ACTION_REPOST)
        return; /* not over yet */
    if (o->action == ACTION_SUCCEED) {
        adaptive_clean(&ep->adaptive, ep->gate.sema.used >= endpoint_limit(ep));
        ep->warm = true;
        breaker_succeeded(&ep->breaker);
    } else if (o->counts_as_failure) {
        breaker_failed(&ep->breaker, now_us);
    } else {
        breaker_withdrawn(&ep->breaker);
    }
    if (o->refused)
        adaptive_refused(&ep->adaptive, now_us);
    if (ep->breaker.state == BREAKER_CLOSED && before != BREAKER_CLOSED)
        tell_endpoint(ep, EVENT_BREAKER_CLOSED, NULL, 0);
    if (ep->breaker.state != before && ep->breaker.state == BREAKER_OPEN)
        tell_endpoint(ep, EVENT_BREAKER_OPENED, o->error, ep->breaker.open_until_us - now_us);
    if (ep->breaker.state == BREAKER_DEAD && before != BREAKER_DEAD)
        tell_endpoint(ep, EVENT_BREAKER_OPENED, o->error, NEVER_US);
    if (o->quota && ep->group) {
        for (size_t i = 0; i < e->table->endpoint_count; i++)
            if (e->endpoints[i].group == ep->group)
                kill_breaker(&e->endpoints[i], o->error);
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
}

static void repost(struct live *live, const char *url, const struct response *r)
{
    if (++live->reposts > REPOSTS_MAX) {
        set_error(live, CLASS_BAD_RESPONSE, "sent on by 307 or 308 more than 5 times: put the last address into the region table");
        end_attempt(live, STATUS_FAILED, r, NULL);
        return;
    }
    char *copy = mem_strdup(url);
    free(live->post_url);
    live->post_url = copy;
    post(live);
}

/* Counted when it was handed to the transport, so that a crash cannot hide it; taken back once it is known
 * that nobody heard it. */
static void take_back_unsent(struct live *live, enum wire wire)
{
    live->unsent = live->x.post && (wire == WIRE_CONNECT || wire == WIRE_TLS || wire == WIRE_NOT_SENT);
    if (live->unsent) {
        live->posts--;
        live->line->job->posts--;
    }
}

void live_exchange_ended(struct live *live, const struct response *r)
{
    struct engine *e = engine_of(live);
    struct answer answer, *a = NULL;
    struct outcome o;
    live->bytes_in += r->bytes_in;
    live->bytes_out += r->bytes_out;
    if (r->first_byte_us)
        live->first_byte_us = r->first_byte_us;
    take_back_unsent(live, r->wire);
    if (outcome_wants_answer(r)) {
        struct ask ask = ask_of(live);
        e->ports.adapter.read(e->ports.adapter.ctx, &ask, r, &answer);
        a = &answer;
    }
    outcome_decide(live->line->job->plan->table, spec_of(live), live->on_result_url, r, a,
                   engine_unix_s(e, engine_now(e)), &o);
    if (o.action == ACTION_FOLLOW && !o.url && !live->result_url) {
        o.action = ACTION_FAIL;
        o.class = CLASS_BAD_RESPONSE;
        snprintf(o.error, sizeof o.error, "told to ask again, but not where: the adapter must name a URL");
    }
    live->phase = PHASE_POLL_WAIT; /* no exchange is in flight any more */
    if (o.action != ACTION_SUCCEED)
        set_error(live, o.class, o.error);
    judge_endpoint(live, &o);
    switch (o.action) {
    case ACTION_SUCCEED:
        live->class = CLASS_NONE;
        live->error[0] = '\0';
        end_attempt(live, STATUS_SUCCEEDED, r, a);
        break;
    case ACTION_FAIL:
        end_attempt(live, STATUS_FAILED, r, a);
        break;
    case ACTION_RETRY:
        fail_or_retry(live, true, o.wait_us, r, a);
        break;
    case ACTION_FOLLOW:
        follow(live, &o, r);
        break;
    case ACTION_REPOST:
        repost(live, o.url, r);
        break;
    }
}

/* ---- time ---- */

/* A deadline fired while an exchange was in flight, or before the next one. */
static void out_of_time(struct live *live)
{
    struct engine *e = engine_of(live);
    const struct endpoint_spec *spec = spec_of(live);
    bool whole = engine_now(e) >= execution_deadline_us(live);
    char text[DURATION_TEXT], error[160];
    duration_format(whole ? spec->deadline_us : spec->hop_us, text);
    if (live->phase == PHASE_ASKING)
        e->ports.transport.cancel(e->ports.transport.ctx, &live->x);
    if (live->on_result_url && !whole) { /* the result URL is alive: ask it again */
        fetch_after(live, poll_delay_us(spec->poll_us, live->polls++));
        return;
    }
    snprintf(error, sizeof error, "%s of %s ran out %s", whole ? "deadline" : "hop", text,
             live->on_result_url ? "waiting for the result URL, which is kept" : "after the request was sent: it may have run");
    set_error(live, CLASS_TIMEOUT, error);
    struct outcome o = {.action = ACTION_FAIL, .class = CLASS_TIMEOUT, .counts_as_failure = true, .wait_us = -1};
    snprintf(o.error, sizeof o.error, "%s", error);
    live->phase = PHASE_POLL_WAIT;
    judge_endpoint(live, &o);
    fail_or_retry(live, spec->retry.unknown && !live->on_result_url, -1, NULL, NULL);
}

static void timer_fired(struct timer *t)
{
    struct live *live = container_of(t, struct live, timer);
    struct engine *e = engine_of(live);
    switch (live->phase) {
    case PHASE_ASKING:
        out_of_time(live);
        break;
    case PHASE_POLL_WAIT:
        if (engine_now(e) >= execution_deadline_us(live))
            out_of_time(live);
        else
            get(live);
        break;
    case PHASE_BACKING_OFF:
        live->phase = PHASE_DUE;
        live->line->backing_off--;
        live->line->endpoint->backing_off--;
        list_push(&live->line->due, &live->link);
        line_wake(live->line);
        if (live->started_us)
            timer_set(&e->timers, &live->timer, execution_deadline_us(live));
        break;
    case PHASE_DUE: /* never came to its next attempt */
        live_give_up(live);
        break;
    default:
        assert(!"no timer runs while a row is on its way to disk");
    }
}
