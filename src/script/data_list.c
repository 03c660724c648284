#include "script/data_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/csv.h"
#include "script/sandbox_priv.h"

enum { COLUMNS_MAX = 1000, FIELD_BYTES = 16 << 20 };

static const char list_type[] = "canvass.list";

struct row {
    size_t at, line;
};

struct data_list {
    char *name;
    enum { DATA_JSONL, DATA_CSV } kind;
    struct str text;       /* somebody else's */
    struct row *rows;
    size_t count, cap;
    char **columns;        /* of CSV */
    size_t column_count;
    struct buf field;
    struct data_list *source; /* of list:map(f), which has its rows; NULL: a file's own */
};

/* Of a list's values in Lua: the rows that were looked at; of list:map(f) the list and f. */
enum { VALUE_SEEN = 1, VALUE_SOURCE, VALUE_FUNCTION };

struct data_list *data_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, list_type);
}

size_t data_count(const struct data_list *d)
{
    return d->count;
}

void data_place(const struct data_list *d, size_t i, char out[PLACE_TEXT])
{
    while (d->source)
        d = d->source;
    snprintf(out, PLACE_TEXT, "%.200s:%zu", d->name, d->rows[i].line);
}

static size_t row_bytes(const struct data_list *d, size_t i)
{
    return (i + 1 < d->count ? d->rows[i + 1].at : d->text.len) - d->rows[i].at;
}

static void add_row(struct data_list *d, size_t at, size_t line)
{
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->rows = mem_array(d->rows, d->cap, sizeof(d->rows[0]));
    }
    d->rows[d->count++] = (struct row){at, line};
}

/* ---- finding the rows ---- */

static bool is_blank(struct str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r", line.ptr[i]) || !line.ptr[i])
            return false;
    return true;
}

static struct str line_at(const struct data_list *d, size_t at)
{
    const char *start = d->text.ptr + at, *newline = memchr(start, '\n', d->text.len - at);
    return (struct str){start, newline ? (size_t)(newline - start) : d->text.len - at};
}

