/* The libraries a script sees: stock Lua where that is harmless, with a bound in front of it where one
 * call could run for hours inside C, where the count hook does not fire. */
#include <lualib.h>

#include "script/sandbox_priv.h"

static char globals_key, frozen_key; /* their addresses are keys of the registry, and of frozen metatables */

/* Calls the original that is upvalue 1, in this function's own frame. */
static int call_original(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* For functions whose work grows with the strings they are given and that allocate nothing much. */
static int charge_strings(lua_State *L)
{
    size_t bytes = 0;
    for (int i = lua_gettop(L); i > 0; i--)
        if (lua_type(L, i) == LUA_TSTRING)
            bytes += lua_rawlen(L, i);
    sandbox_charge(L, bytes);
    return call_original(L);
}

/* t[name] = wrapper(t[name]) for the table on top. */
static void wrap(lua_State *L, const luaL_Reg *wrappers)
{
    for (; wrappers->name; wrappers++) {
        lua_getfield(L, -1, wrappers->name);
        lua_pushcclosure(L, wrappers->func, 1);
        lua_setfield(L, -2, wrappers->name);
    }
}

/* ---- string ---- */

static int safe_rep(lua_State *L)
{
    size_t len, sep_len;
    luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &sep_len);
    size_t unit = len + sep_len;
    if (n <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    size_t cap = script_of(L)->limits.memory_bytes;
    if (unit > cap || (size_t)n > cap / unit)
        return luaL_error(L, "resulting string too large");
    sandbox_charge(L, (size_t)n);
    return call_original(L);
}

static void open_string(lua_State *L)
{
    luaL_requiref(L, "string", luaopen_string, 0); /* string */
    static const char *const absent[] = {"dump", "pack", "packsize", "unpack", NULL};
    for (const char *const *name = absent; *name; name++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *name);
    }
    wrap(L, (const luaL_Reg[]){{"rep", safe_rep}, {"format", charge_strings}, {"reverse", charge_strings},
                               {"lower", charge_strings}, {"upper", charge_strings}, {0}});
    pattern_open(L);

    /* Methods go straight to the functions; getmetatable("") shows read-only views only. */
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);      /* string "" metatable */
    lua_pushvalue(L, -3);
    sandbox_freeze(L, "string");  /* string "" metatable view */
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    sandbox_freeze(L, "the metatable of strings");
    lua_setfield(L, -3, "__metatable");
    lua_insert(L, 1);
    lua_settop(L, 1);             /* view */
}

/* ---- table: lengths are asked for once, for a __len may answer differently each time ---- */

static void charge_range(lua_State *L, lua_Integer first, lua_Integer last)
{
    if (last < first)
        return;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;
    if (count >= SANDBOX_RANGE)
        luaL_error(L, "too many elements (more than %d)", (int)SANDBOX_RANGE);
    sandbox_charge(L, (size_t)count + 1);
}

static int safe_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer end = (lua_Integer)((lua_Unsigned)luaL_len(L, 1) + 1), at = end;
    int args = lua_gettop(L);
    if (args != 2 && args != 3)
        return luaL_error(L, "wrong number of arguments to 'insert'");
    if (args == 3) {
        at = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)at - 1 < (lua_Unsigned)end, 2, "position out of bounds");
        charge_range(L, at, end);
        for (lua_Integer i = end; i > at; i--) {
            lua_geti(L, 1, i - 1);
            lua_seti(L, 1, i);
        }
    }
    lua_seti(L, 1, at);
    return 0;
}

static int safe_remove(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer len = luaL_len(L, 1);
    lua_Integer at = luaL_optinteger(L, 2, len);
    if (at != len)
        luaL_argcheck(L, (lua_Unsigned)at - 1 <= (lua_Unsigned)len, 2, "position out of bounds");
    charge_range(L, at, len);
    lua_geti(L, 1, at);
    for (; at < len; at++) {
        lua_geti(L, 1, at + 1);
        lua_seti(L, 1, at);
    }
    lua_pushnil(L);
    lua_seti(L, 1, at);
    return 1;
}

static int safe_concat(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 4);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    lua_Integer last = luaL_opt(L, luaL_checkinteger, 4, luaL_len(L, 1));
    charge_range(L, first, last);
    lua_pushinteger(L, last);
    lua_replace(L, 4);
    return call_original(L);
}

static int safe_unpack(lua_State *L)
{
    lua_settop(L, 3);
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = luaL_opt(L, luaL_checkinteger, 3, luaL_len(L, 1));
    charge_range(L, first, last);
    lua_pushinteger(L, last);
    lua_replace(L, 3);
    return call_original(L);
}

static int safe_move(lua_State *L)
{
    charge_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_original(L);
}

static int safe_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
        return luaL_error(L, "cannot sort a table with __len");
    size_t len = lua_rawlen(L, 1), levels = 1;
    if (len > SANDBOX_RANGE)
        return luaL_error(L, "too many elements (more than %d)", (int)SANDBOX_RANGE);
    for (size_t n = len; n > 1; n /= 2)
        levels++;
    sandbox_charge(L, len * levels);
    return call_original(L);
}

/* ---- math: the same numbers in every run ---- */

