/* reader_internal.h -- the reading connection, for the files that ask it. */
#ifndef STORE_READER_INTERNAL_H
#define STORE_READER_INTERNAL_H

#include "store/sqlite.h"

struct reader {
    struct db *db;
};

/* Hands each row to `row` until it returns false. Frees the statement. */
bool reader_each(struct stmt *st, reader_row *row, void *ctx, struct err *err);

/* Of the job with exactly this id, in the caller's transaction. */
bool job_count(struct db *db, const char *job_id, struct job_summary *out, struct err *err);

struct buf;
/* " WHERE e.job_id = ?1 AND ..." for what the filter names; ?1 to ?7 are its own. */
void filter_add(const struct execution_filter *f, struct buf *sql);
void filter_bind(const struct execution_filter *f, struct stmt *st);

#endif
