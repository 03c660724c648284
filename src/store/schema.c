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

/* `row` is the key that the records name, so that no text is looked up while a job runs. What is counted stands before
 * the long texts, so that a count does not walk through them. An index costs each change: there is one per promise. Ids
 * that follow from other columns are stored: generated, they would be put together anew at each change (14 % of its
 * cost). */
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
    "  revision INTEGER NOT NULL,        -- of the region table it was planned against\n"
    "  submitted_by TEXT,\n"
    "  first_row INTEGER NOT NULL,       -- its executions are this row and the next ones\n"
    "  planned INTEGER NOT NULL,\n"
    "  owner TEXT,                       -- who runs it, for people; the next three tell whether that process lives\n"
    "  owner_pid INTEGER,\n"
    "  owner_start INTEGER,\n"
    "  owner_boot TEXT,\n"
    "  control_from INTEGER NOT NULL,    -- control_log entries up to this one are of earlier owners\n"
    "  spec TEXT NOT NULL,               -- JSON\n"
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
    "  UNIQUE (job_id, id)\n"
    ") STRICT;\n"
    "CREATE TABLE executions(\n"
    "  row INTEGER PRIMARY KEY,\n"
    "  id TEXT NOT NULL,                 -- job_id.number\n"
    "  job_id TEXT NOT NULL,\n"
    "  number INTEGER NOT NULL,          -- in the plan, from 1\n"
    "  question_id TEXT NOT NULL,\n"
    "  model_id TEXT NOT NULL,\n"
    "  region TEXT NOT NULL,\n"
    "  sample INTEGER NOT NULL,          -- from 1\n"
    "  endpoint TEXT NOT NULL,           -- region/model_id\n"
    "  status TEXT NOT NULL DEFAULT 'pending' " STATUS_CHECK ",\n"
    "  class TEXT " CLASS_CHECK ",\n"
    "  attempts INTEGER NOT NULL DEFAULT 0,\n"
    "  posts INTEGER NOT NULL DEFAULT 0,\n"
    "  hops INTEGER NOT NULL DEFAULT 0,\n"
    "  cold INTEGER,\n"
    "  revision INTEGER,\n"
    "  queued_at REAL,\n"
    "  started_at REAL,\n"
    "  ended_at REAL,\n"
    "  prompt_tokens INTEGER,\n"
    "  completion_tokens INTEGER,\n"
    "  cost REAL,\n"
    "  error TEXT,\n"
    "  answer TEXT,\n"
    "  UNIQUE (job_id, question_id, model_id, region, sample)\n"
    ") STRICT;\n"
    "CREATE TABLE attempts(\n"
    "  row INTEGER PRIMARY KEY,          -- executions.row * 1024 + number\n"
    "  id TEXT NOT NULL,                 -- execution_id.number\n"
    "  execution_id TEXT NOT NULL,\n"
    "  number INTEGER NOT NULL,          -- from 1\n"
    "  status TEXT NOT NULL " STATUS_CHECK ",\n"
    "  class TEXT " CLASS_CHECK ",\n"
    "  http_status INTEGER,\n"
    "  hops INTEGER NOT NULL DEFAULT 0,\n"
    "  cold INTEGER NOT NULL,\n"
    "  revision INTEGER NOT NULL,\n"
    "  in_flight INTEGER NOT NULL,       -- of the whole program when it started, itself included\n"
    "  bytes_in INTEGER,\n"
    "  bytes_out INTEGER,\n"
    "  queued_at REAL,\n"
    "  dispatched_at REAL,\n"
    "  first_byte_at REAL,\n"
    "  ended_at REAL,\n"
    "  url TEXT NOT NULL,\n"
    "  result_url TEXT,\n"
    "  served_model TEXT,\n"
    "  served_region TEXT,\n"
    "  error TEXT,\n"
    "  request TEXT,\n"
    "  response TEXT\n"
    ") STRICT;\n"
    "CREATE TABLE region_revisions(\n"
    "  revision INTEGER PRIMARY KEY,\n"
    "  hash TEXT NOT NULL,\n"
    "  source TEXT NOT NULL,\n"
    "  author TEXT,\n"
    "  reason TEXT,\n"
    "  created_at REAL NOT NULL\n"
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
    if (id.application_id != SCHEMA_APPLICATION_ID)
        return refuse_foreign(db, err);
    return id.version <= schema_version() || refuse_newer(db, &id, err);
}
