#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include <ev.h>

#include "base/defs.h"
#include "base/mem.h"
#include "base/timeutil.h"

/* Tasks that post tasks may go on this many rounds before sockets get their turn again. */
enum { MAX_ROUNDS = 64 };

struct loop {
    struct ev_loop *ev;
    ev_prepare end_of_turn;
    ev_idle awake;          /* active while tasks were left over: the wait is then a poll */
    struct list tasks;      /* posted, oldest first */
    struct list hooks;
    bool running, stopping;
};

static void run_tasks(struct loop *loop)
{
    struct list batch;
    list_init(&batch);
    list_append(&batch, &loop->tasks);
    while (!list_empty(&batch)) {
        struct loop_task *t = container_of(list_pop(&batch), struct loop_task, link);
        t->run(t);
    }
}

/* A mark walks through the list, so a hook may remove itself, its neighbours, or add others. */
static void run_hooks(struct loop *loop)
{
    struct list mark;
    list_init(&mark);
    list_push_front(&loop->hooks, &mark);
    while (mark.next != &loop->hooks) {
        struct list *item = mark.next;
        list_unlink(&mark);
        list_push_front(item, &mark);
        struct loop_hook *h = container_of(item, struct loop_hook, link);
        h->run(h);
    }
    list_unlink(&mark);
}

static void end_turn(struct ev_loop *ev, ev_prepare *w, int events)
{
    (void)events;
    struct loop *loop = w->data;
    int rounds = 0;
    do {
        run_tasks(loop);
        run_hooks(loop);
    } while (!list_empty(&loop->tasks) && ++rounds < MAX_ROUNDS);

    if (list_empty(&loop->tasks))
        ev_idle_stop(ev, &loop->awake);
    else
        ev_idle_start(ev, &loop->awake);
}

static void stay_awake(struct ev_loop *ev, ev_idle *w, int events)
{
    (void)ev, (void)w, (void)events;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zalloc(sizeof *loop);
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!loop->ev)
        abort(); /* no poll mechanism at all: not a system this program runs on */
    list_init(&loop->tasks);
    list_init(&loop->hooks);
    ev_prepare_init(&loop->end_of_turn, end_turn);
    loop->end_of_turn.data = loop;
    ev_prepare_start(loop->ev, &loop->end_of_turn);
    ev_idle_init(&loop->awake, stay_awake);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    assert(!loop->running);
    ev_idle_stop(loop->ev, &loop->awake);
    ev_prepare_stop(loop->ev, &loop->end_of_turn);
    ev_loop_destroy(loop->ev);
    free(loop);
}

void loop_run(struct loop *loop)
{
    assert(!loop->running);
    loop->running = true;
    while (!loop->stopping)
        ev_run(loop->ev, 0);
    loop->running = loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true; /* a stop that comes before loop_run() counts too */
    ev_break(loop->ev, EVBREAK_ALL);
}

int64_t loop_now_us(struct loop *loop)
{
    (void)loop;
    return mono_now_us();
}

void loop_task_init(struct loop_task *t, void (*run)(struct loop_task *t))
{
    list_init(&t->link);
    t->run = run;
}

void loop_post(struct loop *loop, struct loop_task *t)
{
    if (list_empty(&t->link))
        list_push(&loop->tasks, &t->link);
}

void loop_task_cancel(struct loop_task *t)
{
    list_unlink(&t->link);
}

void loop_hook_add(struct loop *loop, struct loop_hook *h, void (*run)(struct loop_hook *h))
{
    h->run = run;
    list_push(&loop->hooks, &h->link);
}

void loop_hook_remove(struct loop_hook *h)
{
    list_unlink(&h->link);
}

/* ---- timers ---- */

/* Deadlines mostly move later, so a later one only notes its time: the watcher fires where it was,
 * sees that it is early, and is set anew. That saves the heap most of its work. */
struct loop_timer {
    ev_timer watcher;
    struct loop *loop;
    void (*run)(void *ctx);
    void *ctx;
    int64_t at_us;          /* wanted */
    int64_t armed_us;       /* when the watcher fires; NEVER_US: it is stopped */
};

static void timer_arm(struct loop_timer *t)
{
    int64_t now_us = mono_now_us();
    int64_t delay_us = t->at_us > now_us ? t->at_us - now_us : 0;
    ev_timer_stop(t->loop->ev, &t->watcher);
    ev_now_update(t->loop->ev); /* libev counts from the time the turn began */
    ev_timer_set(&t->watcher, (double)delay_us / 1e6, 0);
    ev_timer_start(t->loop->ev, &t->watcher);
    t->armed_us = t->at_us;
}

