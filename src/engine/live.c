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
#include "engine/live.h"

static void attempt_durable(struct await *a);
static void hop_durable(struct await *a);
static void timer_fired(struct timer *t);

static int by_number(const void *n, const void *begun)
{
    uint64_t a = *(const uint64_t *)n, b = ((const struct begun *)begun)->n;
    return a < b ? -1 : a > b;
}

/* Attempts of earlier runs count on. */
static void count_past(struct live *live, const struct job_past *past)
{
    const struct begun *b =
        past && past->begun_count ? bsearch(&live->n, past->begun, past->begun_count, sizeof *b, by_number) : NULL;
    if (!b)
        return;
    live->attempt = b->attempts;
    live->forgiven = b->forgiven;
    live->posts = b->posts;
    live->hops = b->hops;
    live->cost = b->cost;
}

/* run: NULL when no policy asked for it yet. */
static struct live *live_new(struct line *line, struct run *run, struct cell cell)
{
    struct live *live = mem_zalloc(sizeof *live);
    live->line = line;
    live->run = run;
    live->cell = cell;
    live->n = plan_number(line->job->plan, cell);
    live->queued_us = run ? run->queued_us : engine_now(line->job->engine);
    live->timer.fire = timer_fired;
    live->cost = NAN;
    live_pin(live);
    count_past(live, line->job->past);
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
    timer_off(&live_engine(live)->timers, &live->timer);
    while (!list_empty(&live->watchers))
        free(container_of(list_pop(&live->watchers), struct watcher, link));
    buf_done(&live->body);
    free(live->result_url);
    free(live->post_url);
    region_table_unref(live->table);
    live->line->job->live_count--;
    free(live);
}

/* A body is made for the settings of its attempt, and a 307 was about their URL. */
void live_pin(struct live *live)
{
    const struct endpoint *ep = live->line->endpoint;
    if (live->table == ep->table)
        return;
    region_table_unref(live->table);
    live->table = region_table_ref(ep->table);
    live->spec = ep->spec;
    buf_clear(&live->body);
    free(live->post_url);
    live->post_url = NULL;
}

/* One that has no exchange under way goes on with the new ones. */
void live_settings_changed(struct live *live)
{
    if (live->phase != PHASE_BACKING_OFF && live->phase != PHASE_DUE)
        return;
    live_pin(live);
    const char *away = endpoint_away(live->line->endpoint);
    if (live->warm && (away || !live->spec->warm)) {
        live_give_up(live, CLASS_NONE, away ? away : "the endpoint needs no warming any more");
        return;
    }
    if (live->warm)
        live->warm = live->spec->warm;
    if (live->phase == PHASE_DUE && live->started_us)
        timer_set(&live_engine(live)->timers, &live->timer, live_deadline_us(live));
}

/* As little as an endpoint can be asked. */
static const struct question warm_question = {.id = "warm-up", .prompt = {"Reply with OK.", 14}};

static struct ask ask_of(const struct live *live)
{
    const struct engine_job *job = live->line->job;
    return (struct ask){
        .job = job->spec,
        .question = live->warm ? &warm_question : &job->spec->questions[live->cell.question],
        .table = live->table,
        .endpoint = live_spec(live),
        .sample = live->cell.sample + 1,
        .warm = live->warm,
    };
}

/* ---- asking ---- */

static void send_exchange(struct live *live, bool post, const char *url)
{
    struct engine *e = live_engine(live);
    const struct endpoint_spec *spec = live_spec(live);
    live->sent_us = engine_now(e);
    if (!live->dispatched_us)
        live->dispatched_us = live->sent_us;
    if (!live->started_us)
        live->started_us = live->sent_us;
    live->x = (struct exchange){
        .endpoint = spec,
        .url = url,
        .post = post,
        .health = live->warm == WARM_HEALTH,
        .other_origin = url && !url_same_origin(url, spec->url),
        .body = post ? buf_str(&live->body) : (struct str){0},
        .trace_id = live->trace_id,
    };
    live->phase = PHASE_ASKING;
    int64_t hop_us = live->sent_us + spec->hop_us, deadline_us = live_deadline_us(live);
    timer_set(&e->timers, &live->timer, hop_us < deadline_us ? hop_us : deadline_us);
    e->ports.transport.send(e->ports.transport.ctx, &live->x);
}

