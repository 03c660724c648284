#include "host/session.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "host/transport.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "script/table_file.h"
#include "store/store.h"

enum { IN_FLIGHT_HINT_MAX = 16384 };

struct session_job {
    struct list link;
    struct session *session;
    struct job_file *file;
    struct plan *plan;         /* the engine's once it has the job, which keeps it until the job is freed */
    struct engine_job *engine_job;
    struct accepted accepted;
    struct take take;
    struct taken *taken;       /* NULL for a new job */
};

struct session {
    struct region_table *table;
    struct session_watcher watcher;
    struct loop *loop;
    struct store *store;
    struct http_client *client;
    struct transport *transport;
    struct engine *engine;
    struct loop_wakeup *store_woke;
    struct loop_timer *wake;
    struct loop_task again;    /* keeps the loop from sleeping while a turn is due */
    struct loop_hook turn;
    bool turn_due;
    int64_t wake_at_us;
    struct list jobs;
};

/* ---- clock and turns ---- */

static void turn_is_due(void *ctx)
{
    struct session *s = ctx;
    s->turn_due = true;
    loop_post(s->loop, &s->again);
}

static void again(struct loop_task *task)
{
    (void)task; /* the hook at the end of this turn does the work */
}

static int64_t clock_now(void *ctx)
{
    (void)ctx;
    return mono_now_us();
}

static void clock_wake_at(void *ctx, int64_t at_us)
{
    struct session *s = ctx;
    if (at_us <= mono_now_us()) {
        turn_is_due(s);
    } else if (at_us < s->wake_at_us) {
        s->wake_at_us = at_us;
        loop_timer_at(s->wake, at_us);
    }
}

static void run_turn(struct loop_hook *hook)
{
    struct session *s = container_of(hook, struct session, turn);
    if (s->turn_due) {
        s->turn_due = false;
        s->wake_at_us = NEVER_US;
        loop_timer_at(s->wake, NEVER_US);
        engine_turn(s->engine);
    }
    store_flush(s->store);
}

/* ---- the store ---- */

static void store_wake(void *ctx)
{
    struct session *s = ctx;
    loop_wakeup_send(s->store_woke);
}

static void store_is_awake(void *ctx)
{
    struct session *s = ctx;
    store_poll(s->store);
}

static void durable(void *ctx, uint64_t number)
{
    struct session *s = ctx;
    engine_durable(s->engine, number);
    turn_is_due(s);
}

static void store_failed(void *ctx, const struct err *err)
{
    struct session *s = ctx;
    if (s->watcher.store_failed)
        s->watcher.store_failed(s->watcher.ctx, err);
    engine_store_failed(s->engine, err->text);
    turn_is_due(s);
}

static void store_locked(void *ctx, int64_t since_us)
{
    struct session *s = ctx;
    if (s->watcher.store_locked)
        s->watcher.store_locked(s->watcher.ctx, since_us);
}

void session_hurry(struct session *s)
{
    store_hurry(s->store);
}

/* ---- observing ---- */

static struct session_job *find_job(struct session *s, const struct engine_job *engine_job)
{
    LIST_EACH (it, &s->jobs) {
        struct session_job *job = container_of(it, struct session_job, link);
        if (job->engine_job == engine_job)
            return job;
    }
    return NULL;
}

static void observe(void *ctx, const struct event *event)
{
    struct session *s = ctx;
    struct session_job *job = event->job ? find_job(s, event->job) : NULL;
    if (s->watcher.event && (job || !event->job))
        s->watcher.event(s->watcher.ctx, job, event);
}

/* ---- making and freeing ---- */

/* How many requests the table allows at once: sizes the client's connection caches. */
static unsigned in_flight_hint(const struct region_table *table)
{
    uint64_t slots = 0;
    for (size_t i = 0; i < table->endpoint_count; i++) {
        const struct endpoint_spec *e = &table->endpoints[i];
        slots += e->adaptive.ceiling > e->slots ? e->adaptive.ceiling : e->slots;
    }
    if (table->in_flight && table->in_flight < slots)
        slots = table->in_flight;
    return slots < IN_FLIGHT_HINT_MAX ? (unsigned)slots : IN_FLIGHT_HINT_MAX;
}

static bool open_parts(struct session *s, const struct session_options *o, struct err *err)
{
    s->store_woke = loop_wakeup_new(s->loop, store_is_awake, s);
    s->wake = loop_timer_new(s->loop, turn_is_due, s);
    s->client = http_client_new(s->loop,
                                &(struct http_client_options){
                                    .ca_file = o->ca_file,
                                    .user_agent = "canvass/" CANVASS_VERSION,
                                    .in_flight_hint = in_flight_hint(s->table), .http2 = true,
                                },
                                err);
    if (!s->client)
        return false;
    s->transport = transport_new(s->client, turn_is_due, s);
    if (!transport_add_table(s->transport, s->table, err))
        return false;
    s->store = store_open(o->db,
                          &(struct store_options){
                              .ctx = s, .wake = store_wake, .durable = durable, .failed = store_failed,
                              .locked = store_locked},
                          err);
    return s->store;
}

