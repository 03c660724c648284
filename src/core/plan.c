#include "core/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

static const uint64_t EXECUTIONS_MAX = UINT64_C(1) << 31;

enum { NAMES_SHOWN_BYTES = 300 };

/* What is being put together. Masks are one bool per region or endpoint of the table. */
struct making {
    const struct job_spec *job;
    const struct region_table *table;
    bool *regions;   /* the job's */
    bool *endpoints; /* chosen so far */
    struct err *err;
};

/* `WHAT (job NAME): did you mean "x"? There are: a, b, c` */
static bool fail_unknown(const struct making *m, const char *kind, const char *typed, const char *const *names,
                         size_t count)
{
    struct buf list;
    buf_init(&list, NAMES_SHOWN_BYTES);
    for (size_t i = 0; i < count && !list.full; i++)
        if (!buf_addf(&list, "%s%s", i ? ", " : "", names[i]))
            break;
    const char *nearest = nearest_name(typed, names, count);
    err_set(m->err, ERR_CONFIG, "unknown %s \"%s\" (job %s): %s%s%sthe region table has %s%s", kind, typed,
            m->job->name, nearest ? "did you mean \"" : "", nearest ? nearest : "", nearest ? "\"? " : "",
            list.len ? list.ptr : "none", list.full ? ", ..." : "");
    buf_done(&list);
    return false;
}

static bool fail_unknown_region(const struct making *m, const char *typed)
{
    const struct region_table *t = m->table;
    size_t count = 0;
    for (size_t i = 0; i < t->region_count; i++)
        count += 1 + t->regions[i].alias_count;
    const char **names = mem_array(NULL, count, sizeof *names);
    count = 0;
    for (size_t i = 0; i < t->region_count; i++) /* ids first: they are what should be written */
        names[count++] = t->regions[i].id;
    for (size_t i = 0; i < t->region_count; i++)
        for (size_t j = 0; j < t->regions[i].alias_count; j++)
            names[count++] = t->regions[i].aliases[j];
    fail_unknown(m, "region", typed, names, count);
    free(names);
    return false;
}

static bool fail_unknown_model(const struct making *m, const char *typed)
{
    const struct region_table *t = m->table;
    struct map seen;
    map_init(&seen);
    const char **names = mem_array(NULL, t->endpoint_count, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; i < t->endpoint_count; i++)
        if (map_add(&seen, str_from(t->endpoints[i].model), 0))
            names[count++] = t->endpoints[i].model;
    fail_unknown(m, "model", typed, names, count);
    free(names);
    map_done(&seen);
    return false;
}

static bool mark_regions(const struct making *m, const char *const *names, size_t count, bool *mask)
{
    for (size_t i = 0; i < count; i++) {
        int region = region_table_region(m->table, names[i]);
        if (region == NO_INDEX)
            return fail_unknown_region(m, names[i]);
        mask[region] = true;
    }
    return true;
}

/* The job's regions that are the model's too. */
static bool regions_of_model(const struct making *m, const struct model_choice *choice, bool *mask)
{
    size_t count = m->table->region_count, left = 0;
    if (!choice->regions) {
        memcpy(mask, m->regions, count);
        return true;
    }
    memset(mask, 0, count);
    if (!mark_regions(m, choice->regions, choice->region_count, mask))
        return false;
    for (size_t i = 0; i < count; i++) {
        mask[i] = mask[i] && m->regions[i];
        left += mask[i];
    }
    if (!left)
        return err_set(m->err, ERR_CONFIG, "model \"%s\" has no region in common with the job (job %s): add one of its "
                       "regions to the job's, or leave the model out", choice->model, m->job->name);
    return true;
}

static bool choose_model(const struct making *m, const struct model_choice *choice, bool *mask)
{
    if (!regions_of_model(m, choice, mask))
        return false;
    bool known = false, served = false;
    for (size_t i = 0; i < m->table->endpoint_count; i++) {
        const struct endpoint_spec *e = &m->table->endpoints[i];
        if (strcmp(e->model, choice->model) != 0)
            continue;
        known = true;
        served = served || mask[e->region];
        m->endpoints[i] = m->endpoints[i] || mask[e->region];
    }
    if (!known)
        return fail_unknown_model(m, choice->model);
    if (!served)
        return err_set(m->err, ERR_CONFIG, "model \"%s\" runs in none of the chosen regions (job %s): choose a "
                       "region that has it, or leave the model out", choice->model, m->job->name);
    return true;
}

