/* Questions from data files, and jobs that are JSON. */
#include "job_fixture.h"

#include "base/timeutil.h"

/* ---- data files ---- */

/* What the questions of a data file are, as ID=PROMPT=EXPECTED=METADATA; lines. */
static void expect_questions(struct folder *f, const char *script, const char *expected)
{
    struct job_file *job = load_good(f, script);
    const struct job_spec *s = job_file_spec(job);
    char got[2048] = "";
    for (size_t i = 0; i < s->question_count; i++) {
        const struct question *q = &s->questions[i];
        size_t used = strlen(got);
        snprintf(got + used, sizeof(got) - used, "%s=%.*s=%s=%s;", q->id, (int)q->prompt.len, q->prompt.ptr,
                 q->expected ? q->expected : "", q->metadata ? q->metadata : "");
    }
    assert_string_equal(got, expected);
    job_file_free(job);
}

static void csv_files(void **state)
{
    struct folder *f = *state;
    static const struct { const char *csv, *questions; } good[] = {
        {"id,prompt\na,A?\n", "a=A?==;"},
        {"\xEF\xBB\xBFid,prompt\r\na,A?\r\nb,B?", "a=A?==;b=B?==;"},
        {"prompt,id,expected,kind\nA?,a,,x\nB?,b,4,\n", "a=A?=={\"kind\":\"x\"};b=B?=\"4\"={\"kind\":\"\"};"},
        {"id,prompt\na,\"one, two\"\nb,\"say \"\"hi\"\"\"\n", "a=one, two==;b=say \"hi\"==;"},
        {"id,prompt\na,\"line one\nline two\r\nline three\"\n\n\r\nb,B?\n",
         "a=line one\nline two\r\nline three==;b=B?==;"},
        {"\"id\",\"prompt\"\n\"a\",\"\"\"\"\n", "a=\"==;"},
        {"id,prompt\na,A\rB\n", "a=A\rB==;"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        folder_write(f, "q.csv", good[i].csv);
        expect_questions(f, "return { questions = canvass.csv 'q.csv' }", good[i].questions);
    }
    static const struct { const char *csv, *parts[4]; } wrong[] = {
        {"", {"file is empty", "q.csv", NULL}},
        {"id,prompt\n", {"questions is empty", NULL}},
        {"id;prompt\na;A?\n", {"not separated by commas", "q.csv", NULL}},
        {"id,\na,A?\n", {"column 2 has no name", "q.csv", NULL}},
        {"id,id\na,A?\n", {"two columns are called \"id\"", NULL}},
        {"id,prompt\na,A?\nb,B,C\n", {"3 fields under 2 columns", "q.csv:3", NULL}},
        {"id,prompt\na\n", {"1 fields under 2 columns", "q.csv:2", NULL}},
        {"id,prompt\n\na,\"x\ny\"\nb,\"open\n\n", {"never closed", "q.csv:5", NULL}},
        {"id,prompt\na,\"x\n\"\"y\"\" z\n", {"never closed", "q.csv:2", NULL}},
        {"id,prompt\na,\"x\"y\n", {"follows a closing quote", "q.csv:2", NULL}},
        {"id,prompt\na,x\"y\n", {"quote inside a field", "q.csv:2", NULL}},
        {"name,prompt\na,A?\n", {"has no id", "q.csv:2, id", NULL}},
        {"id,prompt\na,A?\nb,\"\nx\"\na,C?\n", {"duplicate question id \"a\"", "q.csv:5", "first at q.csv:2", NULL}},
        {"id,prompt\na,A?\nb,\n", {"prompt is empty", "q.csv:3, prompt", NULL}},
    };
    folder_write(f, "job.lua", "return { questions = canvass.csv 'q.csv' }");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        folder_write(f, "q.csv", wrong[i].csv);
        expect_error_with(f, "job.lua", (struct job_file_options){0}, wrong[i].parts);
    }
}

