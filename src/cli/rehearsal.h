/* rehearsal.h -- one run of a job in virtual time, by the real engine, policy and adapters.
 *
 * Asks nobody and keeps nothing. An hour takes milliseconds. */
#ifndef CLI_REHEARSAL_H
#define CLI_REHEARSAL_H

#include "script/job_file.h"
#include "sim/virtual.h"

/* How it ended; lives during the call that tells it. */
struct rehearsal_end {
    const struct job_view *view;
    const struct virtual *world;
    int64_t makespan_us;               /* from the first request to the end of the job; the engine's time */
    unsigned max_batches;              /* questions under way at once */
    bool stuck;                        /* something waits for ever: a paused endpoint */
};

struct rehearsal {
    const struct job_spec *spec;       /* borrowed */
    struct plan *plan;                 /* taken */
    struct job_file *file;             /* for the policy */
    struct virtual_options world;      /* without a fleet the adapters are left out too */
    struct observer_port observer;
    void (*ended)(void *ctx, const struct rehearsal_end *end);
    void *ctx;
};

void rehearsal_run(const struct rehearsal *r);

#endif
