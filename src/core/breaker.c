#include "core/breaker.h"

#include <assert.h>

void breaker_init(struct breaker *b, const struct breaker_rule *rule)
{
    *b = (struct breaker){.rule = *rule, .state = BREAKER_CLOSED};
}

void breaker_change(struct breaker *b, const struct breaker_rule *rule)
{
    if (!rule->failures && b->state != BREAKER_DEAD)
        breaker_init(b, rule);
    b->rule = *rule;
}

bool breaker_allows(struct breaker *b, int64_t now_us)
{
    if (b->state == BREAKER_OPEN && now_us >= b->open_until_us) {
        b->state = BREAKER_HALF_OPEN;
        b->probing = false;
    }
    return b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && !b->probing);
}

void breaker_started(struct breaker *b)
{
    assert(b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && !b->probing));
    b->probing = b->state == BREAKER_HALF_OPEN;
}

/* An answer to a request that left before the breaker opened closes it as a probe does: it is newer than the
 * failures. Only the dead stay dead: what waited there has been skipped. */
void breaker_succeeded(struct breaker *b)
{
    if (b->state == BREAKER_DEAD)
        return;
    b->state = BREAKER_CLOSED;
    b->failures = b->failed_probes = 0;
    b->probing = false;
}

static void trip(struct breaker *b, int64_t now_us)
{
    b->state = BREAKER_OPEN;
    b->open_until_us = now_us + b->rule.cooldown_us;
    b->failures = 0;
    b->probing = false;
}

static void count_failure(struct breaker *b, int64_t now_us)
{
    if (b->failures == 0 || now_us - b->first_failure_us > b->rule.window_us) {
        b->failures = 0;
        b->first_failure_us = now_us;
    }
    b->failures++;
    if (b->failures >= b->rule.failures)
        trip(b, now_us);
}

void breaker_failed(struct breaker *b, int64_t now_us)
{
    if (b->rule.failures == 0)
        return;
    switch (b->state) {
    case BREAKER_CLOSED:
        count_failure(b, now_us);
        break;
    case BREAKER_HALF_OPEN:
        /* Without a probe out this is a straggler from before: the endpoint still fails, but no probe was lost. */
        b->failed_probes += b->probing;
        trip(b, now_us);
        if (b->failed_probes >= BREAKER_PROBES)
            b->state = BREAKER_DEAD;
        break;
    case BREAKER_OPEN:
    case BREAKER_DEAD:
        break; /* stragglers: known already */
    }
}

void breaker_withdrawn(struct breaker *b)
{
    b->probing = false;
}

void breaker_kill(struct breaker *b)
{
    b->state = BREAKER_DEAD;
    b->probing = false;
}
