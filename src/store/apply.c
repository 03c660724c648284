#include "store/apply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "store/schema.h"

enum {
    JOBS_KEPT = 32,
    TEXTS_MAX = 8,                            /* of one record */
    TEXT_MAX_BYTES = 256 * 1024 * 1024,       /* far above any max_body, each bad byte becoming three */
};

enum {
    INSERT_ATTEMPT, EXECUTION_RUNS, HOP_ATTEMPT, HOP_EXECUTION, END_ATTEMPT, END_EXECUTION,
    CLOSE_ROWS, CHANGE_JOB, FIND_JOB, STATEMENT_COUNT
};

/* No statement that runs once per execution may set a column of the unique index. */
static const char *const sql[STATEMENT_COUNT] = {
    [INSERT_ATTEMPT] = "INSERT INTO attempts(row, id, execution_id, number, status, cold, revision, in_flight,"
                       " queued_at, url, request)"
                       " VALUES (?1, ?2 || '.' || ?3, ?2, ?3, 'running', ?4, ?5, ?6, ?7, ?8, ?9)",
    /* The POST may leave as soon as this is durable, so it counts from here on. */
    [EXECUTION_RUNS] =
        "UPDATE executions SET status = 'running', class = NULL, error = NULL, attempts = ?2, posts = posts + 1,"
        " cold = ?3, revision = ?4, queued_at = coalesce(?5, queued_at), started_at = coalesce(?6, started_at),"
        " ended_at = NULL WHERE row = ?1",
    [HOP_ATTEMPT] = "UPDATE attempts SET status = 'waiting_result', result_url = ?2, hops = ?3, http_status = ?4,"
                    " dispatched_at = ?5, first_byte_at = ?6 WHERE row = ?1",
    [HOP_EXECUTION] =
        "UPDATE executions SET status = 'waiting_result', hops ="
        " (SELECT sum(hops) FROM attempts WHERE attempts.row > ?1 * 1024 AND attempts.row < (?1 + 1) * 1024)"
        " WHERE row = ?1",
    [END_ATTEMPT] =
        "UPDATE attempts SET status = ?2, class = ?3, http_status = ?4, hops = ?5, bytes_in = ?6, bytes_out = ?7,"
        " dispatched_at = ?8, first_byte_at = ?9, ended_at = ?10, served_model = ?11, served_region = ?12,"
        " error = ?13, response = ?14 WHERE row = ?1",
    [END_EXECUTION] =
        "UPDATE executions SET status = ?2, class = ?3, attempts = ?4, posts = ?5, hops = ?6, cold = ?7, revision = ?8,"
        " started_at = coalesce(?9, started_at), ended_at = ?10, prompt_tokens = ?11, completion_tokens = ?12,"
        " cost = ?13, error = ?14, answer = ?15 WHERE row = ?1",
    [CLOSE_ROWS] = "UPDATE executions SET status = ?3, class = ?4, error = ?5, ended_at = ?6"
                   " WHERE row >= ?1 AND row < ?2 AND (?7 IS NULL OR endpoint = ?7)"
                   " AND (status = 'pending' OR (NOT ?8 AND status IN ('running', 'waiting_result', 'backing_off')))",
    [CHANGE_JOB] = "UPDATE jobs SET state = ?2, started_at = coalesce(?3, started_at),"
                   " ended_at = CASE WHEN ?5 THEN coalesce(?4, ended_at) END WHERE id = ?1",
    [FIND_JOB] = "SELECT id, first_row, planned FROM jobs WHERE ?1 >= first_row AND ?1 < first_row + planned",
};

struct job_rows {
    int64_t first, end;
    char id[128];
};

struct applier {
    struct db *db;
    struct stmt *statements[STATEMENT_COUNT];
    struct job_rows jobs[JOBS_KEPT];         /* whose rows came lately */
    unsigned job_count, job_next, job_last;
    struct buf texts[TEXTS_MAX];             /* texts that had to be made valid */
    unsigned texts_used;
};

struct applier *applier_new(struct db *db, struct err *err)
{
    struct applier *a = mem_zalloc(sizeof *a);
    a->db = db;
    for (int i = 0; i < TEXTS_MAX; i++)
        buf_init(&a->texts[i], TEXT_MAX_BYTES);
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        a->statements[i] = db_prepare(db, sql[i], err);
        if (!a->statements[i]) {
            applier_free(a);
            return NULL;
        }
    }
    return a;
}

void applier_free(struct applier *a)
{
    if (!a)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        stmt_free(a->statements[i]);
    for (int i = 0; i < TEXTS_MAX; i++)
        buf_done(&a->texts[i]);
    free(a);
}

/* Most bodies are; a look at eight bytes a time costs a twentieth of decoding them. */
static bool is_ascii(struct str text)
{
    size_t i = 0;
    uint64_t bits = 0, word;
    for (; i + sizeof word <= text.len; i += sizeof word) {
        memcpy(&word, text.ptr + i, sizeof word);
        bits |= word;
    }
    for (; i < text.len; i++)
        bits |= (unsigned char)text.ptr[i];
    return (bits & UINT64_C(0x8080808080808080)) == 0;
}

