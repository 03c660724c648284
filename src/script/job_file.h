/* job_file.h -- the researcher's file: a job script, or a JSON job specification.
 *
 * Holds the script's Lua state, because the policy and the scorer run in it later. */
#ifndef SCRIPT_JOB_FILE_H
#define SCRIPT_JOB_FILE_H

#include "base/err.h"
#include "core/job_spec.h"
#include "engine/ports.h"
#include "script/limits.h"

struct job_file;

struct job_file_options {
    const struct script_limits *limits;     /* NULL: the defaults */
    const struct script_setting *settings;  /* --set */
    size_t setting_count;
    const char *policy;                     /* --policy NAME instead of the script's; NULL: the script's */
    const char *questions;                  /* --questions FILE, for ids in a JSON specification; NULL: none */
    /* canvass.log(...) and print(...) of the script; NULL: dropped */
    void (*log)(void *ctx, const char *line);
    void *ctx;
};

/* By the file's ending: .json is a specification, all else Lua. NULL on error. */
MUST_USE struct job_file *job_file_load(const char *path, const struct job_file_options *o, struct err *err);
void job_file_free(struct job_file *f);                    /* NULL is a no-op; after its engine job was freed */
const struct job_spec *job_file_spec(const struct job_file *f);

/* The policy over one plan; one at a time for each file. */
void job_file_policy(struct job_file *f, const struct plan *plan, struct policy_port *out);

#endif
