/* Calls and coroutines of scripts, what honest ones may do, and what is left when memory runs out. */
#include "sandbox_fixture.h"

/* ---- calls ---- */

static void test_each_call_has_its_own_budget(void **state)
{
    (void)state;
    struct err err;
    struct script_limits limits = {.load_us = 30000, .call_us = 30000, .memory_bytes = 8u << 20};
    struct script *s = script_new(&(struct script_options){.limits = &limits});
    assert_true(run(s, "return function() for i = 1, 100000 do end end", &err));
    for (int i = 0; i < 200; i++) { /* together far beyond one budget */
        lua_pushvalue(script_state(s), 1);
        if (!script_call(s, 0, 0, &err))
            fail_msg("%s", err.text);
    }
    script_free(s);
}

static void test_call_leaves_the_stack_as_promised(void **state)
{
    (void)state;
    struct err err;
    struct script *s = fresh();
    lua_State *L = script_state(s);
    assert_true(run(s, "return function(a, b) if b then error('no') end return a, a + 1 end", &err));
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 5);
    assert_true(script_call(s, 1, LUA_MULTRET, &err));
    assert_int_equal(lua_gettop(L), 3);
    assert_int_equal(lua_tointeger(L, 3), 6);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 5);
    lua_pushboolean(L, true);
    assert_false(script_call(s, 2, 3, &err));
    assert_string_equal(err.text, "job.lua:1: no");
    assert_int_equal(err.code, ERR_SCRIPT);
    assert_int_equal(lua_gettop(L), 1);
    script_free(s);
}

static void test_traceback_names_own_frames(void **state)
{
    (void)state;
    struct err err;
    struct script *s = fresh();
    assert_false(run(s, "local function inner()\nerror('deep')\nend\nlocal function outer()\ninner()\nreturn 1\nend\n"
                        "outer()\nreturn 1", &err));
    assert_string_equal(err.text, "job.lua:2: deep\n  at job.lua:5 in function 'outer'\n  at job.lua:8 in the main"
        " chunk");
    assert_int_equal(err.code, ERR_CONFIG);
    assert_false(run(s, "return {} .. 'x'", &err));
    assert_has(err.text, "job.lua:1: attempt to concatenate");
    assert_null(strstr(err.text, "[C]"));
    script_free(s);
}

/* ---- coroutines from C ---- */

static lua_State *coroutine_of(struct script *s)
{
    lua_State *L = script_state(s), *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return co;
}

static void test_resume(void **state)
{
    (void)state;
    struct err err;
    int n = 0;
    struct script *s = fresh();
    assert_true(run(s, "return function(a) local b = coroutine.yield(a, a) if b == 'fail' then error('as asked') end"
                       " return b end", &err));
    lua_State *co = coroutine_of(s);
    assert_ptr_equal(script_of(co), s);
    lua_pushinteger(co, 7);
    assert_int_equal(script_resume(s, co, 1, &n, &err), SCRIPT_YIELDED);
    assert_int_equal(n, 2);
    lua_pop(co, 2);
    lua_pushinteger(co, 8);
    assert_int_equal(script_resume(s, co, 1, &n, &err), SCRIPT_DONE);
    assert_int_equal(lua_tointeger(co, -1), 8);

    co = coroutine_of(s);
    assert_int_equal(script_resume(s, co, 0, &n, &err), SCRIPT_YIELDED);
    lua_pop(co, n);
    lua_pushstring(co, "fail");
    assert_int_equal(script_resume(s, co, 1, &n, &err), SCRIPT_FAILED);
    assert_string_equal(err.text, "job.lua:1: as asked");
    assert_int_equal(script_resume(s, co, 0, &n, &err), SCRIPT_FAILED);
    assert_false(script_doomed(s));
    script_free(s);
}

static void test_resume_runs_pending_close_and_dooms(void **state)
{
    (void)state;
    struct err err;
    int n = 0;
    struct script *s = fresh();
    assert_true(run(s, "local log = {} return function(what) if what == 'log' then return #log end"
                       " local x <close> = setmetatable({}, {__close = function() log[1] = 1 end})"
                       " if what == 'loop' then while true do end end error('x') end", &err));
    lua_State *co = coroutine_of(s);
    assert_int_equal(script_resume(s, co, 0, &n, &err), SCRIPT_FAILED);
    lua_pushvalue(script_state(s), 1);
    lua_pushstring(script_state(s), "log");
    assert_true(script_call(s, 1, 1, &err));
    assert_int_equal(lua_tointeger(script_state(s), -1), 1);

    co = coroutine_of(s);
    lua_pushstring(co, "loop");
    assert_int_equal(script_resume(s, co, 1, &n, &err), SCRIPT_FAILED);
    assert_has(err.text, "stopped after");
    assert_true(script_doomed(s));
    co = NULL;
    assert_false(run(s, "return 1", &err));
    script_free(s);
}

/* ---- what honest scripts may do ---- */

static void collect(void *ctx, const char *line)
{
    struct buf *b = ctx;
    buf_addf(b, "%s|", line);
}

static int module_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushinteger(L, 42);
    lua_setfield(L, -2, "answer");
    return 1;
}

