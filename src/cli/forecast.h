/* forecast.h -- what a policy comes to over many rehearsals, each with another seed.
 *
 * Times are the fleet's. The lower bound of a run is the least time its busiest endpoint needs for its own
 * executions, one after another in each of its slots, from a cold start, when nothing goes wrong: whatever the policy,
 * no run can be shorter. Its ratio is taken over runs that ended by themselves with nothing left out. */
#ifndef CLI_FORECAST_H
#define CLI_FORECAST_H

#include "cli/rehearsal.h"

struct cJSON;

enum measure {
    MEASURE_MAKESPAN, MEASURE_BOUND, MEASURE_RATIO, MEASURE_POSTS, MEASURE_HOPS, MEASURE_COLD, MEASURE_UNANSWERED,
    MEASURE_COST, MEASURES
};

struct measured {
    double *values;            /* of the runs that have one; sorted by forecast_finish() */
    size_t count;
};

struct idle_gap {
    const struct endpoint_spec *endpoint;
    int64_t idle_us;           /* the longest of all runs */
    unsigned runs;             /* in which it was longer than the endpoint stays warm */
};

struct forecast {
    const char *policy;
    unsigned runs;
    struct measured measures[MEASURES];
    unsigned peak_in_flight;   /* of all runs */
    unsigned states[JOB_STATE_COUNT], stuck;
    uint64_t failures[CLASS_COUNT]; /* executions of all runs, by what failed them */
    struct idle_gap *idle;     /* by position in the plan */
    uint32_t endpoint_count;
};

void forecast_init(struct forecast *f, const struct plan *plan, const char *policy, unsigned runs);
void forecast_done(struct forecast *f);

void forecast_event(struct forecast *f, const struct event *event);
void forecast_add(struct forecast *f, const struct rehearsal_end *end, int64_t bound_us, double speed);
void forecast_finish(struct forecast *f);

/* Between the two values around it; NAN when no run has any. */
double forecast_quantile(const struct forecast *f, enum measure m, double share);
/* The state most runs ended in, as "succeeded", or "timed_out in 97 of 100 runs". */
void forecast_add_states(const struct forecast *f, struct buf *out);
struct cJSON *forecast_json(const struct forecast *f);

/* The lower bound for a plan, in the fleet's time. places: each endpoint's place in the fleet, by position in the
 * plan. */
int64_t forecast_bound_us(const struct plan *plan, const struct fleet_spec *fleet, const size_t *places, uint64_t seed);

#endif
