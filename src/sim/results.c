#include "sim/results.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* A number is the slot's generation above its index + 1: a slot taken again gives another number. */
struct results_slot {
    void *what;
    uint32_t generation, next_free;
};

void results_done(struct results *r)
{
    free(r->slots);
    *r = (struct results){0};
}

static struct results_slot *slot_of(const struct results *r, uint64_t id)
{
    uint32_t place = (uint32_t)id;
    return place && place <= r->count ? &r->slots[place - 1] : NULL;
}

uint64_t results_issue(struct results *r, void *what)
{
    assert(what);
    if (!r->first_free) {
        if (r->count == r->cap) {
            r->cap = r->cap ? 2 * r->cap : 64;
            r->slots = mem_array(r->slots, r->cap, sizeof *r->slots);
        }
        r->slots[r->count] = (struct results_slot){0};
        r->first_free = ++r->count;
    }
    uint32_t place = r->first_free;
    struct results_slot *s = &r->slots[place - 1];
    r->first_free = s->next_free;
    s->what = what;
    s->generation++;
    return (uint64_t)s->generation << 32 | place;
}

void results_release(struct results *r, uint64_t id)
{
    if (!id)
        return;
    struct results_slot *s = slot_of(r, id);
    assert(s && s->what && s->generation == (uint32_t)(id >> 32));
    s->what = NULL;
    s->next_free = r->first_free;
    r->first_free = (uint32_t)id;
}

void *results_find(const struct results *r, uint64_t id)
{
    const struct results_slot *s = slot_of(r, id);
    return s && s->generation == (uint32_t)(id >> 32) ? s->what : NULL;
}

bool results_issued(const struct results *r, uint64_t id)
{
    const struct results_slot *s = slot_of(r, id);
    uint32_t generation = (uint32_t)(id >> 32);
    return s && generation >= 1 && generation <= s->generation;
}
