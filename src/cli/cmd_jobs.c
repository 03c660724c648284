#include <math.h>

#include <cjson/cJSON.h>

#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "store/store.h"

enum { OUTPUT_BYTES = 256 << 20 };

struct listing {
    struct table *table;
    cJSON *array;
    int64_t count, abandoned;
};

static bool add_json(void *ctx, const struct job_summary *job)
{
    struct listing *l = ctx;
    cJSON_AddItemToArray(l->array, job_json(job));
    return true;
}

static void add_started_and_took(struct table *t, const struct job_summary *job)
{
    char text[DURATION_TEXT];
    table_text(t, isnan(job->started_at) ? "-" : unix_format(job->started_at, text));
    double until = isnan(job->ended_at) && job->state == JOB_RUNNING && !job->owner_gone ? unix_now_s() : job->ended_at;
    if (isnan(job->started_at) || isnan(until))
        table_text(t, "-");
    else
        table_text(t, duration_format((int64_t)((until - job->started_at) * SECOND_US), text));
}

static bool add_row(void *ctx, const struct job_summary *job)
{
    struct listing *l = ctx;
    int64_t open = job->by_status[STATUS_PENDING] + job->by_status[STATUS_RUNNING] +
                   job->by_status[STATUS_WAITING_RESULT] + job->by_status[STATUS_BACKING_OFF];
    table_text(l->table, job->id);
    table_cellf(l->table, "%s", job->owner_gone ? "interrupted" : job_state_name(job->state));
    table_cellf(l->table, "%lld/%lld", (long long)job->by_status[STATUS_SUCCEEDED], (long long)job->planned);
    table_cellf(l->table, "%lld", (long long)(job->planned - open - job->by_status[STATUS_SUCCEEDED]));
    table_cellf(l->table, "%lld", (long long)job->posts);
    add_started_and_took(l->table, job);
    l->count++;
    l->abandoned += job->owner_gone;
    return true;
}

static struct table *jobs_table(void)
{
    struct table *t = table_new();
    table_column(t, "job", TABLE_FLEX);
    table_column(t, "state", TABLE_LEFT);
    table_column(t, "succeeded", TABLE_RIGHT);
    table_column(t, "not", TABLE_RIGHT);
    table_column(t, "posts", TABLE_RIGHT);
    table_column(t, "started", TABLE_LEFT);
    table_column(t, "took", TABLE_RIGHT);
    return t;
}

static bool print_jobs(struct reader *reader, bool json, struct err *err)
{
    struct listing l = {.table = jobs_table(), .array = cJSON_CreateArray()};
    bool ok = reader_jobs(reader, json ? add_json : add_row, &l, err);
    if (ok && json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "total", cJSON_GetArraySize(l.array));
        cJSON_AddItemToObject(object, "jobs", l.array);
        l.array = NULL;
        out_json(object);
    } else if (ok) {
        struct buf out;
        buf_init(&out, OUTPUT_BYTES);
        table_print(l.table, out_columns(), &out);
        if (l.abandoned)
            buf_adds(&out,
                     "\nthe process of an interrupted job is gone: `canvass resume JOB` goes on, `canvass cancel "
                     "JOB` ends it\n");
        out_buf(&out);
        buf_done(&out);
        if (!l.count)
            out_text("no jobs yet: canvass run JOB.lua --regions TABLE.lua\n");
    }
    cJSON_Delete(l.array);
    table_free(l.table);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && print_jobs(reader, args_flag(args, "json"), &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {OPTION_DB, OPTION_JSON, {.name = NULL}};

const struct command command_jobs = {
    .name = "jobs",
    .words = "",
    .summary = "list the jobs of a database, newest first",
    .examples = "  canvass jobs\n  canvass jobs --db study.db --json",
    .options = options,
    .run = run,
};
