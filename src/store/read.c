#include <stdlib.h>

#include "base/mem.h"
#include "store/internal.h"

enum { READS_MAX = 256 };

struct read {
    struct read *next;
    void (*work)(void *ctx, struct reader *reader, const struct err *error);
    void (*done)(void *ctx);
    void *ctx;
};

static void add(struct reads *list, struct read *r)
{
    r->next = NULL;
    *list->last = r;
    list->last = &r->next;
}

static struct read *take_first(struct reads *list)
{
    struct read *r = list->first;
    if (r && !(list->first = r->next))
        list->last = &list->first;
    return r;
}

void reads_init(struct store *s)
{
    s->reads.last = &s->reads.first;
    s->reads_done.last = &s->reads_done.first;
}

/* ---- the reader thread ---- */

/* Outside the lock. A connection that cannot be opened now can be later: each read tries. */
static void run(struct store *s, struct reader **reader, struct read *r, bool stopping)
{
    struct err err;
    if (stopping)
        err_set(&err, ERR_STORE, "the database is being closed (%s): ask again when it is open", s->path);
    else if (!*reader)
        *reader = reader_open(s->path, &err);
    r->work(r->ctx, stopping ? NULL : *reader, &err);
}

static void *reader_run(void *ctx)
{
    struct store *s = ctx;
    struct reader *reader = NULL;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct read *r = take_first(&s->reads);
        if (!r && s->stopping)
            break;
        if (!r) {
            pthread_cond_wait(&s->read, &s->lock);
            continue;
        }
        bool stopping = s->stopping;
        pthread_mutex_unlock(&s->lock);
        run(s, &reader, r, stopping);
        pthread_mutex_lock(&s->lock);
        add(&s->reads_done, r);
        if (!store_needs_wake(s))
            continue;
        pthread_mutex_unlock(&s->lock);
        s->options.wake(s->options.ctx);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    reader_close(reader);
    return NULL;
}

/* ---- the loop thread ---- */

bool store_read(struct store *s, void (*work)(void *ctx, struct reader *reader, const struct err *error),
                void (*done)(void *ctx), void *ctx)
{
    if (s->reads_open == READS_MAX)
        return false;
    struct read *r = mem_alloc(sizeof *r);
    *r = (struct read){.work = work, .done = done, .ctx = ctx};
    s->reads_open++;
    pthread_mutex_lock(&s->lock);
    add(&s->reads, r);
    pthread_cond_signal(&s->read);
    pthread_mutex_unlock(&s->lock);
    if (!s->reader_runs)
        store_thread(&s->reader, reader_run, s);
    s->reader_runs = true;
    return true;
}

void reads_poll(struct store *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct read *r = take_first(&s->reads_done);
        pthread_mutex_unlock(&s->lock);
        if (!r)
            return;
        s->reads_open--;
        r->done(r->ctx);
        free(r);
    }
}

void reads_stop(struct store *s)
{
    if (s->reader_runs)
        pthread_join(s->reader, NULL);
    reads_poll(s);
}
