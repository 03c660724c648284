#include "core/rate.h"

#include <assert.h>
#include <math.h>

#include "base/timeutil.h"

/* Rounded up: a start may come a microsecond late, never one too many in a minute. */
static int64_t interval_us(const struct rate *r)
{
    return (int64_t)ceil((double)MINUTE_US / r->per_minute);
}

/* How far ahead of an even spacing a start may come. */
static int64_t tolerance_us(const struct rate *r)
{
    double burst = floor(r->per_minute / 60);
    return burst > 1 ? (int64_t)((burst - 1) * (double)interval_us(r)) : 0;
}

void rate_set(struct rate *r, double per_minute)
{
    assert(per_minute >= 0);
    /* What was started under a slower rate must not hold back a faster one. */
    if (per_minute == 0 || per_minute > r->per_minute)
        r->arrival_us = 0;
    r->per_minute = per_minute;
}

int64_t rate_next_us(const struct rate *r, int64_t now_us)
{
    if (r->per_minute == 0)
        return now_us;
    int64_t due_us = r->arrival_us - tolerance_us(r);
    return due_us > now_us ? due_us : now_us;
}

void rate_take(struct rate *r, int64_t now_us)
{
    if (r->per_minute == 0)
        return;
    assert(rate_next_us(r, now_us) <= now_us);
    r->arrival_us = (r->arrival_us > now_us ? r->arrival_us : now_us) + interval_us(r);
}
