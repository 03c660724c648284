/* world.h -- a world for the engine in which time is a number: clock, transport, adapter and
 * recorder that a test scripts. Included by one test program each. */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "engine/engine.h"

enum { WORLD_ENDPOINTS = 16, WORLD_FLYING = 4096, WORLD_LOG = 8192 };

/* What the test's endpoints do: fills status, location, retry_after or wire, and says how long it
 * takes; NEVER_US hangs. */
struct reply {
    enum wire wire;
    int status;
    const char *location, *retry_after, *body;
    int64_t takes_us;
};

struct flying {
    struct exchange *x;
    struct reply reply;
    int64_t due_us;
};

struct world {
    int64_t now_us, wake_us, commit_us;
    struct engine *engine;
    struct engine_job *job;
    struct region_table *table;
    struct job_spec *spec;
    void (*respond)(struct world *w, const struct exchange *x, struct reply *out);
    struct flying flying[WORLD_FLYING];
    unsigned flying_count, sent, posts, gets, cancelled, unsent;
    unsigned open[WORLD_ENDPOINTS], peak[WORLD_ENDPOINTS], posts_to[WORLD_ENDPOINTS], open_all, peak_all;
    uint64_t recorded, durable;
    int64_t durable_us[WORLD_LOG];          /* when record i (mod) becomes durable */
    unsigned ended_rows, began_rows, hop_rows, closed_rows;
    enum status row_status[WORLD_LOG];      /* of each execution, as recorded */
    enum failure_class row_class[WORLD_LOG];
    unsigned row_posts[WORLD_LOG], row_hops[WORLD_LOG];
    int64_t row_revision[WORLD_LOG];        /* of its last attempt */
    char last_error[512];
    char committed_url[256];                /* last result URL recorded */
    uint64_t committed_number;
    char log[WORLD_LOG * 4];                /* one word per event that a test looks at */
    bool over;
    struct selection *all;
    struct job_past *past;                  /* NULL: the job starts afresh */
    uint32_t part;                          /* of the test's sequential policy */
    int policy;                             /* 0 free, 1 sequential, 2 each endpoint sequential, 3 error at once,
        4 nothing, 5 sleeps,
                                             * 6 all twice at once; of 7, 8, 9 none ever ends: naps of no time, runs of
                                             * nothing, all again and again */
    uint32_t parts_of[WORLD_ENDPOINTS];
};

static void PRINTF_LIKE(2, 3) world_log(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t used = strlen(w->log);
    vsnprintf(w->log + used, sizeof w->log - used, fmt, args);
    va_end(args);
}

static int64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->now_us;
}

static void world_wake(void *ctx, int64_t at_us)
{
    struct world *w = ctx;
    if (at_us < w->wake_us)
        w->wake_us = at_us;
}

static void world_send(void *ctx, struct exchange *x)
{
    struct world *w = ctx;
    unsigned e = x->endpoint->index;
    assert_true(w->flying_count < WORLD_FLYING);
    struct flying *f = &w->flying[w->flying_count++];
    *f = (struct flying){.x = x, .reply = {.status = 200, .body = "ok", .takes_us = SECOND_US}};
    w->respond(w, x, &f->reply);
    f->due_us = f->reply.takes_us == NEVER_US ? NEVER_US : w->now_us + f->reply.takes_us;
    w->sent++;
    x->post ? w->posts++ : w->gets++;
    if (x->post)
        w->posts_to[e]++;
    else /* a result URL is on disk before it is fetched */
        assert_true(w->durable >= w->committed_number);
    if (++w->open[e] > w->peak[e])
        w->peak[e] = w->open[e];
    if (++w->open_all > w->peak_all)
        w->peak_all = w->open_all;
}

static void world_land(struct world *w, unsigned i)
{
    unsigned e = w->flying[i].x->endpoint->index;
    w->open[e]--;
    w->open_all--;
    w->flying[i] = w->flying[--w->flying_count];
}

