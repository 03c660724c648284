/* store.h -- what is kept: jobs, executions, attempts, region revisions, control log.
 *
 * Writes go to one writer thread that puts all that has queued up into one
 * durable transaction; the loop thread never waits for a disk. Nothing
 * in this interface is SQLite's, so another database can stand behind it.
 *
 * Ids are text and nest: job "bias-detection-3", execution "bias-detection-3.42" (42 is its number in
 * the plan, from 1), attempt "bias-detection-3.42.1". */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/plan.h"
#include "engine/ports.h"

struct store;

struct store_options {
    void *ctx;
    void (*wake)(void *ctx);                            /* any thread: call store_poll() on the loop thread soon */
    void (*durable)(void *ctx, uint64_t number);        /* from store_poll(): all up to number is on disk */
    void (*failed)(void *ctx, const struct err *err);   /* from store_poll(), once: nothing is written any more */
    /* From store_poll(): since then another program has kept the file locked; the writer waits, and nothing becomes
     * durable. 0: it writes again. May be NULL. */
    void (*locked)(void *ctx, int64_t since_us);
};

/* Creates or migrates the file (schema by user_version), refuses a newer one, a file that is not a
 * canvass database, a read-only or locked one; the error says what to do. */
MUST_USE struct store *store_open(const char *path, const struct store_options *o, struct err *err);
/* Writes what is queued, stops the threads. False if something could not be written. */
bool store_close(struct store *s, struct err *err);

/* The host wants to end: a lock that it was told of is a failure at once, another is waited for as when opening. */
void store_hurry(struct store *s);

/* Records queue up on the loop thread; store_flush() hands them to the writer. Call it at the end of each turn. */
void store_flush(struct store *s);
int64_t store_lag_us(const struct store *s);        /* how long the oldest record has not been on disk; 0: none is */
void store_poll(struct store *s);                   /* runs the callbacks that are due */
void store_recorder(struct store *s, struct recorder_port *out);

struct accepted {
    char job_id[128];
    int64_t first_row;
    int64_t revision;      /* of the region table, recorded if its hash was new */
    bool repeated;         /* a job that was there already, under the same key: nothing was stored */
};

struct submission {
    const char *author;
    const char *key;       /* NULL: none. What is submitted again under a key is the job that it was the first time */
    const char *key_of;    /* a digest of all that was submitted: another one under the same key is ERR_USAGE */
};

/* A job with its questions and one row per planned execution, all pending, in one transaction. The plan, its
 * job and table must stay until done() has run (from store_poll()); by is copied; error is NULL on success. */
void store_accept(struct store *s, const struct plan *plan, const struct submission *by,
                  void (*done)(void *ctx, const struct accepted *a, const struct err *error), void *ctx);

/* A job that was run before, and this process goes on with. */
struct take {
    const char *job_id;
    const struct plan *plan;              /* of the job's own cells; a table without a revision is recorded */
    /* NULL: what was cancelled or skipped is asked again. Else failed executions are, those that pass this. */
    const struct execution_filter *failed;
    const char *author;
    int64_t revision;                     /* of the table it is run against; 0: the plan's */
};

struct taken {
    struct accepted accepted;
    struct job_past past;
    int64_t opened;                       /* executions that had ended and are asked again */
};

/* In one transaction: refused when a living process owns the job (the error names it), else this one owns it, what
 * is to be asked again is open, and *taken says how far each execution has come. What take points to must stay until
 * done() has run (from store_poll()). taken is the callee's, for taken_free(); NULL with an error. */
void store_take(struct store *s, const struct take *take,
                void (*done)(void *ctx, struct taken *taken, const struct err *error), void *ctx);
void taken_free(struct taken *taken); /* NULL is a no-op */

/* What an operator did. */
struct revise {
    const struct region_table *table; /* recorded as a revision, unless the newest one is the same; NULL: none */
    const char *author, *reason;
    const char *action, *target;      /* a row of control_log; action NULL: none */
    const char *before, *after;       /* JSON; NULL: nothing to say */
};
/* Texts are copied; the table must stay until done() has run (from store_poll()). done may be NULL. */
void store_revise(struct store *s, const struct revise *r,
                  void (*done)(void *ctx, int64_t revision, const struct err *error), void *ctx);

/* ---- reading: a connection of its own, read-only, one thread at a time ---- */
struct reader;

/* Work for the store's own reader thread, so that the loop does not wait for a disk: work() runs there, one at a time,
 * then done() from store_poll(), or from store_close(). reader is NULL, and error says why, when the file cannot be
 * read or is being closed. False, and nothing runs, when too many wait already. */
