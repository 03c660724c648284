#include <stdlib.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "script/analysis.h"
#include "store/store.h"

enum { REPORT_BYTES = 512 << 20, COLUMNS_MAX = 64 };

/* The rules are ours and run over all of a job: more room than a stranger's script has. */
static const struct script_limits limits = {.load_us = 60000000, .call_us = 600000000, .memory_bytes = 1u << 30};

struct feed {
    struct analysis *analysis;
    const char *what;
    struct err err;
    bool ok;
};

static bool add_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    static const int types[] = {[VALUE_NULL] = ANALYSIS_NULL, [VALUE_INTEGER] = ANALYSIS_INTEGER,
                                [VALUE_REAL] = ANALYSIS_REAL, [VALUE_TEXT] = ANALYSIS_TEXT};
    struct feed *f = ctx;
    struct analysis_value row[COLUMNS_MAX];
    int count = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    for (int i = 0; i < count; i++) {
        row[i] = (struct analysis_value){.name = names[i], .integer = values[i].integer, .real = values[i].real,
                                         .text = values[i].text};
        row[i].type = types[values[i].type];
    }
    f->ok = analysis_add(f->analysis, f->what, count, row, &f->err);
    return f->ok;
}

static bool feed_sql(struct feed *f, struct reader *reader, const char *what, const char *sql, const char *job_id,
                     struct err *err)
{
    const char *bind[] = {job_id};
    f->what = what;
    if (!reader_sql(reader, sql, bind, 1, 0, add_row, f, err))
        return false;
    *err = f->err;
    return f->ok;
}

/* In the order of the plan, one question after another: the analysis keeps the texts of one. */
static bool feed(struct feed *f, struct reader *reader, const char *job_id, struct err *err)
{
    struct execution_filter filter = {.job_id = job_id};
    if (!feed_sql(f, reader, "job", "SELECT id, state, revision, spec FROM jobs WHERE id = ?1", job_id, err) ||
        !feed_sql(f, reader, "question",
                  "SELECT id, expected, metadata FROM questions WHERE job_id = ?1 ORDER BY position", job_id, err))
        return false;
    f->what = "execution";
    if (!reader_executions(reader, &filter, add_row, f, err))
        return false;
    *err = f->err;
    return f->ok;
}

static bool report(struct reader *reader, const struct args *args, struct err *err)
{
    struct job_summary job;
    int64_t seed = 1;
    const char *form = args_flag(args, "json") ? "json" : args_flag(args, "csv") ? "csv" : "text";
    if (args_flag(args, "json") && args_flag(args, "csv"))
        return err_set(err, ERR_USAGE, "two forms at once (--json --csv): choose one");
    if (!args_integer(args, "seed", 0, INT64_MAX, &seed, err) || !reader_job(reader, args->words[0], &job, err))
        return false;
    struct feed f = {.analysis = analysis_new(&limits, seed, err), .ok = true};
    struct buf out;
    buf_init(&out, REPORT_BYTES);
    bool ok = f.analysis && feed(&f, reader, job.id, err) &&
              analysis_report(f.analysis, form, out_columns(), &out, err);
    if (ok && form[0] == 'j')
        buf_addc(&out, '\n');
    if (ok)
        out_buf(&out);
    buf_done(&out);
    analysis_free(f.analysis);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && report(reader, args, &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    OPTION_DB,
    {.name = "seed", .value = "N", .help = "of the random draws: the same one gives the same report", .fallback = "1"},
    {.name = "csv", .help = "one line for each question, model and region"},
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_report = {
    .name = "report",
    .words = "JOB",
    .summary = "do the answers differ by region, beyond chance",
    .details = "Compares refusals, expected answers, likeness, length and missing cells between regions, for each\n"
               "model, and for each question that was asked more than once (samples). All comparisons are corrected\n"
               "together. \"Cannot tell\" is an answer: the report then says what it would take. JOB may be `last`.",
    .examples = "  canvass report last\n  canvass report bias-detection-3 --json --seed 7",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
