/* fleet_state.h -- what the model's files share. Private to sim/fleet*.c.
 *
 *   site       an endpoint at work: its containers, its line, its numbers
 *   call       what one POST set going; waits in the line, runs in a container, is done
 *   exchange   one HTTP request; waits for its call, then to be taken
 *
 * A call lives while an exchange points to it or its result is kept. */
#ifndef SIM_FLEET_STATE_H
#define SIM_FLEET_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "engine/timers.h"
#include "sim/fleet.h"
#include "sim/results.h"

enum container_state { CONTAINER_NONE, CONTAINER_STARTING, CONTAINER_IDLE, CONTAINER_BUSY };

struct container {
    struct list link;           /* in its site's idle while it is that */
    struct timer timer;         /* ready, scaled down, or done: as its state says */
    enum container_state state;
    struct site *site;
    struct call *call;          /* while it is busy */
    bool fresh;                 /* has not served yet */
};

struct call {
    struct list link;           /* in the fleet's calls */
    struct list line;           /* in its site's line while it waits */
    struct list kept;           /* in the fleet's kept once it is done and has a result */
    struct list exchanges;      /* that wait for it */
    struct timer expiry;
    struct site *site;
    struct container *container; /* while it runs */
    const struct fleet_fault *fault;
    char *prompt;
    size_t prompt_len;
    uint64_t seed, result;
    unsigned refs;              /* exchanges that were not taken yet */
    bool done, refuses, cold;
    int64_t service_us, asked_us, started_us, ended_us;
};

struct fleet_exchange {
    struct list all;            /* in the fleet's exchanges */
    struct list link;           /* in its call's exchanges, then in the fleet's ended */
    struct timer hold;          /* then the client is told to come back */
    struct site *site;
    struct call *call;          /* NULL: a fault at the door, or no room */
    const struct fleet_fault *fault;
    void *user;
    enum fleet_end end;
    int64_t ended_us;
    bool get;
};

/* An endpoint at work. */
struct site {
    struct fleet *fleet;
    const struct fleet_endpoint *spec;
    char *name;                 /* "eu/mistral-7b" */
    struct rng calls, colds, faults; /* apart, so that a fault in the file does not move the service times */
    struct list line, idle;     /* idle: the last used first */
    unsigned waiting, containers, starting;
    struct container *all;      /* spec->containers of them */
    struct fleet_counts counts;
};

struct fleet {
    const struct fleet_spec *spec;
    struct site *sites;         /* as the spec's endpoints */
    struct map names;
    struct timers timers;
    struct list exchanges, calls;
    struct list ended;          /* exchanges to be taken */
    struct call *lent;          /* whose prompt the last one taken points to */
    struct list kept;           /* calls with a result, the oldest first */
    size_t kept_count;
    struct results results;
    struct fleet_counts totals;
    int64_t now_us, first_post_us, last_answer_us;
};

/* Every count is kept twice: for the endpoint and for the fleet. */
#define COUNT(site, field, n) ((site)->counts.field += (n), (site)->fleet->totals.field += (n))

static inline int64_t from_now(const struct fleet *f, int64_t wait_us)
{
    return wait_us < NEVER_US - f->now_us ? f->now_us + wait_us : NEVER_US;
}

/* fleet_sites.c */
void site_seed(struct site *s, uint64_t seed);       /* its name and spec are known */
struct rng call_draw(struct site *s, int64_t *service_us); /* the next call's own numbers, beginning with this one */
void site_init(struct site *s, struct fleet *f, const struct fleet_endpoint *spec);
void site_done(struct site *s);
bool site_admit(struct site *s, struct call *call);  /* false: no room */
struct call *call_new(struct site *s, struct str prompt); /* draws all its numbers; refs 0 */
void call_unref(struct call *call);
void call_refuse(struct call *call);                 /* not admitted: gone */
void call_cancel(struct call *call);                 /* its place is free at once */
bool call_finish_if_due(struct call *call, int64_t at_us);

/* fleet_faults.c */
const struct fleet_fault *fault_draw(struct site *s, struct str prompt, bool get); /* NULL: none struck */
bool fault_at_the_door(enum fault_what what);        /* it strikes before a container is looked for */

/* fleet.c */
void exchange_end(struct fleet_exchange *x, enum fleet_end end);

#endif
