/* Scripts that mean harm, and what the sandbox says to them. */
#include "sandbox_fixture.h"

enum verdict { TIME, MEMORY, ERROR };

static const struct hostile {
    const char *name;
    enum verdict verdict;
    const char *error; /* for ERROR: part of the message */
    const char *text;
} hostile[] = {
    {"loop", TIME, NULL, "while true do end"},
    {"goto", TIME, NULL, "::a:: goto a"},
    {"numeric for", TIME, NULL, "for i = 1, math.huge do end"},
    {"pcall loop", TIME, NULL, "while true do pcall(function() while true do end end) end"},
    {"pcall swallows", TIME, NULL, "pcall(function() while true do end end) return 1"},
    {"many pcalls", TIME, NULL, "for i = 1, 50 do pcall(function() while true do end end) end return {}"},
    {"pcall of pcall", TIME, NULL, "pcall(pcall, pcall, function() while true do end end) while true do end"},
    {"xpcall handler", TIME, NULL,
     "xpcall(function() while true do end end, function() while true do end end) return {}"},
    {"xpcall handler that fails", TIME, NULL,
     "local function h() error(1) end while true do xpcall(error, h) end"},
    {"coroutine", TIME, NULL, "coroutine.wrap(function() while true do end end)()"},
    {"coroutine that is resumed", TIME, NULL,
     "local function f() while true do end end while true do coroutine.resume(coroutine.create(f)) end"},
    {"old coroutines", TIME, NULL,
     "local cs = {} for i = 1, 100 do cs[i] = coroutine.create(function() coroutine.yield() while true do end end)"
     " coroutine.resume(cs[i]) end for i = 1, 100 do coroutine.resume(cs[i]) end while true do end"},
    {"nested coroutines", TIME, NULL,
     "local function deep(n) if n == 0 then while true do end end"
     " coroutine.resume(coroutine.create(deep), n - 1) while true do end end deep(50)"},
    {"coroutine and close", TIME, NULL,
     "local function f() local x <close> = setmetatable({}, {__close = function() while true do end end})"
     " while true do end end coroutine.wrap(f)() return {}"},
    {"coroutine.close", TIME, NULL,
     "local c = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() while true do end"
     " end}) coroutine.yield() end) coroutine.resume(c) coroutine.close(c) return {}"},
    {"failed coroutine, then close", TIME, NULL,
     "local c = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() while true do end"
     " end}) while true do end end) pcall(coroutine.resume, c) coroutine.close(c) return {}"},
    {"__index", TIME, NULL, "local t = setmetatable({}, {__index = function() while true do end end}) return t.x"},
    {"__close", TIME, NULL,
     "do local x <close> = setmetatable({}, {__close = function() while true do end end}) end return {}"},
    {"__close after the budget", TIME, NULL,
     "local function loop() while true do end end pcall(function() local x <close> = setmetatable({}, {__close = loop})"
     " local y <close> = setmetatable({}, {__close = loop}) loop() end) return {}"},
    {"sort comparator", TIME, NULL, "table.sort({3, 2, 1}, function() while true do end end)"},
    {"gsub callback", TIME, NULL, "return (('x'):gsub('x', function() while true do end end))"},
    {"__tostring of an error", TIME, NULL,
     "error(setmetatable({}, {__tostring = function() while true do end end}))"},
    {"tostring", TIME, NULL, "return tostring(setmetatable({}, {__tostring = function() while true do end end}))"},
    {"__pairs", TIME, NULL, "for k in pairs(setmetatable({}, {__pairs = function() while true do end end})) do end"},
    {"recursion", MEMORY, NULL, "local function f() return 1 + f() end f()"},
    {"recursion, caught for ever", TIME, NULL,
     "local function f() pcall(f) return 1 + f() end while true do pcall(f) end"},
    {"recursion through metamethods", ERROR, "overflow",
     "local t = setmetatable({}, {__index = function(t, k) return t[k .. 'x'] end}) return t.a"},
    {"tail calls", TIME, NULL, "local function f() return f() end return f()"},

    {"rep", ERROR, "string too large", "return ('x'):rep(1e9)"},
    {"rep of nothing", ERROR, "returns 0 values", "local s = (''):rep(1e18 // 1 | 0)"},
    {"rep with a separator", ERROR, "string too large", "return ('x'):rep(1 << 40, ('y'):rep(1000))"},
    {"rep that overflows", ERROR, "string too large", "return ('xxxx'):rep(1 << 62)"},
    {"rep through pcall", TIME, NULL, "while true do pcall(string.rep, 'x', 2000000) end"},
    {"table.move", ERROR, "too many elements", "table.move({}, 1, 1e15, 2)"},
    {"table.move around", ERROR, "too many elements", "table.move({}, math.mininteger, math.maxinteger, 2)"},
    {"table.insert and a lying length", ERROR, "too many elements",
     "table.insert(setmetatable({}, {__len = function() return 1 << 50 end}), 1, 'x')"},
    {"a length that lies the second time", ERROR, "too many elements",
     "local n = 0 local t = setmetatable({}, {__len = function() n = n + 1 return n > 1 and 1 << 50 or 3 end})"
     " table.insert(t, 1, 'x') table.insert(t, 1, 'x')"},
    {"table.remove and a lying length", ERROR, "too many elements",
     "table.remove(setmetatable({}, {__len = function() return 1 << 50 end}), 1)"},
    {"table.concat and a lying length", ERROR, "too many elements",
     "table.concat(setmetatable({}, {__len = function() return 1 << 50 end, __index = function() return '' end}))"},
    {"table.unpack", ERROR, "too many", "return table.unpack({}, 1, 1e8)"},
    {"table.sort and a lying length", ERROR, "__len",
     "table.sort(setmetatable({}, {__len = function() return 1 << 30 end, __index = rawlen}))"},
    {"string.char", ERROR, "too many", "return string.char(table.unpack({}, 1, 3000000))"},
    {"format", ERROR, "invalid conversion", "return ('%999999d'):format(1)"},
    {"catastrophic pattern", TIME, NULL, "return (('a'):rep(100)):find(('a*'):rep(30) .. 'b')"},
    {"catastrophic gsub", TIME, NULL, "return (('a'):rep(100)):gsub(('.-'):rep(20) .. 'b', '')"},
    {"catastrophic gmatch", TIME, NULL, "for m in (('a'):rep(100)):gmatch(('a-'):rep(30) .. 'b') do end"},
    {"balance", TIME, NULL, "return (('('):rep(1000000)):find('%b()')"},
    {"a long set", TIME, NULL, "return (('b'):rep(1000000)):find('[' .. ('a'):rep(100000) .. ']')"},
    {"a quiet loop of C calls", TIME, NULL, "local s = ('x'):rep(2000000) while true do s:upper() end"},
    {"comparing long strings", TIME, NULL,
     "local a, b = ('x'):rep(2000000) .. 'a', ('x'):rep(2000000) .. 'b' while true do local c = a < b end"},
    {"concatenation", TIME, NULL, "local s = ('x'):rep(1000000) while true do local c = s .. s end"},

    {"strings", MEMORY, NULL, "local s = 'x' while true do s = s .. s end"},
    {"a table", MEMORY, NULL, "local t = {} for i = 1, 1e9 do t[i] = i end"},
    {"tables", MEMORY, NULL, "local t = {} while true do t = {t} end"},
    {"closures", MEMORY, NULL, "local t = {} while true do local up = {} t[#t + 1] = function() return up end end"},
    {"coroutines", MEMORY, NULL, "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end"},
    {"memory, caught", MEMORY, NULL,
     "pcall(function() local t = {} for i = 1, 1e9 do t[i] = i end end) return {}"},
    {"memory in a coroutine", MEMORY, NULL,
     "coroutine.resume(coroutine.create(function() local t = {} for i = 1, 1e9 do t[i] = i end end)) return {}"},
    {"memory in a buffer", MEMORY, NULL,
     "local t, s = {}, ('x'):rep(3000000) for i = 1, 9 do t[i] = s end return (table.concat(t))"},

    {"error with nothing", ERROR, "without a message", "error()"},
    {"error with a table", ERROR, "a table", "error({})"},
    {"error with a message field", ERROR, "what went wrong", "error({message = 'what went wrong'})"},
    {"error with __tostring", ERROR, "from tostring",
     "error(setmetatable({}, {__tostring = function() return 'from tostring' end}))"},
    {"error with a __tostring that fails", ERROR, "a table",
     "error(setmetatable({}, {__tostring = function() error('again') end}))"},
    {"error with a __tostring that returns no text", ERROR, "a table",
     "error(setmetatable({}, {__tostring = function() return {} end}))"},
    {"error with a function", ERROR, "a function", "error(print)"},
    {"error with a number", ERROR, "42", "error(42)"},
    {"error in a coroutine", ERROR, "job.lua:1: inside", "coroutine.wrap(function() error('inside') end)()"},

    {"deep parentheses", ERROR, "overflow", "return " "((((((((((((((((((((((((((((((((((((((((((((((((((" "(((((((((("
     "((((((((((((((((((((((((((((((((((((((((((((((((((" "((((((((((((((((((((((((((((((((((((((((((((((((((("
     "((((((((((((((((((((((((((((((((((((((((((((((((((" "1"},
    {"__gc", ERROR, "__gc is not available", "setmetatable({}, {__gc = function() while true do end end})"},
    {"__gc as a placeholder", ERROR, "__gc is not available", "setmetatable({}, {__gc = false})"},
    {"bytecode", ERROR, "precompiled", "\x1bLua"},
    {"a yield outside", ERROR, "outside a coroutine", "coroutine.yield()"},
    {"io", ERROR, "global 'io'", "return io.open('/etc/passwd')"},
    {"os", ERROR, "global 'os'", "return os.execute('true')"},
    {"load", ERROR, "global 'load'", "return load('return 1')"},
    {"dofile", ERROR, "global 'dofile'", "return dofile('/etc/passwd')"},
    {"loadfile", ERROR, "global 'loadfile'", "return loadfile('/etc/passwd')"},
    {"collectgarbage", ERROR, "global 'collectgarbage'", "collectgarbage('stop')"},
    {"debug", ERROR, "global 'debug'", "debug.sethook()"},
    {"package", ERROR, "global 'package'", "return package.loaded"},
    {"string.dump", ERROR, "field 'dump'", "return string.dump(function() end)"},

    {"a global", ERROR, "cannot set the global \"count\"", "count = 1"},
    {"a global function", ERROR, "cannot set the global \"helper\"", "function helper() end"},
    {"a global through _G", ERROR, "cannot set the global \"x\"", "_G.x = 1"},
    {"a library", ERROR, "cannot set \"find\" in string", "string.find = nil"},
    {"a library through rawset", ERROR, "read-only", "rawset(string, 'find', print)"},
    {"a library through pairs", ERROR, "cannot set \"x\"", "local _, t = pairs(string) t.x = 1"},
    {"a library through table.insert", ERROR, "in math", "table.insert(math, 1)"},
    {"the globals through rawset", ERROR, "read-only", "rawset(_G, 'x', 1)"},
    {"the metatable of strings", ERROR, "in the metatable of strings", "getmetatable('').__index = {}"},
    {"string behind the metatable", ERROR, "cannot set \"x\" in string", "getmetatable('').__index.x = 1"},
    {"a metatable of a library", ERROR, "protected metatable", "setmetatable(string, {})"},

    {"require without a folder", ERROR, "has no folder", "require 'x'"},
    {"syntax", ERROR, "job.lua:2:", "return {\n  a = = 1 }"},
    {"nothing returned", ERROR, "returns 0 values (job.lua)", "local x = 1"},
    {"two values returned", ERROR, "returns 2 values", "return 1, 2"},
};

