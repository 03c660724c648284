#include "store/apply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/lookup.h"
#include "store/schema.h"

enum {
    JOBS_KEPT = 32,
    TEXTS_MAX = 8,                            /* of one record */
    TEXT_MAX_BYTES = 256 * 1024 * 1024,       /* far above any max_body, each bad byte becoming three */
};

enum {
    DISPATCH, HOP, END, ADD_CLOSING, CLOSE_ROWS, CHANGE_JOB, FIND_JOB, FIND_URLS, STATEMENT_COUNT
};

static const char *const sql[STATEMENT_COUNT] = {
    [DISPATCH] = "INSERT INTO dispatches(row, job_row, cold, revision, in_flight, queued_at, recorded_at, url, request)"
                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [HOP] = "INSERT OR REPLACE INTO hops(attempt, number, http_status, dispatched_at, first_byte_at, result_url)"
            " SELECT row, ?2, ?3, ?4, ?5, ?6 FROM dispatches WHERE row = ?1",
    /* An INSERT ... SELECT keeps a journal to undo itself; so a missing dispatch makes `posts` NULL, which fails. */
    [END] = "INSERT INTO endings(row, status, class, http_status, hops, bytes_in, bytes_out, dispatched_at,"
            " first_byte_at, ended_at, posts, all_hops, prompt_tokens, completion_tokens, cost, became, became_class,"
            " became_error, served_model, served_region, error, answer, response)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, (SELECT ?11 FROM dispatches WHERE row = ?1), ?12, ?13,"
            " ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
    [ADD_CLOSING] = "INSERT INTO closings(status, class, error, ended_at) VALUES (?1, ?2, ?3, ?4) RETURNING id",
    [CLOSE_ROWS] = "INSERT OR REPLACE INTO closed(row, closing) SELECT row * 1024 + attempts, ?1 FROM executions"
                   " WHERE job_id = ?2 AND question >= ?3 AND question <= ?4 AND row >= ?5 AND row < ?6"
                   " AND (?7 IS NULL OR endpoint = ?7)"
                   " AND (status IN ('pending', 'backing_off') OR (NOT ?8 AND status IN "
                   "('running', 'waiting_result')))",
    [CHANGE_JOB] = "UPDATE jobs SET state = ?2, started_at = coalesce(started_at, ?3),"
                   " ended_at = CASE WHEN ?5 THEN coalesce(?4, ended_at) END WHERE id = ?1",
    [FIND_JOB] = "SELECT row, id, first_row, planned, width FROM jobs"
                 " WHERE ?1 >= first_row AND ?1 < first_row + planned + width",
    [FIND_URLS] = "SELECT url FROM job_cells WHERE job_row = ?1 ORDER BY position",
};

