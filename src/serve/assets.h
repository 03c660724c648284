/* assets.h -- the files of src/serve/web, embedded in the program by scripts/embed. */
#ifndef SERVE_ASSETS_H
#define SERVE_ASSETS_H

#include <stddef.h>
#include <string.h>

struct asset {
    const char *name, *text;
    size_t len;
};

extern const struct asset assets[]; /* name NULL ends it */

static inline const struct asset *asset_find(const char *name) /* NULL: there is none */
{
    const struct asset *a = assets;
    while (a->name && strcmp(a->name, name) != 0)
        a++;
    return a->name ? a : NULL;
}

#endif