static void world_cancel(void *ctx, struct exchange *x)
{
    struct world *w = ctx;
    for (unsigned i = 0; i < w->flying_count; i++)
        if (w->flying[i].x == x) {
            world_land(w, i);
            w->cancelled++;
            return;
        }
    fail_msg("cancelled what was not in flight");
}

static bool world_request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    (void)ctx;
    (void)err;
    return buf_add(body, ask->question->prompt.ptr, ask->question->prompt.len);
}

/* The body's first word is the kind: "ok", "error", "transient", "poll URL", "region R", "model M". */
static void world_read(void *ctx, const struct ask *ask, const struct response *r, struct answer *out)
{
    static char word[256];
    (void)ctx;
    (void)ask;
    snprintf(word, sizeof word, "%.*s", (int)r->body.len, r->body.ptr ? r->body.ptr : "");
    char *arg = strchr(word, ' ');
    if (arg)
        *arg++ = '\0';
    *out = (struct answer){.prompt_tokens = -1, .completion_tokens = -1, .wait_us = -1, .text = STR("yes")};
    if (strcmp(word, "error") == 0 || strcmp(word, "transient") == 0 || r->http_status / 100 != 2) {
        out->kind = ANSWER_ERROR;
        out->error = str_from(word);
        out->transient = strcmp(word, "transient") == 0;
    } else if (strcmp(word, "poll") == 0) {
        out->kind = ANSWER_POLL;
        out->poll_url = arg;
    }
    if (strcmp(word, "region") == 0)
        out->served_region = arg;
    if (strcmp(word, "model") == 0)
        out->served_model = arg;
}

static uint64_t world_record(struct world *w)
{
    w->recorded++;
    w->durable_us[w->recorded % WORLD_LOG] = w->now_us + w->commit_us;
    return w->recorded;
}

static uint64_t world_began(void *ctx, const struct attempt_began *r)
{
    struct world *w = ctx;
    assert_false(status_is_final(w->row_status[r->row]));
    w->row_status[r->row] = STATUS_RUNNING;
    w->row_revision[r->row] = r->revision;
    w->began_rows++;
    return world_record(w);
}

static uint64_t world_hopped(void *ctx, const struct attempt_hopped *r)
{
    struct world *w = ctx;
    w->row_status[r->row] = STATUS_WAITING_RESULT;
    snprintf(w->committed_url, sizeof w->committed_url, "%s", r->result_url);
    w->hop_rows++;
    return w->committed_number = world_record(w);
}

static uint64_t world_ended(void *ctx, const struct attempt_ended *r)
{
    struct world *w = ctx;
    assert_false(status_is_final(w->row_status[r->row]));
    if (w->row_revision[r->row]) /* else an earlier run began it */
        assert_int_equal(w->row_revision[r->row], r->execution.revision);
    w->row_status[r->row] = r->execution.status;
    w->row_class[r->row] = r->execution.class;
    w->row_posts[r->row] = r->execution.posts;
    w->row_hops[r->row] = r->execution.hops;
    if (r->error)
        snprintf(w->last_error, sizeof w->last_error, "%s", r->error);
    w->ended_rows++;
    return world_record(w);
}

static uint64_t world_closed(void *ctx, const struct rows_closed *r)
{
    struct world *w = ctx;
    for (uint64_t i = 0; i < r->count; i++) {
        uint64_t row = (uint64_t)r->first_row + i;
        uint32_t position = (uint32_t)(row % w->table->endpoint_count);
        if (r->endpoint && strcmp(w->table->endpoints[position].id, r->endpoint) != 0)
            continue;
        bool waits = w->row_status[row] == STATUS_PENDING || w->row_status[row] == STATUS_BACKING_OFF;
        if (r->waiting_only ? !waits : status_is_final(w->row_status[row]))
            continue;
        w->row_status[row] = r->status;
        w->row_class[row] = r->class;
    }
    w->closed_rows++;
    return world_record(w);
}

static uint64_t world_changed(void *ctx, const struct job_changed *r)
{
    (void)r;
    return world_record(ctx);
}

