/* string.find, match, gmatch and gsub with the patterns of Lua 5.4, whose every step is counted: a pattern that
 * backtracks for ever ends with the call's budget. Malformed patterns are found when matching gets to them, as in stock Lua.
 *
 * Reading one byte past the end of a pattern or subject is fine throughout: Lua strings end in a NUL that is not counted. */
#include <ctype.h>
#include <stddef.h>

#include "script/sandbox_priv.h"

enum { CAPTURES = 32, NESTING = 200, OPEN = -1, POSITION = -2 };

struct matcher {
    lua_State *L;
    struct script *script;
    const char *src, *src_end, *pattern_end;
    unsigned nesting, count;
    struct { const char *start; ptrdiff_t len; } captures[CAPTURES]; /* len may be OPEN or POSITION */
};

static const char *match(struct matcher *m, const char *s, const char *p);

static void charge(struct matcher *m, size_t steps)
{
    m->script->steps_left -= (int64_t)steps;
    if (m->script->steps_left < 0)
        sandbox_check_clock(m->L);
}

/* ---- one character ---- */

static bool in_class(int c, int class)
{
    bool in;
    switch (tolower(class)) {
    case 'a': in = isalpha(c); break;
    case 'c': in = iscntrl(c); break;
    case 'd': in = isdigit(c); break;
    case 'g': in = isgraph(c); break;
    case 'l': in = islower(c); break;
    case 'p': in = ispunct(c); break;
    case 's': in = isspace(c); break;
    case 'u': in = isupper(c); break;
    case 'w': in = isalnum(c); break;
    case 'x': in = isxdigit(c); break;
    case 'z': in = c == 0; break; /* no longer in the manual, still in Lua 5.4 */
    default: return class == c;
    }
    return isupper(class) ? !in : in;
}

/* p at '[', last at the ']' that ends the set. */
static bool in_set(int c, const char *p, const char *last)
{
    bool found = true;
    if (p[1] == '^') {
        found = false;
        p++;
    }
    for (p++; p < last; p++) {
        if (*p == '%') {
            if (in_class(c, (unsigned char)*++p))
                return found;
        } else if (p[1] == '-' && p + 2 < last) {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return found;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return found;
        }
    }
    return !found;
}

/* The end of the single-character item at p. */
static const char *item_end(struct matcher *m, const char *p)
{
    char c = *p++;
    if (c == '%') {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (c != '[')
        return p;
    if (*p == '^')
        p++;
    do { /* a ] in first place stands for itself */
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end)
            p++;
    } while (*p != ']');
    return p + 1;
}

static bool is_single(struct matcher *m, const char *s, const char *p, const char *end)
{
    charge(m, (size_t)(end - p)); /* a set is searched from its beginning for each character */
    if (s >= m->src_end)
        return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.': return true;
    case '%': return in_class(c, (unsigned char)p[1]);
    case '[': return in_set(c, p, end - 1);
    default: return (unsigned char)*p == c;
    }
}

/* ---- repetition ---- */

static const char *match_longest(struct matcher *m, const char *s, const char *p, const char *end, ptrdiff_t least)
{
    ptrdiff_t n = 0;
    while (is_single(m, s + n, p, end))
        n++;
    for (; n >= least; n--) {
        const char *rest = match(m, s + n, end + 1);
        if (rest)
            return rest;
    }
    return NULL;
}

static const char *match_shortest(struct matcher *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *rest = match(m, s, end + 1);
        if (rest || !is_single(m, s, p, end))
            return rest;
    }
}

/* A single character and what repeats it. Moves *p on, to the end of the pattern if the rest was matched here. */
static const char *match_item(struct matcher *m, const char *s, const char **p)
{
    const char *item = *p, *end = item_end(m, item);
    bool hit = is_single(m, s, item, end);
    char repeat = *end;
    const char *rest;
    if (!hit && (repeat == '*' || repeat == '?' || repeat == '-')) {
        *p = end + 1;
        return s;
    }
    switch (repeat) {
    case '?':
        rest = match(m, s + 1, end + 1);
        *p = rest ? m->pattern_end : end + 1;
        return rest ? rest : s;
    case '*':
    case '+':
        *p = m->pattern_end;
        return hit ? match_longest(m, s, item, end, repeat == '+') : NULL;
    case '-':
        *p = m->pattern_end;
        return match_shortest(m, s, item, end);
    default:
        *p = end;
        return hit ? s + 1 : NULL;
    }
}

/* ---- captures ---- */

static const char *open_capture(struct matcher *m, const char *s, const char *p, ptrdiff_t kind)
{
    if (m->count == CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->count].start = s;
    m->captures[m->count++].len = kind;
    const char *rest = match(m, s, p);
    if (!rest)
        m->count--;
    return rest;
}

static const char *close_capture(struct matcher *m, const char *s, const char *p)
{
    unsigned i = m->count;
    while (i > 0 && m->captures[i - 1].len != OPEN)
        i--;
    if (i == 0)
        luaL_error(m->L, "invalid pattern capture");
    i--;
    m->captures[i].len = s - m->captures[i].start;
    const char *rest = match(m, s, p);
    if (!rest)
        m->captures[i].len = OPEN;
    return rest;
}

