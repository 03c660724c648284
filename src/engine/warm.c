/* The stage before a job's policy: endpoints that are cold are warmed up, all at the same time, under the same permits
 * as anything else. A warm-up that fails leaves its endpoint cold, and the job goes on. */
#include "engine/state.h"

static bool wants_warming(const struct line *line)
{
    const struct endpoint_spec *spec = line->endpoint->spec;
    const struct tally *t = &line->job->endpoints[line->position].tally;
    return spec->warm && !endpoint_away(line->endpoint) && t->by_status[STATUS_PENDING];
}

void warm_begin(struct engine_job *job)
{
    int64_t now_us = engine_now(job->engine);
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        struct line *line = &job->lines[i];
        endpoint_touch(line->endpoint, now_us);
        if (line->endpoint->warm || !wants_warming(line))
            continue;
        line->to_warm = true;
        job->warm.planned++;
        job->warm.began_us = now_us;
        line_wake(line);
    }
}

bool warm_is_over(const struct engine_job *job)
{
    return job->warm.warm + job->warm.failed == job->warm.planned;
}

static void count_ended(struct engine_job *job, bool warm)
{
    ++*(warm ? &job->warm.warm : &job->warm.failed);
    if (warm_is_over(job))
        job->warm.ended_us = engine_now(job->engine);
}

/* While it stood in line another job may have warmed the endpoint, or it was given up or taken away. */
bool warm_wanted(struct line *line)
{
    const struct endpoint *ep = line->endpoint;
    bool lost = ep->breaker.state == BREAKER_DEAD || endpoint_away(ep) || !ep->spec->warm;
    if (line->to_warm && (ep->warm || lost)) {
        line->to_warm = false;
        count_ended(line->job, ep->warm);
    }
    return line->to_warm;
}

struct cell warm_cell(const struct line *line)
{
    return (struct cell){.question = line->job->plan->question_count, .endpoint = line->position};
}

void warm_ended(struct live *live)
{
    struct engine_job *job = live->line->job;
    job_add_cost(job, live->cost);
    count_ended(job, live->end_status == STATUS_SUCCEEDED);
    live_free(live);
}
