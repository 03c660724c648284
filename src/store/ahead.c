/* Rows that a thread of their own reads, on a connection of its own, while the caller is at those before. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "store/internal.h"
#include "store/reader_internal.h"

enum { BATCHES_MAX = 4, BATCH_BYTES = 256 * 1024 };

struct batch {
    struct batch *next;
    struct arena arena;      /* of all that follows */
    struct line {
        struct line *next;
        struct value values[];
    } *first, **last;
};

struct ahead {
    const char *path;
    const struct execution_filter *filter;
    pthread_mutex_t lock;    /* of what follows, down to the next line of its kind */
    pthread_cond_t changed;
    struct batch *first, **last;
    int count;
    bool ended, unwanted;
    /* the reading thread's until it has ended; names from the first batch on for both */
    struct batch *filling;
    struct arena arena;
    const char **names;
    int columns;
    struct err err;
    bool ok;
};

static void free_batch(struct batch *b)
{
    if (b)
        arena_done(&b->arena);
    free(b);
}

/* ---- the reading thread ---- */

static bool hand_over(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->count == BATCHES_MAX && !a->unwanted)
        pthread_cond_wait(&a->changed, &a->lock);
    bool wanted = !a->unwanted;
    if (wanted && a->filling) {
        *a->last = a->filling;
        a->last = &a->filling->next;
        a->filling = NULL;
        a->count++;
    }
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return wanted;
}

static bool keep_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    struct ahead *a = ctx;
    if (!a->names) {
        a->names = arena_alloc(&a->arena, (size_t)columns * sizeof *a->names);
        a->columns = columns;
        for (int i = 0; i < columns; i++)
            a->names[i] = arena_strdup(&a->arena, names[i]);
    }
    if (!a->filling) {
        a->filling = mem_zalloc(sizeof *a->filling);
        arena_init(&a->filling->arena);
        a->filling->last = &a->filling->first;
    }
    struct batch *b = a->filling;
    struct line *line = arena_alloc(&b->arena, sizeof *line + (size_t)columns * sizeof *values);
    for (int i = 0; i < columns; i++) {
        line->values[i] = values[i];
        if (values[i].type == VALUE_TEXT)
            line->values[i].text = arena_str(&b->arena, values[i].text);
    }
    *b->last = line;
    b->last = &line->next;
    return b->arena.bytes < BATCH_BYTES || hand_over(a);
}

static void *read_on(void *ctx)
{
    struct ahead *a = ctx;
    struct reader *reader = reader_open(a->path, &a->err);
    a->ok = reader && reader_executions(reader, a->filter, keep_row, a, &a->err);
    reader_close(reader);
    if (a->ok)
        hand_over(a);
    free_batch(a->filling);
    pthread_mutex_lock(&a->lock);
    a->ended = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- the caller's ---- */

/* NULL after the last. */
static struct batch *take(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->first && !a->ended)
        pthread_cond_wait(&a->changed, &a->lock);
    struct batch *b = a->first;
    if (b && !(a->first = b->next))
        a->last = &a->first;
    a->count -= b != NULL;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return b;
}

static void want_no_more(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->unwanted = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

bool reader_executions_ahead(struct reader *r, const struct execution_filter *f, reader_row *row, void *ctx,
                             struct err *err)
{
    pthread_t thread;
    struct ahead a = {.path = db_path(r->db), .filter = f, .last = &a.first};
    bool wanted = true;
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.changed, NULL);
    arena_init(&a.arena);
    store_thread(&thread, read_on, &a);
    for (struct batch *b; (b = take(&a)); free_batch(b)) {
        for (struct line *line = b->first; wanted && line; line = line->next)
            wanted = row(ctx, a.columns, a.names, line->values);
        if (!wanted)
            want_no_more(&a);
    }
    pthread_join(thread, NULL);
    if (!a.ok)
        *err = a.err;
    arena_done(&a.arena);
    pthread_cond_destroy(&a.changed);
    pthread_mutex_destroy(&a.lock);
    return a.ok;
}
