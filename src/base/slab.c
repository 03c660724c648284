#include "base/slab.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/pool.h"

#ifndef SLAB_CUTS /* its test says so even under a sanitizer */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLAB_CUTS false
#else
#define SLAB_CUTS true
#endif
#endif

struct slab_block {          /* while nobody has it */
    struct slab_block *next;
};

_Static_assert(SLAB_STEP % alignof(max_align_t) == 0 && SLAB_STEP >= sizeof(struct slab_block), "room for a link");

static unsigned class_of(size_t size)
{
    return (unsigned)((size - 1) / SLAB_STEP);
}

static bool is_cut(const struct slab *s, const void *ptr)
{
    return (uintptr_t)ptr - (uintptr_t)s->room < (size_t)(s->end - s->room);
}

void slab_init(struct slab *s, size_t room_bytes)
{
    *s = (struct slab){0};
    void *room = SLAB_CUTS ? mmap(NULL, room_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                           : MAP_FAILED;
    if (room == MAP_FAILED)
        return;
    s->room = s->at = room;
    s->end = s->room + room_bytes;
}

void slab_done(struct slab *s)
{
    if (s->room)
        munmap(s->room, (size_t)(s->end - s->room));
    *s = (struct slab){0};
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
    if ((size_t)(s->end - s->at) < size)
        return NULL;
    void *ptr = s->at;
    s->at += size;
    return ptr;
}

void *slab_malloc(struct slab *s, size_t size)
{
    void *ptr = size <= SLAB_BLOCK_MAX ? cut(s, size) : NULL;
    return ptr ? ptr : pool_malloc(size);
}

void slab_free(struct slab *s, void *ptr, size_t size)
{
    if (!is_cut(s, ptr)) {
        pool_free(ptr);
        return;
    }
    struct slab_block *b = ptr;
    b->next = s->free[class_of(size)];
    s->free[class_of(size)] = b;
}

void *slab_realloc(struct slab *s, void *ptr, size_t size, size_t new_size)
{
    bool was_cut = is_cut(s, ptr);
    if (was_cut && class_of(new_size) == class_of(size))
        return ptr;
    if (!was_cut && new_size > SLAB_BLOCK_MAX)
        return pool_realloc(ptr, new_size);
    void *fresh = slab_malloc(s, new_size);
    if (fresh && ptr) {
        memcpy(fresh, ptr, size < new_size ? size : new_size);
        slab_free(s, ptr, size);
    }
    return fresh;
}
