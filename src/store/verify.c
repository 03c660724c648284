/* What must hold of every job at every instant, as questions whose answers are the faults: each gives an id and what is
 * wrong with it. The views are not believed: what they rest on is looked at first. */
#include <math.h>
#include <stdio.h>

#include "core/status.h"
#include "store/lookup.h"
#include "store/reader_internal.h"
#include "store/schema.h"
#include "store/store.h"

struct check {
    const char *rule, *sql;
};

struct verifying {
    struct db *db;
    void (*found)(void *ctx, const struct fault *fault);
    void *ctx;
};

/* ---- the questions ---- */

#define JOB "FROM jobs AS j WHERE j.id = ?1 AND "
#define IN_JOB(row) row " >= j.first_row * 1024 AND " row " < (j.first_row + j.planned) * 1024"
#define IN_JOB_OR_WARM(row) row " >= j.first_row * 1024 AND " row " < (j.first_row + j.planned + j.width) * 1024"
#define ROWS(table, name) "FROM jobs AS j JOIN " table " AS " name " ON " IN_JOB(name ".row")
#define ALL_ROWS(table, name) "FROM jobs AS j JOIN " table " AS " name " ON " IN_JOB_OR_WARM(name ".row")
#define WHERE_JOB " WHERE j.id = ?1 AND "
#define ATTEMPT(row) "j.id || '.' || (" row " / 1024 - j.first_row + 1) || '.' || (" row " % 1024)"
#define EXECUTION(row) "j.id || '.' || (" row " / 1024 - j.first_row + 1)"
#define FINAL(column) column " IN ('succeeded', 'failed', 'cancelled', 'skipped')"
/* The schema's own checks are none to a connection that only reads: SQLite leaves them out of what it loads. */
#define QUOTED(name, text) ", '" text "'"
#define NO_CLASS(column) "(" column " = '' OR " column " NOT IN (''" CLASS_LIST(QUOTED) "))"

/* Of one clock, whose times went through a double; and of two. */
#define SAME_CLOCK "0.001"
#define OTHER_CLOCK "1"

