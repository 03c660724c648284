#include "script/fleet_answers.h"

#include <assert.h>

struct answerer {
    struct fleet_spec *spec;
    struct script *script;
    int function;          /* a reference */
    struct rng *rng;       /* of the answer being written; NULL in between */
};

struct request {
    struct answerer *answerer;
    struct str prompt;
    const char *model, *region;
    struct buf *out;
};

/* random(), random(n), random(low, high): as in math, but out of the fleet's own seed. */
static int draw(lua_State *L)
{
    struct answerer *a = lua_touserdata(L, lua_upvalueindex(1));
    assert(a->rng); /* a kept random draws for the answer being written now: the script runs at no other time */
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, rng_unit(a->rng));
        return 1;
    }
    lua_Integer first = luaL_checkinteger(L, 1), low = 1, high = first;
    if (!lua_isnoneornil(L, 2)) {
        low = first;
        high = luaL_checkinteger(L, 2);
    }
    lua_Unsigned span = (lua_Unsigned)high - (lua_Unsigned)low;
    luaL_argcheck(L, low <= high && span < (lua_Unsigned)1 << 53, 1, "the interval is empty or too wide");
    lua_pushinteger(L, low + (lua_Integer)(rng_unit(a->rng) * (double)(span + 1)));
    return 1;
}

/* The function and the request; the answer goes to the request's buffer, true or false onto the stack. */
static int ask(lua_State *L)
{
    const struct request *r = lua_touserdata(L, 2);
    lua_settop(L, 1);
    lua_pushlstring(L, r->prompt.ptr ? r->prompt.ptr : "", r->prompt.len);
    lua_pushstring(L, r->model);
    lua_pushstring(L, r->region);
    lua_pushlightuserdata(L, r->answerer);
    lua_pushcclosure(L, draw, 1);
    lua_call(L, 4, 1);
    if (!lua_isnil(L, -1) && !lua_isstring(L, -1))
        return luaL_error(L, "answers returned a %s: return a string, or nil for a built-in answer",
                          luaL_typename(L, -1));
    struct str text = script_str(L, -1);
    lua_pushboolean(L, text.ptr && buf_add(r->out, text.ptr, text.len));
    return 1;
}

static bool write_answer(void *ctx, struct str prompt, const char *model, const char *region, struct rng *rng,
                         struct buf *out)
{
    struct answerer *a = ctx;
    lua_State *L = script_state(a->script);
    struct request r = {a, prompt, model, region, out};
    struct err err;
    lua_pushcfunction(L, ask);
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->function);
    lua_pushlightuserdata(L, &r);
    a->rng = rng;
    bool ok = script_call(a->script, 2, 1, &err);
    a->rng = NULL;
    if (!ok) {
        if (!a->spec->answers.error)
            a->spec->answers.error = arena_strdup(&a->spec->arena, err.text);
        return false;
    }
    ok = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

static void free_script(void *script)
{
    script_free(script);
}

void fleet_answers_bind(struct fleet_spec *spec, struct script *s, int function)
{
    if (function == LUA_NOREF) {
        script_free(s);
        return;
    }
    struct answerer *a = arena_alloc(&spec->arena, sizeof *a);
    *a = (struct answerer){.spec = spec, .script = s, .function = function};
    spec->answers.ctx = a;
    spec->answers.write = write_answer;
    spec->script = s;
    spec->script_free = free_script;
}
