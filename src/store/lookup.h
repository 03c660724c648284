/* lookup.h -- finds a job, or says which ones there are. */
#ifndef STORE_LOOKUP_H
#define STORE_LOOKUP_H

#include "core/status.h"
#include "store/owner.h"
#include "store/sqlite.h"

struct job_found {
    char id[128];
    int64_t first_row, planned;
    enum job_state state;
    struct owner owner;
};

/* Whether rows like these can be a job's. Only damage makes them others, and what counts on them must not meet it. */
bool job_rows_possible(struct db *db, const char *job_id, int64_t first_row, int64_t planned, int64_t width,
                       struct err *err);

/* "last" is the newest job. An unknown id is ERR_USAGE, and the error names the nearest ones. */
bool job_find(struct db *db, const char *job_id, struct job_found *out, struct err *err);

#endif
