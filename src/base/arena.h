/* arena.h -- memory that lives and dies together: a region table, a job.
 *
 * Nothing in it is freed alone. Pointers stay valid until arena_done(). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

struct arena {
    struct arena_block *blocks;
    size_t bytes; /* handed out so far */
};

void arena_init(struct arena *a);
void arena_done(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for anything */
char *arena_strdup(struct arena *a, const char *text); /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *text, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline struct str arena_str(struct arena *a, struct str s)
{
    return (struct str){arena_strndup(a, s.ptr, s.len), s.len};
}

#endif
