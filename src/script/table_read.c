/* The table from the top down: limits, defaults, groups, regions and their models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "script/table_build.h"

enum { REGION_MAX = 100, MODEL_MAX = 150, REGIONS_MAX = 1000, ENDPOINTS_MAX = 20000, CAP_MAX = 1000000 };

/* ---- small parts ---- */

static bool id_ok(const char *id, bool model)
{
    return text_is_name(str_from(id), model ? "._:-/" : "._:-", model ? MODEL_MAX : REGION_MAX);
}

/* what: "a region id" */
static bool check_id(struct fields *f, const char *id, const char *what, bool model)
{
    return id_ok(id, model) || field_fail(f, id, model ? "use at most 150 letters, digits and . _ : - /"
                                                       : "use at most 100 letters, digits and . _ : -", "not %s", what);
}

static const char *number_text(struct table_build *b, unsigned n)
{
    return n ? arena_printf(&b->table->arena, "%u", n) : "none";
}

static bool read_cap(struct fields *f, const char *key, unsigned *out)
{
    int64_t cap;
    if (!field_integer(f, key, 1, CAP_MAX, &cap))
        return false;
    *out = (unsigned)cap;
    return true;
}

/* A secret is the whole value of a header or of the proxy. Looked for all over the table before
 * it is read, so that the error says this and not "must be a string". */
static bool no_stray_secret(struct table_build *b, lua_State *L, int index, const char *path, const char *name,
                            unsigned depth)
{
    if (depth > 12 || ++b->visited > 100000)
        return true; /* deeper or more than any table is: one that holds itself, reported later as an unknown key */
    bool headers = strcmp(name, "headers") == 0, ok = true;
    for (lua_pushnil(L); ok && lua_next(L, index); lua_pop(L, ok ? 1 : 0)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        const char *at = *path ? arena_printf(&b->table->arena, "%s.%s", path, key) : key;
        if (lua_type(L, -1) == LUA_TTABLE)
            ok = no_stray_secret(b, L, lua_gettop(L), at, key, depth + 1);
        else if (secrets_ref(L, -1) && !headers && strcmp(key, "proxy") != 0)
            ok = err_set(b->err, ERR_CONFIG,
                         "secret %s in a place that is shown and stored (%s: %s): a secret may be the value "
                         "of a header or of proxy, nothing else",
                         secrets_ref(L, -1)->name, b->file, at);
        if (!ok)
            lua_pop(L, 2);
    }
    return ok;
}

/* ---- speed, limits, groups ---- */

static bool read_speed(struct table_build *b, struct fields *top)
{
    if (field_number(top, "speed", 0.001, 1e6, &b->table->speed))
        table_setting(b, "speed", arena_printf(&b->table->arena, "%g", b->table->speed), "table");
    return !top->failed;
}

static bool read_limits(struct table_build *b, struct fields *top)
{
    struct region_table *t = b->table;
    struct fields limits;
    if (field_table(top, "limits", &limits)) {
        read_cap(&limits, "endpoints", &t->endpoints_max);
        read_cap(&limits, "in_flight", &t->in_flight);
        fields_end(&limits);
    }
    table_setting(b, "limits.endpoints", number_text(b, t->endpoints_max), t->endpoints_max ? "limits" : "default");
    table_setting(b, "limits.in_flight", number_text(b, t->in_flight), t->in_flight ? "limits" : "default");
    return !top->failed;
}

static bool read_group(struct table_build *b, struct fields *groups, const char *name, struct group_spec *out)
{
    struct fields f;
    *out = (struct group_spec){.name = name};
    bool ok = check_id(groups, name, "a group name", false) && field_open(groups, name, &f);
    if (ok) {
        read_cap(&f, "in_flight", &out->in_flight);
        field_number(&f, "rate", 0, 1e9, &out->rate_per_minute);
        ok = fields_end(&f);
    }
    if (ok) {
        struct arena *a = &b->table->arena;
        const char *set_by = arena_printf(a, "group %s", name);
        table_setting(b, arena_printf(a, "groups.%s.in_flight", name), number_text(b, out->in_flight), set_by);
        table_setting(b, arena_printf(a, "groups.%s.rate", name), arena_printf(a, "%.12g", out->rate_per_minute),
                      set_by);
    }
    return ok;
}