static void test_honest(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "string.format('%5.2f|%s|%q', 1.5, nil, 'x') == ' 1.50|nil|\"x\"'",
        "('a,b'):find(',', 1, true) == 2",
        "('x'):rep(3, '-') == 'x-x-x' and ('x'):rep(0) == '' and ('x'):rep(-1) == '' and (''):rep(1 << 60) == ''",
        "table.concat({1, 2, 3}, '-', 2) == '2-3' and table.concat({}) == ''",
        "select('#', table.unpack({1, nil, 3}, 1, 3)) == 3",
        "#table.move({1, 2, 3}, 1, 3, 3) == 5",
        "(function() local t = {1, 2, 3} table.insert(t, 2, 9) table.insert(t, 4)"
        " return table.concat(t, ' ') end)() == '1 9 2 3 4'",
        "(function() local t = {1, 2, 3} return table.remove(t, 1) + table.remove(t) + #t end)() == 5",
        "table.remove({}) == nil and table.remove({}, 0) == nil and not pcall(table.remove, {1}, 5)",
        "not pcall(table.insert, {}, 5, 1) and not pcall(table.insert, {}) and not pcall(table.insert, {}, 1, 2, 3)",
        "(function() local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t[1] end)() == 3",
        "coroutine.wrap(function(...) return select('#', ...) end)(1, nil, nil) == 3",
        "(function() local c = coroutine.create(function() error {code = 7} end) local ok, e = coroutine.resume(c)"
        " return not ok and e.code == 7 and coroutine.status(c) == 'dead' and not coroutine.close(c) end)()",
        "(function() local ok, e = pcall(coroutine.wrap(function() error('x', 0) end)) return e end)():find('x') ~="
        " nil",
        "select(2, xpcall(error, function(e) return e .. '!' end, 'x')) == 'x!'",
        "(function() local n = 0 for k, v in pairs(string) do n = n + 1 end return n end)() > 10",
        "string.pack == nil and getmetatable('').__index.find ~= nil and #'abc' == ('abc'):len()",
        "utf8.len('\\u{4E2D}x') == 2 and utf8.char(228) == '\\u{E4}' and tonumber('ff', 16) == 255",
        "rawequal(_G, _G) and _G.print == print and _ENV == _G",
        "require 'mine' == require 'mine' and require('mine').answer == 42",
        "settings.size == 3 and not pcall(function() settings.size = 4 end) and settings.size == 3",
        "'10' + 1 == 11 and ('5'):rep(2) * 1 == 55",
        "(function() local t <close> = setmetatable({}, {__close = function() end}) return true end)()",
        "setmetatable({}, nil) ~= nil and getmetatable(setmetatable({}, {__name = 'x'})).__name == 'x'",
        "math.type(3) == 'integer' and undefined_name == nil",
    };
    struct buf printed;
    buf_init(&printed, 10000);
    struct script *s = script_new(&(struct script_options){.limits = &small, .print = collect, .ctx = &printed});
    script_module(s, "mine", module_open);
    struct err err;
    assert_true(run(s, "return {size = 3}", &err));
    script_global(s, "settings");
    assert_int_equal(lua_gettop(script_state(s)), 0);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char *text = mem_printf("return (%s) or error('it is false')", lines[i]);
        if (!run(s, text, &err))
            fail_msg("%s: %s", lines[i], err.text);
        free(text);
        lua_settop(script_state(s), 0);
    }
    assert_true(run(s, "print('a', nil, 1.5) print('two\\nlines\\0') return 1", &err));
    assert_string_equal(buf_str(&printed).ptr, "a\tnil\t1.5|two lines |");
    script_free(s);
    buf_done(&printed);
}

static void test_same_random_numbers_in_each_state(void **state)
{
    (void)state;
    lua_Integer drawn[2];
    for (int i = 0; i < 2; i++) {
        struct script *s = fresh();
        struct err err;
        assert_true(run(s, "return math.random(0)", &err));
        drawn[i] = lua_tointeger(script_state(s), 1);
        assert_true(run(s, "math.randomseed() return math.random(0)", &err));
        assert_int_equal(lua_tointeger(script_state(s), 2), drawn[i]);
        assert_true(run(s, "math.randomseed(7) return math.random(0)", &err));
        assert_int_not_equal(lua_tointeger(script_state(s), 3), drawn[i]);
        script_free(s);
    }
    assert_int_equal(drawn[0], drawn[1]);
}

/* ---- out of memory at every step of a script's life ---- */

static void test_memory_runs_out_anywhere(void **state)
{
    (void)state;
    for (int kb = 0; kb < 400; kb += 7) {
        struct script *s = script_new(&(struct script_options){.limits = &(struct script_limits){1000000, 1000000, 0}});
        struct err err;
        char *text = mem_printf("local keep = ('x'):rep(600000 + %d * 1024) local t = {} for i = 1, 300 do"
                                " t[i] = {i, tostring(i)} end return function(x) return keep, {x, x}, x .. 'y' end",
                                kb);
        if (run(s, text, &err)) {
            lua_pushvalue(script_state(s), 1);
            lua_pushinteger(script_state(s), 1);
            if (script_call(s, 1, 3, &err))
                lua_pop(script_state(s), 3);
            struct err json_err;
            if (script_push_json(s, STR("{\"a\": [1, 2, {\"b\": \"text\"}]}"), &json_err))
                script_global(s, "data");
        } else {
            assert_non_null(strstr(err.text, "memory"));
        }
        script_free(s);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call_has_its_own_budget),
        cmocka_unit_test(test_call_leaves_the_stack_as_promised),
        cmocka_unit_test(test_traceback_names_own_frames),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_runs_pending_close_and_dooms),
        cmocka_unit_test(test_honest),
        cmocka_unit_test(test_same_random_numbers_in_each_state),
        cmocka_unit_test(test_memory_runs_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
