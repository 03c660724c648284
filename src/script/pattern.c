#include "script/pattern.h"

#include <ctype.h>

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
    if (m->count == PATTERN_CAPTURES)
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
    while (i > 0 && m->captures[i - 1].len != CAPTURE_OPEN)
        i--;
    if (i == 0)
        luaL_error(m->L, "invalid pattern capture");
    i--;
    m->captures[i].len = s - m->captures[i].start;
    const char *rest = match(m, s, p);
    if (!rest)
        m->captures[i].len = CAPTURE_OPEN;
    return rest;
}

static const char *match_back_reference(struct matcher *m, const char *s, char digit)
{
    int i = digit - '1';
    if (i < 0 || (unsigned)i >= m->count || m->captures[i].len == CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    if (m->captures[i].len == CAPTURE_POSITION)
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
            s = p[1] == ')' ? open_capture(m, s, p + 2, CAPTURE_POSITION) : open_capture(m, s, p + 1, CAPTURE_OPEN);
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

void pattern_prepare(struct matcher *m, lua_State *L, struct str src, struct str pattern)
{
    *m = (struct matcher){.L = L, .script = script_of(L), .src = src.ptr, .src_end = src.ptr + src.len,
                          .pattern_end = pattern.ptr + pattern.len};
}

const char *pattern_match_at(struct matcher *m, const char *s, const char *p)
{
    m->count = 0;
    m->nesting = PATTERN_NESTING;
    return match(m, s, p);
}

void pattern_push_capture(struct matcher *m, unsigned i, const char *s, const char *end)
{
    if (i >= m->count) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index %%%d", (int)i + 1);
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    ptrdiff_t len = m->captures[i].len;
    if (len == CAPTURE_OPEN)
        luaL_error(m->L, "unfinished capture");
    if (len == CAPTURE_POSITION)
        lua_pushinteger(m->L, m->captures[i].start - m->src + 1);
    else
        lua_pushlstring(m->L, m->captures[i].start, (size_t)len);
}

int pattern_push_captures(struct matcher *m, const char *s, const char *end)
{
    unsigned count = m->count == 0 && s ? 1 : m->count;
    luaL_checkstack(m->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        pattern_push_capture(m, i, s, end);
    return (int)count;
}
