/* revise.h -- what operators do, on record: revisions of the region table, rows of control_log. */
#ifndef STORE_REVISE_H
#define STORE_REVISE_H

#include "store/sqlite.h"
#include "store/store.h"

struct revise *revise_copy(const struct revise *r);
void revise_free(struct revise *r); /* NULL is a no-op */

/* In one transaction. */
bool revise(struct db *db, const struct revise *r, int64_t *revision, struct err *err);

#endif