static uint64_t *job_posts(const struct live *live)
{
    struct engine_job *job = live->line->job;
    return live->warm ? &job->warm.posts : &job->posts;
}

static void post(struct live *live)
{
    live->posts++;
    ++*job_posts(live);
    live->unsent = false;
    send_exchange(live, true, live->post_url);
}

static void get(struct live *live)
{
    struct engine_job *job = live->line->job;
    live->hops++;
    live->attempt_hops++;
    ++*(live->warm ? &job->warm.hops : &job->hops);
    live_tell(live, EVENT_HOP, 0);
    send_exchange(live, false, live->result_url);
}

/* The disk, or another answer, took so long that a POST would be cut off as it leaves, and perhaps be paid for. */
static bool ended_too_late(struct live *live, const struct response *r)
{
    char text[DURATION_TEXT], error[160];
    if (live->started_us == 0 || engine_now(live_engine(live)) < live_deadline_us(live))
        return false;
    duration_format(live_spec(live)->deadline_us, text);
    snprintf(error, sizeof error, "deadline of %s ran out before the request was sent again", text);
    live_set_error(live, CLASS_TIMEOUT, error);
    breaker_withdrawn(&live->line->endpoint->breaker);
    live_end_attempt(live, STATUS_FAILED, r, NULL);
    return true;
}

static void attempt_durable(struct await *a)
{
    struct live *live = container_of(a, struct live, await);
    if (ended_too_late(live, NULL))
        return;
    if (live->on_result_url)
        get(live);
    else
        post(live);
    if (!live->warm)
        job_dispatched(live->line->job, live, live->sent_us);
    live_tell(live, EVENT_ATTEMPT_STARTED, 0);
}