static const struct check job_checks[] = {
    /* the plan */
    {"plan", "SELECT j.id, 'it plans ' || j.planned || ' executions, but has ' || (SELECT count(*) FROM questions WHERE"
             " job_id = j.id) || ' questions for ' || (SELECT count(*) FROM job_cells WHERE job_row = j.row) ||"
             " ' cells, and a width of ' || j.width " JOB
             "(j.planned <> (SELECT count(*) FROM questions WHERE job_id = j.id) * j.width"
             " OR j.width <> (SELECT count(*) FROM job_cells WHERE job_row = j.row) OR j.planned < 1)"},
    {"plan", "SELECT j.id, 'its questions are not numbered from 1 on' " JOB
             "(SELECT min(position) <> 1 OR max(position) <> count(*) FROM questions WHERE job_id = j.id)"},
    {"plan", "SELECT j.id, 'its cells are not numbered from 0 on' " JOB
             "(SELECT min(position) <> 0 OR max(position) <> count(*) - 1 FROM job_cells WHERE job_row = j.row)"},
    {"plan", "SELECT j.id, 'its rows are those of ' || o.id || ' too' FROM jobs AS j JOIN jobs AS o ON o.row <> j.row"
             " AND o.first_row < j.first_row + j.planned + j.width AND j.first_row < o.first_row + o.planned + o.width"
             " WHERE j.id = ?1"},
    {"plan", "SELECT j.id, 'its cell ' || c.position || ', sample ' || c.sample || ' of ' || c.endpoint ||"
             " ', is not that of ' || c.region || '/' || c.model_id FROM jobs AS j JOIN job_cells AS c ON c.job_row ="
             " j.row JOIN (SELECT job_row, count(DISTINCT endpoint) AS endpoints FROM job_cells GROUP BY 1) AS w"
             " ON w.job_row = j.row" WHERE_JOB
             "(c.endpoint <> c.region || '/' || c.model_id OR c.sample - 1 <> c.position / w.endpoints)"},
    {"plan", "SELECT j.id, 'it is number ' || j.number || ' of ' || j.name " JOB "j.id <> j.name || '-' || j.number"},
    {"plan", "SELECT j.id, 'its script was not kept' " JOB
             "NOT EXISTS (SELECT 1 FROM job_files WHERE job_id = j.id AND position = 1)"},
    {"plan", "SELECT j.id, 'its spec is not JSON' " JOB "NOT json_valid(j.spec)"},
    {"rows", "SELECT j.id, 'it has ' || (SELECT count(*) FROM executions WHERE job_id = j.id) || ' executions, and"
             " planned ' || j.planned " JOB "(SELECT count(*) FROM executions WHERE job_id = j.id) <> j.planned"},
    {"rows", "SELECT min(id), 'it is there ' || count(*) || ' times' FROM executions WHERE job_id = ?1 GROUP BY row"
             " HAVING count(*) <> 1"},

    /* which attempts there are */
    {"attempts", "SELECT " ATTEMPT("d.row") ", 'there is no attempt before it' " ALL_ROWS("dispatches", "d") WHERE_JOB
                 "d.row % 1024 <> 1 AND NOT EXISTS (SELECT 1 FROM dispatches WHERE row = d.row - 1"
                 " AND row % 1024 > 0)"},
    {"attempts", "SELECT " ATTEMPT("d.row") ", 'it says it is of job row ' || d.job_row "
                 ALL_ROWS("dispatches", "d") WHERE_JOB "d.job_row <> j.row"},
    {"attempts", "SELECT j.id, 'attempt row ' || d.row || ' says it is of this job, and is not among its rows' FROM"
                 " jobs AS j JOIN dispatches AS d ON d.job_row = j.row" WHERE_JOB "NOT (" IN_JOB_OR_WARM("d.row") ")"},
    {"attempts", "SELECT " ATTEMPT("e.row") ", 'it has ended, and never began' " ALL_ROWS("endings", "e") WHERE_JOB
                 "NOT EXISTS (SELECT 1 FROM dispatches WHERE row = e.row)"},
    {"attempts", "SELECT " ATTEMPT("h.attempt") ", 'it has a result URL, and never began' FROM jobs AS j JOIN hops AS h"
                 " ON " IN_JOB_OR_WARM("h.attempt") WHERE_JOB
                 "NOT EXISTS (SELECT 1 FROM dispatches WHERE row = h.attempt)"},
    {"attempts", "SELECT " EXECUTION("c.row") ", 'it was closed after attempt ' || (c.row % 1024) || ', which never"
                 " began' " ALL_ROWS("closed", "c") WHERE_JOB
                 "c.row % 1024 > 0 AND NOT EXISTS (SELECT 1 FROM dispatches WHERE row = c.row)"},
    {"attempts", "SELECT " EXECUTION("c.row") ", 'it was closed by closing ' || c.closing || ', which is not there' "
                 ALL_ROWS("closed", "c") WHERE_JOB "NOT EXISTS (SELECT 1 FROM closings WHERE id = c.closing)"},

    /* what follows what */
    {"order", "SELECT " ATTEMPT("n.row") ", 'it was made although the attempt before it had succeeded' "
              ROWS("dispatches", "n") " JOIN endings AS e ON e.row = n.row - 1" WHERE_JOB
              "n.row % 1024 > 1 AND coalesce(e.became, e.status) = 'succeeded'"},
    {"order", "SELECT " ATTEMPT("n.row") ", 'it was made although the attempt before it had not ended' "
              ROWS("dispatches", "n") " LEFT JOIN endings AS e ON e.row = n.row - 1" WHERE_JOB
              "n.row % 1024 > 1 AND e.row IS NULL"},
    {"order", "SELECT " ATTEMPT("n.row") ", 'it was made although the execution had ended as ' || coalesce(e.became,"
              " e.status) || ' and nobody had opened it again' " ROWS("dispatches", "n")
              " JOIN endings AS e ON e.row = n.row - 1 LEFT JOIN closed AS c ON c.row = n.row - 1"
              " LEFT JOIN closings AS y ON y.id = c.closing" WHERE_JOB
              "n.row % 1024 > 1 AND e.became IS NOT 'backing_off' AND e.status <> 'succeeded'"
              " AND y.status IS NOT 'pending'"},
    {"paid_twice", "SELECT " ATTEMPT("n.row") ", 'it was posted while the result URL of the attempt before it was"
                   " alive' " ROWS("dispatches", "n") " JOIN endings AS e ON e.row = n.row - 1" WHERE_JOB
                   "n.row % 1024 > 1 AND (e.status = 'cancelled' OR e.class = 'timeout')"
                   " AND EXISTS (SELECT 1 FROM hops WHERE attempt = n.row - 1)"},
    {"body", "SELECT " ATTEMPT("n.row") ", 'it sent another body than the attempt before it, to the same region table' "
             ROWS("dispatches", "n") " JOIN dispatches AS d ON d.row = n.row - 1" WHERE_JOB
             "n.row % 1024 > 1 AND n.revision = d.revision AND n.request IS NOT d.request"
             " AND coalesce(n.request, '') <> '' AND coalesce(d.request, '') <> ''"},

    /* statuses and classes */
    {"status", "SELECT " ATTEMPT("e.row") ", 'an attempt cannot end as ' || e.status || coalesce(' and the execution"
               " become ' || e.became, '') " ROWS("endings", "e") WHERE_JOB
               "(e.status NOT IN ('succeeded', 'failed', 'cancelled')"
               " OR (e.became IS NOT NULL AND (e.became <> 'backing_off' OR e.status <> 'failed')))"},
    {"status", "SELECT " ATTEMPT("e.row") ", 'it is ' || e.status || ' with class ' || coalesce(e.class, 'none') ||"
               " ' and ' || CASE WHEN e.error IS NULL THEN 'no error' ELSE 'an error' END "
               ROWS("endings", "e") WHERE_JOB
               "((e.status = 'succeeded' AND (e.class IS NOT NULL OR e.error IS NOT NULL))"
               " OR (e.status = 'failed' AND (e.class IS NULL OR e.error IS NULL))"
               " OR (e.status = 'cancelled' AND coalesce(e.class, 'timeout') <> 'timeout'))"},
    {"status", "SELECT " ATTEMPT("e.row") ", 'there is no class ' || CASE WHEN " NO_CLASS("e.class") " THEN e.class"
               " ELSE e.became_class END " ALL_ROWS("endings", "e") WHERE_JOB
               "(" NO_CLASS("e.class") " OR " NO_CLASS("e.became_class") ")"},
    {"status", "SELECT " EXECUTION("c.row") ", 'it was closed with class ' || y.class || ', which there is not' "
               ROWS("closed", "c") " JOIN closings AS y ON y.id = c.closing" WHERE_JOB NO_CLASS("y.class")},
    {"status", "SELECT " ATTEMPT("e.row") ", CASE WHEN e.answer IS NULL THEN 'it has succeeded without an answer' ELSE"
               " 'it has an answer and has ' || e.status END " ROWS("endings", "e") WHERE_JOB
               "(e.status = 'succeeded') <> (e.answer IS NOT NULL)"},
    {"status", "SELECT " EXECUTION("c.row") ", 'it was closed as ' || y.status || ' with class ' || coalesce(y.class,"
               " 'none') || CASE WHEN y.ended_at IS NULL THEN ', at no time' ELSE '' END "
               ROWS("closed", "c") " JOIN closings AS y ON y.id = c.closing" WHERE_JOB
               "NOT CASE y.status WHEN 'pending' THEN y.class IS NULL AND y.ended_at IS NULL"
               " WHEN 'failed' THEN y.class IS NOT NULL AND y.ended_at IS NOT NULL"
               " WHEN 'cancelled' THEN coalesce(y.class, 'timeout') = 'timeout' AND y.ended_at IS NOT NULL"
               " WHEN 'skipped' THEN y.ended_at IS NOT NULL ELSE 0 END"},
    {"status", "SELECT " ATTEMPT("c.row") ", 'it was closed after it had succeeded' " ROWS("closed", "c")
               " JOIN endings AS e ON e.row = c.row" WHERE_JOB "e.status = 'succeeded'"},
    {"state", "SELECT e.id, 'it is ' || e.status || ', and its job has ended' FROM jobs AS j JOIN executions AS e ON"
              " e.job_id = j.id WHERE j.id = ?1 AND (" FINAL("j.state") " OR j.state IN ('partial', 'timed_out'))"
              " AND NOT (" FINAL("e.status") ")"},
    {"state", "SELECT j.id, 'it is ' || j.state || ' with ' || (SELECT count(*) FROM executions WHERE job_id = j.id AND"
              " status = 'succeeded') || ' of ' || j.planned || ' succeeded' " JOB
              "CASE j.state WHEN 'succeeded' THEN EXISTS (SELECT 1 FROM executions WHERE job_id = j.id AND status <>"
              " 'succeeded') WHEN 'partial' THEN (SELECT count(*) FROM executions WHERE job_id = j.id AND status ="
              " 'succeeded') NOT BETWEEN 1 AND j.planned - 1"
              /* a row is durable before its request leaves, which is when a job starts */
              " WHEN 'queued' THEN EXISTS (SELECT 1 FROM endings AS e WHERE " IN_JOB("e.row") ") OR EXISTS (SELECT 1"
              " FROM hops AS h WHERE " IN_JOB("h.attempt") ") ELSE 0 END"},

    /* counts */
    {"posts", "SELECT " ATTEMPT("e.row") ", 'with it the execution has ' || e.posts || ' posts, and had ' ||"
              " coalesce(b.posts, 0) || ' before' " ROWS("endings", "e")
              " LEFT JOIN endings AS b ON b.row = e.row - 1 AND e.row % 1024 > 1" WHERE_JOB
              "e.posts - coalesce(b.posts, 0) NOT BETWEEN (e.status = 'succeeded' OR EXISTS (SELECT 1 FROM hops WHERE"
              " attempt = e.row)) AND 6"},
    {"hops", "SELECT " ATTEMPT("e.row") ", 'it has ' || e.hops || ' hops, its execution ' || e.all_hops || ', and ' ||"
             " coalesce(b.all_hops, 0) || ' before' " ROWS("endings", "e")
             " LEFT JOIN endings AS b ON b.row = e.row - 1 AND e.row % 1024 > 1" WHERE_JOB
             "e.all_hops <> coalesce(b.all_hops, 0) + e.hops"},
    {"hops", "SELECT " ATTEMPT("e.row") ", 'it has ' || e.hops || ' hops, and result URLs after ' || coalesce((SELECT"
             " group_concat(number, ', ') FROM hops WHERE attempt = e.row), 'none') " ROWS("endings", "e") WHERE_JOB
             "(e.hops < 0 OR e.hops < (SELECT max(number) FROM hops WHERE attempt = e.row)"
             " OR (e.hops > 0 AND NOT EXISTS (SELECT 1 FROM hops WHERE attempt = e.row)))"},
    {"hops", "SELECT " ATTEMPT("h.attempt") ", 'its first result URL came after ' || min(h.number) || ' hops' FROM"
             " jobs AS j JOIN hops AS h ON " IN_JOB("h.attempt")
             " WHERE j.id = ?1 GROUP BY h.attempt HAVING min(h.number) <> 0"},
    {"hops", "SELECT " ATTEMPT("h.attempt") ", 'a result URL of it is missing' FROM jobs AS j JOIN hops AS h ON "
             IN_JOB("h.attempt") WHERE_JOB "coalesce(h.result_url, '') = ''"},
    {"counts", "SELECT " ATTEMPT("d.row") ", 'it was the ' || d.in_flight || '. request in flight' "
               ROWS("dispatches", "d") WHERE_JOB "d.in_flight < 1"},
    {"counts", "SELECT " ATTEMPT("e.row") ", 'it took ' || coalesce(e.prompt_tokens, 'no') || ' and ' || coalesce("
               "e.completion_tokens, 'no') || ' tokens, at a cost of ' || coalesce(e.cost, 'nothing known') "
               ALL_ROWS("endings", "e") WHERE_JOB
               "(e.prompt_tokens < 0 OR e.completion_tokens < 0 OR e.cost NOT BETWEEN 0 AND 1e300)"},

    /* times; each comparison is false where one is NULL */
    {"times", "SELECT " ATTEMPT("e.row") ", 'queued, sent, first byte, end: its times are not in order' "
              ROWS("endings", "e") " JOIN dispatches AS d ON d.row = e.row" WHERE_JOB
              "(d.queued_at > e.dispatched_at + " SAME_CLOCK " OR e.dispatched_at > e.first_byte_at + " SAME_CLOCK
              " OR e.first_byte_at > e.ended_at + " SAME_CLOCK " OR e.dispatched_at > e.ended_at + " SAME_CLOCK ")"},
    {"times", "SELECT " ATTEMPT("e.row") ", 'it has ended at no time' " ROWS("endings", "e") WHERE_JOB
              "e.ended_at IS NULL"},
    {"times", "SELECT " ATTEMPT("e.row") ", 'it was sent before the attempt before it had ended' " ROWS("endings", "e")
              " JOIN endings AS b ON b.row = e.row - 1 AND e.row % 1024 > 1" WHERE_JOB
              "b.ended_at > e.dispatched_at + " SAME_CLOCK},
    {"times", "SELECT j.id, 'created, started, ended: one of its times is none' " JOB
              "(j.created_at NOT BETWEEN 0 AND 1e11 OR j.started_at NOT BETWEEN 0 AND 1e11 OR"
              " j.ended_at NOT BETWEEN 0 AND 1e11)"},
    {"times", "SELECT j.id, 'created, started, ended: its times are not in order' " JOB
              "(j.created_at > j.started_at + " OTHER_CLOCK " OR j.created_at > j.ended_at + " OTHER_CLOCK
              " OR j.started_at > j.ended_at + " OTHER_CLOCK ")"},
    {"times", "SELECT j.id, 'it is ' || j.state || CASE WHEN j.ended_at IS NULL THEN ', and ended at no time' ELSE"
              " ', and has a time at which it ended' END " JOB
              "(" FINAL("j.state") " OR j.state IN ('partial', 'timed_out')) <> (j.ended_at IS NOT NULL)"},
    {"times", "SELECT j.id, 'it has sent requests, and started at no time' " JOB
              "j.started_at IS NULL AND EXISTS (SELECT 1 FROM endings AS e WHERE e.dispatched_at IS NOT NULL"
              " AND " IN_JOB("e.row") ")"},
    {"times", "SELECT " ATTEMPT("e.row") ", 'it ended after its job' " ROWS("endings", "e") WHERE_JOB
              "e.ended_at > j.ended_at + " OTHER_CLOCK},

    /* region tables */
    {"revision", "SELECT j.id, 'its region table, revision ' || j.revision || ', is not there' " JOB
                 "NOT EXISTS (SELECT 1 FROM region_revisions WHERE revision = j.revision)"},
    {"revision", "SELECT " ATTEMPT("d.row") ", 'its region table, revision ' || d.revision || ', is not there' "
                 ALL_ROWS("dispatches", "d") WHERE_JOB
                 "NOT EXISTS (SELECT 1 FROM region_revisions WHERE revision = d.revision)"},
};

