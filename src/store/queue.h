/* queue.h -- records on their way from the loop thread to the writer, in the order they were made.
 *
 * The loop thread appends to chunks and publishes, under the store's lock, how far it got; the writer reads what is
 * published and hands the chunks back. No allocation and no lock for a record; the bytes never
 * move, so records hold plain pointers to the texts behind them. */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ports.h"

enum record_kind { RECORD_BEGAN, RECORD_HOPPED, RECORD_ENDED, RECORD_CLOSED, RECORD_JOB };

struct record {
    uint32_t size;           /* to the next record, its texts included */
    enum record_kind kind;
    double at;               /* unix seconds when it was made */
    union {
        struct attempt_began began;
        struct attempt_hopped hopped;
        struct attempt_ended ended;
        struct rows_closed closed;
        struct job_changed job;
    };
};

struct chunk;

struct mark {                /* a place in the queue */
    struct chunk *chunk;
    size_t used;
};

struct queue {
    /* the loop thread's */
    struct mark tail;        /* the next record goes here */
    size_t unpublished_bytes;
    struct chunk *fresh;     /* spares it took along */
    /* under the lock */
    struct mark published;
    size_t waiting_bytes;    /* published and not released */
    struct chunk *spares;
    unsigned spare_count;
    /* the writer's */
    struct mark head;        /* the next record to read */
    size_t read_bytes;
    struct chunk *read;      /* chunks it is through with */
};

void queue_init(struct queue *q);
void queue_done(struct queue *q); /* when both threads are through with it */

/* Loop thread: room for a record whose own struct takes part_bytes, with text_bytes behind it at *texts. */
struct record *queue_add(struct queue *q, enum record_kind kind, size_t part_bytes, size_t text_bytes, char **texts);
void queue_publish(struct queue *q);              /* under the lock */

/* Writer thread: the next record before `until` (what was published), NULL when there is none. */
const struct record *queue_next(struct queue *q, struct mark until);
void queue_release(struct queue *q);              /* under the lock: all that queue_next() gave is done with */

#endif
