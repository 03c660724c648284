#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "store/store.h"

enum { OUTPUT_BYTES = 256 << 20, REGIONS_MAX = 48 };

/* Questions down, regions across; rows come question by question. */
struct grid {
    struct arena arena;
    const char *regions[REGIONS_MAX];
    size_t region_count;
    struct table *table;
    const char *question;              /* of the row being filled */
    int64_t planned[REGIONS_MAX], succeeded[REGIONS_MAX], failed;
    cJSON *json, *json_question;
};

static const char grid_sql[] =
    "SELECT question_id, region, count(*), sum(status = 'succeeded'), "
    "sum(status IN ('failed', 'cancelled', 'skipped')) FROM executions WHERE job_id = ?1 "
    "GROUP BY question_id, region ORDER BY min(number)";

static const char regions_sql[] =
    "SELECT region FROM executions WHERE job_id = ?1 GROUP BY region ORDER BY min(number)";

static bool add_region(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct grid *g = ctx;
    (void)columns;
    (void)names;
    g->regions[g->region_count++] = arena_strndup(&g->arena, v[0].text.ptr, v[0].text.len);
    return g->region_count < REGIONS_MAX;
}

static void finish_question(struct grid *g)
{
    if (!g->question)
        return;
    table_text(g->table, "");
    table_text(g->table, g->question);
    for (size_t i = 0; i < g->region_count; i++)
        if (g->planned[i])
            table_cellf(g->table, "%lld/%lld", (long long)g->succeeded[i], (long long)g->planned[i]);
        else
            table_text(g->table, "-");
    if (g->failed)
        table_cellf(g->table, "%lld", (long long)g->failed);
    else
        table_text(g->table, "-");
}

static void begin_question(struct grid *g, struct str id)
{
    g->question = arena_strndup(&g->arena, id.ptr, id.len);
    memset(g->planned, 0, sizeof g->planned);
    memset(g->succeeded, 0, sizeof g->succeeded);
    g->failed = 0;
    g->json_question = cJSON_AddObjectToObject(g->json, g->question);
}

static bool add_cell(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct grid *g = ctx;
    (void)columns;
    (void)names;
    if (!g->question || !str_is(v[0].text, g->question)) {
        finish_question(g);
        begin_question(g, v[0].text);
    }
    for (size_t i = 0; i < g->region_count; i++) {
        if (!str_is(v[1].text, g->regions[i]))
            continue;
        g->planned[i] = v[2].integer;
        g->succeeded[i] = v[3].integer;
        cJSON *cell = cJSON_AddObjectToObject(g->json_question, g->regions[i]);
        cJSON_AddNumberToObject(cell, "planned", (double)v[2].integer);
        cJSON_AddNumberToObject(cell, "succeeded", (double)v[3].integer);
        cJSON_AddNumberToObject(cell, "not_succeeded", (double)v[4].integer);
    }
    g->failed += v[4].integer;
    return true;
}

static bool load_grid(struct grid *g, struct reader *reader, const char *job_id, struct err *err)
{
    const char *bind[] = {job_id};
    arena_init(&g->arena);
    g->table = table_new();
    g->json = cJSON_CreateObject();
    if (!reader_sql(reader, regions_sql, bind, 1, 0, add_region, g, err))
        return false;
    table_column(g->table, "", TABLE_LEFT);
    table_column(g->table, "question", TABLE_FLEX);
    for (size_t i = 0; i < g->region_count; i++) {
        char *name = mem_strdup(g->regions[i]);
        for (char *c = name; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        table_column(g->table, name, TABLE_RIGHT);
        free(name);
    }
    table_column(g->table, "not", TABLE_RIGHT);
    if (!reader_sql(reader, grid_sql, bind, 1, 0, add_cell, g, err))
        return false;
    finish_question(g);
    return true;
}

static void print(const struct summary *s, struct grid *g, bool json)
{
    if (json) {
        cJSON *object = summary_json(s);
        cJSON_AddItemToObject(object, "questions", g->json);
        g->json = NULL;
        out_json(object);
        return;
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    summary_text(s, out_columns(), 1, &out);
    buf_addc(&out, '\n');
    table_print(g->table, out_columns(), &out);
    out_buf(&out);
    buf_done(&out);
}

static int run(const struct args *args)
{
    struct err err;
    struct grid g = {.region_count = 0};
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    struct summary *s = reader ? summary_load(reader, args->words[0], &err) : NULL;
    bool ok = s && load_grid(&g, reader, s->job.id, &err);
    if (ok)
        print(s, &g, args_flag(args, "json"));
    if (s) {
        arena_done(&g.arena);
        table_free(g.table);
        cJSON_Delete(g.json);
    }
    summary_free(s);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {OPTION_DB, OPTION_JSON, {.name = NULL}};

const struct command command_show = {
    .name = "show",
    .words = "JOB",
    .summary = "how a job went: by region, by question, and what failed",
    .details = "JOB is a job's id as `canvass jobs` lists it, or `last`.",
    .examples = "  canvass show last\n  canvass show bias-detection-3 --json",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
