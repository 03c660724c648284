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

enum { JOB_SAMPLES_MAX = 100000, JOB_IN_FLIGHT_MAX = 1000000 };

struct job_file_options {
    const struct script_limits *limits;     /* NULL: the defaults */
    /* --set: name, samples, timeout, in_flight, on_missing, warm and parameters.NAME stand over the file's; any other
     * key must be read by the script while it is loaded (canvass.settings.KEY, canvass.setting(KEY, default)). */
    const struct script_setting *settings;
    size_t setting_count;
    /* --policy NAME instead of the script's: a built-in one, or MODULE.FUNCTION of a Lua file beside the job. NULL and
     * "custom", which is what job_spec.policy says of a function without a name: the script's own. So a recorded name
     * can be given again. */
    const char *policy;
    const struct sources *kept;             /* what the job was made of, instead of files; NULL: files */
    const char *questions;                  /* --questions FILE, for ids in a JSON specification; NULL: none */
    /* canvass.log(...) and print(...) of the script; NULL: dropped */
    void (*log)(void *ctx, const char *line);
    void *ctx;
};

/* The first of kept, as if it were at its name: where files are not looked at, path is nothing but that. */
/* By the file's ending: .json is a specification, all else Lua. NULL on error. */
MUST_USE struct job_file *job_file_load(const char *path, const struct job_file_options *o, struct err *err);
void job_file_free(struct job_file *f);                    /* NULL is a no-op; after its engine job was freed */
const struct job_spec *job_file_spec(const struct job_file *f);

/* Has the job a scorer? What it says of an answer: NAN when it says nothing. False with err when it fails. */
bool job_file_scores(const struct job_file *f);
bool job_file_score(struct job_file *f, const struct question *question, struct str answer, double *score,
                    struct err *err);

/* The policy over one plan; one at a time for each file. */
void job_file_policy(struct job_file *f, const struct plan *plan, struct policy_port *out);

#endif