static void index_jsonl(struct data_list *d)
{
    size_t at = d->text.len >= 3 && memcmp(d->text.ptr, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    for (size_t line = 1; at < d->text.len; line++) {
        struct str text = line_at(d, at);
        if (!is_blank(text))
            add_row(d, at, line);
        at += text.len + 1;
    }
}

static bool csv_failed(const struct data_list *d, const struct csv *c, struct err *err)
{
    const char *cure = strstr(c->wrong, ": ");
    return err_set(err, ERR_CONFIG, "%.*s (%s:%zu): %s", (int)(cure - c->wrong), c->wrong, d->name, c->line, cure + 2);
}

static bool add_column(struct data_list *d, struct err *err)
{
    struct str name = buf_str(&d->field);
    if (name.len == 0 || memchr(name.ptr, '\0', name.len))
        return err_set(err, ERR_CONFIG,
                       "column %zu has no name (%s): the first line names the columns, such as id,prompt",
                       d->column_count + 1, d->name);
    for (size_t i = 0; i < d->column_count; i++)
        if (str_is(name, d->columns[i]))
            return err_set(err, ERR_CONFIG, "two columns are called \"%s\" (%s): give each a name of its own",
                           d->columns[i], d->name);
    if (d->column_count == COLUMNS_MAX)
        return err_set(err, ERR_CONFIG, "more than %d columns (%s): leave some out", COLUMNS_MAX, d->name);
    d->columns[d->column_count++] = mem_strndup(name.ptr, name.len);
    return true;
}

static bool read_header(struct data_list *d, struct csv *c, struct err *err)
{
    if (!csv_more(c))
        return err_set(err, ERR_CONFIG, "the file is empty (%s): its first line names the columns, such as id,prompt",
                       d->name);
    d->columns = mem_array(NULL, COLUMNS_MAX, sizeof(d->columns[0]));
    enum csv_end end;
    do {
        end = csv_read(c, &d->field);
        if (end == CSV_WRONG)
            return csv_failed(d, c, err);
        if (!add_column(d, err))
            return false;
    } while (end == CSV_FIELD);
    if (d->column_count == 1 && strpbrk(d->columns[0], ";\t"))
        return err_set(err, ERR_CONFIG, "the columns are not separated by commas (%s): save the file with commas",
                       d->name);
    return true;
}

static bool index_csv(struct data_list *d, struct err *err)
{
    struct csv c;
    csv_init(&c, d->text);
    if (!read_header(d, &c, err))
        return false;
    while (csv_more(&c)) {
        size_t line = c.line, fields = 0;
        add_row(d, c.at, line);
        enum csv_end end;
        do {
            end = csv_read(&c, &d->field);
            if (end == CSV_WRONG)
                return csv_failed(d, &c, err);
            fields++;
        } while (end == CSV_FIELD);
        if (fields != d->column_count)
            return err_set(err, ERR_CONFIG,
                           "%zu fields under %zu columns (%s:%zu): put a field that holds a comma in quotes", fields,
                           d->column_count, d->name, line);
    }
    return true;
}

/* ---- making a row ---- */

/* The text is a light userdata: one call, so that what it raises can be caught and told its place. */
static int decode(lua_State *L)
{
    const struct str *text = lua_touserdata(L, 1);
    json_push(L, *text);
    return 1;
}

static void push_json(lua_State *L, struct str text, const char *where)
{
    lua_pushcfunction(L, decode);
    lua_pushlightuserdata(L, &text);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        luaL_error(L, "%s: %s", where, lua_tostring(L, -1));
}

static void push_jsonl_row(lua_State *L, struct data_list *d, size_t i)
{
    char where[PLACE_TEXT];
    data_place(d, i, where);
    push_json(L, line_at(d, d->rows[i].at), where);
    if (!lua_istable(L, -1))
        luaL_error(L, "the line is not a JSON object (%s): write {\"id\": \"...\", \"prompt\": \"...\"}", where);
}

static void push_csv_row(lua_State *L, struct data_list *d, size_t i)
{
    struct csv c;
    csv_init(&c, d->text);
    c.at = d->rows[i].at;
    lua_createtable(L, 0, (int)d->column_count);
    for (size_t column = 0; column < d->column_count; column++) {
        csv_read(&c, &d->field);
        struct str value = buf_str(&d->field);
        lua_pushlstring(L, value.ptr, value.len);
        lua_setfield(L, -2, d->columns[column]);
    }
}

/* What f makes of the row; nobody keeps it. */
static void push_mapped(lua_State *L, int index, size_t i, bool own_budget)
{
    struct err err;
    index = lua_absindex(L, index);
    lua_getiuservalue(L, index, VALUE_FUNCTION);
    lua_getiuservalue(L, index, VALUE_SOURCE);
    data_push_row(L, lua_gettop(L), i);
    lua_remove(L, -2);
    lua_pushinteger(L, (lua_Integer)i + 1);
    if (!own_budget)
        lua_call(L, 2, 1);
    else if (!script_call(script_of(L), 2, 1, &err))
        luaL_error(L, "%s", err.text);
}

void data_push_row(lua_State *L, int index, size_t i)
{
    struct data_list *d = data_test(L, index);
    if (d->source) {
        push_mapped(L, index, i, script_is_idle(L));
        return;
    }
    lua_getiuservalue(L, index, VALUE_SEEN);
    bool seen = lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TNIL;
    lua_remove(L, -2);
    if (seen)
        return;
    lua_pop(L, 1);
    sandbox_charge(L, row_bytes(d, i));
    if (d->kind == DATA_JSONL)
        push_jsonl_row(L, d, i);
    else
        push_csv_row(L, d, i);
}

/* ---- the list in Lua ---- */

static int list_gc(lua_State *L)
{
    struct data_list *d = luaL_checkudata(L, 1, list_type);
    for (size_t i = 0; i < d->column_count; i++)
        free(d->columns[i]);
    free(d->columns);
    free(d->rows);
    free(d->name);
    buf_done(&d->field);
    d->columns = NULL;
    d->rows = NULL;
    d->name = NULL;
    d->count = d->column_count = 0;
    return 0;
}

/* Row number n, from 1, of the list at 1; nil behind the last. */
static int push_kept(lua_State *L, lua_Integer n)
{
    struct data_list *d = luaL_checkudata(L, 1, list_type);
    if (n < 1 || (lua_Unsigned)n > d->count) {
        lua_pushnil(L);
        return 1;
    }
    data_push_row(L, 1, (size_t)n - 1);
    if (d->source)
        return 1;
    lua_getiuservalue(L, 1, VALUE_SEEN);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, n);
    lua_pop(L, 1);
    return 1;
}

