/* kept.h -- what the database keeps of a job besides its rows: script, settings, cells, region table. Enough to go on
 * with it when its files have changed or are gone. */
#ifndef CLI_KEPT_H
#define CLI_KEPT_H

#include "cli/args.h"
#include "cli/runner.h"
#include "script/limits.h"

struct kept;

/* Loads the job again from its stored copy, and the region table of its own revision, or the one of --regions.
 * out->plan has the job's own cells. On false nothing is held. */
MUST_USE struct kept *kept_load(const struct args *args, struct reader *reader, const char *job_id, struct runner *out,
                                struct err *err);
void kept_free(struct kept *k, struct runner *r); /* after the job was run */

/* The region tables of a database, each loaded when it is first wanted, and its secrets never. */
struct kept_tables;
MUST_USE struct kept_tables *kept_tables_new(struct reader *reader, const struct script_limits *limits);
const struct region_table *kept_tables_get(struct kept_tables *t, int64_t revision, struct err *err); /* NULL: err */
void kept_tables_free(struct kept_tables *t); /* NULL is a no-op */

#define KEPT_OPTIONS \
    {.name = "regions", .value = "TABLE.lua", .help = "a new region table, instead of the one the job ran against"}, \
    OPTION_SECRETS, \
    SCRIPT_OPTIONS

#endif
