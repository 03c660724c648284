#include "store/store.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "store/accept.h"
#include "store/apply.h"
#include "store/internal.h"
#include "store/owner.h"
#include "store/recorder.h"
#include "store/revise.h"
#include "store/schema.h"
#include "store/sqlite.h"
#include "store/take.h"

/* Far more than is ever in flight. A disk that falls behind this much slows the loop instead of filling memory. */
enum {
    WAITING_MAX_BYTES = 512 * 1024 * 1024,
    UNPUBLISHED_MAX_BYTES = 4 * 1024 * 1024, /* of one turn; more is published before the turn ends */
    COMMIT_EVERY_US = 10000,                 /* at most so far apart */
    COMMIT_MANY = 32,                        /* records: more than few requests in flight can cause */
};

static const int64_t LOOK_AT_FILES_US = 2 * SECOND_US; /* when nothing is written for so long */
static const int64_t TELL_OF_LOCK_US = 2 * SECOND_US;

static void tasks_add(struct tasks *list, struct task *t)
{
    t->next = NULL;
    *list->last = t;
    list->last = &t->next;
}

static struct task *tasks_take_all(struct tasks *list)
{
    struct task *first = list->first;
    list->first = NULL;
    list->last = &list->first;
    return first;
}

static void tasks_free(struct task *t)
{
    while (t) {
        struct task *next = t->next;
        taken_free(t->out_taken);
        free(t->author);
        free(t->key);
        free(t->key_of);
        revise_free(t->revise);
        free(t);
        t = next;
    }
}

bool store_needs_wake(struct store *s)
{
    bool first = !s->wake_sent;
    s->wake_sent = true;
    return first;
}

bool store_wait(struct store *s, pthread_cond_t *condition, int64_t for_us)
{
    int64_t until_us = mono_now_us() + for_us;
    struct timespec at = {.tv_sec = until_us / SECOND_US, .tv_nsec = until_us % SECOND_US * 1000};
    return pthread_cond_timedwait(condition, &s->lock, &at) == 0;
}

void store_thread(pthread_t *thread, void *(*run)(void *), void *ctx)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert(code == 0); /* no thread at start-up: as fatal as no memory */
}

/* ---- the writer thread ---- */

/* The writer's patience with other programs. Giving up would throw away answers that are paid for; and as
 * nothing is sent before its row is durable, waiting costs nothing but time. */
static bool wait_for_lock(void *ctx, int64_t since_us)
{
    struct store *s = ctx;
    int64_t waited_us = mono_now_us() - since_us;
    pthread_mutex_lock(&s->lock);
    bool tell = s->patient && waited_us >= TELL_OF_LOCK_US && !s->locked_since_us;
    if (tell)
        s->locked_since_us = since_us;
    bool wake = tell && store_needs_wake(s);
    bool endless = s->patient && !s->stopping && !s->hurried;
    bool goes_on = !s->given_up && (endless || waited_us < s->busy_ms * MS_US);
    pthread_mutex_unlock(&s->lock);
    if (wake)
        s->options.wake(s->options.ctx);
    return goes_on;
}

/* Everything published goes into one transaction: all of it becomes durable, or none. After a failure the records
 * are only read past, so that their memory comes back. */
static bool write_records(struct store *s, struct mark until, bool writing, struct err *err)
{
    const struct record *r = queue_next(&s->queue, until);
    if (!r)
        return writing;
    s->patient = true;
    bool ok = writing && db_begin(s->db, err);
    for (; r; r = queue_next(&s->queue, until))
        ok = ok && apply_record(s->applier, r, err);
    if (ok)
        ok = db_commit(s->db, err);
    else
        db_rollback(s->db);
    s->patient = false;
    return ok;
}

/* A job that is refused for its own sake changes nothing else; the disk's failure is everybody's, and shows in
 * the next record. */
