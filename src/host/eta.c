#include "host/eta.h"

#include <math.h>

static uint32_t tally_ended(const struct tally *t)
{
    uint32_t ended = 0;
    for (int i = STATUS_SUCCEEDED; i < STATUS_COUNT; i++)
        ended += t->by_status[i];
    return ended;
}

/* What one answer of an endpoint takes: its own mean, else that of all. */
static double mean_us(const struct endpoint_tally *e)
{
    if (e->warm_count)
        return (double)e->warm_us / e->warm_count;
    return e->cold_count ? (double)e->cold_us / e->cold_count : NAN;
}

/* The slower of two bounds: the busiest endpoint at its own pace, and all at the pace of the answers so far. The
 * second one sees what holds endpoints back: barriers, caps, retries. */
int64_t eta_left_us(const struct job_view *v, const struct endpoint_view *endpoints, int64_t now_us)
{
    double sum = 0, bound = 0;
    uint32_t measured = 0;
    for (uint32_t i = 0; i < v->plan->endpoint_count; i++) {
        double mean = mean_us(&v->endpoints[i]);
        if (!isnan(mean)) {
            sum += mean;
            measured++;
        }
    }
    if (!measured)
        return -1;
    for (uint32_t i = 0; i < v->plan->endpoint_count; i++) {
        const struct tally *t = &v->endpoints[i].tally;
        double mean = mean_us(&v->endpoints[i]);
        uint32_t left = t->planned - tally_ended(t);
        unsigned limit = endpoints[i].limit ? endpoints[i].limit : 1;
        double rounds = ceil((double)left / limit), one = isnan(mean) ? sum / measured : mean;
        bound = fmax(bound, rounds * one);
    }
    uint32_t ended = tally_ended(&v->tally), batch = v->max_in_flight;
    double elapsed = (double)(now_us - v->first_dispatch_us);
    if (ended > 2 * batch) /* else the cold start is all that was seen */
        bound = fmax(bound, elapsed / ended * (v->tally.planned - ended) * 0.8);
    return (int64_t)bound;
}
