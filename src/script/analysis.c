#include "script/analysis.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/defs.h"
#include "base/mem.h"
#include "script/sandbox_priv.h"

struct analysis {
    struct script *script; /* the report is the one value on its stack */
    struct buf *out;       /* while it is rendered */
};

struct addition {
    const char *what;
    int count;
    const struct analysis_value *values;
};

/* options -> the module's object */
static int make(lua_State *L)
{
    const struct analysis_options *o = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, o->module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "new");
    lua_pushstring(L, o->word);
    lua_pushinteger(L, o->seed);
    lua_call(L, 2, 1);
    return 1;
}

/* Whoever reads the report is told which rules were not the program's own. */
static bool tell_rules(struct analysis *a, struct err *err)
{
    struct arena arena;
    struct source_file files[64];
    size_t count = script_files(a->script, NULL, NULL);
    bool ok = count <= ARRAY_LEN(files) || err_set(err, ERR_SCRIPT, "more than 64 files of rules: merge some");
    arena_init(&arena);
    if (ok)
        script_files(a->script, &arena, files);
    for (size_t i = 0; ok && i < count; i++) {
        struct analysis_value name = {.name = "name", .type = ANALYSIS_TEXT, .text = str_from(files[i].name)};
        ok = analysis_add(a, "rules", 1, &name, err);
    }
    arena_done(&arena);
    return ok;
}

struct analysis *analysis_new(const struct analysis_options *o, struct err *err)
{
    struct analysis *a = mem_zalloc(sizeof *a);
    a->script = script_new(&(struct script_options){
        .limits = o->limits, .folder = o->folder, .folder_first = o->folder != NULL, .trusted = !o->folder});
    lua_State *L = script_state(a->script);
    lua_pushcfunction(L, make);
    lua_pushlightuserdata(L, (void *)(uintptr_t)o);
    if (script_call(a->script, 1, 1, err) && (!o->folder || tell_rules(a, err)))
        return a;
    analysis_free(a);
    return NULL;
}

void analysis_free(struct analysis *a)
{
    if (!a)
        return;
    script_free(a->script);
    free(a);
}

static void push_value(lua_State *L, const struct analysis_value *v)
{
    switch (v->type) {
    case ANALYSIS_NULL:
        lua_pushnil(L);
        break;
    case ANALYSIS_INTEGER:
        lua_pushinteger(L, v->integer);
        break;
    case ANALYSIS_REAL:
        lua_pushnumber(L, v->real);
        break;
    case ANALYSIS_TEXT:
        lua_pushlstring(L, v->text.ptr, v->text.len);
        break;
    }
}

/* report addition -> */
static int add(lua_State *L)
{
    const struct addition *row = lua_touserdata(L, 2);
    lua_getfield(L, 1, "add");
    lua_pushvalue(L, 1);
    lua_pushstring(L, row->what);
    lua_createtable(L, 0, row->count);
    for (int i = 0; i < row->count; i++) {
        if (row->values[i].type == ANALYSIS_NULL)
            continue;
        push_value(L, &row->values[i]);
        lua_setfield(L, -2, row->values[i].name);
    }
    lua_call(L, 3, 0);
    return 0;
}

bool analysis_add(struct analysis *a, const char *what, int count, const struct analysis_value *values,
                  struct err *err)
{
    struct addition row = {what, count, values};
    lua_State *L = script_state(a->script);
    lua_pushcfunction(L, add);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, &row);
    return script_call(a->script, 2, 0, err);
}

/* export -> file text, or nil */
static int take(lua_State *L)
{
    lua_getfield(L, 1, "take");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 2);
    return 2;
}

bool analysis_take(struct analysis *a, bool (*piece)(void *ctx, const char *file, struct str text, struct err *err),
                   void *ctx, struct err *err)
{
    lua_State *L = script_state(a->script);
    for (bool ok = true;;) {
        lua_pushcfunction(L, take);
        lua_pushvalue(L, -2);
        if (!script_call(a->script, 1, 2, err))
            return false;
        bool some = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
        if (some)
            ok = piece(ctx, script_str(L, -2).ptr, script_str(L, -1), err);
        lua_pop(L, 2);
        if (!some || !ok)
            return ok;
    }
}

/* report place -> question id or nil */
static int wanted(lua_State *L)
{
    lua_getfield(L, 1, "wanted");
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    return 1;
}

bool analysis_wanted(struct analysis *a, size_t i, const char **question_id, struct err *err)
{
    lua_State *L = script_state(a->script);
    lua_pushcfunction(L, wanted);
    lua_pushvalue(L, -2);
    lua_pushinteger(L, (lua_Integer)i + 1);
    if (!script_call(a->script, 2, 1, err))
        return false;
    *question_id = lua_type(L, -1) == LUA_TSTRING ? script_str(L, -1).ptr : NULL; /* the report keeps it */
    lua_pop(L, 1);
    return true;
}

struct wish {
    const char *form;
    size_t columns;
};

/* What is said once the report is there would have no place: whoever kept the function learns so. */
static struct buf *report_of(lua_State *L)
{
    struct analysis *a = lua_touserdata(L, lua_upvalueindex(1));
    if (!a->out)
        luaL_error(L, "the report has ended");
    return a->out;
}

/* text -> */
static int say(lua_State *L)
{
    struct buf *out = report_of(L);
    luaL_checktype(L, 1, LUA_TSTRING);
    struct str text = script_str(L, 1);
    if (!buf_add(out, text.ptr, text.len))
        luaL_error(L, "the report is too long (over %d MiB)", (int)(out->max >> 20));
    return 0;
}

/* value -> */
static int say_json(lua_State *L)
{
    json_add(L, 1, report_of(L), true, NULL);
    return 0;
}

/* report wish analysis -> */
static int render(lua_State *L)
{
    const struct wish *w = lua_touserdata(L, 2);
    lua_getfield(L, 1, "render");
    lua_pushvalue(L, 1);
    lua_pushstring(L, w->form);
    lua_pushinteger(L, (lua_Integer)w->columns);
    lua_pushvalue(L, 3);
    lua_pushcclosure(L, say, 1);
    lua_pushvalue(L, 3);
    lua_pushcclosure(L, say_json, 1);
    lua_call(L, 5, 0);
    return 0;
}

bool analysis_report(struct analysis *a, const char *form, size_t columns, struct buf *out, struct err *err)
{
    struct wish w = {form, columns};
    lua_State *L = script_state(a->script);
    lua_pushcfunction(L, render);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, &w);
    lua_pushlightuserdata(L, a);
    a->out = out;
    bool ok = script_call(a->script, 3, 0, err);
    a->out = NULL;
    return ok;
}
