/* /api/v1/jobs: lists, one, and the verbs on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/summary.h"
#include "serve/internal.h"

enum { LIST_MAX = 500 };

const char *author_of(const char *author)
{
    return author && *author ? author : "api";
}

bool accepts(struct request *q)
{
    if (!q->daemon->draining)
        return true;
    reply_problem(q->call, 503, "the server is ending: ask again when it is back");
    return false;
}

/* ---- looking ---- */

struct listing {
    struct query *query;
    struct reader *reader;
    int64_t count, last_row;
    bool ok;
};

static const char *live_json(const struct query *q, const char *id)
{
    for (size_t i = 0; i < q->live_count; i++)
        if (strcmp(q->live[i].id, id) == 0)
            return q->live[i].json;
    return NULL;
}

static void add_json(struct buf *out, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    buf_adds(out, text);
    cJSON_free(text);
    cJSON_Delete(json);
}

/* row, ended_at: of the job as it is now. NULL with q->err. */
static const char *stored_json(struct query *q, struct reader *reader, const char *id, int64_t row,
                               const struct value *ended)
{
    struct ended_job *e = &q->daemon->ended[(uint64_t)row % ENDED_JOBS];
    bool has_ended = ended->type == VALUE_REAL;
    if (has_ended && e->json && e->row == row && e->ended_at >= ended->real && e->ended_at <= ended->real)
        return e->json;
    struct job_summary job;
    if (!reader_job(reader, id, &job, &q->err))
        return NULL;
    cJSON *json = job_json(&job);
    free(e->json);
    *e = (struct ended_job){row, has_ended ? ended->real : (double)NAN, cJSON_PrintUnformatted(json)};
    cJSON_Delete(json);
    return e->json;
}

/* id, row, ended_at */
static bool list_job(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct listing *l = ctx;
    struct query *q = l->query;
    (void)columns, (void)names;
    if (l->count == q->limit)
        return false;
    char *id = mem_strndup(v[0].text.ptr, v[0].text.len);
    const char *live = live_json(q, id), *json = live ? live : stored_json(q, l->reader, id, v[1].integer, &v[2]);
    l->ok = json;
    if (l->count++)
        buf_addc(&q->body, ',');
    buf_adds(&q->body, json ? json : "");
    l->last_row = v[1].integer;
    free(id);
    return l->ok;
}

static bool take_number(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns, (void)names;
    *(int64_t *)ctx = v[0].integer;
    return false;
}

static void read_jobs(struct query *q, struct reader *reader)
{
    struct listing l = {.query = q, .reader = reader, .ok = true};
    int64_t total = 0, more = 0;
    char from[32], last[32];
    const char *bind[] = {from};
    snprintf(from, sizeof from, "%lld", (long long)q->from);
    buf_adds(&q->body, "{\"jobs\":[");
    bool ok = reader_sql(reader, "SELECT id, row, ended_at FROM jobs WHERE row < CAST(?1 AS INTEGER)"
                                 " ORDER BY row DESC", bind, 1, 0, list_job, &l, &q->err) && l.ok;
    snprintf(last, sizeof last, "%lld", (long long)l.last_row);
    bind[0] = last;
    ok = ok && reader_sql(reader, "SELECT count(*) FROM jobs", NULL, 0, 0, take_number, &total, &q->err) &&
         (!l.count || reader_sql(reader, "SELECT EXISTS (SELECT 1 FROM jobs WHERE row < CAST(?1 AS INTEGER))", bind,
                                 1, 0, take_number, &more, &q->err));
    if (!ok) {
        query_failed(q, &q->err);
        return;
    }
    buf_addf(&q->body, "],\"total\":%lld,\"cursor\":", (long long)total);
    buf_addf(&q->body, more ? "\"%s\"}" : "null}", last);
}

void api_jobs(struct request *rq)
{
    int64_t limit = 50, from = INT64_MAX;
    if (!query_integer(rq, "limit", 1, LIST_MAX, &limit) || !query_integer(rq, "cursor", 1, INT64_MAX, &from))
        return;
    struct query *q = query_new(rq, read_jobs);
    q->limit = limit;
    q->from = from;
    LIST_EACH (it, &rq->daemon->runs) {
        const struct run *r = container_of(it, struct run, link);
        if (r->over || !r->job || !session_job_id(r->job))
            continue;
        cJSON *json = run_json(r);
        q->live = mem_array(q->live, q->live_count + 1, sizeof *q->live);
        q->live[q->live_count++] =
            (struct live_job){mem_strdup(session_job_id(r->job)), cJSON_PrintUnformatted(json)};
        cJSON_Delete(json);
    }
    query_start(q);
}

static void read_job(struct query *q, struct reader *reader)
{
    struct summary *s = summary_load(reader, q->job_id, &q->err);
    if (s)
        add_json(&q->body, summary_json(s));
    else
        query_failed(q, &q->err);
    summary_free(s);
}