static bool choose_cells(const struct making *m, bool *scratch)
{
    const struct job_spec *job = m->job;
    if (job->region_count == 0)
        memset(m->regions, 1, m->table->region_count);
    if (!mark_regions(m, job->regions, job->region_count, m->regions))
        return false;
    for (size_t i = 0; i < job->model_count; i++)
        if (!choose_model(m, &job->models[i], scratch))
            return false;
    for (size_t i = 0; job->model_count == 0 && i < m->table->endpoint_count; i++)
        m->endpoints[i] = m->regions[m->table->endpoints[i].region] && !m->table->endpoints[i].reserved;
    return true;
}

static struct plan *plan_build(const struct making *m, struct region_table *table)
{
    const struct job_spec *job = m->job;
    uint64_t cells = 0;
    for (size_t i = 0; i < table->endpoint_count; i++)
        cells += m->endpoints[i];
    if (cells == 0) {
        err_set(m->err, ERR_CONFIG, "no model runs in the chosen regions (job %s): choose others, add an "
                "endpoint to the region table, or name the model of one that is reserved", job->name);
        return NULL;
    }
    if (job->question_count > EXECUTIONS_MAX / cells || job->samples > EXECUTIONS_MAX / cells / job->question_count) {
        err_set(m->err, ERR_CONFIG, "%zu questions x %u samples x %llu endpoints are more than 2147483648 executions "
                "(job %s): split the job", job->question_count, job->samples, (unsigned long long)cells, job->name);
        return NULL;
    }
    struct plan *plan = mem_zalloc(sizeof *plan);
    *plan = (struct plan){
        .job = job,
        .table = region_table_ref(table),
        .question_count = (uint32_t)job->question_count,
        .sample_count = job->samples,
        .endpoints = mem_array(NULL, cells, sizeof *plan->endpoints),
        .count = job->question_count * job->samples * cells,
    };
    for (uint32_t i = 0; i < table->endpoint_count; i++)
        if (m->endpoints[i])
            plan->endpoints[plan->endpoint_count++] = i;
    return plan;
}

struct plan *plan_make(const struct job_spec *job, struct region_table *table, struct err *err)
{
    if (job->question_count == 0 || job->samples == 0) {
        err_set(err, ERR_CONFIG, "the job has no %s (job %s): give at least one",
                job->samples ? "question" : "sample", job->name);
        return NULL;
    }
    struct making m = {
        .job = job,
        .table = table,
        .regions = mem_zalloc(table->region_count * sizeof(bool)),
        .endpoints = mem_zalloc(table->endpoint_count * sizeof(bool)),
        .err = err,
    };
    bool *scratch = mem_zalloc(table->region_count * sizeof(bool));
    struct plan *plan = choose_cells(&m, scratch) ? plan_build(&m, table) : NULL;
    free(scratch);
    free(m.regions);
    free(m.endpoints);
    return plan;
}

struct plan *plan_again(const struct job_spec *job, struct region_table *table, const struct kept_cell *cells,
                        size_t count)
{
    struct plan *plan = mem_zalloc(sizeof *plan);
    *plan = (struct plan){
        .job = job,
        .table = region_table_ref(table),
        .question_count = (uint32_t)job->question_count,
        .sample_count = job->samples,
        .endpoint_count = (uint32_t)count,
        .endpoints = mem_array(NULL, count, sizeof *plan->endpoints),
        .count = (uint64_t)job->question_count * job->samples * count,
    };
    for (size_t i = 0; i < count; i++) {
        const struct kept_cell *c = &cells[i];
        const struct endpoint_spec *e = region_table_endpoint(table, region_table_region(table, c->region), c->model);
        if (!e)
            e = region_table_add_missing(table, c->region, c->model, c->url);
        plan->endpoints[i] = e->index;
    }
    return plan;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    region_table_unref(plan->table);
    free(plan->endpoints);
    free(plan);
}
