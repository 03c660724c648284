#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "script/adapters_state.h"
#include "script/builtin.h"
#include "script/fields.h"

enum { ADAPTER_FILE_BYTES = 1 << 20 };

static const char builtin_prefix[] = "canvass.adapters.";

struct adapters *adapters_new(const char *folder, const char *table_name, const struct sources *kept,
                              const struct script_limits *limits)
{
    struct adapters *a = mem_zalloc(sizeof *a);
    arena_init(&a->arena);
    a->folder = arena_strdup(&a->arena, folder);
    a->table_name = arena_strdup(&a->arena, table_name);
    a->kept = kept;
    a->limits = limits ? *limits : (struct script_limits)SCRIPT_LIMITS_DEFAULT;
    return a;
}

void adapters_free(void *adapters)
{
    struct adapters *a = adapters;
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++) {
        script_free(a->list[i]->script);
        buf_done(&a->list[i]->note);
        free(a->list[i]);
    }
    for (size_t i = 0; i < a->cell_count; i++) {
        free(a->cells[i].parameters);
        buf_done(&a->cells[i].body);
    }
    free(a->list);
    free(a->cells);
    arena_done(&a->arena);
    free(a);
}

/* ---- finding ---- */

static bool file_exists(struct adapters *a, const char *file)
{
    return a->kept ? sources_find(a->kept, file) != NULL
                   : access(arena_printf(&a->arena, "%s/%s", a->folder, file), F_OK) == 0;
}

/* NULL when there is no such file. */
static const char *find_file(struct adapters *a, const char *name)
{
    const char *tries[] = {arena_printf(&a->arena, "adapters/%s.lua", name), arena_printf(&a->arena, "%s.lua", name)};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++)
        if (strcmp(tries[i], a->table_name) != 0 && file_exists(a, tries[i]))
            return tries[i];
    return NULL;
}

void adapters_known(const struct adapters *a, struct buf *out)
{
    size_t prefix = sizeof builtin_prefix - 1;
    const char *separator = "";
    for (const struct builtin *m = builtin_modules; m->name; m++) {
        if (strncmp(m->name, builtin_prefix, prefix) == 0) {
            buf_addf(out, "%s%s", separator, m->name + prefix);
            separator = ", ";
        }
    }
    char *path = mem_printf("%s/adapters", a->folder);
    DIR *dir = opendir(path);
    free(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0) {
            buf_addf(out, "%s%.*s", separator, (int)(len - 4), entry->d_name);
            separator = ", ";
        }
    }
    if (dir)
        closedir(dir);
}

/* ---- the module's table ---- */

struct install {                 /* handed to Lua functions run protected */
    struct adapter *ad;
    struct err *err;
    const char *json;            /* check_options() */
    const char *fault;
    bool ok;
};

static int take_function(struct fields *f, const char *key, bool needed)
{
    int type = field_type(f, key);
    if (type == LUA_TNIL && !needed)
        return LUA_NOREF;
    if (type != LUA_TFUNCTION) {
        field_fail(f, key, "write it as a function, as in the adapters that come with canvass", "%s is %s", key,
                   type == LUA_TNIL ? "missing" : lua_typename(f->L, type));
        return LUA_NOREF;
    }
    field_push(f, key);
    return luaL_ref(f->L, LUA_REGISTRYINDEX);
}

