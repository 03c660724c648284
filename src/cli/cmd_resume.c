#include <inttypes.h>

#include <cjson/cJSON.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/runner.h"
#include "cli/summary.h"
#include "host/kept.h"

/* A job that has ended and left nothing undone. */
static bool nothing_left(const struct job_summary *j)
{
    return job_state_is_final(j->state) &&
           j->by_status[STATUS_SUCCEEDED] + j->by_status[STATUS_FAILED] == j->planned;
}

static int say_nothing_left(const struct job_summary *j, struct reader *reader, bool json, struct err *err)
{
    int64_t failed = j->by_status[STATUS_FAILED];
    struct summary *s = summary_load(reader, j->id, err);
    struct buf out;
    if (!s)
        return complain(err);
    if (json) {
        out_json(summary_json(s));
    } else {
        buf_init(&out, 4096);
        if (failed)
            buf_addf(&out, "%s: nothing was left undone: %" PRId64 " of %" PRId64 " executions have succeeded, %" PRId64
                     " failed and are asked again by canvass retry %s\n", j->id, j->by_status[STATUS_SUCCEEDED],
                     j->planned, failed, j->id);
        else
            buf_addf(&out, "%s: all %" PRId64 " executions have succeeded: there is nothing left to ask\n", j->id,
                     j->planned);
        out_buf(&out);
        buf_done(&out);
    }
    summary_free(s);
    return failed ? EXIT_SOME_FAILED : EXIT_ALL_WELL;
}

static int run(const struct args *args)
{
    struct err err;
    struct kept_job again;
    struct job_summary job;
    struct kept *kept = NULL;
    if (!runner_setup(args, &err))
        return complain(&err);
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool found = reader && reader_job(reader, args->words[0], &job, &err);
    if (found && nothing_left(&job)) {
        int status = say_nothing_left(&job, reader, args_flag(args, "json"), &err);
        reader_close(reader);
        return status;
    }
    if (found)
        kept = inputs_kept(args, reader, job.id, &again, &err);
    reader_close(reader);
    if (!kept)
        return complain(&err);
    int status = runner_run(args, &(struct runner){again.table, again.file, again.plan, again.job_id, NULL});
    kept_free(kept, &again);
    return status;
}

static const struct option_spec options[] = {
    OPTION_DB,
    KEPT_OPTIONS,
    RUNNER_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_resume = {
    .name = "resume",
    .words = "JOB",
    .summary = "go on with a job that was interrupted, whatever interrupted it",
    .details = "What has succeeded or failed is not asked again. An attempt that was given a result URL is collected\n"
               "there, without a new POST. A request that was sent when the process died may have run: it fails as\n"
               "unknown_outcome, and is sent again only where the table says retry = { unknown = true }. All else is\n"
               "asked, by the same policy; what was cancelled or skipped too.\n\n"
               "The stored copies of the script and of the region table are used, not the files; secrets come from\n"
               "the environment or --secrets. With --regions a new table holds from here on (CANVASS_REGIONS does not\n"
               "count); endpoints that are not in it wait or are skipped, as the job's on_missing says. The job's\n"
               "timeout and the deadlines begin anew. retry.attempts counts on over a crash; what was cancelled or\n"
               "skipped gets a whole number again. JOB may be `last`.\n\n"
               "exit status: " RUNNER_EXITS ";\n"
               "2 too when a living process runs the job",
    .examples = "  canvass resume last\n"
                "  canvass resume bias-detection-3 --regions repaired.lua",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
