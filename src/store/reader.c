#include "store/store.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/timeutil.h"
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

static void add_conditions(struct buf *sql, const struct execution_filter *f)
{
    const struct {
        const char *value, *condition;
    } all[] = {{f->job_id, "e.job_id = ?1"}, {f->question_id, "e.question_id = ?2"}, {f->model_id, "e.model_id = ?3"},
               {f->region, "e.region = ?4"}, {f->status, "e.status = ?5"}, {f->class, "e.class = ?6"}};
    const char *word = " WHERE ";
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!all[i].value)
            continue;
        buf_addf(sql, "%s%s", word, all[i].condition);
        word = " AND ";
    }
}

/* By what indices have: nothing is sorted, and a plain listing skips whole questions instead of rows. */
static void add_order(struct buf *sql, const struct execution_filter *f)
{
    bool plain = f->job_id && !f->question_id && !f->model_id && !f->region && !f->status && !f->class;
    if (plain)
        buf_adds(sql, " AND e.question > ?8 / (SELECT width FROM jobs WHERE id = ?1)");
    buf_adds(sql, f->job_id ? " ORDER BY e.question, e.cell LIMIT ?7" : " ORDER BY e.row LIMIT ?7");
    buf_adds(sql, plain ? " OFFSET ?8 % (SELECT width FROM jobs WHERE id = ?1)" : " OFFSET ?8");
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
    add_conditions(&sql, f);
    add_order(&sql, f);

    struct stmt *st = db_prepare(r->db, buf_str(&sql).ptr, err);
    buf_done(&sql);
    if (!st)
        return false;
    const char *const values[] = {f->job_id, f->question_id, f->model_id, f->region, f->status, f->class};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (values[i])
            stmt_text(st, (int)i + 1, values[i]);
    stmt_int(st, 7, f->limit > 0 ? f->limit : -1);
    stmt_int(st, 8, f->offset);
    return reader_each(st, row, ctx, err);
}
