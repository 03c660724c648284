/* fleet_spec.h -- what a fleet file says: endpoints as distributions, for sim/.
 *
 * Built by script/fleet_file, then only read; it lives in its arena. Times are simulated microseconds. */
#ifndef CORE_FLEET_SPEC_H
#define CORE_FLEET_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/random.h"
#include "base/str.h"

struct dist {
    enum { DIST_UNIFORM, DIST_LOGNORMAL } kind;
    double a, b;           /* uniform: low, high in us; lognormal: median in us, sigma */
};

int64_t dist_draw(const struct dist *d, struct rng *rng);

/* PLAIN is for fleets made in C: a fleet file has no name for it. */
enum fleet_schema { SCHEMA_MODAL, SCHEMA_MODAL_OLD, SCHEMA_OPENAI, SCHEMA_ANTHROPIC, SCHEMA_RUNPOD, SCHEMA_PLAIN };
enum fleet_overflow { OVERFLOW_503, OVERFLOW_429, OVERFLOW_QUEUE, OVERFLOW_RESET };

struct fleet_endpoint {
    const char *region, *model;
    enum fleet_schema schema;
    unsigned containers, queue;     /* queue: how many may wait for a container */
    enum fleet_overflow overflow;
    int64_t scaledown_us;
    int64_t redirect_after_us;      /* 0: never */
    int redirect_status;            /* 303; or 202, 302 */
    struct dist cold, service;
    int64_t retry_after_us;         /* sent with 429, 503, 202; 0: not sent */
    const char *served_region, *served_model; /* what it says of itself; NULL: the truth */
    double refusal_share;           /* answers that refuse */
};

enum fault_what {
    FAULT_RESET, FAULT_HANG, FAULT_500, FAULT_503, FAULT_429, FAULT_404, FAULT_401, FAULT_QUOTA, FAULT_MALFORMED,
    FAULT_TRUNCATED, FAULT_EMPTY, FAULT_ERROR, FAULT_WRONG_REGION, FAULT_WRONG_MODEL, FAULT_REFUSAL, FAULT_TOO_LARGE,
    FAULT_SLOW, FAULT_REDIRECT_AWAY
};

struct fleet_fault {
    int64_t from_us, to_us;         /* simulated time since the first request; to_us 0: for ever */
    const char *region, *model, *question; /* NULL: any; question: a substring of the prompt */
    enum fault_what what;
    double share;                   /* of the requests it applies to, 0..1 */
    double factor;                  /* SLOW: how much slower */
    const char *to;                 /* REDIRECT_AWAY: the URL */
};

/* An answer's text written by the fleet's own function. False when there is none or it failed. */
struct fleet_answers {
    void *ctx;
    bool (*write)(void *ctx, struct str prompt, const char *model, const char *region, struct rng *rng,
                  struct buf *out);
    const char *error;              /* why write failed first, for whoever shows the results; NULL: it did not */
};

struct fleet_spec {
    struct arena arena;
    const char *path;
    uint64_t seed;
    struct fleet_endpoint *endpoints;
    size_t endpoint_count;
    const char *const *regions;
    size_t region_count;
    struct fleet_fault *faults;
    size_t fault_count;
    struct fleet_answers answers;   /* write NULL: built-in answers */
    void *script;                   /* the Lua state behind answers */
    void (*script_free)(void *script);
};

struct fleet_spec *fleet_spec_new(void);
void fleet_spec_free(struct fleet_spec *f); /* NULL is a no-op */

#endif