static bool header_ok(const char *name, size_t name_len, const char *value, size_t value_len)
{
    if (name_len == 0 || strlen(name) != name_len || strlen(value) != value_len || strpbrk(name, " :\t\r\n"))
        return false;
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

static bool take_headers(struct adapter *ad, struct fields *f)
{
    lua_State *L = f->L;
    struct arena *a = &ad->owner->arena;
    if (field_type(f, "headers") == LUA_TNIL || ad->loaded)
        return true;
    ad->header_count = 0;
    if (field_type(f, "headers") != LUA_TTABLE)
        return field_fail(f, "headers", "write headers = { [\"Name\"] = \"value\" }", "headers is not a table");
    field_push(f, "headers");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        size_t name_len, value_len;
        bool texts = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
        const char *name = texts ? lua_tolstring(L, -2, &name_len) : NULL;
        const char *value = texts ? lua_tolstring(L, -1, &value_len) : NULL;
        if (!texts || ad->header_count == ADAPTER_HEADERS || !header_ok(name, name_len, value, value_len))
            return field_fail(f, "headers", "write [\"Name\"] = \"value\" in one line each, at most 16",
                              "not a header");
        value = arena_strdup(a, value);
        ad->headers[ad->header_count++] =
            (struct header){.name = arena_strdup(a, name), .value = value, .shown = value};
    }
    lua_pop(L, 1);
    return true;
}

/* Lua tables have no order of their own; errors and headers are to be the same every time. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct header *)a)->name, ((const struct header *)b)->name);
}

/* options = { NAME = "string" | "number" | "boolean" | "table" | function } */
static bool take_options(struct adapter *ad, struct fields *f)
{
    lua_State *L = f->L;
    lua_newtable(L);
    int type = field_type(f, "options");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        return field_fail(f, "options", "write options = { NAME = \"string\" }", "options is a %s",
                          lua_typename(L, type));
    if (type == LUA_TTABLE) {
        lua_pop(L, 1);
        field_push(f, "options");
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        static const char *const types[] = {"string", "number", "boolean", "table"};
        bool known = lua_type(L, -1) == LUA_TFUNCTION;
        for (size_t i = 0; i < ARRAY_LEN(types) && lua_type(L, -1) == LUA_TSTRING; i++)
            known |= strcmp(lua_tostring(L, -1), types[i]) == 0;
        if (!known || lua_type(L, -2) != LUA_TSTRING || ad->option_count == ADAPTER_OPTIONS)
            return field_fail(
                f, "options",
                "give at most 32 names, each \"string\", \"number\", \"boolean\", \"table\" or a function",
                "not a declaration of options");
        if (!ad->loaded)
            ad->option_names[ad->option_count++] = arena_strdup(&ad->owner->arena, lua_tostring(L, -2));
    }
    qsort(ad->option_names, ad->option_count, sizeof *ad->option_names, by_text);
    ad->options = luaL_ref(L, LUA_REGISTRYINDEX);
    return true;
}

/* The module's table is at index 2. */
static int install_module(lua_State *L)
{
    struct install *in = lua_touserdata(L, 1);
    struct adapter *ad = in->ad;
    struct fields f;
    luaL_checkstack(L, 30, NULL);
    if (!fields_begin(&f, L, 2, ad->shown, "", &ad->owner->arena, in->err))
        return 0;
    ad->prepare = take_function(&f, "prepare", false);
    ad->request = take_function(&f, "request", true);
    ad->answer = take_function(&f, "answer", true);
    ad->health = take_function(&f, "health", false);
    in->ok = !f.failed && take_headers(ad, &f) && take_options(ad, &f);
    in->ok = in->ok && fields_end(&f);
    qsort(ad->headers, ad->header_count, sizeof *ad->headers, by_name);
    return 0;
}

/* error_text() of canvass.adapter, for answers the adapter leaves to the HTTP status; the module is at index 2. */
static int install_error_text(lua_State *L)
{
    struct install *in = lua_touserdata(L, 1);
    lua_getfield(L, 2, "error_text");
    in->ad->error_text = luaL_ref(L, LUA_REGISTRYINDEX);
    adapter_make_tables(L, in->ad);
    in->ok = true;
    return 0;
}

