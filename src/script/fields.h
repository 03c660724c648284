/* fields.h -- reading a table that a person wrote, with errors that name the place. Private to script/.
 *
 * A reader stands for one Lua table at one key path ("regions.eu.models.mistral-7b"). Each getter marks its key as
 * known; fields_end() turns the first unknown key into an error with the nearest known one. The first error sticks:
 * later calls do nothing and return false, so a caller may read everything and look once.
 *
 * Errors read: `WHAT (FILE: KEY.PATH): WHAT TO DO`. Nothing here runs the script's metamethods, and nothing but
 * field_open() raises. */
#ifndef SCRIPT_FIELDS_H
#define SCRIPT_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum { FIELDS_KEYS = 48 };

struct fields {
    lua_State *L;
    int index;                 /* absolute stack index of the table */
    const char *file;
    const char *path;          /* "" at the top; lives in arena */
    struct arena *arena;
    struct err *err;
    struct fields *parent;     /* of a nested table: fails with it */
    bool failed;
    const char *known[FIELDS_KEYS];
    unsigned known_count;
};

/* The value at `index` must be a table (err otherwise). */
bool fields_begin(struct fields *f, lua_State *L, int index, const char *file, const char *path, struct arena *arena,
                  struct err *err);
/* Reports unknown keys. True if nothing failed. */
bool fields_end(struct fields *f);
/* The error was set elsewhere; tells f and all readers above it. Returns false. */
bool fields_failed(struct fields *f);

/* Each returns true if the key is there and right; *out is untouched otherwise. A value of another type or out of
 * range fails. */
bool field_string(struct fields *f, const char *key, const char **out); /* no NUL inside, not empty; in the arena */
bool field_bool(struct fields *f, const char *key, bool *out);
bool field_url(struct fields *f, const char *key, const char **out);    /* as url_check() wants it */
bool field_number(struct fields *f, const char *key, double low, double high, double *out);
bool field_integer(struct fields *f, const char *key, int64_t low, int64_t high, int64_t *out);
/* A number is seconds; a string as duration_parse() reads it. */
bool field_duration(struct fields *f, const char *key, int64_t low_us, int64_t *out_us);
bool field_strings(struct fields *f, const char *key, const char *const **out, size_t *count); /* a list of strings */
int field_type(struct fields *f, const char *key);  /* LUA_T..., marks the key as known */
bool field_push(struct fields *f, const char *key); /* pushes the raw value; false (nothing pushed) when nil */

/* A nested table: a reader of its own, its table pushed; fields_end() on it pops it. False when absent (no error). */
bool field_table(struct fields *f, const char *key, struct fields *nested);
/* The same for item i, from 0, of a list, which must be a table. */
bool field_item(struct fields *list, size_t i, struct fields *nested);
/* A nested table where the file makes up the names: they are listed in ascending order, for field_open(). The caller
 * pops it. what: "a model" */
bool field_map(struct fields *f, const char *key, const char *what, struct fields *map, const char *const **names,
               size_t *count);
bool field_open(struct fields *map, const char *name, struct fields *nested);

/* A duration as field_duration reads it, from the stack; false if it is none. */
bool value_duration(lua_State *L, int index, int64_t *us);
/* Is the table at index a list: are its keys 1 to *count, all of them, and no other? */
enum list_kind { LIST_WHOLE, LIST_HOLES, LIST_NOT } value_list(lua_State *L, int index, size_t *count);
/* "regions.eu" for a key below f, in the arena; ids with other than [A-Za-z0-9_-] are put in [\"...\"]. */
const char *field_path(const struct fields *f, const char *key);
/* Fails f: "WHAT (file: path.key): cure". key NULL: the table itself. Returns false. */
bool field_fail(struct fields *f, const char *key, const char *cure, const char *what_fmt, ...) PRINTF_LIKE(4, 5);

#endif