#define NO_JOB(execution) \
    "NOT EXISTS (SELECT 1 FROM jobs WHERE " execution " >= first_row AND " execution " < first_row + planned + width)"

static const struct check file_checks[] = {
    {"file", "SELECT 'the file', integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'"},
    {"orphan", "SELECT 'attempt row ' || row, 'it began, and belongs to no job' FROM dispatches AS d WHERE "
               NO_JOB("d.row / 1024")},
    {"orphan", "SELECT 'attempt row ' || row, 'it has ended, and belongs to no job' FROM endings AS e WHERE "
               NO_JOB("e.row / 1024")},
    {"orphan", "SELECT 'attempt row ' || attempt, 'it has a result URL, and belongs to no job' FROM hops AS h WHERE "
               NO_JOB("h.attempt / 1024")},
    {"orphan", "SELECT 'execution row ' || (row / 1024), 'it was closed, and belongs to no job' FROM closed AS c WHERE "
               NO_JOB("c.row / 1024")},
    {"orphan", "SELECT job_id, 'it has questions, and is not there' FROM questions WHERE job_id NOT IN (SELECT id FROM"
               " jobs) GROUP BY job_id"},
};

/* ---- asking them ---- */

static void tell(struct verifying *v, const char *rule, const char *id, const char *text)
{
    v->found(v->ctx, &(struct fault){rule, id ? id : "?", text ? text : "?"});
}

