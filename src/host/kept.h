/* kept.h -- what the database keeps of a job besides its rows: script, settings, cells, region table. Enough to go on
 * with it when its files have changed or are gone. */
#ifndef HOST_KEPT_H
#define HOST_KEPT_H

#include "core/plan.h"
#include "script/job_file.h"
#include "script/limits.h"
#include "store/store.h"

struct kept;

struct kept_job {
    struct region_table *table; /* a reference */
    struct job_file *file;
    struct plan *plan;          /* of the job's own cells; for whoever runs it, or plan_free() */
    const char *job_id;
};

struct kept_options {
    struct script_limits limits;
    struct region_table *table; /* run against this one; NULL: against the table of the job's own revision */
    const char *secrets_file;   /* for that */
    bool plan_only;             /* nothing is asked by its table: secrets need not be there, and a table that lacks one
                                 * of the job's cells stays as it is, and the job's own revision serves instead */
};

/* Loads the job again from its stored copy. On NULL nothing is held. */
MUST_USE struct kept *kept_load(struct reader *reader, const char *job_id, const struct kept_options *options,
                                struct kept_job *out, struct err *err);
/* The same without region table and plan, for whoever does not run it. */
MUST_USE struct kept *kept_load_file(struct reader *reader, const char *job_id, const struct script_limits *limits,
                                     struct kept_job *out, struct err *err);
/* The same for the sake of its scorer; *kept is NULL, and nothing is held, when it has none. */
MUST_USE bool kept_load_scorer(struct reader *reader, const char *job_id, const struct script_limits *limits,
                               struct kept **kept, struct kept_job *out, struct err *err);
void kept_free(struct kept *k, struct kept_job *job); /* after the job was run */

/* The region tables of a database, each loaded when it is first wanted, and its secrets never. */
struct kept_tables;
MUST_USE struct kept_tables *kept_tables_new(struct reader *reader, const struct script_limits *limits);
const struct region_table *kept_tables_get(struct kept_tables *t, int64_t revision, struct err *err); /* NULL: err */
void kept_tables_free(struct kept_tables *t); /* NULL is a no-op */

#endif
