#include "host/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/logging.h"
#include "script/table_file.h"

/* Files read from a query of name and text. */
struct kept_files {
    struct arena arena;
    struct source_file *list;
    struct sources sources;
};

/* A revision of the region table. */
struct kept_table {
    int64_t revision;
    const char *source;
    struct kept_files files;
    struct region_table *table;
};

struct kept_tables {
    struct reader *reader;
    struct script_limits limits;
    struct kept_table **list;
    size_t count;
};

struct kept {
    struct arena arena;
    const char *policy, *question_list;
    cJSON *spec;
    struct script_setting *settings;
    size_t setting_count;
    struct kept_files files;
    struct kept_table *table;
    struct kept_cell *cells;
    size_t cell_count;
    int64_t revision;
};

static const char *keep_text(struct arena *a, const struct value *v)
{
    return v->type == VALUE_TEXT ? arena_strndup(a, v->text.ptr, v->text.len) : "";
}

/* ---- files ---- */

static bool add_file(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept_files *f = ctx;
    (void)columns;
    (void)names;
    f->list = mem_array(f->list, f->sources.count + 1, sizeof *f->list);
    f->list[f->sources.count++] =
        (struct source_file){keep_text(&f->arena, &v[0]), {keep_text(&f->arena, &v[1]), v[1].text.len}};
    f->sources.files = f->list;
    return true;
}

static bool files_read(struct kept_files *f, struct reader *reader, const char *sql, const char *id, struct err *err)
{
    const char *bind[] = {id};
    arena_init(&f->arena);
    return reader_sql(reader, sql, bind, 1, 0, add_file, f, err);
}

static void files_done(struct kept_files *f)
{
    free(f->list);
    arena_done(&f->arena);
}

/* ---- region tables ---- */

static bool take_source(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept_table *t = ctx;
    (void)columns;
    (void)names;
    t->source = keep_text(&t->files.arena, &v[0]);
    return false;
}

static void table_free(struct kept_table *t)
{
    if (!t)
        return;
    region_table_unref(t->table); /* it looks into the files to the end */
    files_done(&t->files);
    free(t);
}

/* Its text and files; the table itself is not loaded. */
static struct kept_table *table_read(struct reader *reader, int64_t revision, struct err *err)
{
    struct kept_table *t = mem_zalloc(sizeof *t);
    char id[32];
    const char *bind[] = {id};
    t->revision = revision;
    snprintf(id, sizeof id, "%lld", (long long)revision);
    if (files_read(&t->files, reader, "SELECT name, text FROM region_files WHERE revision = CAST(?1 AS INTEGER)"
                                      " ORDER BY position", id, err) &&
        reader_sql(reader, "SELECT source FROM region_revisions WHERE revision = CAST(?1 AS INTEGER)", bind, 1, 0,
                   take_source, t, err) &&
        (t->source || err_set(err, ERR_STORE, "revision %s of the region table is not there: check the database with "
                              "canvass verify", id)))
        return t;
    table_free(t);
    return NULL;
}

static bool table_make(struct kept_table *t, struct table_options options, struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "region table, revision %lld", (long long)t->revision);
    options.kept = &t->files.sources;
    t->table = table_load_text(name, str_from(t->source), &options, err);
    if (t->table)
        t->table->revision = t->revision;
    return t->table;
}

struct kept_tables *kept_tables_new(struct reader *reader, const struct script_limits *limits)
{
    struct kept_tables *t = mem_zalloc(sizeof *t);
    *t = (struct kept_tables){.reader = reader, .limits = *limits};
    return t;
}

const struct region_table *kept_tables_get(struct kept_tables *t, int64_t revision, struct err *err)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->list[i]->revision == revision)
            return t->list[i]->table;
    struct kept_table *one = table_read(t->reader, revision, err);
    if (!one || !table_make(one, (struct table_options){.limits = &t->limits, .secrets_optional = true}, err)) {
        table_free(one);
        return NULL;
    }
    t->list = mem_array(t->list, t->count + 1, sizeof *t->list);
    t->list[t->count++] = one;
    return one->table;
}

void kept_tables_free(struct kept_tables *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        table_free(t->list[i]);
    free(t->list);
    free(t);
}

/* ---- the job ---- */

static bool read_job(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    k->policy = keep_text(&k->arena, &v[0]);
    k->revision = v[1].integer;
    k->spec = cJSON_ParseWithLength(v[2].text.ptr, v[2].text.len);
    return false;
}

