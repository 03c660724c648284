/* rate.h -- a token bucket: at most so many starts a minute, evenly spread.
 *
 * Kept as the theoretical arrival time of the next start (GCRA, ITU-T I.371): no
 * timer, no drift. The burst is one second's worth, at least one. */
#ifndef CORE_RATE_H
#define CORE_RATE_H

#include <stdint.h>

struct rate {
    double per_minute;   /* 0: no limit */
    int64_t arrival_us;  /* when the next start is due if starts came evenly */
};

/* r is zeroed or was set before: a lower rate keeps what was started, a higher one starts afresh. */
void rate_set(struct rate *r, double per_minute);
int64_t rate_next_us(const struct rate *r, int64_t now_us); /* when a start is allowed: now_us or later */
void rate_take(struct rate *r, int64_t now_us);             /* only when rate_next_us() <= now_us */

#endif
