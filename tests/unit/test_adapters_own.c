/* An operator's own adapters: what they see, and what happens to bad ones. */
#include "adapters_fixture.h"

struct own {
    struct world world;
    char folder[64];
};

static const char *const own_names[] = {"one", "two"};

static int close_own(void **state)
{
    struct own *o = *state;
    char path[200];
    for (size_t i = 0; i < ARRAY_LEN(own_names); i++) {
        snprintf(path, sizeof path, "%s/%s.lua", o->folder, own_names[i]);
        remove(path);
    }
    snprintf(path, sizeof path, "%s/part.lua", o->folder);
    remove(path);
    rmdir(o->folder);
    region_table_unref(o->world.table);
    buf_done(&o->world.body);
    free(o);
    return 0;
}

static int open_own(void **state)
{
    struct own *o = mem_zalloc(sizeof *o);
    strcpy(o->folder, "/tmp/canvass-adapters-XXXXXX");
    adapters_port(&o->world.port);
    o->world.job.parameters = "{}";
    o->world.question =
        (struct question){.id = "q", .prompt = STR("p"), .expected = "42", .metadata = "{\"k\":[1,{}]}"};
    buf_init(&o->world.body, 1 << 20);
    *state = o;
    return mkdtemp(o->folder) ? 0 : -1;
}

