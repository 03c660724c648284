#include "core/region_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

struct region_table *region_table_new(void)
{
    struct region_table *t = mem_zalloc(sizeof *t);
    t->refs = 1;
    t->speed = 1;
    arena_init(&t->arena);
    map_init(&t->region_names);
    return t;
}

struct region_table *region_table_ref(struct region_table *t)
{
    assert(t->refs > 0);
    t->refs++;
    return t;
}

void region_table_unref(struct region_table *t)
{
    if (!t)
        return;
    assert(t->refs > 0);
    if (--t->refs)
        return;
    if (t->adapters_free)
        t->adapters_free(t->adapters);
    map_done(&t->region_names);
    arena_done(&t->arena);
    free(t);
}

int region_table_region(const struct region_table *t, const char *name)
{
    uint32_t index;
    return map_get(&t->region_names, str_from(name), &index) ? (int)index : NO_INDEX;
}

const struct endpoint_spec *region_table_endpoint(const struct region_table *t, int region, const char *model)
{
    for (size_t i = 0; i < t->endpoint_count; i++)
        if ((int)t->endpoints[i].region == region && strcmp(t->endpoints[i].model, model) == 0)
            return &t->endpoints[i];
    return NULL;
}

/* Case aside: endpoints write their own region in more spellings than any operator lists. */
bool endpoint_served_region_ok(const struct region_table *t, const struct endpoint_spec *e, const char *served)
{
    if (!served || !*served)
        return true;
    const struct region_spec *region = &t->regions[e->region];
    if (strcasecmp(region->id, served) == 0)
        return true;
    for (size_t i = 0; i < region->alias_count; i++)
        if (strcasecmp(region->aliases[i], served) == 0)
            return true;
    return false;
}

static bool two_digits(const char *p, int low, int high)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return false;
    int value = (p[0] - '0') * 10 + (p[1] - '0');
    return value >= low && value <= high;
}

/* 2024-07-18, 20240718 or 0613. The month and day must exist: "-7000" or "-2048" is a size, not a date. */
static bool is_date(const char *p)
{
    size_t len = strlen(p);
    bool dashed = len == 10 && p[4] == '-' && p[7] == '-';
    if (dashed || len == 8) {
        bool year = two_digits(p, 19, 20) && two_digits(p + 2, 0, 99);
        p += dashed ? 5 : 4;
        return year && two_digits(p, 1, 12) && two_digits(p + (dashed ? 3 : 2), 1, 31);
    }
    return len == 4 && two_digits(p, 1, 12) && two_digits(p + 2, 1, 31);
}

static bool is_dated(const char *asked, const char *served)
{
    size_t len = strlen(asked);
    return strncasecmp(asked, served, len) == 0 && (served[len] == '-' || served[len] == '@') &&
           is_date(served + len + 1);
}

static bool is_served_as(const char *asked, const char *served)
{
    return strcasecmp(asked, served) == 0 || is_dated(asked, served);
}

bool endpoint_served_model_ok(const struct endpoint_spec *e, const char *served)
{
    if (!served || !*served || is_served_as(e->model, served) || (e->sent_as && is_served_as(e->sent_as, served)))
        return true;
    for (size_t i = 0; i < e->serves_count; i++)
        if (strcasecmp(e->serves[i], served) == 0)
            return true;
    return false;
}
