/* Reading what a person wrote: values, ranges, lists, nesting, and messages that name place and cure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "script/fields.h"
#include "script/sandbox.h"

struct world {
    struct script *script;
    struct arena arena;
    struct err err;
    struct fields f;
};

static void open_world(struct world *w, const char *table)
{
    *w = (struct world){.script = script_new(&(struct script_options){0})};
    arena_init(&w->arena);
    char *text = mem_printf("return %s", table);
    if (!script_run(w->script, "regions.lua", str_from(text), &w->err))
        fail_msg("%s", w->err.text);
    free(text);
    assert_true(fields_begin(&w->f, script_state(w->script), -1, "regions.lua", "", &w->arena, &w->err));
}

/* Whatever was read, the stack holds the table alone. */
static void close_world(struct world *w)
{
    assert_int_equal(lua_gettop(script_state(w->script)), 1);
    script_free(w->script);
    arena_done(&w->arena);
}

static void test_values(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "{ name = 'eu', on = true, share = 0.5, slots = 3, whole = 4.0, wait = '1.5m',"
                   " seconds = 2.5, none = 0, aliases = { 'a', 'b' }, empty = {} }");
    const char *name = NULL;
    bool on = false;
    double share = 0;
    int64_t slots = 0, wait_us = 0;
    const char *const *list;
    size_t count;
    assert_true(field_string(&w.f, "name", &name));
    assert_string_equal(name, "eu");
    assert_true(field_bool(&w.f, "on", &on) && on);
    assert_true(field_number(&w.f, "share", 0, 1, &share) && fabs(share - 0.5) < 1e-9);
    assert_true(field_integer(&w.f, "slots", 1, 3, &slots) && slots == 3);
    assert_true(field_integer(&w.f, "whole", 1, 9, &slots) && slots == 4);
    assert_true(field_duration(&w.f, "wait", 0, &wait_us) && wait_us == 90 * SECOND_US);
    assert_true(field_duration(&w.f, "seconds", 0, &wait_us) && wait_us == 2500000);
    assert_true(field_duration(&w.f, "none", 0, &wait_us) && wait_us == 0);
    assert_true(field_strings(&w.f, "aliases", &list, &count) && count == 2);
    assert_string_equal(list[1], "b");
    assert_true(field_strings(&w.f, "empty", &list, &count) && count == 0);
    assert_int_equal(field_type(&w.f, "on"), LUA_TBOOLEAN);
    assert_int_equal(field_type(&w.f, "absent"), LUA_TNIL);
    slots = 77;
    assert_false(field_integer(&w.f, "absent", 0, 1, &slots));
    assert_int_equal(slots, 77);
    assert_true(fields_end(&w.f));
    close_world(&w);
}

static bool read_kind(struct fields *f, char kind)
{
    const char *string;
    bool flag;
    double number;
    int64_t integer = -5;
    const char *const *list;
    size_t count;
    struct fields nested;
    switch (kind) {
    case 's': return field_string(f, "key", &string);
    case 'b': return field_bool(f, "key", &flag);
    case 'n': return field_number(f, "key", 0, 1, &number);
    case 'i': return field_integer(f, "key", 1, 10, &integer);
    case 'd': return field_duration(f, "key", 1000, &integer);
    case 'l': return field_strings(f, "key", &list, &count);
    default: return field_table(f, "key", &nested);
    }
}

