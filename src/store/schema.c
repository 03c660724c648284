#include "store/schema.h"

#include <stdio.h>

#include "core/status.h"

/* Comparisons in a row, not IN (...): a list of more than two becomes a temporary table at each statement. */
#define STATUS_IS(name, text) " OR status = '" text "'"
#define CLASS_IS(name, text) " OR class = '" text "'"
#define STATE_IS(name, text) " OR state = '" text "'"
#define STATUS_CHECK "CHECK (0" STATUS_LIST(STATUS_IS) ")"
#define CLASS_CHECK "CHECK (class IS NULL OR (class <> '' AND (0" CLASS_LIST(CLASS_IS) ")))"
#define STATE_CHECK "CHECK (0" JOB_STATE_LIST(STATE_IS) ")"

#define BECAME_CHECK "CHECK (became IS NULL" STATUS_LIST(BECAME_IS) ")"
#define BECAME_IS(name, text) " OR became = '" text "'"

#define NUMBER "((q.position - 1) * j.width + c.position + 1)"
#define ROW "(j.first_row + (q.position - 1) * j.width + c.position)"

/* d: the last dispatch, the one without a successor; e: its ending; y: what was said of it after that, which stands
 * unless there is an answer. What few rows or queries need is a subquery: SQLite makes every join of an aggregate, and
 * a subquery only when its value is wanted. The last two columns are there to order and to bound by: indices have
 * them, and none has `row`. */
#define CLOSING(column) "(SELECT " column " FROM closings WHERE id = y.closing)"
#define OF_EXECUTION(column) \
    "CASE WHEN y.row IS NOT NULL THEN " CLOSING(column) " WHEN e.became IS NULL THEN e." column \
    " ELSE e.became_" column " END AS " column
/* Of the execution, and while it runs again of what came before. */
#define SO_FAR(column) "(SELECT " column " FROM endings WHERE row = d.row - 1)"
#define LATEST(column) "  CASE WHEN e.row IS NULL THEN " SO_FAR(column) " ELSE e." column " END AS " column ",\n"
#define FIRST_OF(row, column, table) "(SELECT " column " FROM " table " WHERE row = " row " * 1024 + 1)"
#define FIRST(column, table) FIRST_OF(ROW, column, table)

#define POSTS_SO_FAR "coalesce(" SO_FAR("posts") ", d.row % 1024 - 1)"
#define HOPS_SO_FAR \
    "coalesce(" SO_FAR("all_hops") ", 0) + coalesce((SELECT max(number) FROM hops WHERE attempt = d.row), 0)"

#define EXECUTIONS_VIEW \
    "CREATE VIEW executions AS SELECT " ROW " AS row,\n" \
    "  j.id || '.' || " NUMBER " AS id, j.id AS job_id, " NUMBER " AS number, q.id AS question_id,\n" \
    "  c.model_id AS model_id, c.region AS region, c.sample AS sample, c.endpoint AS endpoint,\n" \
    "  CASE WHEN y.row IS NOT NULL THEN " CLOSING("status") "\n" \
    "    WHEN e.row IS NOT NULL THEN coalesce(e.became, e.status)\n" \
    "    WHEN d.row IS NULL THEN 'pending' WHEN EXISTS (SELECT 1 FROM hops WHERE attempt = d.row)\n" \
    "    THEN 'waiting_result' ELSE 'running' END AS status,\n" \
    "  " OF_EXECUTION("class") ",\n" \
    "  coalesce(d.row % 1024, 0) AS attempts,\n" \
    "  CASE WHEN e.row IS NOT NULL THEN e.posts WHEN d.row IS NULL THEN 0\n" \
    "    ELSE " POSTS_SO_FAR " + 1 END AS posts,\n" \
    "  CASE WHEN e.row IS NOT NULL THEN e.all_hops WHEN d.row IS NULL THEN 0\n" \
    "    ELSE " HOPS_SO_FAR " END AS hops,\n" \
    "  d.cold AS cold, d.revision AS revision,\n" \
    "  CASE WHEN d.row IS NOT NULL THEN " FIRST("queued_at", "dispatches") " END AS queued_at,\n" \
    "  CASE WHEN d.row IS NOT NULL THEN coalesce(" FIRST("dispatched_at", "endings") ",\n" \
    "    " FIRST("recorded_at", "dispatches") ") END AS started_at,\n" \
    "  CASE WHEN y.row IS NOT NULL THEN " CLOSING("ended_at") " WHEN e.became IS NOT 'backing_off' THEN e.ended_at\n" \
    "    END AS ended_at,\n" \
    LATEST("prompt_tokens") LATEST("completion_tokens") LATEST("cost") \
    "  " OF_EXECUTION("error") ",\n" \
    "  e.answer AS answer, q.position AS question, c.position AS cell\n" \
    "FROM jobs AS j CROSS JOIN questions AS q ON q.job_id = j.id CROSS JOIN job_cells AS c ON c.job_row = j.row\n" \
    "LEFT JOIN dispatches AS d ON d.row > " ROW " * 1024 AND d.row < (" ROW " + 1) * 1024\n" \
    "LEFT JOIN dispatches AS later ON later.row = d.row + 1\n" \
    "LEFT JOIN endings AS e ON e.row = d.row\n" \
    "LEFT JOIN closed AS y ON (e.row IS NULL OR coalesce(e.became, e.status) <> 'succeeded')\n" \
    "  AND y.row = coalesce(d.row, " ROW " * 1024)\n" \
    "WHERE later.row IS NULL;\n"