/* The message, or NULL if all went as it must. */
static const char *check_hostile(const struct hostile *h, struct err *err)
{
    static const char *const parts[] = {
        [TIME] = "stopped after 0.04 s of CPU time", [MEMORY] = "went over 8 MB of memory",
    };
    const char *problem = NULL;
    struct script *s = script_new(&(struct script_options){.limits = h->verdict == MEMORY ? &patient : &small});
    bool ran = run(s, h->text, err);
    if (ran)
        err_set(err, ERR_NONE, "no error");
    if (ran || !strstr(err->text, h->verdict == ERROR ? h->error : parts[h->verdict]))
        problem = "another error was expected";
    else if (script_doomed(s) != (h->verdict != ERROR))
        problem = "doomed is wrong";
    else if (lua_gettop(script_state(s)) != 0)
        problem = "something is left on the stack";
    else if (script_memory(s) > small.memory_bytes + (256u << 10))
        problem = "it holds more memory than it may";
    else if (run(s, "return 1", &(struct err){0}) != (h->verdict == ERROR)) /* doomed for good, or unharmed */
        problem = "afterwards it runs, or does not, wrongly";
    script_free(s);

    s = fresh();
    if (!run(s, "return 1", &(struct err){0}))
        problem = "another state was harmed";
    script_free(s);
    return problem;
}

