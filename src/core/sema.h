/* sema.h -- counting semaphores whose permits are taken all or none.
 *
 * One stands for the whole program, each region, group, endpoint and job. A
 * line of work that lacks a permit waits in the line of the first semaphore that refuses
 * it; a semaphore may also be closed for a time (Retry-After) or paced (rate). Pure: time is handed in. */
#ifndef CORE_SEMA_H
#define CORE_SEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/rate.h"

struct sema {
    const char *name;        /* borrowed; "global", "region eu", "eu/mistral-7b" */
    unsigned limit;          /* 0: no limit */
    unsigned used, peak;     /* used > limit after a cut, until holders release */
    int64_t closed_until_us; /* 0: open */
    struct rate rate;
    struct list waiters;     /* oldest first */
};

void sema_init(struct sema *s, const char *name, unsigned limit, double rate_per_minute);

/* True: a permit could be taken now. False: *retry_us is when to look again, or
 * NEVER_US when only a release or a change of limit can help. */
bool sema_free_at(const struct sema *s, int64_t now_us, int64_t *retry_us);
void sema_take(struct sema *s, int64_t now_us);
void sema_release(struct sema *s);

#endif