/* A fresh state with the module in it; on false the adapter has none. */
static bool start(struct adapter *ad, struct err *err)
{
    struct install in = {.ad = ad, .err = err};
    ad->script = script_new(&(struct script_options){
        .folder = ad->owner->folder, .kept = ad->loaded ? &ad->files : ad->owner->kept,
        .limits = &ad->owner->limits});
    bool ok = script_run(ad->script, ad->shown, ad->text, err) &&
              script_apply(ad->script, install_module, &in, err) && in.ok &&
              script_run(ad->script, "canvass", STR("return require 'canvass.adapter'"), err) &&
              script_apply(ad->script, install_error_text, &in, err);
    ad->loaded |= ok;
    ad->generation++;
    if (!ok) {
        script_free(ad->script);
        ad->script = NULL;
    }
    return ok;
}

/* ---- loading ---- */

static bool read_text(struct adapter *ad, const struct builtin *builtin, struct err *err)
{
    struct arena *arena = &ad->owner->arena;
    if (builtin) {
        ad->text = (struct str){builtin->text, builtin->len};
        ad->shown = builtin->name;
        return true;
    }
    ad->shown = ad->file;
    if (ad->owner->kept) {
        ad->text = arena_str(arena, sources_find(ad->owner->kept, ad->file)->text);
        return true;
    }
    char *text, *path = mem_printf("%s/%s", ad->owner->folder, ad->file);
    size_t len;
    bool ok = read_file(path, ADAPTER_FILE_BYTES, &text, &len, err);
    free(path);
    if (!ok)
        return false;
    ad->text = arena_str(arena, (struct str){text, len});
    free(text);
    return true;
}

/* What it required so far: when it is made again, it is made of that. */
static void remember_files(struct adapter *ad)
{
    size_t count = script_files(ad->script, NULL, NULL);
    if (count == ad->files.count)
        return; /* nothing was required later on */
    struct source_file *files = arena_alloc(&ad->owner->arena, count * sizeof *files);
    script_files(ad->script, &ad->owner->arena, files);
    ad->files = (struct sources){files, count};
}

enum adapters_found adapters_find(struct adapters *a, const char *name, int *slot, struct err *err)
{
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->list[i]->name, name) == 0) {
            *slot = (int)i;
            return ADAPTER_FOUND;
        }
    }
    const char *file = text_is_name(str_from(name), "_-", 64) ? find_file(a, name) : NULL;
    const struct builtin *builtin = file ? NULL : builtin_find(arena_printf(&a->arena, "%s%s", builtin_prefix, name));
    if (!file && !builtin)
        return ADAPTER_UNKNOWN;

    struct adapter *ad = mem_zalloc(sizeof *ad);
    *ad = (struct adapter){.owner = a, .name = arena_strdup(&a->arena, name), .file = file};
    buf_init(&ad->note, ADAPTER_NOTE_BYTES);
    if (!read_text(ad, builtin, err) || !start(ad, err)) {
        buf_done(&ad->note);
        free(ad);
        return ADAPTER_BROKEN;
    }
    remember_files(ad);
    a->list = mem_array(a->list, a->count + 1, sizeof *a->list);
    a->list[a->count] = ad;
    *slot = (int)a->count++;
    return ADAPTER_FOUND;
}

bool adapter_alive(struct adapter *ad, struct err *err)
{
    if (ad->strikes >= ADAPTER_STRIKES)
        return err_set(err, ERR_SCRIPT,
                       "adapter %s was stopped %d times in a row (%s): mend it and apply the table again", ad->name,
                       ADAPTER_STRIKES, ad->shown);
    return ad->script || start(ad, err);
}

void adapter_ended(struct adapter *ad)
{
    if (!script_doomed(ad->script)) {
        ad->strikes = 0;
        return;
    }
    ad->strikes++;
    remember_files(ad);
    script_free(ad->script);
    ad->script = NULL;
}

/* ---- what the table asks ---- */

const char *adapters_file(const struct adapters *a, int slot)
{
    return a->list[slot]->file;
}

size_t adapters_headers(const struct adapters *a, int slot, const struct header **out)
{
    *out = a->list[slot]->headers;
    return a->list[slot]->header_count;
}

