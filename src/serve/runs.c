/* Jobs of this process: submitted here, or taken up again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "host/eta.h"
#include "host/logging.h"
#include "host/summary.h"
#include "serve/internal.h"

static void abandoned(struct parked *p)
{
    container_of(p, struct run, parked)->call = NULL;
}

static void run_free(struct run *r)
{
    loop_task_cancel(&r->gone);
    list_unlink(&r->link);
    list_unlink(&r->touched);
    kept_free(r->kept, &r->again);
    job_file_free(r->file);
    arena_done(&r->texts);
    free(r->author);
    free(r);
}

static void run_gone(struct loop_task *task)
{
    struct run *r = container_of(task, struct run, gone);
    if (r->job)
        session_job_free(r->job);
    run_free(r);
}

static void run_over(struct run *r)
{
    r->over = true;
    loop_post(r->daemon->loop, &r->gone);
}

static struct run *run_new(struct daemon *d, const char *author, struct http_call *call)
{
    struct run *r = mem_zalloc(sizeof *r);
    r->daemon = d;
    r->parked.abandoned = abandoned;
    r->author = mem_strdup(author);
    r->created_at = unix_now_s();
    r->call = call;
    if (call)
        http_call_set_user(call, &r->parked);
    arena_init(&r->texts);
    loop_task_init(&r->gone, run_gone);
    list_init(&r->touched);
    list_push(&d->runs, &r->link);
    return r;
}

struct run *run_find(const struct daemon *d, const char *job_id)
{
    LIST_EACH (it, &d->runs) {
        struct run *r = container_of(it, struct run, link);
        const char *id = r->kept ? r->again.job_id : r->job ? session_job_id(r->job) : NULL;
        if (id && !r->over && strcmp(id, job_id) == 0)
            return r;
    }
    return NULL;
}

static void refuse(struct run *r, const struct err *err)
{
    int status = err->code == ERR_STORE ? 503 : r->kept && err->code == ERR_USAGE ? 409 : 422;
    log_event(LOG_WARN, "a job was refused", LOG_S("error", err->text), LOG_S("author", r->author),
              LOG_S("job_id", r->kept ? r->again.job_id : NULL));
    if (r->call)
        reply_problem(r->call, status, "%s", err->text);
    r->call = NULL;
    run_over(r);
}

void run_submit(struct daemon *d, struct job_file *file, const struct submission *by, struct http_call *call)
{
    struct err err;
    struct run *r = run_new(d, by->author, call);
    r->file = file;
    r->job = session_submit(d->session, file, by, &err);
    if (r->job)
        session_job_set_user(r->job, r);
    else
        refuse(r, &err);
}

/* ---- taking jobs up again ---- */

static struct reader *reader_of(struct daemon *d, struct err *err)
{
    if (!d->reader)
        d->reader = reader_open(d->options->db, err);
    return d->reader;
}

static bool take_created(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct run *r = ctx;
    (void)columns, (void)names;
    r->created_at = v[0].real;
    r->paused = v[1].integer;
    return false;
}

static const char *keep(struct run *r, const char *text)
{
    return text ? arena_strdup(&r->texts, text) : NULL;
}

void run_take(struct daemon *d, const char *job_id, const struct execution_filter *failed, const char *author,
              struct http_call *call)
{
    struct err err = {0};
    struct run *r = run_new(d, author, call);
    struct kept_options o = {
        .limits = d->options->limits, .table = session_table(d->session), .plan_only = true};
    struct reader *reader = reader_of(d, &err);
    struct job_summary job;
    const char *bind[] = {job_id};
    bool found = reader && reader_job(reader, job_id, &job, &err) &&
                 reader_sql(reader, "SELECT created_at, state = 'paused' FROM jobs WHERE id = ?1", bind, 1, 0,
                            take_created, r, &err);
    if (found)
        r->kept = kept_load(reader, job_id, &o, &r->again, &err);
    if (!r->kept) {
        r->call = NULL;
        if (call)
            reply_problem(call, !found && err.code == ERR_USAGE ? 404 : 422, "%s", err.text);
        log_event(LOG_ERROR, "a job cannot be gone on with: mend what is named, then resume it",
                  LOG_S("job_id", job_id), LOG_S("error", err.text));
        run_over(r);
        return;
    }
    if (failed)
        r->failed = (struct execution_filter){
            .question_id = keep(r, failed->question_id), .model_id = keep(r, failed->model_id),
            .region = keep(r, failed->region), .execution_id = keep(r, failed->execution_id)};
    struct plan *plan = r->again.plan;
    r->again.plan = NULL;
    r->job = session_resume(d->session, r->again.file, plan, r->again.job_id, failed ? &r->failed : NULL, r->author);
    session_job_set_user(r->job, r);
}

