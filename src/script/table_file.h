/* table_file.h -- the operator's Lua file into an immutable region table.
 *
 * A fresh, sandboxed Lua state for each load. Either everything is right, or
 * err names the file, the line or key path, and what would be right; nothing is
 * half loaded. Secrets are resolved here, in C, and never enter Lua. */
#ifndef SCRIPT_TABLE_FILE_H
#define SCRIPT_TABLE_FILE_H

#include "base/err.h"
#include "core/region_table.h"
#include "engine/ports.h"
#include "script/limits.h"

struct table_options {
    const struct script_limits *limits; /* NULL: the defaults */
    const char *secrets_file;           /* NAME=value lines, mode 0600 or stricter; NULL: the environment only */
    const struct sources *kept;         /* instead of the files beside the table; must outlive it; NULL: those files */
    /* JSON that stands over the file, as script/table_overrides.c says. NULL: what is kept, or the file beside the
     * table (its path and TABLE_OVERRIDES), if there is one. */
    const char *overrides;
    bool secrets_optional;              /* a secret that is not there is a warning: for `regions check`, `plan` */
};

#define TABLE_OVERRIDES ".overrides.json"

/* One reference, the caller's. NULL on error. */
MUST_USE struct region_table *table_load(const char *path, const struct table_options *o, struct err *err);
/* The same from text; path names it in errors and is where its adapters are looked for. No overrides are looked for. */
MUST_USE struct region_table *table_load_text(const char *path, struct str text, const struct table_options *o,
                                              struct err *err);

/* Runs the Lua adapters that a table brought along: the engine's adapter port for all tables. */
void adapters_port(struct adapter_port *out);

struct health {
    bool expected;                    /* the adapter has a health() */
    bool readable;                    /* which returned something */
    struct str status, region;        /* empty: not said */
    struct str models[256];
    size_t model_count;
};
/* Reads a health answer with the endpoint's adapter. What out points to lives until the next adapter call. */
bool adapter_health(const struct region_table *t, const struct endpoint_spec *e, const struct response *r,
                    struct health *out, struct err *err);
/* A bare 200 is how some say that they are well; anything else that says nothing is another page. */
bool health_tells(const struct health *h, const struct response *r);

#endif
