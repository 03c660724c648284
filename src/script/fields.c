#include "script/fields.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "core/url.h"
#include "script/sandbox.h"

enum { SLOTS = 6 }; /* of Lua stack that one reader may need at once */

static const char *join_path(struct arena *arena, const char *path, struct str key)
{
    if (text_is_name(key, "_-", SIZE_MAX))
        return arena_printf(arena, "%s%s%.*s", path, *path ? "." : "", (int)key.len, key.ptr);
    char quoted[128];
    size_t used = 0;
    for (size_t i = 0; i < key.len && used < sizeof quoted - 8; i++) {
        unsigned char c = (unsigned char)key.ptr[i];
        if (c == '"' || c == '\\')
            used += (size_t)snprintf(quoted + used, sizeof quoted - used, "\\%c", c);
        else if (c < ' ' || c == 0x7F)
            used += (size_t)snprintf(quoted + used, sizeof quoted - used, "\\%03u", c);
        else
            quoted[used++] = (char)c;
    }
    quoted[used] = '\0';
    return arena_printf(arena, "%s[\"%s\"]", path, quoted);
}

const char *field_path(const struct fields *f, const char *key)
{
    return join_path(f->arena, f->path, str_from(key));
}

bool fields_failed(struct fields *f)
{
    for (; f; f = f->parent)
        f->failed = true;
    return false;
}

static bool fail_at(struct fields *f, const char *path, const char *what, const char *cure)
{
    if (!f->failed)
        err_set(f->err, ERR_CONFIG, "%s (%s%s%s): %s", what, f->file, *path ? ": " : "", path, cure);
    return fields_failed(f);
}

bool field_fail(struct fields *f, const char *key, const char *cure, const char *what_fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, what_fmt);
    vsnprintf(what, sizeof what, what_fmt, args);
    va_end(args);
    return fail_at(f, key ? field_path(f, key) : f->path, what, cure);
}

/* "a string", "the number 3": what was found instead, for a person. */
static const char *found_text(lua_State *L, char out[64])
{
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? "true" : "false";
    case LUA_TNUMBER:
        snprintf(out, 64, "the number %.14g", lua_tonumber(L, -1));
        return out;
    case LUA_TSTRING: {
        struct str text = script_str(L, -1);
        snprintf(out, 64, "\"%.40s\"%s", text.ptr, text.len > 40 ? "..." : "");
        for (char *c = out; *c; c++)
            if ((unsigned char)*c < ' ')
                *c = ' ';
        return out;
    }
    case LUA_TTABLE:
        return "a table";
    default:
        snprintf(out, 64, "a %s", lua_typename(L, lua_type(L, -1)));
        return out;
    }
}

/* For the value on top, which stays there. */
static bool fail_type(struct fields *f, const char *key, const char *expected)
{
    char found[64], cure[160];
    snprintf(cure, sizeof cure, "give %s", expected);
    return field_fail(f, key, cure, "%s is not %s", found_text(f->L, found), expected);
}

bool fields_begin(struct fields *f, lua_State *L, int index, const char *file, const char *path, struct arena *arena,
                  struct err *err)
{
    *f = (struct fields){.L = L, .index = lua_absindex(L, index), .file = file, .path = path, .arena = arena,
                         .err = err};
    if (!lua_checkstack(L, SLOTS))
        return fail_at(f, path, "nested too deeply", "nest tables less deeply");
    if (lua_type(L, f->index) == LUA_TTABLE)
        return true;
    char found[64];
    lua_pushvalue(L, f->index);
    field_fail(f, NULL, "give a table: { ... }", "%s is not a table", found_text(L, found));
    lua_pop(L, 1);
    return false;
}

static void mark_known(struct fields *f, const char *key)
{
    for (unsigned i = 0; i < f->known_count; i++)
        if (strcmp(f->known[i], key) == 0)
            return;
    assert(f->known_count < FIELDS_KEYS);
    f->known[f->known_count++] = key;
}

/* By walking the table: a lookup would have to make the key a Lua string, which may raise. */
bool field_push(struct fields *f, const char *key)
{
    mark_known(f, key);
    if (f->failed)
        return false;
    struct str wanted = str_from(key);
    for (lua_pushnil(f->L); lua_next(f->L, f->index); lua_pop(f->L, 1)) {
        if (lua_type(f->L, -2) == LUA_TSTRING && str_equal(script_str(f->L, -2), wanted)) {
            lua_remove(f->L, -2);
            return true;
        }
    }
    return false;
}

int field_type(struct fields *f, const char *key)
{
    if (!field_push(f, key))
        return LUA_TNIL;
    int type = lua_type(f->L, -1);
    lua_pop(f->L, 1);
    return type;
}

