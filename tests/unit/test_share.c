/* Jobs side by side: each gets the same share of what they share, however many endpoints it has. */
#include "world.h"

enum { JOBS = 3, SEEN = 150 };
enum bound { BY_ENDPOINT, BY_REGION, BY_GROUP, BY_GLOBAL, BOUNDS };

/* The world's own job asks all endpoints, these fewer. */
struct guest {
    struct job_spec *spec;
    struct selection *all;
    struct engine_job *job;
    bool over;
};

static struct rng service;
static unsigned started[JOBS];
static enum bound bound;

static void guest_start(void *ctx, struct engine_job *job)
{
    const struct guest *g = ctx;
    engine_run(job, selection_copy(g->all), NULL);
}

static void guest_ready(void *ctx, void *token)
{
    const struct guest *g = ctx;
    (void)token;
    engine_policy_ended(g->job, NULL);
}

static void guest_stop(void *ctx)
{
    (void)ctx;
}

static void guest_ended(void *ctx, struct engine_job *job)
{
    (void)job;
    ((struct guest *)ctx)->over = true;
}

/* Asks as many models of the first region. */
static void guest_submit(struct world *w, struct guest *g, unsigned number, unsigned models)
{
    static const char *const first[] = {"r0"};
    struct err err;
    char id[16];
    struct world *like = world_new(1, 1, 100);
    g->spec = like->spec;
    like->spec = NULL;
    world_free(like);
    g->spec->regions = first;
    g->spec->region_count = 1;
    g->spec->model_count = models;
    g->spec->models = arena_alloc(&g->spec->arena, models * sizeof *g->spec->models);
    for (unsigned m = 0; m < models; m++)
        g->spec->models[m] = (struct model_choice){.model = w->table->endpoints[m].model};
    struct plan *plan = plan_make(g->spec, w->table, &err);
    assert_non_null(plan);
    g->all = selection_all(plan);
    snprintf(id, sizeof id, "t-%u", number);
    g->job = engine_submit(w->engine, &(struct job_start){
        .id = id, .first_row = number * 1000, .spec = g->spec, .plan = plan, .ended = guest_ended, .ctx = g,
        .policy = {.ctx = g, .start = guest_start, .ready = guest_ready, .stop = guest_stop}});
}

static void guest_free(struct guest *g)
{
    engine_job_free(g->job);
    selection_free(g->all);
    job_spec_free(g->spec);
}

static void count_starts(struct world *w, const struct exchange *x, struct reply *out)
{
    unsigned number;
    (void)w;
    assert_int_equal(sscanf(x->trace_id, "t-%u.", &number), 1);
    bool shared = bound == BY_ENDPOINT ? x->endpoint->index == 0 : bound != BY_REGION || x->endpoint->region == 0;
    started[number - 1] += shared;
    out->takes_us = (int64_t)(200 + rng_next(&service) % 1800) * MS_US;
}

static void bind_table(struct region_table *t, unsigned limit)
{
    t->group_count = 1;
    t->groups = arena_alloc(&t->arena, sizeof *t->groups);
    t->groups[0] = (struct group_spec){.name = "quota", .in_flight = bound == BY_GROUP ? limit : 0};
    t->regions[0].in_flight = bound == BY_REGION ? limit : 0;
    t->in_flight = bound == BY_GLOBAL ? limit : 0;
    for (size_t i = 0; i < t->endpoint_count; i++) {
        t->endpoints[i].group = 0;
        t->endpoints[i].slots = bound == BY_ENDPOINT ? limit : 50;
    }
}

static unsigned sum(const unsigned counts[JOBS])
{
    return counts[0] + counts[1] + counts[2];
}

static void until(struct world *w, unsigned starts)
{
    while (sum(started) < starts)
        assert_true(world_step(w));
}

/* From when all wait at the gate, whatever has started: what one got more than another is at most one start. */
static void check_shares(struct world *w)
{
    unsigned before[JOBS], from = sum(started);
    memcpy(before, started, sizeof before);
    while (sum(started) < from + SEEN) {
        unsigned least = UINT32_MAX, most = 0;
        assert_true(world_step(w));
        for (unsigned j = 0; j < JOBS; j++) {
            unsigned got = started[j] - before[j];
            least = got < least ? got : least;
            most = got > most ? got : most;
        }
        if (most > least + 1)
            fail_msg("bound %d: %u, %u and %u of %u", bound, started[0] - before[0], started[1] - before[1],
                     started[2] - before[2], sum(started) - from);
    }
}

static void jobs_that_share_get_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++)
        for (bound = 0; bound < BOUNDS; bound++) {
            struct guest guests[JOBS - 1] = {{.over = false}};
            struct world *w = world_new(2, 4, 120);
            memset(started, 0, sizeof started);
            rng_seed(&service, seed);
            w->respond = count_starts;
            bind_table(w->table, 1 + (unsigned)seed % 5);
            world_start(w);
            until(w, 2 + (unsigned)(seed % 7));
            guest_submit(w, &guests[0], 2, 1);
            until(w, sum(started) + (unsigned)(seed % 3));
            guest_submit(w, &guests[1], 3, 2);
            until(w, 90);
            check_shares(w);
            world_run(w);
            while (!guests[0].over || !guests[1].over)
                assert_true(world_step(w));
            assert_int_equal(engine_in_flight(w->engine, NULL), 0);
            for (unsigned j = 0; j < JOBS - 1; j++)
                guest_free(&guests[j]);
            world_free(w);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_that_share_get_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
