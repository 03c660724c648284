/* coroutine.resume, wrap and close that keep account of which coroutine runs, and do not go on in a doomed state.
 *
 * Stock wrap and close run the pending __close of a coroutine that failed. If the hook made it fail, its
 * hooks are off for good, so such a __close would run unwatched: nothing of a doomed coroutine is closed here. */
#include "script/sandbox_priv.h"

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

/* Moves the arguments over and runs; the results, or the error value, end up on top of L. Returns the number of
 * results, -1 on error. */
static int resume(lua_State *L, lua_State *co, int args)
{
    struct script *s = script_of(L);
    if (s->doomed)
        sandbox_raise_doom(L);
    if (!lua_checkstack(co, args)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, args);
    lua_State *before = s->running;
    s->running = co;
    int results = 0;
    int status = lua_resume(co, L, args, &results);
    s->running = before;
    if (s->doomed)
        sandbox_raise_doom(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, results);
    return results;
}

static int safe_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    int results = resume(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, results >= 0);
    if (results < 0)
        results = 1;
    lua_insert(L, -(results + 1));
    return results + 1;
}

/* Runs the pending __close of co; true if they went well, else their error is on top of co. */
static bool reset(lua_State *L, lua_State *co)
{
    struct script *s = script_of(L);
    lua_State *before = s->running;
    s->running = co;
    int status = lua_resetthread(co);
    s->running = before;
    if (s->doomed)
        sandbox_raise_doom(L);
    return status == LUA_OK;
}

static int call_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int results = resume(L, co, lua_gettop(L));
    if (results >= 0)
        return results;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD && !reset(L, co))
        lua_xmove(co, L, 1); /* the same error, or that of a __close in its place */
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int safe_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* Suspended or dead, so that it may be closed. */
static bool is_at_rest(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    return co != L && (lua_status(co) != LUA_OK || !lua_getstack(co, 0, &ar));
}

static int safe_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    if (script_of(L)->doomed)
        sandbox_raise_doom(L);
    if (!is_at_rest(L, co))
        return luaL_error(L, "cannot close a running coroutine");
    bool ok = reset(L, co);
    lua_pushboolean(L, ok);
    if (ok)
        return 1;
    lua_xmove(co, L, 1);
    return 2;
}

const luaL_Reg sandbox_coroutines[] = {{"resume", safe_resume}, {"wrap", safe_wrap}, {"close", safe_close}, {0}};
