#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/rows.h"
#include "store/store.h"

static bool query(struct reader *reader, const struct args *args, enum rows_format format, struct err *err)
{
    int64_t timeout_us = 0;
    if (!args_duration(args, "time", &timeout_us, err))
        return false;
    struct rows rows;
    rows_begin(&rows, format);
    if (format == ROWS_JSON)
        out_text("{\"rows\":[");
    bool ok = reader_sql(reader, args->words[0], NULL, 0, timeout_us, rows_row, &rows, err);
    rows_end(&rows);
    if (format == ROWS_JSON && ok)
        out_text("]}\n");
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    enum rows_format format;
    if (!rows_format(args, &format, &err))
        return complain(&err);
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && query(reader, args, format, &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    OPTION_DB,
    OPTION_FORMAT,
    {.name = "time", .value = "TIME", .help = "stop a query that takes longer", .setting = false},
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_query = {
    .name = "query",
    .words = "SQL",
    .summary = "ask the database with SQL, read-only",
    .details = "Tables: jobs, questions, executions, attempts, region_revisions, control_log. Times are unix seconds.",
    .examples = "  canvass query \"SELECT question_id, count(*) FROM executions WHERE job_id = 'bias-detection-3' \\\n"
                "                 GROUP BY question_id\"\n"
                "  canvass query \"SELECT endpoint, avg(ended_at - started_at) FROM executions GROUP BY 1\" \\\n"
                "                --format csv",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