static bool ask(struct verifying *v, const struct check *check, const char *job_id, struct err *err)
{
    struct stmt *st = db_prepare(v->db, check->sql, err);
    if (!st)
        return false;
    bool row, ok;
    if (job_id)
        stmt_text(st, 1, job_id);
    while ((ok = stmt_next(st, &row, err)) && row)
        tell(v, check->rule, stmt_get_text(st, 0), stmt_get_text(st, 1));
    stmt_free(st);
    return ok;
}

/* ---- totals: what every screen shows, against the plainest way to count it ---- */

static bool count_plainly(struct db *db, const char *job_id, double out[], int count, struct err *err)
{
    struct stmt *st = db_prepare(db,
        "SELECT count(*), sum(status = 'succeeded'), sum(status = 'failed'), sum(status = 'cancelled'),"
        " sum(status = 'skipped'), sum(posts), sum(hops), sum(attempts), (SELECT sum(cost) FROM (SELECT cost FROM"
        " executions WHERE job_id = ?1 UNION ALL SELECT cost FROM warmups WHERE job_id = ?1)) FROM executions"
        " WHERE job_id = ?1", err);
    bool row = false;
    if (!st)
        return false;
    stmt_text(st, 1, job_id);
    bool ok = stmt_next(st, &row, err);
    for (int i = 0; i < count; i++)
        out[i] = ok && row ? stmt_get_real(st, i) : (double)NAN;
    stmt_free(st);
    return ok;
}

