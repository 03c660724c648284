#include "core/region_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/timeutil.h"

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

static int add_region(struct region_table *t, const char *name)
{
    struct region_spec *all = arena_alloc(&t->arena, (t->region_count + 1) * sizeof *all);
    if (t->region_count)
        memcpy(all, t->regions, t->region_count * sizeof *all);
    all[t->region_count] = (struct region_spec){.id = arena_strdup(&t->arena, name)};
    map_add(&t->region_names, str_from(all[t->region_count].id), (uint32_t)t->region_count);
    t->regions = all;
    return (int)t->region_count++;
}

const struct endpoint_spec *region_table_add_missing(struct region_table *t, const char *region, const char *model,
                                                     const char *url)
{
    struct endpoint_spec *all = arena_alloc(&t->arena, (t->endpoint_count + 1) * sizeof *all);
    int index = region_table_region(t, region);
    if (t->endpoint_count)
        memcpy(all, t->endpoints, t->endpoint_count * sizeof *all);
    all[t->endpoint_count] = (struct endpoint_spec){
        .index = (unsigned)t->endpoint_count,
        .region = (unsigned)(index == NO_INDEX ? add_region(t, region) : index),
        .group = NO_INDEX,
        .id = arena_printf(&t->arena, "%s/%s", region, model),
        .model = arena_strdup(&t->arena, model),
        .url = arena_strdup(&t->arena, url),
        .adapter = "",
        .paused = "it is not in the region table",
        .slots = 1,
        .deadline_us = 15 * MINUTE_US,
        .connect_us = 10 * SECOND_US,
        .hop_us = 3 * MINUTE_US,
        .poll_us = SECOND_US,
        .retry = {.attempts = 1, .base_us = SECOND_US, .cap_us = SECOND_US},
    };
    t->endpoints = all;
    return &all[t->endpoint_count++];
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
