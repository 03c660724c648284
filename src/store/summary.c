#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/lookup.h"
#include "store/owner.h"
#include "store/reader_internal.h"
#include "store/schema.h"

static const char job_sql[] =
    "SELECT id, name, policy, coalesce(owner, ''), coalesce(submitted_by, ''), state, created_at, started_at, ended_at,"
    " timeout_s, revision, first_row, planned, (SELECT count(*) FROM questions WHERE job_id = jobs.id),"
    " owner_pid, owner_start, owner_boot, width"
    " FROM jobs WHERE id = ?1";
/* What succeeded stays so, and is counted with the attempts, in one walk by key; the view is asked for the rest, if
 * any. Grouped here: SQLite would sort all rows first. The hops of an attempt know when it was dispatched. */
static const char rest_sql[] =
    "SELECT status, posts, hops, cost FROM executions WHERE job_id = ?1 AND status <> 'succeeded'";
static const char attempts_sql[] =
    "SELECT d.row, in_flight, coalesce(e.dispatched_at, (SELECT dispatched_at FROM hops WHERE attempt = d.row)),"
    " ended_at, coalesce(became, status) = 'succeeded', posts, all_hops, cost, cold, e.dispatched_at"
    " FROM dispatches AS d LEFT JOIN endings AS e ON e.row = d.row WHERE d.row >= ?1 AND d.row < ?2 ORDER BY d.row";

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

/* A number that nobody wrote may be any: verify tells which it is. */
static void add_to(int64_t *sum, int64_t n)
{
    *sum = (int64_t)((uint64_t)*sum + (uint64_t)n);
}

static bool read_owner_gone(struct stmt *st, enum job_state state)
{
    struct owner owner = {.pid = stmt_get_int(st, 14), .start = stmt_get_int(st, 15)};
    copy_text(owner.boot, sizeof owner.boot, stmt_get_text(st, 16));
    return !job_state_is_final(state) && !owner_alive(&owner);
}

struct job_extent {
    int64_t first_row, planned, questions;
};

static bool read_job(struct db *db, const char *job_id, struct job_summary *out, struct job_extent *extent,
                     struct err *err)
{
    struct stmt *st = db_prepare(db, job_sql, err);
    if (!st)
        return false;
    bool row;
    stmt_text(st, 1, job_id);
    bool ok = stmt_next(st, &row, err);
    if (ok && !row)
        ok = err_set(err, ERR_USAGE, "job %s is gone (%s): something else has changed the file", job_id, db_path(db));
    if (ok) {
        copy_text(out->id, sizeof out->id, stmt_get_text(st, 0));
        copy_text(out->name, sizeof out->name, stmt_get_text(st, 1));
        copy_text(out->policy, sizeof out->policy, stmt_get_text(st, 2));
        copy_text(out->owner, sizeof out->owner, stmt_get_text(st, 3));
        copy_text(out->submitted_by, sizeof out->submitted_by, stmt_get_text(st, 4));
        if (!job_state_parse(stmt_get_text(st, 5), &out->state))
            ok = err_set(err, ERR_STORE, "job %s has a state this program does not know (%s): use a newer program",
                         job_id, db_path(db));
        else
            ok = job_rows_possible(db, job_id, stmt_get_int(st, 11), stmt_get_int(st, 12), stmt_get_int(st, 17), err);
        if (ok)
            out->owner_gone = read_owner_gone(st, out->state);
        out->created_at = stmt_get_real(st, 6);
        out->started_at = stmt_get_real(st, 7);
        out->ended_at = stmt_get_real(st, 8);
        out->timeout_s = stmt_get_real(st, 9);
        out->revision = stmt_get_int(st, 10);
        out->planned = stmt_get_int(st, 12);
        *extent = (struct job_extent){stmt_get_int(st, 11), stmt_get_int(st, 12), stmt_get_int(st, 13)};
    }
    stmt_free(st);
    return ok;
}

/* Columns: posts, hops, cost. */
static void add_execution(struct job_summary *out, enum status status, struct stmt *st, int column)
{
    double cost = stmt_get_real(st, column + 2);
    out->by_status[status]++;
    add_to(&out->posts, stmt_get_int(st, column));
    add_to(&out->hops, stmt_get_int(st, column + 1));
    if (!isnan(cost))
        out->cost = isnan(out->cost) ? cost : out->cost + cost;
}

static void add_answer(struct job_summary *out, bool cold, double took_s)
{
    if (!isnan(took_s)) {
        out->answers[cold]++;
        out->answers_s[cold] += took_s;
    }
}

static bool count_rest(struct db *db, struct job_summary *out, struct err *err)
{
    if (out->by_status[STATUS_SUCCEEDED] == out->planned)
        return true;
    struct stmt *st = db_prepare(db, rest_sql, err);
    if (!st)
        return false;
    stmt_text(st, 1, out->id);
    bool row, ok;
    while ((ok = stmt_next(st, &row, err)) && row) {
        enum status status;
        if (!status_parse(stmt_get_text(st, 0), &status)) {
            ok = err_set(err, ERR_STORE,
                         "an execution of job %s has a status this program does not know (%s): use a newer "
                         "program",
                         out->id, db_path(db));
            break;
        }
        add_execution(out, status, st, 1);
    }
    stmt_free(st);
    return ok;
}

/* From a question's last end to the next question's first dispatch. A plan runs question by question, so the question
 * of an attempt follows from its row. */
struct gap {
    int64_t question;       /* of the attempts being read; -1: none yet */
    double first, last;     /* of that question: dispatched, ended */
    double before_last;     /* ended, of the question before it that had attempts */
    double largest;
};

