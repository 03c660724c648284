/* The loop: order inside a turn, tasks, hooks, timers, descriptors, signals and wake-ups.
 * Nothing sleeps: a timer is given some time to be late, never a time to be waited for. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "net/loop.h"

/* What happened, one letter each. */
struct trace {
    struct loop *loop;
    char text[128];
    size_t len;
};

static void note(struct trace *tr, char c)
{
    if (tr->len < sizeof tr->text - 1)
        tr->text[tr->len++] = c;
}

struct step {
    struct loop_task task;
    struct trace *trace;
    char name;
    struct step *posts;
    bool stops;
};

static void step_run(struct loop_task *t)
{
    struct step *s = container_of(t, struct step, task);
    note(s->trace, s->name);
    if (s->posts)
        loop_post(s->trace->loop, &s->posts->task);
    if (s->stops)
        loop_stop(s->trace->loop);
}

static void step_init(struct step *s, struct trace *tr, char name)
{
    *s = (struct step){.trace = tr, .name = name};
    loop_task_init(&s->task, step_run);
}

struct counted_hook {
    struct loop_hook hook;
    struct trace *trace;
    char name;
    struct loop_task *posts_once;
    struct loop_hook *removes;
};

static void hook_run(struct loop_hook *h)
{
    struct counted_hook *c = container_of(h, struct counted_hook, hook);
    note(c->trace, c->name);
    if (c->posts_once) {
        loop_post(c->trace->loop, c->posts_once);
        c->posts_once = NULL;
    }
    if (c->removes)
        loop_hook_remove(c->removes);
}

static void setup(struct trace *tr)
{
    *tr = (struct trace){.loop = loop_new()};
}

static void test_tasks_run_in_order_and_once(void **state)
{
    (void)state;
    struct trace tr;
    setup(&tr);
    struct step a, b, c, gone;
    step_init(&a, &tr, 'a');
    step_init(&b, &tr, 'b');
    step_init(&c, &tr, 'c');
    step_init(&gone, &tr, 'x');
    a.posts = &c;
    c.stops = true;
    loop_post(tr.loop, &a.task);
    loop_post(tr.loop, &gone.task);
    loop_post(tr.loop, &b.task);
    loop_post(tr.loop, &a.task);
    loop_task_cancel(&gone.task);
    loop_task_cancel(&gone.task);
    assert_string_equal(tr.text, "");
    loop_run(tr.loop);
    assert_string_equal(tr.text, "abc");
    loop_free(tr.loop);
}

/* Tasks, then hooks; what a hook posts runs before the wait, and is followed by the hooks again. */
static void test_turn_order(void **state)
{
    (void)state;
    struct trace tr;
    setup(&tr);
    struct step a, b;
    step_init(&a, &tr, 'a');
    step_init(&b, &tr, 'b');
    b.stops = true;
    struct counted_hook h = {.trace = &tr, .name = 'H', .posts_once = &b.task}, i = {.trace = &tr, .name = 'I'};
    loop_hook_add(tr.loop, &h.hook, hook_run);
    loop_hook_add(tr.loop, &i.hook, hook_run);
    loop_post(tr.loop, &a.task);
    loop_run(tr.loop);
    assert_string_equal(tr.text, "aHIbHI");
    loop_hook_remove(&h.hook);
    loop_hook_remove(&h.hook);
    loop_hook_remove(&i.hook);
    loop_free(tr.loop);
}

static void test_hooks_may_remove_each_other(void **state)
{
    (void)state;
    struct trace tr;
    setup(&tr);
    struct step a;
    step_init(&a, &tr, 'a');
    a.stops = true;
    struct counted_hook h[4];
    for (int i = 0; i < 4; i++) {
        h[i] = (struct counted_hook){.trace = &tr, .name = (char)('0' + i)};
        loop_hook_add(tr.loop, &h[i].hook, hook_run);
    }
    h[0].removes = &h[0].hook;
    h[1].removes = &h[2].hook;
    h[3].posts_once = &a.task;
    loop_run(tr.loop);
    assert_string_equal(tr.text, "013a13");
    loop_hook_remove(&h[1].hook);
    loop_hook_remove(&h[3].hook);
    loop_free(tr.loop);
}

struct endless {
    struct loop_task task;
    struct loop *loop;
    int runs;
    int pipe_read;
};

