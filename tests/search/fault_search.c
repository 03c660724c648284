/* fault_search -- random worlds in virtual time, each from a seed, with a referee: see search.h.
 *
 *   fault_search FIRST COUNT       so many seeds
 *   fault_search --for SECONDS     as many as there is time for, from a seed nobody has tried
 *   fault_search --trace SEED      one of them, step by step */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "search.h"

enum { STEPS_MAX = 200000, SCENARIO_S = 20 };

static uint64_t seed_under_way;

/* ---- policies ---- */

static void lane_next(struct search_job *j, unsigned i)
{
    struct search *s = j->search;
    struct lane *lane = &j->lanes[i];
    char label[256];
    uint32_t parts = j->inner < 0 ? 1 : selection_part_count(lane->all, (enum key)j->inner);
    selection_free(lane->running);
    lane->running = NULL;
    if (chance(s, j->error_share)) {
        j->policy_failed = true;
        j->stopped = STOPPED_ABORT;
        engine_policy_ended(j->job, "drawn to fail");
    } else if (!lane->napped && chance(s, j->nap_share)) {
        lane->napped = true;
        engine_sleep(j->job, (int64_t)draw(s, 20) * SECOND_US, lane);
    } else if (lane->next < parts) {
        lane->napped = false;
        lane->running = j->inner < 0 ? selection_copy(lane->all)
                                     : selection_part(lane->all, (enum key)j->inner, lane->next, label);
        lane->next++;
        engine_run(j->job, selection_copy(lane->running), lane);
    } else if (!lane->over) {
        lane->over = true;
        if (--j->lanes_open == 0)
            engine_policy_ended(j->job, NULL);
    }
}

static struct selection *ordered(struct search_job *j, struct selection *all)
{
    struct selection *s = j->order == 1 ? selection_shuffle(all, 7)
                          : j->order == 2 ? selection_rotate(all, KEY_QUESTION, 7)
                          : j->order == 3 ? selection_interleave(all, KEY_REGION) : selection_copy(all);
    selection_free(all);
    return s;
}

static void policy_start(void *ctx, struct engine_job *job)
{
    struct search_job *j = ctx;
    char label[256];
    struct selection *all = ordered(j, selection_all(job->plan));
    uint32_t outer = j->outer < 0 ? 1 : selection_part_count(all, (enum key)j->outer);
    j->job = job;
    j->lane_count = 0;
    for (uint32_t i = 0; i < outer; i++)
        for (int twin = 0; twin <= j->twice && j->lane_count < LANES_MAX; twin++)
            j->lanes[j->lane_count++] = (struct lane){
                .all = j->outer < 0 ? selection_copy(all) : selection_part(all, (enum key)j->outer, i, label)};
    j->lanes_open = j->lane_count;
    selection_free(all);
    for (unsigned i = 0; i < j->lane_count && !job->policy_ended; i++)
        lane_next(j, i);
}

static void policy_ready(void *ctx, void *token)
{
    struct search_job *j = ctx;
    struct lane *lane = token;
    PROMISE(j->search, !j->stopped, "a policy hears of its runs after the job was stopped");
    if (lane->running)
        referee_run_ended(j->search, j, lane);
    lane_next(j, (unsigned)(lane - j->lanes));
}

static void policy_stop(void *ctx)
{
    (void)ctx;
}

static void job_ended(void *ctx, struct engine_job *job)
{
    struct search_job *j = ctx;
    (void)job;
    PROMISE(j->search, !j->over, "a job ends twice");
    j->over = true;
    referee_job_over(j->search, j);
}

/* ---- lives ---- */

static void lanes_free(struct search_job *j)
{
    for (unsigned i = 0; i < j->lane_count; i++) {
        selection_free(j->lanes[i].all);
        selection_free(j->lanes[i].running);
    }
    j->lane_count = 0;
}

