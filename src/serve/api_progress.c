/* How far a job has come, by question and by endpoint: from the engine's counters while it runs here, else from rows.
 * Pages and sums only: nothing grows with the number of executions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "core/breaker.h"
#include "host/row.h"
#include "serve/internal.h"

enum { PAGE_MAX = 1000 };

static const struct engine_job *engine_of(const struct request *q)
{
    const struct run *r = run_find(q->daemon, q->params[0]);
    return r && r->job ? session_job_engine(r->job) : NULL;
}

/* ---- rows that say how many of something have a status ---- */

struct counts {
    struct query *query;
    char key[512];                  /* of the object that is open; NUL: none is */
    int64_t count, planned, by_status[STATUS_COUNT];
    bool more;
};

static void close_object(struct counts *c)
{
    struct buf *out = &c->query->body;
    if (!*c->key)
        return;
    buf_addf(out, ",\"planned\":%lld", (long long)c->planned);
    for (int i = 0; i < STATUS_COUNT; i++)
        buf_addf(out, ",\"%s\":%lld", status_name((enum status)i), (long long)c->by_status[i]);
    buf_addc(out, '}');
}

static void add_page_end(struct query *q, int64_t total, int64_t next)
{
    buf_addf(&q->body, "],\"total\":%lld,\"cursor\":", (long long)total);
    buf_addf(&q->body, next < 0 ? "null}" : "\"%lld\"}", (long long)next);
}

static bool read_page(struct request *rq, int64_t *limit, int64_t *from)
{
    *limit = 100;
    *from = 0;
    return query_integer(rq, "limit", 1, PAGE_MAX, limit) && query_integer(rq, "cursor", 0, INT64_MAX / 2, from);
}

static bool take_total(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns, (void)names;
    *(int64_t *)ctx = v[0].integer;
    return false;
}

/* ---- questions ---- */

/* position, id, status, count */
static bool add_question(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct counts *c = ctx;
    struct buf *out = &c->query->body;
    enum status status;
    char position[32];
    (void)columns, (void)names;
    snprintf(position, sizeof position, "%lld", (long long)v[0].integer);
    if (strcmp(position, c->key) != 0) {
        close_object(c);
        snprintf(c->key, sizeof c->key, "%s", position);
        memset(c->by_status, 0, sizeof c->by_status);
        c->planned = 0;
        buf_adds(out, c->count++ ? ",{\"id\":" : "{\"id\":");
        text_add_json(out, v[1].text);
        buf_addf(out, ",\"position\":%s", position);
    }
    char *word = mem_strndup(v[2].text.ptr, v[2].text.len);
    if (status_parse(word, &status))
        c->by_status[status] += v[3].integer;
    c->planned += v[3].integer;
    free(word);
    return true;
}

static void read_questions(struct query *q, struct reader *reader)
{
    struct counts c = {.query = q};
    char id[128], from[32], to[32];
    const char *bind[] = {id, from, to};
    int64_t total = 0;
    snprintf(from, sizeof from, "%lld", (long long)q->from);
    snprintf(to, sizeof to, "%lld", (long long)(q->from + q->limit));
    buf_adds(&q->body, "{\"questions\":[");
    if (!reader_find(reader, q->job_id, id, &q->err) ||
        !reader_sql(reader, "SELECT count(*) FROM questions WHERE job_id = ?1", bind, 1, 0, take_total, &total,
                    &q->err) ||
        !reader_sql(reader, "SELECT question, question_id, status, count(*) FROM executions WHERE job_id = ?1 AND"
                            " question > CAST(?2 AS INTEGER) AND question <= CAST(?3 AS INTEGER)"
                            " GROUP BY question, status ORDER BY question", bind, 3, 0, add_question, &c, &q->err)) {
        query_failed(q, &q->err);
        return;
    }
    close_object(&c);
    add_page_end(q, total, q->from + q->limit < total ? q->from + q->limit : -1);
}

