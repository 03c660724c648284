/* sources.h -- the files that a job or a region table is made of, kept so that it can be made again. */
#ifndef CORE_SOURCES_H
#define CORE_SOURCES_H

#include <stddef.h>

#include "base/str.h"

struct source_file {
    const char *name; /* relative to the folder of the job or table */
    struct str text;
};

struct sources {
    const struct source_file *files;
    size_t count;
};

const struct source_file *sources_find(const struct sources *s, const char *name); /* NULL: not among them */

#endif