static void start_engine(struct session *s)
{
    struct engine_ports ports = {
        .clock = {.ctx = s, .unix_zero_s = unix_now_s() - (double)mono_now_us() / SECOND_US, .now_us = clock_now,
                  .wake_at = clock_wake_at},
        .observer = {.ctx = s, .event = observe},
        .seed = rng_entropy(),
    };
    transport_port(s->transport, &ports.transport);
    adapters_port(&ports.adapter);
    store_recorder(s->store, &ports.recorder);
    s->engine = engine_new(&ports, s->table);
    transport_attach(s->transport, s->engine);
    /* after the client's own hook, so that answers and the turn they cause share one transaction */
    loop_hook_add(s->loop, &s->turn, run_turn);
}

struct session *session_new(struct region_table *table, const struct session_options *o, struct err *err)
{
    struct session *s = mem_zalloc(sizeof *s);
    s->table = region_table_ref(table);
    s->watcher = o->watcher;
    s->wake_at_us = NEVER_US;
    list_init(&s->jobs);
    list_init(&s->turn.link);
    s->loop = loop_new();
    loop_task_init(&s->again, again);
    if (!open_parts(s, o, err)) {
        session_free(s, NULL);
        return NULL;
    }
    start_engine(s);
    return s;
}

/* The engine goes first, with its jobs: it cancels what is in flight. The plan of a job that it never got is the
 * store's until that is closed. */
bool session_free(struct session *s, struct err *err)
{
    if (!s)
        return true;
    loop_hook_remove(&s->turn);
    engine_free(s->engine);
    bool ok = !s->store || store_close(s->store, err);
    while (!list_empty(&s->jobs)) {
        struct session_job *job = container_of(list_pop(&s->jobs), struct session_job, link);
        if (!job->engine_job)
            plan_free(job->plan);
        taken_free(job->taken);
        free(job);
    }
    transport_free(s->transport);
    if (s->client)
        http_client_free(s->client);
    loop_task_cancel(&s->again);
    loop_timer_free(s->wake);
    if (s->store_woke)
        loop_wakeup_free(s->store_woke);
    loop_free(s->loop);
    region_table_unref(s->table);
    free(s);
    return ok;
}

struct loop *session_loop(struct session *s)
{
    return s->loop;
}

struct engine *session_engine(struct session *s)
{
    return s->engine;
}

/* ---- jobs ---- */

static void job_ended(void *ctx, struct engine_job *engine_job)
{
    struct session_job *job = ctx;
    struct session *s = job->session;
    (void)engine_job;
    if (s->watcher.ended)
        s->watcher.ended(s->watcher.ctx, job);
}

static void job_control(void *ctx, const char *action, const char *author, const char *reason)
{
    struct session_job *job = ctx;
    struct session *s = job->session;
    if (s->watcher.control)
        s->watcher.control(s->watcher.ctx, job, action, author, reason);
    turn_is_due(s);
}

static void job_refused(struct session_job *job, const struct err *error)
{
    struct session *s = job->session;
    if (s->watcher.refused)
        s->watcher.refused(s->watcher.ctx, job, error);
}

/* It is stored, and this process's to run. */
static void start_job(struct session_job *job, const struct accepted *accepted, const struct job_past *past)
{
    struct session *s = job->session;
    job->accepted = *accepted;
    if (!s->table->revision)
        s->table->revision = accepted->revision;
    struct job_start start = {
        .id = job->accepted.job_id,
        .first_row = accepted->first_row,
        .spec = job_file_spec(job->file),
        .plan = job->plan,
        .past = past,
        .ended = job_ended,
        .ctx = job,
    };
    job_file_policy(job->file, job->plan, &start.policy);
    job->engine_job = engine_submit(s->engine, &start);
    store_watch_control(s->store, job->accepted.job_id, job_control, job);
    if (s->watcher.accepted)
        s->watcher.accepted(s->watcher.ctx, job);
    turn_is_due(s);
}

static void job_accepted(void *ctx, const struct accepted *accepted, const struct err *error)
{
    if (error)
        job_refused(ctx, error);
    else
        start_job(ctx, accepted, NULL);
}

static void job_taken(void *ctx, struct taken *taken, const struct err *error)
{
    struct session_job *job = ctx;
    job->taken = taken;
    if (error)
        job_refused(job, error);
    else
        start_job(job, &taken->accepted, &taken->past);
}

static struct session_job *add_job(struct session *s, struct job_file *file, struct plan *plan)
{
    struct session_job *job = mem_zalloc(sizeof *job);
    job->session = s;
    job->file = file;
    job->plan = plan;
    list_push(&s->jobs, &job->link);
    return job;
}

struct session_job *session_submit(struct session *s, struct job_file *file, const char *author, struct err *err)
{
    struct plan *plan = plan_make(job_file_spec(file), s->table, err);
    if (!plan)
        return NULL;
    struct session_job *job = add_job(s, file, plan);
    store_accept(s->store, plan, author, job_accepted, job);
    store_flush(s->store);
    return job;
}

struct session_job *session_resume(struct session *s, struct job_file *file, struct plan *plan, const char *job_id,
                                   const struct execution_filter *failed, const char *author)
{
    struct session_job *job = add_job(s, file, plan);
    job->take = (struct take){.job_id = job_id, .plan = plan, .failed = failed, .author = author};
    store_take(s->store, &job->take, job_taken, job);
    store_flush(s->store);
    return job;
}

const struct taken *session_job_taken(const struct session_job *job)
{
    return job->taken;
}

const char *session_job_id(const struct session_job *job)
{
    return job->engine_job ? job->accepted.job_id : NULL;
}

struct engine_job *session_job_engine(const struct session_job *job)
{
    return job->engine_job;
}

const struct plan *session_job_plan(const struct session_job *job)
{
    return job->plan;
}
