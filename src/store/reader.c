#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "store/lookup.h"
#include "store/reader_internal.h"
#include "store/schema.h"

enum {
    COLUMNS_MAX = 2000,          /* SQLite's own limit */
    SQL_MAX_BYTES = 4096,
};

struct reader *reader_open(const char *path, struct err *err)
{
    struct db *db = db_open(path, DB_READ, DB_BUSY_MS, err);
    if (!db || !schema_check(db, err)) {
        db_close(db);
        return NULL;
    }
    struct reader *r = mem_zalloc(sizeof *r);
    r->db = db;
    return r;
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    db_close(r->db);
    free(r);
}

bool reader_each(struct stmt *st, reader_row *row, void *ctx, struct err *err)
{
    int columns = stmt_columns(st);
    if (columns > COLUMNS_MAX)
        columns = COLUMNS_MAX;
    const char **names = mem_array(NULL, (size_t)columns + 1, sizeof *names);
    struct value *values = mem_array(NULL, (size_t)columns + 1, sizeof *values);
    bool found, ok;
    bool named = false;
    while ((ok = stmt_next(st, &found, err)) && found) {
        for (int i = 0; i < columns; i++) {
            if (!named) /* after the first step: a statement that was prepared anew has new names */
                names[i] = stmt_column_name(st, i);
            values[i] = stmt_get(st, i);
        }
        named = true;
        if (!row(ctx, columns, names, values))
            break;
    }
    free(names);
    free(values);
    stmt_free(st);
    return ok;
}

bool reader_sql(struct reader *r, const char *sql, const char *const *bind, int bind_count, int64_t timeout_us,
                reader_row *row, void *ctx, struct err *err)
{
    struct stmt *st = db_prepare_untrusted(r->db, sql, err);
    if (!st)
        return false;
    for (int i = 0; i < bind_count; i++)
        stmt_text(st, i + 1, bind[i]);
    db_deadline(r->db, timeout_us > 0 ? mono_now_us() + timeout_us : NEVER_US);
    bool ok = reader_each(st, row, ctx, err);
    db_deadline(r->db, NEVER_US);
    return ok;
}

struct condition {
    const char *value, *column;
};

enum { CONDITIONS = 7 };

static void list_conditions(const struct execution_filter *f, struct condition out[CONDITIONS])
{
    const struct condition all[CONDITIONS] = {
        {f->job_id, "job_id"}, {f->question_id, "question_id"}, {f->model_id, "model_id"}, {f->region, "region"},
        {f->status, "status"}, {f->class, "class"}, {f->execution_id, "id"}};
    memcpy(out, all, sizeof all);
}

void filter_add(const struct execution_filter *f, struct buf *sql)
{
    struct condition all[CONDITIONS];
    const char *word = " WHERE ";
    list_conditions(f, all);
    for (int i = 0; i < CONDITIONS; i++) {
        if (!all[i].value)
            continue;
        buf_addf(sql, "%se.%s = ?%d", word, all[i].column, i + 1);
        word = " AND ";
    }
}

void filter_bind(const struct execution_filter *f, struct stmt *st)
{
    struct condition all[CONDITIONS];
    list_conditions(f, all);
    for (int i = 0; i < CONDITIONS; i++)
        if (all[i].value)
            stmt_text(st, i + 1, all[i].value);
}

/* By what indices have: nothing is sorted, and a plain listing skips whole questions instead of rows. */
static void add_order(struct buf *sql, const struct execution_filter *f)
{
    bool plain = f->job_id && !f->question_id && !f->model_id && !f->region && !f->status && !f->class &&
                 !f->execution_id;
    if (plain)
        buf_adds(sql, " AND e.question > ?9 / (SELECT width FROM jobs WHERE id = ?1)");
    if (f->from)
        buf_adds(sql, " AND e.question > ?10 / (SELECT width FROM jobs WHERE id = ?1)"
                      " AND e.row >= (SELECT first_row FROM jobs WHERE id = ?1) + ?10");
    buf_adds(sql, f->job_id ? " ORDER BY e.question, e.cell LIMIT ?8" : " ORDER BY e.row LIMIT ?8");
    buf_adds(sql, plain ? " OFFSET ?9 % (SELECT width FROM jobs WHERE id = ?1)" : " OFFSET ?9");
}

bool reader_executions(struct reader *r, const struct execution_filter *f, reader_row *row, void *ctx, struct err *err)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX_BYTES);
    buf_adds(&sql,
             "SELECT e.id, e.job_id, e.question_id, e.model_id, e.region, e.sample, e.endpoint, e.status, e.class,"
             " e.error, e.answer, e.attempts, e.posts, e.hops, e.cold, e.revision, e.queued_at, e.started_at,"
             " e.ended_at, e.prompt_tokens, e.completion_tokens, e.cost");
    if (f->with_prompt)
        buf_adds(&sql,
                 ", (SELECT prompt FROM questions AS q WHERE q.job_id = e.job_id AND q.id = e.question_id) AS prompt");
    buf_adds(&sql, " FROM executions AS e");
    filter_add(f, &sql);
    add_order(&sql, f);

    struct stmt *st = db_prepare(r->db, buf_str(&sql).ptr, err);
    buf_done(&sql);
    if (!st)
        return false;
    filter_bind(f, st);
    stmt_int(st, 8, f->limit > 0 ? f->limit : -1);
    stmt_int(st, 9, f->offset);
    if (f->from)
        stmt_int(st, 10, f->from);
    return reader_each(st, row, ctx, err);
}

bool reader_count(struct reader *r, const struct execution_filter *f, int64_t *out, struct err *err)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX_BYTES);
    buf_adds(&sql, "SELECT count(*) FROM executions AS e");
    filter_add(f, &sql);
    struct stmt *st = db_prepare(r->db, buf_str(&sql).ptr, err);
    buf_done(&sql);
    bool row, ok = st;
    if (ok)
        filter_bind(f, st);
    ok = ok && stmt_next(st, &row, err);
    if (ok)
        *out = stmt_get_int(st, 0);
    stmt_free(st);
    return ok;
}

bool reader_find(struct reader *r, const char *job_id, char id[128], struct err *err)
{
    struct job_found job;
    if (!job_find(r->db, job_id, &job, err))
        return false;
    memcpy(id, job.id, sizeof job.id);
    return true;
}
