#include <string.h>

#include <cjson/cJSON.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/table.h"

enum { OUTPUT_BYTES = 64 << 20 };

static struct region_table *load(const struct args *args, struct err *err)
{
    if (!logging_setup(args, LOG_INFO, err))
        return NULL;
    return load_regions(args->words[0], args_text(args, "secrets"), true, NULL, err);
}

/* ---- regions check ---- */

static unsigned models_of(const struct region_table *t, size_t region, unsigned *paused)
{
    unsigned models = 0;
    *paused = 0;
    for (size_t i = 0; i < t->endpoint_count; i++) {
        if (t->endpoints[i].region != region)
            continue;
        models++;
        *paused += t->endpoints[i].paused != NULL;
    }
    return models;
}

static void check_text(const struct region_table *t, struct buf *out)
{
    struct table *table = table_new();
    table_column(table, "region", TABLE_LEFT);
    table_column(table, "models", TABLE_RIGHT);
    table_column(table, "paused", TABLE_RIGHT);
    table_column(table, "in flight", TABLE_RIGHT);
    table_column(table, "health", TABLE_FLEX);
    for (size_t i = 0; i < t->region_count; i++) {
        const struct region_spec *r = &t->regions[i];
        unsigned paused;
        table_text(table, r->id);
        table_cellf(table, "%u", models_of(t, i, &paused));
        table_cellf(table, "%u", paused);
        if (r->in_flight)
            table_cellf(table, "%u", r->in_flight);
        else
            table_text(table, "-");
        table_text(table, r->health ? r->health : "-");
    }
    buf_addf(out, "%s: %zu endpoints in %zu regions%s\n\n", t->path, t->endpoint_count, t->region_count,
             t->warning_count ? ", with warnings" : ", nothing to complain of");
    table_print(table, out_columns(), out);
    table_free(table);
}

static void check_json(const struct region_table *t)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "valid", true);
    cJSON_AddStringToObject(json, "path", t->path);
    cJSON_AddStringToObject(json, "hash", t->hash);
    cJSON_AddNumberToObject(json, "endpoints", (double)t->endpoint_count);
    cJSON *regions = cJSON_AddObjectToObject(json, "regions");
    for (size_t i = 0; i < t->region_count; i++) {
        unsigned paused;
        cJSON *one = cJSON_AddObjectToObject(regions, t->regions[i].id);
        cJSON_AddNumberToObject(one, "models", models_of(t, i, &paused));
        cJSON_AddNumberToObject(one, "paused", paused);
    }
    cJSON *warnings = cJSON_AddArrayToObject(json, "warnings");
    for (size_t i = 0; i < t->warning_count; i++)
        cJSON_AddItemToArray(warnings, cJSON_CreateString(t->warnings[i]));
    out_json(json);
}

static int run_check(const struct args *args)
{
    struct err err;
    struct region_table *t = load(args, &err);
    if (!t)
        return complain(&err);
    if (args_flag(args, "json")) {
        check_json(t);
    } else {
        struct buf out;
        buf_init(&out, OUTPUT_BYTES);
        check_text(t, &out);
        out_buf(&out);
        buf_done(&out);
    }
    region_table_unref(t);
    return EXIT_ALL_WELL;
}

/* ---- regions show ---- */

static void show_text(const struct region_table *t)
{
    struct table *table = table_new();
    table_column(table, "setting", TABLE_LEFT);
    table_column(table, "value", TABLE_FLEX);
    table_column(table, "set by", TABLE_LEFT);
    for (size_t i = 0; i < t->setting_count; i++) {
        table_text(table, t->settings[i].path);
        table_text(table, t->settings[i].value);
        table_text(table, t->settings[i].set_by);
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    table_print(table, out_columns(), &out);
    out_buf(&out);
    buf_done(&out);
    table_free(table);
}

static void show_json(const struct region_table *t)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "path", t->path);
    cJSON_AddStringToObject(json, "hash", t->hash);
    cJSON *settings = cJSON_AddArrayToObject(json, "settings");
    for (size_t i = 0; i < t->setting_count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "setting", t->settings[i].path);
        cJSON_AddStringToObject(one, "value", t->settings[i].value);
        cJSON_AddStringToObject(one, "set_by", t->settings[i].set_by);
        cJSON_AddItemToArray(settings, one);
    }
    out_json(json);
}

static int run_show(const struct args *args)
{
    struct err err;
    struct region_table *t = load(args, &err);
    if (!t)
        return complain(&err);
    if (args_flag(args, "json"))
        show_json(t);
    else
        show_text(t);
    region_table_unref(t);
    return EXIT_ALL_WELL;
}

static const struct option_spec options[] = {OPTION_SECRETS, LOGGING_OPTIONS, OPTION_JSON, {.name = NULL}};

const struct command command_regions_check = {
    .name = "regions check",
    .words = "TABLE.lua",
    .summary = "is a region table right? says what is wrong, where, and what would be right",
    .details = "Loads the table as `run` would and asks no endpoint. Warnings go to standard error.\n\n"
               "exit status: 0 right, perhaps with warnings; 2 wrong",
    .examples = "  canvass regions check regions.lua",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run_check,
};

const struct command command_regions_show = {
    .name = "regions show",
    .words = "TABLE.lua",
    .summary = "every setting in force, and who set it",
    .details = "Secrets are shown by their names only.",
    .examples = "  canvass regions show regions.lua\n  canvass regions show regions.lua --json",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run_show,
};
