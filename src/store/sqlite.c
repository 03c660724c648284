#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "store/sqlite_private.h"
#include "store/sqlite_wal.h"

enum { READ_LENGTH_MAX_BYTES = 64 * 1024 * 1024 }; /* of one row or value; bodies end at a few MiB */

static const struct {
    int code;
    const char *what, *advice;
} problems[] = {
    {SQLITE_FULL, "the disk is full",
     "free some space; all that was reported as saved is safe"},
    {SQLITE_BUSY, "another process keeps the database locked", "wait for that process or end it, then try again"},
    {SQLITE_LOCKED, "another process keeps the database locked", "wait for that process or end it, then try again"},
    {SQLITE_READONLY, "the database cannot be written to",
     "make the file and its folder writable, or name another with --db"},
    {SQLITE_IOERR, "reading or writing the database failed", "check the disk; all that was reported as saved is safe"},
    {SQLITE_CORRUPT, "the database is damaged", "restore a copy, or rescue what is left with: sqlite3 FILE .recover"},
    {SQLITE_NOTADB, "this is not a canvass database", "name another file with --db"},
    {SQLITE_CANTOPEN, "the database cannot be opened", "check that its folder exists and can be written to"},
    {SQLITE_PROTOCOL, "the database cannot be locked",
     "put it on a local disk: network file systems do not lock well enough"},
    {SQLITE_PERM, "access to the database is denied", "check the owner and the mode of the file"},
    {SQLITE_AUTH, "only reading is allowed here", "use SELECT"},
    {SQLITE_TOOBIG, "a text is too long for the database", "select fewer or shorter texts"},
    {SQLITE_INTERRUPT, "the query took too long and was stopped", "narrow it, or allow it more time"},
    {SQLITE_CONSTRAINT, "the database refused a row",
     "something else has changed the file: check it with canvass verify"},
};

bool db_problem(struct db *db, int code, struct err *err)
{
    const char *what = "the database reports an error";
    const char *advice = "check the statement against the tables";
    int system_error = db->raw ? sqlite3_system_errno(db->raw) : 0;
    /* Some of SQLite's writes call it an I/O error. */
    bool full = (code & 0xff) == SQLITE_IOERR && (system_error == ENOSPC || system_error == EDQUOT);
    for (size_t i = 0; i < ARRAY_LEN(problems); i++) {
        if (problems[i].code != (full ? SQLITE_FULL : code & 0xff))
            continue;
        what = problems[i].what;
        advice = problems[i].advice;
    }
    bool disk = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_FULL;
    const char *reason = disk && system_error ? strerror(system_error) : NULL;
    const char *words =
        db->raw && sqlite3_errcode(db->raw) != SQLITE_OK ? sqlite3_errmsg(db->raw) : sqlite3_errstr(code);
    return err_set(err, ERR_STORE, "%s: %s%s%s (%s): %s", what, words, reason ? ", " : "", reason ? reason : "",
                   db->path, advice);
}

static const char *writers_vfs; /* NULL: the default one */