static void answer_task(struct store *s, struct task *t, bool writing, const struct err *failure)
{
    if (!writing)
        t->error = *failure;
    else if (t->take)
        t->ok = (t->out_taken = take_job(s->db, t->take, &t->error));
    else if (t->revise)
        t->ok = revise(s->db, t->revise, &t->revision, &t->error);
    else
        t->ok = accept_job(s->db, t->plan, &(struct submission){t->author, t->key, t->key_of}, t->revision, &t->out,
                           &t->error);
}

/* What this process did not bring to an end is nobody's from here on. */
static bool release_jobs(struct store *s, struct err *err)
{
    struct owner self;
    owner_self(&self);
    struct stmt *st = db_prepare(s->db, "UPDATE jobs SET owner_pid = NULL WHERE owner_pid = ?1 AND owner_start = ?2"
                                        " AND owner_boot = ?3", err);
    if (!st)
        return false;
    stmt_int(st, 1, self.pid);
    stmt_int(st, 2, self.start);
    stmt_text(st, 3, self.boot);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

/* Under the lock, which it gives back while it wakes the loop. */
static void report(struct store *s, uint64_t number, const struct err *failure, struct tasks *answered)
{
    queue_release(&s->queue);
    pthread_cond_signal(&s->room);
    s->handled_number = number;
    s->locked_since_us = 0;
    if (!failure) {
        s->durable = number;
    } else if (!s->failed) {
        s->failed = true;
        s->failure = *failure;
    }
    if (answered && answered->first) {
        *s->answered.last = answered->first;
        s->answered.last = answered->last;
    }
    if (store_needs_wake(s)) {
        pthread_mutex_unlock(&s->lock);
        s->options.wake(s->options.ctx);
        pthread_mutex_lock(&s->lock);
    }
}

static bool has_work(const struct store *s)
{
    return s->published_number != s->handled_number || s->asked.first;
}

/* Under the lock. In a long silence the files are looked at: answers that are being paid for need a place. */
static void await_work(struct store *s, bool *writing, struct err *failure)
{
    while (!s->stopping && !has_work(s)) {
        if (store_wait(s, &s->work, LOOK_AT_FILES_US) || !*writing)
            continue;
        pthread_mutex_unlock(&s->lock);
        *writing = db_in_place(s->db, failure);
        pthread_mutex_lock(&s->lock);
        if (!*writing)
            report(s, s->handled_number, failure, NULL);
    }
}

/* Under the lock. Each ending begins the next request, so that half of the records are requests that wait to leave:
 * then a third of those in flight do, and the others keep the loop at work while the commit lasts. */
static bool enough_wait(const struct store *s)
{
    return (s->published_number - s->handled_number) * 3 >= (uint64_t)s->published_in_flight * 2;
}

/* Under the lock. A commit costs about the same whatever it holds, so under load it waits until it is worth that.
 * After a small one the next waits for nothing. */
static void gather(struct store *s, uint64_t last_count, int64_t last_began_us)
{
    int64_t left_us;
    s->gathering = true;
    while (last_count >= COMMIT_MANY && !s->stopping && !s->asked.first && !enough_wait(s) &&
           (left_us = last_began_us + s->commit_every_us - mono_now_us()) > 0)
        store_wait(s, &s->work, left_us);
    s->gathering = false;
}

static void *writer_run(void *ctx)
{
    struct store *s = ctx;
    struct err failure = {0};
    bool writing = true;
    uint64_t count = 0; /* of records in the last transaction */
    int64_t began_us = 0;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        await_work(s, &writing, &failure);
        gather(s, count, began_us);
        began_us = mono_now_us();
        uint64_t number = s->published_number;
        count = number - s->handled_number;
        struct mark until = s->queue.published;
        struct task *task = tasks_take_all(&s->asked);
        if (number == s->handled_number && !task)
            break; /* stopping, and nothing is left */
        pthread_mutex_unlock(&s->lock);

        writing = write_records(s, until, writing, &failure);
        struct tasks answered = {.last = &answered.first};
        while (task) {
            struct task *next = task->next;
            answer_task(s, task, writing, &failure);
            tasks_add(&answered, task);
            task = next;
        }

        pthread_mutex_lock(&s->lock);
        report(s, number, writing ? NULL : &failure, &answered);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the loop thread ---- */

static bool open_database(struct store *s, int busy_ms, struct err *err)
{
    s->db = db_open(s->path, DB_CREATE, busy_ms, err);
    /* With 4096 pages (64 MiB) between checkpoints most pages are full when they are copied, and are copied once. The
     * cache holds the pages being filled, and is small so that it stays in the processor's. Nothing is ever deleted, so
     * nothing has to be overwritten. */
    if (!s->db || !schema_prepare(s->db, err) ||
        !db_exec(s->db, "PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -4096;"
                        "PRAGMA secure_delete = OFF; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY",
                 err))
        return false;
    s->applier = applier_new(s->db, err);
    if (!s->applier || !db_begin(s->db, err)) /* now, not in the middle of a job, is the time to learn of a lock */
        return false;
    db_rollback(s->db);
    return true;
}

static void init_lock(struct store *s)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, &monotonic);
    pthread_cond_init(&s->room, NULL);
    pthread_cond_init(&s->look, &monotonic);
    pthread_cond_init(&s->read, NULL);
    pthread_condattr_destroy(&monotonic);
}