/* The string on top, or NULL and the failure. */
static const char *checked_string(struct fields *f, const char *key)
{
    if (lua_type(f->L, -1) != LUA_TSTRING) {
        fail_type(f, key, "a string");
        return NULL;
    }
    struct str text = script_str(f->L, -1);
    if (text.len == 0)
        field_fail(f, key, "write something, or leave the key out", "an empty string");
    else if (strlen(text.ptr) != text.len)
        field_fail(f, key, "remove the \\0", "a string with a zero byte in it");
    else
        return arena_strndup(f->arena, text.ptr, text.len);
    return NULL;
}

bool field_string(struct fields *f, const char *key, const char **out)
{
    if (!field_push(f, key))
        return false;
    const char *text = checked_string(f, key);
    lua_pop(f->L, 1);
    if (text)
        *out = text;
    return text != NULL;
}

bool field_url(struct fields *f, const char *key, const char **out)
{
    const char *url;
    if (!field_string(f, key, &url))
        return false;
    if (!url_check(url, arena_printf(f->arena, "%s: %s", f->file, field_path(f, key)), f->err))
        return fields_failed(f);
    *out = url;
    return true;
}

bool field_bool(struct fields *f, const char *key, bool *out)
{
    if (!field_push(f, key))
        return false;
    bool ok = lua_type(f->L, -1) == LUA_TBOOLEAN || fail_type(f, key, "true or false");
    if (ok)
        *out = lua_toboolean(f->L, -1);
    lua_pop(f->L, 1);
    return ok;
}

static void describe_range(char out[128], const char *kind, double low, double high)
{
    if (high >= 9e15)
        snprintf(out, 128, "%s of at least %.15g", kind, low);
    else
        snprintf(out, 128, "%s from %.15g to %.15g", kind, low, high);
}

bool field_number(struct fields *f, const char *key, double low, double high, double *out)
{
    if (!field_push(f, key))
        return false;
    double value = lua_type(f->L, -1) == LUA_TNUMBER ? lua_tonumber(f->L, -1) : NAN;
    bool ok = value >= low && value <= high && isfinite(value); /* false for NaN */
    if (ok) {
        *out = value;
    } else {
        char expected[128];
        describe_range(expected, "a number", low, high);
        fail_type(f, key, expected);
    }
    lua_pop(f->L, 1);
    return ok;
}

bool field_integer(struct fields *f, const char *key, int64_t low, int64_t high, int64_t *out)
{
    if (!field_push(f, key))
        return false;
    int exact = 0;
    int64_t value = lua_type(f->L, -1) == LUA_TNUMBER ? lua_tointegerx(f->L, -1, &exact) : 0;
    bool ok = exact && value >= low && value <= high;
    if (ok) {
        *out = value;
    } else {
        char expected[128];
        describe_range(expected, "a whole number", (double)low, (double)high);
        fail_type(f, key, expected);
    }
    lua_pop(f->L, 1);
    return ok;
}

bool value_duration(lua_State *L, int index, int64_t *us)
{
    const double most_s = 10 * 365.25 * 86400;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double s = lua_tonumber(L, index);
        if (!(s >= 0 && s <= most_s))
            return false;
        *us = (int64_t)(s * 1e6 + 0.5);
        return true;
    }
    return lua_type(L, index) == LUA_TSTRING && duration_parse(script_str(L, index), us);
}

bool field_duration(struct fields *f, const char *key, int64_t low_us, int64_t *out_us)
{
    if (!field_push(f, key))
        return false;
    int64_t us = 0;
    bool ok = value_duration(f->L, -1, &us);
    char least[DURATION_TEXT];
    if (!ok)
        fail_type(f, key, "a duration: \"90s\", \"1.5m\" (ms s m h d), or a number of seconds");
    else if (us < low_us)
        ok = field_fail(f, key, "give a longer time", "shorter than %s", duration_format(low_us, least));
    if (ok)
        *out_us = us;
    lua_pop(f->L, 1);
    return ok;
}

enum list_kind value_list(lua_State *L, int index, size_t *count)
{
    size_t n = lua_rawlen(L, index), seen = 0;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1), seen++) {
        lua_Integer i = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (i < 1 || (size_t)i > n) {
            lua_pop(L, 2);
            return LIST_NOT;
        }
    }
    *count = n;
    return seen == n ? LIST_WHOLE : LIST_HOLES;
}

static bool check_list(struct fields *f, const char *key, size_t *count)
{
    switch (value_list(f->L, -1, count)) {
    case LIST_WHOLE:
        return true;
    case LIST_HOLES:
        return field_fail(f, key, "remove the nil", "has a hole in its list");
    default:
        return field_fail(f, key, "give { \"...\", \"...\" }", "is not a list of strings");
    }
}

