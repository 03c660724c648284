#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/rows.h"
#include "core/status.h"
#include "store/store.h"

enum {
    KNOWN_MAX = 1000, /* a filter that matches nothing is compared with so many names */
    NAMED_MAX = 16,   /* and so many of them are told */
};

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

/* ---- a name that is not there ---- */

/* The names that a filter could have had. */
struct known {
    struct arena arena;
    const char *names[KNOWN_MAX];
    size_t count;
};

static bool add_known(void *ctx, int columns, const char *const *names, const struct value *values)
{
    struct known *k = ctx;
    (void)columns;
    (void)names;
    k->names[k->count++] = arena_strndup(&k->arena, values[0].text.ptr, values[0].text.len);
    return k->count < KNOWN_MAX;
}

/* what: `job x has no region "y"`, or what else is wrong. */
static bool not_known(const char *const *names, size_t count, const char *option, const char *typed, const char *what,
                      struct err *err)
{
    struct buf list;
    buf_init(&list, 4096);
    for (size_t i = 0; i < count && i < NAMED_MAX; i++)
        buf_addf(&list, "%s%.100s", i ? ", " : "", names[i]);
    if (count > NAMED_MAX)
        buf_addf(&list, " and %s%zu more", count == KNOWN_MAX ? "at least " : "", count - NAMED_MAX);
    const char *near = nearest_name(typed, names, count);
    if (near)
        err_set(err, ERR_USAGE, "%s (--%s): did you mean %s? It is one of %s", what, option, near, buf_str(&list).ptr);
    else
        err_set(err, ERR_USAGE, "%s (--%s): it is one of %s", what, option, buf_str(&list).ptr);
    buf_done(&list);
    return false;
}

/* sql: what there is, the typed name (?2) first. */
static bool check_name(struct reader *reader, const char *job_id, const char *option, const char *typed,
                       const char *sql, struct err *err)
{
    const char *bind[] = {job_id, typed};
    if (!typed)
        return true;
    struct known *k = mem_zalloc(sizeof *k);
    arena_init(&k->arena);
    bool ok = reader_sql(reader, sql, bind, (int)ARRAY_LEN(bind), 0, add_known, k, err);
    if (ok && k->count && strcmp(k->names[0], typed) != 0) {
        char what[256];
        snprintf(what, sizeof what, "job %s has no %s \"%.60s\"", job_id, option, typed);
        ok = not_known(k->names, k->count, option, typed, what, err);
    }
    arena_done(&k->arena);
    free(k);
    return ok;
}

#define JOB_VALUES(column) \
    "SELECT " column " FROM job_cells WHERE job_row = (SELECT row FROM jobs WHERE id = ?1) GROUP BY 1 " \
    "ORDER BY " column " = ?2 DESC, min(position)"

/* A filter that matches nothing is a slip where the job has no such name, and an answer where it has. */
static bool check_names(struct reader *reader, const struct execution_filter *f, struct err *err)
{
    return check_name(reader, f->job_id, "region", f->region, JOB_VALUES("region"), err) &&
           check_name(reader, f->job_id, "model", f->model_id, JOB_VALUES("model_id"), err) &&
           check_name(reader, f->job_id, "question", f->question_id,
                      "SELECT id FROM questions WHERE job_id = ?1 ORDER BY id = ?2 DESC, position", err);
}

/* ---- options ---- */

#define X(name, text) text,
static const char *const statuses[] = {STATUS_LIST(X)}, *const classes[] = {CLASS_LIST(X)};
#undef X

static bool check_words(const struct execution_filter *f, struct err *err)
{
    enum status status;
    enum failure_class class;
    char what[128];
    if (f->status && !status_parse(f->status, &status)) {
        snprintf(what, sizeof what, "\"%.40s\" is no status", f->status);
        return not_known(statuses, ARRAY_LEN(statuses), "status", f->status, what, err);
    }
    if (f->class && (!*f->class || !class_parse(f->class, &class))) {
        snprintf(what, sizeof what, "\"%.40s\" is no failure class", f->class);
        /* without CLASS_NONE, which has no word */
        return not_known(classes + 1, ARRAY_LEN(classes) - 1, "class", f->class, what, err);
    }
    return true;
}

static bool read_filter(const struct args *args, struct execution_filter *f, struct err *err)
{
    *f = (struct execution_filter){
        .question_id = args_text(args, "question"),
        .model_id = args_text(args, "model"),
        .region = args_text(args, "region"),
        .status = args_text(args, "status"),
        .class = args_text(args, "class"),
        .with_prompt = args_flag(args, "prompt"),
    };
    return check_words(f, err) && args_integer(args, "limit", 1, INT64_MAX, &f->limit, err) &&
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
    if (!count_rows(reader, &f, &total, err) || (!total && !check_names(reader, &f, err)))
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
