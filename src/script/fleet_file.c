#include "script/fleet_file.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "script/fields.h"
#include "script/fleet_answers.h"
#include "script/sandbox.h"

enum { FILE_BYTES = 1 << 20, ENDPOINTS = 100000, FAULTS = 10000 };

static const char *const schemas[] = {"modal", "modal_old", "openai", "anthropic", "runpod"};
static const char *const overflows[] = {"503", "429", "queue", "reset"};
static const char *const faults[] = {
    "reset", "hang", "500", "503", "429", "404", "401", "quota", "malformed", "truncated", "empty", "error",
    "wrong_region", "wrong_model", "refusal", "too_large", "slow", "redirect_away",
};
_Static_assert(ARRAY_LEN(schemas) == SCHEMA_RUNPOD + 1, "a name for each schema");
_Static_assert(ARRAY_LEN(overflows) == OVERFLOW_RESET + 1, "a name for each overflow");
_Static_assert(ARRAY_LEN(faults) == FAULT_REDIRECT_AWAY + 1, "a name for each fault");

static const struct fleet_endpoint usual = {
    .schema = SCHEMA_MODAL, .containers = 1, .queue = 8, .overflow = OVERFLOW_503, .scaledown_us = 10 * MINUTE_US,
    .redirect_after_us = 150 * SECOND_US, .redirect_status = 303,
    .cold = {DIST_UNIFORM, 170e6, 190e6}, .service = {DIST_UNIFORM, 38e6, 42e6},
};

static bool fail_name(struct fields *f, const char *key, const char *kind, const char *typed, const char *const *names,
                      size_t count)
{
    char cure[512];
    const char *near = nearest_name(typed, names, count);
    int used = near ? snprintf(cure, sizeof cure, "did you mean \"%s\"? one of:", near)
                    : snprintf(cure, sizeof cure, "one of:");
    for (size_t i = 0; i < count && used < (int)sizeof cure - 1; i++)
        used += snprintf(cure + used, sizeof cure - (size_t)used, " %s", names[i]);
    return field_fail(f, key, cure, "unknown %s \"%.60s\"", kind, typed);
}

/* One of several names; status codes may be written as numbers. */
static bool read_choice(struct fields *f, const char *key, const char *kind, const char *const *names, size_t count,
                        unsigned *out)
{
    const char *typed = NULL;
    int64_t number;
    if (field_type(f, key) == LUA_TNUMBER) {
        if (field_integer(f, key, 0, 999, &number))
            typed = arena_printf(f->arena, "%d", (int)number);
    } else {
        field_string(f, key, &typed);
    }
    if (!typed)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], typed) == 0) {
            *out = (unsigned)i;
            return true;
        }
    }
    return fail_name(f, key, kind, typed, names, count);
}

/* ---- distributions ---- */

static const char dist_cure[] = "give one duration, { LOW, HIGH }, or { lognormal = MEDIAN, sigma = 0.5 }";

/* { low, high } on top of the stack. */
static bool read_range(struct fields *f, const char *key, struct dist *out)
{
    lua_State *L = f->L;
    size_t count = 0;
    bool list = value_list(L, -1, &count) == LIST_WHOLE;
    int64_t low_us = 0, high_us = 0;
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    bool ok = list && count == 2 && value_duration(L, -2, &low_us) && value_duration(L, -1, &high_us);
    lua_pop(L, 2);
    if (!ok)
        return field_fail(f, key, dist_cure, "is not a distribution of times");
    if (low_us > high_us)
        return field_fail(f, key, "give the lower one first", "its low is above its high");
    *out = (struct dist){DIST_UNIFORM, (double)low_us, (double)high_us};
    return true;
}

static bool read_lognormal(struct fields *f, const char *key, struct dist *out)
{
    struct fields nested;
    int64_t median_us = 0;
    double sigma = 0.5;
    if (!field_table(f, key, &nested))
        return false;
    if (!field_duration(&nested, "lognormal", 1, &median_us) && !nested.failed)
        field_fail(&nested, NULL, dist_cure, "is not a distribution of times");
    field_number(&nested, "sigma", 0, 5, &sigma);
    if (!fields_end(&nested))
        return false;
    *out = (struct dist){DIST_LOGNORMAL, (double)median_us, sigma};
    return true;
}

static void read_dist(struct fields *f, const char *key, struct dist *out)
{
    if (!field_push(f, key))
        return;
    int64_t us;
    if (lua_type(f->L, -1) != LUA_TTABLE) {
        if (value_duration(f->L, -1, &us))
            *out = (struct dist){DIST_UNIFORM, (double)us, (double)us};
        else
            field_fail(f, key, dist_cure, "is not a distribution of times");
    } else if (lua_rawlen(f->L, -1) > 0) {
        read_range(f, key, out);
    } else {
        read_lognormal(f, key, out);
    }
    lua_pop(f->L, 1);
}

/* ---- endpoints ---- */