static void reply_questions(struct request *rq, const struct engine_job *job, int64_t limit, int64_t from)
{
    struct job_view v;
    engine_job_view(job, &v);
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "questions");
    int64_t total = v.plan->question_count, end = from + limit < total ? from + limit : total;
    for (int64_t i = from; i < end; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "id", v.plan->job->questions[i].id);
        cJSON_AddNumberToObject(one, "position", (double)i + 1);
        json_add_tally(one, &v.questions[i].tally);
        cJSON_AddItemToArray(list, one);
    }
    char cursor[32];
    snprintf(cursor, sizeof cursor, "%lld", (long long)end);
    cJSON_AddNumberToObject(json, "total", (double)total);
    cJSON_AddItemToObject(json, "cursor", end < total ? cJSON_CreateString(cursor) : cJSON_CreateNull());
    reply_json(rq->call, 200, json);
}

void api_questions(struct request *rq)
{
    const struct engine_job *job = engine_of(rq);
    int64_t limit, from;
    if (!read_page(rq, &limit, &from))
        return;
    if (job) {
        reply_questions(rq, job, limit, from);
        return;
    }
    struct query *q = query_new(rq, read_questions);
    q->job_id = arena_strdup(&q->texts, rq->params[0]);
    q->limit = limit;
    q->from = from;
    query_start(q);
}

/* ---- endpoints ---- */

/* What an operator wants to know of it in one word, and why. */
static const char *state_word(const struct endpoint_view *v, int64_t now_us, double *for_s)
{
    *for_s = NAN;
    if (v->away)
        return "paused";
    if (v->breaker == BREAKER_DEAD)
        return "given_up";
    if (v->breaker == BREAKER_OPEN) {
        *for_s = (double)(v->breaker_until_us - now_us) / SECOND_US;
        return "breaker_open";
    }
    if (v->held_until_us) {
        *for_s = (double)(v->held_until_us - now_us) / SECOND_US;
        return "held";
    }
    if (v->in_flight)
        return v->cold ? "cold" : "asking";
    return v->backing_off ? "backing_off" : v->waiting ? "waiting" : "idle";
}

cJSON *endpoint_live_json(const struct endpoint_view *v)
{
    double for_s;
    int64_t now_us = mono_now_us();
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "state", state_word(v, now_us, &for_s));
    cJSON_AddItemToObject(json, "detail", v->away ? cJSON_CreateString(v->away) : cJSON_CreateNull());
    json_add_real(json, "for_s", for_s);
    cJSON_AddNumberToObject(json, "in_flight", v->in_flight);
    cJSON_AddNumberToObject(json, "limit", v->limit);
    cJSON_AddNumberToObject(json, "waiting", v->waiting);
    cJSON_AddNumberToObject(json, "backing_off", v->backing_off);
    cJSON_AddBoolToObject(json, "cold", v->cold);
    json_add_real(json, "oldest_in_flight_s",
                  v->oldest_dispatch_us ? (double)(now_us - v->oldest_dispatch_us) / SECOND_US : (double)NAN);
    return json;
}

static double mean_s(int64_t us, uint32_t count)
{
    return count ? (double)us / count / SECOND_US : (double)NAN;
}

static void reply_endpoints(struct request *rq, const struct engine_job *job)
{
    struct job_view v;
    engine_job_view(job, &v);
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "endpoints");
    for (uint32_t i = 0; i < v.plan->endpoint_count; i++) {
        const struct endpoint_spec *e = plan_endpoint(v.plan, i);
        const struct endpoint_tally *t = &v.endpoints[i];
        struct endpoint_view live;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", e->id);
        cJSON_AddStringToObject(one, "region", v.plan->table->regions[e->region].id);
        cJSON_AddStringToObject(one, "model", e->model);
        json_add_tally(one, &t->tally);
        cJSON_AddNumberToObject(one, "cold_answers", t->cold_count);
        json_add_real(one, "cold_mean_s", mean_s(t->cold_us, t->cold_count));
        cJSON_AddNumberToObject(one, "warm_answers", t->warm_count);
        json_add_real(one, "warm_mean_s", mean_s(t->warm_us, t->warm_count));
        json_add_real(one, "first_dispatch_at", unix_of(t->first_dispatch_us));
        engine_job_endpoint_view(job, i, &live);
        cJSON_AddItemToObject(one, "live", endpoint_live_json(&live));
        cJSON_AddItemToArray(list, one);
    }
    reply_json(rq->call, 200, json);
}