static bool take_id(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct buf *ids = ctx;
    (void)columns, (void)names;
    buf_add(ids, v[0].text.ptr, v[0].text.len);
    return buf_addc(ids, '\0');
}

void runs_take_all(struct daemon *d)
{
    struct err err;
    struct buf ids;
    buf_init(&ids, 64 << 20);
    struct reader *reader = reader_of(d, &err);
    if (!reader || !reader_sql(reader, "SELECT id FROM jobs WHERE state IN ('queued', 'running', 'paused')"
                                       " ORDER BY row", NULL, 0, 0, take_id, &ids, &err))
        log_event(LOG_ERROR, "the jobs that have not ended cannot be read", LOG_S("error", err.text));
    for (size_t at = 0; at < ids.len; at += strlen(ids.ptr + at) + 1)
        run_take(d, ids.ptr + at, NULL, "serve", NULL);
    buf_done(&ids);
}

void runs_close(struct daemon *d)
{
    while (!list_empty(&d->runs))
        run_free(container_of(d->runs.next, struct run, link));
    reader_close(d->reader);
}

/* ---- what the session tells ---- */

void run_accepted(void *ctx, struct session_job *job)
{
    struct daemon *d = ctx;
    struct run *r = session_job_user(job);
    const char *id = session_job_id(job);
    bool repeated = session_job_repeated(job);
    if (!repeated)
        log_event(LOG_INFO, r->kept ? "job taken up again" : "job accepted", LOG_S("job_id", id),
                  LOG_I("executions", session_job_plan(job)->count), LOG_S("author", r->author),
                  LOG_S("state", session_job_engine(job) ? "running" : "queued"));
    if (r->call) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "job_id", id);
        if (!repeated) /* else its own page tells how far it has come */
            cJSON_AddStringToObject(json, "state", session_job_engine(job) ? "running" : "queued");
        cJSON_AddBoolToObject(json, "changed", !repeated);
        struct http_call *call = r->call;
        r->call = NULL;
        reply_json(call, repeated ? 200 : 202, json);
    }
    if (repeated)
        run_over(r);
    else
        events_touch(d->events, r);
}

void run_started(void *ctx, struct session_job *job)
{
    struct daemon *d = ctx;
    struct run *r = session_job_user(job);
    if (r->paused)
        session_pause(job, "paused before the restart");
    r->paused = false;
    events_touch(d->events, r);
}

void run_refused(void *ctx, struct session_job *job, const struct err *err)
{
    (void)ctx;
    refuse(session_job_user(job), err);
}

void run_ended(void *ctx, struct session_job *job)
{
    struct daemon *d = ctx;
    struct run *r = session_job_user(job);
    run_over(r);
    events_job(d->events, r); /* the last one, before it is gone */
}

bool run_cancel(struct run *r, const char *author, const char *reason)
{
    if (r->cancelled)
        return false;
    r->cancelled = true;
    log_event(LOG_WARN, "cancelled on request", LOG_S("job_id", session_job_id(r->job)), LOG_S("author", author),
              LOG_S("reason", reason));
    session_stop(r->job, STOP_ABORT, JOB_CANCELLED, reason && *reason ? reason : "cancelled on request");
    return true;
}

void run_control(void *ctx, struct session_job *job, const char *action, const char *author, const char *reason)
{
    (void)ctx;
    if (strcmp(action, "cancel") == 0)
        run_cancel(session_job_user(job), author, reason);
}

/* ---- as the engine counts it ---- */