static char *digits_before(char *end, uint64_t number)
{
    do
        *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

/* job.number.attempt. Without snprintf, to which a hundredth of an execution would go. */
static void name_trace(struct live *live)
{
    char numbers[48], *end = numbers + sizeof numbers, *at = end;
    *--at = '\0';
    at = digits_before(at, live->attempt);
    *--at = '.';
    at = digits_before(at, live->n + 1);
    *--at = '.';
    size_t tail = (size_t)(end - at), head = strlen(live->line->job->id), room = sizeof live->trace_id - tail;
    head = head < room ? head : room;
    memcpy(live->trace_id, live->line->job->id, head);
    memcpy(live->trace_id + head, at, tail);
}

static bool request_build(struct live *live)
{
    struct engine *e = live_engine(live);
    struct ask ask = ask_of(live);
    struct err err;
    if (live->body.len || live->warm == WARM_HEALTH)
        return true; /* a further attempt sends the same bytes */
    if (e->ports.adapter.request(e->ports.adapter.ctx, &ask, &live->body, &err) && !live->body.full)
        return true;
    live_set_error(live, CLASS_CONFIG,
                   live->body.full ? "the request is over 16 MiB: make the prompt shorter" : err.text);
    buf_clear(&live->body);
    return false;
}

/* A health URL is like a result URL that is there from the start: asked by GET until it answers. */
static const char *first_url(struct live *live)
{
    const struct endpoint_spec *spec = live_spec(live);
    live->on_result_url = live->warm == WARM_HEALTH;
    if (!live->on_result_url)
        return live->post_url ? live->post_url : spec->url;
    free(live->result_url);
    return live->result_url = mem_strdup(live->table->regions[spec->region].health);
}

/* A row for the attempt, then its POST. */
static void begin_attempt(struct live *live)
{
    struct line *line = live->line;
    struct engine_job *job = line->job;
    struct engine *e = job->engine;
    live->attempt++;
    live->attempt_hops = live->polls = live->reposts = 0;
    live->dispatched_us = live->first_byte_us = live->charged_from_us = 0;
    live->bytes_in = live->bytes_out = 0;
    live->unsent = false;
    live->cold = live->cold || !line->endpoint->warm;
    if (!live->warm)
        job->attempts++;
    live_move(live, STATUS_RUNNING);
    name_trace(live);

    bool ok = request_build(live);
    struct attempt_began row = {
        .row = job->first_row + (int64_t)live->n,
        .number = live->attempt,
        .url = first_url(live),
        .request = live->warm == WARM_HEALTH ? (struct str){0} : buf_str(&live->body),
        .queued_at = engine_unix_s(e, live->queued_us),
        .in_flight = e->global.sema.used,
        .revision = live->table->revision,
        .first = live->attempt == 1,
        .cold = live->cold,
    };
    uint64_t number = e->ports.recorder.attempt_began(e->ports.recorder.ctx, &row);
    if (ok) {
        live_wait(live, PHASE_RECORDING, attempt_durable, number);
    } else {
        breaker_withdrawn(&line->endpoint->breaker);
        live_end_attempt(live, STATUS_FAILED, NULL, NULL);
    }
}

/* The answer of an earlier run's attempt: no POST, and the deadline counts from now. */
static void collect(struct live *live)
{
    int64_t watched_us = live->first_byte_us ? live->first_byte_us - live->dispatched_us : 0;
    live->collecting = false;
    live->phase = PHASE_POLL_WAIT;
    live->charged_from_us = engine_now(live_engine(live)) - watched_us;
    name_trace(live);
    job_dispatched(live->line->job, live, engine_now(live_engine(live)));
    get(live);
}

void live_start(struct line *line)
{
    struct engine_job *job = line->job;
    struct live *live;
    struct run *run;
    struct cell cell;
    if (!list_empty(&line->due)) {
        live = container_of(list_pop(&line->due), struct live, link);
    } else if (line->to_warm) {
        live = live_new(line, NULL, warm_cell(line));
        live->warm = line->endpoint->spec->warm;
        line->to_warm = false;
    } else {
        bool found = line_next(line, &run, &cell);
        assert(found);
        live = live_new(line, run, cell);
        line_started(line);
    }
    timer_off(&job->engine->timers, &live->timer);
    live->phase = PHASE_RECORDING;
    list_push(&line->endpoint->in_flight, &live->link);
    live->region = line->endpoint->region;
    live->group = line->endpoint->group;
    if (++job->in_flight > job->max_in_flight)
        job->max_in_flight = job->in_flight;
    if (live->collecting)
        collect(live);
    else
        begin_attempt(live);
}

/* ---- what came back ---- */

/* What was asked at an earlier URL says nothing about the one that is there now. */
static bool live_judge(struct live *live, const struct outcome *o)
{
    struct endpoint *ep = live->line->endpoint;
    return strcmp(live->spec->url, ep->spec->url) == 0 && endpoint_judge(ep, o, live->sent_us);
}

static void fetch_after(struct live *live, int64_t wait_us)
{
    struct engine *e = live_engine(live);
    live->phase = PHASE_POLL_WAIT;
    if (wait_us <= 0) {
        get(live);
        return;
    }
    int64_t due_us = engine_now(e) + wait_us, deadline_us = live_deadline_us(live);
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
    return poll_delay_us(live_spec(live)->poll_us, live->polls++);
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
    live_move(live, STATUS_WAITING_RESULT);
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
    live_wait(live, PHASE_HOP_RECORDING, hop_durable, e->ports.recorder.attempt_hopped(e->ports.recorder.ctx, &row));
}

static void repost(struct live *live, const char *url, const struct response *r)
{
    if (++live->reposts > REPOSTS_MAX) {
        live_set_error(live, CLASS_BAD_RESPONSE,
                       "sent on by 307 or 308 more than 5 times: put the last address into the region table");
        live_end_attempt(live, STATUS_FAILED, r, NULL);
        return;
    }
    if (ended_too_late(live, r))
        return;
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
        --*job_posts(live);
    }
}