static void test_wrong_values(void **state)
{
    (void)state;
    static const struct { char kind; const char *value, *error; } table[] = {
        {'s', "3", "the number 3 is not a string (regions.lua: key): give a string"},
        {'s', "''", "an empty string (regions.lua: key): write something, or leave the key out"},
        {'s', "'a\\0b'", "a string with a zero byte in it (regions.lua: key): remove the \\0"},
        {'s', "{}", "a table is not a string (regions.lua: key): give a string"},
        {'s', "print", "a function is not a string (regions.lua: key): give a string"},
        {'b', "0", "the number 0 is not true or false (regions.lua: key): give true or false"},
        {'b', "'yes'", "\"yes\" is not true or false (regions.lua: key): give true or false"},
        {'n', "1.5", "the number 1.5 is not a number from 0 to 1 (regions.lua: key): give a number from 0 to 1"},
        {'n', "-1", "the number -1 is not a number from 0 to 1 (regions.lua: key): give a number from 0 to 1"},
        {'n', "0/0", NULL}, {'n', "1/0", NULL}, {'n', "-1/0", NULL}, {'n', "'0.5'", NULL},
        {'i', "0", "the number 0 is not a whole number from 1 to 10 (regions.lua: key): give a whole number from 1 to"
         " 10"},
        {'i', "11", NULL}, {'i', "1.5", NULL}, {'i', "'3'", NULL}, {'i', "1e30", NULL}, {'i', "0/0", NULL},
        {'i', "math.mininteger", NULL},
        {'d', "'soon'", "\"soon\" is not a duration: \"90s\", \"1.5m\" (ms s m h d), or a number of seconds"
         " (regions.lua: key): "
                        "give a duration: \"90s\", \"1.5m\" (ms s m h d), or a number of seconds"},
        {'d', "0.0001", "shorter than 1.0 ms (regions.lua: key): give a longer time"},
        {'d', "-1", NULL}, {'d', "1e300", NULL}, {'d', "0/0", NULL}, {'d', "'10'", NULL}, {'d', "{}", NULL},
        {'l', "'a'", "\"a\" is not a list of strings (regions.lua: key): give a list of strings"},
        {'l', "{ 'a', 3 }", "the number 3 is not a string (regions.lua: key): give a string"},
        {'l', "{ a = 'b' }", "is not a list of strings (regions.lua: key): give { \"...\", \"...\" }"},
        {'l', "{ 'a', nil, 'c' }", "has a hole in its list (regions.lua: key): remove the nil"},
        {'l', "{ 'a', '' }", NULL},
        {'t', "4", "the number 4 is not a table (regions.lua: key): give a table: { ... }"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct world w;
        char *text = mem_printf("{ key = %s }", table[i].value);
        open_world(&w, text);
        free(text);
        if (read_kind(&w.f, table[i].kind))
            fail_msg("%c of %s is read", table[i].kind, table[i].value);
        assert_true(w.f.failed);
        assert_int_equal(w.err.code, ERR_CONFIG);
        if (table[i].error)
            assert_string_equal(w.err.text, table[i].error);
        assert_false(fields_end(&w.f));
        close_world(&w);
    }
}

static void test_unknown_keys(void **state)
{
    (void)state;
    static const struct { const char *table, *error; } table[] = {
        {"{ slot = 1 }", "unknown key \"slot\" (regions.lua: slot): did you mean \"slots\"? known keys: slots url"},
        {"{ zzzzzzz = 1, yyyyyyy = 1 }", "unknown key \"yyyyyyy\" (regions.lua: yyyyyyy): known keys: slots url"},
        {"{ ['a b'] = 1 }", "unknown key \"a b\" (regions.lua: [\"a b\"]): known keys: slots url"},
        {"{ 'x' }", "a value without a name (regions.lua): give each value a name: NAME = value"},
        {"{ [true] = 1 }", "a value without a name (regions.lua): give each value a name: NAME = value"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct world w;
        open_world(&w, table[i].table);
        field_type(&w.f, "slots");
        field_type(&w.f, "url");
        assert_false(fields_end(&w.f));
        assert_string_equal(w.err.text, table[i].error);
        close_world(&w);
    }
}

static void test_nested(void **state)
{
    (void)state;
    struct world w;
    struct fields regions, eu, model;
    int64_t slots = 0;
    open_world(&w, "{ regions = { eu = { ['mistral/7b'] = { slot = 2 } } } }");
    assert_true(field_table(&w.f, "regions", &regions));
    assert_true(field_table(&regions, "eu", &eu));
    assert_true(field_table(&eu, "mistral/7b", &model));
    assert_string_equal(model.path, "regions.eu[\"mistral/7b\"]");
    assert_string_equal(field_path(&model, "slots"), "regions.eu[\"mistral/7b\"].slots");
    assert_false(field_integer(&model, "slots", 1, 9, &slots));
    assert_false(fields_end(&model));
    assert_string_equal(w.err.text, "unknown key \"slot\" (regions.lua: regions.eu[\"mistral/7b\"].slot): did you mean "
                                    "\"slots\"? known keys: slots");
    /* The failure goes up, and the first message stays. */
    assert_true(eu.failed && regions.failed && w.f.failed);
    assert_false(fields_end(&eu));
    assert_false(fields_end(&regions));
    field_fail(&w.f, "x", "cure", "another %s", "failure");
    assert_false(fields_end(&w.f));
    assert_non_null(strstr(w.err.text, "unknown key \"slot\""));
    close_world(&w);
}

static void test_metamethods_do_not_run(void **state)
{
    (void)state;
    struct world w;
    int64_t slots = 0;
    open_world(&w, "setmetatable({ slots = 2 }, { __index = function() error 'run' end, __pairs = error, __len ="
        " error })");
    assert_true(field_integer(&w.f, "slots", 1, 9, &slots));
    assert_false(field_integer(&w.f, "other", 1, 9, &slots));
    assert_true(fields_end(&w.f));
    close_world(&w);
}

static void test_not_a_table(void **state)
{
    (void)state;
    struct err err;
    struct arena arena;
    struct fields f;
    struct script *s = script_new(&(struct script_options){0});
    arena_init(&arena);
    assert_true(script_run(s, "regions.lua", STR("return 'text'"), &err));
    assert_false(fields_begin(&f, script_state(s), -1, "regions.lua", "", &arena, &err));
    assert_string_equal(err.text, "\"text\" is not a table (regions.lua): give a table: { ... }");
    assert_int_equal(lua_gettop(script_state(s)), 1);
    script_free(s);
    arena_done(&arena);
}

/* Reading needs no protected call, so it must not raise when not a byte is left. */
static void test_reads_without_memory(void **state)
{
    (void)state;
    struct script_limits limits = {5000000, 5000000, 1 << 20};
    struct script *s = script_new(&(struct script_options){.limits = &limits});
    struct err err;
    struct arena arena;
    struct fields f, nested;
    const char *name = NULL;
    int64_t wait_us = 0;
    arena_init(&arena);
    assert_true(script_run(s, "f.lua", STR("return { { name = 'eu', wait = '2s', more = { 1 } },"
                                           " function() local t = {} while true do t[#t + 1] = {} end end }"), &err));
    lua_rawgeti(script_state(s), 1, 2);
    assert_false(script_call(s, 0, 0, &err));
    assert_true(script_doomed(s));
    lua_rawgeti(script_state(s), 1, 1);
    assert_true(fields_begin(&f, script_state(s), -1, "f.lua", "", &arena, &err));
    assert_true(field_string(&f, "name", &name));
    assert_string_equal(name, "eu");
    assert_true(field_duration(&f, "wait", 0, &wait_us));
    assert_true(field_table(&f, "more", &nested));
    assert_false(fields_end(&nested));
    script_free(s);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_metamethods_do_not_run),
        cmocka_unit_test(test_not_a_table),
        cmocka_unit_test(test_reads_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
