/* Policies against an engine that ends what it was asked to run in any order the test likes. */
#include "job_fixture.h"

#include <math.h>

#include "base/random.h"
#include "base/timeutil.h"
#include "core/plan.h"
#include "engine/engine.h"
#include "tables.h"

/* ---- the engine ---- */

enum { WISHES = 12000 };

struct wish {
    struct selection *selection; /* NULL: a sleep */
    int64_t sleep_us;
    void *token;
};

struct engine_job {
    struct job_file *file;
    struct region_table *table;
    struct plan *plan;
    struct policy_port port;
    struct wish wishes[WISHES];
    size_t count, most;          /* pending now, and at most so far */
    unsigned *asked;             /* of each execution, how often */
    bool uncounted;              /* asked is left alone: there are too many */
    int64_t now_us;
    bool inside, ended;          /* a call of the port is under way; the policy has ended */
    char error[2048];            /* "": it ran to its end */
};

static void add_wish(struct engine_job *job, struct wish wish)
{
    assert_true(job->inside && !job->ended);
    assert_true(job->count < WISHES);
    job->wishes[job->count++] = wish;
    if (job->count > job->most)
        job->most = job->count;
}

void engine_run(struct engine_job *job, struct selection *s, void *token)
{
    assert_true(selection_count(s) > 0);
    for (uint32_t e = 0; !job->uncounted && e < s->endpoint_count; e++)
        for (uint64_t i = 0; i < selection_line_count(s); i++)
            job->asked[plan_number(job->plan, selection_line_at(s, s->endpoints[e], i))]++;
    add_wish(job, (struct wish){s, 0, token});
}

void engine_sleep(struct engine_job *job, int64_t for_us, void *token)
{
    add_wish(job, (struct wish){NULL, for_us, token});
}

void engine_policy_ended(struct engine_job *job, const char *error)
{
    assert_true(job->inside && !job->ended);
    job->ended = true;
    snprintf(job->error, sizeof(job->error), "%s", error ? error : "");
}

void engine_job_view(const struct engine_job *job, struct job_view *out)
{
    *out = (struct job_view){
        .plan = job->plan, .posts = 5, .hops = 2, .attempts = 6, .in_flight = 3, .max_in_flight = 4};
    out->tally.planned = (uint32_t)job->plan->count;
    out->tally.by_status[STATUS_SUCCEEDED] = 11;
    out->tally.by_status[STATUS_FAILED] = 1;
}

double engine_job_now_s(const struct engine_job *job)
{
    return 1e9 + (double)job->now_us / (double)SECOND_US;
}

/* ---- help ---- */

static const char questions[] = "local q = {}; for i = 1, 8 do q[i] = { id = 'q' .. i, prompt = 'why?' } end\n";

static struct engine_job *job_new(struct folder *f, const char *script, struct script_limits limits)
{
    struct engine_job *job = mem_zalloc(sizeof(*job));
    struct err err = {0};
    folder_write(f, "job.lua", script);
    job->file = folder_load(f, "job.lua", (struct job_file_options){.limits = &limits}, &err);
    if (!job->file)
        fail_msg("%s", err.text);
    job->table = tables_upstream();
    job->plan = plan_make(job_file_spec(job->file), job->table, &err);
    assert_non_null(job->plan);
    job->asked = mem_zalloc(job->plan->count * sizeof(job->asked[0]));
    return job;
}

static void job_start(struct engine_job *job)
{
    job->ended = false;
    job->error[0] = '\0';
    job_file_policy(job->file, job->plan, &job->port);
    job->inside = true;
    job->port.start(job->port.ctx, job);
    job->inside = false;
}

static void ready(struct engine_job *job, void *token)
{
    job->inside = true;
    job->port.ready(job->port.ctx, token);
    job->inside = false;
}

/* Ends wish i. */
static void finish(struct engine_job *job, size_t i)
{
    assert_true(i < job->count);
    struct wish wish = job->wishes[i];
    job->wishes[i] = job->wishes[--job->count];
    if (wish.selection)
        selection_free(wish.selection);
    else
        job->now_us += wish.sleep_us;
    ready(job, wish.token);
}

static void finish_all(struct engine_job *job, struct rng *rng)
{
    while (job->count > 0)
        finish(job, rng ? rng_next(rng) % job->count : 0);
}

static void job_free(struct engine_job *job)
{
    while (job->count > 0)
        selection_free(job->wishes[--job->count].selection);
    plan_free(job->plan);
    job_file_free(job->file);
    region_table_unref(job->table);
    free(job->asked);
    free(job);
}

