/* JSON from and to Lua values: the module for scripts, and the functions for C.
 *
 * Written here because the Lua library for it allocates beyond the memory cap, ends the process when that
 * fails, leaks its buffer when Lua raises, cannot bound what a table that holds another one twice becomes, and
 * loses empty arrays and large integers. What is read goes straight onto the Lua stack (json_read.c); what is
 * written goes into a bounded buffer of the script (json_write.c). */
#include <math.h>

#include "script/sandbox_priv.h"

static char array_key; /* its address is the registry's key for the metatable of arrays that may be empty */

void json_push_array_metatable(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}

/* ---- for scripts: require "json" ---- */

static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct buf *out = &script_of(L)->json_out;
    buf_clear(out);
    json_add(L, 1, out, false, NULL);
    lua_pushlstring(L, buf_str(out).ptr, out->len);
    return 1;
}

static int decode(lua_State *L)
{
    struct str text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    json_push(L, text);
    return 1;
}

static int mark_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        lua_newtable(L);
    else
        luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, -1))
        return luaL_error(L, "json.array takes a table without a metatable");
    json_push_array_metatable(L);
    lua_setmetatable(L, -2);
    return 1;
}

/* ---- what JSON holds is whatever the other side likes, and null is a userdata: all reading goes through these ---- */

static int as_text(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING)
        lua_pushnil(L);
    return 1;
}

static int as_count(lua_State *L)
{
    static const double most = 9007199254740992.0; /* 2^53: beyond it a double no longer counts */
    lua_settop(L, 1);
    double n = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
    if (!(n >= 0 && n <= most && floor(n) == n))
        lua_pushnil(L);
    return 1;
}

/* Its upvalue is an empty table that cannot be written to. */
static int as_object(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE)
        lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* ---- the module ---- */

int json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"array", mark_array},
                                         {"text", as_text}, {"count", as_count}, {0}};
    luaL_newlib(L, functions);
    lua_newtable(L);
    sandbox_freeze(L, "what is no object");
    lua_pushcclosure(L, as_object, 1);
    lua_setfield(L, -2, "object");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    sandbox_freeze(L, "json");
    return 1;
}

/* ---- for C ---- */

struct transfer {
    struct str text;
    struct buf *out;
};

static int push_protected(lua_State *L)
{
    const struct transfer *t = lua_touserdata(L, 1);
    json_push(L, t->text);
    return 1;
}

bool script_push_json(struct script *s, struct str json, struct err *err)
{
    struct transfer t = {.text = json};
    lua_pushcfunction(s->L, push_protected);
    lua_pushlightuserdata(s->L, &t);
    return sandbox_protect(s, 1, 1, err);
}

static int add_protected(lua_State *L)
{
    const struct transfer *t = lua_touserdata(L, 2);
    json_add(L, 1, t->out, true, NULL);
    return 0;
}

bool script_add_json(struct script *s, int index, struct buf *out, struct err *err)
{
    struct transfer t = {.out = out};
    index = lua_absindex(s->L, index);
    lua_pushcfunction(s->L, add_protected);
    lua_pushvalue(s->L, index);
    lua_pushlightuserdata(s->L, &t);
    return sandbox_protect(s, 2, 0, err);
}
