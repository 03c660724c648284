#include "store/take.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "store/accept.h"
#include "store/lookup.h"
#include "store/owner.h"
#include "store/reader_internal.h"
#include "store/schema.h"

enum { SQL_BYTES = 4096 };

struct past {
    struct taken taken;
    struct arena texts;
    uint8_t *status;
    struct begun *begun;
    size_t begun_cap;
};

void taken_free(struct taken *taken)
{
    if (!taken)
        return;
    struct past *p = container_of(taken, struct past, taken);
    arena_done(&p->texts);
    free(p->status);
    free(p->begun);
    free(p);
}

/* ---- may it be taken? ---- */

static bool refuse_owned(const struct job_found *job, const char *path, struct err *err)
{
    return err_set(err, ERR_USAGE, "process %lld runs job %s (%s): wait for it, or end it with canvass cancel %s",
                   (long long)job->owner.pid, job->id, path, job->id);
}

static bool check(struct db *db, const struct take *take, const struct job_found *job, struct err *err)
{
    bool open = !job_state_is_final(job->state);
    if (open && owner_alive(&job->owner))
        return refuse_owned(job, db_path(db), err);
    if (open && take->failed)
        return err_set(err, ERR_USAGE, "job %s was interrupted and has not ended (%s): go on with it first, with "
                       "canvass resume %s", job->id, db_path(db), job->id);
    if ((uint64_t)job->planned != take->plan->count)
        return err_set(err, ERR_STORE, "job %s has %lld executions, and what is stored of it plans %llu (%s): check it "
                       "with canvass verify %s", job->id, (long long)job->planned,
                       (unsigned long long)take->plan->count, db_path(db), job->id);
    return true;
}

/* ---- opening ---- */

