#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "script/sandbox_priv.h"

struct writer {
    lua_State *L;
    struct buf *out;
    bool sorted;
    struct json_holes *holes; /* NULL: none are allowed */
    unsigned depth;
    const char *keys[JSON_DEPTH + 1]; /* where we are, for errors; NULL: in an array */
};

const char json_hole = 0;

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

static void write_integer(struct writer *w, long long value)
{
    char text[24], *at = text + sizeof text;
    unsigned long long left = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    buf_add(w->out, at, (size_t)(text + sizeof text - at));
}

/* With the fewest digits that give the same number again. */
static void write_real(struct writer *w, double value)
{
    char text[48];
    int len, digits = 15;
    if (!isfinite(value))
        refuse(w, "a number that is not finite");
    do
        len = snprintf(text, sizeof text, "%.*g", digits, value);
    while (digits++ < 17 && strtod(text, NULL) != value);
    buf_add(w->out, text, (size_t)len);
}

static void write_number(struct writer *w, int index)
{
    double value = lua_tonumber(w->L, index);
    if (lua_isinteger(w->L, index))
        write_integer(w, lua_tointeger(w->L, index));
    else if (fabs(value) <= 0x1p53 && floor(value) == value)
        write_integer(w, (long long)value);
    else
        write_real(w, value);
}

static bool is_marked_array(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    json_push_array_metatable(L);
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
            if (marked || lua_type(L, -1) != LUA_TSTRING)
                refuse(w, marked ? "a table of both list items and names"
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
    text_add_json(w->out, key);
    buf_addc(w->out, ':');
    write_value(w, lua_gettop(w->L));
}

/* The key that lua_next left below its value. */
static struct str member_key(struct writer *w, int index)
{
    if (lua_type(w->L, index) != LUA_TSTRING)
        refuse(w, "a table of both list items and names");
    return script_str(w->L, index);
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
    enum { FEW = 32 };
    lua_State *L = w->L;
    int top = lua_gettop(L);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    struct str few[FEW], *keys = count <= FEW ? few : lua_newuserdatauv(L, count * sizeof *keys, 0);
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
    lua_settop(L, top);
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
    if (++w->depth > JSON_DEPTH)
        refuse(w, "a table nested more than 100 deep");
    luaL_checkstack(w->L, 10, NULL);
    lua_Integer count = array_length(w, index);
    if (count >= 0)
        write_array(w, index, count);
    else
        write_object(w, index);
    w->depth--;
}

static void write_light(struct writer *w, const void *mark)
{
    if (!mark)
        buf_adds(w->out, "null");
    else if (mark != &json_hole || !w->holes)
        refuse(w, "a userdata");
    else if (w->holes->count == JSON_HOLES)
        refuse(w, "the same text in more than 8 places");
    else
        w->holes->at[w->holes->count++] = w->out->len;
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
        write_light(w, lua_touserdata(w->L, index));
        break;
    case LUA_TBOOLEAN:
        buf_adds(w->out, lua_toboolean(w->L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        write_number(w, index);
        break;
    case LUA_TSTRING:
        text_add_json(w->out, script_str(w->L, index));
        break;
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

void json_add(lua_State *L, int index, struct buf *out, bool sorted, struct json_holes *holes)
{
    struct writer w = {.L = L, .out = out, .sorted = sorted, .holes = holes};
    luaL_checkstack(L, 10, NULL);
    write_value(&w, lua_absindex(L, index));
}

void json_fill(struct buf *out, struct str text, const struct json_holes *holes, struct str filling)
{
    size_t from = 0;
    for (unsigned i = 0; i < holes->count; i++) {
        buf_add(out, text.ptr + from, holes->at[i] - from);
        text_add_json(out, filling);
        from = holes->at[i];
    }
    buf_add(out, text.ptr + from, text.len - from);
}