MUST_USE bool store_read(struct store *s, void (*work)(void *ctx, struct reader *reader, const struct err *error),
                         void (*done)(void *ctx), void *ctx);

struct value {
    enum { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT } type;
    int64_t integer;
    double real;
    struct str text;       /* of TEXT; lives until the row callback returns */
};

/* False ends the query early, without an error. */
typedef bool reader_row(void *ctx, int columns, const char *const *names, const struct value *values);

/* The file must exist and be a canvass database of this version or an older one. */
MUST_USE struct reader *reader_open(const char *path, struct err *err);
void reader_close(struct reader *r);

/* Any one SQL statement that only reads; values are bound to ?1 ?2 ... as text (NULL binds NULL). A statement that
 * would write, attach, or is more than one is an error. Stops with an error after timeout_us (0: never). */
bool reader_sql(struct reader *r, const char *sql, const char *const *bind, int bind_count, int64_t timeout_us,
                reader_row *row, void *ctx, struct err *err);

struct job_summary {       /* counted from rows, never kept */
    char id[128], name[128], policy[64], owner[64], submitted_by[64];
    enum job_state state;
    bool owner_gone;       /* it has not ended, and the process that ran it is not there any more */
    double created_at, started_at, ended_at, timeout_s; /* NAN: NULL */
    int64_t revision, planned, by_status[STATUS_COUNT], posts, hops, attempts;
    int64_t answers[2];    /* attempts that succeeded; the second are those of a cold endpoint */
    double answers_s[2];   /* how long those took, in all */
    int64_t max_in_flight;
    double max_batch_gap_s; /* NAN: no two batches one after another */
    int64_t warm_ups, warmed, warm_posts, warm_hops; /* apart from the others; warm_ups, warmed: endpoints */
    double cost;           /* of warm-ups too; NAN: no price known */
    double warm_cost;
};
/* False with ERR_USAGE when there is no such job; the error names the nearest ids. "last" is the newest job. */
bool reader_job(struct reader *r, const char *job_id, struct job_summary *out, struct err *err);
/* The id itself, or the newest job's for "last"; errors as of reader_job(), which counts besides. */
bool reader_find(struct reader *r, const char *job_id, char id[128], struct err *err);
/* Newest first. */
bool reader_jobs(struct reader *r, bool (*each)(void *ctx, const struct job_summary *job), void *ctx, struct err *err);

/* Rows of the executions table in plan order, each column as the schema names it. Every filter may be NULL. */
struct execution_filter {
    const char *job_id, *question_id, *model_id, *region, *status, *class, *execution_id;
    int64_t limit, offset; /* limit 0: all */
    int64_t from;          /* not those before this place in the plan, from 0; only with a job_id */
    bool with_prompt;      /* adds a column `prompt` */
};
bool reader_count(struct reader *r, const struct execution_filter *f, int64_t *out, struct err *err); /* of all pages */
bool reader_executions(struct reader *r, const struct execution_filter *f, reader_row *row, void *ctx, struct err *err);
/* The same, with the rows read by a thread and a connection of their own, some ahead of row(): for many, that keep
 * row() busy. */
bool reader_executions_ahead(struct reader *r, const struct execution_filter *f, reader_row *row, void *ctx,
                             struct err *err);

/* ---- checking ---- */
struct fault {             /* something that cannot be */
    const char *rule;      /* a word for the kind */
    const char *id;        /* of the job, execution or attempt */
    const char *text;
};

/* Recounts a job from its rows and looks for what no run, crash or resume can leave behind, whether the job runs on or
 * not. Each fault is told; false only when it could not look. job_id NULL: the file itself, and rows that belong to no
 * job. */
bool reader_verify(struct reader *r, const char *job_id, void (*found)(void *ctx, const struct fault *fault), void *ctx,
                   struct err *err);

/* ---- between processes ---- */
/* Writes a request into control_log; the process that owns the job sees it by store_watch_control(). When no
 * living process owns the job its open rows become cancelled at once. *alive_pid: the owner's, 0: nobody.
 * changed: false when the job had ended already. */
bool store_request_cancel(const char *path, const char *job_id, const char *author, const char *reason, int *alive_pid,
                          bool *changed, struct err *err);

/* Looks, on the reader thread and at most twice a second, for control requests of the job; request() runs from
 * store_poll(), and no more once the recorder was given the job's end. */
void store_watch_control(struct store *s, const char *job_id,
                         void (*request)(void *ctx, const char *action, const char *author, const char *reason),
                         void *ctx);

#endif
