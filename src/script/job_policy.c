/* Which function is the job's policy, and what it is called. */
#include <stdio.h>

#include "base/text.h"
#include "script/job_parts.h"

static const char *const builtin[] = {"sequential", "by_region", "by_endpoint", "free"};

enum { NAME_MAX_BYTES = 60 };

/* Pushes what `require` gives. */
static bool require(struct job_load *j, const char *module)
{
    char chunk[NAME_MAX_BYTES + 40];
    snprintf(chunk, sizeof(chunk), "return require \"%s\"", module);
    return script_run(j->job->script, "policy", str_from(chunk), j->err);
}

static bool file_exists(const struct job_load *j, const char *module)
{
    char name[NAME_MAX_BYTES + 1], file[NAME_MAX_BYTES + 16];
    snprintf(name, sizeof(name), "%s", module);
    for (char *dot = name; (dot = strchr(dot, '.'));)
        *dot = '/';
    snprintf(file, sizeof(file), "%s.lua", name);
    if (script_has(j->job->script, file, NULL, NULL))
        return true;
    snprintf(file, sizeof(file), "%s/init.lua", name);
    return script_has(j->job->script, file, NULL, NULL);
}

static bool unknown(struct job_load *j, const char *name, const char *where)
{
    const char *near = nearest_name(name, builtin, ARRAY_LEN(builtin));
    return err_set(j->err, ERR_CONFIG,
                   "unknown policy \"%.100s\" (%s): %s%s%suse sequential, by_region, by_endpoint, free, or "
                   "MODULE.FUNCTION of a Lua "
                   "file beside the job",
                   name, where, near ? "did you mean " : "", near ? near : "", near ? "? " : "");
}

static bool is_builtin(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
        if (strcmp(builtin[i], name) == 0)
            return true;
    return false;
}

/* Pushes the function a name stands for: a built-in one, MODULE.FUNCTION, or MODULE if that returns one. */
static bool push_named(struct job_load *j, const char *name, const char *where)
{
    lua_State *L = j->L;
    char module[NAME_MAX_BYTES + 1];
    if (is_builtin(name)) {
        if (!require(j, "canvass.policy"))
            return false;
        lua_getfield(L, -1, name);
        return true;
    }
    if (!text_is_name(str_from(name), "_-.", NAME_MAX_BYTES) || name[0] == '.')
        return unknown(j, name, where);
    const char *dot = strrchr(name, '.');
    snprintf(module, sizeof(module), "%.*s", dot ? (int)(dot - name) : 0, name);
    if (dot && file_exists(j, module)) {
        if (!require(j, module))
            return err_prefix(j->err, "policy %s (%s): ", name, where);
        if (lua_istable(L, -1))
            lua_getfield(L, -1, dot + 1);
        if (!lua_isfunction(L, -1))
            return err_set(j->err, ERR_CONFIG,
                           "module %s has no function \"%s\" (%s): correct the name, or add the function", module,
                           dot + 1, where);
        return true;
    }
    if (!file_exists(j, name))
        return unknown(j, name, where);
    if (!require(j, name))
        return err_prefix(j->err, "policy %s (%s): ", name, where);
    if (!lua_isfunction(L, -1))
        return err_set(j->err, ERR_CONFIG,
                       "module %s returns a %s, not a function (%s): name a function in it, as %s.NAME", name,
                       luaL_typename(L, -1), where, name);
    return true;
}

/* The name of the function on top, if it is one of ours. */
static bool known_function(struct job_load *j, const char **name)
{
    lua_State *L = j->L;
    int function = lua_gettop(L);
    if (!require(j, "canvass.policy"))
        return false;
    *name = "custom";
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++) {
        lua_getfield(L, function + 1, builtin[i]);
        if (lua_rawequal(L, -1, function))
            *name = builtin[i];
        lua_pop(L, 1);
    }
    lua_settop(L, function);
    return true;
}

static bool from_script(struct job_load *j, int index, const char **name)
{
    lua_State *L = j->L;
    char where[512];
    snprintf(where, sizeof(where), "%.400s: policy", j->path);
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        *name = builtin[0];
        return push_named(j, *name, where);
    case LUA_TSTRING:
        *name = arena_strndup(&j->job->spec->arena, lua_tostring(L, index), strlen(lua_tostring(L, index)));
        return push_named(j, *name, where);
    case LUA_TFUNCTION:
        lua_pushvalue(L, index);
        return known_function(j, name);
    default:
        return err_set(j->err, ERR_CONFIG, "the policy is a %s (%s): give a function, or the name of one",
                       luaL_typename(L, index), where);
    }
}

bool job_choose_policy(struct job_load *j, int index)
{
    const char *name = j->options->policy;
    char where[128];
    if (name && strcmp(name, "custom") != 0) { /* that is what records say of a script's own function */
        snprintf(where, sizeof(where), "--policy %.100s", name);
        name = arena_strdup(&j->job->spec->arena, name);
        if (!push_named(j, name, where))
            return false;
    } else if (!from_script(j, index, &name)) {
        return false;
    }
    j->job->spec->policy = name;
    j->job->function = luaL_ref(j->L, LUA_REGISTRYINDEX);
    return true;
}