/* A script whose policy is `policy`, started. */
static struct engine_job *start_limited(struct folder *f, const char *policy, struct script_limits limits)
{
    char script[8192];
    snprintf(script, sizeof(script),
             "%slocal P = require 'canvass.policy'; "
             "return { questions = q, samples = canvass.setting('s', 1), policy =\n%s }",
             questions, policy);
    struct engine_job *job = job_new(f, script, limits);
    job_start(job);
    return job;
}

static struct engine_job *start(struct folder *f, const char *policy)
{
    return start_limited(f, policy, (struct script_limits)SCRIPT_LIMITS_DEFAULT);
}

static void assert_ended_well(const struct engine_job *job)
{
    assert_string_equal(job->error, "");
    assert_true(job->ended);
}

static void assert_all_asked(const struct engine_job *job, unsigned times)
{
    assert_ended_well(job);
    for (uint64_t n = 0; n < job->plan->count; n++)
        assert_int_equal(job->asked[n], times);
}

static void assert_fails(struct engine_job *job, const char *const *parts)
{
    if (!job->ended || !job->error[0])
        fail_msg("the policy did not fail with \"%s\"", parts[0]);
    for (; *parts; parts++)
        if (!strstr(job->error, *parts))
            fail_msg("\"%s\" is not in: %s", *parts, job->error);
}

/* ---- the built-in ones ---- */

static void sequential_is_one_question_at_a_time(void **state)
{
    struct engine_job *job = start(*state, "P.sequential");
    for (uint32_t q = 0; q < 8; q++) {
        assert_int_equal(job->count, 1);
        const struct selection *s = job->wishes[0].selection;
        assert_int_equal(s->question_count, 1);
        assert_int_equal(s->questions[0], q);
        assert_int_equal(s->endpoint_count, 8);
        finish(job, 0);
    }
    assert_all_asked(job, 1);
    job_free(job);
}

/* The wish that stands for an endpoint, or -1. */
static int wish_of(const struct engine_job *job, uint32_t endpoint)
{
    for (size_t i = 0; i < job->count; i++)
        for (uint32_t e = 0; e < job->wishes[i].selection->endpoint_count; e++)
            if (job->wishes[i].selection->endpoints[e] == endpoint)
                return (int)i;
    return -1;
}

static void a_region_never_waits_for_another(void **state)
{
    struct engine_job *job = start(*state, "P.by_region");
    assert_int_equal(job->count, 3);
    const uint32_t asia = 7, us = 0, eu = 2;
    for (uint32_t q = 0; q < 8; q++) {
        int i = wish_of(job, asia);
        assert_int_equal(job->wishes[i].selection->questions[0], q);
        assert_int_equal(job->wishes[i].selection->question_count, 1);
        assert_int_equal(job->wishes[i].selection->endpoint_count, 3);
        finish(job, (size_t)i);
    }
    assert_int_equal(wish_of(job, asia), -1);
    assert_int_equal(job->wishes[wish_of(job, us)].selection->questions[0], 0);
    assert_int_equal(job->wishes[wish_of(job, eu)].selection->questions[0], 0);
    assert_false(job->ended);
    finish_all(job, NULL);
    assert_all_asked(job, 1);
    job_free(job);
}

static void an_endpoint_never_waits_for_another(void **state)
{
    struct rng rng;
    rng_seed(&rng, 4);
    struct engine_job *job = start(*state, "P.by_endpoint");
    assert_int_equal(job->count, 8);
    uint32_t next[8] = {0};
    while (job->count > 0) {
        size_t i = rng_next(&rng) % job->count;
        const struct selection *s = job->wishes[i].selection;
        assert_int_equal(s->endpoint_count, 1);
        assert_int_equal(s->questions[0], next[s->endpoints[0]]++);
        finish(job, i);
    }
    assert_all_asked(job, 1);
    job_free(job);
}

static void free_is_everything_at_once(void **state)
{
    struct engine_job *job = start(*state, "P.free");
    assert_int_equal(job->count, 1);
    assert_int_equal(selection_count(job->wishes[0].selection), 64);
    finish(job, 0);
    assert_all_asked(job, 1);
    job_free(job);
}

