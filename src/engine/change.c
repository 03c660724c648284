/* The region table is exchanged while jobs run. Lines, and what is in flight, hold on to endpoints and gates, so these
 * stay where they are and only their settings change. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/state.h"

/* ---- regions and groups ---- */

static struct gate *take_gate(struct engine *e, struct gates *old, const char *name)
{
    for (size_t i = 0; i < old->count; i++)
        if (old->list[i] && strcmp(old->list[i]->name, name) == 0) {
            struct gate *g = old->list[i];
            old->list[i] = NULL;
            return g;
        }
    char *own = mem_strdup(name);
    struct gate *g = mem_zalloc(sizeof *g);
    gate_init(g, e, own, 0, 0);
    g->name = own;
    return g;
}

static void gates_add(struct gates *gates, struct gate *g)
{
    gates->list = mem_array(gates->list, gates->count + 1, sizeof(struct gate *));
    gates->list[gates->count++] = g;
}

static void gates_done(struct gates *gates)
{
    for (size_t i = 0; i < gates->count; i++)
        if (gates->list[i]) {
            gate_done(gates->list[i]);
            free(gates->list[i]);
        }
    free(gates->list);
}

/* What is left of the old ones stays until its last permit is back. */
static void keep_used(struct gates *gates, struct gates *old)
{
    for (size_t i = 0; i < old->count; i++)
        if (old->list[i] && old->list[i]->sema.used) {
            gates_add(gates, old->list[i]);
            old->list[i] = NULL;
        }
    gates_done(old);
}

static void change_gates(struct engine *e, const struct region_table *table)
{
    struct gates regions = e->regions, groups = e->groups;
    e->regions = e->groups = (struct gates){0};
    e->global.sema.limit = table->in_flight;
    for (size_t i = 0; i < table->region_count; i++) {
        gates_add(&e->regions, take_gate(e, &regions, table->regions[i].id));
        e->regions.list[i]->sema.limit = table->regions[i].in_flight;
    }
    for (size_t i = 0; i < table->group_count; i++) {
        gates_add(&e->groups, take_gate(e, &groups, table->groups[i].name));
        e->groups.list[i]->sema.limit = table->groups[i].in_flight;
        rate_set(&e->groups.list[i]->sema.rate, table->groups[i].rate_per_minute);
    }
    keep_used(&e->regions, &regions);
    keep_used(&e->groups, &groups);
}

/* ---- endpoints ---- */

static void add_endpoint(struct engine *e, struct endpoint *ep)
{
    bool is_new = map_add(&e->ids, str_from(ep->spec->id), (uint32_t)e->endpoint_count);
    assert(is_new);
    e->endpoints[e->endpoint_count++] = ep;
}

static void enter_endpoint(struct engine *e, struct endpoint *ep, const struct endpoint_spec *spec)
{
    endpoint_follow(ep, e->table, spec);
    ep->region = e->regions.list[spec->region];
    ep->group = spec->group == NO_INDEX ? NULL : e->groups.list[spec->group];
    add_endpoint(e, ep);
}

/* Those that are not in the table any more go when no line stands at them. */
static void leave_endpoint(struct engine *e, struct endpoint *ep)
{
    if (!ep->lines) {
        endpoint_free(ep);
        return;
    }
    endpoint_follow(ep, NULL, NULL);
    ep->region = ep->group = NULL;
    add_endpoint(e, ep);
}

static void change_endpoints(struct engine *e)
{
    const struct region_table *table = e->table;
    struct endpoint **old = e->endpoints;
    struct map ids = e->ids;
    size_t old_count = e->endpoint_count;
    e->endpoints = mem_array(NULL, table->endpoint_count + old_count, sizeof(struct endpoint *));
    e->endpoint_count = 0;
    map_init(&e->ids);
    for (size_t i = 0; i < table->endpoint_count; i++) {
        uint32_t at;
        bool known = map_get(&ids, str_from(table->endpoints[i].id), &at);
        enter_endpoint(e, known ? old[at] : endpoint_new(e), &table->endpoints[i]);
        if (known)
            old[at] = NULL;
    }
    map_done(&ids); /* before its keys */
    for (size_t i = 0; i < old_count; i++)
        if (old[i])
            leave_endpoint(e, old[i]);
    free(old);
}

