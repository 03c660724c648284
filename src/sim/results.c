#include "sim/results.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void result_id_write(uint32_t instance, uint64_t id, char out[RESULT_ID_BYTES])
{
    snprintf(out, RESULT_ID_BYTES, "fc-%08" PRIx32 "%016" PRIx64, instance, id);
}

uint64_t result_id_read(uint32_t instance, const char *text)
{
    char same[RESULT_ID_BYTES];
    if (strlen(text) != 3 + 8 + 16 || strspn(text + 3, "0123456789abcdef") != 24)
        return 0;
    uint64_t id = strtoull(text + 11, NULL, 16);
    result_id_write(instance, id, same);
    return strcmp(same, text) == 0 ? id : 0;
}
