#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "host/kept.h"

enum { OUTPUT_BYTES = 64 << 20, FAULTS_TOLD = 1000 };

struct verifying {
    struct reader *reader;
    char **ids;                    /* of the jobs */
    cJSON *json;                   /* NULL: text */
    struct buf text;
    int64_t count, jobs;
    uint64_t executions;           /* planned, as the jobs say */
    struct kept_tables *tables;
    struct err err;
};

static void found(void *ctx, const struct fault *f)
{
    struct verifying *v = ctx;
    if (v->count++ >= FAULTS_TOLD)
        return;
    if (!v->json) {
        buf_addf(&v->text, "%s: %s (%s)\n", f->id, f->text, f->rule);
        return;
    }
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "rule", f->rule);
    cJSON_AddStringToObject(one, "id", f->id);
    cJSON_AddStringToObject(one, "text", f->text);
    cJSON_AddItemToArray(v->json, one);
}

/* ---- no answer under another cell's name ---- */

/* By rows, for the views know an attempt's execution only as text. A table that is not there is told already. */
static const char served_sql[] =
    "SELECT j.id || '.' || (e.row / 1024 - j.first_row + 1) || '.' || (e.row % 1024), d.revision, c.region, c.model_id,"
    " e.served_region, e.served_model, e.status, e.class FROM jobs AS j JOIN endings AS e ON e.row >= j.first_row *"
    " 1024 AND e.row < (j.first_row + j.planned) * 1024 JOIN dispatches AS d ON d.row = e.row JOIN region_revisions"
    " USING (revision) JOIN job_cells AS c ON c.job_row = j.row AND c.position = (e.row / 1024 - j.first_row) % j.width"
    " WHERE j.id = ?1 AND coalesce(e.served_region, e.served_model) IS NOT NULL"
    " AND (e.status = 'succeeded' OR e.class IN ('wrong_region', 'wrong_model'))";

/* Texts end in a NUL; NULL is NULL. */
static const char *text_of(const struct value *v)
{
    return v->type == VALUE_TEXT ? v->text.ptr : NULL;
}

static bool check_served(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct verifying *verifying = ctx;
    (void)columns;
    (void)names;
    const struct region_table *t = kept_tables_get(verifying->tables, v[1].integer, &verifying->err);
    if (!t) {
        found(verifying, &(struct fault){"revision", text_of(&v[0]), verifying->err.text});
        return false;
    }
    const struct endpoint_spec *e =
        region_table_endpoint(t, region_table_region(t, text_of(&v[2])), text_of(&v[3]));
    const char *region = text_of(&v[4]), *model = text_of(&v[5]), *class = text_of(&v[7]);
    bool region_ok = !e || endpoint_served_region_ok(t, e, region), model_ok = !e || endpoint_served_model_ok(e, model);
    const char *should = !region_ok ? "wrong_region" : !model_ok ? "wrong_model" : NULL;
    if (should ? class && strcmp(class, should) == 0 : !class)
        return true;
    struct buf text;
    buf_init(&text, 4096);
    buf_addf(&text, "it was answered by region %.200s, model %.200s, and %s", region ? region : "unknown",
             model ? model : "unknown", class ? "failed as " : "counted as an answer");
    if (class)
        buf_addf(&text, "%s", class);
    found(verifying, &(struct fault){"served", text_of(&v[0]), buf_str(&text).ptr});
    buf_done(&text);
    return true;
}

/* ---- jobs ---- */

/* What cannot be read of a job is a fault of that job, and no reason not to look at the next one. */
static void verify_job(struct verifying *v, const char *id)
{
    const char *bind[] = {id};
    if (!reader_verify(v->reader, id, found, v, &v->err) ||
        !reader_sql(v->reader, served_sql, bind, 1, 0, check_served, v, &v->err))
        found(v, &(struct fault){"read", id, v->err.text});
}

static bool list_job(void *ctx, int columns, const char *const *names, const struct value *value)
{
    struct verifying *v = ctx;
    (void)columns;
    (void)names;
    v->ids = mem_array(v->ids, (size_t)v->jobs + 1, sizeof *v->ids);
    v->ids[v->jobs++] = mem_strdup(value[0].text.ptr);
    v->executions += (uint64_t)value[1].integer;
    return true;
}

static bool verify(struct verifying *v, const char *job_id)
{
    static const char jobs_sql[] = "SELECT id, planned FROM jobs WHERE ?1 IS NULL OR id = ?1 OR (?1 = 'last' AND"
                                   " row = (SELECT max(row) FROM jobs)) ORDER BY row DESC";
    struct job_summary unknown;
    if (!reader_sql(v->reader, jobs_sql, &job_id, 1, 0, list_job, v, &v->err) ||
        (job_id && !v->jobs && !reader_job(v->reader, job_id, &unknown, &v->err)))
        return false;
    if (!job_id && !reader_verify(v->reader, NULL, found, v, &v->err))
        found(v, &(struct fault){"read", "the file", v->err.text});
    for (int64_t i = 0; i < v->jobs; i++)
        verify_job(v, v->ids[i]);
    return true;
}

static void print(struct verifying *v, const char *db)
{
    if (v->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "jobs", (double)v->jobs);
        cJSON_AddNumberToObject(object, "executions", (double)v->executions);
        cJSON_AddNumberToObject(object, "faults", (double)v->count);
        cJSON_AddItemToObject(object, "found", v->json);
        out_json(object);
        v->json = NULL;
        return;
    }
    if (v->count > FAULTS_TOLD)
        buf_addf(&v->text, "... and %" PRId64 " more\n", v->count - FAULTS_TOLD);
    buf_addf(&v->text, "%s: %" PRId64 " jobs, %" PRIu64 " executions: %" PRId64 " faults\n", db, v->jobs, v->executions,
             v->count);
    out_buf(&v->text);
}

static int run(const struct args *args)
{
    struct script_limits limits;
    struct verifying v = {.json = args_flag(args, "json") ? cJSON_CreateArray() : NULL};
    const char *db = args_text(args, "db");
    buf_init(&v.text, OUTPUT_BYTES);
    v.reader = reader_open(db, &v.err);
    bool ok = v.reader && inputs_limits(args, &limits, &v.err);
    if (ok) {
        v.tables = kept_tables_new(v.reader, &limits);
        ok = verify(&v, args->word_count ? args->words[0] : NULL);
    }
    if (ok)
        print(&v, db);
    for (int64_t i = 0; i < v.jobs; i++)
        free(v.ids[i]);
    free(v.ids);
    kept_tables_free(v.tables);
    reader_close(v.reader);
    buf_done(&v.text);
    cJSON_Delete(v.json);
    return !ok ? complain(&v.err) : v.count ? EXIT_SOME_FAILED : EXIT_ALL_WELL;
}

static const struct option_spec options[] = {OPTION_DB, SCRIPT_OPTIONS, OPTION_JSON, {.name = NULL}};

const struct command command_verify = {
    .name = "verify",
    .words = "[JOB]",
    .summary = "recount everything from rows, and look for what cannot be",
    .details =
        "Without JOB: every job, and the file itself. Looks at the plan, which attempts there are and what follows\n"
        "what, statuses and classes, posts and hops, times, region revisions, bodies, who answered, and the totals "
        "that\nother commands show. A job that runs or was killed is no fault. JOB may be `last`.\n\n"
        "exit status: 0 all is well, 1 something is wrong and is told with its id, 4 the database cannot be read",
    .examples = "  canvass verify\n  canvass verify last --json",
    .words_max = 1,
    .options = options,
    .run = run,
};