/* Counting each allocation under one global mutex is the only thing the two threads would ever contend for. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    writers_vfs = wal_vfs_register();
}

/* SQLite says "unable to open" to all of these; a person wants to know which it is. */
static bool path_is_plausible(const char *path, enum db_mode mode, struct err *err)
{
    struct stat st;
    if (!*path)
        return err_set(err, ERR_STORE, "the database has no name (--db): name a file");
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return err_set(err, ERR_STORE, "the database is a folder (%s): name a file in it with --db", path);
        if (!S_ISREG(st.st_mode))
            return err_set(err, ERR_STORE, "the database is not a regular file (%s): name another with --db", path);
        if (access(path, R_OK) != 0)
            return err_set(err, ERR_STORE,
                           "the database cannot be read: %s (%s): check the owner and the mode of the file",
                           strerror(errno), path);
        if (mode != DB_READ && access(path, W_OK) != 0)
            return err_set(err, ERR_STORE, "the database cannot be written to: %s (%s): make it writable, "
                           "or name another with --db", strerror(errno), path);
        return true;
    }
    if (errno != ENOENT)
        return err_set(err, ERR_STORE, "the database cannot be reached: %s (%s): check the path", strerror(errno),
                       path);
    if (mode != DB_CREATE)
        return err_set(err, ERR_STORE, "there is no database (%s): run a job first, or name another file with --db",
                       path);

    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? mem_strdup(".")
                   : slash == path ? mem_strdup("/")
                                   : mem_strndup(path, (size_t)(slash - path));
    bool ok = true;
    if (stat(folder, &st) != 0)
        ok = err_set(err, ERR_STORE, "there is no folder for the database (%s): make it with: mkdir -p '%s'", path,
                     folder);
    else if (!S_ISDIR(st.st_mode))
        ok = err_set(err, ERR_STORE, "'%s' is not a folder (%s): name another file with --db", folder, path);
    else if (access(folder, W_OK | X_OK) != 0)
        ok = err_set(err, ERR_STORE, "the folder of the database cannot be written to: %s (%s): change its mode, "
                     "or name another with --db", strerror(errno), path);
    free(folder);
    return ok;
}

static int progress(void *ctx)
{
    const struct db *db = ctx;
    return db->deadline_us != NEVER_US && mono_now_us() > db->deadline_us;
}

static int locked(void *ctx, int count)
{
    enum { LONGEST_NAP_MS = 25 };
    struct db *db = ctx;
    int64_t now_us = mono_now_us();
    if (count == 0)
        db->locked_since_us = now_us;
    bool goes_on = db->patience ? db->patience(db->patience_ctx, db->locked_since_us)
                                : now_us - db->locked_since_us < db->busy_ms * MS_US;
    if (goes_on)
        sqlite3_sleep(count < 5 ? 1 << count : LONGEST_NAP_MS);
    return goes_on;
}

void db_set_patience(struct db *db, db_patience *patience, void *ctx)
{
    db->patience = patience;
    db->patience_ctx = ctx;
}