static void write_own(struct own *o, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s.lua", o->folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A machine that is busy with others counts their time as the script's: what must be within a limit gets plenty. */
enum { LOAD_US = 2000000, CALL_US = 300000, PATIENT_CALL_US = 20000000 };

static struct world *own_world_within(struct own *o, int64_t call_us, const char *one, const char *two)
{
    const struct script_limits limits = {LOAD_US, call_us, 4u << 20};
    struct table_options options = {.limits = &limits};
    struct err err = {0};
    char path[200];
    write_own(o, "one", one);
    write_own(o, "two", two);
    snprintf(path, sizeof path, "%s/regions.lua", o->folder);
    region_table_unref(o->world.table);
    o->world.table = table_load_text(path,
                                     STR("return { regions = { eu = { url = 'https://h.example/', models = {\n"
                                         "one = { adapter = 'one' }, two = { adapter = 'two' } } } } }"),
                                     &options, &err);
    if (!o->world.table)
        fail_msg("%s", err.text);
    return &o->world;
}

/* Loads a table with the adapters "one" and "two" in front of endpoints of the same names. */
static struct world *own_world(struct own *o, const char *one, const char *two)
{
    return own_world_within(o, CALL_US, one, two);
}

#define ADAPTER(request, answer) \
    "return { request = function(ask) " request " end, answer = function(response, ask) " answer " end }"

static const char harmless[] = ADAPTER("return ask.model", "return { text = response.body }");

static void test_what_a_script_sees(void **state)
{
    struct world *w =
        own_world(*state,
                  ADAPTER("local q = ask.question\n"
                          "return table.concat({ ask.prompt, ask.model, ask.region, ask.endpoint, ask.url, "
                          "tostring(ask.sample), q.id, q.prompt,\n"
                          "  tostring(q.expected), tostring(q.k[1]), tostring(ask.nothing), "
                          "tostring(next(ask.options)), type(ask.parameters) }, ' ')",
                          "return { text = response.status .. ' ' .. response.body .. ' ' .. tostring(response.json == "
                          "nil) .. ' ' ..\n"
                          "  tostring(response.nothing) .. ' ' .. ask.question.id .. ' ' .. ask.prompt, wait = 1.5 }"),
                  harmless);
    struct answer a;
    assert_string_equal(request(w, "one"), "p one eu eu/one https://h.example/ 1 q p 42 1 nil nil table");
    read_body(w, "one", 201, STR("body"), &a);
    assert_true(str_is(a.text, "201 body true nil q p"));
    assert_int_equal(a.wait_us, 1500000);
    w->question.metadata = w->question.expected = NULL;
    w->question.prompt = STR("other");
    read_body(w, "one", 200, STR("[1]"), &a);
    assert_true(str_is(a.text, "200 [1] false nil q other"));
}

static void test_adapters_faults(void **state)
{
    /* The adapter's own faults are final, for the next POST would be paid for too; those of the body are not. */
    static const struct { const char *answer, *words; bool readable; } faults[] = {
        {"error 'broken here'", "one.lua:1: broken here", false},
        {"error({})", "adapter one", false},
        {"return nil .. 'x'", "attempt to concatenate", false},
        {"return 5", "answer() returns a number (adapter one)", false},
        {"return {}", "answer() returns no outcome (adapter one)", false},
        {"return { text = 'a', error = 'b' }", "more than one outcome", false},
        {"return { text = 'a', tokens = 5 }", "unknown \"tokens\" (adapter one)", false},
        {"return { 'a' }", "unknown \"number\"", false},
        {"return { text = 5 }", "a number in \"text\" that cannot be one", false},
        {"return { error = true }", "a boolean in \"error\"", false},
        {"return { error = 'x', class = 'no_such' }", "a string in \"class\"", false},
        {"return { error = 'x', transient = 1 }", "in \"transient\"", false},
        {"return { poll = 'not a url' }", "gives \"not a url\" to ask for", true},
        {"return { poll = 5 }", "a number in \"poll\"", false},
        {"return { poll = false }", "in \"poll\"", false},
        {"return { poll = true, wait = -1 }", "in \"wait\"", false},
        {"return { poll = true, wait = 0/0 }", "in \"wait\"", false},
        {"return { text = 'x', prompt_tokens = 1e18 }", "in \"prompt_tokens\"", false},
        {"return { text = 'x', completion_tokens = '5' }", "in \"completion_tokens\"", false},
        {"return { text = 'x', model = {} }", "in \"model\"", false},
        {"return { text = 'x', region = 7 }", "in \"region\"", false},
        {"ask.model = 'x'", "cannot be changed", false},
        {"response.status = 200", "cannot be changed", false},
        {"return coroutine.wrap(function() return response.json end)()", "not the expected JSON", true},
        {"return setmetatable({}, { __index = function() return 'x' end })", "no outcome", false},
        {"local function f() return f() .. '' end return f()", "one.lua:1", false},
        {"return nil", "not the expected JSON", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char text[400];
        struct answer a;
        snprintf(text, sizeof text,
                 "return { request = function() return '' end, answer = function(response, ask) %s end }",
                 faults[i].answer);
        struct world *w = own_world(*state, text, harmless);
        for (unsigned round = 0; round < 2; round++) {
            read_body(w, "one", 200, STR("x"), &a);
            enum answer_kind kind = faults[i].readable ? ANSWER_UNREADABLE : ANSWER_ERROR;
            if (a.kind != kind || a.class != (faults[i].readable ? CLASS_NONE : CLASS_CONFIG) || a.transient ||
                !strstr(a.error.ptr, faults[i].words))
                fail_msg("%s gives %d %s %s", faults[i].answer, a.kind, class_name(a.class), a.error.ptr);
        }
        read_body(w, "two", 200, STR("fine"), &a);
        assert_true(str_is(a.text, "fine"));
    }
    struct world *w = own_world(*state, ADAPTER("return 5", "return { poll = true }"), ADAPTER("error 'no'", ""));
    struct answer a;
    assert_non_null(strstr(request(w, "one"), "error: request() returns a number (adapter one)"));
    assert_non_null(strstr(request(w, "two"), "error: adapter two: two.lua:1: no"));
    read_body(w, "one", 200, STR("x"), &a);
    assert_int_equal(a.kind, ANSWER_POLL);
    assert_null(a.poll_url);
    w = own_world(*state, ADAPTER("return { f = print }", ""), ADAPTER("local t = {} t.t = t return t", ""));
    assert_non_null(strstr(request(w, "one"),
                           "error: adapter one makes no request for eu/one: a function cannot be written as JSON"));
    assert_non_null(strstr(request(w, "two"), "error: adapter two makes no request"));
}

#define PREPARING(prepare) \
    "return { prepare = function(ask) " prepare " end, request = function(ask) return 'asked ' .. ask.prompt end, " \
    "answer = function() end }"

/* prepare() is called once for a job's parameters; the prompts then go into what it made. */
static void test_prepared_bodies(void **state)
{
    static const char counted[] =
        "local calls = 0\n" PREPARING("calls = calls + 1\n"
                                      "return { n = calls, p = ask.prompt, deep = { { ask.prompt } }, "
                                      "seed = ask.parameters.seed, model = ask.model }");
    struct world *w = own_world(*state, counted, PREPARING("return nil"));
    w->question.prompt = STR("a\"b");
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"a\\\"b\"]],\"model\":\"one\",\"n\":1,\"p\":\"a\\\"b\"}");
    w->question.prompt = STR("");
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"\"]],\"model\":\"one\",\"n\":1,\"p\":\"\"}");
    w->job.parameters = "{\"seed\":1}";
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"\"]],\"model\":\"one\",\"n\":2,\"p\":\"\",\"seed\":1}");
    /* Reading an answer of another job in between: its parameters are not this one's. */
    struct answer a;
    w->job.parameters = "{}";
    read_body(w, "one", 200, STR("x"), &a);
    assert_non_null(strstr(request(w, "one"), "\"n\":3,\"p\":\"\"}"));
    w->job.parameters = "{\"seed\":1}";
    assert_non_null(strstr(request(w, "one"), "\"n\":4,\"p\":\"\",\"seed\":1}"));
    assert_string_equal(request(w, "two"), "asked ");
    w->question.prompt = STR("again");
    assert_string_equal(request(w, "two"), "asked again");

    static const struct { const char *prepare, *words; } faults[] = {
        {PREPARING("return { p = 'Q: ' .. ask.prompt }"), "error: adapter one: one.lua:1: attempt to concatenate"},
        {PREPARING("return { p = ask.question.id }"), "error: adapter one: one.lua:1: there is no ask.question in"},
        {PREPARING("return { p = ask.sample }"), "there is no ask.sample in prepare()"},
        {PREPARING("return 'text'"), "error: prepare() returns a string (adapter one): return the body as"},
        {PREPARING("return { f = print }"), "error: adapter one makes no request for eu/one: a function cannot"},
        {PREPARING("return { [ask.prompt] = 1 }"), "a table with a key that is neither"},
        {PREPARING("local t = {} for i = 1, 9 do t[i] = ask.prompt end return t"), "more than 8 places"},
        {PREPARING("while true do end"), "stopped after"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        w = own_world(*state, faults[i].prepare, harmless);
        for (unsigned round = 0; round < 2; round++)
            if (!strstr(request(w, "one"), faults[i].words))
                fail_msg("%s: %s", faults[i].prepare, request(w, "one"));
    }
    w = own_world(*state, ADAPTER("return { p = require('json').encode { ask.prompt } }", ""), harmless);
    assert_string_equal(request(w, "one"), "{\"p\":\"[\\\"again\\\"]\"}");
}

