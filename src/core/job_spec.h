/* job_spec.h -- what a job script or a JSON specification says, as plain data.
 *
 * Built by script/job_file, then only read; it lives in its arena. */
#ifndef CORE_JOB_SPEC_H
#define CORE_JOB_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "core/sources.h"

enum on_missing { ON_MISSING_WAIT, ON_MISSING_SKIP };

struct question {
    const char *id;
    struct str prompt;
    const char *expected; /* JSON text, NULL: none */
    const char *metadata; /* JSON object of all further fields, NULL: none */
};

/* Which cells of the region table the job asks. Names as written; resolved by
 * plan_make(), which refuses the unknown ones. */
struct model_choice {
    const char *model;
    const char *const *regions; /* of this model only; NULL: the job's */
    size_t region_count;
};

struct job_spec {
    struct arena arena;
    const char *name;          /* [A-Za-z0-9_-]+ */
    struct question *questions;
    size_t question_count;
    struct model_choice *models; /* count 0: all that are not reserved */
    size_t model_count;
    const char *const *regions;  /* count 0: all */
    size_t region_count;
    unsigned samples;          /* at least 1 */
    unsigned in_flight;        /* the job's own cap; 0: none */
    int64_t timeout_us;        /* from the start, anew from the first dispatch; 0: none */
    enum on_missing on_missing;
    bool warm;                 /* warm the endpoints up first */
    bool scored;               /* the script has a scorer */
    const char *policy;        /* its name, for records and screens */
    const char *parameters;    /* JSON object, "{}" when none */
    const char *derived_of, *derived_kind; /* the job whose answers it is about, and "grade" or "embed"; NULL: none */
    const char *submitted_by;
    const struct source_file *sources; /* the script first, then what it required and read */
    size_t source_count;
    const char *settings;      /* JSON object of --set, NULL: none */
    const char *question_list; /* the source that --questions named; NULL: none */
};

struct job_spec *job_spec_new(void);
void job_spec_free(struct job_spec *spec); /* NULL is a no-op */

#endif
