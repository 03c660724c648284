/* map.h -- from a name to a number: ids to indexes. Keys are borrowed, not copied. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t count, cap;
};

void map_init(struct map *m);
void map_done(struct map *m);
/* False, and nothing changes, if the key is there already. */
bool map_add(struct map *m, struct str key, uint32_t value);
bool map_get(const struct map *m, struct str key, uint32_t *value);

/* The key nearest to what was typed, for "did you mean"; NULL when nothing is
 * near. Edit distance at most a third of the length. */
const char *nearest_name(const char *typed, const char *const *names, size_t count);

#endif