static void world_event(void *ctx, const struct event *event)
{
    struct world *w = ctx;
    if (event->kind == EVENT_BATCH_STARTED)
        world_log(w, "+%u ", event->cell.question);
    if (event->kind == EVENT_BATCH_COMPLETED)
        world_log(w, "-%u ", event->cell.question);
    if (event->kind == EVENT_BREAKER_OPENED)
        world_log(w, event->wait_us == NEVER_US ? "dead " : "open ");
    if (event->kind == EVENT_BREAKER_CLOSED)
        world_log(w, "closed ");
    if (event->kind == EVENT_ENDPOINT_HELD)
        world_log(w, "held ");
}

/* ---- the tests' policies ---- */

static void world_policy_next(struct world *w, uint32_t lane)
{
    char label[256];
    uint32_t *part = w->policy == 2 ? &w->parts_of[lane] : &w->part;
    struct selection *base = w->policy == 2 ? selection_part(w->all, KEY_ENDPOINT, lane,
                                                             label) : selection_copy(w->all);
    if (*part < selection_part_count(base, KEY_QUESTION)) {
        engine_run(w->job, selection_part(base, KEY_QUESTION, (*part)++, label), (void *)(uintptr_t)lane);
    } else if (w->policy == 1 || ++w->part == w->all->endpoint_count) {
        engine_policy_ended(w->job, NULL);
    }
    selection_free(base);
}

static void world_policy_ready(void *ctx, void *token);

static void world_policy_start(void *ctx, struct engine_job *job)
{
    struct world *w = ctx;
    w->job = job;
    switch (w->policy) {
    case 0:
        engine_run(job, selection_copy(w->all), NULL);
        break;
    case 1:
        world_policy_next(w, 0);
        break;
    case 2:
        for (uint32_t i = 0; i < w->all->endpoint_count; i++)
            world_policy_next(w, i);
        break;
    case 3:
        engine_policy_ended(job, "job.lua:3: attempt to call a nil value");
        break;
    case 4:
        engine_policy_ended(job, NULL);
        break;
    case 5:
        engine_sleep(job, 5 * SECOND_US, NULL);
        w->policy = 0; /* then like free: ready() below runs everything */
        w->part = 99;
        break;
    case 6: /* everything twice at once: runs that overlap */
        engine_run(job, selection_copy(w->all), NULL);
        engine_run(job, selection_copy(w->all), NULL);
        w->part = 1;
        break;
    case 7:
    case 8:
    case 9:
        w->part = 1000; /* calls; not the 99 below */
        world_policy_ready(w, NULL);
        break;
    }
}

static void world_policy_ready(void *ctx, void *token)
{
    struct world *w = ctx;
    if (w->policy == 1 || w->policy == 2) {
        world_policy_next(w, (uint32_t)(uintptr_t)token);
    } else if (w->part == 99) {
        w->part = 0;
        engine_run(w->job, selection_copy(w->all), NULL);
    } else if (w->policy == 6 && w->part-- == 1) {
        return; /* the other one is still to come */
    } else if (w->policy == 7) {
        w->part++;
        engine_sleep(w->job, 0, NULL);
    } else if (w->policy == 8 || w->policy == 9) {
        w->part++;
        struct selection *s = selection_copy(w->all);
        if (w->policy == 8)
            s->endpoint_count = 0;
        engine_run(w->job, s, NULL);
    } else {
        engine_policy_ended(w->job, NULL);
    }
}

static void world_policy_stop(void *ctx)
{
    world_log(ctx, "stop ");
}

static void world_job_ended(void *ctx, struct engine_job *job)
{
    struct world *w = ctx;
    (void)job;
    w->over = true;
}

/* ---- building it ---- */

static void world_ok(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    (void)out;
}

