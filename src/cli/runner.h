/* runner.h -- runs one job to its end before the eyes of whoever started it: signals, progress, result, exit status. */
#ifndef CLI_RUNNER_H
#define CLI_RUNNER_H

#include "cli/args.h"
#include "core/plan.h"
#include "script/job_file.h"
#include "store/store.h"

struct runner {
    struct region_table *table;
    struct job_file *file;
    /* of a job that was run before; plan NULL: a new one */
    struct plan *plan;                     /* taken */
    const char *job_id;
    const struct execution_filter *failed; /* as in store_take() */
};

#define RUNNER_OPTIONS \
    {.name = "ca-file", .value = "FILE", .help = "trust the certificates in this PEM file, not the system's", \
     .setting = true}, \
    {.name = "progress", .value = "WHEN", .help = "live, log, none, or auto: live on a terminal", .fallback = "auto", \
     .setting = true}, \
    LOGGING_OPTIONS

#define RUNNER_EXITS "0 all succeeded, 1 some did not or `canvass cancel` ended it, 2 usage, configuration or\n" \
    "a policy that failed, 3 the timeout ran out, 4 the database failed, 130 interrupted"

/* Reads the options above: the log is as they say from here on. */
bool runner_setup(const struct args *args, struct err *err);
int runner_run(const struct args *args, const struct runner *what); /* the exit status */

#endif