static void jsonl_and_json_files(void **state)
{
    struct folder *f = *state;
    folder_write(f, "q.jsonl",
                 "\xEF\xBB\xBF{\"id\":\"a\",\"prompt\":\"A?\",\"expected\":null,\"n\":[]}\r\n\n  "
                 "\n{\"prompt\":\"B?\",\"id\":\"b\",\"expected\":[1,2.5]}");
    expect_questions(f, "return { questions = canvass.jsonl 'q.jsonl' }", "a=A?=={\"n\":[]};b=B?=[1,2.5]=;");
    folder_write(f, "q.json", "[{\"id\":\"a\",\"prompt\":\"A?\"}]");
    expect_questions(f, "return { questions = canvass.json 'q.json' }", "a=A?==;");
    folder_write(f, "q2.json", "{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"x\":1}");
    expect_questions(f, "return { questions = canvass.json 'q2.json' }", "a=A?==;");

    static const struct { const char *text, *parts[4]; } wrong[] = {
        {"", {"questions is empty", NULL}},
        {"{\"id\":\"a\",\"prompt\":\"A?\"}\n\n{\"id\":\"b\"\n", {"q.jsonl:3", "malformed", NULL}},
        {"{\"id\":\"a\",\"prompt\":\"A?\"}\n[1]\n", {"has no id", "q.jsonl:2", NULL}},
        {"\"a\"\n", {"not a JSON object", "q.jsonl:1", NULL}},
        {"{\"id\":1,\"prompt\":\"A?\"}\n", {"id is a number", "q.jsonl:1, id", NULL}},
        {"{\"id\":\"a\",\"prompt\":\"A?\"}\n{\"id\":\"a\",\"prompt\":\"A?\"}\n",
         {"duplicate", "q.jsonl:2", "q.jsonl:1", NULL}},
    };
    folder_write(f, "job.lua", "return { questions = canvass.jsonl 'q.jsonl' }");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        folder_write(f, "q.jsonl", wrong[i].text);
        expect_error_with(f, "job.lua", (struct job_file_options){0}, wrong[i].parts);
    }
}

static void a_list_is_like_a_table(void **state)
{
    struct folder *f = *state;
    folder_write(f, "q.jsonl",
                 "{\"id\":\"a\",\"prompt\":\"A?\",\"k\":1}\n{\"id\":\"b\",\"prompt\":\"B?\",\"k\":2}\n{\"id\":\"c\","
                 "\"prompt\":\"C?\",\"k\":1}\n");
    expect_questions(f,
                     "local all = canvass.jsonl 'q.jsonl'\n"
                     "assert(#all == 3 and all[2].id == 'b' and all[0] == nil and all[4] == nil and all == "
                     "canvass.jsonl 'q.jsonl')\n"
                     "assert(tostring(all) == 'q.jsonl (3 rows)')\n"
                     "assert(not pcall(function() all[4] = {} end) and not pcall(function() return all.id end) and not "
                     "getmetatable(all))\n"
                     "local n = 0; for i, q in pairs(all) do n = n + i; assert(q == all[i]) end; assert(n == 6)\n"
                     "local some = {}\n"
                     "for _, q in ipairs(all) do if q.k == 1 then some[#some + 1] = q end end\n"
                     "return { questions = some }",
                     "a=A?=={\"k\":1};c=C?=={\"k\":1};");
    expect_questions(f,
        "local all = canvass.jsonl 'q.jsonl'\n"
        "all[2].prompt = 'Changed?'\n"
        "return { questions = all }", "a=A?=={\"k\":1};b=Changed?=={\"k\":2};c=C?=={\"k\":1};");
    expect_questions(f, /* in a coroutine of the script's own, too */
        "local all = canvass.jsonl 'q.jsonl'\n"
        "return { questions = { coroutine.wrap(function() return all[3] end)() } }", "c=C?=={\"k\":1};");
    struct job_file *job = load_good(f,
                                     "assert(canvass.jsonl 'q.jsonl'); return { questions = canvass.jsonl 'q.jsonl' }");
    assert_int_equal(job_file_spec(job)->source_count, 2);
    assert_string_equal(job_file_spec(job)->sources[1].name, "q.jsonl");
    job_file_free(job);
}