static bool read_groups(struct table_build *b, struct fields *top)
{
    struct fields groups;
    const char *const *names;
    size_t count;
    if (!field_map(top, "groups", "a group", &groups, &names, &count))
        return !top->failed;
    b->table->groups = arena_alloc(top->arena, count * sizeof *b->table->groups);
    for (size_t i = 0; i < count && read_group(b, &groups, names[i], &b->table->groups[i]); i++)
        b->table->group_count++;
    lua_pop(top->L, 1);
    return !top->failed;
}

/* A group that is not declared has no caps; its endpoints only share a quota. */
static int group_index(struct region_table *t, const char *name)
{
    for (size_t i = 0; i < t->group_count; i++)
        if (strcmp(t->groups[i].name, name) == 0)
            return (int)i;
    struct group_spec *more = arena_alloc(&t->arena, (t->group_count + 1) * sizeof *more);
    if (t->group_count)
        memcpy(more, t->groups, t->group_count * sizeof *more);
    more[t->group_count] = (struct group_spec){.name = name};
    t->groups = more;
    return (int)t->group_count++;
}

/* ---- endpoints ---- */

struct place {                   /* where an endpoint stands, for its checks */
    struct region_spec *region;
    const struct table_keys *keys; /* of the region */
    const char *path;            /* of the region */
};

static bool find_adapter(struct table_build *b, const struct place *at, const struct fields *f, struct table_keys *k)
{
    struct err why;
    const char *path = table_keys_path(b, table_keys_by(k, "adapter"), "adapter", at->path, f->path);
    switch (adapters_find(b->adapters, k->spec.adapter, &k->spec.adapter_slot, &why)) {
    case ADAPTER_FOUND:
        return true;
    case ADAPTER_BROKEN:
        return err_set(b->err, ERR_CONFIG, "adapter %s cannot be used (%s: %s): %s", k->spec.adapter, b->file, path,
                       why.text);
    default:
        buf_clear(&b->scratch);
        adapters_known(b->adapters, &b->scratch);
        return err_set(b->err, ERR_CONFIG,
                       "unknown adapter \"%s\" (%s: %s): write one of %s, or put %s.lua beside the table",
                       k->spec.adapter, b->file, path, buf_str(&b->scratch).ptr, k->spec.adapter);
    }
}

/* The name a model has at its provider: what the endpoint is really asked for, so it may answer by it. */
static bool take_sent_name(struct table_build *b, struct table_keys *k, struct table_option option)
{
    struct err why;
    lua_State *L = script_state(b->script);
    if (!script_push_json(b->script, str_from(option.json), &why))
        return err_set(b->err, ERR_CONFIG, "%s (%s)", why.text, b->file);
    if (lua_type(L, -1) == LUA_TSTRING)
        k->spec.sent_as = arena_strdup(&b->table->arena, lua_tostring(L, -1));
    lua_pop(L, 1);
    return true;
}