static void timer_fired(struct ev_loop *ev, ev_timer *w, int events)
{
    (void)ev, (void)events;
    struct loop_timer *t = w->data;
    t->armed_us = NEVER_US;
    if (t->at_us == NEVER_US)
        return;
    if (mono_now_us() < t->at_us) {
        timer_arm(t);
        return;
    }
    t->at_us = NEVER_US;
    t->run(t->ctx);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *ctx), void *ctx)
{
    struct loop_timer *t = mem_zalloc(sizeof *t);
    ev_init(&t->watcher, timer_fired);
    t->watcher.data = t;
    t->loop = loop;
    t->run = run;
    t->ctx = ctx;
    t->at_us = t->armed_us = NEVER_US;
    return t;
}

void loop_timer_at(struct loop_timer *t, int64_t at_us)
{
    t->at_us = at_us;
    if (at_us < t->armed_us)
        timer_arm(t);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    ev_timer_stop(t->loop->ev, &t->watcher);
    free(t);
}

/* ---- descriptors ---- */

struct loop_io {
    ev_io watcher;
    struct loop *loop;
    void (*run)(void *ctx, int events);
    void *ctx;
    int events;
};

static int to_ev(int events)
{
    return (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);
}

static void io_ready(struct ev_loop *ev, ev_io *w, int events)
{
    (void)ev;
    struct loop_io *io = w->data;
    int seen = (events & EV_READ ? LOOP_READ : 0) | (events & EV_WRITE ? LOOP_WRITE : 0);
    if (events & EV_ERROR)
        seen = io->events; /* libev gave the descriptor up: let the owner find out by using it */
    io->run(io->ctx, seen);
}

struct loop_io *loop_io_new(struct loop *loop, int fd, int events, void (*run)(void *ctx, int events), void *ctx)
{
    assert(fd >= 0);
    struct loop_io *io = mem_zalloc(sizeof *io);
    io->loop = loop;
    io->run = run;
    io->ctx = ctx;
    ev_io_init(&io->watcher, io_ready, fd, 0);
    io->watcher.data = io;
    loop_io_set(io, events);
    return io;
}

void loop_io_set(struct loop_io *io, int events)
{
    assert((events & ~(LOOP_READ | LOOP_WRITE)) == 0);
    if (io->events == events)
        return;
    ev_io_stop(io->loop->ev, &io->watcher);
    io->events = events;
    /* The whole set, not ev_io_modify(): the number may belong to another file since the last turn. */
    ev_io_set(&io->watcher, io->watcher.fd, to_ev(events));
    if (events)
        ev_io_start(io->loop->ev, &io->watcher);
}

void loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    ev_io_stop(io->loop->ev, &io->watcher);
    free(io);
}

/* ---- wake-ups from other threads, signals ---- */

struct loop_wakeup {
    ev_async watcher;
    struct loop *loop;
    void (*run)(void *ctx);
    void *ctx;
};

static void wakeup_came(struct ev_loop *ev, ev_async *w, int events)
{
    (void)ev, (void)events;
    struct loop_wakeup *wakeup = w->data;
    wakeup->run(wakeup->ctx);
}

struct loop_wakeup *loop_wakeup_new(struct loop *loop, void (*run)(void *ctx), void *ctx)
{
    struct loop_wakeup *w = mem_zalloc(sizeof *w);
    ev_async_init(&w->watcher, wakeup_came);
    w->watcher.data = w;
    w->loop = loop;
    w->run = run;
    w->ctx = ctx;
    ev_async_start(loop->ev, &w->watcher);
    return w;
}

void loop_wakeup_send(struct loop_wakeup *w)
{
    ev_async_send(w->loop->ev, &w->watcher);
}

void loop_wakeup_free(struct loop_wakeup *w)
{
    if (!w)
        return;
    ev_async_stop(w->loop->ev, &w->watcher);
    free(w);
}

struct loop_signal {
    ev_signal watcher;
    struct loop *loop;
    void (*run)(void *ctx, int signum);
    void *ctx;
};

static void signal_came(struct ev_loop *ev, ev_signal *w, int events)
{
    (void)ev, (void)events;
    struct loop_signal *s = w->data;
    s->run(s->ctx, w->signum);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signum, void (*run)(void *ctx, int signum), void *ctx)
{
    struct loop_signal *s = mem_zalloc(sizeof *s);
    ev_signal_init(&s->watcher, signal_came, signum);
    s->watcher.data = s;
    s->loop = loop;
    s->run = run;
    s->ctx = ctx;
    ev_signal_start(loop->ev, &s->watcher);
    return s;
}

void loop_signal_free(struct loop_signal *s)
{
    if (!s)
        return;
    ev_signal_stop(s->loop->ev, &s->watcher);
    free(s);
}
