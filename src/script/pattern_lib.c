/* string.find, match, gmatch and gsub in place of the stock ones. */
#include "script/pattern.h"

static struct str check_str(lua_State *L, int arg)
{
    struct str s;
    s.ptr = luaL_checklstring(L, arg, &s.len);
    return s;
}

/* ---- find and match ---- */

/* The optional position in argument `arg`, as an offset; beyond the end by one when it lies behind it. */
static size_t start_offset(lua_State *L, int arg, size_t len)
{
    lua_Integer at = luaL_optinteger(L, arg, 1);
    if (at > 0)
        return (lua_Unsigned)at - 1 > len ? len + 1 : (size_t)at - 1;
    if (at == 0 || at < -(lua_Integer)len)
        return 0;
    return len - (size_t)-at;
}

static bool is_plain(struct str pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (pattern.ptr[i] && strchr("^$*+?.([%-", pattern.ptr[i]))
            return false;
    return true;
}

static int find_plain(lua_State *L, struct str src, struct str what, size_t from)
{
    sandbox_charge(L, src.len - from + what.len);
    const char *at = memmem(src.ptr + from, src.len - from, what.ptr, what.len);
    if (!at) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, at - src.ptr + 1);
    lua_pushinteger(L, at - src.ptr + (lua_Integer)what.len);
    return 2;
}

static int find_or_match(lua_State *L, bool find)
{
    struct str src = check_str(L, 1), pattern = check_str(L, 2);
    size_t from = start_offset(L, 3, src.len);
    if (from > src.len) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(pattern)))
        return find_plain(L, src, pattern, from);
    struct matcher m;
    pattern_prepare(&m, L, src, pattern);
    bool anchored = pattern.len && pattern.ptr[0] == '^';
    const char *p = pattern.ptr + anchored;
    for (const char *s = src.ptr + from; s <= m.src_end; s++) {
        const char *end = pattern_match_at(&m, s, p);
        if (end && !find)
            return pattern_push_captures(&m, s, end);
        if (end) {
            lua_pushinteger(L, s - src.ptr + 1);
            lua_pushinteger(L, end - src.ptr);
            return pattern_push_captures(&m, NULL, NULL) + 2;
        }
        if (anchored)
            break;
    }
    luaL_pushfail(L);
    return 1;
}

static int pattern_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int pattern_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch: upvalues are the subject, the pattern, where to go on, and the end of the last match ---- */

static int gmatch_next(lua_State *L)
{
    struct str src = script_str(L, lua_upvalueindex(1)), pattern = script_str(L, lua_upvalueindex(2));
    size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    struct matcher m;
    pattern_prepare(&m, L, src, pattern);
    for (; from <= src.len; from++) {
        const char *end = pattern_match_at(&m, src.ptr + from, pattern.ptr);
        if (!end || end - src.ptr == last)
            continue;
        lua_pushinteger(L, end - src.ptr);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return pattern_push_captures(&m, src.ptr + from, end);
    }
    return 0;
}

static int pattern_gmatch(lua_State *L)
{
    struct str src = check_str(L, 1);
    check_str(L, 2);
    size_t from = start_offset(L, 3, src.len);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)from);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* ---- gsub ---- */

/* The replacement text at argument 3, with %0..%9 filled in. */
static void add_text(struct matcher *m, luaL_Buffer *b, const char *s, const char *end)
{
    struct str text = script_str(m->L, 3);
    const char *stop = text.ptr + text.len, *percent;
    for (const char *at = text.ptr; at < stop; at = percent + 2) {
        percent = memchr(at, '%', (size_t)(stop - at));
        luaL_addlstring(b, at, (size_t)((percent ? percent : stop) - at));
        if (!percent)
            return;
        char c = percent[1];
        if (c == '%') {
            luaL_addchar(b, '%');
        } else if (c == '0') {
            luaL_addlstring(b, s, (size_t)(end - s));
        } else if (c >= '1' && c <= '9') {
            pattern_push_capture(m, (unsigned)(c - '1'), s, end);
            luaL_addvalue(b);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what stands for the match [s, end). False if that is the match itself. */
static bool add_replacement(struct matcher *m, luaL_Buffer *b, const char *s, const char *end, int type)
{
    lua_State *L = m->L;
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, pattern_push_captures(m, s, end), 1);
    } else if (type == LUA_TTABLE) {
        pattern_push_capture(m, 0, s, end);
        lua_gettable(L, 3);
    } else {
        add_text(m, b, s, end);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(end - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int pattern_gsub(lua_State *L)
{
    struct str src = check_str(L, 1), pattern = check_str(L, 2);
    int type = lua_type(L, 3);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)src.len + 1), count = 0;
    bool anchored = pattern.len && pattern.ptr[0] == '^', changed = false;
    const char *p = pattern.ptr + anchored, *s = src.ptr, *last = NULL;
    struct matcher m;
    luaL_Buffer b;
    pattern_prepare(&m, L, src, pattern);
    luaL_buffinit(L, &b);
    while (count < most) {
        const char *end = pattern_match_at(&m, s, p);
        if (end && end != last) {
            count++;
            changed |= add_replacement(&m, &b, s, end, type);
            s = last = end;
        } else if (s < m.src_end) {
            luaL_addchar(&b, *s++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&b, s, (size_t)(m.src_end - s));
        luaL_pushresult(&b);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

void pattern_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", pattern_find}, {"match", pattern_match}, {"gmatch", pattern_gmatch}, {"gsub", pattern_gsub}, {0},
    };
    luaL_setfuncs(L, functions, 0);
}