/* Each part of a tree waits for its own parts only, whatever ends first. */
static void nested_parts_in_any_order(void **state)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        struct engine_job *job = start(*state,
            "function(plan)\n"
            "  local ended = {}\n"
            "  plan:each('region', function(part, region)\n"
            "    part:each('model', function(cell, model)\n"
            "      for id, batch in cell:batches 'question' do batch:run() end\n"
            "      ended[region] = (ended[region] or 0) + 1\n"
            "    end)\n"
            "    assert(ended[region] == (region == 'us' and 2 or 3), region)\n"
            "    ended[region] = 'all'\n"
            "  end)\n"
            "  assert(ended.us == 'all' and ended.eu == 'all' and ended.asia == 'all')\n"
            "end");
        assert_int_equal(job->count, 8);
        finish_all(job, &rng);
        assert_all_asked(job, 1);
        assert_int_equal(job->most, 8);
        job_free(job);
    }
}

/* ---- the algebra ---- */

static void assert_same(const struct selection *a, struct selection *b)
{
    assert_int_equal(a->question_count, b->question_count);
    assert_int_equal(a->sample_count, b->sample_count);
    assert_int_equal(a->endpoint_count, b->endpoint_count);
    assert_memory_equal(a->questions, b->questions, a->question_count * sizeof(a->questions[0]));
    assert_memory_equal(a->samples, b->samples, a->sample_count * sizeof(a->samples[0]));
    assert_memory_equal(a->endpoints, b->endpoints, a->endpoint_count * sizeof(a->endpoints[0]));
    for (uint32_t e = 0; e < a->endpoint_count; e++)
        for (uint64_t i = 0; i < selection_line_count(a); i++)
            assert_int_equal(plan_number(a->plan, selection_line_at(a, a->endpoints[e], i)),
                             plan_number(b->plan, selection_line_at(b, b->endpoints[e], i)));
    selection_free(b);
}

static void orders_reach_the_engine(void **state)
{
    struct engine_job *job = start(*state,
        "function(plan)\n"
        "  plan:run(plan:shuffle(7)); plan:run(plan:interleave 'region'); plan:run(plan:rotate('question', 3))\n"
        "  plan:shuffle(7):interleave('model'):run()\n"
        "end");
    struct selection *all = selection_all(job->plan), *shuffled = selection_shuffle(all, 7);
    assert_same(job->wishes[0].selection, selection_shuffle(all, 7));
    finish(job, 0);
    assert_same(job->wishes[0].selection, selection_interleave(all, KEY_REGION));
    finish(job, 0);
    assert_same(job->wishes[0].selection, selection_rotate(all, KEY_QUESTION, 3));
    finish(job, 0);
    assert_same(job->wishes[0].selection, selection_interleave(shuffled, KEY_MODEL));
    finish(job, 0);
    assert_all_asked(job, 4);
    selection_free(all);
    selection_free(shuffled);
    job_free(job);
}

static void parts_have_labels_and_counts(void **state)
{
    struct engine_job *job = start(*state,
        "function(plan)\n"
        "  assert(#plan == 64 and plan:count() == 64)\n"
        "  assert(tostring(plan) == 'plan of 64 executions (questions 8, samples 1, endpoints 8)', tostring(plan))\n"
        "  local t = {}\n"
        "  for _, key in ipairs { 'region', 'model', 'endpoint', 'sample' } do\n"
        "    for label, part in plan:batches(key) do t[#t + 1] = label .. '=' .. #part end\n"
        "  end\n"
        "  canvass.log(table.concat(t, ' '))\n"
        "  assert(#plan:where { region = 'us' } == 16 and #plan:where { region = 'us-east' } == 16)\n"
        "  assert(#plan:where { region = 'eu', model = 'mistral-7b' } == 8)\n"
        "  assert(#plan:where { region = 'us', model = 'mistral-7b' } == 0)\n"
        "  assert(#plan:where { question = 'q3', endpoint = 'asia/mistral-7b', sample = 1 } == 1)\n"
        "  assert(#plan:where { sample = '1' } == 64 and #plan:where {} == 64)\n"
        "  plan:where { region = 'us', model = 'mistral-7b' }:run()\n"
        "  plan:where { region = 'us', model = 'mistral-7b' }:each('question', error)\n"
        "  for _ in plan:where { region = 'us', model = 'mistral-7b' }:batches 'question' do error 'none' end\n"
        "  local part = plan:where { region = 'us' }\n"
        "  part:where { question = 'q2' }:run()\n"
        "end");
    assert_string_equal(job->error, "");
    assert_int_equal(selection_count(job->wishes[0].selection), 2);
    finish(job, 0);
    assert_ended_well(job);
    assert_non_null(strstr(((struct folder *)*state)->log,
                           "us=16 eu=24 asia=24 llama3.2-1b=24 qwen2.5-1.5b=24 mistral-7b=16 us/llama3.2-1b=8"));
    job_free(job);
}

