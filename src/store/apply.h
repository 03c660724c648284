/* apply.h -- puts records into the tables, inside the transaction the writer holds. */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "store/queue.h"
#include "store/sqlite.h"

struct applier;

MUST_USE struct applier *applier_new(struct db *db, struct err *err);
void applier_free(struct applier *a); /* NULL is a no-op */

/* A row that should be there and is not is an error: something else changed the file. */
bool apply_record(struct applier *a, const struct record *r, struct err *err);

#endif