static void test_hostile(void **state)
{
    (void)state;
    unsigned problems = 0;
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        struct err err;
        const char *problem = check_hostile(&hostile[i], &err);
        if (problem)
            print_error("%s: %s: %s\n", hostile[i].name, problem, err.text);
        problems += problem != NULL;
    }
    assert_int_equal(problems, 0);
}

static void test_stack_overflow_is_an_ordinary_error(void **state)
{
    (void)state;
    struct script *s = script_new(&(struct script_options){0});
    struct err err;
    assert_false(run(s, "local function f()\nlocal a, b, c, d = 1, 2, 3, 4 return a + f()\nend f()", &err));
    assert_has(err.text, "job.lua:2: stack overflow");
    assert_has(err.text, "\n  ...");
    assert_false(script_doomed(s));
    assert_true(run(s, "return 1", &err));
    script_free(s);
}

static void test_doom_says_where(void **state)
{
    (void)state;
    struct err err;
    struct script *s = fresh();
    assert_false(run(s, "local x = 1\n\nwhile true do end", &err));
    assert_string_equal(err.text, "stopped after 0.04 s of CPU time (job.lua:3): make it do less, or raise "
                                  "--script-load-time");
    script_free(s);

    s = script_new(&(struct script_options){.limits = &patient});
    assert_false(run(s, "local t = {}\nfor i = 1, 1e9 do\nt[i] = {}\nend", &err));
    assert_string_equal(err.text, "went over 8 MB of memory (job.lua:3): make it keep less, or raise --script-memory");
    script_free(s);

    s = fresh();
    assert_true(run(s, "return function()\nwhile true do end\nend", &err));
    assert_false(script_call(s, 0, 0, &err));
    assert_string_equal(err.text, "stopped after 0.04 s of CPU time (job.lua:2): make it do less, or raise "
                                  "--script-call-time");
    script_free(s);
}

