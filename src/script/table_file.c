#include "script/table_file.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "script/table_build.h"
#include "script/table_hash.h"

enum { TABLE_MAX_BYTES = 4 << 20, SCRATCH_BYTES = 1 << 20, WARNINGS_MAX = 200 };

/* ---- what all parts use ---- */

void table_warn(struct table_build *b, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    for (size_t i = 0; i < b->warning_count; i++)
        if (strcmp(b->warnings[i], text) == 0)
            return;
    if (b->warning_count == WARNINGS_MAX)
        return;
    if (!b->warnings)
        b->warnings = mem_array(NULL, WARNINGS_MAX, sizeof *b->warnings);
    b->warnings[b->warning_count++] = arena_strdup(&b->table->arena, text);
}

void table_setting(struct table_build *b, const char *path, const char *value, const char *set_by)
{
    if (b->setting_count == b->setting_cap) {
        b->setting_cap = b->setting_cap ? 2 * b->setting_cap : 256;
        b->settings = mem_array(b->settings, b->setting_cap, sizeof *b->settings);
    }
    b->settings[b->setting_count++] = (struct setting){path, value, set_by};
}

const char *table_duration(struct arena *a, int64_t us)
{
    static const struct { int64_t us; const char *unit; } units[] = {
        {24 * HOUR_US, "d"}, {HOUR_US, "h"}, {MINUTE_US, "m"}, {SECOND_US, "s"}, {MS_US, "ms"}};
    for (size_t i = 0; i < ARRAY_LEN(units) && us > 0; i++)
        if (us % units[i].us == 0)
            return arena_printf(a, "%lld%s", (long long)(us / units[i].us), units[i].unit);
    return us > 0 ? arena_printf(a, "%.15gms", (double)us / (double)MS_US) : "0s";
}

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
        size_t len = 0;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
        if (!name || len == 0 || strlen(name) != len)
            return field_fail(map, NULL, "write [\"NAME\"] = ... with a name for each", "%s is named by a %s", what,
                              name ? "text that is empty or holds a NUL" : luaL_typename(L, -2));
        list[i++] = arena_strndup(map->arena, name, len);
    }
    qsort(list, n, sizeof *list, by_text);
    *names = list;
    *count = n;
    return true;
}

bool table_failed(struct fields *f)
{
    for (; f; f = f->parent)
        f->failed = true;
    return false;
}

bool table_map(struct fields *f, const char *key, const char *what, struct fields *map, const char *const **names,
               size_t *count)
{
    int height = lua_gettop(f->L);
    if (!field_table(f, key, map))
        return false;
    if (list_names(map, what, names, count))
        return true;
    lua_settop(f->L, height);
    return false;
}

bool table_open(struct fields *map, const char *name, struct fields *nested)
{
    int height = lua_gettop(map->L);
    lua_pushstring(map->L, name);
    lua_rawget(map->L, map->index);
    if (fields_begin(nested, map->L, -1, map->file, field_path(map, name), map->arena, map->err)) {
        nested->parent = map;
        return true;
    }
    lua_settop(map->L, height);
    return table_failed(map);
}

/* ---- one load ---- */

/* Runs protected: index 1 is the build, 2 what the file returned. */
static int build_table(lua_State *L)
{
    struct table_build *b = lua_touserdata(L, 1);
    luaL_checkstack(L, 60, NULL);
    b->ok = table_read(b, L, 2);
    return 0;
}

static void keep_files(struct table_build *b)
{
    struct region_table *t = b->table;
    const struct source_file *own;
    size_t own_count = script_files(b->script, &own);
    struct source_file *files =
        arena_alloc(&t->arena, (own_count + adapters_files(b->adapters, NULL)) * sizeof *files);
    for (size_t i = 0; i < own_count; i++)
        files[i] = (struct source_file){arena_strdup(&t->arena, own[i].name), arena_str(&t->arena, own[i].text)};
    t->file_count = own_count + adapters_files(b->adapters, files + own_count);
    t->files = files;

    struct table_hash *h = table_hash_new();
    table_hash_text(h, str_from(t->source));
    for (size_t i = 0; i < t->file_count; i++)
        table_hash_file(h, files[i].name, files[i].text);
    table_hash_end(h, t->hash);
}

static void finish(struct table_build *b)
{
    struct region_table *t = b->table;
    struct setting *settings = arena_alloc(&t->arena, b->setting_count * sizeof *settings);
    memcpy(settings, b->settings, b->setting_count * sizeof *settings);
    t->settings = settings;
    t->setting_count = b->setting_count;

    const char **warnings = arena_alloc(&t->arena, b->warning_count * sizeof *warnings);
    if (b->warning_count)
        memcpy(warnings, b->warnings, b->warning_count * sizeof *warnings);
    t->warnings = warnings;
    t->warning_count = b->warning_count;

    keep_files(b);
    t->adapters = b->adapters;
    t->adapters_free = adapters_free;
    b->adapters = NULL;
}

static bool load(struct table_build *b, struct str text)
{
    lua_State *L = script_state(b->script);
    lua_pushcfunction(L, secrets_function);
    script_global(b->script, "secret");
    if (!script_run(b->script, b->file, text, b->err))
        return false;

    lua_pushcfunction(L, build_table);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, b);
    lua_insert(L, -2);
    if (!script_call(b->script, 2, 0, b->err)) {
        if (b->err)
            b->err->code = ERR_CONFIG;
        return false;
    }
    if (b->ok)
        finish(b);
    return b->ok;
}

struct region_table *table_load_text(const char *path, struct str text, const struct table_options *o, struct err *err)
{
    static const struct table_options usual;
    struct err unused;
    struct table_build b = {.options = o ? o : &usual, .err = err ? err : &unused, .file = path};
    if (text.len > TABLE_MAX_BYTES || memchr(text.ptr ? text.ptr : "", '\0', text.len)) {
        err_set(err, ERR_CONFIG, "not a region table (%s): write a Lua text of at most %d bytes", path,
                TABLE_MAX_BYTES);
        return NULL;
    }
    if (!secrets_open(&b.secrets, b.options->secrets_file, err))
        return NULL;

    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    buf_init(&b.scratch, SCRATCH_BYTES);
    b.table = region_table_new();
    b.table->path = arena_strdup(&b.table->arena, path);
    b.table->source = arena_strndup(&b.table->arena, text.ptr, text.len);
    b.script = script_new(&(struct script_options){.folder = folder, .kept = b.options->kept, .limits = b.options->limits});
    b.adapters = adapters_new(folder, slash ? slash + 1 : path, b.options->kept, b.options->limits);

    bool ok = load(&b, text);

    adapters_free(b.adapters);
    script_free(b.script);
    secrets_done(&b.secrets);
    buf_done(&b.scratch);
    free(b.settings);
    free(b.warnings);
    free(b.endpoints);
    free(folder);
    if (!ok)
        region_table_unref(b.table);
    return ok ? b.table : NULL;
}

struct region_table *table_load(const char *path, const struct table_options *o, struct err *err)
{
    char *text;
    size_t len;
    if (!read_file(path, TABLE_MAX_BYTES, &text, &len, err))
        return NULL;
    struct region_table *t = table_load_text(path, (struct str){text, len}, o, err);
    free(text);
    return t;
}
