/* state.h -- what the engine's files share. Private to engine/.
 *
 *   engine   endpoints and their gates, for all jobs
 *   job      a plan, its policy, one line for each endpoint of the plan
 *   run      a selection the policy has started; one part of it stands in each endpoint's line
 *   line     one job's work at one endpoint: retries that are due, a warm-up, then the parts in order
 *   live     an execution from its first dispatch until its last row is durable; so is a warm-up
 *
 * Endpoints are known by their ids and outlive the table they came from: one that is in no table any more is `absent`
 * while a job's line stands at it. A live has the snapshot it was dispatched under.
 *
 * A line with work is in exactly one list: `ready`, or the waiters of the first gate that
 * refused it. A line without work is in none. */
#ifndef ENGINE_STATE_H
#define ENGINE_STATE_H

#include "base/list.h"
#include "base/random.h"
#include "core/adaptive.h"
#include "core/breaker.h"
#include "core/sema.h"
#include "engine/engine.h"
#include "engine/timers.h"

/* A semaphore, the timer that looks again when time alone opens it, and the lines told to come. */
struct gate {
    struct sema sema;
    struct engine *engine;
    struct endpoint *endpoint; /* whose breaker and pause count too; NULL: not an endpoint's */
    char *name;                /* of a region or group; NULL: an endpoint's, a job's, the program's */
    struct timer timer;
    unsigned called;           /* lines moved to `ready` that have not tried yet */
    uint64_t round;            /* of the latest of them */
    bool held;                 /* closed for a time; not looked at since */
    unsigned ramp;             /* after a hold, in flight at most: one more with each answer; 0: no such cap */
};

struct endpoint {
    struct engine *engine;
    struct region_table *table;  /* a reference; the newest that has it */
    const struct endpoint_spec *spec; /* in it */
    bool absent;                 /* not in the engine's table */
    unsigned lines;              /* that stand at it */
    struct gate gate;
    struct gate *region, *group; /* NULL: absent, in no group */
    struct breaker breaker;
    struct adaptive adaptive;
    bool warm;                 /* has answered and was not idle for `scaledown` since */
    int64_t last_used_us;
    unsigned backing_off;
    struct list in_flight;     /* of struct live, oldest dispatch first */
};

/* Regions' or groups': by index in the table, then those of earlier tables with a permit out. */
struct gates {
    struct gate **list;
    size_t count;
};

/* Waits for a record to be durable. In engine->awaiting, oldest first. */
struct await {
    struct list link;
    uint64_t number;
    void (*durable)(struct await *a);
};

struct engine {
    struct engine_ports ports;
    struct region_table *table;
    struct endpoint **endpoints; /* by spec->index in the table, then the absent ones */
    size_t endpoint_count;
    struct map ids;             /* of endpoints -> where in that array */
    struct gates regions, groups;
    struct gate global;
    struct timers timers;
    struct list ready;          /* of struct line */
    struct list awaiting;       /* of struct await */
    struct list jobs;
    struct rng rng;
    uint64_t durable;           /* every record up to this number is on disk */
    bool store_failed, draining, turning;
    bool woken;                 /* wake_at(now) was said since the last turn */
};

struct part {
    struct list link;           /* in line->parts */
    struct run *run;
    uint64_t next;              /* in the selection's line of this endpoint */
};

struct run {
    struct list link;           /* in job->runs, then job->ended_runs */
    struct engine_job *job;
    struct selection *selection;
    void *token;
    uint64_t remaining;         /* executions that have not ended, as far as the parts have looked */
    int64_t queued_us;
    struct part parts[];        /* one for each endpoint of the selection */
};

struct nap {
    struct list link;           /* in job->naps */
    struct timer timer;
    struct engine_job *job;
    void *token;
};

struct line {
    struct list link;           /* engine->ready or gate->sema.waiters */
    struct engine_job *job;
    struct endpoint *endpoint;
    uint32_t position;          /* of the endpoint in the plan */
    struct gate *called_by;     /* its permit is kept for this line; NULL: none */
    uint64_t round;             /* of the gate it waits at: those of earlier rounds go first */
    struct list parts;
    struct list due;            /* of struct live: retries whose wait is over, first in first out */
    struct list lives;          /* of struct live, all */
    unsigned backing_off;
    bool to_warm;               /* a warm-up goes first */
    bool closed;                /* what was pending here has been skipped */
};

