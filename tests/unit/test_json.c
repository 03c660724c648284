/* JSON from and to Lua: what is read, what is refused, what comes out again, and where it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "script/sandbox.h"

static struct script *fresh(void)
{
    return script_new(&(struct script_options){0});
}

static void test_round_trips(void **state)
{
    (void)state;
    static const struct { const char *in, *out; } table[] = {
        {"null", "null"}, {"true", "true"}, {" false ", "false"}, {"0", "0"}, {"-0", "0"}, {"1", "1"}, {"-12", "-12"},
        {"1.0", "1"}, {"1e2", "100"}, {"0.1", "0.1"}, {"1.5e-7", "1.5e-07"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"9007199254740993", "9007199254740993"}, {"9223372036854775807", "9223372036854775807"},
        {"18446744073709551616", "1.8446744073709552e+19"}, {"1e300", "1e+300"}, {"\"\"", "\"\""}, {"\"a\"", "\"a\""},
        {"\"\\u0041\\n\\t\\\"\\\\\\/\"", "\"A\\n\\t\\\"\\\\/\""}, {"\"\\u00e9\"", "\"\xC3\xA9\""},
        {"\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\""}, {"\"\\udbff\\udfff\"", "\"\xF4\x8F\xBF\xBF\""},
        {"\"\\ud83d\"", "\"\xEF\xBF\xBD\""},
        {"\"\\ud83dx\"", "\"\xEF\xBF\xBDx\""}, {"\"\\ud83d\\u0041\"", "\"\xEF\xBF\xBD" "A\""},
        {"\"\\ude00\"", "\"\xEF\xBF\xBD\""}, {"\"a\\u0000b\"", "\"a\\u0000b\""},
        {"[]", "[]"}, {"{}", "{}"}, {"[ 1 , 2 ]", "[1,2]"}, {"[[],{},[[]]]", "[[],{},[[]]]"},
        {"{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"}, {"{\"a\":null,\"b\":[null,1]}", "{\"a\":null,\"b\":[null,1]}"},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}"}, {"{\"1\":1}", "{\"1\":1}"},
        {"{\"\":{\"aa\":1,\"a\":2}}", "{\"\":{\"a\":2,\"aa\":1}}"},
        {"\t\n\r {\"x\" : [ ] } \n", "{\"x\":[]}"},
    };
    struct script *s = fresh();
    struct buf out;
    buf_init(&out, 10000);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err;
        buf_clear(&out);
        if (!script_push_json(s, str_from(table[i].in), &err) || !script_add_json(s, -1, &out, &err))
            fail_msg("%s: %s", table[i].in, err.text);
        assert_string_equal(buf_str(&out).ptr, table[i].out);
        lua_pop(script_state(s), 1);
        assert_int_equal(lua_gettop(script_state(s)), 0);
    }
    buf_done(&out);
    script_free(s);
}

/* Short numbers are not read by strtod: they must be what it gives, to the last bit. */
static void test_numbers_like_strtod(void **state)
{
    (void)state;
    struct script *s = fresh();
    lua_State *L = script_state(s);
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned round = 0; round < 20000; round++) {
        char text[64];
        struct err err;
        unsigned whole = 1 + (unsigned)(rng_next(&rng) % 10), fraction = (unsigned)(rng_next(&rng) % 10);
        int len = rng_next(&rng) % 2 ? snprintf(text, 2, "-") : 0;
        text[len++] = (char)('1' + rng_next(&rng) % 9);
        for (unsigned i = 1; i < whole; i++)
            text[len++] = (char)('0' + rng_next(&rng) % 10);
        if (fraction)
            text[len++] = '.';
        for (unsigned i = 0; i < fraction; i++)
            text[len++] = (char)('0' + rng_next(&rng) % 10);
        if (rng_next(&rng) % 8 == 0)
            len += snprintf(text + len, 8, "e%d", (int)(rng_next(&rng) % 40) - 20);
        text[len] = '\0';
        assert_true(script_push_json(s, str_from(text), &err));
        bool integral = !strpbrk(text, ".e");
        assert_true(lua_isinteger(L, -1) == integral);
        if (lua_tonumber(L, -1) != strtod(text, NULL) || (integral && lua_tointeger(L, -1) != atoll(text)))
            fail_msg("%s is read as %.17g", text, lua_tonumber(L, -1));
        lua_pop(L, 1);
    }
    assert_true(script_push_json(s, STR("-0.0"), NULL));
    assert_true(1 / lua_tonumber(L, -1) < 0);
    script_free(s);
}

