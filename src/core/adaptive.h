/* adaptive.h -- find how much an endpoint bears (additive increase, multiplicative
 * decrease; Chiu and Jain 1989).
 *
 * Grows by one after as many clean answers as the limit while it was saturated; is
 * cut to 0.7 by a 429 or 503, at most once per debounce time, which is its own clock and not
 * Retry-After's. Latency plays no part: answers differ in length. */
#ifndef CORE_ADAPTIVE_H
#define CORE_ADAPTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/timeutil.h"
#include "core/region_table.h"

#define ADAPTIVE_DEBOUNCE_US (5 * SECOND_US)

struct adaptive {
    struct adaptive_rule rule;
    double limit;
    unsigned clean;      /* clean answers since the last change */
    int64_t cut_us;      /* when it was last cut */
};

void adaptive_init(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots);
unsigned adaptive_limit(const struct adaptive *a); /* slots when not adaptive */
void adaptive_clean(struct adaptive *a, bool saturated);
bool adaptive_refused(struct adaptive *a, int64_t now_us); /* true if it was cut */

#endif
