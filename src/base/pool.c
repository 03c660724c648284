#include "base/pool.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef POOL_KEEPS /* its test says so even under a sanitizer */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_KEEPS false
#else
#define POOL_KEEPS true
#endif
#endif

/* Fine steps for objects, coarse ones for buffers; what is larger than those is malloc's. */
enum {
    FINE_STEP = 16,
    FINE_MAX = 1024,
    COARSE_STEP = 512,
    COARSE_MAX = 32 * 1024,
    FINE_CLASSES = FINE_MAX / FINE_STEP + 1,
    CLASSES = FINE_CLASSES + (COARSE_MAX - FINE_MAX) / COARSE_STEP,
    KEPT_MAX_BYTES = 16 * 1024 * 1024,
};

struct block {
    alignas(max_align_t) size_t size;     /* of what follows */
    struct block *next;                   /* while kept */
};

enum { HEADER = 16 };
#define MOST_BYTES ((size_t)PTRDIFF_MAX - HEADER)
_Static_assert(HEADER % alignof(max_align_t) == 0 && HEADER >= offsetof(struct block, next), "what follows is aligned");

static _Thread_local struct {
    bool keeps;
    size_t kept_bytes;
    struct block *free[CLASSES];
} pool;

static unsigned class_of(size_t size)
{
    if (size <= FINE_MAX)
        return (unsigned)((size + FINE_STEP - 1) / FINE_STEP);
    return (unsigned)(FINE_CLASSES + (size - FINE_MAX - 1) / COARSE_STEP);
}

static size_t size_of(unsigned class)
{
    return class < FINE_CLASSES ? (size_t)class * FINE_STEP : FINE_MAX + (class - FINE_CLASSES + 1u) * COARSE_STEP;
}

static struct block *block_of(void *ptr)
{
    return (struct block *)(void *)((char *)ptr - HEADER);
}

void pool_begin(void)
{
    pool.keeps = POOL_KEEPS;
}

void pool_end(void)
{
    pool.keeps = false;
    for (unsigned i = 0; i < CLASSES; i++) {
        while (pool.free[i]) {
            struct block *b = pool.free[i];
            pool.free[i] = b->next;
            free(b);
        }
    }
    pool.kept_bytes = 0;
}

void *pool_malloc(size_t size)
{
    if (size > MOST_BYTES)
        return NULL;
    struct block *b;
    if (size <= COARSE_MAX) {
        unsigned class = class_of(size);
        size = size_of(class);
        b = pool.free[class];
        if (b) {
            pool.free[class] = b->next;
            pool.kept_bytes -= size;
            return (char *)b + HEADER;
        }
    }
    b = malloc(HEADER + (size > sizeof(struct block *) ? size : sizeof(struct block *)));
    if (!b)
        return NULL;
    b->size = size;
    return (char *)b + HEADER;
}

void *pool_calloc(size_t count, size_t size)
{
    if (size && count > MOST_BYTES / size)
        return NULL;
    void *ptr = pool_malloc(count * size);
    return ptr ? memset(ptr, 0, count * size) : NULL;
}

void pool_free(void *ptr)
{
    if (!ptr)
        return;
    struct block *b = block_of(ptr);
    if (!pool.keeps || b->size > COARSE_MAX || pool.kept_bytes + b->size > KEPT_MAX_BYTES) {
        free(b);
        return;
    }
    unsigned class = class_of(b->size);
    b->next = pool.free[class];
    pool.free[class] = b;
    pool.kept_bytes += b->size;
}

void *pool_realloc(void *ptr, size_t size)
{
    if (!ptr)
        return pool_malloc(size);
    struct block *b = block_of(ptr);
    if (size <= b->size && size > b->size / 2)
        return ptr;
    if (b->size > COARSE_MAX && size > COARSE_MAX && size <= MOST_BYTES) {
        b = realloc(b, HEADER + size);
        if (!b)
            return NULL;
        b->size = size;
        return (char *)b + HEADER;
    }
    void *fresh = pool_malloc(size);
    if (fresh) {
        memcpy(fresh, ptr, size < b->size ? size : b->size);
        pool_free(ptr);
    }
    return fresh;
}

char *pool_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = pool_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}