/* Tables of few and of many members are made in two ways. */
static void test_tables_of_any_size(void **state)
{
    (void)state;
    struct script *s = fresh();
    lua_State *L = script_state(s);
    struct buf list, object, out;
    buf_init(&list, 10000);
    buf_init(&object, 10000);
    buf_init(&out, 10000);
    for (unsigned size = 1; size < 70; size++) {
        buf_addf(&list, "%c[%u]", size == 1 ? '[' : ',', size);
        buf_addf(&object, "%c\"k%03u\":{\"v\":%u}", size == 1 ? '{' : ',', size, size);
        const struct { struct buf *text; char end; } both[] = {{&list, ']'}, {&object, '}'}};
        for (size_t i = 0; i < ARRAY_LEN(both); i++) {
            struct err err;
            struct buf *text = both[i].text;
            buf_addc(text, both[i].end);
            assert_true(script_push_json(s, buf_str(text), &err));
            buf_clear(&out);
            assert_true(script_add_json(s, -1, &out, &err));
            assert_string_equal(out.ptr, text->ptr);
            lua_pop(L, 1);
            assert_int_equal(lua_gettop(L), 0);
            assert_false(script_push_json(s, (struct str){text->ptr, text->len - 1}, &err));
            assert_int_equal(lua_gettop(L), 0);
            text->ptr[--text->len] = '\0';
        }
        /* The last of one name counts, wherever the first one was. */
        char again[16];
        struct err err;
        size_t len = object.len;
        buf_addf(&object, ",\"k%03u\":7}", 1 + size / 2);
        assert_true(script_push_json(s, buf_str(&object), &err));
        snprintf(again, sizeof again, "k%03u", 1 + size / 2);
        lua_pushstring(L, again);
        lua_rawget(L, -2);
        assert_int_equal(lua_tointeger(L, -1), 7);
        lua_pop(L, 2);
        object.len = len;
    }
    buf_done(&list);
    buf_done(&object);
    buf_done(&out);
    script_free(s);
}

/* Strings are looked at eight bytes at a time: what matters may stand anywhere in them. */
static void test_marks_anywhere_in_strings(void **state)
{
    (void)state;
    static const struct { const char *raw, *json; } marks[] = {
        {"\"", "\\\""}, {"\\", "\\\\"}, {"\n", "\\n"}, {"\x1f", "\\u001f"}, {"\x7f", "\\u007f"},
        {"\x80", "\xEF\xBF\xBD"}, {"\xff", "\xEF\xBF\xBD"}, {"\xC3\xBC", "\xC3\xBC"}, {"\xC2\x80", "\\u0080"},
        {"!", "!"}, {"~", "~"}, {" ", " "},
    };
    struct script *s = fresh();
    lua_State *L = script_state(s);
    struct buf raw, json, out;
    buf_init(&raw, 1000);
    buf_init(&json, 1000);
    buf_init(&out, 1000);
    for (size_t at = 0; at < 20; at++)
        for (size_t i = 0; i < ARRAY_LEN(marks); i++)
            for (size_t after = 0; after < 20; after++) {
                buf_clear(&raw);
                buf_clear(&json);
                buf_clear(&out);
                buf_addf(&raw, "%.*s%s%.*s", (int)at, "abcdefghijklmnopqrst", marks[i].raw, (int)after,
                         "ABCDEFGHIJKLMNOPQRST");
                buf_addf(&json, "\"%.*s%s%.*s\"", (int)at, "abcdefghijklmnopqrst", marks[i].json, (int)after,
                         "ABCDEFGHIJKLMNOPQRST");
                lua_pushlstring(L, raw.ptr, raw.len);
                assert_true(script_add_json(s, -1, &out, NULL));
                assert_string_equal(out.ptr, json.ptr);
                lua_pop(L, 1);
                assert_true(script_push_json(s, buf_str(&json), NULL));
                if (marks[i].json[0] != '\xEF')
                    assert_string_equal(lua_tostring(L, -1), raw.ptr);
                lua_pop(L, 1);
            }
    buf_done(&raw);
    buf_done(&json);
    buf_done(&out);
    script_free(s);
}

