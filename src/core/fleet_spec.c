#include "core/fleet_spec.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"

/* A lognormal has a tail without end; no simulated wait needs to be longer than this. */
static const double LONGEST_US = 365.0 * 24 * (double)HOUR_US;

int64_t dist_draw(const struct dist *d, struct rng *rng)
{
    double us = d->kind == DIST_LOGNORMAL ? rng_lognormal(rng, d->a, d->b) : rng_between(rng, d->a, d->b);
    if (!(us > 0))
        return 0;
    return llround(us < LONGEST_US ? us : LONGEST_US);
}

struct fleet_spec *fleet_spec_new(void)
{
    struct fleet_spec *f = mem_zalloc(sizeof *f);
    arena_init(&f->arena);
    return f;
}

void fleet_spec_free(struct fleet_spec *f)
{
    if (!f)
        return;
    if (f->script_free)
        f->script_free(f->script);
    arena_done(&f->arena);
    free(f);
}
