#include "cli/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/inputs.h"
#include "script/table_file.h"

struct kept {
    struct arena arena;
    const char *policy, *source, *question_list;
    int64_t revision;
    cJSON *spec;
    struct script_setting *settings;
    size_t setting_count;
    struct source_file *files, *table_files;
    struct sources job, table;
    struct kept_cell *cells;
    size_t cell_count, list_cap;
};

/* ---- reading ---- */

static struct str keep(struct kept *k, const struct value *v)
{
    return arena_str(&k->arena, v->type == VALUE_TEXT ? v->text : STR(""));
}

static const char *keep_text(struct kept *k, const struct value *v)
{
    return arena_strndup(&k->arena, v->type == VALUE_TEXT ? v->text.ptr : "", v->type == VALUE_TEXT ? v->text.len : 0);
}

static bool read_job(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    k->policy = keep_text(k, &v[0]);
    k->revision = v[1].integer;
    k->spec = cJSON_ParseWithLength(v[2].text.ptr, v[2].text.len);
    k->source = keep_text(k, &v[3]);
    return false;
}

static bool read_file_of(struct kept *k, struct sources *list, struct source_file **files, const struct value *v)
{
    *files = mem_array(*files, list->count + 1, sizeof **files);
    (*files)[list->count++] = (struct source_file){keep_text(k, &v[0]), keep(k, &v[1])};
    list->files = *files;
    return true;
}

static bool read_job_file(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    return read_file_of(k, &k->job, &k->files, v);
}

static bool read_table_file(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    return read_file_of(k, &k->table, &k->table_files, v);
}

static bool read_cell(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    k->cells = mem_array(k->cells, k->cell_count + 1, sizeof *k->cells);
    k->cells[k->cell_count++] = (struct kept_cell){keep_text(k, &v[0]), keep_text(k, &v[1]), keep_text(k, &v[2])};
    return true;
}

static void read_spec(struct kept *k)
{
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(k->spec, "settings"), *one;
    k->question_list = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(k->spec, "questions"));
    k->settings = arena_alloc(&k->arena, ((size_t)cJSON_GetArraySize(settings) + 1) * sizeof *k->settings);
    cJSON_ArrayForEach(one, settings)
        if (cJSON_IsString(one))
            k->settings[k->setting_count++] = (struct script_setting){one->string, one->valuestring};
}

#define OF_JOB "(SELECT row FROM jobs WHERE id = ?1)"

static bool read_all(struct kept *k, struct reader *reader, const char *job_id, struct err *err)
{
    const char *bind[] = {job_id};
    if (!reader_sql(reader, "SELECT policy, jobs.revision, spec, source FROM jobs LEFT JOIN region_revisions USING"
                            " (revision) WHERE id = ?1", bind, 1, 0, read_job, k, err) ||
        !reader_sql(reader, "SELECT name, text FROM job_files WHERE job_id = ?1 ORDER BY position", bind, 1, 0,
                    read_job_file, k, err) ||
        !reader_sql(reader, "SELECT name, text FROM region_files WHERE revision = (SELECT revision FROM jobs WHERE"
                            " id = ?1) ORDER BY position", bind, 1, 0, read_table_file, k, err) ||
        !reader_sql(reader, "SELECT region, model_id, url FROM job_cells WHERE job_row = " OF_JOB " AND sample = 1"
                            " ORDER BY position", bind, 1, 0, read_cell, k, err))
        return false;
    if (!k->spec || !k->job.count || !k->cell_count)
        return err_set(err, ERR_STORE, "job %s was not kept whole: check it with canvass verify %s", job_id, job_id);
    read_spec(k);
    return true;
}

/* ---- making it again ---- */

static struct region_table *make_table(const struct kept *k, const struct args *args,
                                       const struct script_limits *limits, struct err *err)
{
    const char *path = args_text(args, "regions");
    if (path)
        return load_regions(path, args_text(args, "secrets"), false, limits, err);
    char name[64];
    snprintf(name, sizeof name, "region table, revision %lld", (long long)k->revision);
    struct table_options options = {.limits = limits, .secrets_file = args_text(args, "secrets"), .kept = &k->table};
    struct region_table *table = table_load_text(name, str_from(k->source), &options, err);
    if (table)
        table->revision = k->revision;
    return table;
}

static struct job_file *make_job(const struct kept *k, const struct script_limits *limits, struct err *err)
{
    struct job_file_options options = {
        .limits = limits,
        .settings = k->settings,
        .setting_count = k->setting_count,
        .policy = k->policy,
        .kept = &k->job,
        .questions = k->question_list,
        .log = script_said,
    };
    return job_file_load(k->job.files[0].name, &options, err);
}

struct comparing {
    const struct job_spec *spec;
    size_t count;
    bool same;
};

static bool compare_question(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct comparing *c = ctx;
    (void)columns;
    (void)names;
    const struct question *q = c->count < c->spec->question_count ? &c->spec->questions[c->count] : NULL;
    c->same = q && str_is(v[0].text, q->id) && str_equal(v[1].text, q->prompt);
    c->count += c->same;
    return c->same;
}

/* A script may be of another opinion each time it is loaded; what was planned is what is asked. */
static bool same_questions(const struct job_spec *spec, struct reader *reader, const char *job_id, struct err *err)
{
    struct comparing c = {.spec = spec, .same = true};
    const char *bind[] = {job_id};
    if (!reader_sql(reader, "SELECT id, prompt FROM questions WHERE job_id = ?1 ORDER BY position", bind, 1, 0,
                    compare_question, &c, err))
        return false;
    return (c.same && c.count == spec->question_count) ||
           err_set(err, ERR_CONFIG, "the script gives another question %zu than when job %s was planned: questions "
                   "must follow from the script, its files and its settings; run it as a new job", c.count + 1, job_id);
}

struct kept *kept_load(const struct args *args, struct reader *reader, const char *job_id, struct runner *out,
                       struct err *err)
{
    struct kept *k = mem_zalloc(sizeof *k);
    struct runner r = {0};
    struct script_limits limits;
    arena_init(&k->arena);
    if (inputs_limits(args, &limits, err) && read_all(k, reader, job_id, err))
        r.table = make_table(k, args, &limits, err);
    if (r.table)
        r.file = make_job(k, &limits, err);
    if (!r.file || !same_questions(job_file_spec(r.file), reader, job_id, err)) {
        kept_free(k, &r);
        return NULL;
    }
    r.plan = plan_again(job_file_spec(r.file), r.table, k->cells, k->cell_count);
    r.job_id = arena_strdup(&k->arena, job_id);
    *out = r;
    return k;
}

void kept_free(struct kept *k, struct runner *r)
{
    job_file_free(r->file);
    region_table_unref(r->table);
    if (!k)
        return;
    cJSON_Delete(k->spec);
    free(k->files);
    free(k->table_files);
    free(k->cells);
    arena_done(&k->arena);
    free(k);
}
