/* table_build.h -- what the files that read a region table share. Private to script/.
 *
 * The table is read inside one protected Lua call, where any Lua function may leave by longjmp: so
 * everything that is allocated on the way hangs on struct table_build, which its owner cleans up outside. */
#ifndef SCRIPT_TABLE_BUILD_H
#define SCRIPT_TABLE_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/region_table.h"
#include "script/adapters.h"
#include "script/fields.h"
#include "script/sandbox.h"
#include "script/table_file.h"
#include "script/table_secrets.h"

struct table_keys;

struct overrides_map {
    struct fields fields;
    const char *const *names;
    char *used;                    /* one for each name */
    size_t count;
    bool there;
};

struct overrides {
    struct str text;               /* empty: there are none */
    const char *file;              /* their name in errors */
    struct fields top;
    struct overrides_map endpoints, regions;
};

struct table_build {
    struct region_table *table;
    struct script *script;
    const struct table_options *options;
    struct overrides overrides;
    const char *file;              /* the table's name in errors */
    struct err *err;
    struct secrets secrets;
    struct adapters *adapters;
    struct buf scratch;
    struct setting *settings;
    size_t setting_count, setting_cap;
    struct table_keys *endpoints;  /* in the table's order */
    size_t endpoint_count, endpoint_cap;
    const char **warnings;
    size_t warning_count;
    unsigned visited;              /* tables looked through for stray secrets */
    bool ok;
};

/* Where a value came from; a later one overrides an earlier one. */
enum setter { BY_PROGRAM, BY_DEFAULTS, BY_REGION, BY_ENDPOINT, BY_ADAPTER, BY_OVERRIDE };

enum { TABLE_CAP_MAX = 1000000 };

struct table_header {
    struct header header;
    enum setter by;
};

struct table_option {
    const char *name, *json;
    enum setter by;
};

enum { KEYS_MAX = 48 };

/* The keys of an endpoint on their way from the program's defaults to its own table. A copy is a
 * new layer: reading replaces what lists point to and never changes it. */
struct table_keys {
    struct endpoint_spec spec;     /* group, adapter_slot and the lists are filled in last */
    const char *group;
    bool adaptive;
    const char *proxy_shown;
    struct table_header *headers;
    size_t header_count;
    struct table_option *options;
    size_t option_count;
    const char *options_json;      /* all of them as one object */
    enum setter by[KEYS_MAX];      /* by position in the list of keys, table_keys.c */
};

void table_keys_default(struct table_keys *k);
/* Reads all endpoint keys that f holds over those in k. False when f failed. */
bool table_keys_read(struct table_build *b, struct fields *f, enum setter by, struct table_keys *k);
/* What only the whole shows. f: the endpoint's own table; region, region_path: what its region says. */
bool table_keys_check(struct table_build *b, struct fields *f, const struct table_keys *region, const char *region_path,
                      struct table_keys *k);
enum setter table_keys_by(const struct table_keys *k, const char *name);
/* Adds each effective value and who set it. */
void table_keys_settings(struct table_build *b, const struct table_keys *k, const char *region);

/* "defaults.hop", "regions.eu.hop" or "regions.eu.models.x.hop": the path of the one who set it. */
const char *table_keys_path(struct table_build *b, enum setter by, const char *key, const char *region_path,
                            const char *endpoint_path);

/* The parts of table_keys_read() that are more than one value. */
bool table_headers_read(struct table_build *b, struct fields *f, enum setter by, struct table_keys *k);
/* Puts the adapter's constant headers before the table's, unless the table has one of that name. */
void table_headers_end(struct table_build *b, struct table_keys *k);
bool table_proxy_read(struct table_build *b, struct fields *f, struct table_keys *k, bool *set);

/* Over what the table says, in this order: open, then limits, and each region before its endpoints, then end. Without
 * overrides they do nothing and return true. */
bool table_overrides_open(struct table_build *b);
bool table_overrides_limits(struct table_build *b);
bool table_overrides_region(struct table_build *b, struct region_spec *region, struct table_keys *k);
bool table_overrides_endpoint(struct table_build *b, const char *id, struct table_keys *k);
bool table_overrides_end(struct table_build *b);

/* Reads the table at `index` into b->table. */
bool table_read(struct table_build *b, lua_State *L, int index);

/* A warning that was given already is not given again. */
void table_warn(struct table_build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_setting(struct table_build *b, const char *path, const char *value, const char *set_by);
const char *table_list(struct table_build *b, const char *const *list, size_t count); /* "a, b" */
/* "15m", "1500ms": as one would write it in a table. */
const char *table_duration(struct arena *a, int64_t us);

#endif