static bool check_options(struct table_build *b, const struct place *at, const struct fields *f, struct table_keys *k)
{
    struct err why;
    const char *fault;
    buf_clear(&b->scratch);
    buf_addc(&b->scratch, '{');
    for (size_t i = 0; i < k->option_count; i++) {
        buf_adds(&b->scratch, i ? "," : "");
        text_add_json(&b->scratch, str_from(k->options[i].name));
        buf_addf(&b->scratch, ":%s", k->options[i].json);
    }
    buf_addc(&b->scratch, '}');
    k->options_json = arena_strndup(&b->table->arena, b->scratch.ptr, b->scratch.len);
    if (b->scratch.full)
        return err_set(b->err, ERR_CONFIG, "options are too long (%s: %s): keep them below %zu bytes", b->file, f->path,
                       b->scratch.max);
    for (size_t i = 0; i < k->option_count; i++)
        if (strcmp(k->options[i].name, "send_model") == 0 && !take_sent_name(b, k, k->options[i]))
            return false;
    if (adapters_check_options(b->adapters, k->spec.adapter_slot, k->options_json, &fault, &why))
        return true;

    enum setter by = BY_ENDPOINT;
    for (size_t i = 0; i < k->option_count; i++)
        if (strcmp(k->options[i].name, fault) == 0)
            by = k->options[i].by;
    const char *key = arena_printf(&b->table->arena, "options.%s", fault);
    const char *cure = strstr(why.text, ": ");
    return err_set(b->err, ERR_CONFIG, "%.*s (%s: %s)%s", (int)(cure ? (size_t)(cure - why.text) : strlen(why.text)),
                   why.text, b->file, table_keys_path(b, by, key, at->path, f->path), cure ? cure : "");
}

static void settle_warm(struct table_build *b, const struct place *at, const struct fields *f, struct table_keys *k)
{
    if (k->spec.warm != WARM_HEALTH || at->region->health)
        return;
    if (table_keys_by(k, "warm") != BY_PROGRAM)
        table_warn(b, "warm is \"health\" and region %s has no health url (%s: %s): nothing will be warmed up",
                   at->region->id, b->file, table_keys_path(b, table_keys_by(k, "warm"), "warm", at->path, f->path));
    k->spec.warm = WARM_NO;
}

static void warn_about_slots(struct table_build *b, const struct place *at, const struct fields *f,
                             const struct table_keys *k)
{
    unsigned cap = at->region->in_flight;
    const char *whose = "the region's in_flight";
    if (b->table->in_flight && (!cap || b->table->in_flight < cap)) {
        cap = b->table->in_flight;
        whose = "limits.in_flight";
    }
    if (cap && k->spec.slots > cap)
        table_warn(b, "slots is %u, above %s, which is %u (%s: %s): the smaller one holds", k->spec.slots, whose, cap,
                   b->file, table_keys_path(b, table_keys_by(k, "slots"), "slots", at->path, f->path));
}

static bool add_endpoint(struct table_build *b, struct fields *models, const char *model, const struct place *at)
{
    struct arena *a = &b->table->arena;
    struct table_keys k = *at->keys;
    struct fields f;
    bool ok = check_id(models, model, "a model id", true) && field_open(models, model, &f) &&
              table_keys_read(b, &f, BY_ENDPOINT, &k) && fields_end(&f) &&
              table_overrides_endpoint(b, arena_printf(a, "%s/%s", at->region->id, model), &k) &&
              table_keys_check(b, &f, at->keys, at->path, &k) && find_adapter(b, at, &f, &k) &&
              check_options(b, at, &f, &k);
    if (!ok)
        return false;
    table_headers_end(b, &k);
    settle_warm(b, at, &f, &k);
    warn_about_slots(b, at, &f, &k);
    k.spec.index = (unsigned)b->endpoint_count;
    k.spec.region = (unsigned)(at->region - b->table->regions);
    k.spec.model = model;
    k.spec.id = arena_printf(a, "%s/%s", at->region->id, model);
    k.spec.group = NO_INDEX;

    if (b->endpoint_count == ENDPOINTS_MAX)
        return field_fail(models, model, "split the table", "more than %d endpoints", ENDPOINTS_MAX);
    if (b->endpoint_count == b->endpoint_cap) {
        b->endpoint_cap = b->endpoint_cap ? 2 * b->endpoint_cap : 16;
        b->endpoints = mem_array(b->endpoints, b->endpoint_cap, sizeof *b->endpoints);
    }
    b->endpoints[b->endpoint_count++] = k;
    return true;
}

