/* sqlite_private.h -- what the files around SQLite share. */
#ifndef STORE_SQLITE_PRIVATE_H
#define STORE_SQLITE_PRIVATE_H

#include <sqlite3.h>
#include <sys/types.h>

#include "store/sqlite.h"

struct file_seen {
    bool known;
    dev_t device;
    ino_t inode;
    off_t bytes;
};

struct db {
    sqlite3 *raw;
    char *path;
    int busy_ms;
    int64_t locked_since_us;
    db_patience *patience;
    void *patience_ctx;
    int64_t deadline_us;
    struct stmt *begin, *commit;
    struct file_seen seen_main, seen_log;
};

struct stmt {
    sqlite3_stmt *raw;
    struct db *db;
    int bind_code;      /* the first bind that failed since the last run */
};

/* Sets err from the connection's last code. Returns false. */
bool db_problem(struct db *db, int code, struct err *err);

/* sqlite_files.c: how long the files are now, for the next db_in_place(). */
void db_note_files(struct db *db);

void db_trust(struct db *db); /* what comes next is our own SQL */

#endif