static void job_begin(struct search *s, struct search_job *j, unsigned i)
{
    struct err err;
    char id[16];
    struct plan *plan = plan_make(j->spec, s->table, &err);
    PROMISE(s, plan && plan->count == j->count, "no plan");
    snprintf(id, sizeof id, "j%u", i);
    j->over = j->policy_failed = j->paused = false;
    j->stopped = STOPPED_NOT;
    engine_submit(s->engine, &(struct job_start){
        .id = id, .first_row = j->first_row, .spec = j->spec, .plan = plan, .past = s->life ? &j->past : NULL,
        .policy = {j, policy_start, policy_ready, policy_stop}, .ended = job_ended, .ctx = j});
}

static void life_begin(struct search *s)
{
    struct engine_ports ports;
    ports_begin(s, &ports);
    if (s->table->endpoint_count < s->first_table->endpoint_count) { /* else a job has no plan */
        struct region_table *whole = table_retuned(s, true);
        region_table_unref(s->table);
        s->table = whole;
    }
    referee_life(s);
    s->engine = engine_new(&ports, s->table);
    virtual_attach(s->world, s->engine);
    trace(s, "---- life %u ----", s->life);
    bool begins[JOBS_MAX];
    for (unsigned i = 0; i < s->job_count; i++) {
        begins[i] = !s->jobs[i].over || chance(s, 0.5);
        if (begins[i] && s->life) {
            rows_open_again(s, &s->jobs[i]);
            rows_past(s, &s->jobs[i]);
        }
    }
    memcpy(s->said, s->disk, sizeof s->said);
    for (unsigned i = 0; i < s->job_count; i++)
        if (begins[i])
            job_begin(s, &s->jobs[i], i);
}

static void life_end(struct search *s)
{
    engine_free(s->engine);
    for (unsigned i = 0; i < s->job_count; i++) {
        lanes_free(&s->jobs[i]);
        s->jobs[i].job = NULL;
    }
}

static bool all_over(const struct search *s)
{
    for (unsigned i = 0; i < s->job_count; i++)
        if (!s->jobs[i].over)
            return false;
    return true;
}

static void stop_one(struct search *s, struct search_job *j, enum stop_how how)
{
    if (!j->job || j->over)
        return;
    trace(s, "the job of row %d is stopped", (int)j->first_row);
    s->figures->stops++;
    if (!j->job->closed) /* one that is about to end has nothing to stop */
        j->stopped = how == STOP_ABORT || j->stopped == STOPPED_ABORT ? STOPPED_ABORT : STOPPED_DRAIN;
    engine_stop(j->job, how, JOB_CANCELLED, "drawn to be cancelled");
}

static void pause_or_go_on(struct search *s, struct search_job *j)
{
    if (!j->job || j->over)
        return;
    bool may = !j->job->closed && j->job->stopping == JOB_GOES_ON;
    bool done = j->paused ? engine_unpause(j->job) : engine_pause(j->job, "drawn to be paused");
    PROMISE(s, done == may, "a job that %s is not %s", may ? "runs" : "ends", j->paused ? "let go on" : "paused");
    trace(s, "the job of row %d is %s", (int)j->first_row, j->paused ? "let go on" : "paused");
    j->paused = may && !j->paused;
    s->figures->pauses++;
}