void api_job(struct request *rq)
{
    const struct run *r = run_find(rq->daemon, rq->params[0]);
    if (r && r->job && session_job_id(r->job)) {
        reply_json(rq->call, 200, run_json(r));
        return;
    }
    struct query *q = query_new(rq, read_job);
    q->job_id = arena_strdup(&q->texts, rq->params[0]);
    query_start(q);
}

/* ---- verbs ---- */

static void reply_changed(struct http_call *c, const char *job_id, const char *state, bool changed)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", job_id);
    cJSON_AddStringToObject(json, "state", state);
    cJSON_AddBoolToObject(json, "changed", changed);
    reply_json(c, 200, json);
}

/* Of a job that another process runs, or nobody. */
static void cancel_stored(struct query *q, struct reader *reader)
{
    int pid;
    bool changed;
    struct job_summary job;
    if (!store_request_cancel(q->daemon->options->db, q->job_id, q->author, q->reason, &pid, &changed, &q->err) ||
        !reader_job(reader, q->job_id, &job, &q->err)) {
        query_failed(q, &q->err);
        return;
    }
    buf_adds(&q->body, "{\"job_id\":");
    text_add_json(&q->body, str_from(job.id));
    buf_addf(&q->body, ",\"state\":\"%s\",\"changed\":%s}", job_state_name(job.state), changed ? "true" : "false");
}

/* What a client names, in the terms of the plan. */
struct selection_of {
    const char *question, *region, *model;
    int64_t n;                 /* negative: any */
};

static int64_t find_question(const struct job_spec *job, const char *id)
{
    for (size_t i = 0; i < job->question_count; i++)
        if (strcmp(job->questions[i].id, id) == 0)
            return (int64_t)i;
    return -1;
}

static bool names_endpoint(const struct selection_of *s, const struct plan *plan, uint32_t position)
{
    const struct endpoint_spec *e = plan_endpoint(plan, position);
    return (!s->model || strcmp(s->model, e->model) == 0) &&
           (!s->region || region_table_region(plan->table, s->region) == (int)e->region);
}

static uint64_t cancel_selected(struct engine_job *job, const struct selection_of *s, const char *reason)
{
    struct job_view v;
    uint64_t cancelled = 0;
    engine_job_view(job, &v);
    struct execution_choice which = {.n = s->n, .question = s->question ? find_question(v.plan->job, s->question) : -1};
    if (s->question && which.question < 0)
        return 0;
    for (uint32_t i = 0; i < v.plan->endpoint_count; i++) {
        which.endpoint = i;
        if (s->n < 0 ? names_endpoint(s, v.plan, i) : plan_cell(v.plan, (uint64_t)s->n).endpoint == i)
            cancelled += engine_cancel_some(job, &which, reason);
    }
    return cancelled;
}

/* Some of a job that runs here; the rest of it goes on. */
static void cancel_some(struct request *rq, const char *job_id, const struct selection_of *s, const char *author,
                        const char *reason)
{
    struct run *r = run_find(rq->daemon, job_id);
    struct engine_job *job = r && r->job ? session_job_engine(r->job) : NULL;
    if (!job) {
        reply_problem(rq->call, 409, "job %s does not run here: only of one that runs can some be cancelled", job_id);
        return;
    }
    struct job_view v;
    uint64_t cancelled = cancel_selected(job, s, reason && *reason ? reason : "cancelled on request");
    log_event(LOG_INFO, "executions cancelled on request", LOG_S("job_id", job_id), LOG_I("executions", cancelled),
              LOG_S("author", author), LOG_S("reason", reason));
    store_revise(session_store(rq->daemon->session),
                 &(struct revise){.author = author, .reason = reason, .action = "cancel_some", .target = job_id},
                 NULL, NULL);
    session_turn(rq->daemon->session);
    engine_job_view(job, &v);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", job_id);
    cJSON_AddStringToObject(json, "state", job_state_name(v.state));
    cJSON_AddBoolToObject(json, "changed", cancelled > 0);
    cJSON_AddNumberToObject(json, "cancelled", (double)cancelled);
    reply_json(rq->call, 200, json);
}

void api_execution_cancel(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", NULL};
    const char *dot = strrchr(rq->params[0], '.'), *reason, *author;
    int64_t number = dot ? strtoll(dot + 1, NULL, 10) : 0;
    cJSON *body = request_body(rq, keys);
    if (body && number < 1)
        reply_problem(rq->call, 404, "\"%.80s\" is not the id of an execution: those are JOB.NUMBER", rq->params[0]);
    else if (body && body_text(rq, body, "reason", &reason) && body_text(rq, body, "author", &author)) {
        char *job_id = mem_strndup(rq->params[0], (size_t)(dot - rq->params[0]));
        cancel_some(rq, job_id, &(struct selection_of){.n = number - 1}, author_of(author), reason);
        free(job_id);
    }
    cJSON_Delete(body);
}

