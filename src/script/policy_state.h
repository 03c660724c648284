/* policy_state.h -- what policy.c (coroutines) and policy_plan.c (the plan they see) share. Private to both. */
#ifndef SCRIPT_POLICY_STATE_H
#define SCRIPT_POLICY_STATE_H

#include "base/list.h"
#include "core/selection.h"
#include "engine/engine.h"
#include "script/policy.h"

struct task {                   /* one coroutine */
    struct list link;           /* in policy->runnable, or alone */
    lua_State *co;
    struct task *parent;        /* waits in plan:each(); NULL: the policy itself */
    enum { WAITS_FOR_NOTHING, WAITS_FOR_ENGINE, WAITS_FOR_PARTS } waits;
    unsigned parts;             /* children that have not ended */
    unsigned slot;
    uint64_t serial;            /* of the latest wait; a token names slot and serial */
    int args;                   /* on co's stack, for the next resume */
    size_t run_bytes;           /* of the selection the engine has from it */
};

struct policy {
    struct script *script;
    int64_t call_us;            /* the budget of one call */
    int threads;                /* registry reference: a table, slot -> coroutine, filled by luaL_ref() */
    uint64_t run;               /* counts starts: a plan of an earlier one is refused */
    const struct plan *plan;
    struct engine_job *job;     /* NULL: nothing runs */
    int function;               /* registry reference */
    struct task **slots;
    unsigned slot_count, alive;
    uint64_t serials;
    struct list runnable;
    struct task *current;       /* resumed right now */
    size_t selection_bytes;     /* of all plan objects of the state */
};

/* ---- policy.c ---- */
/* The task that calls, which may wait now; raises when L cannot. `name` is of the function called. */
struct task *policy_waiter(struct policy *p, lua_State *L, const char *name);
void *policy_token(const struct task *t);
/* A child of `parent`, from the function, its part and its label on top of L's stack (popped). May raise. */
void policy_spawn(struct policy *p, lua_State *L, struct task *parent);
/* Takes back all children, none of which has run. */
void policy_unspawn(struct policy *p, struct task *parent);

/* ---- policy_plan.c; all may raise ---- */
void plan_open(lua_State *L);                       /* its metatable, once for each state */
void plan_push_all(lua_State *L, struct policy *p); /* the whole plan */

#endif
