#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "script/sandbox_priv.h"

enum { NUMBER_BYTES = 400 }; /* the longest number that is read */

struct reader {
    lua_State *L;
    const char *start, *at, *end;
    struct buf *scratch;
    unsigned depth;
};

static void read_value(struct reader *r);

static void fail(struct reader *r, const char *what)
{
    luaL_error(r->L, "malformed JSON at byte %d: %s", (int)(r->at - r->start) + 1, what);
}

/* The next byte that is not white space, not consumed; '\0' at the end. */
static char peek(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
    return r->at < r->end ? *r->at : '\0';
}

static unsigned read_hex4(struct reader *r)
{
    unsigned value = 0;
    if (r->end - r->at < 4)
        fail(r, "\\u needs four hexadecimal digits");
    for (int i = 0; i < 4; i++, r->at++) {
        char c = *r->at;
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
        if (digit > 15)
            fail(r, "\\u needs four hexadecimal digits");
        value = value << 4 | digit;
    }
    return value;
}

/* After \u. Half a surrogate pair becomes U+FFFD: an answer is not lost for it. */
static void read_unicode(struct reader *r)
{
    unsigned code = read_hex4(r);
    if (code >= 0xD800 && code < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        const char *before = r->at;
        r->at += 2;
        unsigned low = read_hex4(r);
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
}

static void read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : '\0';
    const char *found = c ? strchr(from, c) : NULL;
    if (found)
        buf_addc(r->scratch, to[found - from]);
    else if (c == 'u')
        read_unicode(r);
    else
        fail(r, "unknown escape in a string");
}

static const char *string_piece(struct reader *r)
{
    const char *at = r->at;
    while (at < r->end && *at != '"' && *at != '\\')
        at++;
    if (at == r->end) {
        r->at = at;
        fail(r, "a string does not end");
    }
    return at;
}

/* Pushes the string whose opening quote is at r->at. */
static void read_string(struct reader *r)
{
    r->at++;
    const char *stop = string_piece(r);
    if (*stop == '"') { /* most have no escapes */
        lua_pushlstring(r->L, r->at, (size_t)(stop - r->at));
        r->at = stop + 1;
        return;
    }
    buf_clear(r->scratch);
    while (*stop == '\\') {
        buf_add(r->scratch, r->at, (size_t)(stop - r->at));
        r->at = stop + 1;
        read_escape(r);
        stop = string_piece(r);
    }
    buf_add(r->scratch, r->at, (size_t)(stop - r->at));
    r->at = stop + 1;
    lua_pushlstring(r->L, buf_str(r->scratch).ptr, r->scratch->len);
}

static const char *skip_digits(struct reader *r, const char *at)
{
    const char *first = at;
    while (at < r->end && *at >= '0' && *at <= '9')
        at++;
    if (at == first)
        fail(r, "expected a value");
    return at;
}

static void read_number(struct reader *r)
{
    const char *at = r->at + (*r->at == '-');
    const char *whole = at;
    bool integral = true;
    at = skip_digits(r, at);
    if (*whole == '0' && at - whole > 1)
        fail(r, "a number starts with 0");
    if (at < r->end && *at == '.') {
        at = skip_digits(r, at + 1);
        integral = false;
    }
    if (at < r->end && (*at | 0x20) == 'e') {
        at++;
        at += at < r->end && (*at == '+' || *at == '-');
        at = skip_digits(r, at);
        integral = false;
    }
    size_t len = (size_t)(at - r->at);
    char text[NUMBER_BYTES];
    if (len >= sizeof text)
        fail(r, "a number is too long");
    memcpy(text, r->at, len);
    text[len] = '\0';
    errno = 0;
    long long integer = integral ? strtoll(text, NULL, 10) : 0;
    if (integral && errno == 0) {
        lua_pushinteger(r->L, integer);
    } else {
        double value = strtod(text, NULL);
        if (isinf(value))
            fail(r, "a number is too large");
        lua_pushnumber(r->L, value);
    }
    r->at = at;
}

static void read_array(struct reader *r)
{
    r->at++;
    lua_newtable(r->L);
    if (peek(r) == ']') {
        r->at++;
        json_push_array_metatable(r->L);
        lua_setmetatable(r->L, -2);
        return;
    }
    for (lua_Integer i = 1;; i++) {
        read_value(r);
        lua_rawseti(r->L, -2, i);
        char c = peek(r);
        if (c != ',' && c != ']')
            fail(r, "expected , or ] in an array");
        r->at++;
        if (c == ']')
            return;
    }
}

static void read_object(struct reader *r)
{
    r->at++;
    lua_newtable(r->L);
    if (peek(r) == '}') {
        r->at++;
        return;
    }
    for (;;) {
        if (peek(r) != '"')
            fail(r, "expected a name in double quotes in an object");
        read_string(r);
        if (peek(r) != ':')
            fail(r, "expected : after a name in an object");
        r->at++;
        read_value(r);
        lua_rawset(r->L, -3);
        char c = peek(r);
        if (c != ',' && c != '}')
            fail(r, "expected , or } in an object");
        r->at++;
        if (c == '}')
            return;
    }
}

static void read_word(struct reader *r)
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
        return;
    }
    fail(r, r->at == r->end ? "it ends too early" : "expected a value");
}

static void read_value(struct reader *r)
{
    if (++r->depth > JSON_DEPTH)
        fail(r, "nested more than 100 deep");
    luaL_checkstack(r->L, 6, NULL);
    char c = peek(r);
    if (c == '{')
        read_object(r);
    else if (c == '[')
        read_array(r);
    else if (c == '"')
        read_string(r);
    else if (c == '-' || (c >= '0' && c <= '9'))
        read_number(r);
    else
        read_word(r);
    r->depth--;
}

void json_push(lua_State *L, struct str text)
{
    if (!text.ptr)
        text = STR("");
    if (text.len > SANDBOX_JSON_BYTES)
        luaL_error(L, "JSON of more than %d bytes is not read", (int)SANDBOX_JSON_BYTES);
    sandbox_charge(L, text.len);
    struct reader r = {.L = L, .start = text.ptr, .at = text.ptr, .end = text.ptr + text.len,
                       .scratch = &script_of(L)->json_scratch};
    read_value(&r);
    peek(&r);
    if (r.at < r.end)
        fail(&r, "something follows the value");
}