/* regions x models endpoints with sane settings; the test changes what it wants before world_start(). */
static struct world *world_new(unsigned regions, unsigned models, unsigned questions)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->now_us = 1000 * SECOND_US;
    w->wake_us = NEVER_US;
    w->respond = world_ok;
    struct region_table *t = w->table = region_table_new();
    t->revision = 7;
    t->region_count = regions;
    t->regions = arena_alloc(&t->arena, regions * sizeof *t->regions);
    t->endpoint_count = regions * models;
    t->endpoints = arena_alloc(&t->arena, t->endpoint_count * sizeof *t->endpoints);
    for (unsigned r = 0; r < regions; r++) {
        t->regions[r].id = arena_printf(&t->arena, "r%u", r);
        t->regions[r].health = arena_printf(&t->arena, "http://h/r%u/health", r);
        map_add(&t->region_names, str_from(t->regions[r].id), r);
        for (unsigned m = 0; m < models; m++) {
            unsigned i = r * models + m;
            t->endpoints[i] = (struct endpoint_spec){
                .index = i, .region = r, .group = NO_INDEX,
                .id = arena_printf(&t->arena, "r%u/m%u", r, m),
                .model = arena_printf(&t->arena, "m%u", m),
                .url = arena_printf(&t->arena, "http://h/r%u/m%u", r, m),
                .adapter = "plain",
                .slots = 1, .deadline_us = 15 * MINUTE_US, .connect_us = 10 * SECOND_US, .hop_us = 3 * MINUTE_US,
                .scaledown_us = 10 * MINUTE_US, .poll_us = SECOND_US, .max_body_bytes = 1 << 20,
                .retry = {.attempts = 4, .base_us = SECOND_US, .cap_us = MINUTE_US},
                .breaker = {.failures = 5, .window_us = MINUTE_US, .cooldown_us = 30 * SECOND_US},
            };
        }
    }
    struct job_spec *s = w->spec = job_spec_new();
    s->name = "t";
    s->samples = 1;
    s->policy = "free";
    s->parameters = "{}";
    s->question_count = questions;
    s->questions = arena_alloc(&s->arena, questions * sizeof *s->questions);
    for (unsigned q = 0; q < questions; q++)
        s->questions[q] = (struct question){.id = arena_printf(&s->arena, "q%u", q), .prompt = STR("why?")};
    return w;
}

static void world_start(struct world *w)
{
    struct err err = {0};
    struct engine_ports ports = {
        .clock = {.ctx = w, .now_us = world_now, .wake_at = world_wake},
        .transport = {.ctx = w, .send = world_send, .cancel = world_cancel},
        .adapter = {.ctx = w, .request = world_request, .read = world_read},
        .recorder = {.ctx = w, .attempt_began = world_began, .attempt_hopped = world_hopped,
                     .attempt_ended = world_ended, .rows_closed = world_closed, .job_changed = world_changed},
        .observer = {.ctx = w, .event = world_event},
        .seed = 1,
    };
    w->engine = engine_new(&ports, w->table);
    struct plan *plan = plan_make(w->spec, w->table, &err);
    if (!plan)
        fail_msg("%s", err.text);
    w->all = selection_all(plan);
    struct job_start start = {
        .id = "t-1", .spec = w->spec, .plan = plan, .past = w->past, .ended = world_job_ended, .ctx = w,
        .policy = {.ctx = w, .start = world_policy_start, .ready = world_policy_ready, .stop = world_policy_stop},
    };
    for (uint64_t n = 0; w->past && n < plan->count; n++)
        w->row_status[n] = w->past->status[n];
    w->job = engine_submit(w->engine, &start);
}

