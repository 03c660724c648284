#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/runner.h"
#include "host/kept.h"

enum { FILTERS = 5, WHY_BYTES = 2048 };

/* The filters as options, and as columns. */
struct filter {
    const char *option, *column, *value;
};

static void read_filters(const struct args *args, struct filter out[FILTERS])
{
    static const struct filter all[FILTERS] = {{"question", "question_id", NULL}, {"region", "region", NULL},
                                               {"model", "model_id", NULL}, {"class", "class", NULL},
                                               {"execution", "id", NULL}};
    memcpy(out, all, sizeof all);
    for (int i = 0; i < FILTERS; i++)
        out[i].value = args_text(args, out[i].option);
}

static bool take_count(void *ctx, int columns, const char *const *names, const struct value *v)
{
    int64_t *count = ctx;
    (void)columns;
    (void)names;
    *count = v[0].integer;
    return false;
}

/* Failed executions that pass one filter; NULL: all. */
static bool count_failed(struct reader *reader, const char *job_id, const struct filter *f, int64_t *count,
                         struct err *err)
{
    struct buf sql;
    buf_init(&sql, 512);
    buf_adds(&sql, "SELECT count(*) FROM executions WHERE job_id = ?1 AND status = 'failed'");
    if (f)
        buf_addf(&sql, " AND %s = ?2", f->column);
    const char *bind[] = {job_id, f ? f->value : NULL};
    bool ok = reader_sql(reader, buf_str(&sql).ptr, bind, f ? 2 : 1, 0, take_count, count, err);
    buf_done(&sql);
    return ok;
}

/* Nothing matched. Which of the filters is it? */
static bool explain(struct reader *reader, const struct job_summary *job, const struct filter filters[FILTERS],
                    struct err *err)
{
    struct buf why;
    int64_t failed = job->by_status[STATUS_FAILED];
    int64_t left = job->by_status[STATUS_CANCELLED] + job->by_status[STATUS_SKIPPED];
    if (!failed && left)
        return err_set(err, ERR_USAGE, "no execution of %s has failed, %" PRId64 " were cancelled or skipped: "
                       "canvass resume %s asks those", job->id, left, job->id);
    if (!failed)
        return err_set(err, ERR_USAGE, "no execution of %s has failed: there is nothing to ask again", job->id);
    buf_init(&why, WHY_BYTES);
    for (int i = 0; i < FILTERS; i++) {
        int64_t count = 0;
        if (!filters[i].value)
            continue;
        if (!count_failed(reader, job->id, &filters[i], &count, err)) {
            buf_done(&why);
            return false;
        }
        buf_addf(&why, "%s--%s %.200s matches %" PRId64, why.len ? ", " : "", filters[i].option, filters[i].value,
                 count);
    }
    err_set(err, ERR_USAGE, "none of the %" PRId64 " failed executions of %s is meant (%s): choose others, see canvass "
            "results %s --status failed", failed, job->id, buf_str(&why).ptr, job->id);
    buf_done(&why);
    return false;
}

/* What is open is not lost, and belongs to `resume`; the store looks again. */
static bool has_ended(const struct job_summary *job, struct err *err)
{
    return job_state_is_final(job->state) || !job->owner_gone ||
           err_set(err, ERR_USAGE, "job %s was interrupted: go on with it first, with canvass resume %s", job->id,
                   job->id);
}

static bool tell_one(void *ctx, int columns, const char *const *names, const struct value *v)
{
    int64_t *count = ctx;
    (void)columns;
    (void)names;
    log_event(LOG_INFO, "asked again", LOG_S("endpoint", v[0].text.ptr), LOG_S("class", v[1].text.ptr),
              LOG_I("executions", v[2].integer));
    *count += v[2].integer;
    return true;
}

/* What matches, told by endpoint and class. */
static bool tell_matches(struct reader *reader, const struct job_summary *job, const struct filter filters[FILTERS],
                         struct err *err)
{
    struct buf sql;
    int64_t count = 0;
    const char *bind[FILTERS + 1] = {job->id};
    buf_init(&sql, 1024);
    buf_adds(&sql, "SELECT endpoint, coalesce(class, ''), count(*) FROM executions WHERE job_id = ?1 AND"
                   " status = 'failed'");
    for (int i = 0; i < FILTERS; i++) {
        bind[i + 1] = filters[i].value;
        if (filters[i].value)
            buf_addf(&sql, " AND %s = ?%d", filters[i].column, i + 2);
    }
    buf_adds(&sql, " AND ?6 IS ?6 GROUP BY 1, 2 ORDER BY 1, 2"); /* ?6: there is a number for each that is bound */
    bool ok = reader_sql(reader, buf_str(&sql).ptr, bind, FILTERS + 1, 0, tell_one, &count, err);
    buf_done(&sql);
    return ok && (count > 0 || explain(reader, job, filters, err));
}

static int run(const struct args *args)
{
    struct err err;
    struct kept_job again;
    struct job_summary job;
    struct filter filters[FILTERS];
    struct kept *kept = NULL;
    if (!runner_setup(args, &err))
        return complain(&err);
    read_filters(args, filters);
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    if (reader && reader_job(reader, args->words[0], &job, &err) && has_ended(&job, &err) &&
        tell_matches(reader, &job, filters, &err))
        kept = inputs_kept(args, reader, job.id, &again, &err);
    reader_close(reader);
    if (!kept)
        return complain(&err);
    struct execution_filter failed = {.question_id = filters[0].value, .region = filters[1].value,
                                      .model_id = filters[2].value, .class = filters[3].value,
                                      .execution_id = filters[4].value};
    int status = runner_run(args, &(struct runner){again.table, again.file, again.plan, again.job_id, &failed});
    kept_free(kept, &again);
    return status;
}

static const struct option_spec options[] = {
    {.name = "question", .value = "ID", .help = "only of this question"},
    {.name = "region", .value = "ID", .help = "only of this region"},
    {.name = "model", .value = "ID", .help = "only of this model"},
    {.name = "class", .value = "CLASS", .help = "only what failed with this class, such as timeout"},
    {.name = "execution", .value = "ID", .help = "only this one, such as bias-detection-3.42"},
    OPTION_DB,
    KEPT_OPTIONS,
    RUNNER_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_retry = {
    .name = "retry",
    .words = "JOB",
    .summary = "ask again what failed",
    .details =
        "Failed executions, all or those that every filter names, are asked again of the same endpoint with the\n"
        "same body: new attempts beside the old ones, whose rows stay. Nothing else is asked, and what has\n"
        "succeeded never is. Where an attempt ran out of time at a result URL, that URL is asked once more\n"
        "before anything is paid for anew. Script, region table and --regions are as in `canvass resume`. JOB\n"
        "may be `last`.\n\n"
        "exit status: " RUNNER_EXITS,
    .examples = "  canvass retry last\n"
                "  canvass retry bias-detection-3 --class timeout --region eu\n"
                "  canvass retry last --execution bias-detection-3.42",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
