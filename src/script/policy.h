/* policy.h -- runs a policy function as coroutines over a plan. Private to script/.
 *
 * One coroutine is the policy itself, one more stands for each part under plan:each().
 * Each waits for at most one thing: a selection, a sleep, or its parts. They are resumed
 * from start() and ready() only, one after another, never from within Lua. */
#ifndef SCRIPT_POLICY_H
#define SCRIPT_POLICY_H

#include "engine/ports.h"
#include "script/sandbox.h"

enum {
    POLICY_COROUTINES = 10000,            /* alive at once */
    POLICY_SELECTION_BYTES = 256 << 20,   /* of all selections a script keeps; they are not on Lua's account */
};

struct policy;

struct policy *policy_new(struct script *s, int64_t call_us); /* call_us: the budget of one call */
void policy_free(struct policy *p);                 /* after its script, whose finalizers use it; NULL is a no-op */
/* function: a reference in the registry. */
void policy_port(struct policy *p, int function, const struct plan *plan, struct policy_port *out);

/* Adds now, sleep and progress to the table on top of the stack. May raise. */
void policy_add_functions(lua_State *L, struct policy *p);

#endif
