#include "core/adaptive.h"

#include <assert.h>

static unsigned clamp(const struct adaptive *a, unsigned limit)
{
    unsigned floor = a->rule.floor > 1 ? a->rule.floor : 1;
    if (limit > a->rule.ceiling)
        limit = a->rule.ceiling;
    return limit < floor ? floor : limit;
}

static unsigned nine_tenths(unsigned n)
{
    return (9 * n + 9) / 10;
}

void adaptive_init(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots)
{
    *a = (struct adaptive){.rule = *rule, .limit = slots, .patience = ADAPTIVE_PATIENCE, .cut_us = INT64_MIN};
    if (rule->ceiling)
        a->limit = clamp(a, slots);
}

void adaptive_change(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots)
{
    if (!rule->ceiling || !a->rule.ceiling) {
        adaptive_init(a, rule, slots);
        return;
    }
    a->rule = *rule;
    a->limit = clamp(a, a->limit);
}

unsigned adaptive_limit(const struct adaptive *a)
{
    return a->limit;
}

/* At the ceiling nothing changes, and the clean answers go on counting. */
static void raise_by(struct adaptive *a, unsigned step)
{
    unsigned limit = clamp(a, a->limit + step);
    if (limit == a->limit)
        return;
    a->limit = limit;
    a->clean = 0;
    a->raised = true;
}

void adaptive_clean(struct adaptive *a, bool saturated)
{
    if (!a->rule.ceiling || !saturated)
        return;
    a->clean++;
    bool whole_round = a->clean >= a->limit;
    if (a->limit > a->wall && whole_round)
        a->wall = 0;
    /* Far below the wall after many refusals in a row: as quick as at first. */
    if (!a->wall || a->limit < nine_tenths(a->wall))
        raise_by(a, a->limit < ADAPTIVE_STEP ? a->limit : ADAPTIVE_STEP);
    else if (whole_round && (a->limit < a->wall || (a->limit == a->wall && a->clean >= a->patience)))
        raise_by(a, 1);
}

static void begin_round(struct adaptive *a, unsigned in_flight, int64_t now_us)
{
    /* A level that was borne for a whole round is refused now: not we have changed, and it may change back. */
    if (a->clean >= a->limit)
        a->patience = ADAPTIVE_IMPATIENCE;
    else if (a->raised)
        a->patience = ADAPTIVE_PATIENCE;
    /* With no answer since the last cut it is down, which says nothing of what it bears when it is up. */
    a->walled = a->clean || a->raised || !a->wall;
    a->round = in_flight;
    a->cut_us = now_us;
    a->clean = 0;
    a->raised = false;
}

bool adaptive_refused(struct adaptive *a, unsigned in_flight, int64_t sent_us, int64_t now_us)
{
    assert(in_flight > 0);
    if (!a->rule.ceiling)
        return false;
    if (sent_us > a->cut_us)
        begin_round(a, in_flight, now_us);
    unsigned half = (a->round + 1) / 2, left = in_flight - 1 > half ? in_flight - 1 : half;
    unsigned limit = clamp(a, nine_tenths(left) > half ? nine_tenths(left) : half);
    if (a->walled)
        a->wall = left;
    if (limit < a->limit)
        a->limit = limit;
    return in_flight > clamp(a, 1);
}
