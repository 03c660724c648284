#include "core/sources.h"

#include <string.h>

const struct source_file *sources_find(const struct sources *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}
