/* defs.h -- the few macros every file may use. */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <stddef.h>

#define CANVASS_VERSION "0.1.0"

#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
