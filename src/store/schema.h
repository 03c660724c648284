/* schema.h -- the tables, and how a file gets them.
 *
 * The words of status.h become CHECK constraints, so schema and C cannot disagree. user_version counts
 * the migrations a file has had; application_id tells our files from all others. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/sqlite.h"

enum {
    SCHEMA_APPLICATION_ID = 0x63766173, /* "cvas" */
    ATTEMPTS_PER_EXECUTION = 1024,      /* attempts.row = executions.row * this + number; in SQL: 1024 */
};

/* Creates or migrates. An empty file becomes a database, a foreign one is refused. */
bool schema_prepare(struct db *db, struct err *err);
/* Only looks: a canvass database, not newer than this program. */
bool schema_check(struct db *db, struct err *err);
int schema_version(void);

#endif
