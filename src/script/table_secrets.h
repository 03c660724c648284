/* table_secrets.h -- `secret "NAME"` in a region table: a name in Lua, a value only in C. Private to script/.
 *
 * The environment is asked first, then a file of NAME=value lines that nobody else may read. The value
 * goes from there into the table's arena and is never a Lua string. */
#ifndef SCRIPT_TABLE_SECRETS_H
#define SCRIPT_TABLE_SECRETS_H

#include <lua.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

enum { SECRET_NAME = 128, SECRET_FORMAT = 256 };

struct secret_ref {                /* what `secret` returns to Lua, as opaque userdata */
    char name[SECRET_NAME];
    char before[SECRET_FORMAT], after[SECRET_FORMAT]; /* the text around it: "Bearer %s" */
};

struct secrets {
    char *text;                    /* the file, cut into NUL-terminated names and values */
    size_t len;
    const char **names, **values;
    size_t count;
};

/* file NULL: the environment only. */
bool secrets_open(struct secrets *s, const char *file, struct err *err);
void secrets_done(struct secrets *s);

/* The Lua function: secret "NAME", or secret("NAME", "Bearer %s"). */
int secrets_function(lua_State *L);
/* NULL when the value is something else. May raise: call it protected. */
const struct secret_ref *secrets_ref(lua_State *L, int index);

/* The whole text with the secret put in. False when it is nowhere, or empty. */
bool secrets_value(const struct secrets *s, const struct secret_ref *ref, struct arena *arena, const char **value);
/* What may be shown: `secret NAME`, or `Bearer <secret NAME>`. */
const char *secrets_shown(const struct secret_ref *ref, struct arena *arena);

#endif