static void endless_run(struct loop_task *t)
{
    struct endless *e = container_of(t, struct endless, task);
    e->runs++;
    loop_post(e->loop, &e->task);
}

static void endless_io(void *ctx, int events)
{
    struct endless *e = ctx;
    assert_int_equal(events, LOOP_READ);
    char c;
    assert_int_equal(read(e->pipe_read, &c, 1), 1);
    loop_stop(e->loop);
}

/* A task that posts itself for ever may neither starve sockets nor let the loop sleep. */
static void test_endless_task_does_not_starve(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct endless e = {.loop = loop_new(), .pipe_read = fds[0]};
    loop_task_init(&e.task, endless_run);
    struct loop_io *io = loop_io_new(e.loop, fds[0], LOOP_READ, endless_io, &e);
    loop_post(e.loop, &e.task);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(e.loop);
    assert_true(e.runs > 1);
    loop_task_cancel(&e.task);
    loop_io_free(io);
    loop_free(e.loop);
    close(fds[0]);
    close(fds[1]);
}

static void test_stop_before_run(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    loop_stop(loop);
    loop_run(loop);
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

/* ---- timers ---- */

struct alarm {
    struct loop *loop;
    struct loop_timer *timer;
    int64_t at_us;
    int *left;
    int fired;
};

static void alarm_fired(void *ctx)
{
    struct alarm *a = ctx;
    assert_true(mono_now_us() >= a->at_us);
    a->fired++;
    if (--*a->left == 0)
        loop_stop(a->loop);
}

/* Random arming, moving and switching off: each timer fires once, never early, exactly when it is on. */
static void test_timers_against_model(void **state)
{
    (void)state;
    enum { TIMERS = 64, MOVES = 2000 };
    struct loop *loop = loop_new();
    struct alarm alarms[TIMERS];
    struct rng rng;
    rng_seed(&rng, 7);
    int left = 0;
    for (int i = 0; i < TIMERS; i++) {
        alarms[i] = (struct alarm){.loop = loop, .at_us = NEVER_US, .left = &left};
        alarms[i].timer = loop_timer_new(loop, alarm_fired, &alarms[i]);
    }
    int64_t start_us = mono_now_us();
    for (int i = 0; i < MOVES; i++) {
        struct alarm *a = &alarms[rng_next(&rng) % TIMERS];
        bool off = rng_next(&rng) % 4 == 0;
        a->at_us = off ? NEVER_US : start_us + (int64_t)(rng_next(&rng) % (20 * (uint64_t)MS_US));
        loop_timer_at(a->timer, a->at_us);
    }
    for (int i = 0; i < TIMERS; i++)
        left += alarms[i].at_us != NEVER_US;
    assert_true(left > 0 && left < TIMERS);
    loop_run(loop);
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(alarms[i].fired, alarms[i].at_us != NEVER_US);
        loop_timer_free(alarms[i].timer);
    }
    loop_timer_free(NULL);
    loop_free(loop);
}

struct stale {
    struct loop *loop;
    struct loop_timer *timer;
    int64_t armed_us, fired_us;
};

struct stale_hook {
    struct loop_hook hook;
    struct stale *stale;
};

/* Work in the turn makes libev's time old; the timer must still count from the true time. */
static void stale_armed(struct loop_hook *h)
{
    struct stale *s = container_of(h, struct stale_hook, hook)->stale;
    loop_hook_remove(h);
    int64_t start_us = mono_now_us();
    while (mono_now_us() < start_us + 20 * MS_US)
        ;
    s->armed_us = mono_now_us();
    loop_timer_at(s->timer, s->armed_us + 10 * MS_US);
}

static void stale_fired(void *ctx)
{
    struct stale *s = ctx;
    s->fired_us = loop_now_us(s->loop);
    loop_stop(s->loop);
}

static void test_timer_armed_late_in_a_turn(void **state)
{
    (void)state;
    struct stale s = {.loop = loop_new()};
    s.timer = loop_timer_new(s.loop, stale_fired, &s);
    struct stale_hook h = {.stale = &s};
    loop_hook_add(s.loop, &h.hook, stale_armed);
    loop_run(s.loop);
    assert_true(s.fired_us >= s.armed_us + 10 * MS_US);
    loop_timer_free(s.timer);
    loop_free(s.loop);
}

