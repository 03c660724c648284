/* timers.h -- the engine's own timers: a heap, so that the clock port need offer only one. */
#ifndef ENGINE_TIMERS_H
#define ENGINE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t at_us;
    size_t place;                 /* in the heap, from 1; 0: not armed */
    void (*fire)(struct timer *t);
};

struct timers {
    struct timer **heap;
    size_t count, cap;
};

void timers_done(struct timers *t);
void timer_set(struct timers *t, struct timer *timer, int64_t at_us); /* NEVER_US: off; rearming replaces */
void timer_off(struct timers *t, struct timer *timer);
int64_t timers_next_us(const struct timers *t);                       /* NEVER_US: none */
bool timers_fire(struct timers *t, int64_t now_us);                   /* all that are due, earliest first */

#endif