/* list:map(f): a list of what f(row, number) makes of each row when it is looked at. */
static int list_map(lua_State *L)
{
    struct data_list *source = luaL_checkudata(L, 1, list_type);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct data_list *d = lua_newuserdatauv(L, sizeof(*d), VALUE_FUNCTION);
    *d = (struct data_list){.name = mem_strdup(source->name), .count = source->count, .source = source};
    luaL_setmetatable(L, list_type);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, VALUE_SOURCE);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, VALUE_FUNCTION);
    return 1;
}

static int list_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "map") == 0) {
        lua_pushcfunction(L, list_map);
        return 1;
    }
    if (!lua_isinteger(L, 2))
        return luaL_error(L, "a list read from a file has rows by number, not \"%s\"", luaL_tolstring(L, 2, NULL));
    return push_kept(L, lua_tointeger(L, 2));
}

static int list_newindex(lua_State *L)
{
    return luaL_error(L, "a list read from a file keeps its rows: put those you want into a table of your own");
}

static int list_len(lua_State *L)
{
    struct data_list *d = luaL_checkudata(L, 1, list_type);
    lua_pushinteger(L, (lua_Integer)d->count);
    return 1;
}

static int list_next(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 2) + 1;
    push_kept(L, n);
    if (lua_isnil(L, -1))
        return 1;
    lua_pushinteger(L, n);
    lua_insert(L, -2);
    return 2;
}

static int list_pairs(lua_State *L)
{
    luaL_checkudata(L, 1, list_type);
    lua_pushcfunction(L, list_next);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

static int list_tostring(lua_State *L)
{
    struct data_list *d = luaL_checkudata(L, 1, list_type);
    lua_pushfstring(L, "%s (%d rows)", d->name, (int)d->count);
    return 1;
}

void data_push(lua_State *L, const char *kind, const char *name, struct str text)
{
    struct data_list *d = lua_newuserdatauv(L, sizeof(*d), 1);
    *d = (struct data_list){.kind = strcmp(kind, "csv") == 0 ? DATA_CSV : DATA_JSONL, .text = text};
    luaL_setmetatable(L, list_type);
    lua_newtable(L);
    lua_setiuservalue(L, -2, VALUE_SEEN);
    d->name = mem_strdup(name);
    buf_init(&d->field, FIELD_BYTES);
    sandbox_charge(L, text.len);
    struct err err;
    if (d->kind == DATA_JSONL)
        index_jsonl(d);
    else if (!index_csv(d, &err))
        luaL_error(L, "%s", err.text);
}

void data_push_json(lua_State *L, const char *name, struct str text)
{
    push_json(L, text, name);
    if (!lua_istable(L, -1))
        luaL_error(L, "the file holds no list (%s): write [{\"id\": \"...\", \"prompt\": \"...\"}]", name);
    lua_getfield(L, -1, "questions"); /* an object around the list is as common as the list */
    if (lua_istable(L, -1))
        lua_remove(L, -2);
    else
        lua_pop(L, 1);
}

/* ---- canvass.jsonl, .csv, .json ---- */

/* Upvalues: bytes read so far, lists by kind and name, the kind. A file is read once: a second look gives the same
 * list. */
static int read_list(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *kind = lua_tostring(L, lua_upvalueindex(3));
    size_t *bytes = lua_touserdata(L, lua_upvalueindex(1));
    struct str text;
    struct err err;
    lua_settop(L, 1);
    lua_pushfstring(L, "%s:%s", kind, name);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
        return 1;
    if (!script_read(script_of(L), name, (size_t)DATA_BYTES - *bytes, &text, &err))
        luaL_error(L, "%s", err.text);
    *bytes += text.len;
    lua_settop(L, 2);
    if (strcmp(kind, "json") == 0)
        data_push_json(L, name, text);
    else
        data_push(L, kind, name, text);
    lua_insert(L, 2);      /* name list key */
    lua_pushvalue(L, 2);
    lua_rawset(L, lua_upvalueindex(2));
    return 1;
}

void data_add_functions(lua_State *L, size_t *bytes)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", list_gc}, {"__index", list_index}, {"__newindex", list_newindex}, {"__len", list_len},
        {"__pairs", list_pairs}, {"__tostring", list_tostring}, {NULL, NULL}};
    static const char *const kinds[] = {"jsonl", "csv", "json"};
    luaL_newmetatable(L, list_type);
    luaL_setfuncs(L, metamethods, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        lua_pushlightuserdata(L, bytes);
        lua_pushvalue(L, -2);
        lua_pushstring(L, kinds[i]);
        lua_pushcclosure(L, read_list, 3);
        lua_setfield(L, -3, kinds[i]);
    }
    lua_pop(L, 1);
}
