/* ports.h -- what the engine needs from the world.
 *
 * The engine is pure: it does no I/O and reads no clock, it calls these. net, store and
 * script implement them for real; sim implements clock and transport in virtual time. All calls
 * happen on the loop thread. No port may call back into the engine before it
 * returns, except where it says so; it reports later by the engine_* function named. */
#ifndef ENGINE_PORTS_H
#define ENGINE_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "core/job_spec.h"
#include "core/outcome.h"
#include "core/plan.h"
#include "core/region_table.h"
#include "core/status.h"

struct engine;
struct engine_job;

struct clock_port {
    void *ctx;
    double unix_zero_s;                           /* the wall clock at instant 0, for records */
    int64_t (*now_us)(void *ctx);
    /* Call engine_turn() at at_us, or as soon as the caller is done when that has come. Only the
     * earliest wish counts; a turn forgets it and states it anew. */
    void (*wake_at)(void *ctx, int64_t at_us);
};

/* One HTTP exchange. Owned by the engine; all it points to stays until the exchange has ended. */
struct exchange {
    const struct endpoint_spec *endpoint;
    const char *url;        /* NULL: the endpoint's own */
    bool post;              /* else GET, without a body */
    bool health;            /* a GET of its region's health URL */
    bool other_origin;      /* url is of an allowed other origin: send none of the endpoint's headers */
    struct str body;
    const char *trace_id;   /* sent as X-Trace-Id */
    void *wire;             /* the transport's */
};

struct transport_port {
    void *ctx;
    /* Ends in one engine_exchange_ended(). The transport applies connect_us and max_body_bytes of
     * the endpoint; all other deadlines are the engine's. */
    void (*send)(void *ctx, struct exchange *x);
    /* Closes the socket at once. No engine_exchange_ended() follows. */
    void (*cancel)(void *ctx, struct exchange *x);
};

/* What is asked, for the adapter. */
struct ask {
    enum warm_rule warm;    /* not WARM_NO: nothing but to warm the endpoint up. HEALTH: only read() is called */
    const struct job_spec *job;
    const struct question *question;
    const struct region_table *table;
    const struct endpoint_spec *endpoint;
    unsigned sample;        /* from 1 */
};

struct adapter_port {
    void *ctx;
    /* Appends the exact body to send. False: this execution cannot be asked (class config). */
    bool (*request)(void *ctx, const struct ask *ask, struct buf *body, struct err *err);
    /* Reads a response. What *out points to lives until the next call of the port. */
    void (*read)(void *ctx, const struct ask *ask, const struct response *response, struct answer *out);
};

/* Rows. An execution's row number is its job's first_row + n. A warm-up has the row that one more question would have
 * at its endpoint. Times are unix seconds; NAN is NULL. Texts are copied before the call returns. */
struct attempt_began {
    int64_t row;
    unsigned number;               /* of the attempt, from 1 */
    const char *url;
    struct str request;
    double queued_at;
    unsigned in_flight;            /* of the whole engine, this one included */
    int64_t revision;
    bool first;                    /* of the execution: started_at is set */
    bool cold;
};

struct attempt_hopped {            /* a result URL is there: commit it before it is fetched */
    int64_t row;
    unsigned number;
    const char *result_url;
    unsigned hops;                 /* GETs made so far */
    int http_status;
    double dispatched_at, first_byte_at;
};

struct execution_now {             /* the execution's row after this */
    enum status status;
    enum failure_class class;
    const char *error;             /* NULL: none */
    struct str answer;             /* ptr NULL: none */
    unsigned attempts, posts, hops;
    bool cold;
    int64_t revision;
    double ended_at;
    int64_t prompt_tokens, completion_tokens; /* -1: NULL */
    double cost;                   /* NAN: NULL */
};

struct attempt_ended {
    int64_t row;
    unsigned number;
    enum status status;
    enum failure_class class;
    const char *error;
    int http_status;               /* 0: NULL */
    unsigned hops;
    struct str response;           /* ptr NULL: none */
    const char *served_model, *served_region;
    double dispatched_at, first_byte_at, ended_at;
    uint64_t bytes_in, bytes_out;
    struct execution_now execution;
};