struct engine_job {
    struct list link;           /* in engine->jobs */
    struct engine *engine;
    char *id;
    int64_t first_row;
    const struct job_spec *spec;
    struct plan *plan;
    struct policy_port policy;
    const struct job_past *past; /* NULL: none */
    void (*ended)(void *ctx, struct engine_job *job);
    void *ctx;

    uint8_t *status;            /* of each execution */
    struct line *lines;         /* by position in the plan */
    struct gate gate;           /* the job's own cap */
    struct list runs, ended_runs, naps;
    struct timer timeout;
    struct await closing;       /* the job's last record */
    enum job_state state;       /* final once it is decided */
    enum { JOB_GOES_ON, JOB_DRAINS, JOB_STOPPED } stopping;
    enum job_state stop_state;
    char *reason;
    bool policy_started, policy_ended, policy_failed, closed, over;
    unsigned live_count;

    struct tally tally;
    struct warm_tally warm;
    struct question_tally *questions;
    struct endpoint_tally *endpoints;
    uint64_t posts, hops, attempts;
    unsigned in_flight, max_in_flight;
    int64_t first_dispatch_us, ended_us, max_batch_gap_us;
    int64_t last_batch;         /* the question whose batch started last; -1: none */
    double cost;
};

enum { LINE_BACKING_OFF_MAX = 1000, ATTEMPTS_MAX = 1000, REPOSTS_MAX = 5, HOPS_UNPACED = 100,
      REQUEST_BYTES_MAX = 16 << 20 };

enum phase {
    PHASE_RECORDING,            /* the attempt's row is on its way to disk */
    PHASE_ASKING,               /* POST or GET in flight */
    PHASE_HOP_RECORDING,        /* the result URL is on its way to disk */
    PHASE_POLL_WAIT,            /* before the next GET; up to here it holds permits */
    PHASE_BACKING_OFF,
    PHASE_DUE,                  /* first in its endpoint's line, once a run wants it */
    PHASE_ENDING,               /* its last row is on its way to disk */
};

struct live {
    struct list link;           /* endpoint->in_flight while it holds permits, line->due when due, else none */
    struct list in_line;        /* line->lives */
    struct list watchers;       /* of struct watcher: further runs that wait for it */
    struct line *line;
    struct region_table *table; /* a reference: the snapshot it was dispatched under, or will be */
    const struct endpoint_spec *spec; /* in it */
    struct gate *region, *group; /* whose permits it holds; NULL: none */
    struct run *run;
    struct cell cell;
    uint64_t n;
    enum warm_rule warm;        /* not WARM_NO: a warm-up, in the cell of a question after the last */
    enum phase phase;
    struct await await;
    struct timer timer;         /* what it is for depends on the phase */
    struct exchange x;
    struct buf body;            /* the same bytes for each attempt */
    char *result_url, *post_url;/* the latest; post_url: after a 307 or 308 */
    bool on_result_url, cold;
    bool collecting;            /* due, to fetch what an attempt of an earlier run was promised */
    bool unsent;                /* the attempt's last POST never left: it costs nothing */
    unsigned attempt, attempt_hops, posts, hops, polls, reposts;
    unsigned forgiven;          /* attempts that the retry rule does not count */
    int64_t queued_us;
    int64_t started_us;         /* first POST of the execution; 0: not yet */
    int64_t dispatched_us;      /* POST of this attempt; 0: not yet */
    int64_t charged_from_us;    /* the attempt's dispatch, less the time in which nobody looked; 0: the dispatch */
    int64_t sent_us;            /* of the exchange in flight */
    int64_t first_byte_us, ended_us;
    int64_t poll_wait_us;       /* after the hop is durable */
    uint64_t bytes_in, bytes_out;
    enum status end_status;
    enum failure_class class;   /* of the last failure */
    char error[sizeof(((struct outcome *)0)->error)];
    double cost;
    char trace_id[160];
};

struct watcher {
    struct list link;
    struct run *run;
};

/* ---- gates.c ---- */
void gate_init(struct gate *g, struct engine *e, const char *name, unsigned limit, double rate_per_minute);
void gate_done(struct gate *g);
void gate_call(struct gate *g);               /* moves as many waiters to ready as may start */
void gate_hold(struct gate *g, int64_t until_us);
/* After a pause not all who wait are let loose: one goes ahead, and with each answer one more. */
void gate_ramp(struct gate *g);
void gate_answered(struct gate *g);
unsigned gate_limit(const struct gate *g);    /* in force now; 0: none */
void gate_empty(struct gate *g);              /* all who wait or were called look again */
void permits_release(struct live *live);
void line_wake(struct line *line);            /* there may be work */
void line_leave(struct line *line);           /* out of the list it is in */
/* What it waits to start has ended elsewhere: what comes after that may need no permit. Not from its own turn. */
void line_look_again(struct line *line);
void lines_pump(struct engine *e);            /* starts all that may start */

