/* Runs: how a selection that a policy started goes through the lines of its endpoints. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/state.h"

/* A policy that sleeps for no time in a loop waits for something to change: it shall not take the CPU. */
#define SHORTEST_NAP_US MS_US
enum { READY_IN_A_ROUND = 100 };

static void run_end_if_done(struct run *run)
{
    if (run->remaining == 0) {
        list_unlink(&run->link);
        list_push(&run->job->ended_runs, &run->link);
        engine_poke(run->job->engine);
    }
}

void run_count_down(struct run *run)
{
    assert(run->remaining > 0);
    run->remaining--;
    run_end_if_done(run);
}

/* Another run has this execution under way: wait for it there. */
static void watch(struct line *line, uint64_t n, struct run *run)
{
    LIST_EACH(it, &line->lives) {
        struct live *live = container_of(it, struct live, in_line);
        if (live->n == n) {
            live_watch(live, run);
            return;
        }
    }
    assert(false && "an open execution is not alive");
}

static struct cell part_cell(const struct line *line, const struct part *part)
{
    return selection_line_at(part->run->selection, line->position, part->next);
}

bool line_next(struct line *line, struct run **run, struct cell *cell)
{
    while (!list_empty(&line->parts)) {
        struct part *part = container_of(line->parts.next, struct part, link);
        uint64_t count = selection_line_count(part->run->selection);
        for (; part->next < count; part->next++) {
            *cell = part_cell(line, part);
            uint64_t n = plan_number(line->job->plan, *cell);
            enum status s = line->job->status[n];
            if (s == STATUS_PENDING) {
                *run = part->run;
                return true;
            }
            if (status_is_final(s))
                run_count_down(part->run);
            else
                watch(line, n, part->run);
        }
        list_unlink(&part->link);
    }
    return false;
}

void line_started(struct line *line)
{
    container_of(line->parts.next, struct part, link)->next++;
}

void engine_run(struct engine_job *job, struct selection *s, void *token)
{
    struct run *run = mem_zalloc(sizeof *run + s->endpoint_count * sizeof run->parts[0]);
    run->job = job;
    run->selection = s;
    run->token = token;
    run->remaining = selection_count(s);
    run->queued_us = engine_now(job->engine);
    list_push(&job->runs, &run->link);
    for (uint32_t i = 0; i < s->endpoint_count; i++) {
        struct line *line = &job->lines[s->endpoints[i]];
        run->parts[i].run = run;
        list_push(&line->parts, &run->parts[i].link);
        line_wake(line);
    }
    run_end_if_done(run);
}

static void run_free(struct run *run)
{
    list_unlink(&run->link);
    for (uint32_t i = 0; i < run->selection->endpoint_count; i++)
        list_unlink(&run->parts[i].link);
    selection_free(run->selection);
    free(run);
}

/* Executions that are under way go on without the runs that wanted them. */
static void runs_forget(struct engine_job *job)
{
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++)
        LIST_EACH(it, &job->lines[i].lives) {
            struct live *live = container_of(it, struct live, in_line);
            live->run = NULL;
            while (!list_empty(&live->watchers))
                free(container_of(list_pop(&live->watchers), struct watcher, link));
        }
}

void runs_free(struct engine_job *job)
{
    runs_forget(job);
    while (!list_empty(&job->runs))
        run_free(container_of(job->runs.next, struct run, link));
    while (!list_empty(&job->ended_runs))
        run_free(container_of(job->ended_runs.next, struct run, link));
    while (!list_empty(&job->naps))
        nap_free(container_of(job->naps.next, struct nap, link));
}

/* The timeout does not run while endpoints warm up: their own deadlines bound that. */
bool job_start_policy(struct engine_job *job)
{
    if (job->policy_started || job->policy_ended || !warm_is_over(job))
        return false;
    job->policy_started = true;
    if (job->spec->timeout_us && !job->first_dispatch_us)
        timer_set(&job->engine->timers, &job->timeout, engine_now(job->engine) + job->spec->timeout_us);
    job->policy.start(job->policy.ctx, job);
    return true;
}

/* Tells the policy of what has ended. True if there was anything to tell. A run of nothing ends as it starts, so one
 * round has a bound. */
bool job_ready_policies(struct engine_job *job)
{
    bool told = job_start_policy(job);
    for (unsigned n = 0; n < READY_IN_A_ROUND && !list_empty(&job->ended_runs) && !job->policy_ended; n++) {
        struct run *run = container_of(job->ended_runs.next, struct run, link);
        void *token = run->token;
        run_free(run);
        job->policy.ready(job->policy.ctx, token);
        told = true;
    }
    return told;
}

void nap_free(struct nap *nap)
{
    list_unlink(&nap->link);
    timer_off(&nap->job->engine->timers, &nap->timer);
    free(nap);
}

static void nap_over(struct timer *t)
{
    struct nap *nap = container_of(t, struct nap, timer);
    struct engine_job *job = nap->job;
    void *token = nap->token;
    nap_free(nap);
    if (!job->policy_ended)
        job->policy.ready(job->policy.ctx, token);
}

void engine_sleep(struct engine_job *job, int64_t for_us, void *token)
{
    struct nap *nap = mem_zalloc(sizeof *nap);
    nap->job = job;
    nap->token = token;
    nap->timer.fire = nap_over;
    list_push(&job->naps, &nap->link);
    timer_set(&job->engine->timers, &nap->timer,
              engine_now(job->engine) + (for_us > SHORTEST_NAP_US ? for_us : SHORTEST_NAP_US));
    engine_poke(job->engine);
}