void api_job_cancel(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", "question_id", "region", "model_id", NULL};
    const char *reason, *author;
    struct selection_of some = {.n = -1};
    cJSON *body = request_body(rq, keys);
    if (!body)
        return;
    struct run *r = run_find(rq->daemon, rq->params[0]);
    if (!body_text(rq, body, "reason", &reason) || !body_text(rq, body, "author", &author) ||
        !body_text(rq, body, "question_id", &some.question) || !body_text(rq, body, "region", &some.region) ||
        !body_text(rq, body, "model_id", &some.model)) {
        cJSON_Delete(body);
        return;
    }
    if (some.question || some.region || some.model) {
        cancel_some(rq, rq->params[0], &some, author_of(author), reason);
        cJSON_Delete(body);
        return;
    }
    if (r && r->job && session_job_id(r->job)) {
        reply_changed(rq->call, rq->params[0], job_state_name(JOB_CANCELLED), run_cancel(r, author_of(author), reason));
    } else {
        struct query *q = query_new(rq, cancel_stored);
        q->job_id = arena_strdup(&q->texts, rq->params[0]);
        q->author = arena_strdup(&q->texts, author_of(author));
        q->reason = arena_strdup(&q->texts, reason ? reason : "");
        query_start(q);
    }
    cJSON_Delete(body);
}

static void log_control(struct request *rq, const char *action, const char *author, const char *reason)
{
    log_event(LOG_INFO, action, LOG_S("job_id", rq->params[0]), LOG_S("author", author), LOG_S("reason", reason));
    store_revise(session_store(rq->daemon->session),
                 &(struct revise){.author = author, .reason = reason, .action = action, .target = rq->params[0]},
                 NULL, NULL);
}

/* One that waits for its turn is paused by the line it stands in. */
void api_job_pause(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", NULL};
    const char *reason = NULL, *author = NULL;
    cJSON *body = request_body(rq, keys);
    struct run *r = run_find(rq->daemon, rq->params[0]);
    if (!body || !body_text(rq, body, "reason", &reason) || !body_text(rq, body, "author", &author)) {
        cJSON_Delete(body);
        return;
    }
    struct job_view v = {.state = JOB_QUEUED};
    bool runs = r && r->job && session_job_engine(r->job);
    bool changed = runs && session_pause(r->job, reason && *reason ? reason : "paused on request");
    if (changed)
        log_control(rq, "pause", author_of(author), reason);
    if (runs)
        engine_job_view(session_job_engine(r->job), &v);
    if (runs && !job_state_is_final(v.state)) { /* one that has just ended is here for a moment more */
        events_touch(rq->daemon->events, r);
        reply_changed(rq->call, rq->params[0], job_state_name(v.state), changed);
    } else {
        reply_problem(rq->call, 409, "job %s does not run here: only one that runs can be paused", rq->params[0]);
    }
    cJSON_Delete(body);
}

/* With one that runs here: it may be paused. */
static void go_on(struct request *rq, const char *job_id, const char *author)
{
    struct run *r = run_find(rq->daemon, job_id);
    bool changed = r->paused || (r->job && session_unpause(r->job));
    r->paused = false; /* if it is only about to be paused again after a restart */
    if (changed) {
        log_control(rq, "unpause", author, NULL);
        events_touch(rq->daemon->events, r);
    }
    reply_changed(rq->call, job_id, job_state_name(JOB_RUNNING), changed);
}

/* Goes on with a job, or asks again what failed of it. */
static void take(struct request *rq, const char *job_id, const struct execution_filter *failed, const cJSON *body)
{
    const char *author;
    if (!body_text(rq, body, "author", &author) || !accepts(rq))
        return;
    if (!run_find(rq->daemon, job_id))
        run_take(rq->daemon, job_id, failed, author_of(author), rq->call);
    else if (failed)
        reply_problem(rq->call, 409, "job %s runs: what failed can be asked again when it has ended", job_id);
    else
        go_on(rq, job_id, author_of(author));
}

void api_job_resume(struct request *rq)
{
    static const char *const keys[] = {"author", NULL};
    cJSON *body = request_body(rq, keys);
    if (body)
        take(rq, rq->params[0], NULL, body);
    cJSON_Delete(body);
}

void api_job_retry(struct request *rq)
{
    static const char *const keys[] = {"question_id", "region", "model_id", "author", NULL};
    struct execution_filter failed = {0};
    cJSON *body = request_body(rq, keys);
    if (body && body_text(rq, body, "question_id", &failed.question_id) &&
        body_text(rq, body, "region", &failed.region) && body_text(rq, body, "model_id", &failed.model_id))
        take(rq, rq->params[0], &failed, body);
    cJSON_Delete(body);
}

void api_execution_retry(struct request *rq)
{
    static const char *const keys[] = {"author", NULL};
    struct execution_filter failed = {.execution_id = rq->params[0]};
    const char *dot = strrchr(rq->params[0], '.');
    cJSON *body = request_body(rq, keys);
    if (body && !dot)
        reply_problem(rq->call, 404, "\"%.80s\" is not the id of an execution: those are JOB.NUMBER", rq->params[0]);
    else if (body) {
        char *job_id = mem_strndup(rq->params[0], (size_t)(dot - rq->params[0]));
        take(rq, job_id, &failed, body);
        free(job_id);
    }
    cJSON_Delete(body);
}