/* The next thing happens. False when nothing ever will. */
static bool world_step(struct world *w)
{
    int64_t next_us = w->wake_us;
    for (unsigned i = 0; i < w->flying_count; i++)
        if (w->flying[i].due_us < next_us)
            next_us = w->flying[i].due_us;
    if (w->durable < w->recorded && w->durable_us[(w->durable + 1) % WORLD_LOG] < next_us)
        next_us = w->durable_us[(w->durable + 1) % WORLD_LOG];
    if (next_us == NEVER_US)
        return false;
    if (next_us > w->now_us)
        w->now_us = next_us;
    uint64_t durable = w->durable;
    while (durable < w->recorded && w->durable_us[(durable + 1) % WORLD_LOG] <= w->now_us)
        durable++;
    if (durable > w->durable) {
        w->durable = durable;
        engine_durable(w->engine, durable);
    }
    for (unsigned i = 0; i < w->flying_count; i++)
        if (w->flying[i].due_us <= w->now_us) {
            struct flying f = w->flying[i];
            enum wire wire = f.reply.wire;
            world_land(w, i);
            w->unsent += f.x->post && (wire == WIRE_CONNECT || wire == WIRE_TLS || wire == WIRE_NOT_SENT);
            struct response r = {
                .wire = wire, .http_status = wire == WIRE_ANSWERED ? f.reply.status : 0,
                .body = str_from(f.reply.body ? f.reply.body : ""), .location = f.reply.location,
                .retry_after = f.reply.retry_after, .first_byte_us = w->now_us, .bytes_in = 10, .bytes_out = 20,
            };
            engine_exchange_ended(w->engine, f.x, &r);
            break;
        }
    w->wake_us = NEVER_US;
    engine_turn(w->engine);
    return true;
}

/* Until the job is over; fails when it gets stuck. Returns the simulated time it took. */
static int64_t world_run(struct world *w)
{
    int64_t began_us = w->now_us;
    for (unsigned steps = 0; !w->over; steps++)
        if (steps > 2000000 || !world_step(w))
            fail_msg("stuck after %u steps: %s", steps, w->log);
    return w->now_us - began_us;
}

static void world_free(struct world *w)
{
    selection_free(w->all);
    engine_job_free(w->job);
    engine_free(w->engine);
    job_spec_free(w->spec);
    region_table_unref(w->table);
    free(w);
}

static struct job_view world_view(const struct world *w)
{
    struct job_view v;
    engine_job_view(w->job, &v);
    return v;
}

/* Rows, tallies and permits agree, and nothing is left open. */
static void __attribute__((unused)) world_check_ended(const struct world *w)
{
    struct job_view v = world_view(w);
    uint32_t by_row[STATUS_COUNT] = {0}, planned = 0;
    for (uint64_t n = 0; n < v.plan->count; n++) {
        assert_true(status_is_final(w->row_status[n]));
        by_row[w->row_status[n]]++;
    }
    for (int s = 0; s < STATUS_COUNT; s++) {
        assert_int_equal(by_row[s], v.tally.by_status[s]);
        planned += v.tally.by_status[s];
    }
    assert_int_equal(planned, v.plan->count);
    assert_int_equal(engine_in_flight(w->engine, NULL), 0);
    assert_int_equal(w->flying_count, 0);
    for (unsigned i = 0; i < w->table->endpoint_count; i++) {
        struct endpoint_view ev;
        engine_endpoint_view(w->engine, i, &ev);
        assert_int_equal(ev.in_flight, 0);
        assert_int_equal(ev.backing_off, 0);
        assert_true(w->peak[i] <= w->table->endpoints[i].slots);
    }
    assert_int_equal(v.posts + v.warm.posts, w->posts - w->unsent + (w->past ? w->past->posts : 0));
    assert_int_equal(v.hops + v.warm.hops, w->gets + (w->past ? w->past->hops : 0));
}

static inline void world_run_to_end(struct world *w)
{
    world_run(w);
    world_check_ended(w);
}

/* ---- what several tests have an endpoint do ---- */

static inline void always_503(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->status = 503;
}

static inline void lost_on_the_result_url(struct world *w, const struct exchange *x, struct reply *out)
{
    if (x->post)
        *out = (struct reply){.status = 303, .location = "http://h/result", .takes_us = SECOND_US};
    else if (w->gets < 3)
        *out = (struct reply){.wire = w->gets ? WIRE_LOST : WIRE_CONNECT, .takes_us = SECOND_US};
    else if (w->gets < 5)
        *out = (struct reply){.status = 502, .takes_us = SECOND_US};
}

static inline void hang(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->takes_us = NEVER_US;
}

#endif
