#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "store/store.h"

#define PATIENCE_US (10 * SECOND_US)
#define LOOK_US (100 * MS_US)

/* Waits until the process that runs the job has ended it, or patience is over. */
static bool wait_for_end(struct reader *reader, struct job_summary *job, struct err *err)
{
    int64_t until_us = mono_now_us() + PATIENCE_US;
    char id[sizeof job->id];
    memcpy(id, job->id, sizeof id);
    for (;;) {
        if (!reader_job(reader, id, job, err))
            return false;
        if (job_state_is_final(job->state) || mono_now_us() >= until_us)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_US * 1000}, NULL);
    }
}

static void print(const struct job_summary *job, bool changed, int pid, bool json)
{
    bool over = job_state_is_final(job->state);
    if (json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "job_id", job->id);
        cJSON_AddBoolToObject(object, "changed", changed);
        cJSON_AddStringToObject(object, "state", job_state_name(job->state));
        out_json(object);
        return;
    }
    struct buf out;
    buf_init(&out, 4096);
    buf_addf(&out, "%s: changed %s, state %s\n", job->id, changed ? "true" : "false", job_state_name(job->state));
    if (!over)
        buf_addf(&out, "process %d has been asked and has not ended the job yet: see `canvass show %s`\n", pid,
                 job->id);
    out_buf(&out);
    buf_done(&out);
}

static bool cancel(struct reader *reader, const struct args *args, bool *over, struct err *err)
{
    const char *db = args_text(args, "db");
    struct job_summary job;
    int pid = 0;
    bool changed = false;
    if (!reader_job(reader, args->words[0], &job, err) ||
        !store_request_cancel(db, job.id, author_name(), args_text(args, "reason"), &pid, &changed, err) ||
        !wait_for_end(reader, &job, err))
        return false;
    print(&job, changed, pid, args_flag(args, "json"));
    *over = job_state_is_final(job.state);
    return true;
}

static int run(const struct args *args)
{
    struct err err;
    bool over = false;
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && cancel(reader, args, &over, &err);
    reader_close(reader);
    if (!ok)
        return complain(&err);
    return over ? EXIT_ALL_WELL : EXIT_SOME_FAILED;
}

static const struct option_spec options[] = {
    OPTION_DB,
    {.name = "reason", .value = "TEXT", .help = "kept in the control log and shown with the job"},
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_cancel = {
    .name = "cancel",
    .words = "JOB",
    .summary = "end a job now, whichever process runs it",
    .details = "Closes what is in flight; what had been answered is kept. Waits up to 10 s for the process that runs\n"
               "the job. A job that has ended already is left as it is (changed false). JOB may be `last`.\n\n"
               "exit status: 0 the job has ended, 1 it has been asked to and has not ended yet",
    .examples = "  canvass cancel last --reason \"wrong questions\"",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