struct endpoint_rows {
    struct counts counts;
    cJSON *list;
    int64_t questions;
};

static cJSON *find_endpoint(struct endpoint_rows *r, struct str id)
{
    cJSON *one;
    cJSON_ArrayForEach(one, r->list)
        if (str_is(id, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(one, "endpoint"))))
            return one;
    return NULL;
}

static void add_number(cJSON *to, const char *name, double n)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(to, name);
    if (item)
        cJSON_SetNumberHelper(item, item->valuedouble + n);
}

/* endpoint, region, model, executions */
static bool plan_endpoint_row(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct endpoint_rows *r = ctx;
    (void)columns, (void)names;
    static const char *const texts[] = {"endpoint", "region", "model"};
    cJSON *one = cJSON_CreateObject();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *text = mem_strndup(v[i].text.ptr, v[i].text.len);
        cJSON_AddStringToObject(one, texts[i], text);
        free(text);
    }
    struct tally t = {.planned = (uint32_t)v[3].integer};
    t.by_status[STATUS_SUCCEEDED] = t.planned; /* less what did not */
    json_add_tally(one, &t);
    cJSON_AddNumberToObject(one, "cold_answers", 0);
    cJSON_AddNullToObject(one, "cold_mean_s");
    cJSON_AddNumberToObject(one, "warm_answers", 0);
    cJSON_AddNullToObject(one, "warm_mean_s");
    cJSON_AddNullToObject(one, "first_dispatch_at");
    cJSON_AddNullToObject(one, "live");
    cJSON_AddItemToArray(r->list, one);
    return true;
}

/* endpoint, status, count */
static bool count_row(void *ctx, int columns, const char *const *names, const struct value *v)
{
    cJSON *one = find_endpoint(ctx, v[0].text);
    (void)columns, (void)names;
    if (!one)
        return true;
    char *status = mem_strndup(v[1].text.ptr, v[1].text.len);
    add_number(one, status, (double)v[2].integer);
    add_number(one, status_name(STATUS_SUCCEEDED), -(double)v[2].integer);
    free(status);
    return true;
}

/* endpoint, cold, count, mean, first */
static bool time_row(void *ctx, int columns, const char *const *names, const struct value *v)
{
    cJSON *one = find_endpoint(ctx, v[0].text), *first;
    (void)columns, (void)names;
    if (!one)
        return true;
    bool cold = v[1].integer;
    add_number(one, cold ? "cold_answers" : "warm_answers", (double)v[2].integer);
    if (v[3].type == VALUE_REAL)
        cJSON_ReplaceItemInObjectCaseSensitive(one, cold ? "cold_mean_s" : "warm_mean_s",
                                               cJSON_CreateNumber(v[3].real));
    first = cJSON_GetObjectItemCaseSensitive(one, "first_dispatch_at");
    if (v[4].type == VALUE_REAL && (!cJSON_IsNumber(first) || first->valuedouble > v[4].real))
        cJSON_ReplaceItemInObjectCaseSensitive(one, "first_dispatch_at", cJSON_CreateNumber(v[4].real));
    return true;
}

#define JOB(column) "(SELECT " column " FROM jobs WHERE id = ?1)"
static const char cells_sql[] =
    "SELECT endpoint, region, model_id, count(*) * " JOB("planned / width") " FROM job_cells"
    " WHERE job_row = " JOB("row") " GROUP BY endpoint ORDER BY min(position)";
static const char rest_sql[] =
    "SELECT endpoint, status, count(*) FROM executions WHERE job_id = ?1 AND status <> 'succeeded' GROUP BY 1, 2";
/* Summed by cell first, in one walk by key: a join for each attempt would cost five times as much. */
static const char times_sql[] =
    "SELECT c.endpoint, t.cold, sum(t.n), sum(t.s) / sum(t.n), min(t.first) FROM"
    " (SELECT (d.row / 1024 - " JOB("first_row") ") % " JOB("width") " AS cell, d.cold AS cold,"
    "  sum(coalesce(e.became, e.status) = 'succeeded') AS n,"
    "  sum(CASE WHEN coalesce(e.became, e.status) = 'succeeded' THEN e.ended_at - e.dispatched_at ELSE 0 END) AS s,"
    "  min(coalesce(e.dispatched_at, d.recorded_at)) AS first"
    "  FROM dispatches AS d LEFT JOIN endings AS e ON e.row = d.row WHERE d.row >= " JOB("first_row") " * 1024"
    "  AND d.row < " JOB("first_row + planned") " * 1024 GROUP BY 1, 2) AS t"
    " JOIN job_cells AS c ON c.job_row = " JOB("row") " AND c.position = t.cell GROUP BY 1, 2";

