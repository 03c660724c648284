/* sqlite.h -- a thin layer over SQLite, private to the store: the one place that knows its codes.
 *
 * Each failure becomes a text for a person that names the file, SQLite's own words and what to do. A
 * statement remembers a failed bind and reports it when it runs, so a row of binds needs one check.
 * A connection belongs to one thread at a time. */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

struct db;
struct stmt;

enum db_mode {
    DB_CREATE,      /* made when missing */
    DB_EXISTING,    /* written to, must be there */
    DB_READ,        /* never written to */
};

enum { DB_BUSY_MS = 30 * 1000 }; /* how long another process's lock is waited for */

MUST_USE struct db *db_open(const char *path, enum db_mode mode, int busy_ms, struct err *err);
/* Asked some times a second while another process holds a lock: false gives up. Takes the place of busy_ms. */
typedef bool db_patience(void *ctx, int64_t locked_since_us);
void db_set_patience(struct db *db, db_patience *patience, void *ctx);
void db_close(struct db *db); /* NULL is a no-op; its statements are freed before */
const char *db_path(const struct db *db);

bool db_exec(struct db *db, const char *sql, struct err *err); /* one or more statements, rows dropped */
/* The first column of the first row; NULL and no row give 0. */
bool db_int(struct db *db, const char *sql, int64_t *out, struct err *err);
/* False when the file or its log was removed, replaced or cut short behind our back. Cheap; db_begin() does it too. */
bool db_in_place(struct db *db, struct err *err);
bool db_begin(struct db *db, struct err *err);    /* the write lock is held when it returns true */
bool db_commit(struct db *db, struct err *err);   /* rolled back when it returns false */
void db_rollback(struct db *db);                  /* harmless outside a transaction */
int64_t db_changes(struct db *db);                /* rows the last statement changed */
bool db_use_wal(struct db *db, struct err *err);  /* readers and a writer side by side, from now on */

MUST_USE struct stmt *db_prepare(struct db *db, const char *sql, struct err *err);
void stmt_free(struct stmt *st);                  /* NULL is a no-op */

/* Texts are borrowed until the statement runs anew or is reset. Parameters count from 1. */
void stmt_int(struct stmt *st, int at, int64_t value);
void stmt_real(struct stmt *st, int at, double value);        /* NAN: NULL */
void stmt_str(struct stmt *st, int at, struct str text);      /* ptr NULL: NULL */
void stmt_text(struct stmt *st, int at, const char *text);    /* NULL: NULL */
void stmt_null(struct stmt *st, int at);

bool stmt_run(struct stmt *st, struct err *err);              /* to its end, then reset */
/* *row: there is one. False: it failed. At the end and after a failure the statement is reset. */
bool stmt_next(struct stmt *st, bool *row, struct err *err);
void stmt_reset(struct stmt *st);

/* Of the row that stmt_next() found; columns count from 0. */
int stmt_columns(const struct stmt *st);
const char *stmt_column_name(const struct stmt *st, int column);
int64_t stmt_get_int(struct stmt *st, int column);
double stmt_get_real(struct stmt *st, int column);            /* NULL: NAN */
const char *stmt_get_text(struct stmt *st, int column);       /* NULL: NULL; until the next step */
struct value stmt_get(struct stmt *st, int column);

/* For SQL that a user typed: exactly one statement, and one that only reads. */
MUST_USE struct stmt *db_prepare_untrusted(struct db *db, const char *sql, struct err *err);
/* The statements of this connection stop with an error once mono_now_us() passes at_us. NEVER_US: no limit. */
void db_deadline(struct db *db, int64_t at_us);

#endif
