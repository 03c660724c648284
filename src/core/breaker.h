/* breaker.h -- stop asking an endpoint that keeps failing (Nygard, "Release It!", 2007).
 *
 * closed -> open after `failures` failures in a row within `window`; open -> half
 * open after `cooldown`, one probe; a good probe closes it, a failed one opens it
 * again; after BREAKER_PROBES failed probes in a row it is dead: what waits is skipped. */
#ifndef CORE_BREAKER_H
#define CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/region_table.h"

enum { BREAKER_PROBES = 3 };

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_DEAD };

struct breaker {
    struct breaker_rule rule;
    enum breaker_state state;
    unsigned failures, failed_probes;
    int64_t first_failure_us, open_until_us;
    bool probing;        /* the probe is in flight */
};

void breaker_init(struct breaker *b, const struct breaker_rule *rule);
/* What is known of the endpoint stays; without a rule nothing keeps it open, unless it is dead. */
void breaker_change(struct breaker *b, const struct breaker_rule *rule);
/* May a request start now? Moves open to half open when the cooldown is over. If so the caller
 * starts it and reports its end by one of the three below. */
bool breaker_allows(struct breaker *b, int64_t now_us);
void breaker_started(struct breaker *b);
void breaker_succeeded(struct breaker *b);
void breaker_failed(struct breaker *b, int64_t now_us);
void breaker_withdrawn(struct breaker *b);   /* cancelled: says nothing about the endpoint */
void breaker_kill(struct breaker *b);        /* quota exhausted: dead at once */

#endif
