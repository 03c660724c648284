/* Job scripts: what they say, their settings, what is wrong with bad ones. */
#include "job_fixture.h"

#include "base/timeutil.h"

/* ---- good scripts ---- */

static void a_whole_script(void **state)
{
    struct folder *f = *state;
    folder_write(f, "questions.lua",
                 "return {\n {id='math_basic', prompt='What is 2+2?', expected='4', category='control', weight=2},\n"
                 " {id='identity', prompt='Who are you?'},\n}\n");
    struct job_file *job = load_good(
        f,
        "local policy = require 'canvass.policy'\n"
        "return { name='bias-detection', questions=require 'questions', models={'llama3.2-1b', {id='qwen/2.5', "
        "regions={'us','eu'}}},\n"
        " regions={'us','eu','asia'}, parameters={temperature=0.1, max_tokens=500, stop={'a','b'}}, samples=3, "
        "in_flight=7,\n"
        " policy=policy.by_region, timeout='10m', on_missing='skip', warm=true, score=function(a, q) return 1 end }\n");
    const struct job_spec *s = job_file_spec(job);
    assert_string_equal(s->name, "bias-detection");
    assert_int_equal(s->question_count, 2);
    assert_string_equal(s->questions[0].id, "math_basic");
    assert_memory_equal(s->questions[0].prompt.ptr, "What is 2+2?", 12);
    assert_int_equal(s->questions[0].prompt.len, 12);
    assert_string_equal(s->questions[0].expected, "\"4\"");
    assert_string_equal(s->questions[0].metadata, "{\"category\":\"control\",\"weight\":2}");
    assert_null(s->questions[1].expected);
    assert_null(s->questions[1].metadata);
    assert_int_equal(s->model_count, 2);
    assert_string_equal(s->models[0].model, "llama3.2-1b");
    assert_null(s->models[0].regions);
    assert_string_equal(s->models[1].model, "qwen/2.5");
    assert_int_equal(s->models[1].region_count, 2);
    assert_string_equal(s->models[1].regions[1], "eu");
    assert_int_equal(s->region_count, 3);
    assert_string_equal(s->regions[2], "asia");
    assert_string_equal(s->parameters, "{\"max_tokens\":500,\"stop\":[\"a\",\"b\"],\"temperature\":0.1}");
    assert_int_equal(s->samples, 3);
    assert_int_equal(s->in_flight, 7);
    assert_string_equal(s->policy, "by_region");
    assert_int_equal(s->timeout_us, 10 * MINUTE_US);
    assert_int_equal(s->on_missing, ON_MISSING_SKIP);
    assert_true(s->warm);
    assert_null(s->settings);
    assert_int_equal(s->source_count, 2);
    assert_string_equal(s->sources[0].name, "job.lua");
    assert_memory_equal(s->sources[0].text.ptr, "local policy", 12);
    assert_string_equal(s->sources[1].name, "questions.lua");
    assert_memory_equal(s->sources[1].text.ptr, "return {", 8);
    job_file_free(job);
}

static void a_script_that_says_little(void **state)
{
    struct folder *f = *state;
    folder_write(f, "small-job_2.lua", "return { questions = { { id = 'a', prompt = 'A?' } } }");
    struct job_file *job = load_good_with(f, "small-job_2.lua", (struct job_file_options){0});
    const struct job_spec *s = job_file_spec(job);
    assert_string_equal(s->name, "small-job_2");
    assert_int_equal(s->samples, 1);
    assert_int_equal(s->model_count + s->region_count, 0);
    assert_int_equal(s->timeout_us, 0);
    assert_int_equal(s->in_flight, 0);
    assert_int_equal(s->on_missing, ON_MISSING_WAIT);
    assert_false(s->warm);
    assert_string_equal(s->parameters, "{}");
    assert_string_equal(s->policy, "sequential");
    job_file_free(job);
}

