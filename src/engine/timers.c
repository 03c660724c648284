#include "engine/timers.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"

void timers_done(struct timers *t)
{
    free(t->heap);
    *t = (struct timers){0};
}

/* Places count from 1, so that children of i are 2i and 2i + 1. */
static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place - 1] = timer;
    timer->place = place;
}

static void sift_up(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    for (; place > 1 && t->heap[place / 2 - 1]->at_us > timer->at_us; place /= 2)
        put(t, place, t->heap[place / 2 - 1]);
    put(t, place, timer);
}

static void sift_down(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    for (size_t child; (child = 2 * place) <= t->count; place = child) {
        if (child < t->count && t->heap[child]->at_us < t->heap[child - 1]->at_us)
            child++;
        if (t->heap[child - 1]->at_us >= timer->at_us)
            break;
        put(t, place, t->heap[child - 1]);
    }
    put(t, place, timer);
}

void timer_off(struct timers *t, struct timer *timer)
{
    if (!timer->place)
        return;
    struct timer *last = t->heap[--t->count];
    if (last != timer) {
        put(t, timer->place, last);
        sift_up(t, last);
        sift_down(t, last);
    }
    timer->place = 0;
}

void timer_set(struct timers *t, struct timer *timer, int64_t at_us)
{
    timer_off(t, timer);
    if (at_us == NEVER_US)
        return;
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->heap = mem_array(t->heap, t->cap, sizeof *t->heap);
    }
    timer->at_us = at_us;
    put(t, ++t->count, timer);
    sift_up(t, timer);
}

int64_t timers_next_us(const struct timers *t)
{
    return t->count ? t->heap[0]->at_us : NEVER_US;
}

bool timers_fire(struct timers *t, int64_t now_us)
{
    bool fired = false;
    while (t->count && t->heap[0]->at_us <= now_us) {
        struct timer *timer = t->heap[0];
        timer_off(t, timer);
        timer->fire(timer);
        fired = true;
    }
    return fired;
}