static char *nested(char open, char close, int depth)
{
    char *text = mem_alloc((size_t)depth * 2 + 1);
    memset(text, open, (size_t)depth);
    memset(text + depth, close, (size_t)depth);
    text[2 * depth] = '\0';
    return text;
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct { const char *in, *error; } table[] = {
        {"", "malformed JSON at byte 1: it ends too early"}, {"   ", "malformed JSON at byte 4: it ends too early"},
        {"nul", NULL}, {"nulls", "malformed JSON at byte 5: something follows the value"}, {"tru", NULL}, {"NaN", NULL},
        {"Infinity", NULL}, {"-", NULL}, {"+1", NULL}, {"01", "malformed JSON at byte 1: a number starts with 0"},
        {"1.", NULL}, {".5", NULL}, {"1e", NULL}, {"1e+", NULL}, {"0x10", NULL}, {"1e999", NULL}, {"--1", NULL},
        {"\"a", "malformed JSON at byte 3: a string does not end"}, {"\"a\\", NULL}, {"\"\\x\"", NULL},
        {"\"\\u12\"", NULL}, {"\"\\u12g4\"", NULL}, {"\"\\u\"", NULL}, {"'a'", NULL}, {"[", NULL}, {"[1", NULL},
        {"[1,", NULL}, {"[1,]", NULL}, {"[,1]", NULL}, {"[1 2]", NULL}, {"]", NULL}, {"{", NULL}, {"{\"a\"", NULL},
        {"{\"a\":", NULL}, {"{\"a\":1", NULL}, {"{\"a\":1,}", NULL}, {"{a:1}", NULL}, {"{\"a\" 1}", NULL},
        {"{1:1}", NULL},
        {"{}x", NULL}, {"[]]", NULL}, {"1 1", NULL}, {"/* */ 1", NULL}, {"[1}", NULL}, {"{\"a\":1]", NULL},
    };
    struct script *s = fresh();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err;
        if (script_push_json(s, str_from(table[i].in), &err))
            fail_msg("read: %s", table[i].in);
        if (table[i].error)
            assert_string_equal(err.text, table[i].error);
        else
            assert_non_null(strstr(err.text, "malformed JSON at byte"));
        assert_int_equal(lua_gettop(script_state(s)), 0);
    }
    script_free(s);
}

static void test_depth(void **state)
{
    (void)state;
    struct script *s = fresh();
    struct err err;
    struct buf out;
    buf_init(&out, 10000);
    for (int depth = 98; depth <= 103; depth++) {
        char *text = nested('[', ']', depth);
        bool ok = script_push_json(s, str_from(text), &err);
        assert_true(ok == (depth <= 100));
        if (ok) {
            buf_clear(&out);
            assert_true(script_add_json(s, -1, &out, &err));
            assert_string_equal(buf_str(&out).ptr, text);
            lua_pop(script_state(s), 1);
        }
        free(text);
    }
    char *deep = nested('[', ']', 4000000);
    assert_false(script_push_json(s, str_from(deep), &err));
    assert_non_null(strstr(err.text, "nested more than 100 deep"));
    free(deep);
    buf_done(&out);
    script_free(s);
}

static void test_size(void **state)
{
    (void)state;
    struct script *s = fresh();
    struct err err;
    size_t len = (16u << 20) + 1;
    char *text = mem_alloc(len);
    memset(text, ' ', len);
    text[0] = '1';
    assert_true(script_push_json(s, (struct str){text, len - 1}, &err));
    assert_false(script_push_json(s, (struct str){text, len}, &err));
    assert_non_null(strstr(err.text, "more than 16777216 bytes"));
    free(text);

    struct buf out;
    buf_init(&out, 10);
    assert_true(script_push_json(s, STR("[1,2,3,4,5,6,7]"), &err));
    assert_false(script_add_json(s, -1, &out, &err));
    assert_non_null(strstr(err.text, "more than 10 bytes"));
    buf_done(&out);
    assert_false(script_doomed(s));
    script_free(s);
}

