#include "cli/feed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

enum { COLUMNS_MAX = 64 };

struct feed {
    const struct feed_options *options;
    struct analysis *analysis;
    struct job_file *scorer; /* NULL: none */
    size_t question;         /* of its list, of the last row */
    const char *what;
    struct arena arena;
    const char **ids;        /* the questions of two jobs, one after another */
    size_t id_count;
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

static bool give(struct feed *f)
{
    const struct feed_options *o = f->options;
    return !o->piece || analysis_take(f->analysis, o->piece, o->ctx, &f->err);
}

static bool add_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    static const int types[] = {[VALUE_NULL] = ANALYSIS_NULL, [VALUE_INTEGER] = ANALYSIS_INTEGER,
                                [VALUE_REAL] = ANALYSIS_REAL, [VALUE_TEXT] = ANALYSIS_TEXT};
    struct feed *f = ctx;
    bool execution = strcmp(f->what, "execution") == 0;
    struct derived *derived = execution ? f->options->derived : NULL;
    struct analysis_value row[COLUMNS_MAX + 1 + DERIVED_VALUES];
    int count = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    for (int i = 0; i < count; i++) {
        row[i] = (struct analysis_value){.name = names[i], .integer = values[i].integer, .real = values[i].real,
                                         .text = values[i].text};
        row[i].type = types[values[i].type];
    }
    struct str id = text_of(row, count, "id");
    if (f->options->jobs[1] && strcmp(f->what, "question") == 0) {
        f->ids = mem_array(f->ids, f->id_count + 1, sizeof *f->ids);
        f->ids[f->id_count++] = arena_strndup(&f->arena, id.ptr, id.len);
    }
    if (derived)
        derived_add(derived, id, row, &count);
    f->ok = (!f->scorer || !execution || add_score(f, row, &count)) &&
            analysis_add(f->analysis, f->what, count, row, &f->err) &&
            (!derived || derived_give_vector(derived, id, f->analysis, &f->err)) && give(f);
    return f->ok;
}

static bool feed_sql(struct feed *f, struct reader *reader, const char *what, const char *sql, const char *id,
                     const char *other)
{
    const char *bind[] = {id, other};
    f->what = what;
    return reader_sql(reader, sql, bind, other ? 2 : 1, 0, add_row, f, &f->err) && f->ok;
}

static bool feed_executions(struct feed *f, struct reader *reader, const char *what, const char *question)
{
    f->what = what;
    for (int i = 0; i < 2 && f->options->jobs[i]; i++) {
        struct execution_filter filter = {.job_id = f->options->jobs[i], .question_id = question,
                                          .with_prompt = f->options->piece || strcmp(what, "answer") == 0};
        bool (*read)(struct reader *, const struct execution_filter *, reader_row *, void *, struct err *) =
            question ? reader_executions : reader_executions_ahead;
        if (!read(reader, &filter, add_row, f, &f->err) || !f->ok)
            return false;
    }
    return true;
}

#define SECONDS(column) "strftime('%Y-%m-%d %H:%M:%S', " column ", 'unixepoch')"
static const char job_sql[] =
    "SELECT id, name, '" CANVASS_VERSION "' AS version, state, revision, spec, policy, planned, " SECONDS("created_at")
    " AS created, " SECONDS("started_at") " AS started, " SECONDS("ended_at")
    " AS ended,\n  (SELECT count(*) FROM questions WHERE job_id = jobs.id) AS questions FROM jobs WHERE id = ?1";

static const char question_sql[] =
    "SELECT id, expected, metadata FROM questions WHERE job_id = ?1 ORDER BY position";

/* The same question is one with the same id and the same words. */
static const char common_sql[] =
    "SELECT a.id AS id, a.expected AS expected, a.metadata AS metadata FROM questions AS a JOIN questions AS b\n"
    "ON b.job_id = ?2 AND b.id = a.id AND b.prompt = a.prompt WHERE a.job_id = ?1 ORDER BY a.position";

/* What the first question asked of each endpoint was sent as, under each revision of the table. */
static const char request_sql[] =
    "SELECT f.job_id AS job_id, c.region AS region, c.model_id AS model_id, f.revision AS revision,\n"
    "  d.request AS request, q.prompt AS prompt\n"
    "FROM (SELECT j.id AS job_id, j.row AS job_row, j.first_row AS first_row, j.width AS width,"
    " d.revision AS revision,\n"
    "    (d.row / 1024 - j.first_row) % j.width AS cell, min(d.row) AS row\n"
    "  FROM jobs AS j CROSS JOIN dispatches AS d ON d.row >= j.first_row * 1024\n"
    "    AND d.row < (j.first_row + j.planned) * 1024 WHERE j.id = ?1 GROUP BY 6, 5) AS f\n"
    "JOIN dispatches AS d ON d.row = f.row\n"
    "JOIN job_cells AS c ON c.job_row = f.job_row AND c.position = f.cell\n"
    "JOIN questions AS q ON q.job_id = f.job_id AND q.position = (f.row / 1024 - f.first_row) / f.width + 1\n"
    "WHERE c.sample = 1 AND d.request IS NOT NULL ORDER BY c.position, f.revision";

