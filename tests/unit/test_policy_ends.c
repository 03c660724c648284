/* Policies that fail, run away, or are stopped. */
#include "policy_fixture.h"

/* ---- failures ---- */

static void misuse_is_told_with_its_line(void **state)
{
    static const struct { const char *policy, *parts[4]; } cases[] = {
        {"function(plan)\n\n error 'so not' end", {"so not", "job.lua:5", NULL}},
        {"function(plan)\n local function f() error { code = 7, message = 'in a table' } end\n f() end",
         {"in a table", "job.lua:4", NULL}},
        {"function(plan) plan.run() end", {"call it with a colon", "job.lua:3", NULL}},
        {"function(plan) plan:run(7) end", {"plan or a part of it", "job.lua:3", NULL}},
        {"function(plan) plan:start() end", {"no \"start\"", "run, each, batches", "job.lua:3", NULL}},
        {"function(plan) plan.x = 1 end", {"job.lua:3", NULL}},
        {"function(plan) table.sort({3, 1, 2}, function(a, b) plan:run(); return a < b end) end",
         {"table.sort", "plan:run", "job.lua:3", NULL}},
        {"function(plan) string.gsub('a', 'a', function() canvass.sleep(1) end) end",
         {"canvass.sleep cannot wait here", NULL}},
        {"function(plan) coroutine.wrap(function() plan:run() end)() end",
         {"coroutine of the script's own", "plan:each", NULL}},
        {"function(plan) assert(coroutine.resume(coroutine.create(function() plan:each('model', print) end))) end",
         {"coroutine of the script's own", NULL}},
        {"function(plan) coroutine.yield(1) end", {"coroutine.yield in a policy", "job.lua:3", NULL}},
        {"function(plan) for _ in plan:batches() do end end", {"no key", "question, sample", "job.lua:3", NULL}},
        {"function(plan) for _ in plan:batches 'colour' do end end", {"unknown key \"colour\"", NULL}},
        {"function(plan) plan:each('region', 7) end", {"function expected", NULL}},
        {"function(plan) plan:shuffle() end", {"give a seed", "job.lua:3", NULL}},
        {"function(plan) plan:rotate('question', 'x') end", {"give a seed", NULL}},
        {"function(plan) plan:where { region = 'mars' } end", {"no region \"mars\"", "job.lua:3", NULL}},
        {"function(plan) plan:where { regions = 'us' } end", {"unknown key \"regions\"", NULL}},
        {"function(plan) plan:where { 'us' } end", {"key is a number", NULL}},
        {"function(plan) plan:where { model = {} } end", {"model is one name", NULL}},
        {"function(plan) plan:where { sample = 2 } end", {"no sample \"2\"", NULL}},
        {"function(plan) canvass.sleep(-1) end", {"at least 0", NULL}},
        {"function(plan) canvass.sleep(0/0) end", {"at least 0", NULL}},
        {"function(plan) canvass.sleep 'soon' end", {"10m", NULL}},
        {"function(plan) canvass.sleep() end", {"number expected", NULL}},
        {"function(plan) undefined() end", {"undefined", "job.lua:3", NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct engine_job *job = start(*state, cases[i].policy);
        assert_fails(job, cases[i].parts);
        job_free(job);
    }
}

static void an_error_in_one_part_fails_the_policy(void **state)
{
    struct engine_job *job = start(*state,
        "function(plan)\n"
        "  pcall(plan.each, plan, 'region', function(part, region)\n"
        "    part:run()\n"
        "    if region == 'eu' then error 'eu is out' end\n"
        "    part:run()\n"
        "  end)\n"
        "end");
    assert_int_equal(job->count, 3);
    void *late = job->wishes[0].token;
    finish(job, 1);
    assert_fails(job, (const char *const[]){"eu is out", "job.lua:6", NULL});
    assert_int_equal(job->count, 2); /* nothing more is asked for */
    finish_all(job, NULL);
    ready(job, late);
    job->port.stop(job->port.ctx);
    job_free(job);
}

static void runaways_are_stopped(void **state)
{
    static const struct { const char *policy, *part; } cases[] = {
        {"function(plan) while true do end end", "stopped after"},
        {"function(plan) while true do pcall(function() while true do end end) end end", "stopped after"},
        {"function(plan) plan:each('region', function() while true do pcall(error) end end) end", "stopped after"},
        {"function(plan) plan:run(); repeat until false end", "stopped after"},
        {"function(plan) coroutine.wrap(function() while true do end end)() end", "stopped after"},
        {"function(plan) local t = {}; while true do t[#t + 1] = ('x'):rep(1000) .. #t end end", "memory"},
        {"function(plan) local t = {}; while true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end end",
         "memory"},
        {"function(plan) while true do plan:shuffle(1) end end", "stopped after"},
        {"function(plan) for i = 1, 1e9 do for _ in plan:batches 'question' do end end end", "stopped after"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool memory = strcmp(cases[i].part, "memory") == 0;
        struct script_limits limits = {20000000, memory ? 20000000 : 60000, memory ? 4 << 20 : 64 << 20};
        struct engine_job *job = start_limited(*state, cases[i].policy, limits);
        finish_all(job, NULL);
        assert_fails(job, (const char *const[]){cases[i].part, NULL});
        job_start(job); /* the state is done for, and says so again */
        assert_true(job->ended && job->error[0]);
        job_free(job);
    }
}

/* Each part stays within the budget of a call; together they would stop the loop. */
static void parts_share_a_budget(void **state)
{
    struct script_limits limits = {5000000, 100000, 4 << 20};
    struct engine_job *job = start_limited(*state,
        "function(plan) plan:each('question', function()\n"
        "  plan:each('endpoint', function(part) for i = 1, 4e6 do i = i * 2 end; part:run() end) end) end", limits);
    assert_true(job->ended);
    assert_non_null(strstr(job->error, "between two waits"));
    job_free(job);
}

/* What selections take is not on Lua's account, and yet it has an end. */
static struct engine_job *start_large(struct folder *f, int count, const char *policy)
{
    char script[2048];
    snprintf(script, sizeof(script),
             "local q = {}; for i = 1, %d do q[i] = { id = 'q' .. i, prompt = 'why?' } end\n"
             "return { questions = q, policy =\n%s }",
             count, policy);
    struct engine_job *job = job_new(f, script, (struct script_limits){60000000, 60000000, 64 << 20});
    job->uncounted = true;
    job_start(job);
    return job;
}

static void selections_have_an_end(void **state)
{
    struct engine_job *job = start_large(*state, 12000,
        "function(plan)\n"
        "  for i = 1, 7000 do plan:shuffle(i) end\n" /* 336 MB, but none is kept */
        "  local keep = {}\n"
        "  for i = 1, 7000 do keep[i] = plan:shuffle(i) end\n"
        "end");
    assert_fails(job, (const char *const[]){"256 MB", "job.lua:6", NULL});
    job_free(job);
}

static void what_was_run_is_given_back(void **state)
{
    struct engine_job *job = start_large(*state, 100000, "function(plan) for i = 1, 700 do plan:run() end end");
    unsigned runs = 0;
    for (; job->count > 0; runs++)
        finish(job, 0);
    assert_ended_well(job);
    assert_int_equal(runs, 700);
    job_free(job);
}

static void parts_start_all_or_none(void **state)
{
    struct engine_job *job = start_large(*state, 50000,
        "function(plan)\n"
        "  local keep, ok, text = {}, true, nil\n"
        "  while ok do ok, keep[#keep + 1] = pcall(plan.shuffle, plan, 1) end\n"
        "  for _ = 1, 4 do keep[#keep] = nil end\n"
        "  ok, text = pcall(function() plan:each('endpoint', function() error 'a part has run' end) end)\n"
        "  assert(not ok and text:find '256 MB' and text:find 'job.lua:7', text)\n"
        "  keep = nil\n"
        "  plan:run()\n"
        "end");
    assert_string_equal(job->error, "");
    assert_int_equal(job->count, 1);
    finish(job, 0);
    assert_ended_well(job);
    job_free(job);
}

static void a_wait_ends_once(void **state)
{
    struct engine_job *job = start(*state, "function(plan) plan:run(); plan:run(); plan:each('region', P.free) end");
    void *first = job->wishes[0].token;
    finish(job, 0);
    ready(job, first);
    assert_int_equal(job->count, 1);
    void *second = job->wishes[0].token;
    finish(job, 0);
    ready(job, first);
    ready(job, second);
    assert_int_equal(job->count, 3);
    finish_all(job, NULL);
    assert_all_asked(job, 3);
    job_free(job);
}

/* ---- the end of it ---- */

static void stop_in_the_middle(void **state)
{
    struct engine_job *job = start(*state,
        "function(plan)\n"
        "  local x <close> = setmetatable({}, { __close = function() canvass.log 'closed' end })\n"
        "  plan:each('region', function(part) part:each('question', function(p) p:run() end) end)\n"
        "end");
    assert_int_equal(job->count, 24);
    void *late = job->wishes[5].token;
    finish(job, 3);
    job->port.stop(job->port.ctx);
    job->port.stop(job->port.ctx);
    ready(job, late);
    assert_false(job->ended);
    while (job->count > 0)
        selection_free(job->wishes[--job->count].selection);
    job_start(job); /* the file is as good as new */
    ready(job, late);
    assert_int_equal(job->count, 24);
    finish_all(job, NULL);
    assert_ended_well(job);
    job_free(job);
}

static void freed_while_it_runs(void **state)
{
    struct engine_job *job = start(*state, "P.by_region");
    assert_int_equal(job->count, 3);
    job_free(job);
}

static void a_plan_of_an_earlier_run_is_refused(void **state)
{
    struct engine_job *job = start(*state,
        "(function() local kept, batches\n"
        " return function(plan)\n"
        "   if kept then assert(not pcall(function() return #kept end)); assert(not pcall(batches)); kept:run() end\n"
        "   kept, batches = plan, plan:batches 'question'\n"
        " end end)()");
    assert_ended_well(job);
    plan_free(job->plan);
    struct err err;
    job->plan = plan_make(job_file_spec(job->file), job->table, &err);
    job_start(job);
    assert_fails(job, (const char *const[]){"run that is over", "job.lua:5", NULL});
    job_free(job);
}

/* A part may get hold of another part's coroutine. It can spoil its own policy by that, and nothing else. */
static void coroutines_of_others(void **state)
{
    static const char *const tricks[] = {"coroutine.close(co)", "coroutine.resume(co)",
                                         "coroutine.resume(co); coroutine.resume(co)",
                                         "coroutine.wrap(function() coroutine.resume(co) end)()"};
    for (size_t i = 0; i < ARRAY_LEN(tricks); i++) {
        char policy[512];
        snprintf(
            policy, sizeof(policy),
            "function(plan) local co; plan:each('region', function(part, region)\n"
            "  if region == 'us' then co = coroutine.running(); part:run(); part:run() else canvass.sleep(1); %s end\n"
            "end) end",
            tricks[i]);
        struct engine_job *job = start(*state, policy);
        struct rng rng;
        rng_seed(&rng, i);
        while (job->count > 0)
            finish(job, job->count - 1);
        assert_true(job->ended);
        job_free(job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(misuse_is_told_with_its_line), TEST(an_error_in_one_part_fails_the_policy), TEST(runaways_are_stopped),
        TEST(parts_share_a_budget), TEST(selections_have_an_end), TEST(what_was_run_is_given_back),
        TEST(parts_start_all_or_none), TEST(a_wait_ends_once), TEST(stop_in_the_middle), TEST(freed_while_it_runs),
        TEST(a_plan_of_an_earlier_run_is_refused), TEST(coroutines_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