/* By number, question, endpoint, cell, or all of them. */
static void cancel_some(struct search *s, struct search_job *j)
{
    struct execution_choice which = {-1, -1, -1};
    uint64_t open = 0;
    if (!j->job || j->over)
        return;
    const struct plan *plan = j->job->plan;
    if (chance(s, 0.4))
        which.n = (int64_t)draw(s, plan->count);
    else if (chance(s, 0.7))
        which.question = (int64_t)draw(s, plan->question_count);
    if (which.n < 0 && chance(s, 0.7))
        which.endpoint = (int64_t)draw(s, plan->endpoint_count);
    for (uint64_t n = 0; n < plan->count && !j->job->closed && j->job->stopping == JOB_GOES_ON; n++) {
        struct cell cell = plan_cell(plan, n);
        open += (which.n < 0 || n == (uint64_t)which.n) && (which.question < 0 || cell.question == which.question) &&
                (which.endpoint < 0 || cell.endpoint == which.endpoint) &&
                !status_is_final(s->said[j->first_row + (int64_t)n].status);
    }
    trace(s, "cancelled of the job of row %d: number %d, question %d, endpoint %d", (int)j->first_row, (int)which.n,
          (int)which.question, (int)which.endpoint);
    uint64_t cancelled = engine_cancel_some(j->job, &which, "drawn to be cancelled");
    PROMISE(s, cancelled == open, "%" PRIu64 " are cancelled, of %" PRIu64 " that were open", cancelled, open);
    s->figures->cancels += cancelled;
}

/* Nothing is due any more: right only where a job is paused, or somebody waits for an endpoint that is. */
static void unblock(struct search *s)
{
    for (unsigned k = 0; k < s->job_count; k++)
        if (s->jobs[k].paused && !s->jobs[k].over) {
            pause_or_go_on(s, &s->jobs[k]);
            return;
        }
    for (unsigned i = 0; i < s->rows_count; i++)
        if (s->disk[i].status == STATUS_PENDING || s->disk[i].status == STATUS_BACKING_OFF ||
            s->disk[i].status == STATUS_WAITING_RESULT)
            if (s->table->endpoints[endpoint_of_row(s, i)].paused) {
                for (unsigned k = 0; k < s->job_count; k++)
                    stop_one(s, &s->jobs[k], s->jobs[k].stopped ? STOP_ABORT : STOP_DRAIN);
                return;
            }
    broken(s, __LINE__, "nothing will ever happen, and jobs are not over");
}

/* Somebody edits the region table. */
static void retune(struct search *s)
{
    struct region_table *to = table_retuned(s, false);
    trace(s, "revision %d", (int)to->revision);
    s->figures->retunings++;
    referee_retuned(s, to);
    engine_change_table(s->engine, to);
    region_table_unref(s->table);
    s->table = to;
}

/* True: this life ends here. */
static bool act(struct search *s)
{
    bool last = s->life + 1 >= s->lives;
    if (chance(s, s->stop_share))
        stop_one(s, &s->jobs[draw(s, s->job_count)], chance(s, 0.5) ? STOP_ABORT : STOP_DRAIN);
    if (!s->store_failed && chance(s, s->retune_share))
        retune(s);
    if (!s->store_failed && chance(s, s->pause_share))
        pause_or_go_on(s, &s->jobs[draw(s, s->job_count)]);
    if (!s->store_failed && chance(s, s->cancel_share))
        cancel_some(s, &s->jobs[draw(s, s->job_count)]);
    if (chance(s, s->jump_share)) {
        s->jumped_us += (int64_t)draw(s, 600) * SECOND_US;
        s->figures->jumps++;
        trace(s, "the clock jumps");
        s->clock.wake_at(s->clock.ctx, virtual_now_us(s->world));
    }
    if (!last && !s->store_failed && chance(s, s->fail_share)) {
        trace(s, "the store fails");
        s->figures->crashes++;
        engine_store_failed(s->engine, "no space left");
        s->store_failed = true;
        s->commit_due_us = NEVER_US;
    }
    if (last || !chance(s, s->crash_share))
        return false;
    trace(s, "it crashes");
    s->figures->crashes++;
    return true;
}

static void life(struct search *s)
{
    life_begin(s);
    for (unsigned steps = 0; !all_over(s); steps++) {
        int64_t at_us = ports_next_us(s);
        PROMISE(s, steps < STEPS_MAX, "%u steps, and no end", steps);
        if (at_us == NEVER_US) {
            unblock(s);
            continue;
        }
        virtual_go(s->world, at_us);
        ports_run_due(s);
        s->figures->steps++;
        referee_step(s);
        if (act(s))
            break;
    }
    life_end(s);
}

