#include "cli/forecast.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"

void forecast_init(struct forecast *f, const struct plan *plan, const char *policy, unsigned runs)
{
    *f = (struct forecast){.policy = policy, .endpoint_count = plan->endpoint_count};
    for (int m = 0; m < MEASURES; m++)
        f->measures[m].values = mem_array(NULL, runs, sizeof(double));
    f->idle = mem_zalloc(plan->endpoint_count * sizeof *f->idle);
    for (uint32_t i = 0; i < plan->endpoint_count; i++)
        f->idle[i].endpoint = plan_endpoint(plan, i);
}

void forecast_done(struct forecast *f)
{
    for (int m = 0; m < MEASURES; m++)
        free(f->measures[m].values);
    free(f->idle);
}

/* ---- taking in ---- */

void forecast_event(struct forecast *f, const struct event *event)
{
    if (event->kind == EVENT_EXECUTION_ENDED && !event->warm && event->status == STATUS_FAILED)
        f->failures[event->class]++;
}

static void measure(struct forecast *f, enum measure m, double value)
{
    if (!isnan(value))
        f->measures[m].values[f->measures[m].count++] = value;
}

static void look_for_idle_gaps(struct forecast *f, const struct job_view *view, double speed)
{
    for (uint32_t i = 0; i < f->endpoint_count; i++) {
        int64_t idle_us = view->endpoints[i].longest_idle_us, scaledown_us = f->idle[i].endpoint->scaledown_us;
        if (!scaledown_us || idle_us <= scaledown_us)
            continue;
        f->idle[i].runs++;
        idle_us = (int64_t)((double)idle_us * speed);
        f->idle[i].idle_us = idle_us > f->idle[i].idle_us ? idle_us : f->idle[i].idle_us;
    }
}

void forecast_add(struct forecast *f, const struct rehearsal_end *end, int64_t bound_us, double speed)
{
    const struct job_view *view = end->view;
    uint32_t ended = view->tally.by_status[STATUS_SUCCEEDED] + view->tally.by_status[STATUS_FAILED];
    double makespan_s = end->stuck ? NAN : (double)end->makespan_us * speed / SECOND_US;
    double bound_s = (double)bound_us / SECOND_US;
    bool whole = !end->stuck && ended == view->plan->count && bound_us > 0;
    f->runs++;
    measure(f, MEASURE_MAKESPAN, makespan_s);
    measure(f, MEASURE_BOUND, bound_s);
    measure(f, MEASURE_RATIO, whole ? makespan_s / bound_s : NAN);
    measure(f, MEASURE_POSTS, (double)view->posts);
    measure(f, MEASURE_HOPS, (double)view->hops);
    measure(f, MEASURE_COLD, (double)fleet_totals(virtual_fleet(end->world))->cold_starts);
    measure(f, MEASURE_UNANSWERED, (double)view->plan->count - view->tally.by_status[STATUS_SUCCEEDED]);
    measure(f, MEASURE_COST, view->cost);
    if (view->max_in_flight > f->peak_in_flight)
        f->peak_in_flight = view->max_in_flight;
    if (end->stuck)
        f->stuck++;
    else
        f->states[view->state]++;
    look_for_idle_gaps(f, view, speed);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void forecast_finish(struct forecast *f)
{
    for (int m = 0; m < MEASURES; m++)
        qsort(f->measures[m].values, f->measures[m].count, sizeof(double), by_value);
}

/* ---- telling ---- */

double forecast_quantile(const struct forecast *f, enum measure m, double share)
{
    const struct measured *all = &f->measures[m];
    if (!all->count)
        return NAN;
    double place = share * (double)(all->count - 1);
    size_t below = (size_t)place, above = below + 1 < all->count ? below + 1 : below;
    return all->values[below] + (place - (double)below) * (all->values[above] - all->values[below]);
}

void forecast_add_states(const struct forecast *f, struct buf *out)
{
    const char *most = "never ends";
    unsigned runs = f->stuck;
    for (int s = 0; s < JOB_STATE_COUNT; s++)
        if (f->states[s] > runs) {
            most = job_state_name((enum job_state)s);
            runs = f->states[s];
        }
    buf_adds(out, most);
    if (runs < f->runs)
        buf_addf(out, " in %u of %u", runs, f->runs);
}

static void add_number(cJSON *object, const char *name, double value)
{
    cJSON_AddItemToObject(object, name, isnan(value) ? cJSON_CreateNull() : cJSON_CreateNumber(value));
}

static void add_idle(const struct forecast *f, cJSON *json)
{
    cJSON *idle = cJSON_AddArrayToObject(json, "idle");
    for (uint32_t i = 0; i < f->endpoint_count; i++) {
        if (!f->idle[i].runs)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", f->idle[i].endpoint->id);
        cJSON_AddNumberToObject(one, "idle_s", (double)f->idle[i].idle_us / SECOND_US);
        cJSON_AddNumberToObject(one, "runs", f->idle[i].runs);
        cJSON_AddItemToArray(idle, one);
    }
}

cJSON *forecast_json(const struct forecast *f)
{
    static const struct { const char *name; enum measure measure; } medians[] = {
        {"lower_bound_s", MEASURE_BOUND}, {"ratio", MEASURE_RATIO}, {"posts", MEASURE_POSTS}, {"hops", MEASURE_HOPS},
        {"cold_starts", MEASURE_COLD}, {"unanswered", MEASURE_UNANSWERED}, {"cost", MEASURE_COST},
    };
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "policy", f->policy);
    cJSON_AddNumberToObject(json, "runs", f->runs);
    cJSON *makespan = cJSON_AddObjectToObject(json, "makespan_s");
    add_number(makespan, "median", forecast_quantile(f, MEASURE_MAKESPAN, 0.5));
    add_number(makespan, "low", forecast_quantile(f, MEASURE_MAKESPAN, 0.025));
    add_number(makespan, "high", forecast_quantile(f, MEASURE_MAKESPAN, 0.975));
    for (size_t i = 0; i < ARRAY_LEN(medians); i++)
        add_number(json, medians[i].name, forecast_quantile(f, medians[i].measure, 0.5));
    cJSON_AddNumberToObject(json, "peak_in_flight", f->peak_in_flight);
    cJSON *states = cJSON_AddObjectToObject(json, "states");
    for (int s = 0; s < JOB_STATE_COUNT; s++)
        if (f->states[s])
            cJSON_AddNumberToObject(states, job_state_name((enum job_state)s), f->states[s]);
    cJSON_AddNumberToObject(json, "never_ended", f->stuck);
    cJSON *failures = cJSON_AddObjectToObject(json, "failures");
    for (int c = 0; c < CLASS_COUNT; c++)
        if (f->failures[c])
            cJSON_AddNumberToObject(failures, class_name((enum failure_class)c), (double)f->failures[c] / f->runs);
    add_idle(f, json);
    return json;
}

/* ---- the lower bound ---- */

int64_t forecast_bound_us(const struct plan *plan, const struct fleet_spec *fleet, const size_t *places, uint64_t seed)
{
    int64_t bound_us = 0;
    for (uint32_t i = 0; i < plan->endpoint_count; i++) {
        const struct endpoint_spec *e = plan_endpoint(plan, i);
        unsigned slots = e->adaptive.ceiling > e->slots ? e->adaptive.ceiling : e->slots;
        uint64_t calls = (uint64_t)plan->question_count * plan->sample_count;
        int64_t own_us = fleet_least_us(fleet, seed, places[i], calls, slots);
        bound_us = own_us > bound_us ? own_us : bound_us;
    }
    return bound_us;
}