/* Settings that are safe before it is known whose file this is. */
static bool prepare_connection(struct db *db, enum db_mode mode, struct err *err)
{
    int code = sqlite3_extended_result_codes(db->raw, 1);
    if (code == SQLITE_OK)
        code = sqlite3_busy_handler(db->raw, locked, db);
    if (code == SQLITE_OK)
        code = sqlite3_db_config(db->raw, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_db_config(db->raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (code != SQLITE_OK)
        return db_problem(db, code, err);
    if (mode != DB_READ && sqlite3_db_readonly(db->raw, "main") != 0)
        return db_problem(db, SQLITE_READONLY, err);
    sqlite3_progress_handler(db->raw, 10000, progress, db);
    if (mode != DB_READ) /* a commit is on the disk when it returns; writers_vfs counts on that too */
        return db_exec(db, "PRAGMA synchronous = FULL", err);
    sqlite3_limit(db->raw, SQLITE_LIMIT_LENGTH, READ_LENGTH_MAX_BYTES);
    return db_exec(db, "PRAGMA query_only = 1", err);
}

/* A process that died before the file had its write-ahead log leaves a journal, which only a writer can take back. */
static bool roll_back_journal(struct db *db, struct err *err)
{
    if (sqlite3_exec(db->raw, "SELECT 1 FROM sqlite_schema", NULL, NULL, NULL) != SQLITE_READONLY_ROLLBACK)
        return true;
    int64_t count;
    struct db *writer = db_open(db->path, DB_EXISTING, db->busy_ms, err);
    bool ok = writer && db_int(writer, "SELECT count(*) FROM sqlite_schema", &count, err);
    db_close(writer);
    return ok;
}

struct db *db_open(const char *path, enum db_mode mode, int busy_ms, struct err *err)
{
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, configure);
    if (!path_is_plausible(path, mode, err))
        return NULL;

    static const int flags[] = {
        [DB_CREATE] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        [DB_EXISTING] = SQLITE_OPEN_READWRITE,
        [DB_READ] = SQLITE_OPEN_READONLY,
    };
    struct db *db = mem_zalloc(sizeof *db);
    db->path = mem_strdup(path);
    db->busy_ms = busy_ms;
    db->deadline_us = NEVER_US;
    int code = sqlite3_open_v2(path, &db->raw, flags[mode] | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                               mode == DB_READ ? NULL : writers_vfs);
    if (code != SQLITE_OK)
        db_problem(db, code, err);
    if (code != SQLITE_OK || !prepare_connection(db, mode, err) || (mode == DB_READ && !roll_back_journal(db, err))) {
        db_close(db);
        return NULL;
    }
    return db;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    stmt_free(db->begin);
    stmt_free(db->commit);
    int code = sqlite3_close(db->raw);
    assert(code == SQLITE_OK); /* else a statement was left open: our bug */
    free(db->path);
    free(db);
}

const char *db_path(const struct db *db)
{
    return db->path;
}

bool db_exec(struct db *db, const char *sql, struct err *err)
{
    db_trust(db);
    int code = sqlite3_exec(db->raw, sql, NULL, NULL, NULL);
    return code == SQLITE_OK || db_problem(db, code, err);
}

bool db_int(struct db *db, const char *sql, int64_t *out, struct err *err)
{
    struct stmt *st = db_prepare(db, sql, err);
    if (!st)
        return false;
    bool row;
    bool ok = stmt_next(st, &row, err);
    if (ok)
        *out = row ? stmt_get_int(st, 0) : 0;
    stmt_free(st);
    return ok;
}

static bool wal_mode(struct db *db, bool *wal, int *code, struct err *err)
{
    struct stmt *st = db_prepare(db, "PRAGMA journal_mode = WAL", err);
    if (!st)
        return false;
    *code = sqlite3_step(st->raw);
    *wal = *code == SQLITE_ROW && strcmp(stmt_get_text(st, 0), "wal") == 0;
    stmt_free(st);
    return true;
}

/* When two processes change a new file's mode at once SQLite sees a deadlock and tells one of them to go away, without
 * the patience that busy_timeout gives everything else. */
bool db_use_wal(struct db *db, struct err *err)
{
    enum { RETRY_MS = 5 };
    int64_t until_us = mono_now_us() + db->busy_ms * MS_US;
    for (;;) {
        bool wal;
        int code;
        if (!wal_mode(db, &wal, &code, err))
            return false;
        if (wal)
            return true;
        if (code == SQLITE_ROW)
            return err_set(err, ERR_STORE, "the file system cannot hold a write-ahead log (%s): put the database on a "
                           "local disk", db->path);
        if ((code & 0xff) != SQLITE_BUSY || mono_now_us() > until_us)
            return db_problem(db, code, err);
        sqlite3_sleep(RETRY_MS);
    }
}

static bool run_kept(struct db *db, struct stmt **kept, const char *sql, struct err *err)
{
    if (!*kept)
        *kept = db_prepare(db, sql, err);
    return *kept && stmt_run(*kept, err);
}

bool db_begin(struct db *db, struct err *err)
{
    return db_in_place(db, err) && run_kept(db, &db->begin, "BEGIN IMMEDIATE", err);
}

bool db_commit(struct db *db, struct err *err)
{
    bool ok = run_kept(db, &db->commit, "COMMIT", err);
    if (ok)
        db_note_files(db);
    else
        db_rollback(db);
    return ok;
}

/* A failed statement may have rolled back by itself; a failed rollback leaves nothing that could be committed:
 * the caller stops writing, and the next process finds the last commit. */
void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->raw))
        db_exec(db, "ROLLBACK", NULL);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->raw);
}

