#include "base/slab.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

#ifndef SLAB_CUTS /* its test says so even under a sanitizer */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLAB_CUTS false
#else
#define SLAB_CUTS true
#endif
#endif

/* The first piece is small, for most owners are; each further one is as large as all before it. */
enum { PIECE_LEAST = 8 * 1024, PIECE_MOST = 256 * 1024 };

struct slab_block {          /* while nobody has it */
    struct slab_block *next;
};

struct slab_piece {
    alignas(max_align_t) struct slab_piece *next;
};

_Static_assert(SLAB_STEP % alignof(max_align_t) == 0 && SLAB_STEP >= sizeof(struct slab_block), "room for a link");

static unsigned class_of(size_t size)
{
    return (unsigned)((size - 1) / SLAB_STEP);
}

static bool is_cut(size_t size)
{
    return SLAB_CUTS && size <= SLAB_BLOCK_MAX;
}

void slab_done(struct slab *s)
{
    while (s->pieces) {
        struct slab_piece *piece = s->pieces;
        s->pieces = piece->next;
        free(piece);
    }
    *s = (struct slab){0};
}

/* What is left of the piece before is too small for the block that is wanted, but not for others. */
static void put_rest(struct slab *s)
{
    size_t left = (size_t)(s->end - s->at);
    if (left >= SLAB_STEP)
        slab_free(s, s->at, left / SLAB_STEP * SLAB_STEP);
}

static bool add_piece(struct slab *s)
{
    size_t size = s->piece_bytes < PIECE_LEAST ? PIECE_LEAST
                  : s->piece_bytes > PIECE_MOST ? PIECE_MOST : s->piece_bytes;
    struct slab_piece *piece = malloc(size);
    if (!piece)
        return false;
    put_rest(s);
    piece->next = s->pieces;
    s->pieces = piece;
    s->piece_bytes += size;
    s->at = (char *)(piece + 1);
    s->end = (char *)piece + size;
    return true;
}

static void *cut(struct slab *s, size_t size)
{
    unsigned class = class_of(size);
    struct slab_block *b = s->free[class];
    if (b) {
        s->free[class] = b->next;
        return b;
    }
    size = (class + 1u) * SLAB_STEP;
    if ((size_t)(s->end - s->at) < size && !add_piece(s))
        return NULL;
    void *ptr = s->at;
    s->at += size;
    return ptr;
}

void *slab_malloc(struct slab *s, size_t size)
{
    return is_cut(size) ? cut(s, size) : pool_malloc(size);
}

void slab_free(struct slab *s, void *ptr, size_t size)
{
    if (!ptr)
        return;
    if (!is_cut(size)) {
        pool_free(ptr);
        return;
    }
    struct slab_block *b = ptr;
    b->next = s->free[class_of(size)];
    s->free[class_of(size)] = b;
}

void *slab_realloc(struct slab *s, void *ptr, size_t size, size_t new_size)
{
    bool shrinks = new_size <= size;
    void *fresh;
    if (!ptr)
        return slab_malloc(s, new_size);
    if (is_cut(size) && is_cut(new_size) && class_of(size) == class_of(new_size))
        return ptr;
    if (!is_cut(size) && !is_cut(new_size)) {
        fresh = pool_realloc(ptr, new_size);
        return fresh || !shrinks ? fresh : ptr;
    }
    fresh = is_cut(new_size) ? cut(s, new_size) : pool_malloc(new_size);
    if (!fresh)
        return shrinks ? ptr : NULL; /* the machine has no memory: one that is too large will do */
    memcpy(fresh, ptr, shrinks ? new_size : size);
    slab_free(s, ptr, size);
    return fresh;
}