static void store_free(struct store *s)
{
    applier_free(s->applier);
    db_close(s->db);
    tasks_free(tasks_take_all(&s->asked));
    tasks_free(tasks_take_all(&s->answered));
    queue_done(&s->queue);
    pthread_cond_destroy(&s->read);
    pthread_cond_destroy(&s->look);
    pthread_cond_destroy(&s->room);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

struct store *store_open_with(const char *path, const struct store_options *o, int busy_ms, struct err *err)
{
    struct store *s = mem_zalloc(sizeof *s);
    s->path = mem_strdup(path);
    s->options = *o;
    s->commit_every_us = COMMIT_EVERY_US;
    s->asked.last = &s->asked.first;
    s->answered.last = &s->answered.first;
    s->requests_last = &s->requests;
    reads_init(s);
    queue_init(&s->queue);
    init_lock(s);
    if (!open_database(s, busy_ms, err)) {
        store_free(s);
        return NULL;
    }
    s->busy_ms = busy_ms;
    db_set_patience(s->db, wait_for_lock, s);
    store_thread(&s->writer, writer_run, s);
    return s;
}

struct store *store_open(const char *path, const struct store_options *o, struct err *err)
{
    return store_open_with(path, o, DB_BUSY_MS, err);
}

bool store_close(struct store *s, struct err *err)
{
    store_flush(s);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->work);
    pthread_cond_signal(&s->look);
    pthread_cond_signal(&s->read);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->writer, NULL);
    control_stop(s);
    reads_stop(s);

    bool ok = s->failed ? err_set(err, s->failure.code, "%s", s->failure.text) : release_jobs(s, err);
    store_free(s);
    return ok;
}

void store_hurry(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->hurried = true;
    s->given_up = s->locked_since_us != 0;
    pthread_mutex_unlock(&s->lock);
}