struct rows_closed {               /* many at once: what a job leaves undone */
    int64_t first_row;
    uint64_t count;
    const char *endpoint;          /* only rows of this one; NULL: all */
    bool waiting_only;             /* pending or between attempts; else every row that is not final */
    enum status status;
    enum failure_class class;
    const char *error;
    double ended_at;
};

struct job_changed {
    const char *job_id;
    enum job_state state;
    double started_at, ended_at;   /* NAN: leave as it is */
};

/* ---- what earlier runs of a job have done ---- */

/* An execution that has had attempts and has not ended, or (PENDING) a warm-up. */
struct begun {
    uint64_t n;                    /* its number in the plan */
    /* PENDING: another attempt may be made. RUNNING: its last POST may have left, and what came of it is not known.
     * WAITING_RESULT: its last attempt goes on at result_url. */
    enum status status;
    unsigned attempts, posts, hops;
    unsigned forgiven;             /* attempts that the retry rule no longer counts: somebody asked for more */
    double cost;                   /* NAN: not known */
    /* of the last attempt */
    unsigned attempt_hops;
    bool cold;
    const char *result_url;        /* NULL unless WAITING_RESULT */
    double dispatched_at, first_byte_at;
};

struct job_past {
    const uint8_t *status;         /* of each execution; one that is open and has had attempts is in begun */
    const struct begun *begun;     /* by n, rising */
    size_t begun_count;
    uint64_t posts, hops, attempts;
    double cost;                   /* of those that have ended; NAN: not known */
};

/* Each call queues a change and returns its number, growing by one at least.
 * When everything up to a number is durable the store says engine_durable(). */
struct recorder_port {
    void *ctx;
    uint64_t (*attempt_began)(void *ctx, const struct attempt_began *r);
    uint64_t (*attempt_hopped)(void *ctx, const struct attempt_hopped *r);
    uint64_t (*attempt_ended)(void *ctx, const struct attempt_ended *r);
    uint64_t (*rows_closed)(void *ctx, const struct rows_closed *r);
    uint64_t (*job_changed)(void *ctx, const struct job_changed *r);
};

/* One job's policy. It calls engine_run(), engine_sleep() and, once, engine_policy_ended(),
 * from within start() and ready(). */
struct policy_port {
    void *ctx;
    void (*start)(void *ctx, struct engine_job *job);
    void (*ready)(void *ctx, void *token); /* what engine_run/engine_sleep was given has ended */
    void (*stop)(void *ctx);               /* the job ends: no more calls either way */
};

enum event_kind {
    EVENT_JOB_STARTED,          /* the first dispatch */
    EVENT_BATCH_STARTED,        /* the first dispatch of a question's executions */
    EVENT_BATCH_COMPLETED,      /* the last of a question's executions has ended */
    EVENT_ATTEMPT_STARTED,      /* the POST leaves */
    EVENT_HOP,                  /* a result URL is fetched */
    EVENT_ATTEMPT_FAILED,       /* and will be made again after wait_us */
    EVENT_EXECUTION_ENDED,      /* its row is durable */
    EVENT_ENDPOINT_HELD,        /* nobody asks it for wait_us: Retry-After */
    EVENT_BREAKER_OPENED,       /* for wait_us; NEVER_US: dead, what waits is skipped */
    EVENT_BREAKER_CLOSED,
    EVENT_JOB_ENDED,
};

struct event {
    enum event_kind kind;
    const struct engine_job *job;          /* NULL for endpoint events */
    const struct endpoint_spec *endpoint;  /* NULL for job and batch events */
    struct cell cell;                      /* of attempt and execution events; batch: question */
    enum warm_rule warm;                   /* attempt and execution events; but for WARM_NO it is a warm-up */
    unsigned attempt, hops;
    enum status status;
    enum failure_class class;
    const char *error;
    int64_t at_us, wait_us;
    int64_t took_us;                       /* attempt, execution and batch endings */
    uint64_t executions;                   /* batch and job events */
};

struct observer_port {
    void *ctx;
    void (*event)(void *ctx, const struct event *event); /* may be NULL */
};

struct engine_ports {
    struct clock_port clock;
    struct transport_port transport;
    struct adapter_port adapter;
    struct recorder_port recorder;
    struct observer_port observer;
    uint64_t seed;              /* of the jitter */
};

#endif
