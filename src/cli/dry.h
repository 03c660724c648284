/* dry.h -- runs a plan through the real engine and policy in virtual time, asking nobody.
 *
 * Every request is answered after the time given for its endpoint. An hour takes milliseconds. */
#ifndef CLI_DRY_H
#define CLI_DRY_H

#include "engine/engine.h"
#include "script/job_file.h"

struct dry_options {
    const struct job_spec *spec;       /* borrowed */
    struct plan *plan;                 /* taken */
    struct job_file *file;             /* for the policy */
    const int64_t *answer_us;          /* by endpoint index: an answer takes so long */
    const int64_t *first_us;           /* the same for an endpoint's first answer, cold */
    /* Each POST, in order; may be NULL. at_us: since the first. */
    void (*asked)(void *ctx, struct cell cell, int64_t at_us);
    void *ctx;
};

struct dry_result {
    enum job_state state;
    struct tally tally;
    uint64_t posts;
    int64_t makespan_us;               /* from the first request to the last answer */
    unsigned max_in_flight, max_batches;/* questions under way at once */
    bool stuck;                        /* something waits for ever: a paused endpoint */
    char reason[1024];                 /* of a policy that failed; empty: none */
};

void dry_run(const struct dry_options *o, struct dry_result *out);

#endif