#define LAST_HOP(column) "(SELECT " column " FROM hops WHERE attempt = d.row ORDER BY number DESC LIMIT 1)"
#define ENDED_OR_HOP(column) \
    "  CASE WHEN e.row IS NULL THEN " LAST_HOP(column) " ELSE e." column " END AS " column ",\n"

#define ATTEMPTS_VIEW \
    "CREATE VIEW attempts AS SELECT d.row AS row,\n" \
    "  j.id || '.' || (d.row / 1024 - j.first_row + 1) || '.' || (d.row % 1024) AS id,\n" \
    "  j.id || '.' || (d.row / 1024 - j.first_row + 1) AS execution_id, d.row % 1024 AS number,\n" \
    "  coalesce(e.status, CASE WHEN EXISTS (SELECT 1 FROM hops WHERE attempt = d.row) THEN 'waiting_result'\n" \
    "    ELSE 'running' END) AS status,\n" \
    "  e.class AS class,\n" \
    ENDED_OR_HOP("http_status") \
    "  coalesce(e.hops, " LAST_HOP("number") ", 0) AS hops,\n" \
    "  d.cold AS cold, d.revision AS revision, d.in_flight AS in_flight, e.bytes_in AS bytes_in,\n" \
    "  e.bytes_out AS bytes_out, d.queued_at AS queued_at,\n" \
    ENDED_OR_HOP("dispatched_at") \
    ENDED_OR_HOP("first_byte_at") \
    "  e.ended_at AS ended_at, coalesce(d.url, c.url) AS url, " LAST_HOP("result_url") " AS result_url,\n" \
    "  e.served_model AS served_model, e.served_region AS served_region, e.error AS error, d.request AS request,\n" \
    "  e.response AS response\n" \
    "FROM dispatches AS d LEFT JOIN endings AS e ON e.row = d.row LEFT JOIN jobs AS j ON j.row = d.job_row\n" \
    "LEFT JOIN job_cells AS c ON c.job_row = d.job_row AND c.position = (d.row / 1024 - j.first_row) % j.width\n" \
    "WHERE j.row IS NULL OR d.row < (j.first_row + j.planned) * 1024;\n"

/* What a question after the last would be: the attempts made to warm an endpoint up, its last one shown. They have no
 * closing: one that the end of its job left open was cancelled with it. */