static bool run_for(struct db *db, const char *sql, int64_t value, struct err *err)
{
    struct stmt *st = db_prepare(db, sql, err);
    if (!st)
        return false;
    stmt_int(st, 1, value);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

/* The last attempts of what shall be asked again, into temp.opened. An attempt's number has an end. */
static bool list_opened(struct db *db, const struct take *take, const char *job_id, int64_t *count, struct err *err)
{
    struct execution_filter filter = take->failed ? *take->failed : (struct execution_filter){0};
    struct buf sql;
    filter.job_id = job_id;
    filter.status = take->failed ? status_name(STATUS_FAILED) : NULL;
    buf_init(&sql, SQL_BYTES);
    buf_adds(&sql, "INSERT INTO temp.opened SELECT e.row * 1024 + e.attempts FROM executions AS e");
    filter_add(&filter, &sql);
    buf_addf(&sql, " AND e.attempts < %d", ATTEMPTS_PER_EXECUTION - 24);
    if (!take->failed)
        buf_adds(&sql, " AND e.status IN ('cancelled', 'skipped')");
    struct stmt *st = db_prepare(db, buf_str(&sql).ptr, err);
    buf_done(&sql);
    if (!st)
        return false;
    filter_bind(&filter, st);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    *count = ok ? db_changes(db) : 0;
    return ok;
}

/* An attempt whose result URL is as good as ever goes on: its end was none. All others with an end are followed by
 * another attempt, so a closing says that they wait for one; without an attempt there is nothing to say. */
static bool open_again(struct db *db, const struct take *take, const char *job_id, int64_t *count, struct err *err)
{
    static const char goes_on[] =
        "DELETE FROM endings WHERE row IN temp.opened AND (status = 'cancelled' OR class = 'timeout')"
        " AND EXISTS (SELECT 1 FROM hops WHERE attempt = endings.row)";
    int64_t closing;
    return db_exec(db, "CREATE TEMP TABLE opened(row INTEGER PRIMARY KEY)", err) &&
           list_opened(db, take, job_id, count, err) &&
           db_exec(db, goes_on, err) &&
           db_exec(db, "DELETE FROM closed WHERE row IN temp.opened;"
                       "INSERT INTO closings(status) VALUES ('pending')", err) &&
           db_int(db, "SELECT max(id) FROM closings", &closing, err) &&
           run_for(db, "INSERT INTO closed(row, closing) SELECT row, ?1 FROM temp.opened JOIN endings USING (row)",
                   closing, err) &&
           db_exec(db, "DROP TABLE temp.opened", err);
}

/* ---- whose it is ---- */

static bool log_taking(struct db *db, const struct take *take, const struct job_found *job, int64_t opened,
                       int64_t revision, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO control_log(at, author, action, target, before, after)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)", err);
    if (!st)
        return false;
    char before[64], after[96];
    snprintf(before, sizeof before, "{\"state\":\"%s\"}", job_state_name(job->state));
    snprintf(after, sizeof after, "{\"state\":\"running\",\"opened\":%lld,\"revision\":%lld}", (long long)opened,
             (long long)revision);
    stmt_real(st, 1, unix_now_s());
    stmt_text(st, 2, take->author);
    stmt_text(st, 3, take->failed ? "retry" : "resume");
    stmt_text(st, 4, job->id);
    stmt_text(st, 5, before);
    stmt_text(st, 6, after);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

static bool own(struct db *db, const struct job_found *job, int64_t revision, struct err *err)
{
    struct stmt *st = db_prepare(db,
        "UPDATE jobs SET state = 'running', ended_at = NULL, revision = ?2, owner = ?3, owner_pid = ?4,"
        " owner_start = ?5, owner_boot = ?6, control_from = (SELECT max(id) FROM control_log) WHERE id = ?1", err);
    if (!st)
        return false;
    struct owner self;
    char text[128];
    owner_self(&self);
    owner_text(&self, text);
    stmt_text(st, 1, job->id);
    stmt_int(st, 2, revision);
    stmt_text(st, 3, text);
    stmt_int(st, 4, self.pid);
    stmt_int(st, 5, self.start);
    stmt_text(st, 6, self.boot);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

static bool choose_revision(struct db *db, const struct take *take, const char *job_id, int64_t *revision,
                            struct err *err)
{
    char reason[160];
    *revision = take->revision ? take->revision : take->plan->table->revision;
    snprintf(reason, sizeof reason, "%s %s", take->failed ? "retry of" : "resume of", job_id);
    return *revision || record_revision(db, take->plan->table, take->author, reason, revision, err);
}

/* ---- how far each has come ---- */

struct questions {
    struct stmt *executions, *forgiven, *hop;
};

static const char executions_sql[] =
    "SELECT row, status, attempts, posts, hops, cost FROM executions WHERE job_id = ?1";
static const char forgiven_sql[] = "SELECT max(row) % 1024 FROM closed WHERE row > ?1 * 1024 AND row <= ?1 * 1024 + ?2";
static const char hop_sql[] =
    "SELECT d.cold, h.number, h.result_url, coalesce(h.dispatched_at, d.recorded_at), h.first_byte_at FROM dispatches"
    " AS d JOIN hops AS h ON h.attempt = d.row WHERE d.row = ?1 * 1024 + ?2 ORDER BY h.number DESC LIMIT 1";

/* One row, for the execution's last attempt. */
static bool ask_of_attempt(struct stmt *st, int64_t row, unsigned attempts, struct err *err)
{
    bool found;
    stmt_int(st, 1, row);
    stmt_int(st, 2, attempts);
    return stmt_next(st, &found, err) &&
           (found || err_set(err, ERR_STORE, "an attempt of execution row %lld has no hop: check the database with "
                             "canvass verify", (long long)row));
}

static bool read_begun(struct past *p, struct questions *q, int64_t row, struct begun *b, struct err *err)
{
    if (!ask_of_attempt(q->forgiven, row, b->attempts, err))
        return false;
    b->forgiven = (unsigned)stmt_get_int(q->forgiven, 0);
    stmt_reset(q->forgiven);
    if (b->status == STATUS_BACKING_OFF)
        b->status = STATUS_PENDING;
    if (b->status != STATUS_WAITING_RESULT)
        return true;
    if (!ask_of_attempt(q->hop, row, b->attempts, err))
        return false;
    b->cold = stmt_get_int(q->hop, 0) != 0;
    b->attempt_hops = (unsigned)stmt_get_int(q->hop, 1);
    b->result_url = arena_strdup(&p->texts, stmt_get_text(q->hop, 2));
    b->dispatched_at = stmt_get_real(q->hop, 3);
    b->first_byte_at = stmt_get_real(q->hop, 4);
    stmt_reset(q->hop);
    return true;
}

static void add_begun(struct past *p, const struct begun *b)
{
    struct job_past *past = &p->taken.past;
    if (past->begun_count == p->begun_cap) {
        p->begun_cap = p->begun_cap ? 2 * p->begun_cap : 64;
        p->begun = mem_array(p->begun, p->begun_cap, sizeof *p->begun);
    }
    p->begun[past->begun_count++] = *b;
}

static bool read_execution(struct past *p, struct questions *q, int64_t first_row, uint64_t count, struct err *err)
{
    struct job_past *past = &p->taken.past;
    struct stmt *st = q->executions;
    int64_t row = stmt_get_int(st, 0);
    struct begun b = {
        .n = (uint64_t)(row - first_row),
        .attempts = (unsigned)stmt_get_int(st, 2),
        .posts = (unsigned)stmt_get_int(st, 3),
        .hops = (unsigned)stmt_get_int(st, 4),
        .cost = stmt_get_real(st, 5),
        .dispatched_at = (double)NAN,
        .first_byte_at = (double)NAN,
    };
    if (b.n >= count || !status_parse(stmt_get_text(st, 1), &b.status))
        return err_set(err, ERR_STORE, "execution row %lld is not one this program knows: check the database with "
                       "canvass verify", (long long)row);
    past->posts += b.posts;
    past->hops += b.hops;
    past->attempts += b.attempts;
    if (status_is_final(b.status) && !isnan(b.cost))
        past->cost = isnan(past->cost) ? b.cost : past->cost + b.cost;
    if (!status_is_final(b.status) && b.attempts) {
        if (!read_begun(p, q, row, &b, err))
            return false;
        add_begun(p, &b);
    }
    p->status[b.n] = (uint8_t)b.status;
    return true;
}

/* Another one counts on, and its retry rule begins anew. */
static bool read_warm_ups(struct db *db, struct past *p, struct err *err)
{
    struct stmt *st = db_prepare(db, "SELECT row, attempts, posts, hops, cost FROM warmups WHERE job_id = ?1", err);
    if (!st)
        return false;
    bool ok, row;
    stmt_text(st, 1, p->taken.accepted.job_id);
    while ((ok = stmt_next(st, &row, err)) && row) {
        struct begun b = {
            .n = (uint64_t)(stmt_get_int(st, 0) - p->taken.accepted.first_row),
            .status = STATUS_PENDING,
            .attempts = (unsigned)stmt_get_int(st, 1),
            .posts = (unsigned)stmt_get_int(st, 2),
            .hops = (unsigned)stmt_get_int(st, 3),
            .cost = stmt_get_real(st, 4),
        };
        b.forgiven = b.attempts;
        add_begun(p, &b);
    }
    stmt_free(st);
    return ok;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct begun *)a)->n, y = ((const struct begun *)b)->n;
    return x < y ? -1 : x > y;
}

