#include "core/adaptive.h"

static double clamp(const struct adaptive *a, double limit)
{
    double floor = a->rule.floor > 1 ? a->rule.floor : 1;
    if (limit > a->rule.ceiling)
        limit = a->rule.ceiling;
    return limit < floor ? floor : limit;
}

void adaptive_init(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots)
{
    *a = (struct adaptive){.rule = *rule, .limit = slots, .cut_us = INT64_MIN / 2};
    if (rule->ceiling)
        a->limit = clamp(a, slots);
}

unsigned adaptive_limit(const struct adaptive *a)
{
    return (unsigned)a->limit;
}

/* Only while saturated: an endpoint that is asked for little shows nothing of what it bears. */
void adaptive_clean(struct adaptive *a, bool saturated)
{
    if (!a->rule.ceiling || !saturated)
        return;
    a->clean++;
    if (a->clean >= adaptive_limit(a)) {
        a->clean = 0;
        a->limit = clamp(a, a->limit + 1);
    }
}

bool adaptive_refused(struct adaptive *a, int64_t now_us)
{
    if (!a->rule.ceiling)
        return false;
    a->clean = 0;
    /* All that was in flight together is refused together: that is one piece of news, not many. */
    if (now_us - a->cut_us < ADAPTIVE_DEBOUNCE_US)
        return false;
    unsigned before = adaptive_limit(a);
    a->cut_us = now_us;
    a->limit = clamp(a, a->limit * 0.7);
    return adaptive_limit(a) < before;
}