static int seeded(lua_State *L)
{
    if (lua_gettop(L) == 0)
        lua_pushinteger(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- base ---- */

static bool is_frozen(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    bool frozen = lua_rawgetp(L, -1, &frozen_key) != LUA_TNIL;
    lua_pop(L, 2);
    return frozen;
}

static int safe_rawset(lua_State *L)
{
    if (is_frozen(L, 1))
        return luaL_error(L, "this table is read-only");
    return call_original(L);
}

/* A finalizer runs where no hook fires and no error arrives. */
static int safe_setmetatable(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available here: use a to-be-closed variable (`local x <close>`)");
        lua_pop(L, 1);
    }
    return call_original(L);
}

/* A handler called for an error out of the hook would itself run without hooks: it could loop for ever. */
static int guarded_handler(lua_State *L)
{
    if (script_of(L)->doomed)
        return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int safe_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, guarded_handler, 1);
    lua_replace(L, 2);
    return call_original(L);
}

static int print_line(lua_State *L)
{
    enum { LINE_BYTES = 4096, LINE_STEPS = 1000 };
    struct script *s = script_of(L);
    sandbox_charge(L, LINE_STEPS);
    char line[LINE_BYTES];
    size_t used = 0;
    int args = lua_gettop(L);
    for (int i = 1; i <= args; i++) {
        size_t len;
        const char *text = luaL_tolstring(L, i, &len);
        if (i > 1 && used < sizeof line - 1)
            line[used++] = '\t';
        for (size_t k = 0; k < len && used < sizeof line - 1; k++)
            line[used++] = text[k] == '\0' || text[k] == '\n' || text[k] == '\r' ? ' ' : text[k];
        lua_pop(L, 1);
    }
    line[used] = '\0';
    if (s->options.print)
        s->options.print(s->options.ctx, line);
    return 0;
}

static void open_base(lua_State *L)
{
    static const char *const kept[] = {
        "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen",
        "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION", NULL,
    };
    luaL_requiref(L, "_G", luaopen_base, 0); /* base */
    lua_createtable(L, 0, 40);               /* base globals */
    for (const char *const *name = kept; *name; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    wrap(L, (const luaL_Reg[]){{"rawset", safe_rawset}, {"setmetatable", safe_setmetatable},
                               {"tonumber", charge_strings}, {"xpcall", safe_xpcall}, {0}});
    lua_pushcfunction(L, print_line);
    lua_setfield(L, -2, "print");
    lua_pushcfunction(L, sandbox_require);
    lua_setfield(L, -2, "require");
    lua_remove(L, -2);
}

/* ---- read-only views ---- */

static int deny_write(lua_State *L)
{
    const char *table = lua_tostring(L, lua_upvalueindex(1));
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    if (strcmp(table, "_G") == 0)
        return luaL_error(L, "cannot set the global \"%s\": put `local` before it, or correct its name", key);
    return luaL_error(L, "cannot set \"%s\" in %s: it is read-only", key, table);
}

static int next_of_view(lua_State *L)
{
    lua_settop(L, 2);
    return lua_next(L, lua_upvalueindex(1)) ? 2 : 0;
}

static int pairs_of_view(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, next_of_view, 1);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void sandbox_freeze(lua_State *L, const char *name)
{
    lua_newtable(L);         /* table view */
    lua_createtable(L, 0, 6);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_pushcclosure(L, deny_write, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, pairs_of_view, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, true);
    lua_rawsetp(L, -2, &frozen_key);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);       /* view */
}

void sandbox_set_global(lua_State *L, const char *name)
{
    if (lua_type(L, -1) == LUA_TTABLE && !lua_getmetatable(L, -1))
        sandbox_freeze(L, name);
    else if (lua_type(L, -1) == LUA_TTABLE)
        lua_pop(L, 1); /* it has a metatable: its owner sees to it */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static const luaL_Reg in_table[] = {{"insert", safe_insert}, {"remove", safe_remove}, {"concat", safe_concat},
                                    {"unpack", safe_unpack}, {"move", safe_move}, {"sort", safe_sort}, {0}};
static const luaL_Reg in_math[] = {{"randomseed", seeded}, {0}};
static const luaL_Reg in_utf8[] = {{"len", charge_strings}, {"codepoint", charge_strings}, {"offset", charge_strings},
                                   {0}};

/* Chunks get the registry's global table as their _ENV; the view takes its place. */
void sandbox_open_libraries(lua_State *L)
{
    static const struct { const char *name; lua_CFunction open; const luaL_Reg *wrappers; } libraries[] = {
        {"table", luaopen_table, in_table}, {"math", luaopen_math, in_math}, {"utf8", luaopen_utf8, in_utf8},
        {"coroutine", luaopen_coroutine, sandbox_coroutines},
    };
    lua_settop(L, 0);
    open_string(L);        /* string */
    open_base(L);          /* string globals */
    lua_insert(L, 1);
    lua_setfield(L, 1, "string");
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].open, 0);
        wrap(L, libraries[i].wrappers);
        sandbox_freeze(L, libraries[i].name);
        lua_setfield(L, 1, libraries[i].name);
    }
    lua_getfield(L, 1, "math"); /* the same numbers in every run */
    lua_getfield(L, -1, "randomseed");
    lua_call(L, 0, 0);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
    lua_pushvalue(L, 1);
    sandbox_freeze(L, "_G");
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "_G");
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);

    /* luaL_requiref noted the unguarded libraries here. */
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}