/* ---- endpoint.c ---- */
struct endpoint *endpoint_new(struct engine *e);
void endpoint_free(struct endpoint *ep);
/* Its settings from now on. NULL: it is absent. What is known of it stays, unless it has moved to another URL. */
void endpoint_follow(struct endpoint *ep, struct region_table *table, const struct endpoint_spec *spec);
const char *endpoint_away(const struct endpoint *ep); /* why it is not asked; NULL: it is */
unsigned endpoint_limit(const struct endpoint *ep);
void endpoint_touch(struct endpoint *ep, int64_t now_us); /* cold again after a long idle time? */
/* What an exchange says about the endpoint, whatever it means for the execution. */
/* True: it was asked for too much at once, which is no fault of the execution's. */
bool endpoint_judge(struct endpoint *ep, const struct outcome *o, int64_t sent_us);

/* ---- change.c ---- */
void table_enter(struct engine *e, struct region_table *table); /* its endpoints, regions and groups */
void table_leave(struct engine *e);
/* The endpoint of a plan's table, whatever table the engine has now. */
struct endpoint *engine_endpoint(struct engine *e, struct region_table *table, const struct endpoint_spec *spec);

/* ---- runs.c ---- */
/* The next execution of the line that is pending, not yet started. Passes over what has ended. */
bool line_next(struct line *line, struct run **run, struct cell *cell);
void line_started(struct line *line);         /* the one line_next() showed */
void run_count_down(struct run *run);
void runs_free(struct engine_job *job);
bool job_start_policy(struct engine_job *job); /* unless it has started, or waits for warm-ups; true if it did */
bool job_ready_policies(struct engine_job *job);
void nap_free(struct nap *nap);

/* ---- live.c, live_end.c ---- */
void live_start(struct line *line);           /* permits are held; line_next() or due says what */
void live_stop(struct live *live, enum failure_class class, const char *reason);
void live_take_up(struct line *line, const struct begun *b); /* RUNNING or WAITING_RESULT */
void live_watch(struct live *live, struct run *run); /* one more run waits for it; it may be due now */
bool live_is_wanted(const struct live *live); /* by a run, or as a warm-up */
/* Between attempts: the last failure stands. What was never fetched is skipped, for this reason. */
void live_give_up(struct live *live, enum failure_class class, const char *reason);
void live_free(struct live *live);
void live_pin(struct live *live);             /* to the settings of now: nothing of it is in flight */
void live_settings_changed(struct live *live);
void live_exchange_ended(struct live *live, const struct response *r);

/* ---- warm.c ---- */
void warm_begin(struct engine_job *job);      /* before the policy starts */
bool warm_wanted(struct line *line);          /* is a warm-up next? Not when it has become needless meanwhile */
struct cell warm_cell(const struct line *line);
void warm_ended(struct live *live);
bool warm_is_over(const struct engine_job *job);

/* ---- job.c ---- */
void job_add_cost(struct engine_job *job, double cost); /* NAN: none */
void job_move(struct engine_job *job, struct cell cell, enum status to);
void job_close_endpoint(struct engine_job *job, uint32_t position, enum failure_class class, const char *reason);
void line_close_away(struct line *line);      /* skips what waits for an endpoint that is away, if the job says so */
void job_dispatched(struct engine_job *job, const struct live *live, int64_t now_us);
void job_execution_ended(struct live *live);
void job_settle(struct engine_job *job);      /* ends it when nothing is left to do */
void job_fail(struct engine_job *job, const char *reason); /* the store is gone */

/* ---- engine.c ---- */
int64_t engine_now(const struct engine *e);
double engine_unix_s(const struct engine *e, int64_t at_us); /* 0: NAN */
int64_t engine_us(const struct engine *e, double unix_s);    /* NAN: 0; before the clock's zero: negative */
void engine_poke(struct engine *e);
void engine_await(struct engine *e, struct await *a, uint64_t number);
void engine_tell(struct engine *e, const struct event *event);

#endif
