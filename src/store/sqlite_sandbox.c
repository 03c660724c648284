#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/sqlite_private.h"

/* The connection is read-only and query_only already. The authorizer shuts what those leave open: other
 * files (ATTACH), settings (PRAGMA), extensions and transactions that would hold the log back for ever. */
static bool pragma_only_reads(const char *name, const char *argument)
{
    static const char *const about[] = {"table_info", "table_xinfo", "table_list",
                                        "index_list", "index_info",  "index_xinfo"};
    static const char *const plain[] = {"application_id", "user_version", "page_size", "page_count", "freelist_count",
                                        "journal_mode", "compile_options", "integrity_check", "quick_check"};
    for (size_t i = 0; i < ARRAY_LEN(about); i++)
        if (sqlite3_stricmp(name, about[i]) == 0)
            return true;
    for (size_t i = 0; !argument && i < ARRAY_LEN(plain); i++)
        if (sqlite3_stricmp(name, plain[i]) == 0)
            return true;
    return false;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *database, const char *trigger)
{
    (void)ctx, (void)database, (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_UPDATE: /* json_each() and its like ask for this to declare themselves; a real one is not read-only */
        return sqlite3_stricmp(a, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_FUNCTION:
        return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA:
        return pragma_only_reads(a, b) ? SQLITE_OK : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static bool refuse(struct db *db, const char *what, const char *advice, struct err *err)
{
    return err_set(err, ERR_USAGE, "%s (%s): %s", what, db->path, advice);
}

/* True when nothing but blanks, comments and semicolons follows. */
static bool is_last(struct db *db, const char *rest)
{
    while (*rest) {
        sqlite3_stmt *another = NULL;
        const char *tail = rest;
        int code = sqlite3_prepare_v2(db->raw, rest, -1, &another, &tail);
        sqlite3_finalize(another);
        if (code != SQLITE_OK || another)
            return false;
        if (tail == rest)
            break;
        rest = tail;
    }
    return true;
}

static bool check_untrusted(struct db *db, sqlite3_stmt *raw, int code, const char *tail, struct err *err)
{
    if ((code & 0xff) == SQLITE_AUTH)
        return refuse(db, "the statement does more than read",
                      "use SELECT; attaching, settings and writing are refused", err);
    if (code != SQLITE_OK) {
        if ((code & 0xff) != SQLITE_ERROR)
            return db_problem(db, code, err);
        return err_set(err, ERR_USAGE,
                       "the query is wrong: %s (%s): use SELECT; the tables are jobs, questions, executions, "
                       "attempts, region_revisions and control_log",
                       sqlite3_errmsg(db->raw), db->path);
    }
    if (!raw)
        return refuse(db, "there is no statement to run", "give one SELECT", err);
    if (!sqlite3_stmt_readonly(raw))
        return refuse(db, "the statement would write", "use SELECT", err);
    if (!is_last(db, tail))
        return refuse(db, "there is more than one statement", "give them one at a time", err);
    return true;
}

void db_trust(struct db *db)
{
    sqlite3_set_authorizer(db->raw, NULL, NULL);
}

struct stmt *db_prepare_untrusted(struct db *db, const char *sql, struct err *err)
{
    sqlite3_stmt *raw = NULL;
    const char *tail = "";
    sqlite3_set_authorizer(db->raw, authorize, NULL); /* and stays: a changed schema prepares the statement anew */
    int code = sqlite3_prepare_v2(db->raw, sql, -1, &raw, &tail);
    if (!check_untrusted(db, raw, code, tail, err)) {
        sqlite3_finalize(raw);
        return NULL;
    }
    struct stmt *st = mem_zalloc(sizeof *st);
    st->raw = raw;
    st->db = db;
    return st;
}

void db_deadline(struct db *db, int64_t at_us)
{
    db->deadline_us = at_us;
}