/* A duration, or false for never. */
static void read_optional_time(struct fields *f, const char *key, int64_t *out_us)
{
    bool flag;
    if (field_type(f, key) != LUA_TBOOLEAN) {
        field_duration(f, key, 0, out_us);
    } else if (field_bool(f, key, &flag)) {
        if (flag)
            field_fail(f, key, "give a duration, or false", "true says no time");
        else
            *out_us = 0;
    }
}

static void read_count(struct fields *f, const char *key, int64_t least, unsigned *out)
{
    int64_t value;
    if (field_integer(f, key, least, 1000000, &value))
        *out = (unsigned)value;
}

static void read_endpoint(struct fields *f, struct fleet_endpoint *e)
{
    unsigned choice;
    int64_t status;
    if (read_choice(f, "schema", "schema", schemas, ARRAY_LEN(schemas), &choice))
        e->schema = (enum fleet_schema)choice;
    if (read_choice(f, "overflow", "overflow", overflows, ARRAY_LEN(overflows), &choice))
        e->overflow = (enum fleet_overflow)choice;
    read_count(f, "containers", 1, &e->containers);
    read_count(f, "queue", 0, &e->queue);
    field_duration(f, "scaledown", 0, &e->scaledown_us);
    read_optional_time(f, "redirect_after", &e->redirect_after_us);
    if (field_integer(f, "redirect_status", 202, 303, &status)) {
        if (status != 202 && status != 302 && status != 303)
            field_fail(f, "redirect_status", "give 303, 302 or 202", "%d gives no result URL", (int)status);
        e->redirect_status = (int)status;
    }
    read_dist(f, "cold", &e->cold);
    read_dist(f, "service", &e->service);
    read_optional_time(f, "retry_after", &e->retry_after_us);
    field_string(f, "served_region", &e->served_region);
    field_string(f, "served_model", &e->served_model);
    field_number(f, "refusal_share", 0, 1, &e->refusal_share);
}

struct loading {
    struct fleet_spec *spec;
    struct fields top;
    struct fleet_endpoint defaults;
    size_t endpoint_cap;
    int answers;               /* a reference to the function, LUA_NOREF: none */
    struct err *err;
    bool ok;
};

static struct fleet_endpoint *add_endpoint(struct loading *l)
{
    struct fleet_spec *spec = l->spec;
    if (spec->endpoint_count == l->endpoint_cap) {
        /* Growing by doubling leaves the smaller copies in the arena: at most as much again. */
        l->endpoint_cap = l->endpoint_cap ? 2 * l->endpoint_cap : 16;
        struct fleet_endpoint *grown = arena_alloc(&spec->arena, l->endpoint_cap * sizeof *grown);
        if (spec->endpoint_count)
            memcpy(grown, spec->endpoints, spec->endpoint_count * sizeof *grown);
        spec->endpoints = grown;
    }
    struct fleet_endpoint *e = &spec->endpoints[spec->endpoint_count++];
    *e = l->defaults;
    return e;
}

static void read_region(struct loading *l, struct fields *regions, const char *region)
{
    struct fields models, f;
    const char *const *names;
    size_t count = 0;
    if (!field_map(regions, region, "a model", &models, &names, &count))
        return;
    if (count == 0)
        field_fail(&models, NULL, "give { [\"MODEL\"] = { } }, or remove it", "a region without models");
    for (size_t i = 0; i < count && !models.failed; i++) {
        if (l->spec->endpoint_count == ENDPOINTS) {
            field_fail(&models, names[i], "make the fleet smaller", "is one endpoint too many: at most %d", ENDPOINTS);
        } else if (field_open(&models, names[i], &f)) {
            struct fleet_endpoint *e = add_endpoint(l);
            read_endpoint(&f, e);
            e->region = region;
            e->model = names[i];
            fields_end(&f);
        }
    }
    lua_settop(models.L, models.index - 1);
}

/* In ascending order of regions and models: that of a Lua table changes from run to run, a fleet's must not. */
static void read_regions(struct loading *l)
{
    struct fields regions;
    size_t count = 0;
    if (!field_map(&l->top, "regions", "a region", &regions, &l->spec->regions, &count)) {
        if (!l->top.failed)
            field_fail(&l->top, "regions", "give regions = { us = { [\"MODEL\"] = { } } }", "no regions");
        return;
    }
    if (count == 0)
        field_fail(&regions, NULL, "give at least one region with a model", "no endpoints");
    l->spec->region_count = count;
    for (size_t i = 0; i < count && !regions.failed; i++)
        read_region(l, &regions, l->spec->regions[i]);
    lua_settop(regions.L, regions.index - 1);
}

/* ---- faults ---- */