static void the_policy_has_a_name(void **state)
{
    struct folder *f = *state;
    static const struct { const char *policy, *option, *name; } cases[] = {
        {"require('canvass.policy').sequential", NULL, "sequential"},
        {"require('canvass.policy').by_region", NULL, "by_region"},
        {"require('canvass.policy').by_endpoint", NULL, "by_endpoint"},
        {"require('canvass.policy').free", NULL, "free"},
        {"'by_endpoint'", NULL, "by_endpoint"},
        {"'mine.spiral'", NULL, "mine.spiral"},
        {"'lone'", NULL, "lone"},
        {"function(plan) plan:run() end", NULL, "custom"},
        {"nil", NULL, "sequential"},
        {"nil", "free", "free"},
        {"function(plan) plan:run() end", "by_region", "by_region"},
        {"function(plan) plan:run() end", "custom", "custom"},
        {"nil", "mine.spiral", "mine.spiral"},
        {"nil", "lone", "lone"},
        {"nil", "deep.er.go", "deep.er.go"},
    };
    folder_write(f, "mine.lua", "return { spiral = function(plan) plan:run() end }");
    folder_write(f, "lone.lua", "return function(plan) plan:run() end");
    char deep[128], script[256];
    snprintf(deep, sizeof(deep), "%s/deep", f->path);
    mkdir(deep, 0700);
    folder_write(f, "deep/er.lua", "return { go = function(plan) end }");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(script, sizeof(script), "return { questions=%s, policy=%s }", two, cases[i].policy);
        folder_write(f, "job.lua", script);
        struct job_file *job = load_good_with(f, "job.lua", (struct job_file_options){.policy = cases[i].option});
        assert_string_equal(job_file_spec(job)->policy, cases[i].name);
        job_file_free(job);
    }
}

/* ---- bad scripts ---- */