/* One that never ends, or eats its memory, is stopped and made anew; the other does not notice. */
static void test_runaway_adapters(void **state)
{
    static const struct { const char *answer, *words; } runaways[] = {
        {"while true do end", "stopped after"},
        {"while true do pcall(error) end", "stopped after"},
        {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", "memory"},
        {"local s = 'x' while true do s = s .. s end", "memory"},
    };
    struct answer a;
    for (size_t i = 0; i < ARRAY_LEN(runaways); i++) {
        char text[400];
        snprintf(text, sizeof text, "return { request = function() return 'r' end, answer = function(response)\n"
                 "if response.body == 'good' then return { text = 'ok' } end %s end }", runaways[i].answer);
        bool eats_memory = strcmp(runaways[i].words, "memory") == 0;
        struct world *w = own_world_within(*state, eats_memory ? PATIENT_CALL_US : CALL_US, text, harmless);
        for (unsigned round = 0; round < 4; round++) { /* a good call in between: never given up */
            read_body(w, "one", round % 2 ? 200 : 503, STR("bad"), &a);
            assert_int_equal(a.kind, ANSWER_ERROR);
            assert_int_equal(a.class, CLASS_CONFIG);
            assert_false(a.transient);
            if (!strstr(a.error.ptr, runaways[i].words))
                fail_msg("%s", a.error.ptr);
            read_body(w, "two", 200, STR("fine"), &a);
            assert_true(str_is(a.text, "fine"));
            assert_string_equal(request(w, "one"), "r");
            read_body(w, "one", 200, STR("good"), &a);
            assert_true(str_is(a.text, "ok"));
        }
    }
    struct world *w = own_world(*state, ADAPTER("return 'r'", "while true do end"), harmless);
    for (unsigned round = 0; round < 3; round++)
        read_body(w, "one", 200, STR("bad"), &a);
    read_body(w, "one", 200, STR("bad"), &a);
    assert_non_null(strstr(a.error.ptr, "stopped 3 times in a row"));
    assert_int_equal(a.kind, ANSWER_ERROR);
    assert_int_equal(a.class, CLASS_CONFIG);
    assert_non_null(strstr(request(w, "one"), "error: adapter one was stopped 3 times in a row"));
    assert_string_equal(request(w, "two"), "two");
}

/* A stopped adapter is made again from what was loaded, never from what the files say by now. */
static void test_files_that_changed(void **state)
{
    struct own *o = *state;
    struct answer a;
    write_own(o, "part", "return 'old'");
    struct world *w =
        own_world(o, "local part = require 'part' " ADAPTER("return part", "while true do end"), harmless);
    write_own(o, "one", "return 'changed'");
    read_body(w, "one", 200, STR("x"), &a);
    assert_string_equal(request(w, "one"), "old");
    read_body(w, "one", 200, STR("x"), &a);
    write_own(o, "part", "return 'new'");
    assert_string_equal(request(w, "one"), "old");
    assert_string_equal(request(w, "two"), "two");
}

/* Texts of an answer stay until the next call, whatever the collector does. */
static void test_texts_stay(void **state)
{
    struct world *w = own_world(
        *state, ADAPTER("return ''", "return { text = ('t'):rep(100) .. response.body, model = 'm' .. response.body }"),
        ADAPTER("local t = {} for i = 1, 20000 do t[i] = 'x' .. i end return ''", ""));
    struct answer a;
    read_body(w, "one", 200, STR("1"), &a);
    for (unsigned i = 0; i < 20; i++)
        request(w, "two");
    assert_int_equal(a.text.len, 101);
    assert_int_equal(a.text.ptr[100], '1');
    assert_string_equal(a.served_model, "m1");
}

static void test_other_tables_live_on(void **state)
{
    struct own *o = *state;
    struct answer a;
    struct world first = *own_world(o, harmless, harmless);
    first.table = region_table_ref(first.table);
    struct world *second = own_world(o, ADAPTER("return 'second'", "return { text = 'second' }"), harmless);
    assert_string_equal(request(second, "one"), "second");
    buf_init(&first.body, 100);
    assert_string_equal(request(&first, "one"), "one");
    read_body(&first, "one", 200, STR("mine"), &a);
    assert_true(str_is(a.text, "mine"));
    buf_done(&first.body);
    region_table_unref(first.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_a_script_sees, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_adapters_faults, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_prepared_bodies, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_runaway_adapters, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_files_that_changed, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_texts_stay, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_other_tables_live_on, open_own, close_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
