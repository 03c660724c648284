/* Fleet files. */
#include "fuzz_file.h"

#include <math.h>

#include "script/fleet_file.h"

static void check_times(const struct dist *d)
{
    struct rng rng;
    rng_seed(&rng, 1);
    PROMISE(isfinite(d->a) && isfinite(d->b) && d->a >= 0 && d->b >= 0, "%g %g", d->a, d->b);
    PROMISE(dist_draw(d, &rng) >= 0, "%g %g", d->a, d->b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script_limits limits = {5000, 5000, 8u << 20};
    struct err err = {0};
    struct fleet_spec *spec = fleet_load(fuzz_file("fleet.lua", (struct str){(const char *)data, size}), &limits, &err);
    if (!spec) {
        fuzz_refusal(&err);
        return 0;
    }
    PROMISE(spec->endpoint_count > 0 && spec->region_count > 0, "empty");
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        const struct fleet_endpoint *e = &spec->endpoints[i];
        check_times(&e->cold);
        check_times(&e->service);
        PROMISE(e->containers >= 1 && e->scaledown_us >= 0 && e->redirect_after_us >= 0 && e->retry_after_us >= 0,
                "%s", e->model);
        PROMISE(e->refusal_share >= 0 && e->refusal_share <= 1, "%g", e->refusal_share);
    }
    for (size_t i = 0; i < spec->fault_count; i++) {
        const struct fleet_fault *f = &spec->faults[i];
        PROMISE(f->from_us >= 0 && (!f->to_us || f->to_us > f->from_us) && f->share >= 0 && f->share <= 1, "fault %zu",
                i);
        PROMISE(f->what != FAULT_REDIRECT_AWAY || f->to, "fault %zu leads nowhere", i);
    }
    fleet_spec_free(spec);
    return 0;
}