/* Fewer instructions than the hook waits for, so that only what is charged for work in C can stop them. */
static void test_work_in_c_is_charged(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "local s = ('x'):rep(2000000) for i = 1, 20 do local c = s .. s end",
        "local s = ('x'):rep(2000000) for i = 1, 20 do local c = s:upper() end",
        "local s = ('x'):rep(2000000) for i = 1, 20 do local c = s:find('y') end",
        "local s = ('x'):rep(2000000) for i = 1, 20 do local c = s:find('[yz]') end",
        "local s = ('x'):rep(200000) for i = 1, 20 do local c = s:find('%f[y]') end",
        "local s = ('b'):rep(1000):find('[' .. ('a'):rep(100000) .. ']')",
        "local s = ('('):rep(2000000) for i = 1, 20 do local c = s:match('^%b()') end",
        "local s = ('x'):rep(2000000) for i = 1, 20 do local c = utf8.len(s) end",
        "local s = ('1'):rep(2000000) for i = 1, 20 do local c = tonumber(s, 10) end",
        "local t = {('x'):rep(200000):byte(1, 200000)} for i = 1, 20 do table.sort(t) end",
        "local t = {('x'):rep(200000):byte(1, 200000)} for i = 1, 20 do table.move(t, 1, #t, 1) end",
        "local t = {('x'):rep(200000):byte(1, 200000)} for i = 1, 20 do table.insert(t, 1, 0) end",
        "local t = {('x'):rep(200000):byte(1, 200000)} for i = 1, 20 do table.remove(t, 1) end",
        "local t = {('x'):rep(100000):byte(1, 100000)} for i = 1, 20 do require('json').encode(t) end",
        "local s = '[' .. ('1,'):rep(100000) .. '1]' for i = 1, 20 do require('json').decode(s) end",
        "for i = 1, 220 do print() end",
    };
    struct script_limits limits = {.load_us = 1, .call_us = 1, .memory_bytes = 64u << 20};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct script *s = script_new(&(struct script_options){.limits = &limits});
        struct err err;
        char *text = mem_printf("%s return 1", texts[i]);
        if (run(s, text, &err) || !strstr(err.text, "of CPU time"))
            fail_msg("%s: %s", texts[i], err.text);
        free(text);
        script_free(s);
    }
}