struct endpoint *engine_endpoint(struct engine *e, struct region_table *table, const struct endpoint_spec *spec)
{
    uint32_t at;
    if (map_get(&e->ids, str_from(spec->id), &at))
        return e->endpoints[at];
    struct endpoint *ep = endpoint_new(e);
    endpoint_follow(ep, table, spec);
    endpoint_follow(ep, NULL, NULL);
    e->endpoints = mem_array(e->endpoints, e->endpoint_count + 1, sizeof(struct endpoint *));
    add_endpoint(e, ep);
    return ep;
}

/* ---- the exchange ---- */

void table_enter(struct engine *e, struct region_table *table)
{
    struct region_table *old = e->table;
    e->table = region_table_ref(table);
    change_gates(e, table);
    change_endpoints(e);
    region_table_unref(old);
}

void table_leave(struct engine *e)
{
    for (size_t i = 0; i < e->endpoint_count; i++)
        endpoint_free(e->endpoints[i]);
    free(e->endpoints);
    map_done(&e->ids);
    gates_done(&e->regions);
    gates_done(&e->groups);
    region_table_unref(e->table);
}

/* Every line that waits looks again, in the order in which it came; nothing is called any more. */
static void empty_gates(struct engine *e)
{
    gate_empty(&e->global);
    for (size_t i = 0; i < e->regions.count; i++)
        gate_empty(e->regions.list[i]);
    for (size_t i = 0; i < e->groups.count; i++)
        gate_empty(e->groups.list[i]);
    for (size_t i = 0; i < e->endpoint_count; i++)
        gate_empty(&e->endpoints[i]->gate);
    LIST_EACH(it, &e->jobs)
        gate_empty(&container_of(it, struct engine_job, link)->gate);
    LIST_EACH(it, &e->ready) {
        struct line *line = container_of(it, struct line, link);
        if (line->called_by)
            line->called_by->called--;
        line->called_by = NULL;
    }
}

static void line_settings_changed(struct line *line)
{
    for (struct list *it = line->lives.next, *next; it != &line->lives; it = next) {
        next = it->next;
        live_settings_changed(container_of(it, struct live, in_line));
    }
    line_close_away(line);
    if (line->job->stopping == JOB_GOES_ON)
        line_wake(line);
}

void engine_change_table(struct engine *e, struct region_table *table)
{
    assert(!e->turning);
    if (e->store_failed)
        return;
    empty_gates(e);
    table_enter(e, table);
    LIST_EACH(it, &e->jobs) {
        struct engine_job *job = container_of(it, struct engine_job, link);
        for (uint32_t i = 0; i < job->plan->endpoint_count && !job->closed; i++)
            line_settings_changed(&job->lines[i]);
    }
    engine_poke(e);
}

/* ---- what it would mean ---- */

static const struct endpoint_spec *find(const struct region_table *t, const struct endpoint_spec *like,
                                        const struct region_table *its)
{
    int region = region_table_region(t, its->regions[like->region].id);
    return region == NO_INDEX ? NULL : region_table_endpoint(t, region, like->model);
}

void engine_change_effect(const struct engine_job *job, const struct region_table *to, struct change_effect *out)
{
    *out = (struct change_effect){0};
    for (uint32_t i = 0; i < job->plan->endpoint_count; i++) {
        const struct line *line = &job->lines[i];
        const struct endpoint *ep = line->endpoint;
        const struct endpoint_spec *spec = find(to, ep->spec, ep->table);
        const uint32_t *by_status = job->endpoints[i].tally.by_status;
        uint64_t pending = by_status[STATUS_PENDING] + by_status[STATUS_BACKING_OFF];
        bool away = endpoint_away(ep), goes_away = !spec || spec->paused;
        bool moves = spec && (strcmp(spec->url, ep->spec->url) != 0 || strcmp(spec->adapter, ep->spec->adapter) != 0);
        if (goes_away == away && !(moves && !away))
            continue;
        if (goes_away)
            *(job->spec->on_missing == ON_MISSING_SKIP ? &out->skipped : &out->waiting) += pending;
        else
            *(away ? &out->released : &out->moved) += pending;
        LIST_EACH(it, &line->lives) {
            const struct live *live = container_of(it, struct live, in_line);
            if (live->phase > PHASE_POLL_WAIT)
                continue;
            if (!out->finishing++ || live->table->revision < out->revision)
                out->revision = live->table->revision;
        }
    }
}