#define WARMUPS_VIEW \
    "CREATE VIEW warmups AS SELECT d.row / 1024 AS row, j.id AS job_id, c.region AS region, c.model_id AS model_id,\n" \
    "  c.endpoint AS endpoint,\n" \
    "  CASE WHEN d.request IS NULL THEN 'health' ELSE 'ask' END AS kind, coalesce(d.url, c.url) AS url,\n" \
    "  " LAST_HOP("result_url") " AS result_url,\n" \
    "  CASE WHEN e.row IS NOT NULL THEN e.status WHEN j.ended_at IS NOT NULL THEN 'cancelled'\n" \
    "    WHEN EXISTS (SELECT 1 FROM hops WHERE attempt = d.row) THEN 'waiting_result' ELSE 'running' END AS status,\n" \
    "  e.class AS class, e.error AS error,\n" \
    ENDED_OR_HOP("http_status") \
    "  d.row % 1024 AS attempts,\n" \
    "  CASE WHEN e.row IS NOT NULL THEN e.posts WHEN d.request IS NULL THEN coalesce(" SO_FAR("posts") ", 0)\n" \
    "    ELSE " POSTS_SO_FAR " + 1 END AS posts,\n" \
    "  CASE WHEN e.row IS NOT NULL THEN e.all_hops ELSE " HOPS_SO_FAR " END AS hops,\n" \
    LATEST("cost") \
    "  d.revision AS revision, d.in_flight AS in_flight,\n" \
    "  " FIRST_OF("d.row / 1024", "queued_at", "dispatches") " AS queued_at,\n" \
    "  coalesce(" FIRST_OF("d.row / 1024", "dispatched_at", "endings") ",\n" \
    "    " FIRST_OF("d.row / 1024", "recorded_at", "dispatches") ") AS started_at, e.ended_at AS ended_at,\n" \
    "  d.request AS request, e.response AS response\n" \
    "FROM jobs AS j CROSS JOIN job_cells AS c ON c.job_row = j.row AND c.sample = 1\n" \
    "JOIN dispatches AS d ON d.row > (j.first_row + j.planned + c.position) * 1024\n" \
    "  AND d.row < (j.first_row + j.planned + c.position + 1) * 1024\n" \
    "LEFT JOIN dispatches AS later ON later.row = d.row + 1\n" \
    "LEFT JOIN endings AS e ON e.row = d.row WHERE later.row IS NULL;\n"

/* A plan is a product, and so is its record: a job's questions times its cells give the executions, each with a number
 * that follows from where it stands. What happens is only ever added, never changed: an UPDATE of a wide row
 * costs twice an INSERT, and an execution needs one row when it is dispatched and one when that has ended. */