/* ---- scenarios ---- */

static void scenario(uint64_t seed, bool traced, struct figures *figures)
{
    struct search *s = mem_zalloc(sizeof *s);
    seed_under_way = seed;
    alarm(SCENARIO_S);
    s->seed = seed;
    s->trace = traced;
    s->figures = figures;
    rng_seed(&s->rng, seed * UINT64_C(0x9e3779b97f4a7c15));
    scenario_draw(s);
    for (unsigned i = 0; i < s->job_count; i++) {
        s->jobs[i].begun = mem_zalloc(s->jobs[i].count * sizeof *s->jobs[i].begun);
        s->jobs[i].status = mem_zalloc(s->jobs[i].count);
    }
    s->world = virtual_new(&(struct virtual_options){
        .fleet = s->fleet, .seed = s->fleet->seed, .speed = 1, .unix_zero_s = 1e9, .ended = ports_fleet_ended,
        .ctx = s});
    for (; s->life < s->lives; s->life++)
        life(s);
    for (size_t i = 0; i < s->fleet->endpoint_count; i++)
        for (int f = 0; f < FAULT_KINDS; f++)
            figures->faults += fleet_counts(virtual_fleet(s->world), i)->faults[f];
    figures->scenarios++;
    virtual_free(s->world);
    for (unsigned i = 0; i < s->job_count; i++) {
        job_spec_free(s->jobs[i].spec);
        free(s->jobs[i].begun);
        free(s->jobs[i].status);
    }
    region_table_unref(s->table);
    region_table_unref(s->first_table);
    fleet_spec_free(s->fleet);
    free(s->queue);
    free(s);
}

/* Whatever broke, an assertion of the engine, memory or a promise: how to see it again. */
static void say_seed(void)
{
    fprintf(stderr, "see it again with: fault_search --trace %" PRIu64 "\n", seed_under_way);
}

static void broke(int signal_number)
{
    if (signal_number == SIGALRM)
        fprintf(stderr, "broken promise: %d seconds, and no end\n", SCENARIO_S);
    say_seed();
    _exit(1);
}

void __asan_on_error(void);
void __asan_on_error(void)
{
    say_seed();
}

static void tell(const struct figures *f, double took_s)
{
    printf("%" PRIu64 " scenarios, %" PRIu64 " steps, %" PRIu64 " events, %" PRIu64 " POSTs, %" PRIu64
           " faults, %" PRIu64 " crashes, %" PRIu64 " stops, %" PRIu64 " clock jumps, %" PRIu64 " table edits, %" PRIu64
           " pauses, %" PRIu64 " cancelled, 0 broken promises, %.1f s\n",
           f->scenarios, f->steps, f->events, f->posts, f->faults, f->crashes, f->stops, f->jumps, f->retunings,
           f->pauses, f->cancels, took_s);
}

int main(int argc, char **argv)
{
    struct figures figures = {0};
    double began_s = unix_now_s();
    signal(SIGABRT, broke);
    signal(SIGALRM, broke);
    if (argc == 3 && strcmp(argv[1], "--trace") == 0) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        scenario(strtoull(argv[2], NULL, 10), true, &figures);
    } else if (argc == 3 && strcmp(argv[1], "--for") == 0) {
        uint64_t seed = rng_entropy() >> 24;
        while (unix_now_s() - began_s < atof(argv[2]))
            scenario(seed++, false, &figures);
    } else if (argc == 3) {
        uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
        for (uint64_t i = 0; i < count; i++)
            scenario(first + i, false, &figures);
    } else {
        fprintf(stderr, "usage: fault_search FIRST COUNT | --for SECONDS | --trace SEED\n");
        return 2;
    }
    tell(&figures, unix_now_s() - began_s);
    return 0;
}
