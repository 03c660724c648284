/* engine.h -- runs plans: policy -> permits -> transport -> recorder.
 *
 * One engine holds the endpoints and their permits for the whole program; jobs come
 * and go. The host calls engine_turn() when it was asked to (clock.wake_at) and
 * after it has reported something; a turn starts whatever may start. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "core/selection.h"
#include "engine/ports.h"

struct engine *engine_new(const struct engine_ports *ports, struct region_table *table);
void engine_free(struct engine *e);       /* cancels what is in flight, records nothing */

/* ---- reports from the ports ---- */
void engine_turn(struct engine *e);
void engine_exchange_ended(struct engine *e, struct exchange *x, const struct response *r);
void engine_durable(struct engine *e, uint64_t number);
void engine_store_failed(struct engine *e, const char *error); /* closes every socket; jobs end as failed, unrecorded */

/* ---- jobs ---- */
struct job_start {
    const char *id;                 /* copied */
    int64_t first_row;              /* row number of execution 0 */
    const struct job_spec *spec;    /* borrowed until the job is freed */
    struct plan *plan;              /* taken */
    struct policy_port policy;
    const struct job_past *past;    /* borrowed until the job is freed; NULL: nothing was asked yet */
    void (*ended)(void *ctx, struct engine_job *job); /* all rows durable; call engine_job_free() later */
    void *ctx;
};
struct engine_job *engine_submit(struct engine *e, const struct job_start *start);
void *engine_job_ctx(const struct engine_job *job); /* of job_start */
void engine_job_free(struct engine_job *job); /* only after it has ended */

enum stop_how {
    STOP_DRAIN,                     /* start nothing more, let what is in flight end */
    STOP_ABORT,                     /* close every socket now */
};
/* Idempotent; abort after drain is allowed. Open executions end `cancelled`, and the job with `state`. */
void engine_stop(struct engine_job *job, enum stop_how how, enum job_state state, const char *reason);

/* Ends those of a running job that have not ended, `cancelled`; what is in flight of them is cut off. Returns how
 * many. */
struct execution_choice {           /* by what is not negative, all of it */
    int64_t n;                      /* its number in the plan */
    int64_t question, endpoint;     /* positions in the plan */
};
uint64_t engine_cancel_some(struct engine_job *job, const struct execution_choice *which, const char *reason);

/* Nothing of the job is sent any more until it is let go on; what is in flight ends as it would. Its timeout runs on.
 * False: it is so already, or the job ends. */
bool engine_pause(struct engine_job *job, const char *reason);
bool engine_unpause(struct engine_job *job);

/* From now on nothing new is sent. What is in flight goes on to its end, result URLs too; all else stays open in its
 * rows, for whoever takes the jobs up again. There is no way back. */
void engine_drain(struct engine *e);

/* ---- the region table, live ----
 *
 * Between two turns. Endpoints, regions and groups are matched by name and keep what is known of them; new limits,
 * rates, deadlines and pauses hold at once: what is in flight is never cut off, it finishes on the snapshot it was
 * dispatched under (its rows say which), and whoever is next goes by the new one. Takes a reference. What waits for an
 * endpoint that is paused, or not in the table any more, does as the job's on_missing says. A job keeps its own plan,
 * made against whatever snapshot; endpoints that are new are for jobs to come. A dead breaker is forgotten when its
 * endpoint comes back from a pause, and all that is known of one with another URL. */
void engine_change_table(struct engine *e, struct region_table *table);

/* What a change would mean to a job that runs: a count of executions. */
struct change_effect {
    uint64_t moved;                 /* pending, and asked at another URL or by another adapter */
    uint64_t waiting, skipped;      /* pending at an endpoint that goes away: on_missing */
    uint64_t released;              /* pending at one that comes back */
    unsigned finishing;             /* in flight at one of these: they end as they began */
    int64_t revision;               /* the oldest they began under */
};
void engine_change_effect(const struct engine_job *job, const struct region_table *to, struct change_effect *out);

/* ---- for policies ---- */
/* Starts a selection; ready(token) follows when all of it has ended. Takes s. */
void engine_run(struct engine_job *job, struct selection *s, void *token);
void engine_sleep(struct engine_job *job, int64_t for_us, void *token);
void engine_policy_ended(struct engine_job *job, const char *error); /* NULL: it ran to its end */
double engine_job_now_s(const struct engine_job *job); /* unix time by the clock port: canvass.now() */

/* ---- for eyes: plain counters, read between turns ---- */
struct tally {
    uint32_t by_status[STATUS_COUNT];
    uint32_t planned;
};

struct endpoint_tally {             /* one endpoint within one job */
    struct tally tally;
    uint32_t cold_count, warm_count;/* succeeded attempts */
    int64_t cold_us, warm_us;       /* their summed times, dispatch to end */
    int64_t first_dispatch_us;      /* 0: not yet */
    int64_t longest_idle_us;        /* between two requests */
};

struct question_tally {
    struct tally tally;
    int64_t first_dispatch_us, last_end_us; /* 0: not yet */
};

struct warm_tally {                 /* warm-ups: attempts before the policy starts, which are no executions */
    uint32_t planned, warm, failed; /* endpoints; cancelled ones count as failed, open ones not yet */
    uint64_t posts, hops;           /* hops: every GET */
    int64_t began_us, ended_us;     /* 0: not yet */
};

struct job_view {
    const char *id;
    enum job_state state;
    const char *reason;             /* of a stop or a failed policy; NULL: none */
    bool policy_failed;             /* the reason is the policy's error */
    const struct plan *plan;
    struct tally tally;
    const struct question_tally *questions;  /* plan->question_count */
    const struct endpoint_tally *endpoints;  /* plan->endpoint_count */
    struct warm_tally warm;
    uint64_t posts, hops, attempts; /* of executions */
    unsigned in_flight, max_in_flight;
    int64_t first_dispatch_us, ended_us;     /* 0: not yet */
    int64_t max_batch_gap_us;       /* from a question's end to the next one's first dispatch; -1: no such gap */
    double cost;                    /* of warm-ups too; NAN: no price known */
};
void engine_job_view(const struct engine_job *job, struct job_view *out);

struct endpoint_view {
    const struct endpoint_spec *spec;
    const char *away;               /* paused, or in the table no more: why; NULL: it is asked */
    unsigned in_flight, limit;      /* limit in force now: slots, adaptive, cold */
    unsigned backing_off, waiting;  /* executions; waiting: in line and not started, saturating */
    bool cold;                      /* has not answered since it was last idle for `scaledown` */
    int64_t held_until_us;          /* Retry-After; 0: open */
    int breaker;                    /* enum breaker_state */
    int64_t breaker_until_us;
    int64_t oldest_dispatch_us;     /* of what is in flight; 0: none */
};
void engine_endpoint_view(const struct engine *e, unsigned index, struct endpoint_view *out); /* of the table of now */
void engine_job_endpoint_view(const struct engine_job *job, uint32_t position, struct endpoint_view *out);
unsigned engine_in_flight(const struct engine *e, unsigned *peak);

#endif