static const struct { const char *script, *parts[5]; } bad[] = {
    {"return {", {"job.lua:1", NULL}},
    {"error 'so not'", {"job.lua:1", "so not", NULL}},
    {"return", {"returns 0 values", "job.lua", NULL}},
    {"return 7", {"job.lua", "not a table", NULL}},
    {"while true do end", {"stopped after", "job.lua:1", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, modells = {} }",
     {"unknown key \"modells\"", "did you mean \"models\"", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, [1] = 2 }", {"value without a name", "job.lua", NULL}},
    {"return { name='x' }", {"no questions", "job.lua: questions", "canvass.jsonl", NULL}},
    {"return { questions = {} }", {"questions is empty", "at least one", NULL}},
    {"return { questions = 'questions.jsonl' }", {"questions are a string", "canvass.jsonl", NULL}},
    {"return { questions = { a = 'A?' } }", {"not a list", "job.lua: questions", NULL}},
    {"return { questions = { {id='a',prompt='A?'}, nil, {id='b',prompt='B?'} } , samples=1}", {"gaps", NULL}},
    {"return { questions = { 'A?' } }", {"question is a string", "questions[1]", "{ id = ", NULL}},
    {"return { questions = { {prompt='A?'} } }", {"has no id", "questions[1].id", NULL}},
    {"return { questions = { {id=7,prompt='A?'} } }", {"id is a number", "questions[1].id", "in quotes", NULL}},
    {"return { questions = { {id='',prompt='A?'} } }", {"id is empty", "questions[1].id", NULL}},
    {"return { questions = { {id='a\\nb',prompt='A?'} } }", {"control character", "questions[1].id", NULL}},
    {"return { questions = { {id='a\\0b',prompt='A?'} } }", {"control character", NULL}},
    {"return { questions = { {id='a\\u{202e}b',prompt='A?'} } }", {"control character", "questions[1].id", NULL}},
    {"return { questions = { {id='a\\u{9b}b',prompt='A?'} } }", {"control character", NULL}},
    {"return { questions = { {id='a',prompt='A?'} }, models = { 'm\\u{2066}' } }",
     {"control character", "models[1]", NULL}},
    {"return { questions = { {id='a\\xff',prompt='A?'} } }", {"not UTF-8", "questions[1].id", NULL}},
    {"return { questions = { {id=' a',prompt='A?'} } }", {"space", "questions[1].id", NULL}},
    {"return { questions = { {id=string.rep('x',201),prompt='A?'} } }", {"longer than 200", NULL}},
    {"return { questions = { {id='a'} } }", {"no prompt", "questions[1].prompt", NULL}},
    {"return { questions = { {id='a',prompt=''} } }", {"prompt is empty", "questions[1].prompt", NULL}},
    {"return { questions = { {id='a',prompt=' \\n\\t'} } }", {"prompt is empty", NULL}},
    {"return { questions = { {id='a',prompt=4} } }", {"prompt is a number", "questions[1].prompt", NULL}},
    {"return { questions = { {id='a',prompt='\\xff'} } }", {"not UTF-8", "save the file as UTF-8", NULL}},
    {"return { questions = { {id='a',prompt='A?','more'} } }", {"without a name", "questions[1]", NULL}},
    {"return { questions = { {id='a',prompt='A?',expected=print} } }", {"questions[1].expected", "function", NULL}},
    {"return { questions = { {id='a',prompt='A?',tag={x=print}} } }", {"questions[1]", "function", NULL}},
    {"return { questions = { {id='a',prompt='A?'},{id='b',prompt='B?'},{id='a',prompt='C?'} } }",
     {"duplicate question id \"a\"", "questions[3]", "questions[1]", "own id", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, name='so not' }",
     {"\"so not\"", "job.lua: name", "letters, digits", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, name=7 }", {"job.lua: name", "string", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, name=string.rep('n',101) }", {"job.lua: name", "at most 100", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, samples=0 }", {"job.lua: samples", "from 1", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, samples=1.5 }", {"job.lua: samples", "whole number", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, samples='2' }", {"job.lua: samples", "whole number", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, in_flight=0 }", {"job.lua: in_flight", "from 1", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, timeout='10 m' }", {"job.lua: timeout", "duration", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, timeout=0 }", {"job.lua: timeout", "longer", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, timeout=-1 }", {"job.lua: timeout", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, on_missing='ignore' }",
     {"\"ignore\"", "job.lua: on_missing", "\"wait\"", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, warm='yes' }", {"job.lua: warm", "true or false", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, score='f' }", {"job.lua: score", "function", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models='llama' }", {"models are a string", "job.lua: models", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={} }", {"no model is named", "leave it out", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={'m', 7} }", {"model is a number", "models[2]", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={'m', 'n', 'm'} }",
     {"duplicate model \"m\"", "models[3]", "models[1]", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={{name='m'}} }", {"models[1]", "id", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={{id='m', region='us'}} }",
     {"unknown key \"region\"", "models[1]", "\"regions\"", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={{id='m', regions={}}} }",
     {"no region is named", "models[1].regions", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={{id='m', regions={'us','us'}}} }",
     {"duplicate region \"us\"", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={'a b'} }", {"models[1]", "space", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, models={''} }", {"models[1]", "empty", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, regions='us' }", {"job.lua: regions", "list of strings", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, regions={} }", {"no region is named", "leave it out", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, regions={'us','eu','us'} }",
     {"duplicate region \"us\"", "regions[3]", "regions[1]", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, parameters='hot' }", {"parameters are a string", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, parameters={1,2} }", {"parameter has no name", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, parameters={f=print} }", {"parameters", "function", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy=true }", {"policy is a boolean", "job.lua: policy", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy='sequentiel' }",
     {"unknown policy \"sequentiel\"", "did you mean sequential", "by_endpoint", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy='../evil' }", {"unknown policy", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy='mine.none' }",
     {"module mine has no function \"none\"", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy='mine' }", {"mine returns a table", "mine.NAME", NULL}},
    {"return { questions = {{id='a',prompt='A?'}}, policy='broken.x' }", {"policy broken.x", "broken.lua:2", NULL}},
    {"return { questions = require 'nothing' }", {"no module \"nothing\"", "job.lua:1", NULL}},
    {"return { questions = canvass.jsonl 'nothing.jsonl' }", {"nothing.jsonl", "job.lua:1", NULL}},
    {"return { questions = canvass.jsonl '/etc/hostname' }", {"outside", "/etc/hostname", NULL}},
    {"return { questions = canvass.jsonl '../x.jsonl' }", {"outside", NULL}},
    {"canvass = 1", {"canvass", "job.lua:1", NULL}},
    {"canvass.x = 1", {"read-only", "job.lua:1", NULL}},
    {"canvass.settings.x = 1", {"read-only", NULL}},
    {"canvass.sleep(1)", {"canvass.sleep works in a running policy only", "job.lua:1", NULL}},
    {"canvass.now()", {"canvass.now works in a running policy only", NULL}},
    {"canvass.progress()", {"canvass.progress works in a running policy only", NULL}},
    {"canvass.setting('x', {})", {"default is text", NULL}},
};

static void bad_scripts_are_told_why(void **state)
{
    struct folder *f = *state;
    struct script_limits limits = SCRIPT_LIMITS_DEFAULT;
    limits.load_us = 100000;
    folder_write(f, "mine.lua", "return { spiral = 7 }");
    folder_write(f, "broken.lua", "local x = 1\nerror 'broken'\n");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        folder_write(f, "job.lua", bad[i].script);
        expect_error_with(f, "job.lua", (struct job_file_options){.limits = &limits}, bad[i].parts);
    }
}

static void a_file_that_is_not_there(void **state)
{
    expect_error_with(*state, "none.lua", (struct job_file_options){0}, (const char *const[]){"none.lua", NULL});
    folder_write(*state, "my job.lua", "return { questions = {{id='a',prompt='A?'}} }");
    expect_error_with(*state, "my job.lua", (struct job_file_options){0},
                      (const char *const[]){"no name", "my job", NULL});
    folder_write(*state, "job.lua", "return { questions = {{id='a',prompt='A?'}} }");
    expect_error_with(*state, "job.lua", (struct job_file_options){.questions = "q.csv"},
                      (const char *const[]){"--questions", "JSON", NULL});
    expect_error_with(*state, "job.lua", (struct job_file_options){.policy = "fre"},
                      (const char *const[]){"unknown policy \"fre\"", "--policy fre", "did you mean free", NULL});
}

/* ---- settings ---- */

static void settings_stand_over_the_script(void **state)
{
    struct folder *f = *state;
    const struct script_setting set[] = {
        {"name", "other"},
        {"samples", "2"},
        {"samples", "4"},
        {"timeout", "90"},
        {"in_flight", "3"},
        {"on_missing", "skip"},
        {"warm", "true"},
        {"parameters.temperature", "0.7"},
        {"parameters.stop", "END"},
        {"parameters.format", "{\"type\":\"json\"}"},
        {"mine", "x"},
    };
    folder_write(f, "job.lua",
                 "assert(canvass.settings.mine == 'x' and canvass.settings.none == nil)\n"
                 "return { questions={{id='a',prompt='A?'}}, samples=9, timeout='1s', parameters={temperature=0, "
                 "max_tokens=5} }");
    struct job_file *job = load_good_with(f, "job.lua",
                                          (struct job_file_options){.settings = set, .setting_count = ARRAY_LEN(set)});
    const struct job_spec *s = job_file_spec(job);
    assert_string_equal(s->name, "other");
    assert_int_equal(s->samples, 4);
    assert_int_equal(s->timeout_us, 90 * SECOND_US);
    assert_int_equal(s->in_flight, 3);
    assert_int_equal(s->on_missing, ON_MISSING_SKIP);
    assert_true(s->warm);
    assert_string_equal(s->parameters,
                        "{\"format\":{\"type\":\"json\"},\"max_tokens\":5,\"stop\":\"END\",\"temperature\":0.7}");
    assert_non_null(strstr(s->settings, "\"mine\":\"x\""));
    assert_non_null(strstr(s->settings, "\"samples\":\"4\""));
    job_file_free(job);
}

static void settings_are_typed_by_their_default(void **state)
{
    struct folder *f = *state;
    const struct script_setting set[] = {{"n", "3"}, {"b", "true"}, {"t", "text"}, {"raw", "7"}, {"all", "1"}};
    folder_write(
        f, "job.lua",
        "assert(canvass.setting('n', 1) == 3 and math.type(canvass.setting('n', 1)) == 'integer')\n"
        "assert(canvass.setting('b', false) == true)\n"
        "assert(canvass.setting('t', 'x') == 'text' and canvass.setting('raw') == '7')\n"
        "assert(canvass.setting('absent', 5) == 5 and canvass.setting('absent') == nil)\n"
        "assert(not pcall(canvass.setting, 't', 1) and not pcall(canvass.setting, 't', true))\n"
        "local seen = 0\n"
        "for k, v in pairs(canvass.settings) do seen = seen + 1; assert(k == 'all' or canvass.settings[k] == v) end\n"
        "assert(seen == 5)\n"
        "return { questions = {{id='a',prompt='A?'}} }");
    job_file_free(
        load_good_with(f, "job.lua", (struct job_file_options){.settings = set, .setting_count = ARRAY_LEN(set)}));
}

static void bad_settings(void **state)
{
    struct folder *f = *state;
    static const struct { struct script_setting set; const char *parts[4]; } cases[] = {
        {{"sampels", "3"}, {"nobody reads --set sampels=3", "did you mean samples", "canvass.settings.sampels", NULL}},
        {{"temperature", "3"}, {"nobody reads --set temperature=3", "did you mean parameters.temperature?", NULL}},
        {{"reasoning", "3"}, {"nobody reads --set reasoning=3", "did you mean parameters.reasoning?", NULL}},
        {{"reason", "3"}, {"nobody reads --set reason=3", "parameters.NAME", NULL}},
        {{"samples", "0"}, {"--set samples=0", "whole number from 1", NULL}},
        {{"samples", "3x"}, {"--set samples=3x", NULL}},
        {{"samples", ""}, {"--set samples=", NULL}},
        {{"in_flight", "0"}, {"--set in_flight=0", NULL}},
        {{"timeout", "soon"}, {"--set timeout=soon", "10m", NULL}},
        {{"timeout", "0"}, {"--set timeout=0", NULL}},
        {{"timeout", "-3"}, {"--set timeout=-3", NULL}},
        {{"timeout", "nan"}, {"--set timeout=nan", NULL}},
        {{"warm", "1"}, {"--set warm=1", "true or false", NULL}},
        {{"on_missing", "no"}, {"--set on_missing=no", "\"wait\"", NULL}},
        {{"name", "a b"}, {"--set name=a b", NULL}},
        {{"parameters.", "1"}, {"--set parameters.=1", NULL}},
        {{"parameters.a.b", "1"}, {"--set parameters.a.b=1", "one parameter", NULL}},
    };
    folder_write(f, "job.lua", "return { parameters = { reasoning = 1 }, questions = {{id='a',prompt='A?'}} }");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_error_with(f, "job.lua", (struct job_file_options){.settings = &cases[i].set, .setting_count = 1},
                          cases[i].parts);
}

/* ---- again, from what was kept ---- */

static void expect_same_again(struct job_file *job, struct job_file_options o)
{
    struct err err = {0};
    const struct job_spec *s = job_file_spec(job);
    struct sources kept = {s->sources, s->source_count};
    o.kept = &kept;
    o.questions = s->question_list;
    struct job_file *again = job_file_load(s->sources[0].name, &o, &err);
    if (!again)
        fail_msg("%s", err.text);
    const struct job_spec *a = job_file_spec(again);
    assert_string_equal(a->name, s->name);
    assert_string_equal(a->policy, s->policy);
    assert_int_equal(a->source_count, s->source_count);
    assert_int_equal(a->question_count, s->question_count);
    for (size_t i = 0; i < s->question_count; i++) {
        assert_string_equal(a->questions[i].id, s->questions[i].id);
        assert_true(str_equal(a->questions[i].prompt, s->questions[i].prompt));
    }
    job_file_free(again);

    kept.count--;
    assert_null(job_file_load(s->sources[0].name, &o, &err));
    assert_true(err.code != ERR_NONE);
    job_file_free(job);
}

static void a_job_is_made_again_of_what_was_kept(void **state)
{
    struct folder *f = *state;
    folder_write(f, "more.csv", "id,prompt\na,A?\nb,B?\n");
    folder_write(f, "mine.lua", "return { all = function(plan) plan:run(plan) end }");
    folder_write(f, "job.lua", "return { questions = canvass.csv 'more.csv', policy = 'mine.all' }");
    struct job_file_options o = {0};
    expect_same_again(load_good_with(f, "job.lua", o), o);

    folder_write(f, "one.lua", "return { questions = canvass.csv 'more.csv' }");
    o.policy = "mine.all";
    expect_same_again(load_good_with(f, "one.lua", o), o);

    char path[128];
    snprintf(path, sizeof(path), "%s/more.csv", f->path);
    folder_write(f, "spec.json", "{\"questions\":[\"b\",\"a\"]}");
    o = (struct job_file_options){.questions = path};
    struct job_file *job = load_good_with(f, "spec.json", o);
    assert_string_equal(job_file_spec(job)->question_list, "more.csv");
    expect_same_again(job, o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(a_whole_script),
        TEST(a_script_that_says_little),
        TEST(the_policy_has_a_name),
        TEST(bad_scripts_are_told_why),
        TEST(a_file_that_is_not_there),
        TEST(settings_stand_over_the_script),
        TEST(settings_are_typed_by_their_default),
        TEST(bad_settings),
        TEST(a_job_is_made_again_of_what_was_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
