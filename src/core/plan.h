/* plan.h -- all executions of a job, as a product: questions x samples x endpoints.
 *
 * An execution is a number, 0 <= n < count; nothing is stored for each. The
 * numbers run question by question, sample by sample, endpoint by endpoint in
 * the table's order, so they depend on the job and the table only, never on
 * the policy. */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H

#include <stdint.h>

#include "base/err.h"
#include "core/job_spec.h"
#include "core/region_table.h"

struct plan {
    const struct job_spec *job;
    struct region_table *table;  /* a reference is held */
    uint32_t question_count, sample_count, endpoint_count;
    uint32_t *endpoints;         /* position in the plan -> index in table->endpoints */
    uint64_t count;              /* the product */
};

struct cell {                    /* where an execution stands in the product */
    uint32_t question, sample, endpoint; /* sample from 0; endpoint is a position in plan->endpoints */
};

/* Borrows job, takes a reference to table. Errors: an unknown model or region, a
 * model in none of the chosen regions, no cell at all, no question, too many
 * executions (2^31). NULL on error. */
MUST_USE struct plan *plan_make(const struct job_spec *job, struct region_table *table, struct err *err);

struct kept_cell {               /* of the first sample, in the plan's order */
    const char *region, *model, *url;
};
/* The plan of a job that was planned before: it keeps its cells, whatever this table holds. Those it does not hold are
 * added to it, as region_table_add_missing() says. */
MUST_USE struct plan *plan_again(const struct job_spec *job, struct region_table *table, const struct kept_cell *cells,
                                 size_t count);
void plan_free(struct plan *plan); /* NULL is a no-op */

static inline struct cell plan_cell(const struct plan *p, uint64_t n)
{
    return (struct cell){
        .endpoint = (uint32_t)(n % p->endpoint_count),
        .sample = (uint32_t)(n / p->endpoint_count % p->sample_count),
        .question = (uint32_t)(n / p->endpoint_count / p->sample_count),
    };
}

static inline uint64_t plan_number(const struct plan *p, struct cell c)
{
    return ((uint64_t)c.question * p->sample_count + c.sample) * p->endpoint_count + c.endpoint;
}

static inline const struct endpoint_spec *plan_endpoint(const struct plan *p, uint32_t position)
{
    return &p->table->endpoints[p->endpoints[position]];
}

#endif