/* What a script sees: each line is true. */
static void test_in_scripts(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "json.text 'a' == 'a' and json.text '' == '' and json.text(1) == nil and json.text(json.null) == nil",
        "json.count(3) == 3 and json.count(0) == 0 and json.count(4.0) == 4 and json.count(2^53) == 2^53",
        "not (json.count(-1) or json.count(0.5) or json.count(2^54) or json.count(0/0))",
        "not (json.count '3' or json.count() or json.count(json.null))",
        "json.object({7})[1] == 7 and json.object(json.null).a == nil and #json.object('x') == 0",
        "fails('read%-only', function() json.object(nil).a = 1 end)",
        "json.encode {1, 2, 'x', true} == '[1,2,\"x\",true]'",
        "json.encode {} == '{}' and json.encode(json.array()) == '[]' and json.encode(json.array {}) == '[]'",
        "json.encode(json.array {1}) == '[1]' and json.encode {json.null} == '[null]'",
        "json.encode {a = {b = 1.0}} == '{\"a\":{\"b\":1}}' and json.encode(2^53) == '9007199254740992'",
        "json.encode(0.1) == '0.1' and json.encode(1/3) == '0.3333333333333333'",
        "json.encode {1, nil, 3} == '[1,null,3]' and json.encode 'a\\0\\n\"' == '\"a\\\\u0000\\\\n\\\\\"\"'",
        "json.decode('[1, 2]')[2] == 2 and math.type(json.decode '1') == 'integer' and json.decode 'null' == json.null",
        "json.decode('{\"a\": {\"b\": []}}').a.b ~= nil",
        "json.encode(json.decode '{\"a\": []}') == '{\"a\":[]}'",
        "(function() local t = json.decode '[]' t[1] = 5 return json.encode(t) end)() == '[5]'",
        "fails('a function cannot be written as JSON', json.encode, print)",
        "fails('under \"bad\"', json.encode, {good = 1, bad = {print}})",
        "fails('under \"bad\"', json.encode, {bad = 0/0})",
        "fails('not finite', json.encode, 1/0)",
        "fails('both list items and names', json.encode, {1, a = 2})",
        "fails('both list items and names', json.encode, json.array {a = 2})",
        "fails('neither a name nor', json.encode, {[1.5] = 1})",
        "fails('neither a name nor', json.encode, {[true] = 1})",
        "fails('neither a name nor', json.encode, {[0] = 1})",
        "fails('large gaps', json.encode, {[1000] = 1})",
        "fails('malformed JSON at byte 2', json.decode, '[')",
        "fails('string expected', json.decode, {})",
        "fails('value expected', json.encode)",
        "fails('nested more than 100', json.encode, (function() local t = {} t.t = t return t end)())",
        "fails('without a metatable', json.array, setmetatable({}, {}))",
        "fails('read%-only', function() json.null = 1 end) and json.encode_max_depth == nil and json.new == nil",
        "fails('thread', json.encode, coroutine.create(print))",
    };
    struct script *s = fresh();
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char *text = mem_printf("local json = require 'json' local function fails(what, f, ...)"
                                " local ok, e = pcall(f, ...)"
                                " if ok or not tostring(e):find(what) then error(tostring(e)) end return true end"
                                " return (%s) or error('it is false')", lines[i]);
        struct err err;
        if (!script_run(s, "x.lua", str_from(text), &err))
            fail_msg("%s: %s", lines[i], err.text);
        lua_settop(script_state(s), 0);
        free(text);
    }
    script_free(s);
}

/* Tables that hold the same table twice, thirty times over, are small in memory and endless as text. */
static void test_writing_is_bounded(void **state)
{
    (void)state;
    struct script_limits limits = {40000, 40000, 8u << 20};
    static const struct { const char *text, *error; } table[] = {
        {"local t = {} for i = 1, 90 do t = {t, t} end return require('json').encode(t)", NULL},
        {"local t = ('x'):rep(1000000) for i = 1, 20 do t = {t, t} end return require('json').encode(t)",
         "JSON of more than 16777216 bytes is not written"},
        {"local j = require 'json' local s = '[' .. ('1,'):rep(100000) .. '1]' while true do j.decode(s) end",
         "stopped after 0.04 s of CPU time"},
        {"local j = require 'json' local t = {} for i = 1, 10000 do t[i] = i end while true do j.encode(t) end",
         "stopped after 0.04 s of CPU time"},
        {"return require('json').decode('[' .. ('[1,2],'):rep(600000) .. '1]')", "went over 8 MB of memory"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct script_limits patient = {20000000, 20000000, 8u << 20};
        bool time = i == 2 || i == 3;
        struct script *s = script_new(&(struct script_options){.limits = time ? &limits : &patient});
        struct err err;
        assert_false(script_run(s, "x.lua", str_from(table[i].text), &err));
        if (table[i].error && !strstr(err.text, table[i].error))
            fail_msg("%s: %s", table[i].text, err.text);
        script_free(s);
    }
}

/* Damaged JSON is read or refused, and never more than that (run under sanitizers). */
static void test_damaged(void **state)
{
    (void)state;
    static const char whole[] = "{\"a\": [1, -2.5e3, \"x\\u00e9\\ud83d\\ude00\\n\", null, true],"
                                " \"b\": {\"c\": [[], {}]}}";
    static const char bytes[] = "{}[]\",:\\u0e1-+. \n\x80\xFFntf";
    struct script *s = fresh();
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 30000; i++) {
        size_t len = sizeof whole - 1 - (rng_unit(&r) < 0.3 ? rng_next(&r) % (sizeof whole - 1) : 0);
        char *text = mem_dup(whole, len);
        for (uint64_t n = 1 + rng_next(&r) % 3; n > 0 && len > 0; n--)
            text[rng_next(&r) % len] = bytes[rng_next(&r) % (sizeof bytes - 1)];
        struct err err;
        if (script_push_json(s, (struct str){text, len}, &err))
            lua_pop(script_state(s), 1);
        assert_int_equal(lua_gettop(script_state(s)), 0);
        free(text);
    }
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_numbers_like_strtod),
        cmocka_unit_test(test_tables_of_any_size),
        cmocka_unit_test(test_marks_anywhere_in_strings),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_in_scripts),
        cmocka_unit_test(test_writing_is_bounded),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