static void a_list_is_mapped(void **state)
{
    struct folder *f = *state;
    struct script_limits limits = SCRIPT_LIMITS_DEFAULT;
    limits.call_us = 100000;
    folder_write(f, "q.jsonl", "{\"id\":\"a\",\"text\":\"A\"}\n\n{\"id\":\"b\",\"text\":\"B\"}\n");
    expect_questions(f,
                     "local all = canvass.jsonl 'q.jsonl'\n"
                     "local calls = 0\n"
                     "local made = all:map(function(row, n) calls = calls + 1\n"
                     "    return { id = row.id .. n, prompt = row.text .. '?', n = n } end)\n"
                     "assert(#made == 2 and calls == 0 and made[2].id == 'b2' and made[3] == nil and calls == 1)\n"
                     "assert(made[1] ~= made[1] and tostring(made) == 'q.jsonl (2 rows)'"
                     " and rawequal(all[1], all[1]))\n"
                     "for n, row in ipairs(made) do assert(row.n == n) end\n"
                     "assert(coroutine.wrap(function() return made[1].id end)() == 'a1')\n"
                     "assert(not pcall(all.map, all) and not pcall(all.map, {}, print)"
                     " and not pcall(all.map, all, 5))\n"
                     "all[2].text = 'changed'\n"
                     "return { questions = made:map(function(row) row.prompt = row.prompt .. '!'; return row end) }",
                     "a1=A?!=={\"n\":1};b2=changed?!=={\"n\":2};");
    static const struct {
        const char *body, *words[4];
    } wrong[] = {
        {"return 5", {"the question is a number", "q.jsonl:1", NULL}},
        {"return n == 1 and row or { id = 'b' }", {"has no prompt", "q.jsonl:1, prompt", NULL}},
        {"return { id = row.id, prompt = n == 1 and 'x' or '' }", {"the prompt is empty", "q.jsonl:3, prompt", NULL}},
        {"return row.nothing.x", {"job.lua:1", "nil value", NULL}},
        {"while true do end", {"of CPU time", "job.lua:1", NULL}},
        {"while true do pcall(function() while true do end end) end", {"of CPU time", NULL}},
        {"local t = {} while true do t[#t + 1] = {} end", {"job.lua:1", NULL}},
        {"return all:map(f)[n]", {"overflow", NULL}},
        {"coroutine.yield()", {"job.lua:1", NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char script[512];
        struct err err = {0};
        snprintf(script, sizeof(script), "local all = canvass.jsonl 'q.jsonl'; local f; f = function(row, n) %s end\n"
                 "return { questions = all:map(f) }", wrong[i].body);
        folder_write(f, "job.lua", script);
        assert_null(folder_load(f, "job.lua", (struct job_file_options){.limits = &limits}, &err));
        for (const char *const *word = wrong[i].words; *word; word++)
            if (!strstr(err.text, *word))
                fail_msg("%s: %s", wrong[i].body, err.text);
    }
}

/* 100,000 questions of 300 bytes are more than half of what a script may use up, as Lua values. */
static void large_files_cost_the_script_nothing(void **state)
{
    struct folder *f = *state;
    enum { COUNT = 100000 };
    struct script_limits limits = SCRIPT_LIMITS_DEFAULT;
    limits.memory_bytes = 4 << 20;
    char prompt[301], path[128];
    memset(prompt, 'x', 300);
    prompt[300] = '\0';
    snprintf(path, sizeof(path), "%s/q.jsonl", f->path);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < COUNT; i++)
        fprintf(file, "{\"id\":\"q%d\",\"prompt\":\"%s\",\"kind\":\"k%d\"}\n", i, prompt, i % 7);
    fclose(file);
    folder_write(f, "job.lua", "return { questions = canvass.jsonl 'q.jsonl' }");
    struct job_file *job = load_good_with(f, "job.lua", (struct job_file_options){.limits = &limits});
    const struct job_spec *s = job_file_spec(job);
    assert_int_equal(s->question_count, COUNT);
    assert_string_equal(s->questions[COUNT - 1].id, "q99999");
    assert_string_equal(s->questions[COUNT - 1].metadata, "{\"kind\":\"k4\"}");
    job_file_free(job);
    folder_write(f, "job.lua", "return { questions = canvass.jsonl('q.jsonl'):map(function(row, n)\n"
                               "    return { id = row.id, prompt = row.prompt .. row.kind, n = n } end) }");
    job = load_good_with(f, "job.lua", (struct job_file_options){.limits = &limits});
    s = job_file_spec(job);
    assert_int_equal(s->question_count, COUNT);
    assert_string_equal(s->questions[COUNT - 1].metadata, "{\"n\":100000}");
    job_file_free(job);
}

static void the_script_speaks(void **state)
{
    struct folder *f = *state;
    job_file_free(load_good(
        f, "canvass.log('one', 2, nil, true); print('two', 3)\nreturn { questions = {{id='a',prompt='A?'}} }"));
    assert_non_null(strstr(f->log, "one 2 nil true\n"));
    assert_non_null(strstr(f->log, "two"));
}

/* A script that has used up its memory while loading does not take the program with it. */
static void memory_runs_out_while_reading(void **state)
{
    struct folder *f = *state;
    struct script_limits limits = SCRIPT_LIMITS_DEFAULT;
    for (size_t kb = 1024; kb < 1400; kb += 3) {
        limits.memory_bytes = kb << 10;
        folder_write(
            f, "job.lua",
            "local q = {}\n"
            "for i = 1, 1000 do q[i] = {id='q' .. i, prompt='prompt ' .. i, tags={i, 'x' .. i}, more={a={b=i}}} end\n"
            "local p = {}; for i = 1, 500 do p['k' .. i] = {i} end\n"
            "return { questions = q, parameters = p, models = {'m', {id='n', regions={'us'}}} }");
        struct err err = {0};
        struct job_file *job = folder_load(f, "job.lua", (struct job_file_options){.limits = &limits}, &err);
        if (!job && !strstr(err.text, "memory"))
            fail_msg("%s", err.text);
        job_file_free(job);
    }
}

/* ---- JSON specifications ---- */

static void a_specification(void **state)
{
    struct folder *f = *state;
    folder_write(f, "spec.json",
                 "{\"id\":\"bias-1759\",\"version\":\"v1\",\"benchmark\":{\"name\":\"bias "
                 "detection\",\"container\":{\"image\":\"x\"}},"
                 "\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\",\"topic\":null,\"level\":3}],"
                 "\"models\":[\"m\",{\"id\":\"n\",\"name\":\"The "
                 "N\",\"provider\":\"modal\",\"container_image\":\"c\",\"regions\":[\"us\"]},{\"name\":\"o\"}],"
                 "\"constraints\":{\"regions\":[\"US\",\"EU\"],\"timeout\":600000000000,\"provider_timeout\":300,\"min_"
                 "regions\":1,"
                 "\"min_success_rate\":0.67,\"max_cost\":1.5,\"providers\":[]},"
                 "\"runs\":2,\"metadata\":{\"created_by\":\"me\",\"models\":[\"z\"],\"other\":1},\"created_at\":\"2025-"
                 "10-01T00:00:00Z\","
                 "\"signature\":\"abc\",\"public_key\":\"def\",\"wallet_auth\":null}");
    struct job_file *job = load_good_with(f, "spec.json", (struct job_file_options){0});
    const struct job_spec *s = job_file_spec(job);
    assert_string_equal(s->name, "bias-1759");
    assert_int_equal(s->question_count, 1);
    assert_string_equal(s->questions[0].metadata, "{\"level\":3}");
    assert_int_equal(s->model_count, 3);
    assert_string_equal(s->models[1].model, "n");
    assert_string_equal(s->models[1].regions[0], "us");
    assert_string_equal(s->models[2].model, "o");
    assert_int_equal(s->region_count, 2);
    assert_string_equal(s->regions[0], "US");
    assert_int_equal(s->timeout_us, 600 * SECOND_US);
    assert_int_equal(s->samples, 2);
    assert_string_equal(s->policy, "sequential");
    assert_int_equal(s->source_count, 1);
    assert_string_equal(s->sources[0].name, "spec.json");
    assert_non_null(strstr(f->log, "nanoseconds"));
    static const char *const ignored[] = {"constraints.min_regions", "constraints.max_cost", "signature", "benchmark",
                                          "metadata.models",         "metadata.created_by",  "created_at"};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        assert_non_null(strstr(f->log, ignored[i]));
    assert_null(strstr(f->log, "wallet_auth"));
    job_file_free(job);
}

static void other_specifications(void **state)
{
    struct folder *f = *state;
    folder_write(f, "spec.json",
                 "{\"jobspec\":{\"jobspec_id\":\"x1\",\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"metadata\":{"
                 "\"models\":[\"m\",{\"id\":\"n\",\"name\":\"N\"}]},"
                 "\"constraints\":{\"regions\":[\"US\"],\"timeout\":\"10m\"},\"parameters\":{\"temperature\":0},"
                 "\"policy\":\"free\",\"samples\":2,"
                 "\"in_flight\":4,\"on_missing\":\"skip\",\"warm\":true},\"target_regions\":[\"eu\"],\"min_regions\":3,"
                 "\"enable_analysis\":true}");
    const struct script_setting set[] = {{"samples", "5"}, {"parameters.top_p", "1"}};
    struct job_file *job = load_good_with(f, "spec.json",
                                          (struct job_file_options){.settings = set, .setting_count = 2});
    const struct job_spec *s = job_file_spec(job);
    assert_string_equal(s->name, "x1");
    assert_int_equal(s->region_count, 1);
    assert_string_equal(s->regions[0], "eu");
    assert_int_equal(s->model_count, 2);
    assert_int_equal(s->timeout_us, 600 * SECOND_US);
    assert_string_equal(s->policy, "free");
    assert_int_equal(s->samples, 5);
    assert_int_equal(s->in_flight, 4);
    assert_true(s->warm);
    assert_string_equal(s->parameters, "{\"temperature\":0,\"top_p\":1}");
    assert_non_null(strstr(f->log, "constraints.regions"));
    job_file_free(job);

    folder_write(f, "spec.json",
                 "{\"benchmark\":{\"name\":\"bench\"},\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"constraints\":"
                 "{\"timeout\":90}}");
    job = load_good_with(f, "spec.json", (struct job_file_options){0});
    assert_string_equal(job_file_spec(job)->name, "bench");
    assert_int_equal(job_file_spec(job)->timeout_us, 90 * SECOND_US);
    job_file_free(job);
}

static void questions_by_id(void **state)
{
    struct folder *f = *state;
    static const struct { const char *name, *text; } lists[] = {
        {"q.jsonl", "{\"id\":\"a\",\"prompt\":\"A?\"}\n{\"id\":\"b\",\"prompt\":\"B?\",\"expected\":\"4\"}\n"},
        {"q.csv", "id,prompt,expected\na,A?,\nb,B?,4\n"},
        {"q.json",
         "{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"},{\"id\":\"b\",\"prompt\":\"B?\",\"expected\":\"4\"}]}"},
        {"q.lua", "return {{id='a',prompt='A?'},{id='b',prompt='B?',expected='4'}}"},
    };
    char path[128];
    folder_write(f, "spec.json", "{\"id\":\"x\",\"questions\":[\"b\",{\"id\":\"c\",\"prompt\":\"C?\"},\"a\"]}");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        folder_write(f, lists[i].name, lists[i].text);
        snprintf(path, sizeof(path), "%s/%s", f->path, lists[i].name);
        struct job_file *job = load_good_with(f, "spec.json", (struct job_file_options){.questions = path});
        const struct job_spec *s = job_file_spec(job);
        assert_int_equal(s->question_count, 3);
        assert_string_equal(s->questions[0].id, "b");
        assert_string_equal(s->questions[0].expected, "\"4\"");
        assert_memory_equal(s->questions[2].prompt.ptr, "A?", 2);
        assert_null(s->questions[2].expected);
        assert_int_equal(s->source_count, 2);
        assert_string_equal(s->sources[1].name, lists[i].name);
        job_file_free(job);
    }
}