static const char version_1[] =
    "CREATE TABLE jobs(\n"
    "  row INTEGER PRIMARY KEY,\n"
    "  id TEXT NOT NULL UNIQUE,\n"
    "  name TEXT NOT NULL,\n"
    "  number INTEGER NOT NULL,          -- id is name-number\n"
    "  state TEXT NOT NULL " STATE_CHECK ",\n"
    "  policy TEXT NOT NULL,\n"
    "  created_at REAL NOT NULL,\n"
    "  started_at REAL,\n"
    "  ended_at REAL,\n"
    "  timeout_s REAL,\n"
    "  revision INTEGER NOT NULL,        -- of the region table it runs against, or did last\n"
    "  submitted_by TEXT,\n"
    "  first_row INTEGER NOT NULL,       -- its executions are this row and the next ones, then come its warm-ups\n"
    "  planned INTEGER NOT NULL,\n"
    "  width INTEGER NOT NULL,           -- executions of one question, the same for each\n"
    "  owner TEXT,                       -- who runs it, for people; the next three tell whether that process lives\n"
    "  owner_pid INTEGER,\n"
    "  owner_start INTEGER,\n"
    "  owner_boot TEXT,\n"
    "  control_from INTEGER NOT NULL,    -- control_log entries up to this one are of earlier owners\n"
    "  spec TEXT NOT NULL,               -- JSON\n"
    "  submission_key TEXT UNIQUE,       -- what is submitted under it again is this job\n"
    "  submitted TEXT,                   -- a digest of what was submitted under the key\n"
    "  UNIQUE (name, number)\n"
    ") STRICT;\n"
    "CREATE TABLE job_files(             -- what the job was made of: the script first\n"
    "  job_id TEXT NOT NULL,\n"
    "  position INTEGER NOT NULL,\n"
    "  name TEXT NOT NULL,\n"
    "  text TEXT NOT NULL,\n"
    "  PRIMARY KEY (job_id, position)\n"
    ") STRICT;\n"
    "CREATE TABLE questions(\n"
    "  job_id TEXT NOT NULL,\n"
    "  id TEXT NOT NULL,\n"
    "  position INTEGER NOT NULL,        -- from 1\n"
    "  prompt TEXT NOT NULL,\n"
    "  expected TEXT,                    -- JSON\n"
    "  metadata TEXT,                    -- JSON\n"
    "  UNIQUE (job_id, id),\n"
    "  UNIQUE (job_id, position)\n"
    ") STRICT;\n"
    "CREATE TABLE job_cells(             -- what each question is put to\n"
    "  job_row INTEGER NOT NULL,\n"
    "  position INTEGER NOT NULL,        -- from 0; sample by sample\n"
    "  region TEXT NOT NULL,\n"
    "  model_id TEXT NOT NULL,\n"
    "  sample INTEGER NOT NULL,          -- from 1\n"
    "  endpoint TEXT NOT NULL,           -- region/model_id\n"
    "  url TEXT NOT NULL,\n"
    "  PRIMARY KEY (job_row, position),\n"
    "  UNIQUE (job_row, model_id, region, sample)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE dispatches(            -- an attempt is about to start\n"
    "  row INTEGER PRIMARY KEY,          -- executions.row * 1024 + the attempt's number, from 1; warm-ups follow\n"
    "  job_row INTEGER NOT NULL,\n"
    "  cold INTEGER NOT NULL,\n"
    "  revision INTEGER NOT NULL,\n"
    "  in_flight INTEGER NOT NULL,       -- of the whole program, itself included\n"
    "  queued_at REAL,\n"
    "  recorded_at REAL NOT NULL,\n"
    "  url TEXT,                         -- NULL: the cell's\n"
    "  request TEXT\n"
    ") STRICT;\n"
    "CREATE TABLE hops(                  -- a result URL is about to be fetched\n"
    "  attempt INTEGER NOT NULL,         -- dispatches.row\n"
    "  number INTEGER NOT NULL,          -- fetches before this one\n"
    "  http_status INTEGER,\n"
    "  dispatched_at REAL,\n"
    "  first_byte_at REAL,\n"
    "  result_url TEXT,\n"
    "  PRIMARY KEY (attempt, number)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE endings(               -- an attempt has ended\n"
    "  row INTEGER PRIMARY KEY,          -- dispatches.row\n"
    "  status TEXT NOT NULL " STATUS_CHECK ",\n"
    "  class TEXT " CLASS_CHECK ",\n"
    "  http_status INTEGER,\n"
    "  hops INTEGER NOT NULL,            -- of the attempt\n"
    "  bytes_in INTEGER,\n"
    "  bytes_out INTEGER,\n"
    "  dispatched_at REAL,\n"
    "  first_byte_at REAL,\n"
    "  ended_at REAL,\n"
    "  posts INTEGER NOT NULL,           -- this and the next four: of the execution so far\n"
    "  all_hops INTEGER NOT NULL,\n"
    "  prompt_tokens INTEGER,\n"
    "  completion_tokens INTEGER,\n"
    "  cost REAL,\n"
    "  became TEXT " BECAME_CHECK ", -- the execution, where that is not what the attempt is\n"
    "  became_class TEXT,\n"
    "  became_error TEXT,\n"
    "  served_model TEXT,\n"
    "  served_region TEXT,\n"
    "  error TEXT,\n"
    "  answer TEXT,\n"
    "  response TEXT\n"
    ") STRICT;\n"
    "CREATE TABLE closings(              -- executions that end without an attempt, or (pending) are opened again\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  status TEXT NOT NULL " STATUS_CHECK ",\n"
    "  class TEXT " CLASS_CHECK ",\n"
    "  error TEXT,\n"
    "  ended_at REAL\n"
    ") STRICT;\n"
    "CREATE TABLE closed(                -- which; a later dispatch opens the execution again\n"
    "  row INTEGER PRIMARY KEY,          -- executions.row * 1024 + the attempts it had\n"
    "  closing INTEGER NOT NULL\n"
    ") STRICT;\n"
    EXECUTIONS_VIEW ATTEMPTS_VIEW WARMUPS_VIEW
    "CREATE TABLE region_revisions(\n"
    "  revision INTEGER PRIMARY KEY,\n"
    "  hash TEXT NOT NULL,\n"
    "  source TEXT NOT NULL,\n"
    "  author TEXT,\n"
    "  reason TEXT,\n"
    "  created_at REAL NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE region_files(          -- what a revision's table required, and its adapters\n"
    "  revision INTEGER NOT NULL,\n"
    "  position INTEGER NOT NULL,\n"
    "  name TEXT NOT NULL,\n"
    "  text TEXT NOT NULL,\n"
    "  PRIMARY KEY (revision, position)\n"
    ") STRICT;\n"
    "CREATE TABLE control_log(\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  at REAL NOT NULL,\n"
    "  author TEXT,\n"
    "  action TEXT NOT NULL,\n"
    "  target TEXT NOT NULL,\n"
    "  before TEXT,                      -- JSON\n"
    "  after TEXT,                       -- JSON\n"
    "  reason TEXT\n"
    ") STRICT;\n";

