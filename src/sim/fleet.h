/* fleet.h -- a simulated fleet as a discrete-event model: containers, a line before them, cold starts, faults.
 *
 * No I/O and no clock: fleet_advance() hands in the time, which never goes back, everything else
 * happens at that time, and fleet_take() hands out the exchanges that have ended. A POST makes a
 * call; its exchange may end before the call does, with a result to come back for, and GETs on
 * that result then wait for it.
 *
 * Waiting for a container and its cold start count in redirect_after. A closed POST frees its
 * call's place; a closed GET does not, nor does a POST that was given a result. What an endpoint
 * does depends on the seed, its name and what it was asked: never on the other endpoints. */
#ifndef SIM_FLEET_H
#define SIM_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/timeutil.h"
#include "core/fleet_spec.h"

enum {
    FAULT_KINDS = FAULT_REDIRECT_AWAY + 1,
    FLEET_QUEUE_MAX = 100000,  /* the line of OVERFLOW_QUEUE; what comes after is an overflow */
    FLEET_RESULTS_MAX = 10000, /* finished results kept; the oldest go first */
};
#define FLEET_RESULT_KEPT_US HOUR_US

struct fleet;
struct fleet_exchange;

enum fleet_end {
    FLEET_ANSWERED,  /* the call is done; `fault` may say what is wrong with its answer */
    FLEET_COME_BACK, /* not done yet: `result` is where to ask again */
    FLEET_OVERFLOW,  /* no container and no room in the line: as the endpoint's `overflow` says */
    FLEET_FAILED,    /* `fault` struck before a container was looked for */
};

/* How an exchange ended, and what is known of its call by then. */
struct fleet_ended {
    void *user;
    enum fleet_end end;
    size_t endpoint;                /* in the spec */
    bool get;
    uint64_t result;                /* 0: none was given for this call */
    const struct fleet_fault *fault; /* NULL: none; may be there with each end but OVERFLOW */
    int64_t at_us;                  /* when it ended */
    struct str prompt;              /* borrowed until the next take or advance */
    uint64_t seed;                  /* of the call's answer: the same each time it is fetched */
    bool refuses;                   /* by the endpoint's refusal_share */
    bool cold;                      /* the first call of its container */
    int64_t asked_us;
    int64_t started_us, ended_us;   /* in its container; NEVER_US: not yet */
};

/* Exchanges: posts + gets = open + answered + redirects + overflows + failed + aborted. */
struct fleet_counts {
    uint64_t posts, gets;
    uint64_t answered, redirects, overflows, failed;
    uint64_t aborted;               /* closed by the client */
    uint64_t open, max_open;
    uint64_t calls_done, calls_cancelled;
    uint64_t cold_starts;
    uint64_t faults[FAULT_KINDS];   /* how often each struck, whatever came of it */
    int64_t busy_us;                /* of the containers: what would be paid for */
};

struct fleet_load { /* an endpoint at this moment */
    unsigned containers, starting, busy, waiting;
};

enum fleet_result_state { RESULT_UNKNOWN, RESULT_EXPIRED, RESULT_KNOWN };

/* Borrows spec. Time begins at 0. */
struct fleet *fleet_new(const struct fleet_spec *spec);
void fleet_free(struct fleet *f); /* NULL is a no-op; open exchanges are dropped */

/* The endpoint's index for "REGION/MODEL". */
bool fleet_find(const struct fleet *f, struct str name, size_t *endpoint);

void fleet_advance(struct fleet *f, int64_t now_us);
int64_t fleet_now_us(const struct fleet *f);
/* When something happens next. NEVER_US: nothing; now: something is to be taken. */
int64_t fleet_next_us(const struct fleet *f);
bool fleet_take(struct fleet *f, struct fleet_ended *out); /* oldest first; the exchange is gone after */

/* Both end in one fleet_take() with `user`, or in fleet_close(). The prompt is copied. */
struct fleet_exchange *fleet_post(struct fleet *f, size_t endpoint, struct str prompt, void *user);
struct fleet_exchange *fleet_get(struct fleet *f, uint64_t result, void *user); /* RESULT_KNOWN only */
void fleet_close(struct fleet *f, struct fleet_exchange *x); /* the client is gone, so is x */

/* The endpoint is set for RESULT_KNOWN. */
enum fleet_result_state fleet_result(const struct fleet *f, uint64_t result, size_t *endpoint);

const struct fleet_counts *fleet_counts(const struct fleet *f, size_t endpoint);
const struct fleet_counts *fleet_totals(const struct fleet *f);
struct fleet_load fleet_load_of(const struct fleet *f, size_t endpoint);
/* The least time in which so many calls, one after another in each of so many containers, can be had from an endpoint
 * that begins cold and in which nothing goes wrong. In the n-th container started, and for the n-th call, it
 * takes what it takes in any fleet with this seed. */
int64_t fleet_least_us(const struct fleet_spec *spec, uint64_t seed, size_t endpoint, uint64_t calls,
                       unsigned containers);
int64_t fleet_first_post_us(const struct fleet *f);  /* NEVER_US: none yet */
int64_t fleet_last_answer_us(const struct fleet *f); /* NEVER_US: none yet */
const char *fault_name(enum fault_what what);        /* as in a fleet file */

#endif
