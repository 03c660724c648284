/* slab.h -- small blocks cut from large pieces, for an owner that knows the size of each and ends them all at once.
 *
 * A block has no header, and a freed one waits for the next of its size, so that much coming and going costs
 * neither memory nor malloc's work. The pieces are given back by slab_done() only, and what was cut for one size serves
 * no other: that is for owners whose sizes stay what they are, and not for whoever would make the most of it. Blocks of
 * more than SLAB_BLOCK_MAX bytes are pool.h's. Under a sanitizer all are, so that it sees each use after a free. One
 * thread at a time. All zero is an empty slab. */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

enum { SLAB_BLOCK_MAX = 512, SLAB_STEP = 16, SLAB_CLASSES = SLAB_BLOCK_MAX / SLAB_STEP };

struct slab {
    struct slab_block *free[SLAB_CLASSES];
    struct slab_piece *pieces;
    char *at, *end;          /* of the newest piece, what was not cut yet */
    size_t piece_bytes;
};

void slab_done(struct slab *s); /* each larger block has been freed before; s is empty again */

/* NULL when memory runs out; size > 0. */
void *slab_malloc(struct slab *s, size_t size);
void slab_free(struct slab *s, void *ptr, size_t size); /* NULL, 0 is a no-op */
/* As realloc(): ptr stays as it was when NULL comes back, which it does not for less than there was. */
void *slab_realloc(struct slab *s, void *ptr, size_t size, size_t new_size);

#endif
