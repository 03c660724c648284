/* internal.h -- the store itself, for the files that share its lock. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>

#include "store/queue.h"
#include "store/store.h"

/* A job comes in: a new one, or (take) one to go on with. */
struct task {
    struct task *next;
    const struct plan *plan;
    const struct take *take;
    struct revise *revise;
    int64_t revision;                /* of the plan's table as it was submitted; what revise is told */
    char *author, *key, *key_of;
    void (*accepted)(void *ctx, const struct accepted *a, const struct err *error);
    void (*taken)(void *ctx, struct taken *t, const struct err *error);
    void (*revised)(void *ctx, int64_t revision, const struct err *error);
    void *ctx;
    bool ok;
    struct accepted out;
    struct taken *out_taken;
    struct err error;
};

struct tasks {
    struct task *first, **last; /* oldest first */
};

struct read;

struct reads {
    struct read *first, **last; /* oldest first */
};

struct applier;
struct db;
struct watch;
struct control_request;

struct store {
    char *path;
    struct store_options options;
    struct db *db;                 /* the writer's, once it runs */
    struct applier *applier;
    pthread_t writer, watcher, reader;
    int busy_ms;
    bool patient;                  /* the writer's: is there no end to its waiting for a lock? */
    bool watcher_runs, reader_runs; /* the loop thread's */
    unsigned reads_open;           /* the loop thread's */
    int64_t lag_since_us;          /* the loop thread's: when record lag_number was handed over; 0: all is on disk */
    uint64_t lag_number;
    uint64_t number;               /* the loop thread's: of the last record */
    unsigned in_flight;            /* the loop thread's: requests, as the last one that began was told */

    pthread_mutex_t lock;          /* for all that follows, and where queue.h says so */
    pthread_cond_t work;           /* there is something for the writer */
    pthread_cond_t room;           /* the queue has become shorter */
    pthread_cond_t look;           /* the watcher should look at once, or stop */
    pthread_cond_t read;           /* there is something for the reader, or it should stop */
    struct queue queue;
    uint64_t published_number, handled_number; /* handled: written, or dropped after a failure */
    unsigned published_in_flight;
    int64_t commit_every_us;
    struct tasks asked, answered;
    struct reads reads, reads_done;
    bool gathering;                /* the writer waits for more, not for work */
    bool stopping, hurried, given_up;
    int64_t locked_since_us, told_locked_us; /* 0: it writes */
    bool wake_sent;                /* and not yet answered by store_poll() */
    uint64_t durable, told_durable;
    bool failed, told_failed;
    struct err failure;
    struct watch *watches;
    struct control_request *requests, **requests_last;
};

/* store_open() with another patience for locks, for tests. */
MUST_USE struct store *store_open_with(const char *path, const struct store_options *o, int busy_ms, struct err *err);

/* Under the lock: true when wake() must be called once the lock is given back. */
bool store_needs_wake(struct store *s);

/* Under the lock, given back while it waits: false when the time is over. */
bool store_wait(struct store *s, pthread_cond_t *condition, int64_t for_us);

/* A thread that takes no signal: those are the loop's. */
void store_thread(pthread_t *thread, void *(*run)(void *), void *ctx);

/* control.c */
void control_poll(struct store *s);                            /* runs request() for what has come */
void control_job_ended(struct store *s, const char *job_id);
void control_stop(struct store *s);

/* read.c */
void reads_init(struct store *s);
void reads_poll(struct store *s);                              /* runs done() for what has been read */
void reads_stop(struct store *s);

#endif
