#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/rows.h"
#include "core/status.h"
#include "store/store.h"

/* What the table shows of a row, in this order; `answer` holds the error where there is no answer. */
static const char *const shown[] = {"question_id", "region", "model_id", "sample", "status", "class", "answer"};

struct results {
    struct rows rows;
    bool with_prompt;
};

static const struct value *column(int columns, const char *const *names, const struct value *values, const char *name)
{
    static const struct value null = {.type = VALUE_NULL};
    for (int i = 0; i < columns; i++)
        if (strcmp(names[i], name) == 0)
            return &values[i];
    return &null;
}

static bool add_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    struct results *r = ctx;
    if (r->rows.format != ROWS_TABLE)
        return rows_row(&r->rows, columns, names, values);
    const char *picked_names[ARRAY_LEN(shown) + 1];
    struct value picked[ARRAY_LEN(shown) + 1];
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        picked_names[n] = shown[i];
        picked[n++] = *column(columns, names, values, shown[i]);
    }
    if (picked[n - 1].type == VALUE_NULL)
        picked[n - 1] = *column(columns, names, values, "error");
    if (r->with_prompt) {
        picked_names[n] = "prompt";
        picked[n++] = *column(columns, names, values, "prompt");
    }
    return rows_row(&r->rows, n, picked_names, picked);
}

/* ---- how many there are ---- */

static bool take_count(void *ctx, int columns, const char *const *names, const struct value *values)
{
    (void)columns;
    (void)names;
    *(int64_t *)ctx = values[0].integer;
    return true;
}

static bool count_rows(struct reader *reader, const struct execution_filter *f, int64_t *total, struct err *err)
{
    const char *bind[] = {f->job_id, f->question_id, f->model_id, f->region, f->status, f->class};
    return reader_sql(reader,
                      "SELECT count(*) FROM executions WHERE job_id = ?1 AND (?2 IS NULL OR question_id = ?2) AND "
                      "(?3 IS NULL OR model_id = ?3) AND (?4 IS NULL OR region = ?4) AND "
                      "(?5 IS NULL OR status = ?5) AND (?6 IS NULL OR class = ?6)",
                      bind, (int)ARRAY_LEN(bind), 0, take_count, total, err);
}

/* ---- options ---- */

static bool read_filter(const struct args *args, struct execution_filter *f, struct err *err)
{
    enum status status;
    enum failure_class class;
    *f = (struct execution_filter){
        .question_id = args_text(args, "question"),
        .model_id = args_text(args, "model"),
        .region = args_text(args, "region"),
        .status = args_text(args, "status"),
        .class = args_text(args, "class"),
        .with_prompt = args_flag(args, "prompt"),
    };
    if (f->status && !status_parse(f->status, &status))
        return err_set(err, ERR_USAGE, "\"%.40s\" is no status (--status): use pending, running, waiting_result, "
                       "backing_off, succeeded, failed, cancelled or skipped", f->status);
    if (f->class && (!*f->class || !class_parse(f->class, &class)))
        return err_set(err, ERR_USAGE, "\"%.40s\" is no failure class (--class): see the classes that `canvass show` "
                       "lists", f->class);
    return args_integer(args, "limit", 1, INT64_MAX, &f->limit, err) &&
           args_integer(args, "offset", 0, INT64_MAX, &f->offset, err);
}

/* ---- output ---- */

static void print_head(const struct results *r, const struct execution_filter *f, int64_t total)
{
    struct buf out;
    buf_init(&out, 4096);
    if (r->rows.format == ROWS_JSON) {
        buf_adds(&out, "{\"job_id\":");
        text_add_json(&out, str_from(f->job_id));
        buf_addf(&out, ",\"total\":%lld,\"offset\":%lld,\"executions\":[", (long long)total, (long long)f->offset);
    } else if (r->rows.format == ROWS_TABLE) {
        int64_t left = total > f->offset ? total - f->offset : 0;
        int64_t count = f->limit && f->limit < left ? f->limit : left;
        buf_addf(&out, "%s: %lld of %lld executions", f->job_id, (long long)count, (long long)total);
        if (count < left)
            buf_addf(&out, ", --offset %lld shows the next", (long long)(f->offset + count));
        if (r->rows.columns)
            buf_adds(&out, "; long texts are cut to the screen, --format jsonl has them whole");
        buf_adds(&out, "\n\n");
    }
    out_buf(&out);
    buf_done(&out);
}

static bool results(struct reader *reader, const struct args *args, enum rows_format format, struct err *err)
{
    struct execution_filter f;
    struct job_summary job;
    int64_t total = 0;
    if (!read_filter(args, &f, err) || !reader_job(reader, args->words[0], &job, err))
        return false;
    f.job_id = job.id;
    if (!count_rows(reader, &f, &total, err))
        return false;
    struct results r = {.with_prompt = f.with_prompt};
    rows_begin(&r.rows, format);
    print_head(&r, &f, total);
    bool ok = reader_executions(reader, &f, add_row, &r, err);
    rows_end(&r.rows);
    if (ok && format == ROWS_JSON)
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
    bool ok = reader && results(reader, args, format, &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    OPTION_DB,
    {.name = "question", .value = "ID", .help = "only this question"},
    {.name = "region", .value = "ID", .help = "only this region"},
    {.name = "model", .value = "ID", .help = "only this model"},
    {.name = "status", .value = "STATUS", .help = "only succeeded, failed, cancelled, skipped, pending, ..."},
    {.name = "class", .value = "CLASS", .help = "only this failure class"},
    {.name = "limit", .value = "N", .help = "at most so many rows"},
    {.name = "offset", .value = "N", .help = "without the first N rows"},
    {.name = "prompt", .help = "with the prompts"},
    OPTION_FORMAT,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_results = {
    .name = "results",
    .words = "JOB",
    .summary = "the answers, and the errors where there are none",
    .details = "JOB is a job's id, or `last`. Rows come in the plan's order. jsonl and csv have every column.",
    .examples = "  canvass results last\n"
                "  canvass results last --question math_basic --region eu\n"
                "  canvass results bias-detection-3 --format csv --prompt > answers.csv",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