static bool read_models(struct table_build *b, struct fields *f, const struct place *at)
{
    struct fields models;
    const char *const *names;
    size_t count = 0;
    if (field_map(f, "models", "a model", &models, &names, &count))
        for (size_t i = 0; i < count && !f->failed; i++)
            if (!add_endpoint(b, &models, names[i], at))
                fields_failed(&models);
    if (!f->failed && count == 0)
        field_fail(f, "models", "add models = { [\"MODEL\"] = { url = \"https://...\" } }, or take the region out",
                   "region %s has no models", at->region->id);
    return !f->failed;
}

/* ---- regions ---- */

/* After all ids are known, so that an alias cannot hide one. */
static bool add_aliases(struct table_build *b, struct fields *f, struct region_spec *region)
{
    struct region_table *t = b->table;
    for (size_t i = 0; i < region->alias_count; i++) {
        const char *alias = region->aliases[i];
        uint32_t other;
        if (!id_ok(alias, false))
            return field_fail(f, "aliases", "use at most 100 letters, digits and . _ : -",
                              "not a region name: \"%.100s\"", alias);
        if (map_add(&t->region_names, str_from(alias), (uint32_t)(region - t->regions)))
            continue;
        map_get(&t->region_names, str_from(alias), &other);
        const char *id = t->regions[other].id;
        if (strcmp(id, alias) == 0)
            return field_fail(f, "aliases", "take it out, or rename one of them",
                              "alias \"%s\" of region %s is the id of region %s", alias, region->id, id);
        return field_fail(f, "aliases", "keep it in one place", "alias \"%s\" stands in region %s and in region %s",
                          alias, id, region->id);
    }
    return true;
}

const char *table_list(struct table_build *b, const char *const *list, size_t count)
{
    buf_clear(&b->scratch);
    for (size_t i = 0; i < count; i++)
        buf_addf(&b->scratch, "%s%s", i ? ", " : "", list[i]);
    return arena_strndup(&b->table->arena, buf_str(&b->scratch).ptr, b->scratch.len);
}