double unix_of(int64_t at_us)
{
    return at_us ? unix_now_s() - (double)(mono_now_us() - at_us) / SECOND_US : (double)NAN;
}

void json_add_tally(cJSON *to, const struct tally *t)
{
    cJSON_AddNumberToObject(to, "planned", t->planned);
    for (int i = STATUS_COUNT - 1; i >= 0; i--)
        cJSON_AddNumberToObject(to, status_name((enum status)i), t->by_status[i]);
}

/* Of a job that waits for its turn: nothing has happened yet. */
static struct job_view view_of(const struct run *r, struct tally *waiting)
{
    struct job_view v = {.state = JOB_QUEUED, .max_batch_gap_us = -1, .cost = (double)NAN};
    if (session_job_engine(r->job)) {
        engine_job_view(session_job_engine(r->job), &v);
        if (job_state_is_final(v.state) && !r->over) /* it has ended when that is on disk */
            v.state = JOB_RUNNING;
    } else {
        v.plan = session_job_plan(r->job);
        waiting->planned = (uint32_t)v.plan->count;
        waiting->by_status[STATUS_PENDING] = waiting->planned;
        v.tally = *waiting;
    }
    return v;
}

/* NAN: it has ended, or nothing was measured yet. */
static double eta_s(const struct run *r, const struct job_view *v)
{
    const struct engine_job *job = session_job_engine(r->job);
    if (!job || !v->first_dispatch_us || v->ended_us)
        return NAN;
    struct endpoint_view *endpoints = mem_array(NULL, v->plan->endpoint_count, sizeof *endpoints);
    for (uint32_t i = 0; i < v->plan->endpoint_count; i++)
        engine_job_endpoint_view(job, i, &endpoints[i]);
    int64_t left_us = eta_left_us(v, endpoints, mono_now_us());
    free(endpoints);
    return left_us < 0 ? (double)NAN : (double)left_us / SECOND_US;
}

cJSON *run_json(const struct run *r)
{
    struct tally waiting = {.planned = 0};
    struct job_view v = view_of(r, &waiting);
    const struct job_spec *spec = v.plan->job;
    uint32_t answers = v.tally.by_status[STATUS_SUCCEEDED];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", session_job_id(r->job));
    cJSON_AddStringToObject(json, "name", spec->name);
    cJSON_AddStringToObject(json, "state", job_state_name(v.state));
    cJSON_AddStringToObject(json, "policy", spec->policy);
    json_add_tally(cJSON_AddObjectToObject(json, "executions"), &v.tally);
    cJSON_AddNumberToObject(json, "posts", (double)v.posts);
    cJSON_AddNumberToObject(json, "hops", (double)v.hops);
    cJSON_AddNumberToObject(json, "attempts", (double)v.attempts);
    cJSON_AddNumberToObject(json, "warm_posts", (double)v.warm.posts);
    cJSON_AddNumberToObject(json, "warm_hops", (double)v.warm.hops);
    json_add_real(json, "posts_per_answer", answers ? (double)v.posts / answers : (double)NAN);
    cJSON_AddBoolToObject(json, "owner_alive", true);
    json_add_real(json, "created_at", r->created_at);
    json_add_real(json, "started_at", unix_of(v.first_dispatch_us));
    json_add_real(json, "ended_at", unix_of(v.ended_us));
    json_add_real(json, "timeout_s", spec->timeout_us ? (double)spec->timeout_us / SECOND_US : (double)NAN);
    cJSON_AddNumberToObject(json, "revision", (double)v.plan->table->revision);
    cJSON_AddNumberToObject(json, "max_in_flight", v.max_in_flight);
    json_add_real(json, "max_batch_gap_s",
                  v.max_batch_gap_us < 0 ? (double)NAN : (double)v.max_batch_gap_us / SECOND_US);
    json_add_real(json, "cost", v.cost);
    cJSON_AddNumberToObject(json, "in_flight", v.in_flight);
    json_add_real(json, "eta_s", eta_s(r, &v));
    if (v.reason)
        cJSON_AddStringToObject(json, "reason", v.reason);
    else
        cJSON_AddNullToObject(json, "reason");
    return json;
}
