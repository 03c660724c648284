/* session.h -- the parts wired together: loop, store, HTTP client, adapters, engine, and the jobs they run.
 *
 * A turn of the loop takes in what came, lets the engine start what may start, and hands the records to the
 * store's writer. Loop thread only. */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "engine/engine.h"
#include "script/job_file.h"

struct execution_filter;
struct loop;
struct store;
struct submission;
struct taken;
struct session;
struct session_job;

/* Told to whoever watches; each may be NULL. */
struct session_watcher {
    void *ctx;
    void (*accepted)(void *ctx, struct session_job *job);   /* its rows are durable */
    void (*started)(void *ctx, struct session_job *job);    /* the engine has it: at once, or when its turn has come */
    void (*refused)(void *ctx, struct session_job *job, const struct err *err); /* it could not be stored */
    void (*ended)(void *ctx, struct session_job *job);      /* all its rows are durable */
    void (*event)(void *ctx, const struct session_job *job, const struct event *event); /* job NULL: an endpoint's */
    void (*control)(void *ctx, struct session_job *job, const char *action, const char *author, const char *reason);
    void (*store_failed)(void *ctx, const struct err *err);
    void (*store_locked)(void *ctx, int64_t since_us);      /* as in store.h */
};

struct session_options {
    const char *db;
    const char *ca_file;               /* NULL: the system's */
    unsigned at_once;                  /* jobs that run side by side; others wait in the order they came. 0: all */
    struct session_watcher watcher;
};

/* Takes a reference to table. NULL on error. */
MUST_USE struct session *session_new(struct region_table *table, const struct session_options *o, struct err *err);
/* Frees the jobs too, then closes the store: false when something could not be written. */
bool session_free(struct session *s, struct err *err);
void session_turn(struct session *s);                             /* something was asked of the engine */
void session_hurry(struct session *s);                            /* as store_hurry() */
struct loop *session_loop(struct session *s);
struct engine *session_engine(struct session *s);
struct store *session_store(struct session *s);
struct region_table *session_table(struct session *s);            /* the one of now; not a reference */
/* The first makes a table's endpoints known, the second puts it in force. Never from within a turn. */
MUST_USE bool session_add_table(struct session *s, struct region_table *table, struct err *err);
void session_change_table(struct session *s, struct region_table *table);
void session_each_running(struct session *s, void (*each)(void *ctx, struct session_job *job), void *ctx);
bool session_pause(struct session_job *job, const char *reason);  /* as engine_pause(); false too while it waits */
bool session_unpause(struct session_job *job);

/* Plans the job and has it stored; accepted() or refused() follows. file stays the caller's and must
 * outlive the session. NULL when it cannot be planned. */
MUST_USE struct session_job *session_submit(struct session *s, struct job_file *file, const struct submission *by,
                                            struct err *err);

/* Goes on with a job that was run before: plan is of its own cells, and taken; failed as in store_take(). accepted() or
 * refused() follows; what failed points to stays until then. */
struct session_job *session_resume(struct session *s, struct job_file *file, struct plan *plan, const char *job_id,
                                   const struct execution_filter *failed, const char *author);

/* As engine_stop(); one that waits for its turn ends at once. */
void session_stop(struct session_job *job, enum stop_how how, enum job_state state, const char *reason);
/* After ended() or refused(), and never from within: its file may be freed then. Optional: session_free() does it. */
void session_job_free(struct session_job *job);

void session_job_set_user(struct session_job *job, void *user);
void *session_job_user(const struct session_job *job);
bool session_job_repeated(const struct session_job *job);         /* accepted before, under the same key: not run */
const char *session_job_id(const struct session_job *job);        /* NULL until accepted */
struct engine_job *session_job_engine(const struct session_job *job); /* NULL until started */
const struct taken *session_job_taken(const struct session_job *job); /* NULL: a new job, or not accepted yet */
const struct plan *session_job_plan(const struct session_job *job);

#endif