/* What an endpoint sent may be any bytes; a TEXT column holds text. */
static void bind_foreign(struct applier *a, struct stmt *st, int at, struct str text)
{
    if (text.ptr && !is_ascii(text) && !text_is_utf8(text)) {
        assert(a->texts_used < TEXTS_MAX);
        struct buf *valid = &a->texts[a->texts_used++];
        text_add_utf8(valid, text);
        text = buf_str(valid);
    }
    stmt_str(st, at, text);
}

static void bind_foreign_text(struct applier *a, struct stmt *st, int at, const char *text)
{
    bind_foreign(a, st, at, str_from(text));
}

static void bind_class(struct stmt *st, int at, enum failure_class class)
{
    stmt_text(st, at, class == CLASS_NONE ? NULL : class_name(class));
}

static void bind_known(struct stmt *st, int at, int64_t value, bool known)
{
    if (known)
        stmt_int(st, at, value);
    else
        stmt_null(st, at);
}

static bool gone(struct applier *a, const char *what, struct err *err)
{
    return err_set(err, ERR_STORE, "%s is gone (%s): something else has changed the file; check it with canvass verify",
                   what, db_path(a->db));
}

static bool run_on_one_row(struct applier *a, struct stmt *st, const char *what, int64_t row, struct err *err)
{
    if (!stmt_run(st, err))
        return false;
    if (db_changes(a->db) == 1)
        return true;
    char name[64];
    snprintf(name, sizeof name, "%s %lld", what, (long long)row);
    return gone(a, name, err);
}

/* Which job a row belongs to. A program runs few jobs at a time, and mostly the last one asked for. */
static const struct job_rows *find_job(struct applier *a, int64_t row, struct err *err)
{
    for (unsigned i = 0; i < a->job_count; i++) {
        unsigned at = (a->job_last + i) % a->job_count;
        if (row >= a->jobs[at].first && row < a->jobs[at].end) {
            a->job_last = at;
            return &a->jobs[at];
        }
    }
    struct stmt *st = a->statements[FIND_JOB];
    bool found;
    stmt_int(st, 1, row);
    if (!stmt_next(st, &found, err))
        return NULL;
    if (!found) {
        char name[64];
        snprintf(name, sizeof name, "the job of execution row %lld", (long long)row);
        gone(a, name, err);
        return NULL;
    }
    unsigned at = a->job_next++ % JOBS_KEPT;
    a->job_count = a->job_count < JOBS_KEPT ? a->job_count + 1 : JOBS_KEPT;
    a->job_last = at;
    struct job_rows *job = &a->jobs[at];
    snprintf(job->id, sizeof job->id, "%s", stmt_get_text(st, 0));
    job->first = stmt_get_int(st, 1);
    job->end = job->first + stmt_get_int(st, 2);
    stmt_reset(st);
    return job;
}

static int64_t attempt_row(int64_t row, unsigned number)
{
    assert(number > 0 && number < ATTEMPTS_PER_EXECUTION);
    return row * ATTEMPTS_PER_EXECUTION + number;
}

static bool apply_began(struct applier *a, const struct attempt_began *r, double at, struct err *err)
{
    const struct job_rows *job = find_job(a, r->row, err);
    if (!job)
        return false;
    char execution_id[160];
    snprintf(execution_id, sizeof execution_id, "%s.%lld", job->id, (long long)(r->row - job->first + 1));

    struct stmt *st = a->statements[INSERT_ATTEMPT];
    stmt_int(st, 1, attempt_row(r->row, r->number));
    stmt_text(st, 2, execution_id);
    stmt_int(st, 3, r->number);
    stmt_int(st, 4, r->cold);
    stmt_int(st, 5, r->revision);
    stmt_int(st, 6, r->in_flight);
    stmt_real(st, 7, r->queued_at);
    stmt_text(st, 8, r->url);
    bind_foreign(a, st, 9, r->request);
    if (!stmt_run(st, err))
        return false;

    st = a->statements[EXECUTION_RUNS];
    stmt_int(st, 1, r->row);
    stmt_int(st, 2, r->number);
    stmt_int(st, 3, r->cold);
    stmt_int(st, 4, r->revision);
    if (r->first) {
        stmt_real(st, 5, r->queued_at);
        stmt_real(st, 6, at);
    } else {
        stmt_null(st, 5);
        stmt_null(st, 6);
    }
    return run_on_one_row(a, st, "execution row", r->row, err);
}