void store_flush(struct store *s)
{
    if (s->queue.unpublished_bytes == 0)
        return;
    if (!s->lag_since_us) {
        s->lag_since_us = mono_now_us();
        s->lag_number = s->number;
    }
    pthread_mutex_lock(&s->lock);
    queue_publish(&s->queue);
    s->published_number = s->number;
    s->published_in_flight = s->in_flight;
    if (!s->gathering || enough_wait(s))
        pthread_cond_signal(&s->work);
    while (s->queue.waiting_bytes > WAITING_MAX_BYTES)
        pthread_cond_wait(&s->room, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

int64_t store_lag_us(const struct store *s)
{
    return s->lag_since_us ? mono_now_us() - s->lag_since_us : 0;
}

void store_poll(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->wake_sent = false;
    struct task *answered = tasks_take_all(&s->answered);
    uint64_t durable = s->durable;
    bool failed = s->failed;
    int64_t locked_since_us = s->locked_since_us;
    pthread_mutex_unlock(&s->lock);

    for (struct task *t = answered; t; t = t->next) {
        const struct err *error = t->ok ? NULL : &t->error;
        struct taken *taken = t->out_taken;
        t->out_taken = NULL;
        if (t->take)
            t->taken(t->ctx, taken, error);
        else if (t->revise && t->revised)
            t->revised(t->ctx, t->revision, error);
        else if (t->revise)
            continue;
        else
            t->accepted(t->ctx, t->ok ? &t->out : NULL, error);
    }
    tasks_free(answered);
    if (locked_since_us != s->told_locked_us && s->options.locked)
        s->options.locked(s->options.ctx, locked_since_us);
    s->told_locked_us = locked_since_us;
    if (durable > s->told_durable) {
        s->told_durable = durable;
        if (durable >= s->lag_number) { /* what came later is younger than this moment makes it */
            s->lag_since_us = durable < s->number ? mono_now_us() : 0;
            s->lag_number = s->number;
        }
        s->options.durable(s->options.ctx, durable);
    }
    control_poll(s);
    reads_poll(s);
    if (failed && !s->told_failed) {
        s->told_failed = true;
        s->options.failed(s->options.ctx, &s->failure); /* set once, before `failed` */
    }
}

static void ask(struct store *s, const struct task *task)
{
    struct task *t = mem_alloc(sizeof *t);
    *t = *task;
    pthread_mutex_lock(&s->lock);
    tasks_add(&s->asked, t);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

void store_accept(struct store *s, const struct plan *plan, const struct submission *by,
                  void (*done)(void *ctx, const struct accepted *a, const struct err *error), void *ctx)
{
    ask(s, &(struct task){.plan = plan, .revision = plan->table->revision, .author = mem_strdup(by->author),
                          .key = mem_strdup(by->key), .key_of = mem_strdup(by->key_of), .accepted = done, .ctx = ctx});
}

void store_take(struct store *s, const struct take *take,
                void (*done)(void *ctx, struct taken *taken, const struct err *error), void *ctx)
{
    ask(s, &(struct task){.take = take, .taken = done, .ctx = ctx});
}

void store_revise(struct store *s, const struct revise *r,
                  void (*done)(void *ctx, int64_t revision, const struct err *error), void *ctx)
{
    ask(s, &(struct task){.revise = revise_copy(r), .revised = done, .ctx = ctx});
}

/* ---- the recorder port ---- */

/* Once the host knows of a failure nothing is queued any more: the numbers go on, and never become durable. */
#define RECORDER(type)                                                     \
    static uint64_t port_##type(void *ctx, const struct type *r)           \
    {                                                                      \
        struct store *s = ctx;                                             \
        if (!s->told_failed)                                               \
            record_##type(&s->queue, r);                                   \
        s->number++;                                                       \
        if (s->queue.unpublished_bytes > UNPUBLISHED_MAX_BYTES)            \
            store_flush(s);                                                \
        return s->number;                                                  \
    }

RECORDER(attempt_began)
RECORDER(attempt_hopped)
RECORDER(attempt_ended)
RECORDER(rows_closed)
RECORDER(job_changed)

static uint64_t port_began(void *ctx, const struct attempt_began *r)
{
    struct store *s = ctx;
    s->in_flight = r->in_flight;
    return port_attempt_began(s, r);
}

static uint64_t port_job(void *ctx, const struct job_changed *r)
{
    if (job_state_is_final(r->state))
        control_job_ended(ctx, r->job_id);
    return port_job_changed(ctx, r);
}

void store_recorder(struct store *s, struct recorder_port *out)
{
    *out = (struct recorder_port){
        .ctx = s,
        .attempt_began = port_began,
        .attempt_hopped = port_attempt_hopped,
        .attempt_ended = port_attempt_ended,
        .rows_closed = port_rows_closed,
        .job_changed = port_job,
    };
}
