/* inputs.h -- the files and options that make a job: for `run`, `plan` and `rehearse`. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include "cli/args.h"
#include "core/region_table.h"
#include "host/kept.h"
#include "script/job_file.h"
#include "script/limits.h"

#define INPUT_OPTIONS INPUT_OPTIONS_OF(false)
#define INPUT_OPTIONS_OF(several_policies) \
    OPTION_REGIONS, \
    {.name = "policy", .value = "NAME", .help = "instead of the job's: sequential, by_region, by_endpoint, free", \
     .setting = true, .repeats = several_policies}, \
    OPTION_SET, \
    {.name = "questions", .value = "FILE", .help = "the questions that a JSON specification names by id", \
     .setting = true}, \
    ASKING_OPTIONS

/* Of a command that makes up the job itself. */
#define MADE_OPTIONS \
    OPTION_REGIONS, \
    OPTION_SET, \
    ASKING_OPTIONS

#define OPTION_SET \
    {.name = "set", .value = "KEY=VALUE", .help = "a setting that the job script reads", .repeats = true}
#define ASKING_OPTIONS \
    {.name = "timeout", .value = "TIME", .help = "of the whole job from its first request, such as 10m", \
     .setting = true}, \
    {.name = "samples", .value = "N", .help = "how often each endpoint is asked each question", .setting = true}, \
    {.name = "in-flight", .value = "N", .help = "the job's own cap on requests in flight", .setting = true}, \
    OPTION_SECRETS, \
    SCRIPT_OPTIONS

#define SCRIPT_OPTIONS \
    {.name = "script-memory", .value = "MB", .help = "a script may use so much memory", .fallback = "64", \
     .setting = true}, \
    {.name = "script-load-time", .value = "TIME", .help = "CPU time a script may take to load", .fallback = "2s", \
     .setting = true}, \
    {.name = "script-call-time", .value = "TIME", .help = "CPU time one call into a script may take", \
     .fallback = "1s", .setting = true}

/* Of a command that goes on with a job from what the database keeps of it. */
#define KEPT_OPTIONS \
    {.name = "regions", .value = "TABLE.lua", .help = "a new region table, instead of the one the job ran against"}, \
    OPTION_SECRETS, \
    SCRIPT_OPTIONS

struct inputs {
    struct script_limits limits;
    struct region_table *table;
    struct job_file *file;
};

/* Logs the table's warnings. On false nothing is held. */
bool inputs_load(const struct args *args, bool secrets_optional, struct inputs *out, struct err *err);
/* The same of a job that the program makes up: its files, the script first, which must outlive it. */
bool inputs_load_made(const struct args *args, const struct sources *files, struct inputs *out, struct err *err);
void inputs_done(struct inputs *in);

/* The job once more, under another policy; NULL: its own. */
struct job_file *inputs_job(const struct args *args, const struct inputs *in, const char *policy, struct err *err);

/* A job from what the database keeps of it, as KEPT_OPTIONS say. On NULL nothing is held. */
MUST_USE struct kept *inputs_kept(const struct args *args, struct reader *reader, const char *job_id,
                                  struct kept_job *out, struct err *err);

/* The region table alone; path NULL: an error that says so. */
struct region_table *load_regions(const char *path, const char *secrets, bool secrets_optional,
                                  const struct script_limits *limits, struct err *err);
bool inputs_limits(const struct args *args, struct script_limits *out, struct err *err); /* of SCRIPT_OPTIONS */
const char *author_name(void); /* who runs this program, for records; lives until the next call */

#endif
