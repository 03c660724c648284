/* accept.h -- a job enters the database: its files, its questions and what each is put to. */
#ifndef STORE_ACCEPT_H
#define STORE_ACCEPT_H

#include "store/sqlite.h"

/* One transaction of its own. The job belongs to this process from then on. */
/* revision: of the plan's table; 0: it is recorded, unless the newest one is the same. */
bool accept_job(struct db *db, const struct plan *plan, const struct submission *by, int64_t revision,
                struct accepted *out, struct err *err);

/* The newest revision if its hash is this table's, else a new one, with all the table is made of. In the caller's
 * transaction. */
bool record_revision(struct db *db, const struct region_table *table, const char *author, const char *reason,
                     int64_t *revision, struct err *err);

#endif
