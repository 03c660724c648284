/* live.h -- what the two files of a live execution share: live.c asks, live_end.c ends. */
#ifndef ENGINE_LIVE_H
#define ENGINE_LIVE_H

#include "engine/state.h"

static inline struct engine *live_engine(const struct live *live)
{
    return live->line->job->engine;
}

static inline const struct endpoint_spec *live_spec(const struct live *live)
{
    return live->spec;
}

/* Of the execution, once its first POST has left. */
static inline int64_t live_deadline_us(const struct live *live)
{
    return live->started_us + live_spec(live)->deadline_us;
}

static inline void live_move(struct live *live, enum status to)
{
    if (!live->warm)
        job_move(live->line->job, live->cell, to);
}

/* ---- live_end.c ---- */
void live_wait(struct live *live, enum phase phase, void (*durable)(struct await *), uint64_t number);
void live_tell(const struct live *live, enum event_kind kind, int64_t wait_us);
void live_set_error(struct live *live, enum failure_class class, const char *error);
/* These two end the attempt under way. r and a may be NULL. */
void live_end_attempt(struct live *live, enum status status, const struct response *r, const struct answer *a);
void live_fail_or_retry(struct live *live, bool retry, int64_t asked_wait_us, const struct response *r,
                        const struct answer *a);
void live_end_lost(struct live *live); /* an attempt of an earlier run, of which nothing came */

#endif
