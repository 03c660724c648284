/* region_table.h -- one immutable snapshot of the operator's file.
 *
 * Built once by script/table_file, then only read. Everything in it lives in its
 * arena. Whoever keeps it takes a reference: a request in flight finishes on the
 * table it started under. Loop thread only, except the plain values. */
#ifndef CORE_REGION_TABLE_H
#define CORE_REGION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "core/sources.h"

enum { NO_INDEX = -1 };

struct retry_rule {
    unsigned attempts;  /* counts the first; at least 1 */
    int64_t base_us, cap_us;
    bool unknown;       /* ask again although the first may have run and been paid for */
};

struct breaker_rule {
    unsigned failures;  /* 0: no breaker */
    int64_t window_us, cooldown_us;
};

struct adaptive_rule {
    unsigned floor, ceiling; /* ceiling 0: not adaptive, `slots` holds */
};

enum warm_rule { WARM_NO, WARM_HEALTH, WARM_ASK };

/* Stands in texts and URLs of endpoints for one of their secrets, with its name and ">". */
#define SECRET_MARK "<secret:"

struct header {
    const char *name, *value; /* value with its secret put in */
    bool secret;              /* show it as the secret's name, never as its value */
    const char *shown;        /* what may be printed: the value, or secret NAME */
};

struct endpoint_spec {
    unsigned index;             /* in table->endpoints */
    unsigned region;            /* in table->regions */
    int group;                  /* in table->groups, or NO_INDEX */
    const char *id;             /* "eu/mistral-7b" */
    const char *model;
    const char *url;            /* the exact URL that is POSTed to */
    const char *adapter;        /* the module's name */
    const char *proxy;          /* NULL: none */
    const char *paused;         /* the reason, NULL: not paused (its region's pause included) */
    const struct header *headers;
    size_t header_count;        /* the adapter's own first, then the table's */
    const char *sent_as;        /* its name at the provider, where that is another; NULL: model */
    const char *const *serves;  /* further names under which this model answers */
    size_t serves_count;
    const char *const *origins; /* other origins a redirect may lead to: "https://host[:port]" */
    size_t origins_count;
    unsigned slots;             /* requests in flight it bears */
    double rate_per_minute;     /* 0: no limit */
    int64_t deadline_us, connect_us, hop_us, scaledown_us, poll_us;
    size_t max_body_bytes;
    struct retry_rule retry;
    struct breaker_rule breaker;
    struct adaptive_rule adaptive;
    enum warm_rule warm;
    bool reserved;              /* asked by jobs that name its model only */
    double price_per_second, price_per_token; /* dollars; 0: not known */
    int adapter_slot;           /* where script/adapters finds its functions */
};

struct region_spec {
    const char *id;
    const char *const *aliases;
    size_t alias_count;
    const char *health;         /* URL, NULL: none */
    const char *paused;
    unsigned in_flight;         /* 0: no cap */
};

struct group_spec {
    const char *name;
    unsigned in_flight;         /* 0: no cap */
    double rate_per_minute;     /* 0: no limit */
};

/* One effective setting and who set it, for `regions show`. */
struct setting {
    const char *path;           /* "eu/mistral-7b.deadline" */
    const char *value;          /* as text, secrets by name */
    const char *set_by;         /* "default", "defaults", "region eu", "endpoint", "adapter" */
};

#define TABLE_OVERRIDES_KEPT "overrides.json" /* what stands over a table, among its files */

struct region_table {
    struct arena arena;
    unsigned refs;
    int64_t revision;           /* 0 until the store gave it one */
    const char *path;           /* the file it came from */
    const char *source;         /* its text */
    const struct source_file *files; /* what it required, and its adapters: the other half of what it is made of */
    size_t file_count;
    char hash[65];              /* SHA-256 of the text and of the adapter files beside it, hex */
    unsigned endpoints_max;     /* limits.endpoints; 0: none */
    unsigned in_flight;         /* limits.in_flight; 0: none */
    double speed;               /* of a simulated fleet: its seconds per second here; 1: a real one */
    struct endpoint_spec *endpoints;
    size_t endpoint_count;
    struct region_spec *regions;
    size_t region_count;
    struct group_spec *groups;
    size_t group_count;
    const struct setting *settings;
    size_t setting_count;
    const char *const *warnings;
    size_t warning_count;
    struct map region_names;    /* ids and aliases -> region index */
    void *adapters;             /* the table's Lua state */
    void (*adapters_free)(void *adapters);
};

struct region_table *region_table_new(void);  /* one reference, empty */
struct region_table *region_table_ref(struct region_table *t);
void region_table_unref(struct region_table *t); /* NULL is a no-op */

/* The region's index for an id or an alias, NO_INDEX when unknown. */
int region_table_region(const struct region_table *t, const char *name);
/* The endpoint for a region index and a model id, NULL when the table has none. */
const struct endpoint_spec *region_table_endpoint(const struct region_table *t, int region, const char *model);

/* An endpoint that is not in the table, but was when a job was planned: it is there, and paused. Only before anybody
 * else has seen the table. */
const struct endpoint_spec *region_table_add_missing(struct region_table *t, const char *region, const char *model,
                                                     const char *url);

/* Does what an answer says about itself match the endpoint that was asked?
 * Nothing said is believed. A region matches by id or alias; a model if equal
 * (ASCII case aside), a dated version of it (the asked name, then '-' or '@' and a date:
 * 2024-07-18, 20240718, 0613), or listed under `serves`. */
bool endpoint_served_region_ok(const struct region_table *t, const struct endpoint_spec *e, const char *served);
bool endpoint_served_model_ok(const struct endpoint_spec *e, const char *served);

#endif
