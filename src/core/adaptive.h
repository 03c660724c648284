/* adaptive.h -- find how many requests at once an endpoint bears.
 *
 *   until the first refusal   slow start (RFC 5681, 3.1): + min(3, limit) with each clean answer
 *   a refusal                 limit = 0.9 * (what is left in flight), rounded up
 *   below that wall           + 1 after as many clean answers as the limit (Chiu and Jain 1989)
 *   at the wall               it stays there, and tries one more after ADAPTIVE_PATIENCE clean answers (as CUBIC
 *                             does, RFC 9438, 4.4); if a whole round bears that, the wall is gone: slow start
 *
 * What is in flight and not refused is what the endpoint bears: a cut goes by that, as TCP's does by its flight size,
 * not by the limit. All that was sent before a cut belongs to the same round: together it cuts to half at most.
 * That is a clock of its own, apart from Retry-After's. Only answers while all allowed slots were in use count, for an
 * endpoint that is asked for little shows nothing of what it bears. Latency plays no part: answers differ in length. */
#ifndef CORE_ADAPTIVE_H
#define CORE_ADAPTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/region_table.h"

enum {
    ADAPTIVE_STEP = 3,
    ADAPTIVE_PATIENCE = 200,  /* so that trying costs less than one refusal in a hundred answers */
    ADAPTIVE_IMPATIENCE = 16, /* where the wall came closer, it may go again soon */
};

struct adaptive {
    struct adaptive_rule rule;
    unsigned limit;
    unsigned wall;       /* borne when last refused; 0: not refused yet, or it bears more by now */
    unsigned clean;      /* clean answers since the limit last changed */
    unsigned patience;   /* clean answers at the wall before one more is tried */
    bool raised;         /* the last change was up */
    unsigned round;      /* in flight when the last round of refusals began */
    bool walled;         /* that round says where the wall is */
    int64_t cut_us;      /* when it began */
};

void adaptive_init(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots);
/* What was found stays, within the new bounds. */
void adaptive_change(struct adaptive *a, const struct adaptive_rule *rule, unsigned slots);
unsigned adaptive_limit(const struct adaptive *a); /* slots when not adaptive */
void adaptive_clean(struct adaptive *a, bool saturated);
/* A 429 or 503 to a request sent at sent_us; in_flight counts it. True: too much was asked at once, and less will
 * be. */
bool adaptive_refused(struct adaptive *a, unsigned in_flight, int64_t sent_us, int64_t now_us);

#endif