/* A fault for a region that is not there would never happen, and nobody would know. */
static void check_fault_names(struct fields *f, const struct fleet_spec *spec, const struct fleet_fault *fault)
{
    if (f->failed)
        return;
    bool region = !fault->region, model = !fault->model;
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        region |= fault->region && strcmp(fault->region, spec->endpoints[i].region) == 0;
        model |= fault->model && strcmp(fault->model, spec->endpoints[i].model) == 0;
        if (count < ARRAY_LEN(names))
            names[count++] = spec->endpoints[i].model;
    }
    if (!region)
        fail_name(f, "region", "region", fault->region, spec->regions,
                  spec->region_count < ARRAY_LEN(names) ? spec->region_count : ARRAY_LEN(names));
    else if (!model)
        fail_name(f, "model", "model", fault->model, names, count);
}

static void read_fault(struct fields *f, const struct fleet_spec *spec, struct fleet_fault *fault)
{
    unsigned what = 0;
    *fault = (struct fleet_fault){.share = 1, .factor = 4};
    if (!read_choice(f, "what", "fault", faults, ARRAY_LEN(faults), &what))
        field_fail(f, "what", "give what = \"503\" or another kind of fault", "no kind of fault");
    fault->what = (enum fault_what)what;
    field_duration(f, "from", 0, &fault->from_us);
    if (field_duration(f, "to", 1, &fault->to_us) && fault->to_us <= fault->from_us)
        field_fail(f, "to", "give a later time, or leave it out for ever", "ends before it begins");
    field_string(f, "region", &fault->region);
    field_string(f, "model", &fault->model);
    field_string(f, "question", &fault->question);
    field_number(f, "share", 0, 1, &fault->share);
    if (field_number(f, "factor", 0, 1e6, &fault->factor) && fault->what != FAULT_SLOW)
        field_fail(f, "factor", "remove it, or say what = \"slow\"", "only a slow fault has a factor");
    bool away = fault->what == FAULT_REDIRECT_AWAY;
    if (field_string(f, "url", &fault->to) != away)
        field_fail(f, "url", away ? "give url = \"https://...\"" : "remove it, or say what = \"redirect_away\"",
                   away ? "no URL to redirect to" : "only a redirect_away fault has a URL");
    check_fault_names(f, spec, fault);
}

static void read_faults(struct fields *top, struct fleet_spec *spec)
{
    struct fields list;
    if (!field_table(top, "faults", &list))
        return;
    size_t count = 0;
    if (value_list(list.L, list.index, &count) != LIST_WHOLE || count > FAULTS)
        field_fail(&list, NULL, "give { { what = \"503\" }, ... }", "is not a list of at most %d faults", FAULTS);
    spec->faults = arena_alloc(&spec->arena, count * sizeof *spec->faults);
    for (size_t i = 0; i < count && !list.failed; i++) {
        struct fields f;
        if (field_item(&list, i, &f)) {
            read_fault(&f, spec, &spec->faults[spec->fault_count++]);
            fields_end(&f);
        }
    }
    lua_settop(list.L, list.index - 1);
}

/* ---- the whole ---- */

static bool read_top(struct loading *l)
{
    struct fields *f = &l->top, defaults;
    int64_t seed = 1;
    field_integer(f, "seed", 0, INT64_MAX, &seed);
    l->spec->seed = (uint64_t)seed;
    if (field_table(f, "defaults", &defaults)) {
        read_endpoint(&defaults, &l->defaults);
        fields_end(&defaults);
    }
    read_regions(l);
    read_faults(f, l->spec);
    int type = field_type(f, "answers");
    if (type == LUA_TFUNCTION && field_push(f, "answers"))
        l->answers = luaL_ref(f->L, LUA_REGISTRYINDEX);
    else if (type != LUA_TNIL)
        field_fail(f, "answers", "give function(question, model, region, random) return \"...\" end",
                   "is not a function");
    return fields_end(f);
}

/* Runs protected: index 1 is the loading, 2 what the file returned. */
static int read_fleet(lua_State *L)
{
    struct loading *l = lua_touserdata(L, 1);
    l->ok = fields_begin(&l->top, L, 2, l->spec->path, "", &l->spec->arena, l->err) && read_top(l);
    return 0;
}

static struct script *run_file(const char *path, const struct script_limits *limits, struct err *err)
{
    char *text;
    size_t len;
    if (!read_file(path, FILE_BYTES, &text, &len, err))
        return NULL;
    char *copy = mem_strdup(path);
    struct script *s = script_new(&(struct script_options){.folder = dirname(copy), .limits = limits});
    free(copy);
    bool ok = script_run(s, path, (struct str){text, len}, err);
    free(text);
    if (ok)
        return s;
    script_free(s);
    return NULL;
}

struct fleet_spec *fleet_load(const char *path, const struct script_limits *limits, struct err *err)
{
    struct script *s = run_file(path, limits, err);
    if (!s)
        return NULL;
    struct loading l = {.spec = fleet_spec_new(), .defaults = usual, .answers = LUA_NOREF, .err = err};
    l.spec->path = arena_strdup(&l.spec->arena, path);
    if (script_apply(s, read_fleet, &l, err) && l.ok) {
        fleet_answers_bind(l.spec, s, l.answers);
        return l.spec;
    }
    script_free(s);
    fleet_spec_free(l.spec);
    return NULL;
}
