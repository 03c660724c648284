#include <stdio.h>

#include "script/sandbox_priv.h"

enum { FRAMES = 10 };

void sandbox_where(lua_State *L, char out[SANDBOX_WHERE])
{
    out[0] = '\0';
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            snprintf(out, SANDBOX_WHERE, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
}

/* The error value on top of L becomes text. Its __tostring is the script's own, so it runs protected. */
static void make_text(lua_State *L)
{
    int type = lua_type(L, -1);
    if (type == LUA_TSTRING)
        return;
    if (type == LUA_TNUMBER) {
        lua_tostring(L, -1);
        return;
    }
    if (luaL_getmetafield(L, -1, "__tostring") != LUA_TNIL) { /* value tostring */
        lua_pushvalue(L, -2);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
            return;
        lua_pop(L, 1);
    }
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "message");
        if (lua_rawget(L, -2) == LUA_TSTRING)
            return;
        lua_pop(L, 1);
    }
    if (type == LUA_TNIL)
        lua_pushliteral(L, "an error without a message was raised (nil)");
    else
        lua_pushfstring(L, "an error without a message was raised (a %s)", luaL_typename(L, -1));
}

static void add_frame(luaL_Buffer *b, const lua_Debug *ar)
{
    char line[160];
    if (*ar->what == 'm')
        snprintf(line, sizeof line, "\n  at %s:%d in the main chunk", ar->short_src, ar->currentline);
    else if (ar->name)
        snprintf(line, sizeof line, "\n  at %s:%d in function '%s'", ar->short_src, ar->currentline, ar->name);
    else
        snprintf(line, sizeof line, "\n  at %s:%d in the function at line %d", ar->short_src, ar->currentline,
                 ar->linedefined);
    luaL_addstring(b, line);
}

/* The text at index 1 of L, and the Lua frames of co behind it, innermost first. */
static void add_traceback(lua_State *L, lua_State *co)
{
    const char *text = lua_tostring(L, 1);
    char where[SANDBOX_WHERE];
    sandbox_where(co, where);
    size_t where_len = strlen(where);
    bool has_where = strncmp(text, where, where_len) == 0 && text[where_len] == ':';

    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, text);
    lua_Debug ar;
    unsigned frames = 0;
    for (int level = 0; lua_getstack(co, level, &ar) && frames <= FRAMES; level++) {
        lua_getinfo(co, "Sln", &ar);
        if (ar.currentline <= 0)
            continue; /* a C function: says nothing to the script's author */
        if (++frames > FRAMES)
            luaL_addstring(&b, "\n  ...");
        else if (frames > 1 || !has_where) /* else the text itself begins with this place */
            add_frame(&b, &ar);
    }
    luaL_pushresult(&b);
}

void sandbox_describe(lua_State *L, lua_State *co)
{
    struct script *s = script_of(L);
    lua_settop(L, L == co ? 1 : 0);
    luaL_checkstack(L, 20, NULL);
    if (L != co)
        lua_xmove(co, L, 1);
    make_text(L);
    lua_copy(L, -1, 1);
    lua_settop(L, 1);
    if (s->doomed)
        lua_pushstring(L, s->doom);
    else
        add_traceback(L, co);
}

int sandbox_on_error(lua_State *L)
{
    sandbox_describe(L, L);
    return 1;
}
