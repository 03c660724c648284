/* loop.h -- the event loop: one turn after another on one thread (libev inside).
 *
 * A turn is: wait for sockets, timers, signals and wake-ups; run their callbacks;
 * run the posted tasks; run the turn hooks. The loop never sleeps while a task is posted. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);   /* until loop_stop() */
void loop_stop(struct loop *loop);
int64_t loop_now_us(struct loop *loop); /* mono_now_us(), read afresh */

/* A task runs once in this turn or the next, never inline. Posting twice is one run. */
struct loop_task {
    struct list link;
    void (*run)(struct loop_task *t);
};
void loop_task_init(struct loop_task *t, void (*run)(struct loop_task *t));
void loop_post(struct loop *loop, struct loop_task *t);
void loop_task_cancel(struct loop_task *t);

/* A hook runs at the end of every turn, in the order added, before the loop waits: where a
 * turn's work is drained and committed. What it posts runs before the wait. */
struct loop_hook {
    struct list link;
    void (*run)(struct loop_hook *h);
};
void loop_hook_add(struct loop *loop, struct loop_hook *h, void (*run)(struct loop_hook *h));
void loop_hook_remove(struct loop_hook *h);

/* Timers are armed against the true time, not the time the turn began. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *ctx), void *ctx);
void loop_timer_at(struct loop_timer *t, int64_t at_us); /* NEVER_US: off; rearming replaces */
void loop_timer_free(struct loop_timer *t);              /* NULL is a no-op */

/* Watches a descriptor. events: LOOP_READ | LOOP_WRITE, 0: off. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_io;
struct loop_io *loop_io_new(struct loop *loop, int fd, int events, void (*run)(void *ctx, int events), void *ctx);
void loop_io_set(struct loop_io *io, int events);
void loop_io_free(struct loop_io *io);                   /* NULL is a no-op; may be called inside its run */

/* Wakes the loop from another thread; many wakes may be one run. */
struct loop_wakeup;
struct loop_wakeup *loop_wakeup_new(struct loop *loop, void (*run)(void *ctx), void *ctx);
void loop_wakeup_send(struct loop_wakeup *w);            /* any thread */
void loop_wakeup_free(struct loop_wakeup *w);

struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *loop, int signum, void (*run)(void *ctx, int signum), void *ctx);
void loop_signal_free(struct loop_signal *s);

#endif
