#include "core/job_spec.h"

#include <stdlib.h>

#include "base/mem.h"

struct job_spec *job_spec_new(void)
{
    struct job_spec *spec = mem_zalloc(sizeof *spec);
    arena_init(&spec->arena);
    spec->samples = 1;
    spec->parameters = "{}";
    return spec;
}

void job_spec_free(struct job_spec *spec)
{
    if (!spec)
        return;
    arena_done(&spec->arena);
    free(spec);
}