static void bad_specifications(void **state)
{
    struct folder *f = *state;
    static const struct { const char *spec, *questions, *parts[4];
    } cases[] = {
        {"{\"id\":", NULL, {"spec.json", "malformed", NULL}},
        {"[]", NULL, {"spec.json", NULL}},
        {"7", NULL, {"spec.json", "not a table", NULL}},
        {"{}", NULL, {"no questions", "spec.json: questions", NULL}},
        {"{\"questions\":[]}", NULL, {"questions is empty", NULL}},
        {"{\"questions\":[\"a\"]}", NULL, {"\"a\" is an id only", "questions[1]", "--questions FILE", NULL}},
        {"{\"questions\":[\"a\",\"zz\"]}", "q.jsonl", {"unknown question id \"zz\"", "questions[2]", "q.jsonl", NULL}},
        {"{\"questions\":[\"a\",\"a\"]}",
         "q.jsonl",
         {"duplicate question id \"a\"", "questions[2]", "questions[1]", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}]}",
         "q.jsonl",
         {"nothing is looked up", "--questions", NULL}},
        {"{\"questions\":[\"a\"]}", "twice.jsonl", {"duplicate question id \"a\"", "question 2", NULL}},
        {"{\"questions\":[\"a\"]}", "none.jsonl", {"--questions", "none.jsonl", NULL}},
        {"{\"questions\":[\"a\"]}", "q.txt", {"unknown kind of file", "q.txt", ".jsonl", NULL}},
        {"{\"questions\":[\"a\"]}", "noid.csv", {"question 1 has no id", NULL}},
        {"{\"question\":[]}", NULL, {"unknown key \"question\"", "did you mean \"questions\"", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"constraints\":{\"region\":[]}}",
         NULL,
         {"unknown key \"region\"", "constraints", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"constraints\":{\"timeout\":\"soon\"}}",
         NULL,
         {"constraints.timeout", "duration", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"timeout\":1,\"constraints\":{\"timeout\":2}}",
         NULL,
         {"given twice", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"constraints\":{\"regions\":[]}}",
         NULL,
         {"no region is named", "constraints.regions", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"models\":[{\"provider\":\"x\"}]}",
         NULL,
         {"no id", "models[1]", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"models\":[\"m\",\"m\"]}",
         NULL,
         {"duplicate model \"m\"", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"id\":\"a b\"}", NULL, {"spec.json: id", "letters", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"runs\":0}", NULL, {"spec.json: runs", "from 1", NULL}},
        {"{\"questions\":[{\"id\":\"a\",\"prompt\":\"A?\"}],\"policy\":\"chaos\"}",
         NULL,
         {"unknown policy \"chaos\"", NULL}},
        {"{\"jobspec\":{\"questions\":[]},\"target\":[]}", NULL, {"unknown key \"target\"", NULL}},
    };
    folder_write(f, "q.jsonl", "{\"id\":\"a\",\"prompt\":\"A?\"}\n");
    folder_write(f, "q.txt", "a");
    folder_write(f, "noid.csv", "name,prompt\na,A?\n");
    folder_write(f, "twice.jsonl", "{\"id\":\"a\",\"prompt\":\"A?\"}\n{\"id\":\"a\",\"prompt\":\"A?\"}\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[128];
        folder_write(f, "spec.json", cases[i].spec);
        snprintf(path, sizeof(path), "%s/%s", f->path, cases[i].questions ? cases[i].questions : "");
        expect_error_with(f, "spec.json", (struct job_file_options){.questions = cases[i].questions ? path : NULL},
                          cases[i].parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(csv_files),
        TEST(jsonl_and_json_files),
        TEST(a_list_is_mapped),
        TEST(a_list_is_like_a_table),
        TEST(large_files_cost_the_script_nothing),
        TEST(the_script_speaks),
        TEST(memory_runs_out_while_reading),
        TEST(a_specification),
        TEST(other_specifications),
        TEST(questions_by_id),
        TEST(bad_specifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
