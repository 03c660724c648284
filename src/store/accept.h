/* accept.h -- a job enters the database: its files, its questions and what each is put to. */
#ifndef STORE_ACCEPT_H
#define STORE_ACCEPT_H

#include "store/sqlite.h"

/* One transaction of its own. The job belongs to this process from then on. */
bool accept_job(struct db *db, const struct plan *plan, const char *author, struct accepted *out, struct err *err);

#endif
