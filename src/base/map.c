#include "base/map.h"

#include <stdlib.h>

#include "base/mem.h"

struct map_slot {
    struct str key;
    uint32_t value, hash; /* hash 0: the slot is empty */
};

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->slots);
    map_init(m);
}

static uint32_t hash_of(struct str key)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * UINT64_C(0x100000001B3);
    return (uint32_t)(h ^ h >> 32) | 1;
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static struct map_slot *find(const struct map *m, struct str key, uint32_t hash)
{
    for (size_t i = hash >> 1;; i++) {
        struct map_slot *slot = &m->slots[i & (m->cap - 1)];
        if (!slot->hash || (slot->hash == hash && str_equal(slot->key, key)))
            return slot;
    }
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->slots = mem_array(NULL, m->cap, sizeof *m->slots);
    for (size_t i = 0; i < m->cap; i++)
        m->slots[i].hash = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].hash)
            *find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

bool map_add(struct map *m, struct str key, uint32_t value)
{
    if ((m->count + 1) * 4 > m->cap * 3)
        grow(m);
    uint32_t hash = hash_of(key);
    struct map_slot *slot = find(m, key, hash);
    if (slot->hash)
        return false;
    *slot = (struct map_slot){.key = key, .value = value, .hash = hash};
    m->count++;
    return true;
}

bool map_get(const struct map *m, struct str key, uint32_t *value)
{
    if (!m->cap)
        return false;
    const struct map_slot *slot = find(m, key, hash_of(key));
    if (!slot->hash)
        return false;
    *value = slot->value;
    return true;
}

enum { NAME_MAX_BYTES = 127 };

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static unsigned min_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insert, delete, replace, or swap two neighbours, each costs one; case costs nothing. */
static unsigned distance(struct str a, struct str b)
{
    unsigned rows[3][NAME_MAX_BYTES + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (unsigned j = 0; j <= b.len; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned char x = lower(a.ptr[i - 1]), y = lower(b.ptr[j - 1]);
            row[j] = min_of(min_of(row[j - 1], last[j]) + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b.ptr[j - 2]) && lower(a.ptr[i - 2]) == y)
                row[j] = min_of(row[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b.len];
}

const char *nearest_name(const char *typed, const char *const *names, size_t count)
{
    struct str a = str_from(typed);
    const char *best = NULL;
    unsigned best_distance = 0;
    for (size_t i = 0; a.len <= NAME_MAX_BYTES && i < count; i++) {
        struct str b = str_from(names[i]);
        if (!b.ptr || b.len > NAME_MAX_BYTES)
            continue;
        size_t longer = a.len > b.len ? a.len : b.len;
        unsigned d = distance(a, b);
        if (d <= longer / 3 && (!best || d < best_distance)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