static void close_question(struct gap *g)
{
    double gap = g->first - g->before_last;
    if (gap >= 0 && !(g->largest >= gap)) /* NAN compares false */
        g->largest = gap;
    g->before_last = g->last;
}

static void add_attempt(struct gap *g, int64_t question, double dispatched_at, double ended_at)
{
    if (question != g->question) {
        if (g->question >= 0)
            close_question(g);
        g->question = question;
        g->first = g->last = (double)NAN;
    }
    if (!isnan(dispatched_at) && !(g->first <= dispatched_at))
        g->first = dispatched_at;
    if (!isnan(ended_at) && !(g->last >= ended_at))
        g->last = ended_at;
}

static bool count_warm_ups(struct db *db, struct job_summary *out, struct err *err)
{
    struct stmt *st = db_prepare(db,
                                 "SELECT count(*), total(status = 'succeeded'), total(posts), total(hops), sum(cost),"
                                     " coalesce(max(in_flight), 0) FROM warmups WHERE job_id = ?1", err);
    if (!st)
        return false;
    bool row;
    stmt_text(st, 1, out->id);
    bool ok = stmt_next(st, &row, err);
    if (ok) {
        out->warm_ups = stmt_get_int(st, 0);
        out->warmed = stmt_get_int(st, 1);
        out->warm_posts = stmt_get_int(st, 2);
        out->warm_hops = stmt_get_int(st, 3);
        out->warm_cost = stmt_get_real(st, 4);
        if (stmt_get_int(st, 5) > out->max_in_flight)
            out->max_in_flight = stmt_get_int(st, 5);
        if (!isnan(out->warm_cost))
            out->cost = isnan(out->cost) ? out->warm_cost : out->cost + out->warm_cost;
    }
    stmt_free(st);
    return ok;
}

static bool read_attempts(struct db *db, const struct job_extent *extent, struct job_summary *out, struct err *err)
{
    struct stmt *st = db_prepare(db, attempts_sql, err);
    if (!st)
        return false;
    int64_t per_question = extent->questions > 0 ? extent->planned / extent->questions : 0;
    struct gap gap = {.question = -1, .before_last = (double)NAN, .largest = (double)NAN};
    stmt_int(st, 1, extent->first_row * ATTEMPTS_PER_EXECUTION);
    stmt_int(st, 2, (extent->first_row + extent->planned) * ATTEMPTS_PER_EXECUTION);
    bool row, ok;
    while ((ok = stmt_next(st, &row, err)) && row) {
        int64_t number = stmt_get_int(st, 0) / ATTEMPTS_PER_EXECUTION - extent->first_row;
        int64_t in_flight = stmt_get_int(st, 1);
        out->attempts++;
        if (in_flight > out->max_in_flight)
            out->max_in_flight = in_flight;
        if (stmt_get_int(st, 4)) {
            add_execution(out, STATUS_SUCCEEDED, st, 5);
            add_answer(out, stmt_get_int(st, 8), stmt_get_real(st, 3) - stmt_get_real(st, 9));
        }
        add_attempt(&gap, per_question > 0 ? number / per_question : 0, stmt_get_real(st, 2), stmt_get_real(st, 3));
    }
    stmt_free(st);
    if (gap.question >= 0)
        close_question(&gap);
    out->max_batch_gap_s = gap.largest;
    return ok;
}

bool job_count(struct db *db, const char *job_id, struct job_summary *out, struct err *err)
{
    struct job_summary summary = {.cost = (double)NAN, .max_batch_gap_s = (double)NAN};
    struct job_extent extent = {0};
    bool ok = read_job(db, job_id, &summary, &extent, err) && read_attempts(db, &extent, &summary, err) &&
              count_rest(db, &summary, err) && count_warm_ups(db, &summary, err);
    if (ok)
        *out = summary;
    return ok;
}

/* One transaction for all three questions, so that the counts belong together while the job runs on. */
static bool summarize(struct db *db, const char *job_id, struct job_summary *out, struct err *err)
{
    if (!db_exec(db, "BEGIN", err))
        return false;
    bool ok = job_count(db, job_id, out, err);
    db_rollback(db);
    return ok;
}

bool reader_job(struct reader *r, const char *job_id, struct job_summary *out, struct err *err)
{
    struct job_found found;
    return job_find(r->db, job_id, &found, err) && summarize(r->db, found.id, out, err);
}

static size_t list_ids(struct db *db, char ***ids, bool *ok, struct err *err)
{
    size_t count = 0, cap = 0;
    bool row = false;
    *ids = NULL;
    struct stmt *st = db_prepare(db, "SELECT id FROM jobs ORDER BY row DESC", err);
    *ok = st != NULL;
    while (*ok && (*ok = stmt_next(st, &row, err)) && row) {
        if (count == cap) {
            cap = cap ? cap * 2 : 64;
            *ids = mem_array(*ids, cap, sizeof **ids);
        }
        (*ids)[count++] = mem_strdup(stmt_get_text(st, 0));
    }
    stmt_free(st);
    return count;
}

bool reader_jobs(struct reader *r, bool (*each)(void *ctx, const struct job_summary *job), void *ctx, struct err *err)
{
    char **ids;
    bool ok, more = true;
    size_t count = list_ids(r->db, &ids, &ok, err);
    for (size_t i = 0; i < count; i++) {
        struct job_summary summary;
        if (ok && more)
            ok = summarize(r->db, ids[i], &summary, err);
        if (ok && more)
            more = each(ctx, &summary);
        free(ids[i]);
    }
    free(ids);
    return ok;
}
