/* JSON from and to Lua values.
 *
 * Written here because the Lua library for it allocates beyond the memory cap, ends the process when that fails,
 * leaks its buffer when Lua raises, cannot bound what a table that holds itself twice becomes, and loses empty arrays and large
 * integers. What is read goes straight onto the Lua stack; what is written goes into a bounded buffer of the script. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "script/sandbox_priv.h"

enum { DEPTH = 100 };

static char array_key; /* its address is the registry's key for the metatable of arrays that may be empty */

static void push_array_metatable(lua_State *L)
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

/* ---- reading ---- */

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
    enum { NUMBER_BYTES = 400 };
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
        push_array_metatable(r->L);
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
    if (++r->depth > DEPTH)
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

/* ---- writing ---- */

struct writer {
    lua_State *L;
    struct buf *out;
    bool sorted;
    unsigned depth;
    const char *keys[DEPTH + 1]; /* where we are, for errors; NULL: in an array */
};

static void write_value(struct writer *w, int index);

static void refuse(struct writer *w, const char *what)
{
    const char *key = NULL;
    for (unsigned i = w->depth; i > 0 && !key; i--)
        key = w->keys[i - 1];
    if (key)
        luaL_error(w->L, "%s cannot be written as JSON (under \"%s\")", what, key);
    luaL_error(w->L, "%s cannot be written as JSON", what);
}

static void write_number(struct writer *w, int index)
{
    char text[48];
    int len;
    if (lua_isinteger(w->L, index)) {
        len = snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(w->L, index));
    } else {
        double value = lua_tonumber(w->L, index);
        if (!isfinite(value))
            refuse(w, "a number that is not finite");
        if (fabs(value) <= 0x1p53 && floor(value) == value) {
            len = snprintf(text, sizeof text, "%lld", (long long)value);
        } else {
            int digits = 15; /* the fewest that give the same number again */
            do
                len = snprintf(text, sizeof text, "%.*g", digits, value);
            while (digits++ < 17 && strtod(text, NULL) != value);
        }
    }
    buf_add(w->out, text, (size_t)len);
}

static void write_string(struct writer *w, const char *ptr, size_t len)
{
    size_t i = 0;
    while (i < len && (unsigned char)ptr[i] >= ' ' && (unsigned char)ptr[i] < 0x7F && ptr[i] != '"' && ptr[i] != '\\')
        i++;
    if (i < len) {
        text_add_json(w->out, (struct str){ptr, len});
        return;
    }
    buf_addc(w->out, '"');
    buf_add(w->out, ptr, len);
    buf_addc(w->out, '"');
}

static bool is_marked_array(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    push_array_metatable(L);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

/* The length if the table is an array, -1 if it is an object. A nil in between becomes null, within reason. */
static lua_Integer array_length(struct writer *w, int index)
{
    lua_State *L = w->L;
    lua_Integer most = 0, count = 0;
    bool marked = is_marked_array(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        lua_Integer i = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (i < 1) {
            if (count || marked || lua_type(L, -1) != LUA_TSTRING)
                refuse(w, count || marked ? "a table of both list items and names"
                                          : "a table with a key that is neither a name nor a list position");
            lua_pop(L, 1);
            return -1;
        }
        count++;
        most = i > most ? i : most;
    }
    if (most > 2 * count + 10)
        refuse(w, "a list with large gaps");
    return count || marked ? most : -1;
}

static void write_array(struct writer *w, int index, lua_Integer count)
{
    w->keys[w->depth - 1] = NULL;
    buf_addc(w->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            buf_addc(w->out, ',');
        lua_rawgeti(w->L, index, i);
        write_value(w, lua_gettop(w->L));
        lua_pop(w->L, 1);
    }
    buf_addc(w->out, ']');
}

/* The value is on top. */
static void write_member(struct writer *w, struct str key, bool first)
{
    if (!first)
        buf_addc(w->out, ',');
    w->keys[w->depth - 1] = key.ptr;
    write_string(w, key.ptr, key.len);
    buf_addc(w->out, ':');
    write_value(w, lua_gettop(w->L));
}

/* The key that lua_next left below its value. */
static struct str member_key(struct writer *w, int index)
{
    struct str key;
    if (lua_type(w->L, index) != LUA_TSTRING)
        refuse(w, "a table of both list items and names");
    key.ptr = lua_tolstring(w->L, index, &key.len);
    return key;
}

static int compare_keys(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    size_t least = x->len < y->len ? x->len : y->len;
    int order = least ? memcmp(x->ptr, y->ptr, least) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void write_sorted(struct writer *w, int index)
{
    lua_State *L = w->L;
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    struct str *keys = lua_newuserdatauv(L, count * sizeof *keys, 0);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys[i++] = member_key(w, -2);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (i = 0; i < count; i++) {
        lua_pushlstring(L, keys[i].ptr, keys[i].len);
        lua_rawget(L, index);
        write_member(w, keys[i], i == 0);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void write_object(struct writer *w, int index)
{
    buf_addc(w->out, '{');
    if (w->sorted) {
        write_sorted(w, index);
    } else {
        bool first = true;
        for (lua_pushnil(w->L); lua_next(w->L, index); lua_pop(w->L, 1), first = false)
            write_member(w, member_key(w, -2), first);
    }
    buf_addc(w->out, '}');
}

static void write_table(struct writer *w, int index)
{
    w->keys[w->depth] = NULL;
    if (++w->depth > DEPTH)
        refuse(w, "a table nested more than 100 deep");
    luaL_checkstack(w->L, 10, NULL);
    lua_Integer count = array_length(w, index);
    if (count >= 0)
        write_array(w, index, count);
    else
        write_object(w, index);
    w->depth--;
}

static void write_value(struct writer *w, int index)
{
    enum { VALUE_STEPS = 4 };
    size_t before = w->out->len;
    switch (lua_type(w->L, index)) {
    case LUA_TNIL:
        buf_adds(w->out, "null");
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(w->L, index))
            refuse(w, "a userdata");
        buf_adds(w->out, "null");
        break;
    case LUA_TBOOLEAN:
        buf_adds(w->out, lua_toboolean(w->L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        write_number(w, index);
        break;
    case LUA_TSTRING: {
        size_t len;
        const char *ptr = lua_tolstring(w->L, index, &len);
        write_string(w, ptr, len);
        break;
    }
    case LUA_TTABLE:
        write_table(w, index);
        break;
    default:
        refuse(w, lua_type(w->L, index) == LUA_TFUNCTION ? "a function" : "a thread or userdata");
    }
    if (w->out->full)
        luaL_error(w->L, "JSON of more than %d bytes is not written", (int)w->out->max);
    sandbox_charge(w->L, w->depth ? VALUE_STEPS : w->out->len - before);
}

void json_add(lua_State *L, int index, struct buf *out, bool sorted)
{
    struct writer w = {.L = L, .out = out, .sorted = sorted};
    luaL_checkstack(L, 10, NULL);
    write_value(&w, lua_absindex(L, index));
}

/* ---- for scripts: require "json" ---- */

static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct buf *out = &script_of(L)->json_out;
    buf_clear(out);
    json_add(L, 1, out, false);
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
    push_array_metatable(L);
    lua_setmetatable(L, -2);
    return 1;
}

int json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"array", mark_array}, {0}};
    luaL_newlib(L, functions);
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
    json_add(L, 1, t->out, true);
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