bool field_strings(struct fields *f, const char *key, const char *const **out, size_t *count)
{
    if (!field_push(f, key))
        return false;
    size_t n = 0;
    bool ok = lua_type(f->L, -1) == LUA_TTABLE ? check_list(f, key, &n) : fail_type(f, key, "a list of strings");
    const char **items = ok ? arena_alloc(f->arena, (n ? n : 1) * sizeof *items) : NULL;
    for (size_t i = 0; ok && i < n; i++) {
        lua_rawgeti(f->L, -1, (lua_Integer)i + 1);
        items[i] = checked_string(f, key);
        ok = items[i] != NULL;
        lua_pop(f->L, 1);
    }
    lua_pop(f->L, 1);
    if (ok) {
        *out = items;
        *count = n;
    }
    return ok;
}

/* The value on top of the stack is f's, at path; it is popped on false. */
static bool open_nested(struct fields *f, const char *path, struct fields *nested)
{
    if (fields_begin(nested, f->L, -1, f->file, path, f->arena, f->err)) {
        nested->parent = f;
        return true;
    }
    lua_pop(f->L, 1);
    return fields_failed(f);
}

bool field_table(struct fields *f, const char *key, struct fields *nested)
{
    return field_push(f, key) && open_nested(f, field_path(f, key), nested);
}

bool field_item(struct fields *list, size_t i, struct fields *nested)
{
    lua_rawgeti(list->L, list->index, (lua_Integer)i + 1);
    return open_nested(list, arena_printf(list->arena, "%s[%zu]", list->path, i + 1), nested);
}

bool field_open(struct fields *map, const char *name, struct fields *nested)
{
    lua_pushstring(map->L, name);
    lua_rawget(map->L, map->index);
    return open_nested(map, field_path(map, name), nested);
}

/* ---- tables whose keys are names that the file makes up ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool list_names(struct fields *map, const char *what, const char *const **names, size_t *count)
{
    lua_State *L = map->L;
    size_t n = 0, i = 0;
    for (lua_pushnil(L); lua_next(L, map->index); lua_pop(L, 1))
        n++;
    const char **list = arena_alloc(map->arena, n * sizeof *list);
    for (lua_pushnil(L); lua_next(L, map->index); lua_pop(L, 1)) {
        struct str name = lua_type(L, -2) == LUA_TSTRING ? script_str(L, -2) : (struct str){0};
        if (!name.len || strlen(name.ptr) != name.len) {
            const char *type = name.ptr ? "text that is empty or holds a NUL" : luaL_typename(L, -2);
            lua_pop(L, 2);
            return field_fail(map, NULL, "write [\"NAME\"] = ... with a name for each", "%s is named by a %s", what,
                              type);
        }
        list[i++] = arena_strndup(map->arena, name.ptr, name.len);
    }
    qsort(list, n, sizeof *list, by_text);
    *names = list;
    *count = n;
    return true;
}

bool field_map(struct fields *f, const char *key, const char *what, struct fields *map, const char *const **names,
               size_t *count)
{
    if (!field_table(f, key, map))
        return false;
    if (list_names(map, what, names, count))
        return true;
    lua_pop(f->L, 1);
    return false;
}

static bool is_known(const struct fields *f, struct str key)
{
    for (unsigned i = 0; i < f->known_count; i++)
        if (str_is(key, f->known[i]))
            return true;
    return false;
}

static void fail_unknown(struct fields *f, struct str key)
{
    char what[160], cure[1024];
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)(key.len < 60 ? key.len : 60), key.ptr);
    const char *near = nearest_name(typed, f->known, f->known_count);
    int used = near ? snprintf(cure, sizeof cure, "did you mean \"%s\"? known keys:", near)
                    : snprintf(cure, sizeof cure, "known keys:");
    for (unsigned i = 0; i < f->known_count && used < (int)sizeof cure - 1; i++)
        used += snprintf(cure + used, sizeof cure - (size_t)used, " %s", f->known[i]);
    snprintf(what, sizeof what, "unknown key \"%s\"", typed);
    fail_at(f, join_path(f->arena, f->path, key), what, f->known_count ? cure : "remove it");
}

/* One key that no getter asked for: the first by name, so that the message does not change from run to run. */
static void check_unknown(struct fields *f)
{
    struct str worst = {0};
    bool found = false, odd = false;
    for (lua_pushnil(f->L); lua_next(f->L, f->index); lua_pop(f->L, 1)) {
        if (lua_type(f->L, -2) != LUA_TSTRING) {
            odd = true;
            continue;
        }
        struct str key = script_str(f->L, -2);
        if (!is_known(f, key) && (!found || strcmp(key.ptr, worst.ptr) < 0)) {
            worst = key; /* the table holds it, so the pointer stays good */
            found = true;
        }
    }
    if (found)
        fail_unknown(f, worst);
    else if (odd)
        field_fail(f, NULL, "give each value a name: NAME = value", "a value without a name");
}

bool fields_end(struct fields *f)
{
    if (!f->failed)
        check_unknown(f);
    if (f->parent)
        lua_settop(f->L, f->index - 1);
    return !f->failed;
}
