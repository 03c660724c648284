/* take.h -- a job that was run before changes hands, and its executions that shall be asked again are opened.
 *
 * Rows only say more, they are not undone, but for what an attempt that goes on has said of its end. */
#ifndef STORE_TAKE_H
#define STORE_TAKE_H

#include "store/sqlite.h"

/* One transaction of its own. NULL when it is refused. */
MUST_USE struct taken *take_job(struct db *db, const struct take *take, struct err *err);

#endif
