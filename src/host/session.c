#include "host/session.h"

#include <limits.h>
#include <math.h>
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
    struct list turn;          /* in waiting */
    struct session *session;
    struct job_file *file;
    struct plan *plan;         /* the engine's once it has the job, which keeps it until the job is freed */
    struct engine_job *engine_job;
    struct accepted accepted;
    struct take take;
    struct taken *taken;       /* NULL for a new job */
    void *user;
};

struct session {
    struct region_table *table;
    struct session_watcher watcher;
    struct loop *loop;
    struct store *store;
    struct http_client *client;
    struct transport *transport;
    struct engine *engine;
    struct recorder_port recorder;
    struct loop_wakeup *store_woke;
    struct loop_timer *wake;
    struct loop_task again;    /* keeps the loop from sleeping while a turn is due */
    struct loop_hook turn;
    bool turn_due;
    int64_t wake_at_us;
    struct list jobs;
    struct list waiting;       /* accepted, and not the engine's yet */
    unsigned at_once, running;
    struct loop_task next;     /* starts those whose turn has come */
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

void session_turn(struct session *s)
{
    turn_is_due(s);
}

void session_hurry(struct session *s)
{
    store_hurry(s->store);
}

/* ---- observing ---- */

static void observe(void *ctx, const struct event *event)
{
    struct session *s = ctx;
    if (s->watcher.event)
        s->watcher.event(s->watcher.ctx, event->job ? engine_job_ctx(event->job) : NULL, event);
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

/* ---- jobs in line ---- */

static void job_ended(void *ctx, struct engine_job *engine_job);

static void start_job(struct session_job *job)
{
    struct session *s = job->session;
    struct job_start start = {
        .id = job->accepted.job_id,
        .first_row = job->accepted.first_row,
        .spec = job_file_spec(job->file),
        .plan = job->plan,
        .past = job->taken ? &job->taken->past : NULL,
        .ended = job_ended,
        .ctx = job,
    };
    list_unlink(&job->turn);
    s->running++;
    job_file_policy(job->file, job->plan, &start.policy);
    job->engine_job = engine_submit(s->engine, &start);
    if (s->watcher.started)
        s->watcher.started(s->watcher.ctx, job);
    turn_is_due(s);
}

static void start_waiting(struct loop_task *task)
{
    struct session *s = container_of(task, struct session, next);
    while (s->running < s->at_once && !list_empty(&s->waiting))
        start_job(container_of(s->waiting.next, struct session_job, turn));
}

static void job_free(struct session_job *job)
{
    list_unlink(&job->link);
    list_unlink(&job->turn);
    if (!job->engine_job)
        plan_free(job->plan);
    taken_free(job->taken);
    free(job);
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
    store_recorder(s->store, &s->recorder);
    ports.recorder = s->recorder;
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
    s->at_once = o->at_once ? o->at_once : UINT_MAX;
    list_init(&s->jobs);
    list_init(&s->waiting);
    list_init(&s->turn.link);
    s->loop = loop_new();
    loop_task_init(&s->again, again);
    loop_task_init(&s->next, start_waiting);
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
    while (!list_empty(&s->jobs))
        job_free(container_of(s->jobs.next, struct session_job, link));
    transport_free(s->transport);
    if (s->client)
        http_client_free(s->client);
    loop_task_cancel(&s->again);
    loop_task_cancel(&s->next);
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

struct store *session_store(struct session *s)
{
    return s->store;
}

struct region_table *session_table(struct session *s)
{
    return s->table;
}

bool session_add_table(struct session *s, struct region_table *table, struct err *err)
{
    return transport_add_table(s->transport, table, err);
}

void session_change_table(struct session *s, struct region_table *table)
{
    region_table_ref(table);
    region_table_unref(s->table);
    s->table = table;
    engine_change_table(s->engine, table);
    transport_sweep(s->transport);
    turn_is_due(s);
}

void session_each_running(struct session *s, void (*each)(void *ctx, struct session_job *job), void *ctx)
{
    LIST_EACH (it, &s->jobs) {
        struct session_job *job = container_of(it, struct session_job, link);
        if (job->engine_job)
            each(ctx, job);
    }
}

bool session_pause(struct session_job *job, const char *reason)
{
    return job->engine_job && engine_pause(job->engine_job, reason);
}

bool session_unpause(struct session_job *job)
{
    if (!job->engine_job || !engine_unpause(job->engine_job))
        return false;
    turn_is_due(job->session);
    return true;
}

/* ---- jobs ---- */

static void job_ended(void *ctx, struct engine_job *engine_job)
{
    struct session_job *job = ctx;
    struct session *s = job->session;
    (void)engine_job;
    s->running--;
    loop_post(s->loop, &s->next);
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

/* It is stored, and this process's to run: now, or in its turn. */
static void job_is_ours(struct session_job *job, const struct accepted *accepted)
{
    struct session *s = job->session;
    job->accepted = *accepted;
    if (accepted->repeated) {
        if (s->watcher.accepted)
            s->watcher.accepted(s->watcher.ctx, job);
        return;
    }
    if (!s->table->revision)
        s->table->revision = accepted->revision;
    store_watch_control(s->store, job->accepted.job_id, job_control, job);
    bool waits = s->running >= s->at_once;
    list_push(&s->waiting, &job->turn);
    if (!waits)
        start_job(job);
    else if (job->taken)
        s->recorder.job_changed(s->recorder.ctx, &(struct job_changed){job->accepted.job_id, JOB_QUEUED, NAN, NAN});
    if (s->watcher.accepted)
        s->watcher.accepted(s->watcher.ctx, job);
}

static void job_accepted(void *ctx, const struct accepted *accepted, const struct err *error)
{
    if (error)
        job_refused(ctx, error);
    else
        job_is_ours(ctx, accepted);
}

static void job_taken(void *ctx, struct taken *taken, const struct err *error)
{
    struct session_job *job = ctx;
    job->taken = taken;
    if (error)
        job_refused(job, error);
    else
        job_is_ours(job, &taken->accepted);
}

static struct session_job *add_job(struct session *s, struct job_file *file, struct plan *plan)
{
    struct session_job *job = mem_zalloc(sizeof *job);
    job->session = s;
    job->file = file;
    job->plan = plan;
    list_init(&job->turn);
    list_push(&s->jobs, &job->link);
    return job;
}

struct session_job *session_submit(struct session *s, struct job_file *file, const struct submission *by,
                                   struct err *err)
{
    struct plan *plan = plan_make(job_file_spec(file), s->table, err);
    if (!plan)
        return NULL;
    struct session_job *job = add_job(s, file, plan);
    store_accept(s->store, plan, by, job_accepted, job);
    store_flush(s->store);
    return job;
}

struct session_job *session_resume(struct session *s, struct job_file *file, struct plan *plan, const char *job_id,
                                   const struct execution_filter *failed, const char *author)
{
    struct session_job *job = add_job(s, file, plan);
    job->take = (struct take){.job_id = job_id, .plan = plan, .failed = failed, .author = author,
                              .revision = s->table->revision};
    store_take(s->store, &job->take, job_taken, job);
    store_flush(s->store);
    return job;
}

void session_stop(struct session_job *job, enum stop_how how, enum job_state state, const char *reason)
{
    if (!job->engine_job)
        start_job(job);
    engine_stop(job->engine_job, how, state, reason);
}

void session_job_free(struct session_job *job)
{
    engine_job_free(job->engine_job);
    job_free(job);
}

const struct taken *session_job_taken(const struct session_job *job)
{
    return job->taken;
}

void session_job_set_user(struct session_job *job, void *user)
{
    job->user = user;
}

void *session_job_user(const struct session_job *job)
{
    return job->user;
}

bool session_job_repeated(const struct session_job *job)
{
    return job->accepted.repeated;
}

const char *session_job_id(const struct session_job *job)
{
    return *job->accepted.job_id ? job->accepted.job_id : NULL;
}

struct engine_job *session_job_engine(const struct session_job *job)
{
    return job->engine_job;
}

const struct plan *session_job_plan(const struct session_job *job)
{
    return job->plan;
}