static bool read_cell(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept *k = ctx;
    (void)columns;
    (void)names;
    k->cells = mem_array(k->cells, k->cell_count + 1, sizeof *k->cells);
    k->cells[k->cell_count++] = (struct kept_cell){
        keep_text(&k->arena, &v[0]), keep_text(&k->arena, &v[1]), keep_text(&k->arena, &v[2])};
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

static bool read_all(struct kept *k, struct reader *reader, const char *job_id, struct err *err)
{
    const char *bind[] = {job_id};
    if (!files_read(&k->files, reader, "SELECT name, text FROM job_files WHERE job_id = ?1 ORDER BY position", job_id,
                    err) ||
        !reader_sql(reader, "SELECT policy, revision, spec FROM jobs WHERE id = ?1", bind, 1, 0, read_job, k, err) ||
        !reader_sql(reader, "SELECT region, model_id, url FROM job_cells WHERE job_row = (SELECT row FROM jobs WHERE"
                            " id = ?1) AND sample = 1 ORDER BY position", bind, 1, 0, read_cell, k, err))
        return false;
    if (!k->spec || !k->files.sources.count || !k->cell_count)
        return err_set(err, ERR_STORE, "job %s was not kept whole: check it with canvass verify %s", job_id, job_id);
    read_spec(k);
    return true;
}

/* ---- making it again ---- */

static bool holds_all(const struct region_table *t, const struct kept *k)
{
    for (size_t i = 0; i < k->cell_count; i++) {
        int region = region_table_region(t, k->cells[i].region);
        if (region == NO_INDEX || !region_table_endpoint(t, region, k->cells[i].model))
            return false;
    }
    return true;
}

/* A reference for the caller. */
static struct region_table *make_table(struct kept *k, struct reader *reader, const struct kept_options *o,
                                       struct err *err)
{
    if (o->table && (!o->plan_only || holds_all(o->table, k)))
        return region_table_ref(o->table);
    k->table = table_read(reader, k->revision, err);
    if (!k->table ||
        !table_make(k->table, (struct table_options){.limits = &o->limits, .secrets_file = o->secrets_file,
                                                .secrets_optional = o->plan_only}, err))
        return NULL;
    return region_table_ref(k->table->table);
}

static struct job_file *make_job(const struct kept *k, const struct script_limits *limits, struct err *err)
{
    struct job_file_options options = {
        .limits = limits,
        .settings = k->settings,
        .setting_count = k->setting_count,
        .policy = k->policy,
        .kept = &k->files.sources,
        .questions = k->question_list,
        .log = logging_script,
    };
    return job_file_load(k->files.list[0].name, &options, err);
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

struct kept *kept_load(struct reader *reader, const char *job_id, const struct kept_options *options,
                       struct kept_job *out, struct err *err)
{
    struct kept *k = mem_zalloc(sizeof *k);
    struct kept_job job = {0};
    arena_init(&k->arena);
    if (read_all(k, reader, job_id, err))
        job.table = make_table(k, reader, options, err);
    if (job.table)
        job.file = make_job(k, &options->limits, err);
    if (!job.file || !same_questions(job_file_spec(job.file), reader, job_id, err)) {
        kept_free(k, &job);
        return NULL;
    }
    job.plan = plan_again(job_file_spec(job.file), job.table, k->cells, k->cell_count);
    job.job_id = arena_strdup(&k->arena, job_id);
    *out = job;
    return k;
}

struct kept *kept_load_file(struct reader *reader, const char *job_id, const struct script_limits *limits,
                            struct kept_job *out, struct err *err)
{
    struct kept *k = mem_zalloc(sizeof *k);
    struct kept_job job = {0};
    arena_init(&k->arena);
    if (read_all(k, reader, job_id, err))
        job.file = make_job(k, limits, err);
    if (!job.file || !same_questions(job_file_spec(job.file), reader, job_id, err)) {
        kept_free(k, &job);
        return NULL;
    }
    job.job_id = arena_strdup(&k->arena, job_id);
    *out = job;
    return k;
}

static bool take_flag(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns;
    (void)names;
    *(bool *)ctx = v[0].integer != 0;
    return false;
}

bool kept_load_scorer(struct reader *reader, const char *job_id, const struct script_limits *limits,
                      struct kept **kept, struct kept_job *out, struct err *err)
{
    /* Loading a large job takes a second. Records of older versions do not say whether it is worth it. */
    static const char sql[] = "SELECT coalesce(spec->>'$.scored', 1) FROM jobs WHERE id = ?1";
    bool scored = true;
    *kept = NULL;
    if (!reader_sql(reader, sql, &job_id, 1, 0, take_flag, &scored, err))
        return false;
    if (!scored)
        return true;
    *kept = kept_load_file(reader, job_id, limits, out, err);
    if (!*kept)
        return err_prefix(err, "the job's script, --no-score does without: ");
    if (!job_file_scores(out->file)) {
        kept_free(*kept, out);
        *out = (struct kept_job){0};
        *kept = NULL;
    }
    return true;
}

void kept_free(struct kept *k, struct kept_job *job)
{
    job_file_free(job->file);
    region_table_unref(job->table);
    if (!k)
        return;
    cJSON_Delete(k->spec);
    files_done(&k->files);
    table_free(k->table);
    free(k->cells);
    arena_done(&k->arena);
    free(k);
}