static void time_and_progress(void **state)
{
    struct engine_job *job = start(*state, "function(plan)\n"
                                           "  local t = canvass.now()\n"
                                           "  assert(t == 1e9)\n"
                                           "  canvass.sleep(1.5); canvass.sleep '10m'; canvass.sleep(0)\n"
                                           "  assert(canvass.now() - t == 601.5)\n"
                                           "  local p = canvass.progress()\n"
                                           "  assert(p.planned == 64 and p.succeeded == 11 and p.failed == 1 and "
                                           "p.pending == 0 and p.posts == 5 and p.hops == 2)\n"
                                           "  assert(p.attempts == 6 and p.in_flight == 3 and p.max_in_flight == 4)\n"
                                           "  plan:run()\n"
                                           "end");
    static const int64_t naps[] = {1500000, 10 * MINUTE_US, 0};
    for (size_t i = 0; i < ARRAY_LEN(naps); i++) {
        assert_null(job->wishes[0].selection);
        assert_int_equal(job->wishes[0].sleep_us, naps[i]);
        finish(job, 0);
    }
    finish(job, 0);
    assert_all_asked(job, 1);
    job_free(job);
}

static void waits_go_through_pcall_and_metamethods(void **state)
{
    struct engine_job *job = start(*state,
        "function(plan)\n"
        "  local ok = pcall(function() plan:run(); error 'later' end)\n"
        "  assert(not ok)\n"
        "  local t = setmetatable({}, { __index = function(_, k) plan:run(); return k end })\n"
        "  assert(t.x == 'x')\n"
        "  assert(not pcall(plan.each, plan, 'colour', print))\n"
        "end");
    finish_all(job, NULL);
    assert_all_asked(job, 2);
    job_free(job);
}

static void samples_are_parts_too(void **state)
{
    struct folder *f = *state;
    char script[1024];
    snprintf(script, sizeof(script),
             "%sreturn { questions = q, samples = 3, policy = function(plan)\n"
             "  for n, part in plan:batches 'sample' do canvass.log('sample', n, #part); part:run() end end }",
             questions);
    struct engine_job *job = job_new(f, script, (struct script_limits)SCRIPT_LIMITS_DEFAULT);
    job_start(job);
    finish_all(job, NULL);
    assert_all_asked(job, 1);
    assert_non_null(strstr(f->log, "sample 1 64\nsample 2 64\nsample 3 64\n"));
    job_free(job);
}

static void many_parts(void **state)
{
    struct folder *f = *state;
    static const char script[] =
        "local q = {}; for i = 1, %d do q[i] = { id = 'q' .. i, prompt = 'why?' } end\n"
        "return { questions = q, regions = {'us'}, models = {'llama3.2-1b'}, policy = function(plan)\n"
        "  plan:each('question', function(part) part:run(); part:run() end)\n"
        "end }";
    static const int counts[] = {1000, 9999}; /* with the policy itself, as many as there may be */
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        char text[512];
        int count = counts[i];
        snprintf(text, sizeof(text), script, count);
        struct engine_job *job = job_new(f, text, (struct script_limits)SCRIPT_LIMITS_DEFAULT);
        struct rng rng;
        rng_seed(&rng, 1);
        job_start(job);
        assert_int_equal(job->count, count);
        finish_all(job, &rng);
        assert_all_asked(job, 2);
        job_free(job);
    }
    char text[512];
    snprintf(text, sizeof(text), script, 10000);
    struct engine_job *job = job_new(f, text, (struct script_limits)SCRIPT_LIMITS_DEFAULT);
    job_start(job);
    assert_fails(job, (const char *const[]){"10000 parts", "plan:batches", "job.lua:3", NULL});
    job_free(job);
}

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
        TEST(sequential_is_one_question_at_a_time), TEST(a_region_never_waits_for_another),
        TEST(an_endpoint_never_waits_for_another), TEST(free_is_everything_at_once), TEST(nested_parts_in_any_order),
        TEST(orders_reach_the_engine), TEST(parts_have_labels_and_counts), TEST(time_and_progress),
        TEST(waits_go_through_pcall_and_metamethods), TEST(samples_are_parts_too), TEST(many_parts),
        TEST(misuse_is_told_with_its_line), TEST(an_error_in_one_part_fails_the_policy), TEST(runaways_are_stopped),
        TEST(parts_share_a_budget), TEST(selections_have_an_end), TEST(what_was_run_is_given_back),
        TEST(parts_start_all_or_none), TEST(a_wait_ends_once), TEST(stop_in_the_middle), TEST(freed_while_it_runs),
        TEST(a_plan_of_an_earlier_run_is_refused), TEST(coroutines_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