static const char file_sql[] =
    "SELECT job_id || ': ' || name AS name, text FROM job_files WHERE job_id = ?1 ORDER BY position";
static const char table_sql[] =
    "SELECT 'region table, revision ' || revision AS name, source AS text,\n"
    "  coalesce('by ' || author, '') || coalesce(': ' || reason, '') AS note FROM region_revisions\n"
    "WHERE revision IN (SELECT d.revision FROM jobs AS j CROSS JOIN dispatches AS d ON d.row >= j.first_row * 1024\n"
    "    AND d.row < (j.first_row + j.planned) * 1024 WHERE j.id IN (?1, ?2)\n"
    "  UNION SELECT revision FROM jobs WHERE id IN (?1, ?2)) ORDER BY revision";

static bool feed_record(struct feed *f, struct reader *reader)
{
    const char *const *jobs = f->options->jobs;
    for (int i = 0; i < 2 && jobs[i]; i++)
        if (!feed_sql(f, reader, "file", file_sql, jobs[i], NULL))
            return false;
    return feed_sql(f, reader, "file", table_sql, jobs[0], jobs[1] ? jobs[1] : jobs[0]) &&
           feed_sql(f, reader, "program", "SELECT ?1 AS version, sqlite_version() AS sqlite", CANVASS_VERSION, NULL);
}

/* What comes before the samples in a log of another tool. */
static const char endpoint_sql[] =
    "SELECT region, model_id, count(*) AS planned, sum(status = 'succeeded') AS succeeded, max(sample) AS samples,\n"
    "  sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,\n"
    "  " SECONDS("min(started_at)") " AS started, " SECONDS("max(ended_at)") " AS ended\n"
    "FROM executions WHERE job_id = ?1 GROUP BY region, model_id ORDER BY min(row)";

static bool feed_export(struct feed *f, struct reader *reader)
{
    const char *job = f->options->jobs[0];
    return feed_sql(f, reader, "job", job_sql, job, NULL) && feed_sql(f, reader, "endpoint", endpoint_sql, job, NULL) &&
           feed_sql(f, reader, "question", question_sql, job, NULL) &&
           feed_executions(f, reader, "execution", NULL) && analysis_add(f->analysis, "end", 0, NULL, &f->err) &&
           give(f);
}

/* In the order of the plan, one question after another: the analysis keeps the texts of one. */
static bool feed_all(struct feed *f, struct reader *reader)
{
    const char *const *jobs = f->options->jobs, *id;
    for (int i = 0; i < 2 && jobs[i]; i++)
        if (!feed_sql(f, reader, "job", job_sql, jobs[i], NULL) ||
            !feed_sql(f, reader, "request", request_sql, jobs[i], NULL))
            return false;
    if ((f->options->derived && !derived_tell(f->options->derived, f->analysis, &f->err)) ||
        (jobs[1] && !derived_tell_unused(reader, jobs, f->analysis, &f->err)))
        return false;
    if (!feed_sql(f, reader, "question", jobs[1] ? common_sql : question_sql, jobs[0], jobs[1]))
        return false;
    if (!jobs[1] && !feed_executions(f, reader, "execution", NULL))
        return false;
    for (size_t i = 0; i < f->id_count; i++)
        if (!feed_executions(f, reader, "execution", f->ids[i]))
            return false;
    f->scorer = NULL;
    for (size_t i = 0; f->options->page; i++) {
        if (!analysis_wanted(f->analysis, i, &id, &f->err))
            return false;
        if (!id)
            return feed_record(f, reader);
        if (!feed_executions(f, reader, "answer", id))
            return false;
    }
    return true;
}

bool feed_analysis(struct analysis *a, struct reader *reader, const struct feed_options *o, struct err *err)
{
    struct feed f = {.options = o, .analysis = a, .scorer = o->scorer, .ok = true};
    arena_init(&f.arena);
    bool ok = o->piece ? feed_export(&f, reader) : feed_all(&f, reader);
    if (!ok)
        *err = f.err;
    free(f.ids);
    arena_done(&f.arena);
    return ok;
}