/* A full collection, which a refused block brings about, is work too. */
static void test_a_collection_is_charged(void **state)
{
    (void)state;
    struct script_limits limits = {.load_us = 1, .call_us = 1, .memory_bytes = 8u << 20};
    struct script *s = script_new(&(struct script_options){.limits = &limits});
    struct err err;
    assert_false(run(s, "local s = 'xxx' for i = 1, 20 do s = s .. s end\nfor i = 1, 3 do local t = s .. i end", &err));
    assert_has(err.text, "of CPU time");
    script_free(s);
}

static void count_line(void *ctx, const char *line)
{
    (void)line;
    ++*(int *)ctx;
}

/* Not one instruction of the script runs after the end of its budget, whoever catches the error. */
static void test_nothing_runs_after_doom(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "pcall(function() while true do end end) print()",
        "pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) print()",
        "pcall(function() while true do ('a'):rep(1000):find('b') end end) print()",
        "pcall(string.find, ('a'):rep(100), ('a*'):rep(30) .. 'b') print()",
        "coroutine.resume(coroutine.create(function() while true do end end)) print()",
        "coroutine.resume(coroutine.create(function() local t = {} for i = 1, 1e9 do t[i] = {} end end)) print()",
        "coroutine.resume(coroutine.create(function() coroutine.resume(coroutine.create(function()"
        " while true do end end)) print() end)) print()",
        "pcall(coroutine.wrap(function() local x <close> = setmetatable({}, {__close = print}) while true do end end))",
        "xpcall(function() while true do end end, print) print()",
        "pcall(function() local x <close> = setmetatable({}, {__close = function() print() end})"
        " while true do end end)",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int printed = 0;
        const struct script_limits *limits = strstr(texts[i], "1e9") ? &patient : &small;
        struct script *s = script_new(&(struct script_options){.limits = limits, .print = count_line, .ctx = &printed});
        struct err err;
        assert_false(run(s, texts[i], &err));
        assert_true(script_doomed(s));
        if (printed)
            fail_msg("%s: went on", texts[i]);
        script_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_stack_overflow_is_an_ordinary_error),
        cmocka_unit_test(test_doom_says_where),
        cmocka_unit_test(test_work_in_c_is_charged),
        cmocka_unit_test(test_a_collection_is_charged),
        cmocka_unit_test(test_nothing_runs_after_doom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