enum { TOTALS = 9 };

static bool check_totals(struct verifying *v, const char *job_id, struct err *err)
{
    struct job_summary s;
    double counted[TOTALS];
    if (!job_count(v->db, job_id, &s, err) || !count_plainly(v->db, job_id, counted, TOTALS, err))
        return false;
    const struct {
        const char *name;
        double shown;
    } totals[TOTALS] = {
        {"executions", (double)s.planned},
        {"succeeded", (double)s.by_status[STATUS_SUCCEEDED]},
        {"failed", (double)s.by_status[STATUS_FAILED]},
        {"cancelled", (double)s.by_status[STATUS_CANCELLED]},
        {"skipped", (double)s.by_status[STATUS_SKIPPED]},
        {"posts", (double)s.posts},
        {"hops", (double)s.hops},
        {"attempts", (double)s.attempts},
        {"cost", s.cost},
    };
    for (int i = 0; i < TOTALS; i++) {
        char text[128];
        double far = fabs(totals[i].shown - counted[i]);
        if (far < 1e-6 || (isnan(totals[i].shown) && isnan(counted[i])))
            continue;
        snprintf(text, sizeof text, "it shows %.10g %s, and its rows give %.10g", totals[i].shown, totals[i].name,
                 counted[i]);
        tell(v, "totals", job_id, text);
    }
    return true;
}

static bool check_job(struct verifying *v, const char *job_id, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(job_checks); i++)
        if (!ask(v, &job_checks[i], job_id, err))
            return false;
    return check_totals(v, job_id, err);
}

static bool check_file(struct verifying *v, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(file_checks); i++)
        if (!ask(v, &file_checks[i], NULL, err))
            return false;
    return true;
}

/* In one transaction: a job that runs on must not look wrong for what comes between two questions. */
bool reader_verify(struct reader *r, const char *job_id, void (*found)(void *ctx, const struct fault *fault), void *ctx,
                   struct err *err)
{
    struct verifying v = {.db = r->db, .found = found, .ctx = ctx};
    struct job_found job;
    if (!db_exec(r->db, "BEGIN", err))
        return false;
    bool ok = job_id ? job_find(r->db, job_id, &job, err) && check_job(&v, job.id, err) : check_file(&v, err);
    db_rollback(r->db);
    return ok;
}
