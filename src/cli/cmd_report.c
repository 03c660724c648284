#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "script/analysis.h"
#include "store/store.h"

enum { REPORT_BYTES = 512 << 20, COLUMNS_MAX = 64 };

/* The rules are ours and run over all of a job: more room than a stranger's script has. */
static const struct script_limits limits = {.load_us = 60000000, .call_us = 600000000, .memory_bytes = 1u << 30};

struct feed {
    struct analysis *analysis;
    struct job_file *scorer; /* NULL: none */
    size_t question;         /* of its list, of the last row */
    const char *what;
    struct err err;
    bool ok;
};

static struct str text_of(const struct analysis_value *row, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (row[i].type == ANALYSIS_TEXT && strcmp(row[i].name, name) == 0)
            return row[i].text;
    return (struct str){0};
}

/* Rows come in the order of the questions: it is the one of the last row, or the next. */
static const struct question *question_of(struct feed *f, struct str id)
{
    const struct job_spec *spec = job_file_spec(f->scorer);
    for (size_t tries = 0; tries < spec->question_count; tries++) {
        const struct question *q = &spec->questions[f->question];
        if (str_is(id, q->id))
            return q;
        f->question = (f->question + 1) % spec->question_count;
    }
    return NULL;
}

/* Adds what the job's scorer says of the answer in a row of executions, which has room for one more. */
static bool add_score(struct feed *f, struct analysis_value *row, int *count)
{
    struct str answer = text_of(row, *count, "answer"), id = text_of(row, *count, "question_id");
    double score;
    if (!answer.ptr)
        return true;
    const struct question *question = question_of(f, id);
    if (!question)
        return err_set(&f->err, ERR_STORE, "question %.*s is not in the job's script (%s): check the database with "
                       "canvass verify", (int)id.len, id.ptr, job_file_spec(f->scorer)->name);
    if (!job_file_score(f->scorer, question, answer, &score, &f->err))
        return err_prefix(&f->err, "the job's scorer failed, --no-score leaves it out: ");
    if (!isnan(score))
        row[(*count)++] = (struct analysis_value){.name = "score", .type = ANALYSIS_REAL, .real = score};
    return true;
}

static bool add_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    static const int types[] = {[VALUE_NULL] = ANALYSIS_NULL, [VALUE_INTEGER] = ANALYSIS_INTEGER,
                                [VALUE_REAL] = ANALYSIS_REAL, [VALUE_TEXT] = ANALYSIS_TEXT};
    struct feed *f = ctx;
    struct analysis_value row[COLUMNS_MAX + 1];
    int count = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    for (int i = 0; i < count; i++) {
        row[i] = (struct analysis_value){.name = names[i], .integer = values[i].integer, .real = values[i].real,
                                         .text = values[i].text};
        row[i].type = types[values[i].type];
    }
    f->ok = (!f->scorer || strcmp(f->what, "execution") != 0 || add_score(f, row, &count)) &&
            analysis_add(f->analysis, f->what, count, row, &f->err);
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

static bool write_report(struct feed *f, struct reader *reader, const char *job_id, const char *form, struct err *err)
{
    struct buf out;
    buf_init(&out, REPORT_BYTES);
    bool ok = feed(f, reader, job_id, err) && analysis_report(f->analysis, form, out_columns(), &out, err);
    if (ok && form[0] == 'j')
        buf_addc(&out, '\n');
    if (ok)
        out_buf(&out);
    buf_done(&out);
    return ok;
}

static bool report(struct reader *reader, const struct args *args, struct err *err)
{
    struct job_summary job;
    struct script_limits script;
    struct kept_job again = {0};
    int64_t seed = 1;
    const char *form = args_flag(args, "json") ? "json" : args_flag(args, "csv") ? "csv" : "text";
    if (args_flag(args, "json") && args_flag(args, "csv"))
        return err_set(err, ERR_USAGE, "two forms at once (--json --csv): choose one");
    if (!args_integer(args, "seed", 0, INT64_MAX, &seed, err) || !inputs_limits(args, &script, err) ||
        !reader_job(reader, args->words[0], &job, err))
        return false;
    bool score = !args_flag(args, "no-score");
    struct kept *kept = score ? kept_load_file(reader, job.id, &script, &again, err) : NULL;
    if (score && !kept)
        return err_prefix(err, "the job's script, --no-score does without: ");
    struct feed f = {.analysis = analysis_new(&limits, seed, err), .ok = true};
    f.scorer = kept && job_file_scores(again.file) ? again.file : NULL;
    bool ok = f.analysis && write_report(&f, reader, job.id, form, err);
    analysis_free(f.analysis);
    kept_free(kept, &again);
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
    {.name = "no-score", .help = "do not call the job's own scorer"},
    OPTION_JSON,
    SCRIPT_OPTIONS,
    {.name = NULL},
};

const struct command command_report = {
    .name = "report",
    .words = "JOB",
    .summary = "do the answers differ by region, beyond chance",
    .details = "Compares refusals, expected answers, likeness, length, missing cells and what the job's scorer says,\n"
               "between regions, for each model, and for each question that was asked more than once (samples).\n"
               "All comparisons are corrected together. \"Cannot tell\" is an answer: the report then says what it\n"
               "would take. JOB may be `last`.",
    .examples = "  canvass report last\n  canvass report bias-detection-3 --json --seed 7",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
