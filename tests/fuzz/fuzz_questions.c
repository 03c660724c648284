/* Lists of questions in CSV and JSONL, row by row. */
#include "fuzz.h"

#include "script/csv.h"
#include "script/data_list.h"
#include "script/sandbox_priv.h"

enum { FIELD_BYTES = 1 << 20, KEPT_BYTES = 8 << 20 };

struct read {
    const char *kind;
    struct str text;
    bool whole;  /* all rows were made */
};

/* Each row stands where data_place() says, and is made the same twice. */
static int read_rows(lua_State *L)
{
    struct read *r = lua_touserdata(L, 1);
    char place[PLACE_TEXT];
    size_t last = 0, line;
    data_push(L, r->kind, "q", r->text);
    struct data_list *list = data_test(L, 2);
    for (size_t i = 0; i < data_count(list); i++) {
        data_place(list, i, place);
        PROMISE(sscanf(place, "q:%zu", &line) == 1 && line > last, "row %zu is at %s, the one before in line %zu", i,
                place, last);
        last = line;
        data_push_row(L, 2, i);
        PROMISE(lua_istable(L, -1), "row %zu is no table", i);
        lua_settop(L, 2);
    }
    r->whole = true;
    return 0;
}

/* A table written with every field in quotes is read as the same fields. */
static void check_csv(struct str text)
{
    struct csv before, after;
    struct buf field, quoted;
    buf_init(&field, FIELD_BYTES);
    buf_init(&quoted, 4 * FIELD_BYTES);
    csv_init(&before, text);
    bool right = true;
    while (right && csv_more(&before)) {
        enum csv_end end;
        do {
            end = csv_read(&before, &field);
            right = end != CSV_WRONG;
            buf_addc(&quoted, '"');
            for (size_t i = 0; i < field.len; i++)
                buf_add(&quoted, field.ptr[i] == '"' ? "\"\"" : &field.ptr[i], field.ptr[i] == '"' ? 2 : 1);
            buf_adds(&quoted, end == CSV_FIELD ? "\"," : "\"\n");
        } while (end == CSV_FIELD);
    }
    csv_init(&before, text);
    csv_init(&after, buf_str(&quoted));
    struct buf other;
    buf_init(&other, FIELD_BYTES);
    while (right && csv_more(&before)) {
        PROMISE(csv_more(&after), "a record is gone");
        enum csv_end end;
        do {
            end = csv_read(&before, &field);
            PROMISE(csv_read(&after, &other) == end && str_equal(buf_str(&field), buf_str(&other)), "%s became %s",
                    buf_str(&field).ptr, buf_str(&other).ptr);
        } while (end == CSV_FIELD);
    }
    buf_done(&other);
    buf_done(&field);
    buf_done(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script_limits limits = {10000000, 10000000, 64u << 20};
    static struct script *s;
    static size_t bytes;
    if (!s) {
        s = script_new(&(struct script_options){.limits = &limits});
        lua_newtable(script_state(s));
        data_add_functions(script_state(s), &bytes);
        lua_settop(script_state(s), 0);
    }
    lua_State *L = script_state(s);
    struct str input = {(const char *)data, size};
    bool csv = fuzz_byte(&input) == 'c';
    struct read r = {.kind = csv ? "csv" : "jsonl", .text = input};
    struct err err = {0};
    lua_pushcfunction(L, read_rows);
    lua_pushlightuserdata(L, &r);
    bool ok = script_call(s, 1, 0, &err);
    PROMISE(ok == r.whole && lua_gettop(L) == 0 && !script_doomed(s), "%s", err.text);
    if (!ok)
        fuzz_refusal(&err);
    lua_gc(L, LUA_GCSTEP, 0); /* the list has pointers into the input, so its finalizer alone may look at it later */
    if (script_memory(s) > KEPT_BYTES)
        lua_gc(L, LUA_GCCOLLECT);
    if (csv)
        check_csv(input);
    return 0;
}