/* Migration i takes a file from user_version i to i + 1. Written once, never edited after a release. */
static const char *const migrations[] = {version_1};

int schema_version(void)
{
    return (int)ARRAY_LEN(migrations);
}

struct identity {
    int64_t application_id, version, tables;
};

static bool read_identity(struct db *db, struct identity *out, struct err *err)
{
    return db_int(db, "PRAGMA application_id", &out->application_id, err) &&
           db_int(db, "PRAGMA user_version", &out->version, err) &&
           db_int(db, "SELECT count(*) FROM sqlite_schema", &out->tables, err);
}

/* In one transaction: half of it from before another process creates the tables and half from after is nobody's. */
static bool identify(struct db *db, struct identity *out, struct err *err)
{
    if (!db_exec(db, "BEGIN", err))
        return false;
    bool ok = read_identity(db, out, err);
    db_rollback(db);
    return ok;
}

static bool refuse_newer(struct db *db, const struct identity *id, struct err *err)
{
    return err_set(err, ERR_STORE,
                   "the database was written by a newer canvass: its format is %lld, this program knows %d "
                   "(%s): use the newer program, or name another file with --db",
                   (long long)id->version, schema_version(), db_path(db));
}

static bool refuse_foreign(struct db *db, struct err *err)
{
    return err_set(err, ERR_STORE, "this is a database of another program (%s): name another file with --db",
                   db_path(db));
}

static bool migrate(struct db *db, int64_t from, struct err *err)
{
    for (int64_t version = from; version < schema_version(); version++) {
        if (!db_exec(db, migrations[version], err))
            return false;
    }
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", (int)SCHEMA_APPLICATION_ID,
             schema_version());
    return db_exec(db, sql, err);
}

/* Another process may be creating the same file: what was seen before the lock is looked at again under it. */
static bool migrate_locked(struct db *db, struct err *err)
{
    struct identity id;
    if (!db_begin(db, err))
        return false;
    if (read_identity(db, &id, err) && migrate(db, id.version, err))
        return db_commit(db, err);
    db_rollback(db);
    return false;
}

bool schema_prepare(struct db *db, struct err *err)
{
    struct identity id;
    if (!identify(db, &id, err))
        return false;
    bool empty = id.application_id == 0 && id.version == 0 && id.tables == 0;
    if (!empty && id.application_id != SCHEMA_APPLICATION_ID)
        return refuse_foreign(db, err);
    if (id.version > schema_version())
        return refuse_newer(db, &id, err);
    /* The page size holds only for a file that has no page yet; in a later call it is without effect. */
    if (!db_exec(db, "PRAGMA page_size = 16384", err) || !db_use_wal(db, err))
        return false;
    return id.version == schema_version() || migrate_locked(db, err);
}

bool schema_check(struct db *db, struct err *err)
{
    struct identity id;
    if (!identify(db, &id, err))
        return false;
    if (id.application_id == 0 && id.version == 0 && id.tables == 0)
        return err_set(err, ERR_STORE, "the database is empty (%s): nothing was stored in it yet", db_path(db));
    if (id.application_id != SCHEMA_APPLICATION_ID)
        return refuse_foreign(db, err);
    return id.version <= schema_version() || refuse_newer(db, &id, err);
}