void live_exchange_ended(struct live *live, const struct response *r)
{
    struct engine *e = live_engine(live);
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
    outcome_decide(live->table, live_spec(live), live->on_result_url, r, a,
                   engine_unix_s(e, engine_now(e)), &o);
    if (o.action == ACTION_FOLLOW && !o.url && !live->result_url) {
        o.action = ACTION_FAIL;
        o.class = CLASS_BAD_RESPONSE;
        snprintf(o.error, sizeof o.error, "told to ask again, but not where: the adapter must name a URL");
    }
    live->phase = PHASE_POLL_WAIT; /* no exchange is in flight any more */
    if (o.action != ACTION_SUCCEED)
        live_set_error(live, o.class, o.error);
    if (live_judge(live, &o) && o.action == ACTION_RETRY)
        live->forgiven++;
    switch (o.action) {
    case ACTION_SUCCEED:
        live->class = CLASS_NONE;
        live->error[0] = '\0';
        live_end_attempt(live, STATUS_SUCCEEDED, r, a);
        break;
    case ACTION_FAIL:
        live_end_attempt(live, STATUS_FAILED, r, a);
        break;
    case ACTION_RETRY:
        live_fail_or_retry(live, true, o.wait_us, r, a);
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

static const char *waited_for(const struct live *live)
{
    if (live->warm == WARM_HEALTH)
        return live->error[0] ? ": the health URL never told that all is well" : ": the health URL never answered";
    return live->on_result_url ? " waiting for the result URL, which is kept"
                               : " after the request was sent: it may have run";
}

/* A deadline fired while an exchange was in flight, or before the next one. */
static void out_of_time(struct live *live)
{
    struct engine *e = live_engine(live);
    const struct endpoint_spec *spec = live_spec(live);
    bool whole = engine_now(e) >= live_deadline_us(live);
    char text[DURATION_TEXT], error[160];
    duration_format(whole ? spec->deadline_us : spec->hop_us, text);
    if (live->phase == PHASE_ASKING)
        e->ports.transport.cancel(e->ports.transport.ctx, &live->x);
    if (live->on_result_url && !whole) { /* the result URL is alive: ask it again */
        fetch_after(live, poll_delay_us(spec->poll_us, live->polls++));
        return;
    }
    snprintf(error, sizeof error, "%s of %s ran out%s", whole ? "deadline" : "hop", text, waited_for(live));
    live_set_error(live, CLASS_TIMEOUT, error);
    struct outcome o = {.action = ACTION_FAIL, .class = CLASS_TIMEOUT, .counts_as_failure = true, .wait_us = -1};
    snprintf(o.error, sizeof o.error, "%s", error);
    live->phase = PHASE_POLL_WAIT;
    live_judge(live, &o);
    live_fail_or_retry(live, spec->retry.unknown && !live->on_result_url, -1, NULL, NULL);
}

/* What an earlier run left is collected without being asked for. Another POST has to wait until the policy comes to
 * it, or it would go ahead of the barriers. */
bool live_is_wanted(const struct live *live)
{
    return live->run || live->warm || !list_empty(&live->watchers);
}

static void line_up(struct live *live)
{
    list_push(&live->line->due, &live->link);
    if (live->started_us)
        timer_set(&live_engine(live)->timers, &live->timer, live_deadline_us(live));
}

void live_watch(struct live *live, struct run *run)
{
    bool waits = live->phase == PHASE_DUE && list_empty(&live->link);
    struct watcher *w = mem_zalloc(sizeof *w);
    w->run = run;
    list_push(&live->watchers, &w->link);
    if (waits)
        line_up(live);
}

static void timer_fired(struct timer *t)
{
    struct live *live = container_of(t, struct live, timer);
    struct engine *e = live_engine(live);
    switch (live->phase) {
    case PHASE_ASKING:
        out_of_time(live);
        break;
    case PHASE_POLL_WAIT:
        if (engine_now(e) >= live_deadline_us(live))
            out_of_time(live);
        else
            get(live);
        break;
    case PHASE_BACKING_OFF:
        live->phase = PHASE_DUE;
        live->line->backing_off--;
        live->line->endpoint->backing_off--;
        if (live_is_wanted(live)) {
            line_up(live);
            line_wake(live->line);
        }
        break;
    case PHASE_DUE: /* never came to its next attempt */
        live_give_up(live, CLASS_NONE, "");
        line_look_again(live->line);
        break;
    default:
        assert(false && "no timer runs while a row is on its way to disk");
    }
}

/* ---- what an earlier run left ---- */

void live_take_up(struct line *line, const struct begun *b)
{
    struct engine *e = line->job->engine;
    struct live *live = live_new(line, NULL, plan_cell(line->job->plan, b->n));
    if (b->status != STATUS_WAITING_RESULT) {
        live_end_lost(live);
        return;
    }
    live->collecting = live->on_result_url = true;
    live->result_url = mem_strdup(b->result_url);
    live->attempt_hops = b->attempt_hops;
    live->cold = b->cold;
    live->dispatched_us = engine_us(e, b->dispatched_at);
    live->first_byte_us = engine_us(e, b->first_byte_at);
    live->phase = PHASE_DUE;
    list_push(&line->due, &live->link);
    line_wake(line);
}
