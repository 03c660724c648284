#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "script/sandbox_priv.h"

enum {
    NUMBER_BYTES = 400, /* the longest number that is read */
    SHORT_DIGITS = 15,  /* so many are exact in a double, and so is their power of ten */
    WAITING = 16,       /* members that wait on the stack */
    ROOM = 8,           /* what a value needs there while it is made, its members aside */
};

struct reader {
    lua_State *L;
    const char *start, *at, *end;
    struct buf *scratch;
    unsigned depth;
    const char *fault;
};

static bool read_value(struct reader *r);

/* The stack is left as it is: json_try() puts it right. */
static bool fail(struct reader *r, const char *what)
{
    r->fault = what;
    return false;
}

/* The next byte that is not white space, not consumed; '\0' at the end. */
static char peek(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
    return r->at < r->end ? *r->at : '\0';
}

static bool read_hex4(struct reader *r, unsigned *out)
{
    *out = 0;
    if (r->end - r->at < 4)
        return fail(r, "\\u needs four hexadecimal digits");
    for (int i = 0; i < 4; i++, r->at++) {
        char c = *r->at;
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
        if (digit > 15)
            return fail(r, "\\u needs four hexadecimal digits");
        *out = *out << 4 | digit;
    }
    return true;
}

/* After \u. Half a surrogate pair becomes U+FFFD: an answer is not lost for it. */
static bool read_unicode(struct reader *r)
{
    unsigned code, low;
    if (!read_hex4(r, &code))
        return false;
    if (code >= 0xD800 && code < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        const char *before = r->at;
        r->at += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        else
            r->at = before;
    }
    if (code >= 0xD800 && code < 0xE000)
        code = 0xFFFD;
    char out[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(lead[len] | code);
    buf_add(r->scratch, out, len);
    return true;
}

static bool read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : '\0';
    const char *found = c ? strchr(from, c) : NULL;
    if (c == 'u')
        return read_unicode(r);
    if (!found)
        return fail(r, "unknown escape in a string");
    buf_addc(r->scratch, to[found - from]);
    return true;
}

/* Where the piece of a string ends that needs no thought: at a backslash, or at the quote. NULL when it never does.
 * *quote, NULL at first, is the next one from here on, so that many escapes do not make it search again for each. */
static const char *string_piece(struct reader *r, const char **quote)
{
    if (!*quote || *quote < r->at)
        *quote = memchr(r->at, '"', (size_t)(r->end - r->at));
    if (*quote) {
        const char *slash = memchr(r->at, '\\', (size_t)(*quote - r->at));
        return slash ? slash : *quote;
    }
    r->at = r->end;
    fail(r, "a string does not end");
    return NULL;
}

/* Pushes the string whose opening quote is at r->at. */
static bool read_string(struct reader *r)
{
    const char *quote = NULL;
    r->at++;
    const char *stop = string_piece(r, &quote);
    if (stop && stop == quote) { /* most have no escapes */
        lua_pushlstring(r->L, r->at, (size_t)(stop - r->at));
        r->at = stop + 1;
        return true;
    }
    buf_clear(r->scratch);
    while (stop && stop != quote) {
        buf_add(r->scratch, r->at, (size_t)(stop - r->at));
        r->at = stop + 1;
        if (!read_escape(r))
            return false;
        stop = string_piece(r, &quote);
    }
    if (!stop)
        return false;
    buf_add(r->scratch, r->at, (size_t)(stop - r->at));
    r->at = stop + 1;
    lua_pushlstring(r->L, buf_str(r->scratch).ptr, r->scratch->len);
    return true;
}

/* Goes over one digit or more. */
static bool skip_digits(struct reader *r, const char **at)
{
    const char *first = *at;
    while (*at < r->end && **at >= '0' && **at <= '9')
        ++*at;
    return *at > first || fail(r, "expected a value");
}

/* Pushes a number without exponent and of few digits. A quotient of two exact doubles is rounded once, as strtod
 * would, if the machine calculates in doubles. */
static bool push_short(lua_State *L, struct str text, bool integral)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t negative = *text.ptr == '-', digits = text.len - negative - !integral, point = text.len;
    if (digits > SHORT_DIGITS || (!integral && FLT_EVAL_METHOD != 0))
        return false;
    lua_Integer value = 0;
    for (size_t i = negative; i < text.len; i++) {
        if (text.ptr[i] == '.')
            point = i + 1;
        else
            value = value * 10 + (text.ptr[i] - '0');
    }
    if (integral)
        lua_pushinteger(L, negative ? -value : value);
    else
        lua_pushnumber(L, (negative ? -1.0 : 1.0) * (double)value / powers[text.len - point]);
    return true;
}

static bool push_number(struct reader *r, struct str number, bool integral)
{
    char text[NUMBER_BYTES];
    if (number.len >= sizeof text)
        return fail(r, "a number is too long");
    memcpy(text, number.ptr, number.len);
    text[number.len] = '\0';
    errno = 0;
    long long integer = integral ? strtoll(text, NULL, 10) : 0;
    if (integral && errno == 0) {
        lua_pushinteger(r->L, integer);
        return true;
    }
    double value = strtod(text, NULL);
    if (isinf(value))
        return fail(r, "a number is too large");
    lua_pushnumber(r->L, value);
    return true;
}