static bool apply_hopped(struct applier *a, const struct attempt_hopped *r, struct err *err)
{
    struct stmt *st = a->statements[HOP_ATTEMPT];
    stmt_int(st, 1, attempt_row(r->row, r->number));
    bind_foreign_text(a, st, 2, r->result_url);
    stmt_int(st, 3, r->hops);
    bind_known(st, 4, r->http_status, r->http_status != 0);
    stmt_real(st, 5, r->dispatched_at);
    stmt_real(st, 6, r->first_byte_at);
    if (!run_on_one_row(a, st, "attempt row", attempt_row(r->row, r->number), err))
        return false;

    st = a->statements[HOP_EXECUTION];
    stmt_int(st, 1, r->row);
    return run_on_one_row(a, st, "execution row", r->row, err);
}

static bool end_attempt(struct applier *a, const struct attempt_ended *r, struct err *err)
{
    struct stmt *st = a->statements[END_ATTEMPT];
    stmt_int(st, 1, attempt_row(r->row, r->number));
    stmt_text(st, 2, status_name(r->status));
    bind_class(st, 3, r->class);
    bind_known(st, 4, r->http_status, r->http_status != 0);
    stmt_int(st, 5, r->hops);
    stmt_int(st, 6, (int64_t)r->bytes_in);
    stmt_int(st, 7, (int64_t)r->bytes_out);
    stmt_real(st, 8, r->dispatched_at);
    stmt_real(st, 9, r->first_byte_at);
    stmt_real(st, 10, r->ended_at);
    bind_foreign_text(a, st, 11, r->served_model);
    bind_foreign_text(a, st, 12, r->served_region);
    bind_foreign_text(a, st, 13, r->error);
    bind_foreign(a, st, 14, r->response);
    return run_on_one_row(a, st, "attempt row", attempt_row(r->row, r->number), err);
}

static bool apply_ended(struct applier *a, const struct attempt_ended *r, struct err *err)
{
    if (!end_attempt(a, r, err))
        return false;
    const struct execution_now *e = &r->execution;
    struct stmt *st = a->statements[END_EXECUTION];
    stmt_int(st, 1, r->row);
    stmt_text(st, 2, status_name(e->status));
    bind_class(st, 3, e->class);
    stmt_int(st, 4, e->attempts);
    stmt_int(st, 5, e->posts);
    stmt_int(st, 6, e->hops);
    stmt_int(st, 7, e->cold);
    stmt_int(st, 8, e->revision);
    if (r->number == 1)         /* now the first dispatch is known exactly */
        stmt_real(st, 9, r->dispatched_at);
    else
        stmt_null(st, 9);
    stmt_real(st, 10, e->ended_at);
    bind_known(st, 11, e->prompt_tokens, e->prompt_tokens >= 0);
    bind_known(st, 12, e->completion_tokens, e->completion_tokens >= 0);
    stmt_real(st, 13, e->cost);
    bind_foreign_text(a, st, 14, e->error);
    bind_foreign(a, st, 15, e->answer);
    return run_on_one_row(a, st, "execution row", r->row, err);
}

static bool apply_closed(struct applier *a, const struct rows_closed *r, struct err *err)
{
    struct stmt *st = a->statements[CLOSE_ROWS];
    stmt_int(st, 1, r->first_row);
    stmt_int(st, 2, r->first_row + (int64_t)r->count);
    stmt_text(st, 3, status_name(r->status));
    bind_class(st, 4, r->class);
    bind_foreign_text(a, st, 5, r->error);
    stmt_real(st, 6, r->ended_at);
    stmt_text(st, 7, r->endpoint);
    stmt_int(st, 8, r->pending_only);
    return stmt_run(st, err);
}

static bool apply_job(struct applier *a, const struct job_changed *r, struct err *err)
{
    struct stmt *st = a->statements[CHANGE_JOB];
    stmt_text(st, 1, r->job_id);
    stmt_text(st, 2, job_state_name(r->state));
    stmt_real(st, 3, r->started_at);
    stmt_real(st, 4, r->ended_at);
    stmt_int(st, 5, job_state_is_final(r->state));
    if (!stmt_run(st, err))
        return false;
    char name[160];
    snprintf(name, sizeof name, "job %s", r->job_id);
    return db_changes(a->db) == 1 || gone(a, name, err);
}

static bool apply_one(struct applier *a, const struct record *r, struct err *err)
{
    switch (r->kind) {
    case RECORD_BEGAN:
        return apply_began(a, &r->began, r->at, err);
    case RECORD_HOPPED:
        return apply_hopped(a, &r->hopped, err);
    case RECORD_ENDED:
        return apply_ended(a, &r->ended, err);
    case RECORD_CLOSED:
        return apply_closed(a, &r->closed, err);
    case RECORD_JOB:
        return apply_job(a, &r->job, err);
    }
    assert(false); /* a record of no kind */
    return false;
}

bool apply_record(struct applier *a, const struct record *r, struct err *err)
{
    bool ok = apply_one(a, r, err);
    for (unsigned i = 0; i < a->texts_used; i++)
        buf_done(&a->texts[i]);
    a->texts_used = 0;
    return ok;
}