static void rearm_in_callback(void *ctx)
{
    struct alarm *a = ctx;
    if (++a->fired == 3) {
        loop_stop(a->loop);
        return;
    }
    loop_timer_at(a->timer, mono_now_us());
}

static void test_timer_rearmed_by_itself(void **state)
{
    (void)state;
    struct alarm a = {.loop = loop_new()};
    a.timer = loop_timer_new(a.loop, rearm_in_callback, &a);
    loop_timer_at(a.timer, mono_now_us() - SECOND_US);
    loop_run(a.loop);
    assert_int_equal(a.fired, 3);
    loop_timer_free(a.timer);
    loop_free(a.loop);
}

/* ---- descriptors ---- */

struct reader {
    struct loop *loop;
    struct loop_io *io;
    int fd;
    int seen, calls;
};

static void read_once(void *ctx, int events)
{
    struct reader *r = ctx;
    r->seen = events;
    r->calls++;
    loop_io_free(r->io);
    r->io = NULL;
    loop_stop(r->loop);
}

static void test_io_write_read_and_free_inside(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct loop *loop = loop_new();
    struct reader w = {.loop = loop, .fd = fds[1]};
    w.io = loop_io_new(loop, fds[1], LOOP_WRITE, read_once, &w);
    loop_run(loop);
    assert_int_equal(w.seen, LOOP_WRITE);

    struct reader r = {.loop = loop, .fd = fds[0]};
    r.io = loop_io_new(loop, fds[0], 0, read_once, &r);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_io_set(r.io, LOOP_READ);
    loop_run(loop);
    assert_int_equal(r.seen, LOOP_READ);
    assert_int_equal(r.calls, 1);
    loop_io_free(NULL);
    loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

/* The same number, another file: the watch must follow. */
static void test_io_on_a_reused_number(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct loop *loop = loop_new();
    struct reader r = {.loop = loop, .fd = fds[0]};
    r.io = loop_io_new(loop, fds[0], LOOP_READ, read_once, &r);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(loop);
    close(fds[0]);
    close(fds[1]);

    int again[2];
    assert_int_equal(pipe(again), 0);
    assert_int_equal(again[0], fds[0]);
    r.io = loop_io_new(loop, again[0], LOOP_READ, read_once, &r);
    assert_int_equal(write(again[1], "y", 1), 1);
    loop_run(loop);
    assert_int_equal(r.calls, 2);
    loop_free(loop);
    close(again[0]);
    close(again[1]);
}

/* ---- signals and other threads ---- */

static void signal_seen(void *ctx, int signum)
{
    struct alarm *a = ctx;
    a->fired = signum;
    loop_stop(a->loop);
}

static void test_signal(void **state)
{
    (void)state;
    struct alarm a = {.loop = loop_new()};
    struct loop_signal *s = loop_signal_new(a.loop, SIGUSR1, signal_seen, &a);
    raise(SIGUSR1);
    loop_run(a.loop);
    assert_int_equal(a.fired, SIGUSR1);
    loop_signal_free(s);
    loop_signal_free(NULL);
    loop_free(a.loop);
}

static void woken(void *ctx)
{
    struct alarm *a = ctx;
    a->fired++;
    loop_stop(a->loop);
}

static void *wake_from_thread(void *arg)
{
    for (int i = 0; i < 100; i++)
        loop_wakeup_send(arg);
    return NULL;
}

static void test_wakeup_from_a_thread(void **state)
{
    (void)state;
    struct alarm a = {.loop = loop_new()};
    struct loop_wakeup *w = loop_wakeup_new(a.loop, woken, &a);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_from_thread, w), 0);
    loop_run(a.loop);
    pthread_join(thread, NULL);
    assert_true(a.fired >= 1);
    loop_wakeup_free(w);
    loop_wakeup_free(NULL);
    loop_free(a.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_run_in_order_and_once),
        cmocka_unit_test(test_turn_order),
        cmocka_unit_test(test_hooks_may_remove_each_other),
        cmocka_unit_test(test_endless_task_does_not_starve),
        cmocka_unit_test(test_stop_before_run),
        cmocka_unit_test(test_timers_against_model),
        cmocka_unit_test(test_timer_armed_late_in_a_turn),
        cmocka_unit_test(test_timer_rearmed_by_itself),
        cmocka_unit_test(test_io_write_read_and_free_inside),
        cmocka_unit_test(test_io_on_a_reused_number),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_wakeup_from_a_thread),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