static bool read_past(struct db *db, struct past *p, uint64_t count, struct err *err)
{
    struct questions q = {
        .executions = db_prepare(db, executions_sql, err),
        .forgiven = db_prepare(db, forgiven_sql, err),
        .hop = db_prepare(db, hop_sql, err),
    };
    bool ok = q.executions && q.forgiven && q.hop, row;
    p->status = mem_zalloc(count);
    p->taken.past.cost = (double)NAN;
    if (ok)
        stmt_text(q.executions, 1, p->taken.accepted.job_id);
    while (ok && (ok = stmt_next(q.executions, &row, err)) && row)
        ok = read_execution(p, &q, p->taken.accepted.first_row, count, err);
    ok = ok && read_warm_ups(db, p, err);
    stmt_free(q.executions);
    stmt_free(q.forgiven);
    stmt_free(q.hop);
    if (p->begun)
        qsort(p->begun, p->taken.past.begun_count, sizeof *p->begun, by_number);
    p->taken.past.status = p->status;
    p->taken.past.begun = p->begun;
    return ok;
}

/* ---- all of it ---- */

static bool take_locked(struct db *db, const struct take *take, struct past *p, struct err *err)
{
    struct job_found job;
    struct accepted *a = &p->taken.accepted;
    if (!job_find(db, take->job_id, &job, err) || !check(db, take, &job, err))
        return false;
    snprintf(a->job_id, sizeof a->job_id, "%s", job.id);
    a->first_row = job.first_row;
    return open_again(db, take, job.id, &p->taken.opened, err) &&
           choose_revision(db, take, job.id, &a->revision, err) &&
           log_taking(db, take, &job, p->taken.opened, a->revision, err) &&
           own(db, &job, a->revision, err) &&
           read_past(db, p, take->plan->count, err);
}

struct taken *take_job(struct db *db, const struct take *take, struct err *err)
{
    struct past *p = mem_zalloc(sizeof *p);
    arena_init(&p->texts);
    bool ok = db_begin(db, err);
    if (ok && !take_locked(db, take, p, err)) {
        db_rollback(db);
        ok = false;
    }
    if (ok && db_commit(db, err))
        return &p->taken;
    taken_free(&p->taken);
    return NULL;
}