static bool read_number(struct reader *r)
{
    const char *at = r->at + (*r->at == '-');
    const char *whole = at;
    bool fraction = false, exponent = false;
    if (!skip_digits(r, &at))
        return false;
    if (*whole == '0' && at - whole > 1)
        return fail(r, "a number starts with 0");
    if (at < r->end && *at == '.') {
        at++;
        fraction = true;
        if (!skip_digits(r, &at))
            return false;
    }
    if (at < r->end && (*at | 0x20) == 'e') {
        at++;
        at += at < r->end && (*at == '+' || *at == '-');
        exponent = true;
        if (!skip_digits(r, &at))
            return false;
    }
    struct str text = {r->at, (size_t)(at - r->at)};
    if ((exponent || !push_short(r->L, text, !fraction)) && !push_number(r, text, !fraction && !exponent))
        return false;
    r->at = at;
    return true;
}

/* ---- tables ---- */

/* The first items wait on the stack, so that the table is born with room for them and need not grow: they there
 * from index `place` on. Leaves the array in their place. */
static void make_array(lua_State *L, int place)
{
    int count = lua_gettop(L) - place + 1;
    lua_createtable(L, count, 0);
    lua_insert(L, place);
    for (int i = count; i > 0; i--)
        lua_rawseti(L, place, i);
}

static bool read_array(struct reader *r)
{
    lua_State *L = r->L;
    int place = lua_gettop(L) + 1;
    r->at++;
    if (peek(r) == ']') {
        r->at++;
        lua_newtable(L);
        json_push_array_metatable(L);
        lua_setmetatable(L, -2);
        return true;
    }
    luaL_checkstack(L, WAITING + ROOM, NULL);
    for (lua_Integer i = 1;; i++) {
        if (!read_value(r))
            return false;
        char c = peek(r);
        if (c != ',' && c != ']')
            return fail(r, "expected , or ] in an array");
        r->at++;
        if (i > WAITING)
            lua_rawseti(L, place, i);
        else if (i == WAITING || c == ']')
            make_array(L, place);
        if (c == ']')
            return true;
    }
}

/* As make_array(), of names and values. In their order, for the last of two of one name counts. */
static void make_object(lua_State *L, int place)
{
    int end = lua_gettop(L) + 1;
    lua_createtable(L, 0, (end - place) / 2);
    for (int i = place; i < end; i += 2) {
        lua_pushvalue(L, i);
        lua_pushvalue(L, i + 1);
        lua_rawset(L, end);
    }
    lua_replace(L, place);
    lua_settop(L, place);
}

static bool read_object(struct reader *r)
{
    lua_State *L = r->L;
    int place = lua_gettop(L) + 1;
    r->at++;
    if (peek(r) == '}') {
        r->at++;
        lua_newtable(L);
        return true;
    }
    luaL_checkstack(L, 2 * WAITING + ROOM, NULL);
    for (size_t i = 1;; i++) {
        if (peek(r) != '"')
            return fail(r, "expected a name in double quotes in an object");
        if (!read_string(r))
            return false;
        if (peek(r) != ':')
            return fail(r, "expected : after a name in an object");
        r->at++;
        if (!read_value(r))
            return false;
        char c = peek(r);
        if (c != ',' && c != '}')
            return fail(r, "expected , or } in an object");
        r->at++;
        if (i > WAITING)
            lua_rawset(L, place);
        else if (i == WAITING || c == '}')
            make_object(L, place);
        if (c == '}')
            return true;
    }
}

static bool read_word(struct reader *r)
{
    static const struct { struct str text; char kind; } words[] = {
        {{"true", 4}, 't'}, {{"false", 5}, 'f'}, {{"null", 4}, 'n'},
    };
    size_t left = (size_t)(r->end - r->at);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (left < words[i].text.len || memcmp(r->at, words[i].text.ptr, words[i].text.len) != 0)
            continue;
        r->at += words[i].text.len;
        if (words[i].kind == 'n')
            lua_pushlightuserdata(r->L, NULL);
        else
            lua_pushboolean(r->L, words[i].kind == 't');
        return true;
    }
    return fail(r, r->at == r->end ? "it ends too early" : "expected a value");
}

static bool read_value(struct reader *r)
{
    if (++r->depth > JSON_DEPTH)
        return fail(r, "nested more than 100 deep");
    char c = peek(r);
    bool ok = c == '{'   ? read_object(r)
              : c == '[' ? read_array(r)
              : c == '"' ? read_string(r)
              : c == '-' || (c >= '0' && c <= '9') ? read_number(r)
                                                   : read_word(r);
    r->depth--;
    return ok;
}

bool json_try(lua_State *L, struct str text, struct err *err)
{
    if (!text.ptr)
        text = STR("");
    if (text.len > SANDBOX_JSON_BYTES)
        return err_set(err, ERR_CONFIG, "JSON of more than %d bytes is not read", (int)SANDBOX_JSON_BYTES);
    sandbox_charge(L, text.len);
    struct reader r = {.L = L, .start = text.ptr, .at = text.ptr, .end = text.ptr + text.len,
                       .scratch = &script_of(L)->json_scratch};
    int top = lua_gettop(L);
    luaL_checkstack(L, ROOM, NULL);
    if (read_value(&r)) {
        peek(&r);
        if (r.at == r.end)
            return true;
        fail(&r, "something follows the value");
    }
    lua_settop(L, top);
    return err_set(err, ERR_CONFIG, "malformed JSON at byte %d: %s", (int)(r.at - r.start) + 1, r.fault);
}

void json_push(lua_State *L, struct str text)
{
    struct err err;
    if (!json_try(L, text, &err))
        luaL_error(L, "%s", err.text);
}