static const char *match_back_reference(struct matcher *m, const char *s, char digit)
{
    int i = digit - '1';
    if (i < 0 || (unsigned)i >= m->count || m->captures[i].len == OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    if (m->captures[i].len == POSITION)
        return NULL;
    size_t len = (size_t)m->captures[i].len;
    charge(m, len / 16);
    if ((size_t)(m->src_end - s) < len || memcmp(m->captures[i].start, s, len) != 0)
        return NULL;
    return s + len;
}

/* ---- %b and %f ---- */

static const char *match_balance(struct matcher *m, const char *s, const char *p)
{
    if (p >= m->pattern_end - 1)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->src_end || *s != *p)
        return NULL;
    size_t depth = 1;
    const char *at = s;
    while (++at < m->src_end) {
        if (*at == p[1]) {
            if (--depth == 0)
                break;
        } else if (*at == p[0]) {
            depth++;
        }
    }
    charge(m, (size_t)(at - s));
    return at < m->src_end ? at + 1 : NULL;
}

/* Moves *p behind the set. */
static const char *match_frontier(struct matcher *m, const char *s, const char **p)
{
    const char *set = *p + 2;
    if (*set != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    *p = item_end(m, set);
    charge(m, (size_t)(*p - set));
    int before = s == m->src ? '\0' : (unsigned char)s[-1];
    return !in_set(before, set, *p - 1) && in_set((unsigned char)*s, set, *p - 1) ? s : NULL;
}

/* ---- the whole ---- */

/* p at '%'. Moves *p on. */
static const char *match_escape(struct matcher *m, const char *s, const char **p)
{
    char c = (*p)[1];
    if (c == 'b') {
        s = match_balance(m, s, *p + 2);
        *p += 4;
        return s;
    }
    if (c == 'f')
        return match_frontier(m, s, p);
    if (c >= '0' && c <= '9') {
        *p += 2;
        return match_back_reference(m, s, c);
    }
    return match_item(m, s, p);
}

static const char *match(struct matcher *m, const char *s, const char *p)
{
    if (m->nesting-- == 0)
        luaL_error(m->L, "pattern too complex");
    while (s && p < m->pattern_end) {
        charge(m, 1);
        if (*p == '(') {
            s = p[1] == ')' ? open_capture(m, s, p + 2, POSITION) : open_capture(m, s, p + 1, OPEN);
            break;
        }
        if (*p == ')') {
            s = close_capture(m, s, p + 1);
            break;
        }
        if (*p == '$' && p + 1 == m->pattern_end) {
            s = s == m->src_end ? s : NULL;
            break;
        }
        s = *p == '%' ? match_escape(m, s, &p) : match_item(m, s, &p);
    }
    m->nesting++;
    return s;
}

static void prepare(struct matcher *m, lua_State *L, struct str src, struct str pattern)
{
    *m = (struct matcher){.L = L, .script = script_of(L), .src = src.ptr, .src_end = src.ptr + src.len,
                          .pattern_end = pattern.ptr + pattern.len};
}

static const char *match_at(struct matcher *m, const char *s, const char *p)
{
    m->count = 0;
    m->nesting = NESTING;
    return match(m, s, p);
}

/* Capture i of the match [s, end); capture 0 is the whole match when the pattern has none. */
static void push_capture(struct matcher *m, unsigned i, const char *s, const char *end)
{
    if (i >= m->count) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index %%%d", (int)i + 1);
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    ptrdiff_t len = m->captures[i].len;
    if (len == OPEN)
        luaL_error(m->L, "unfinished capture");
    if (len == POSITION)
        lua_pushinteger(m->L, m->captures[i].start - m->src + 1);
    else
        lua_pushlstring(m->L, m->captures[i].start, (size_t)len);
}

static int push_captures(struct matcher *m, const char *s, const char *end)
{
    unsigned count = m->count == 0 && s ? 1 : m->count;
    luaL_checkstack(m->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        push_capture(m, i, s, end);
    return (int)count;
}

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
    prepare(&m, L, src, pattern);
    bool anchored = pattern.len && pattern.ptr[0] == '^';
    const char *p = pattern.ptr + anchored;
    for (const char *s = src.ptr + from; s <= m.src_end; s++) {
        const char *end = match_at(&m, s, p);
        if (end && !find)
            return push_captures(&m, s, end);
        if (end) {
            lua_pushinteger(L, s - src.ptr + 1);
            lua_pushinteger(L, end - src.ptr);
            return push_captures(&m, NULL, NULL) + 2;
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
    struct str src, pattern;
    src.ptr = lua_tolstring(L, lua_upvalueindex(1), &src.len);
    pattern.ptr = lua_tolstring(L, lua_upvalueindex(2), &pattern.len);
    size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    struct matcher m;
    prepare(&m, L, src, pattern);
    for (; from <= src.len; from++) {
        const char *end = match_at(&m, src.ptr + from, pattern.ptr);
        if (!end || end - src.ptr == last)
            continue;
        lua_pushinteger(L, end - src.ptr);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&m, src.ptr + from, end);
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
    struct str text;
    text.ptr = lua_tolstring(m->L, 3, &text.len);
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
            push_capture(m, (unsigned)(c - '1'), s, end);
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
        lua_call(L, push_captures(m, s, end), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, end);
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
    prepare(&m, L, src, pattern);
    luaL_buffinit(L, &b);
    while (count < most) {
        const char *end = match_at(&m, s, p);
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
