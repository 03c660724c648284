/* builtin.h -- the Lua modules inside the binary, made from lua/ by scripts/embed. */
#ifndef SCRIPT_BUILTIN_H
#define SCRIPT_BUILTIN_H

#include <stddef.h>

struct builtin {
    const char *name, *text; /* "canvass.policy"; NUL-terminated */
    size_t len;
};

extern const struct builtin builtin_modules[]; /* name NULL ends it */
const struct builtin *builtin_find(const char *name); /* NULL: there is none */

#endif
