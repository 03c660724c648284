/* slab.h -- small blocks cut from one large room, for an owner that knows the size of each and ends them all at once.
 *
 * A block has no header, and a freed one waits for the next of its size, so that much coming and going costs neither
 * memory nor malloc's work. What was cut for one size serves no other, and the room is given back by slab_done() only:
 * that is for owners whose sizes stay what they are. When the room is used up, further blocks are pool.h's, as are
 * those of more than SLAB_BLOCK_MAX bytes. Under a sanitizer all are, so that it sees each use after a free. One thread
 * at a time. All zero is a slab without room. */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

enum { SLAB_BLOCK_MAX = 512, SLAB_STEP = 16, SLAB_CLASSES = SLAB_BLOCK_MAX / SLAB_STEP };

struct slab {
    struct slab_block *free[SLAB_CLASSES];
    char *room, *at, *end;   /* from `at` on it was not cut yet */
};

/* room_bytes are reserved, and become memory as they are used. Cannot fail: then there is no room. */
void slab_init(struct slab *s, size_t room_bytes);
void slab_done(struct slab *s); /* each block outside of the room has been freed before */

/* NULL when memory runs out; size > 0. */
void *slab_malloc(struct slab *s, size_t size);
void slab_free(struct slab *s, void *ptr, size_t size); /* NULL is a no-op */
/* As realloc(): ptr stays as it was when NULL comes back. After that it may be freed as one of new_size bytes, if that
 * is less. */
void *slab_realloc(struct slab *s, void *ptr, size_t size, size_t new_size);

#endif
