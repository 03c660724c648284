#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/runner.h"

/* A job that does not fit the table is refused before there is a database. */
static bool fits(const struct inputs *in, struct err *err)
{
    struct plan *plan = plan_make(job_file_spec(in->file), in->table, err);
    plan_free(plan);
    return plan;
}

static int run(const struct args *args)
{
    struct err err;
    struct inputs in;
    if (!runner_setup(args, &err) || !inputs_load(args, false, &in, &err))
        return complain(&err);
    int status = fits(&in, &err) ? runner_run(args, &(struct runner){.table = in.table, .file = in.file})
                                 : complain(&err);
    inputs_done(&in);
    return status;
}

static const struct option_spec options[] = {
    INPUT_OPTIONS,
    OPTION_DB,
    RUNNER_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_run = {
    .name = "run",
    .words = "JOB.lua",
    .summary = "ask the questions and keep the answers",
    .details = "Runs a job script, or a JSON specification, against a region table. Every execution and every POST is\n"
               "on disk before it counts. The first Ctrl-C asks no more and lets what is in flight finish, the second\n"
               "closes every connection. However it ends, `canvass resume` goes on from there.\n\n"
               "exit status: " RUNNER_EXITS,
    .examples = "  canvass run job.lua --regions regions.lua\n"
                "  canvass run job.lua --regions regions.lua --policy by_endpoint --timeout 20m --db study.db\n"
                "  canvass run job.lua --regions regions.lua --set language=de --json > result.json",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
