/* Is what lies on the disk still what SQLite has open? SQLite looks at its own cache and at open files, so it goes on
 * writing to a file that has lost its name, and past the end of one that was cut short. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/sqlite_private.h"

enum look { LOOKS_SAME, LOOKS_SHORTER, LOOKS_GONE };

/* More of the log than this SQLite cuts off by itself: journal_size_limit in store.c. */
static const off_t LOG_KEPT_BYTES = 64 * 1024 * 1024;

static enum look look_at(const char *path, struct file_seen *seen)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return seen->known ? LOOKS_GONE : LOOKS_SAME;
    if (seen->known && (st.st_dev != seen->device || st.st_ino != seen->inode))
        return LOOKS_GONE;
    if (seen->known && st.st_size < seen->bytes)
        return LOOKS_SHORTER;
    *seen = (struct file_seen){true, st.st_dev, st.st_ino, st.st_size};
    return LOOKS_SAME;
}

static enum look look_at_main(struct db *db)
{
    return look_at(sqlite3_db_filename(db->raw, "main"), &db->seen_main);
}

static enum look look_at_log(struct db *db)
{
    enum look look = look_at(sqlite3_filename_wal(sqlite3_db_filename(db->raw, "main")), &db->seen_log);
    if (db->seen_log.bytes > LOG_KEPT_BYTES)
        db->seen_log.bytes = LOG_KEPT_BYTES;
    return look;
}

/* Another program may make the files shorter for a good reason (VACUUM, a checkpoint that truncates): then a
 * connection that has nothing in its cache finds everything. An empty file would pass for a new database. */
static bool reads_whole(struct db *db)
{
    struct stat st;
    if (stat(db->path, &st) != 0 || st.st_size == 0)
        return false;
    bool row = false, whole = false;
    struct db *fresh = db_open(db->path, DB_READ, db->busy_ms, NULL);
    struct stmt *st_check = fresh ? db_prepare(fresh, "PRAGMA quick_check(1)", NULL) : NULL;
    if (st_check && stmt_next(st_check, &row, NULL) && row)
        whole = strcmp(stmt_get_text(st_check, 0), "ok") == 0;
    stmt_free(st_check);
    db_close(fresh);
    return whole;
}

void db_note_files(struct db *db)
{
    look_at_main(db);
    look_at_log(db);
}

bool db_in_place(struct db *db, struct err *err)
{
    enum look main = look_at_main(db), log = look_at_log(db);
    if (main == LOOKS_GONE || log == LOOKS_GONE)
        return err_set(err, ERR_STORE, "the database%s was removed, renamed or replaced while in use (%s): put it "
                       "back where it was, or run again with another --db", main == LOOKS_GONE ? "" : "'s -wal file",
                       db->path);
    if (main == LOOKS_SAME && log == LOOKS_SAME)
        return true;
    if (!reads_whole(db))
        return err_set(err, ERR_STORE,
                       "the database%s was cut short or overwritten while in use (%s): find out who did "
                       "that, then rescue what is left with: sqlite3 FILE .recover",
                       main == LOOKS_SHORTER ? "" : "'s -wal file", db->path);
    db->seen_main.bytes = db->seen_log.bytes = 0;
    return true;
}