struct job_rows {
    int64_t row, first, end;
    int64_t width;
    struct arena texts;
    const char **urls;                       /* of its cells */
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

static void forget_job(struct job_rows *job)
{
    arena_done(&job->texts);
    free(job->urls);
}

void applier_free(struct applier *a)
{
    if (!a)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        stmt_free(a->statements[i]);
    for (int i = 0; i < TEXTS_MAX; i++)
        buf_done(&a->texts[i]);
    for (unsigned i = 0; i < a->job_count; i++)
        forget_job(&a->jobs[i]);
    free(a);
}

/* What an endpoint sent may be any bytes; a TEXT column holds text. */
static void bind_foreign(struct applier *a, struct stmt *st, int at, struct str text)
{
    if (text.ptr && !text_is_ascii(text) && !text_is_utf8(text)) {
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

/* A cell's URL follows from the job, so that a dispatch holds one only where another was asked. */
static bool read_urls(struct applier *a, struct job_rows *job, struct err *err)
{
    struct stmt *st = a->statements[FIND_URLS];
    bool found, ok;
    arena_init(&job->texts);
    job->urls = mem_array(NULL, (size_t)job->width, sizeof *job->urls);
    stmt_int(st, 1, job->row);
    for (int64_t i = 0; i < job->width; i++)
        job->urls[i] = "";
    for (int64_t i = 0; (ok = stmt_next(st, &found, err)) && found && i < job->width; i++) {
        const char *url = stmt_get_text(st, 0);
        bool repeated = i > 0 && strcmp(url, job->urls[i - 1]) == 0;
        job->urls[i] = repeated ? job->urls[i - 1] : arena_strdup(&job->texts, url);
    }
    stmt_reset(st);
    if (!ok)
        forget_job(job);
    return ok;
}

static bool read_job(struct applier *a, int64_t row, struct job_rows *job, struct err *err)
{
    struct stmt *st = a->statements[FIND_JOB];
    bool found;
    stmt_int(st, 1, row);
    if (!stmt_next(st, &found, err))
        return false;
    if (!found) {
        char name[64];
        snprintf(name, sizeof name, "the job of execution row %lld", (long long)row);
        return gone(a, name, err);
    }
    *job = (struct job_rows){.row = stmt_get_int(st, 0), .first = stmt_get_int(st, 2)};
    snprintf(job->id, sizeof job->id, "%s", stmt_get_text(st, 1));
    int64_t planned = stmt_get_int(st, 3);
    job->width = stmt_get_int(st, 4);
    stmt_reset(st);
    if (!job_rows_possible(a->db, job->id, job->first, planned, job->width, err))
        return false;
    job->end = job->first + planned + job->width;
    return read_urls(a, job, err);
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
    struct job_rows job;
    if (!read_job(a, row, &job, err))
        return NULL;
    unsigned at = a->job_next++ % JOBS_KEPT;
    if (a->job_count == JOBS_KEPT)
        forget_job(&a->jobs[at]);
    else
        a->job_count++;
    a->job_last = at;
    a->jobs[at] = job;
    return &a->jobs[at];
}

static int64_t attempt_row(int64_t row, unsigned number)
{
    assert(number > 0 && number < ATTEMPTS_PER_EXECUTION);
    return row * ATTEMPTS_PER_EXECUTION + number;
}

/* The POST may leave as soon as this is durable, so it counts from here on. */
static bool apply_began(struct applier *a, const struct attempt_began *r, double at, struct err *err)
{
    const struct job_rows *job = find_job(a, r->row, err);
    if (!job)
        return false;
    const char *usual = job->urls[(r->row - job->first) % job->width];
    struct stmt *st = a->statements[DISPATCH];
    stmt_int(st, 1, attempt_row(r->row, r->number));
    stmt_int(st, 2, job->row);
    stmt_int(st, 3, r->cold);
    stmt_int(st, 4, r->revision);
    stmt_int(st, 5, r->in_flight);
    stmt_real(st, 6, r->queued_at);
    stmt_real(st, 7, at);
    stmt_text(st, 8, r->url && strcmp(r->url, usual) == 0 ? NULL : r->url);
    bind_foreign(a, st, 9, r->request);
    return stmt_run(st, err);
}

static bool apply_hopped(struct applier *a, const struct attempt_hopped *r, struct err *err)
{
    int64_t row = attempt_row(r->row, r->number);
    struct stmt *st = a->statements[HOP];
    stmt_int(st, 1, row);
    stmt_int(st, 2, r->hops);
    bind_known(st, 3, r->http_status, r->http_status != 0);
    stmt_real(st, 4, r->dispatched_at);
    stmt_real(st, 5, r->first_byte_at);
    bind_foreign_text(a, st, 6, r->result_url);
    if (!stmt_run(st, err))
        return false;
    char name[64];
    snprintf(name, sizeof name, "attempt row %lld", (long long)row);
    return db_changes(a->db) == 1 || gone(a, name, err);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Mostly an execution becomes what its attempt is: then it is written once. */
static void bind_became(struct applier *a, struct stmt *st, const struct attempt_ended *r)
{
    const struct execution_now *e = &r->execution;
    assert(status_is_final(e->status) || e->status == STATUS_BACKING_OFF);
    bool same = e->status == r->status && e->class == r->class && same_text(e->error, r->error);
    stmt_text(st, 16, same ? NULL : status_name(e->status));
    bind_class(st, 17, same ? CLASS_NONE : e->class);
    bind_foreign_text(a, st, 18, same ? NULL : e->error);
}

static bool apply_ended(struct applier *a, const struct attempt_ended *r, struct err *err)
{
    const struct execution_now *e = &r->execution;
    struct stmt *st = a->statements[END];
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
    stmt_int(st, 11, e->posts);
    stmt_int(st, 12, e->hops);
    bind_known(st, 13, e->prompt_tokens, e->prompt_tokens >= 0);
    bind_known(st, 14, e->completion_tokens, e->completion_tokens >= 0);
    stmt_real(st, 15, e->cost);
    bind_became(a, st, r);
    bind_foreign_text(a, st, 19, r->served_model);
    bind_foreign_text(a, st, 20, r->served_region);
    bind_foreign_text(a, st, 21, r->error);
    bind_foreign(a, st, 22, e->answer);
    bind_foreign(a, st, 23, r->response);
    return stmt_run(st, err);
}

static bool add_closing(struct applier *a, const struct rows_closed *r, int64_t *id, struct err *err)
{
    struct stmt *st = a->statements[ADD_CLOSING];
    bool row;
    stmt_text(st, 1, status_name(r->status));
    bind_class(st, 2, r->class);
    bind_foreign_text(a, st, 3, r->error);
    stmt_real(st, 4, r->ended_at);
    if (!stmt_next(st, &row, err))
        return false;
    *id = stmt_get_int(st, 0);
    stmt_reset(st);
    return true;
}

static bool apply_closed(struct applier *a, const struct rows_closed *r, struct err *err)
{
    int64_t closing;
    const struct job_rows *job = find_job(a, r->first_row, err);
    if (!job || !add_closing(a, r, &closing, err))
        return false;
    int64_t end = r->first_row + (int64_t)r->count;
    struct stmt *st = a->statements[CLOSE_ROWS];
    stmt_int(st, 1, closing);
    stmt_text(st, 2, job->id);
    stmt_int(st, 3, (r->first_row - job->first) / job->width + 1);
    stmt_int(st, 4, (end - 1 - job->first) / job->width + 1);
    stmt_int(st, 5, r->first_row);
    stmt_int(st, 6, end);
    stmt_text(st, 7, r->endpoint);
    stmt_int(st, 8, r->waiting_only);
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
