#include "store/queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
    CHUNK_BYTES = 64 * 1024,
    SPARES_MAX = 64,
    ALIGN = 16,
};

struct chunk {
    struct chunk *next;
    size_t cap;
    size_t end;     /* set when the next chunk was begun */
    _Alignas(ALIGN) char bytes[];
};

static struct chunk *chunk_new(struct queue *q, size_t need)
{
    struct chunk *c = q->fresh;
    if (c && need <= c->cap) {
        q->fresh = c->next;
    } else {
        size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        c = mem_alloc(sizeof *c + cap);
        c->cap = cap;
    }
    c->next = NULL;
    c->end = 0;
    return c;
}

static void free_chain(struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

void queue_init(struct queue *q)
{
    *q = (struct queue){0};
    q->tail.chunk = chunk_new(q, 0);
    q->head = q->published = q->tail;
}

void queue_done(struct queue *q)
{
    free_chain(q->head.chunk);
    free_chain(q->read);
    free_chain(q->spares);
    free_chain(q->fresh);
    *q = (struct queue){0};
}

struct record *queue_add(struct queue *q, enum record_kind kind, size_t part_bytes, size_t text_bytes, char **texts)
{
    size_t part = offsetof(struct record, began) + part_bytes;
    size_t size = (part + text_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    assert(text_bytes < UINT32_MAX / 2);
    if (q->tail.chunk->cap - q->tail.used < size) {
        struct chunk *c = chunk_new(q, size);
        q->tail.chunk->end = q->tail.used;
        q->tail.chunk->next = c;
        q->tail = (struct mark){.chunk = c};
    }
    struct record *r = (struct record *)(void *)(q->tail.chunk->bytes + q->tail.used);
    q->tail.used += size;
    q->unpublished_bytes += size;
    r->size = (uint32_t)size;
    r->kind = kind;
    *texts = (char *)r + part;
    return r;
}

void queue_publish(struct queue *q)
{
    q->published = q->tail;
    q->waiting_bytes += q->unpublished_bytes;
    q->unpublished_bytes = 0;
    if (!q->fresh) {
        q->fresh = q->spares;
        q->spares = NULL;
        q->spare_count = 0;
    }
}

const struct record *queue_next(struct queue *q, struct mark until)
{
    while (q->head.chunk != until.chunk && q->head.used == q->head.chunk->end) {
        struct chunk *through = q->head.chunk;
        q->head = (struct mark){.chunk = through->next};
        through->next = q->read;
        q->read = through;
    }
    if (q->head.chunk == until.chunk && q->head.used == until.used)
        return NULL;
    const struct record *r = (const struct record *)(const void *)(q->head.chunk->bytes + q->head.used);
    q->head.used += r->size;
    q->read_bytes += r->size;
    return r;
}

void queue_release(struct queue *q)
{
    q->waiting_bytes -= q->read_bytes;
    q->read_bytes = 0;
    while (q->read) {
        struct chunk *c = q->read;
        q->read = c->next;
        if (c->cap > CHUNK_BYTES || q->spare_count == SPARES_MAX) {
            free(c);
            continue;
        }
        c->next = q->spares;
        q->spares = c;
        q->spare_count++;
    }
}
