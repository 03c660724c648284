/* Executions, page by page, and one with its attempts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "host/row.h"
#include "serve/internal.h"

enum { PAGE_MAX = 1000, PAGE_BYTES = 8 << 20 };

struct page {
    struct query *query;
    int64_t count, next;            /* next: the place in the plan to go on from; -1: that was all */
};

static int64_t number_in(struct str id)
{
    const char *dot = memrchr(id.ptr, '.', id.len);
    return dot ? strtoll(dot + 1, NULL, 10) : 0;
}

/* Answers may be large: a page ends early rather than be cut, and the cursor says where. */
static bool add_execution(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct page *p = ctx;
    struct buf *out = &p->query->body;
    if (p->count == p->query->limit || (p->count && out->len > PAGE_BYTES)) {
        p->next = number_in(v[0].text) - 1;
        return false;
    }
    if (p->count++)
        buf_addc(out, ',');
    row_add_json(out, columns, names, v);
    return true;
}

static void read_executions(struct query *q, struct reader *reader)
{
    struct page p = {.query = q, .next = -1};
    struct execution_filter f = q->filter;
    char id[128];
    int64_t total;
    f.limit = q->limit + 1;
    f.from = q->from;
    buf_adds(&q->body, "{\"executions\":[");
    if (!reader_find(reader, f.job_id, id, &q->err) || !reader_executions(reader, &f, add_execution, &p, &q->err) ||
        !reader_count(reader, &f, &total, &q->err)) {
        query_failed(q, &q->err);
        return;
    }
    buf_addf(&q->body, "],\"total\":%lld,\"cursor\":", (long long)total);
    buf_addf(&q->body, p.next < 0 ? "null}" : "\"%lld\"}", (long long)p.next);
}

static const char *param(struct query *q, struct request *rq, const char *name)
{
    const char *text = http_call_query(rq->call, name);
    return text ? arena_strdup(&q->texts, text) : NULL;
}

/* By any name the table knows it by; one that it does not know may be of an older table. */
static const char *region_param(struct query *q, struct request *rq)
{
    const struct region_table *t = session_table(rq->daemon->session);
    const char *name = param(q, rq, "region");
    int region = name ? region_table_region(t, name) : NO_INDEX;
    return region == NO_INDEX ? name : arena_strdup(&q->texts, t->regions[region].id);
}

void api_executions(struct request *rq)
{
    int64_t limit = 100, from = 0;
    enum status status;
    enum failure_class class;
    const char *status_text = http_call_query(rq->call, "status"), *class_text = http_call_query(rq->call, "class");
    if (!query_integer(rq, "limit", 1, PAGE_MAX, &limit) || !query_integer(rq, "cursor", 0, INT32_MAX, &from))
        return;
    if (status_text && !status_parse(status_text, &status)) {
        reply_problem(rq->call, 400, "?status=%.40s: an execution is pending, running, waiting_result, backing_off, "
                      "succeeded, failed, cancelled or skipped", status_text);
        return;
    }
    if (class_text && !class_parse(class_text, &class)) {
        reply_problem(rq->call, 400, "?class=%.40s: there is no such class of failure", class_text);
        return;
    }
    struct query *q = query_new(rq, read_executions);
    q->filter = (struct execution_filter){
        .job_id = arena_strdup(&q->texts, rq->params[0]), .question_id = param(q, rq, "question_id"),
        .model_id = param(q, rq, "model_id"), .region = region_param(q, rq), .status = param(q, rq, "status"),
        .class = param(q, rq, "class")};
    q->limit = limit;
    q->from = from;
    query_start(q);
}

/* ---- one ---- */

struct one {
    struct query *query;
    int64_t count;
};

static bool add_row(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct one *o = ctx;
    if (o->count++)
        buf_addc(&o->query->body, ',');
    row_add_json(&o->query->body, columns, names, v);
    return !o->query->body.full;
}

/* As members of the object that is open: the execution without its closing brace goes first. */
static bool add_list(struct query *q, struct reader *reader, const char *name, const char *sql, const char *const *bind)
{
    struct one o = {.query = q};
    buf_addf(&q->body, ",\"%s\":[", name);
    return reader_sql(reader, sql, bind, 2, 0, add_row, &o, &q->err) && buf_addc(&q->body, ']');
}

/* By row, which is an index; by the text of the id would be a walk over all. */
#define ATTEMPT_ROWS(column) \
    column " > ((SELECT first_row FROM jobs WHERE id = ?1) + ?2 - 1) * 1024 AND " \
    column " < ((SELECT first_row FROM jobs WHERE id = ?1) + ?2) * 1024"

static const char attempts_sql[] =
    "SELECT id, number, url, status, class, error, http_status, hops, cold, revision, in_flight, bytes_in, bytes_out,"
    " queued_at, dispatched_at, first_byte_at, ended_at, result_url, served_model, served_region, request, response"
    " FROM attempts WHERE " ATTEMPT_ROWS("row") " ORDER BY row LIMIT 1000";
static const char hops_sql[] =
    "SELECT attempt % 1024 AS attempt, number, http_status, dispatched_at, first_byte_at, result_url FROM hops WHERE "
    ATTEMPT_ROWS("attempt") " ORDER BY attempt, number LIMIT 1000";

static void read_execution(struct query *q, struct reader *reader)
{
    struct one o = {.query = q};
    char id[128], number[32];
    const char *bind[] = {q->job_id, number};
    struct execution_filter f = {.job_id = q->job_id, .from = q->from, .limit = 1, .with_prompt = true};
    snprintf(number, sizeof number, "%lld", (long long)q->from + 1);
    bool ok = reader_find(reader, q->job_id, id, &q->err) &&
              reader_executions(reader, &f, add_row, &o, &q->err);
    if (ok && !o.count)
        ok = err_set(&q->err, ERR_USAGE, "job %s has no execution %s", q->job_id, number);
    if (!ok) {
        query_failed(q, &q->err);
        return;
    }
    q->body.len--;
    if (!add_list(q, reader, "attempts_made", attempts_sql, bind) || !add_list(q, reader, "hops_made", hops_sql, bind))
        query_failed(q, &q->err);
    buf_addc(&q->body, '}');
}

void api_execution(struct request *rq)
{
    const char *id = rq->params[0], *dot = strrchr(id, '.');
    int64_t number = number_in(str_from(id));
    if (number < 1) {
        reply_problem(rq->call, 404, "\"%.80s\" is not the id of an execution: those are JOB.NUMBER", id);
        return;
    }
    struct query *q = query_new(rq, read_execution);
    q->from = number - 1;
    q->job_id = arena_strndup(&q->texts, id, (size_t)(dot - id));
    query_start(q);
}