static bool find_unknown_option(struct install *in, lua_State *L, int options)
{
    struct adapter *ad = in->ad;
    for (lua_pushnil(L); lua_next(L, options); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        bool known = false;
        for (size_t i = 0; i < ad->option_count; i++)
            known |= strcmp(ad->option_names[i], name) == 0;
        if (known)
            continue;
        in->fault = arena_strdup(&ad->owner->arena, name);
        const char *near = nearest_name(name, ad->option_names, ad->option_count);
        struct buf all;
        buf_init(&all, 1024);
        for (size_t i = 0; i < ad->option_count; i++)
            buf_addf(&all, "%s%s", i ? ", " : "", ad->option_names[i]);
        if (near)
            err_set(in->err, ERR_CONFIG, "adapter %s has no option %s: did you mean %s?", ad->name, name, near);
        else
            err_set(in->err, ERR_CONFIG, "adapter %s has no option %s: it has %s", ad->name, name,
                    all.len ? all.ptr : "none");
        buf_done(&all);
        return true;
    }
    return false;
}

/* The declaration is on top; its option's value, or nil, goes there too. False when it does not fit. */
static bool check_option(struct install *in, lua_State *L, const char *name, int options)
{
    bool ok = true;
    lua_getfield(L, options, name);
    if (lua_type(L, -2) == LUA_TSTRING) {
        const char *want = lua_tostring(L, -2);
        if (!lua_isnil(L, -1) && strcmp(luaL_typename(L, -1), want) != 0)
            ok = err_set(in->err, ERR_CONFIG, "option %s is a %s: it must be a %s", name, luaL_typename(L, -1), want);
    } else { /* declaration value */
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_call(L, 1, 2);
        if (!lua_toboolean(L, -2))
            ok = err_set(in->err, ERR_CONFIG, "option %s does not fit: %s", name,
                         lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "see the adapter");
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    return ok;
}

static int check_all(lua_State *L)
{
    struct install *in = lua_touserdata(L, 1);
    struct adapter *ad = in->ad;
    lua_settop(L, 1);
    luaL_checkstack(L, 30, NULL);
    if (!script_push_json(ad->script, str_from(in->json), in->err))
        return 0;
    in->ok = !find_unknown_option(in, L, 2);
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->options);
    for (size_t i = 0; in->ok && i < ad->option_count; i++) {
        in->fault = ad->option_names[i];
        lua_getfield(L, 3, ad->option_names[i]);
        in->ok = check_option(in, L, ad->option_names[i], 2);
        lua_settop(L, 3);
    }
    return 0;
}

bool adapters_check_options(struct adapters *a, int slot, const char *options, const char **option, struct err *err)
{
    struct adapter *ad = a->list[slot];
    struct install in = {.ad = ad, .err = err, .json = options, .fault = ""};
    if (!adapter_alive(ad, err)) {
        *option = "";
        return false;
    }
    lua_State *L = script_state(ad->script);
    lua_pushcfunction(L, check_all);
    lua_pushlightuserdata(L, &in);
    bool ok = script_call(ad->script, 1, 0, err) && in.ok;
    adapter_ended(ad);
    *option = in.fault;
    return ok;
}

void adapters_ready(struct adapters *a, const struct region_table *t, const char *const *options)
{
    a->cells = mem_zalloc(t->endpoint_count * sizeof *a->cells);
    a->cell_count = t->endpoint_count;
    for (size_t i = 0; i < t->endpoint_count; i++) {
        a->cells[i].options = arena_strdup(&a->arena, options[i]);
        buf_init(&a->cells[i].body, SANDBOX_JSON_BYTES);
    }
}

size_t adapters_files(const struct adapters *a, struct source_file *out)
{
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct adapter *ad = a->list[i];
        if (ad->file && out)
            out[n] = (struct source_file){ad->file, ad->text};
        n += ad->file != NULL;
        for (size_t j = 0; j < ad->files.count; j++, n++)
            if (out)
                out[n] = ad->files.files[j];
    }
    return n;
}