struct stmt *db_prepare(struct db *db, const char *sql, struct err *err)
{
    sqlite3_stmt *raw;
    db_trust(db);
    int code = sqlite3_prepare_v3(db->raw, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, NULL);
    if (code != SQLITE_OK) {
        db_problem(db, code, err);
        return NULL;
    }
    struct stmt *st = mem_zalloc(sizeof *st);
    st->raw = raw;
    st->db = db;
    return st;
}

void stmt_free(struct stmt *st)
{
    if (!st)
        return;
    sqlite3_finalize(st->raw); /* its code repeats the last step's, which was looked at */
    free(st);
}

static void note_bind(struct stmt *st, int code)
{
    if (code != SQLITE_OK && st->bind_code == SQLITE_OK)
        st->bind_code = code;
}

void stmt_int(struct stmt *st, int at, int64_t value)
{
    note_bind(st, sqlite3_bind_int64(st->raw, at, value));
}

void stmt_real(struct stmt *st, int at, double value)
{
    note_bind(st, isnan(value) ? sqlite3_bind_null(st->raw, at) : sqlite3_bind_double(st->raw, at, value));
}

void stmt_str(struct stmt *st, int at, struct str text)
{
    if (!text.ptr)
        stmt_null(st, at);
    else
        note_bind(st, sqlite3_bind_text64(st->raw, at, text.ptr, text.len, SQLITE_STATIC, SQLITE_UTF8));
}

void stmt_text(struct stmt *st, int at, const char *text)
{
    stmt_str(st, at, str_from(text));
}

void stmt_null(struct stmt *st, int at)
{
    note_bind(st, sqlite3_bind_null(st->raw, at));
}

bool stmt_next(struct stmt *st, bool *row, struct err *err)
{
    int code = st->bind_code;
    if (code == SQLITE_OK)
        code = sqlite3_step(st->raw);
    if (code == SQLITE_ROW) {
        *row = true;
        return true;
    }
    bool ok = code == SQLITE_DONE || db_problem(st->db, code, err);
    stmt_reset(st);
    if (ok)
        *row = false;
    return ok;
}

bool stmt_run(struct stmt *st, struct err *err)
{
    bool row;
    do {
        if (!stmt_next(st, &row, err))
            return false;
    } while (row);
    return true;
}

void stmt_reset(struct stmt *st)
{
    sqlite3_reset(st->raw); /* its code repeats the last step's */
    st->bind_code = SQLITE_OK;
}

int stmt_columns(const struct stmt *st)
{
    return sqlite3_column_count(st->raw);
}

const char *stmt_column_name(const struct stmt *st, int column)
{
    return sqlite3_column_name(st->raw, column);
}

int64_t stmt_get_int(struct stmt *st, int column)
{
    return sqlite3_column_int64(st->raw, column);
}

double stmt_get_real(struct stmt *st, int column)
{
    if (sqlite3_column_type(st->raw, column) == SQLITE_NULL)
        return (double)NAN;
    return sqlite3_column_double(st->raw, column);
}

const char *stmt_get_text(struct stmt *st, int column)
{
    return (const char *)sqlite3_column_text(st->raw, column);
}

struct value stmt_get(struct stmt *st, int column)
{
    switch (sqlite3_column_type(st->raw, column)) {
    case SQLITE_NULL:
        return (struct value){.type = VALUE_NULL};
    case SQLITE_INTEGER:
        return (struct value){.type = VALUE_INTEGER, .integer = sqlite3_column_int64(st->raw, column)};
    case SQLITE_FLOAT:
        return (struct value){.type = VALUE_REAL, .real = sqlite3_column_double(st->raw, column)};
    default: {
        const char *text = stmt_get_text(st, column);
        return (struct value){.type = VALUE_TEXT,
                              .text = {text ? text : "", (size_t)sqlite3_column_bytes(st->raw, column)}};
    }
    }
}