static void region_settings(struct table_build *b, const struct region_spec *r)
{
    struct arena *a = &b->table->arena;
    const char *set_by = arena_printf(a, "region %s", r->id);
    const struct { const char *name, *value; bool set; } rows[] = {
        {"aliases", table_list(b, r->aliases, r->alias_count), r->alias_count > 0},
        {"health", r->health ? r->health : "none", r->health != NULL},
        {"in_flight", number_text(b, r->in_flight), r->in_flight > 0},
        {"paused", r->paused ? r->paused : "false", r->paused != NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        table_setting(b, arena_printf(a, "%s.%s", r->id, rows[i].name), rows[i].value,
                      rows[i].set ? set_by : "default");
}

static bool read_region(struct table_build *b, struct fields *regions, struct region_spec *region,
                        const struct table_keys *defaults)
{
    struct fields f;
    struct table_keys keys = *defaults;
    if (!field_open(regions, region->id, &f))
        return false;
    field_strings(&f, "aliases", &region->aliases, &region->alias_count);
    read_cap(&f, "in_flight", &region->in_flight);
    field_url(&f, "health", &region->health);
    if (f.failed || !add_aliases(b, &f, region) || !table_keys_read(b, &f, BY_REGION, &keys))
        return false;
    if (!table_overrides_region(b, region, &keys))
        return false;
    if (table_keys_by(&keys, "paused") >= BY_REGION)
        region->paused = keys.spec.paused;
    struct place at = {region, &keys, f.path};
    if (!read_models(b, &f, &at) || !fields_end(&f))
        return false;
    region_settings(b, region);
    return true;
}

/* All ids first, so that no alias can take one that comes later. */
static bool add_regions(struct table_build *b, struct fields *regions, const char *const *ids, size_t count)
{
    struct region_table *t = b->table;
    t->regions = arena_alloc(&t->arena, count * sizeof *t->regions);
    for (size_t i = 0; i < count; i++) {
        if (!check_id(regions, ids[i], "a region id", false))
            return false;
        t->regions[t->region_count++] = (struct region_spec){.id = ids[i]};
        map_add(&t->region_names, str_from(ids[i]), (uint32_t)i);
    }
    return true;
}

static bool read_regions(struct table_build *b, struct fields *top, const struct table_keys *defaults)
{
    struct fields regions;
    const char *const *ids;
    size_t count = 0;
    if (field_map(top, "regions", "a region", &regions, &ids, &count)) {
        if (count > REGIONS_MAX)
            return field_fail(top, "regions", "split the table", "more than %d regions", REGIONS_MAX);
        if (!add_regions(b, &regions, ids, count))
            return false;
        for (size_t i = 0; i < count && !top->failed; i++)
            if (!read_region(b, &regions, &b->table->regions[i], defaults))
                fields_failed(&regions);
    }
    if (!top->failed && count == 0)
        field_fail(top, "regions", "add regions = { us = { models = { [\"MODEL\"] = { url = \"https://...\" } } } }",
                   "no regions");
    return !top->failed;
}

/* ---- the whole ---- */

static bool read_defaults(struct table_build *b, struct fields *top, struct table_keys *k)
{
    struct fields defaults;
    table_keys_default(k);
    if (!field_table(top, "defaults", &defaults))
        return !top->failed;
    return table_keys_read(b, &defaults, BY_DEFAULTS, k) && fields_end(&defaults);
}

static bool check_count(struct table_build *b)
{
    unsigned max = b->table->endpoints_max;
    if (!max || b->endpoint_count <= max)
        return true;
    return err_set(b->err, ERR_CONFIG,
                   "%zu endpoints in %zu regions, and limits.endpoints is %u (%s: limits.endpoints): take %zu out, "
                   "or raise the limit to what the account has",
                   b->endpoint_count, b->table->region_count, max, b->file, b->endpoint_count - max);
}

static void finish_groups(struct table_build *b)
{
    struct region_table *t = b->table;
    size_t declared = t->group_count;
    for (size_t i = 0; i < b->endpoint_count; i++)
        if (b->endpoints[i].group)
            b->endpoints[i].spec.group = group_index(t, b->endpoints[i].group);
    for (size_t g = 0; g < declared; g++) {
        bool used = false;
        for (size_t i = 0; i < b->endpoint_count; i++)
            used |= b->endpoints[i].spec.group == (int)g;
        if (!used)
            table_warn(b, "no endpoint is in group %s (%s: groups.%s): its caps hold nothing back", t->groups[g].name,
                       b->file, t->groups[g].name);
    }
}

static void finish_endpoints(struct table_build *b)
{
    struct region_table *t = b->table;
    const char **options = arena_alloc(&t->arena, b->endpoint_count * sizeof *options);
    t->endpoints = arena_alloc(&t->arena, b->endpoint_count * sizeof *t->endpoints);
    t->endpoint_count = b->endpoint_count;
    for (size_t i = 0; i < b->endpoint_count; i++) {
        const struct table_keys *k = &b->endpoints[i];
        t->endpoints[i] = k->spec;
        options[i] = k->options_json;
        table_keys_settings(b, k, t->regions[k->spec.region].id);
    }
    adapters_ready(b->adapters, t, options);
}

bool table_read(struct table_build *b, lua_State *L, int index)
{
    struct fields top;
    struct table_keys defaults;
    bool ok = fields_begin(&top, L, index, b->file, "", &b->table->arena, b->err) &&
              no_stray_secret(b, L, index, "", "", 0) && read_speed(b, &top) && table_overrides_open(b) &&
              read_limits(b, &top) && table_overrides_limits(b) &&
              read_defaults(b, &top, &defaults) && read_groups(b, &top) && read_regions(b, &top, &defaults);
    if (!ok || !fields_end(&top) || !table_overrides_end(b) || !check_count(b))
        return false;
    finish_groups(b);
    finish_endpoints(b);
    return true;
}
