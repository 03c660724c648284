/* answers.h -- what a simulated model says: short texts that vary a little from call to call, as models do.
 *
 * A built-in text depends on the prompt, the model and the call's seed, not on the region: two
 * regions differ by noise alone unless the fleet file makes them differ. */
#ifndef SIM_ANSWERS_H
#define SIM_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/fleet_spec.h"

struct answer_wish {
    struct str prompt;
    const char *model, *region;
    uint64_t seed;              /* the same wish gives the same text */
    bool refuses;
};

/* Refusals first, then the fleet's own function, then the built-in texts. */
void answer_write(const struct fleet_answers *own, const struct answer_wish *wish, struct buf *out);

#endif
