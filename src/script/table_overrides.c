/* What stands over the operator's file for a while, without a change to it: pauses and limits that were set by command.
 *
 *   { "endpoints": { "eu/mistral-7b": { "slots": 2, "paused": "..." } }, "regions": { "asia": { "paused": "..." } },
 *     "limits": { "in_flight": 4 }, "author": "ann", "reason": "quota" } */
#include <stdlib.h>
#include <string.h>

#include "script/table_build.h"

static const char *const endpoint_keys[] = {"slots", "rate", "deadline", "connect", "hop", "poll", "scaledown",
                                            "adaptive", "paused"};
static const char *const region_keys[] = {"in_flight", "paused"};

static bool only_keys(struct fields *f, const char *const *keys, size_t count)
{
    lua_State *L = f->L;
    for (lua_pushnil(L); lua_next(L, f->index); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known = known || strcmp(keys[i], key) == 0;
        if (known)
            continue;
        field_fail(f, key, "edit the region table itself", "%s cannot be overridden", key);
        lua_pop(L, 2);
        return false;
    }
    return true;
}

static bool open_map(struct fields *top, const char *key, const char *what, struct overrides_map *map)
{
    map->there = field_map(top, key, what, &map->fields, &map->names, &map->count);
    map->used = map->there ? arena_alloc(top->arena, map->count + 1) : NULL;
    if (map->there)
        memset(map->used, 0, map->count + 1);
    return !top->failed;
}

bool table_overrides_open(struct table_build *b)
{
    struct overrides *o = &b->overrides;
    struct err why;
    const char *text;
    if (!o->text.len)
        return true;
    if (!script_push_json(b->script, o->text, &why))
        return err_set(b->err, ERR_CONFIG, "%s (%s): mend the file, or remove it", why.text, o->file);
    lua_State *L = script_state(b->script);
    if (!fields_begin(&o->top, L, lua_gettop(L), o->file, "", &b->table->arena, b->err))
        return false;
    field_string(&o->top, "author", &text);
    field_string(&o->top, "reason", &text);
    return !o->top.failed && open_map(&o->top, "endpoints", "an endpoint", &o->endpoints) &&
           open_map(&o->top, "regions", "a region", &o->regions);
}

/* False with nothing said: it has none. */
static bool find(struct overrides_map *map, const char *name, struct fields *out)
{
    for (size_t i = 0; map->there && i < map->count; i++)
        if (strcmp(map->names[i], name) == 0) {
            map->used[i] = 1;
            return field_open(&map->fields, map->names[i], out);
        }
    return false;
}

bool table_overrides_endpoint(struct table_build *b, const char *id, struct table_keys *k)
{
    struct fields f;
    if (!find(&b->overrides.endpoints, id, &f))
        return !b->overrides.endpoints.fields.failed;
    return only_keys(&f, endpoint_keys, sizeof endpoint_keys / sizeof *endpoint_keys) &&
           table_keys_read(b, &f, BY_OVERRIDE, k) && fields_end(&f);
}

bool table_overrides_region(struct table_build *b, struct region_spec *region, struct table_keys *k)
{
    struct fields f;
    int64_t cap = region->in_flight;
    if (!find(&b->overrides.regions, region->id, &f))
        return !b->overrides.regions.fields.failed;
    if (!only_keys(&f, region_keys, sizeof region_keys / sizeof *region_keys) ||
        (!field_integer(&f, "in_flight", 1, TABLE_CAP_MAX, &cap) && f.failed) ||
        !table_keys_read(b, &f, BY_OVERRIDE, k))
        return false;
    region->in_flight = (unsigned)cap;
    return fields_end(&f);
}

bool table_overrides_limits(struct table_build *b)
{
    struct fields f;
    int64_t cap = b->table->in_flight;
    if (!b->overrides.text.len || !field_table(&b->overrides.top, "limits", &f))
        return !b->overrides.top.failed;
    if (!field_integer(&f, "in_flight", 1, TABLE_CAP_MAX, &cap) && f.failed)
        return false;
    b->table->in_flight = (unsigned)cap;
    return fields_end(&f);
}

/* What an override is for may have left the table: it counts for nothing, and is there when that comes back. */
static void warn_unused(struct table_build *b, const struct overrides_map *map, const char *what)
{
    for (size_t i = 0; map->there && i < map->count; i++)
        if (!map->used[i])
            table_warn(b, "%s %s is not in the table (%s): what is set for it has no effect", what, map->names[i],
                       b->overrides.file);
}

bool table_overrides_end(struct table_build *b)
{
    if (!b->overrides.text.len)
        return true;
    warn_unused(b, &b->overrides.endpoints, "endpoint");
    warn_unused(b, &b->overrides.regions, "region");
    return fields_end(&b->overrides.top);
}
