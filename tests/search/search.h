/* search.h -- a random world for the engine, and the referee who watches it.
 *
 *   draw      a fleet, a region table, jobs and what goes wrong, all from one seed
 *   rows      what the recorder was told and what of it is on disk: the model of the store
 *   referee   what must hold at each call of a port and after each step
 *   fault_search   ports, time, lives of the engine, and main() */
#ifndef TESTS_SEARCH_H
#define TESTS_SEARCH_H

#include "base/arena.h"
#include "base/random.h"
#include "engine/state.h"
#include "sim/plain.h"
#include "sim/virtual.h"

enum { JOBS_MAX = 2, ROWS_MAX = 256, ENDPOINTS_MAX = 6, OPEN_MAX = 256, LANES_MAX = 16, URL_BYTES = 192,
       LIVES_MAX = 4 };

/* ---- what the store knows of an execution ---- */

struct row {
    enum status status;
    enum { LAST_NONE, LAST_DISPATCHED, LAST_HOPPED, LAST_ENDED } last; /* of the last attempt */
    bool hopped;               /* the last attempt was given a result URL */
    unsigned attempts, forgiven;
    unsigned posts, hops, posts_before, hops_before; /* up to the last ended attempt, and up to the one before it */
    unsigned url_hops;
    enum status ended;
    enum failure_class ended_class;
    char url[URL_BYTES];
};

struct record {
    enum { RECORD_BEGAN, RECORD_HOPPED, RECORD_ENDED, RECORD_CLOSED, RECORD_JOB } kind;
    int64_t row;
    uint64_t count;            /* CLOSED */
    int endpoint;              /* CLOSED: index in the table; -1: all */
    bool waiting_only;
    unsigned number, hops, posts, all_hops;
    enum status status, attempt_status;
    enum failure_class class;
    char url[URL_BYTES];
};

/* ---- what is true of an execution, whatever the engine thinks ---- */

enum truth {
    MAY_POST,                  /* nothing that was paid for is known or feared */
    UNKNOWN_POST,              /* it may have run: asked again only where the table says so */
    NEVER_POST,                /* answered, or refused for good */
    PROMISED,                  /* a result URL lives */
};

struct watched {
    enum truth truth;
    bool good;                 /* the last exchange brought a right answer */
    bool began;                /* an attempt, in this life */
    bool held;                 /* it holds permits */
    unsigned posts, hops, attempt_hops;
    unsigned pardons;          /* refusals that were the adaptive limit's fault, since it was last opened again */
    int64_t not_before_us;     /* it was told to wait */
    int64_t started_us;        /* in this life of the engine; 0: not yet */
    int64_t first_us;          /* the same, but it counts from a collecting, too */
};

struct lane {                  /* one thread of a policy: the parts of a selection, one after another */
    struct selection *all, *running;
    uint32_t next;
    bool napped, over;
};

struct search_job {
    struct search *search;
    struct job_spec *spec;
    struct engine_job *job;
    int64_t first_row;
    uint64_t count;
    int outer, inner;          /* keys of the policy; -1: none */
    int order;                 /* 0 as it is, 1 shuffled, 2 rotated, 3 interleaved */
    bool twice;                /* each lane has a twin */
    double nap_share, error_share;
    struct lane lanes[LANES_MAX];
    unsigned lane_count, lanes_open;
    uint64_t posts_before, hops_before;
    enum { STOPPED_NOT, STOPPED_DRAIN, STOPPED_ABORT } stopped;
    bool over, policy_failed, paused;
    struct job_past past;
    struct begun *begun;
    uint8_t *status;
};

struct open_exchange {
    struct exchange *x;
    unsigned row;
    int64_t sent_us, due_us;   /* due_us: of an injected reply; NEVER_US: the fleet's */
    enum { INJECT_NOTHING, INJECT_CONNECT, INJECT_NOT_SENT, INJECT_REPOST, INJECT_GONE } inject;
};

struct endpoint_watch {
    unsigned held;
    bool warm;
    int64_t last_used_us, held_until_us, open_until_us;
    double tokens;             /* of its rate */
    int64_t tokens_at_us;
};

struct figures {
    uint64_t scenarios, steps, events, posts, faults, crashes, stops, jumps, retunings, pauses, cancels;
};

struct search {
    uint64_t seed;
    struct rng rng;
    struct arena arena;
    struct fleet_spec *fleet;
    struct region_table *table, *first_table; /* the one of now */
    struct search_job jobs[JOBS_MAX];
    unsigned job_count, life, lives;
    unsigned rows_count;
    double inject_share, crash_share, stop_share, jump_share, retune_share, fail_share, pause_share, cancel_share;
    int64_t commit_us, slow_commit_us;

    struct virtual *world;
    struct plain_adapter plain;
    struct adapter_port adapter;
    struct clock_port clock;
    struct transport_port transport;
    struct engine *engine;
    int64_t jumped_us;         /* the engine's clock is ahead of the world's */
    struct open_exchange open[OPEN_MAX];
    unsigned open_count;

    struct row said[ROWS_MAX], disk[ROWS_MAX];
    struct record *queue;
    size_t queue_count, queue_cap, committing;
    uint64_t recorded, durable;
    int64_t commit_due_us;
    struct watched watched[ROWS_MAX];
    struct endpoint_watch endpoints[ENDPOINTS_MAX];
    struct endpoint_watch groups[ENDPOINTS_MAX];
    bool store_failed, trace;
    struct figures *figures;
};

/* ---- draw.c ---- */
uint64_t draw(struct search *s, uint64_t below);
bool chance(struct search *s, double share);
void scenario_draw(struct search *s);
struct region_table *table_retuned(struct search *s, bool whole); /* one that may take the place of s->table */

/* ---- ports.c ---- */
void ports_begin(struct search *s, struct engine_ports *out); /* of a new engine */
int64_t ports_next_us(const struct search *s);                /* when something is due, in them or in the fleet */
void ports_run_due(struct search *s);
void ports_fleet_ended(void *ctx, const struct exchange *x, const struct fleet_ended *e);

/* ---- rows.c ---- */
struct search_job *job_of_row(struct search *s, int64_t row);
unsigned endpoint_of_row(struct search *s, int64_t row);
void rows_apply(struct search *s, struct row *rows, const struct record *r); /* breaks a promise when it may not be */
void rows_open_again(struct search *s, struct search_job *j);     /* as the store does for resume */
void rows_past(struct search *s, struct search_job *j);           /* into j->past */

/* ---- referee.c ---- */
#define PROMISE(s, holds, ...) \
    do { \
        if (!(holds)) \
            broken(s, __LINE__, __VA_ARGS__); \
    } while (0)
_Noreturn void broken(struct search *s, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void trace(struct search *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int64_t search_now_us(const struct search *s); /* by the engine's clock */
void referee_life(struct search *s);           /* a new engine knows what is on disk, no more */
void referee_began(struct search *s, const struct record *r);
void referee_ended(struct search *s, const struct record *r);
void referee_sent(struct search *s, const struct exchange *x, unsigned row, unsigned attempt);
void referee_fleet_ended(struct search *s, const struct exchange *x, unsigned row, const struct fleet_ended *e);
void referee_injected(struct search *s, const struct open_exchange *o);
void referee_event(struct search *s, const struct event *e);
void referee_run_ended(struct search *s, struct search_job *j, const struct lane *lane);
void referee_retuned(struct search *s, const struct region_table *to); /* it takes the place of s->table */
void referee_step(struct search *s);
void referee_job_over(struct search *s, struct search_job *j);

#endif