static void read_endpoints(struct query *q, struct reader *reader)
{
    cJSON *json = cJSON_CreateObject();
    struct endpoint_rows r = {.list = cJSON_AddArrayToObject(json, "endpoints")};
    char id[128];
    const char *bind[] = {id};
    bool ok = reader_find(reader, q->job_id, id, &q->err) &&
              reader_sql(reader, cells_sql, bind, 1, 0, plan_endpoint_row, &r, &q->err) &&
              reader_sql(reader, rest_sql, bind, 1, 0, count_row, &r, &q->err) &&
              reader_sql(reader, times_sql, bind, 1, 0, time_row, &r, &q->err);
    if (ok) {
        char *text = cJSON_PrintUnformatted(json);
        buf_adds(&q->body, text);
        cJSON_free(text);
    } else {
        query_failed(q, &q->err);
    }
    cJSON_Delete(json);
}

void api_endpoints(struct request *rq)
{
    const struct engine_job *job = engine_of(rq);
    if (job) {
        reply_endpoints(rq, job);
        return;
    }
    struct query *q = query_new(rq, read_endpoints);
    q->job_id = arena_strdup(&q->texts, rq->params[0]);
    query_start(q);
}

/* ---- attempts, for a timeline ---- */

struct attempt_page {
    struct query *query;
    int64_t count, last_row;
    bool more;
};

static bool add_attempt(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct attempt_page *p = ctx;
    if (p->count == p->query->limit) {
        p->more = true;
        return false;
    }
    if (p->count++)
        buf_addc(&p->query->body, ',');
    row_add_json(&p->query->body, columns - 1, names + 1, v + 1);
    p->last_row = v[0].integer;
    return true;
}

static const char timeline_sql[] =
    "SELECT a.row, a.id, a.execution_id, c.endpoint, q.id AS question_id, a.number, a.status, a.class, a.cold, a.hops,"
    " a.queued_at, a.dispatched_at, a.first_byte_at, a.ended_at FROM attempts AS a"
    " JOIN job_cells AS c ON c.job_row = " JOB("row")
    " AND c.position = (a.row / 1024 - " JOB("first_row") ") % " JOB("width")
    " JOIN questions AS q ON q.job_id = ?1"
    " AND q.position = (a.row / 1024 - " JOB("first_row") ") / " JOB("width") " + 1"
    " WHERE a.row > max(CAST(?2 AS INTEGER), " JOB("first_row") " * 1024)"
    " AND a.row < " JOB("first_row + planned") " * 1024 ORDER BY a.row";
static const char attempts_total_sql[] =
    "SELECT count(*) FROM dispatches WHERE row >= " JOB("first_row") " * 1024"
    " AND row < " JOB("first_row + planned") " * 1024";

static void read_attempts(struct query *q, struct reader *reader)
{
    struct attempt_page p = {.query = q};
    char id[128], from[32];
    const char *bind[] = {id, from};
    int64_t total = 0;
    snprintf(from, sizeof from, "%lld", (long long)q->from);
    buf_adds(&q->body, "{\"attempts\":[");
    if (reader_find(reader, q->job_id, id, &q->err) &&
        reader_sql(reader, timeline_sql, bind, 2, 0, add_attempt, &p, &q->err) &&
        reader_sql(reader, attempts_total_sql, bind, 1, 0, take_total, &total, &q->err))
        add_page_end(q, total, p.more ? p.last_row : -1);
    else
        query_failed(q, &q->err);
}

void api_attempts(struct request *rq)
{
    int64_t limit, from;
    if (!read_page(rq, &limit, &from))
        return;
    struct query *q = query_new(rq, read_attempts);
    q->job_id = arena_strdup(&q->texts, rq->params[0]);
    q->limit = limit;
    q->from = from;
    query_start(q);
}
