/* The global `canvass` of job scripts, and what --set said. */
#include <assert.h>
#include <stdio.h>

#include "script/data_list.h"
#include "script/job_parts.h"

enum { LOG_LINE_BYTES = 8 << 10 };

void job_log(const struct job_file *f, const char *line)
{
    if (f->log)
        f->log(f->ctx, line);
}

/* ---- settings ---- */

const char *job_setting(struct job_file *f, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < f->setting_count; i++) {
        if (strcmp(f->settings[i].key, key) == 0) {
            value = f->settings[i].value;
            f->settings[i].read = true;
        }
    }
    return value;
}

/* "parameters." was forgotten: the job has such a parameter, or every API knows it. */
static bool is_parameter(struct job_load *j, const char *key)
{
    static const char *const usual[] = {"temperature", "max_tokens", "top_p", "top_k", "seed", "stop"};
    const char *parameters = j->job->spec->parameters;
    lua_State *L = j->L;
    int top = lua_gettop(L);
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        found = found || strcmp(usual[i], key) == 0;
    if (!found && parameters && script_push_json(j->job->script, str_from(parameters), NULL))
        found = lua_istable(L, -1) && lua_getfield(L, -1, key) != LUA_TNIL;
    lua_settop(L, top);
    return found;
}

bool job_settings_done(struct job_load *j)
{
    static const char *const plain[] = {"name", "samples", "timeout", "in_flight", "on_missing", "warm", "parameters"};
    const struct job_file *f = j->job;
    for (size_t i = 0; i < f->setting_count; i++) {
        const struct job_setting *s = &f->settings[i];
        if (s->read)
            continue;
        bool parameter = is_parameter(j, s->key);
        const char *near = parameter ? s->key : nearest_name(s->key, plain, ARRAY_LEN(plain));
        return err_set(
            j->err, ERR_USAGE,
            "nobody reads --set %s=%.100s (%s): %s%s%s%suse name, samples, timeout, in_flight, on_missing, warm or "
            "parameters.NAME, or read canvass.settings.%s while the script is loaded",
            s->key, s->value, j->path, near ? "did you mean " : "", parameter ? "parameters." : "", near ? near : "",
            near ? "? " : "", s->key);
    }
    return true;
}

static int push_settings(lua_State *L, const struct job_file *f)
{
    lua_createtable(L, 0, (int)f->setting_count);
    for (size_t i = 0; i < f->setting_count; i++) {
        lua_pushstring(L, f->settings[i].value);
        lua_setfield(L, -2, f->settings[i].key);
    }
    return 1;
}

bool job_settings_keep(struct job_load *j)
{
    struct job_file *f = j->job;
    if (f->setting_count == 0)
        return true;
    push_settings(j->L, f);
    buf_clear(&j->scratch);
    if (!script_add_json(f->script, lua_gettop(j->L), &j->scratch, j->err))
        return err_prefix(j->err, "--set: ");
    f->spec->settings = arena_strndup(&f->spec->arena, j->scratch.ptr, j->scratch.len);
    lua_pop(j->L, 1);
    return true;
}

static struct job_file *upvalue_job(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* canvass.settings.KEY; a key that was not set is nil. */
static int settings_index(lua_State *L)
{
    const char *value = lua_type(L, 2) == LUA_TSTRING ? job_setting(upvalue_job(L), lua_tostring(L, 2)) : NULL;
    if (value)
        lua_pushstring(L, value);
    else
        lua_pushnil(L);
    return 1;
}

static int settings_newindex(lua_State *L)
{
    return luaL_error(L, "canvass.settings is read-only: it holds what --set said");
}

static int settings_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    return lua_next(L, 1) ? 2 : 0;
}

/* Whoever goes through all of them has read all of them. */
static int settings_pairs(lua_State *L)
{
    struct job_file *f = upvalue_job(L);
    for (size_t i = 0; i < f->setting_count; i++)
        f->settings[i].read = true;
    lua_pushcfunction(L, settings_next);
    push_settings(L, f);
    lua_pushnil(L);
    return 3;
}

/* The setting's text as the type of the default. */
static int push_typed(lua_State *L, const char *key, const char *value)
{
    switch (lua_type(L, 2)) {
    case LUA_TNUMBER:
        if (lua_stringtonumber(L, value) != 0)
            return 1;
        return luaL_error(L, "--set %s=%s is not a number", key, value);
    case LUA_TBOOLEAN:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return luaL_error(L, "--set %s=%s is neither true nor false", key, value);
        lua_pushboolean(L, strcmp(value, "true") == 0);
        return 1;
    default:
        lua_pushstring(L, value);
        return 1;
    }
}

/* canvass.setting(key, default) */
static int api_setting(lua_State *L)
{
    const char *key = luaL_checkstring(L, 1);
    int type = lua_type(L, 2);
    if (type > LUA_TNIL && type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TSTRING)
        return luaL_argerror(L, 2, "the default is text, a number, or true or false");
    const char *value = job_setting(upvalue_job(L), key);
    lua_settop(L, 2);
    return value ? push_typed(L, key, value) : 1;
}

/* ---- canvass.log ---- */

/* Like print: any values, with a space between. */
static int api_log(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&b, ' ');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    char line[LOG_LINE_BYTES];
    snprintf(line, sizeof(line), "%s", lua_tostring(L, -1));
    job_log(upvalue_job(L), line);
    return 0;
}

void job_push_api(lua_State *L, struct job_file *f)
{
    static const luaL_Reg functions[] = {{"setting", api_setting}, {"log", api_log}, {NULL, NULL}};
    static const luaL_Reg settings[] = {
        {"__index", settings_index}, {"__newindex", settings_newindex}, {"__pairs", settings_pairs}, {NULL, NULL}};
    lua_createtable(L, 0, 12);
    lua_pushlightuserdata(L, f);
    luaL_setfuncs(L, functions, 1);
    data_add_functions(L, &f->data_bytes);
    policy_add_functions(L, f->policy);

    lua_newtable(L); /* canvass settings */
    lua_newtable(L);
    lua_pushlightuserdata(L, f);
    luaL_setfuncs(L, settings, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "settings");
}
