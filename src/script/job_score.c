/* The job's own scorer, called after the fact on what was answered. */
#include <math.h>

#include "script/job_parts.h"

struct scoring {
    int function;
    struct str answer;
    const struct question *question;
};

bool job_file_scores(const struct job_file *f)
{
    return f->score != LUA_NOREF;
}

/* scoring expected metadata -> score or nil */
static int call_score(lua_State *L)
{
    const struct scoring *s = lua_touserdata(L, 1);
    if (!lua_istable(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    lua_pushstring(L, s->question->id);
    lua_setfield(L, 3, "id");
    lua_pushlstring(L, s->question->prompt.ptr, s->question->prompt.len);
    lua_setfield(L, 3, "prompt");
    lua_pushvalue(L, 2);
    lua_setfield(L, 3, "expected");
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->function);
    lua_pushlstring(L, s->answer.ptr, s->answer.len);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 1);
    if (lua_isboolean(L, -1))
        lua_pushinteger(L, lua_toboolean(L, -1));
    else if (!lua_isnil(L, -1) && (lua_type(L, -1) != LUA_TNUMBER || !isfinite(lua_tonumber(L, -1))))
        return luaL_error(L, "score returned a %s (question %s): return a finite number, true, false or nil",
                          luaL_typename(L, -1), s->question->id);
    return 1;
}

/* The JSON text, or nil. */
static bool push_json(struct script *s, const char *text, struct err *err)
{
    if (text)
        return script_push_json(s, str_from(text), err);
    lua_pushnil(script_state(s));
    return true;
}

bool job_file_score(struct job_file *f, const struct question *question, struct str answer, double *score,
                    struct err *err)
{
    lua_State *L = script_state(f->script);
    struct scoring s = {f->score, answer, question};
    int top = lua_gettop(L);
    lua_pushcfunction(L, call_score);
    lua_pushlightuserdata(L, &s);
    bool ok = push_json(f->script, question->expected, err) && push_json(f->script, question->metadata, err) &&
              script_call(f->script, 3, 1, err);
    if (ok)
        *score = lua_isnil(L, -1) ? NAN : lua_tonumber(L, -1);
    lua_settop(L, top);
    return ok;
}
