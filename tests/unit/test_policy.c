/* The policies that come along, and the algebra of plans. */
#include "policy_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(sequential_is_one_question_at_a_time), TEST(a_region_never_waits_for_another),
        TEST(an_endpoint_never_waits_for_another), TEST(free_is_everything_at_once), TEST(nested_parts_in_any_order),
        TEST(orders_reach_the_engine), TEST(parts_have_labels_and_counts), TEST(time_and_progress),
        TEST(waits_go_through_pcall_and_metamethods), TEST(samples_are_parts_too), TEST(many_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
