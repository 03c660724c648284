/* virtual.h -- a world for the engine in which time is a number: its clock, its transport to a simulated fleet, and
 * a recorder that keeps nothing.
 *
 * Waits for nobody, opens nothing, and is the same on each run with the same seeds:
 *
 *   struct virtual *v = virtual_new(&options);
 *   virtual_ports(v, &ports);                     any of them may be wrapped; adapter and seed are the caller's
 *   virtual_attach(v, engine_new(&ports, table));
 *   engine_submit(...);
 *   while (!ended && virtual_step(v))
 *       look at the engine, at the fleet, do something to either
 *
 * The fleet's endpoints are found by the name "REGION/MODEL" of those of the region table; whom the fleet does not
 * have cannot be connected to. Connecting and sending take no time. */
#ifndef SIM_VIRTUAL_H
#define SIM_VIRTUAL_H

#include "core/fleet_spec.h"
#include "engine/engine.h"
#include "sim/fleet.h"

/* To the engine 0 means "not yet". The fleet's time begins at 0 then. */
#define VIRTUAL_START_US SECOND_US

struct virtual;

struct virtual_options {
    const struct fleet_spec *fleet;  /* borrowed; NULL: takes_us says it all */
    uint64_t seed;                   /* of the fleet, instead of its own */
    double speed;                    /* simulated seconds in one of the engine's; as a region table's */
    double unix_zero_s;              /* the wall clock at instant 0 */
    int64_t commit_us;               /* a commit takes so long; what is recorded meanwhile is in the next one */
    /* Each exchange that the fleet has ended, before the engine hears of it; may be NULL. Times in it are the
     * fleet's. */
    void (*ended)(void *ctx, const struct exchange *x, const struct fleet_ended *ended);
    /* Without a fleet each request is answered after so long, as plain.h has it. */
    int64_t (*takes_us)(void *ctx, const struct exchange *x);
    void *ctx;
};

struct virtual *virtual_new(const struct virtual_options *o);
void virtual_free(struct virtual *v);  /* NULL is a no-op; after the engine */
/* Sets clock, transport and recorder. */
void virtual_ports(struct virtual *v, struct engine_ports *out);
void virtual_attach(struct virtual *v, struct engine *engine);

int64_t virtual_now_us(const struct virtual *v);
int64_t virtual_next_us(const struct virtual *v); /* when something is due; NEVER_US: nothing ever will be */
/* Time goes on to at_us, not back and not beyond the next thing due; what is due then happens, and the engine has a
 * turn. */
void virtual_go(struct virtual *v, int64_t at_us);
bool virtual_step(struct virtual *v);             /* to the next thing due; false: there is none */

const struct fleet *virtual_fleet(const struct virtual *v);
/* Requests the fleet did not understand: they reach no endpoint. *told is what the first was told. */
uint64_t virtual_refused(const struct virtual *v, const struct endpoint_spec **first, const char **told);

#endif
