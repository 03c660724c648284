/* policy_fixture.h -- policies before an engine that ends what it was asked to run in any order the test likes. */
#ifndef TESTS_POLICY_FIXTURE_H
#define TESTS_POLICY_FIXTURE_H

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

static inline void add_wish(struct engine_job *job, struct wish wish)
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

static inline struct engine_job *job_new(struct folder *f, const char *script, struct script_limits limits)
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

static inline void job_start(struct engine_job *job)
{
    job->ended = false;
    job->error[0] = '\0';
    job_file_policy(job->file, job->plan, &job->port);
    job->inside = true;
    job->port.start(job->port.ctx, job);
    job->inside = false;
}

static inline void ready(struct engine_job *job, void *token)
{
    job->inside = true;
    job->port.ready(job->port.ctx, token);
    job->inside = false;
}

/* Ends wish i. */
static inline void finish(struct engine_job *job, size_t i)
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

static inline void finish_all(struct engine_job *job, struct rng *rng)
{
    while (job->count > 0)
        finish(job, rng ? rng_next(rng) % job->count : 0);
}

static inline void job_free(struct engine_job *job)
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
static inline struct engine_job *start_limited(struct folder *f, const char *policy, struct script_limits limits)
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

static inline struct engine_job *start(struct folder *f, const char *policy)
{
    return start_limited(f, policy, (struct script_limits)SCRIPT_LIMITS_DEFAULT);
}

static inline void assert_ended_well(const struct engine_job *job)
{
    assert_string_equal(job->error, "");
    assert_true(job->ended);
}

static inline void assert_all_asked(const struct engine_job *job, unsigned times)
{
    assert_ended_well(job);
    for (uint64_t n = 0; n < job->plan->count; n++)
        assert_int_equal(job->asked[n], times);
}

static inline void assert_fails(struct engine_job *job, const char *const *parts)
{
    if (!job->ended || !job->error[0])
        fail_msg("the policy did not fail with \"%s\"", parts[0]);
    for (; *parts; parts++)
        if (!strstr(job->error, *parts))
            fail_msg("\"%s\" is not in: %s", *parts, job->error);
}

#endif
