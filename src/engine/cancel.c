/* Some executions of a job end, and the others go on. */
#include "engine/state.h"

static struct live *find_live(struct line *line, uint64_t n)
{
    LIST_EACH(it, &line->lives) {
        struct live *live = container_of(it, struct live, in_line);
        if (live->n == n && !live->warm)
            return live;
    }
    return NULL;
}

/* One that nobody has asked yet. */
static void cancel_pending(struct engine_job *job, uint64_t n, struct cell cell, const char *reason)
{
    struct engine *e = job->engine;
    struct rows_closed row = {
        .first_row = job->first_row + (int64_t)n,
        .count = 1,
        .status = STATUS_CANCELLED,
        .error = reason,
        .ended_at = engine_unix_s(e, engine_now(e)),
    };
    e->ports.recorder.rows_closed(e->ports.recorder.ctx, &row);
    job_move(job, cell, STATUS_CANCELLED);
}

static bool cancel_one(struct engine_job *job, struct cell cell, const char *reason)
{
    uint64_t n = plan_number(job->plan, cell);
    enum status status = job->status[n];
    if (status_is_final(status))
        return false;
    struct live *live = find_live(&job->lines[cell.endpoint], n);
    if (live && live->phase == PHASE_ENDING)
        return false;
    if (live)
        live_stop(live, CLASS_NONE, reason);
    else
        cancel_pending(job, n, cell, reason);
    line_look_again(&job->lines[cell.endpoint]);
    return true;
}

uint64_t engine_cancel_some(struct engine_job *job, const struct execution_choice *which, const char *reason)
{
    const struct plan *plan = job->plan;
    uint64_t cancelled = 0;
    if (job->closed || job->stopping != JOB_GOES_ON)
        return 0;
    for (uint64_t n = which->n < 0 ? 0 : (uint64_t)which->n; n < plan->count; n++) {
        struct cell cell = plan_cell(plan, n);
        bool chosen = (which->question < 0 || cell.question == which->question) &&
                      (which->endpoint < 0 || cell.endpoint == which->endpoint);
        cancelled += chosen && cancel_one(job, cell, reason);
        if (which->n >= 0)
            break;
    }
    return cancelled;
}
