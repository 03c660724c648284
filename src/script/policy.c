#include "script/policy.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "script/policy_state.h"
#include "script/sandbox_priv.h"

enum { SLOT_BITS = 14, SLEEP_MAX_S = 10 * 366 * 86400 };
static_assert(POLICY_COROUTINES + LUA_MINSTACK < 1 << SLOT_BITS, "a slot must fit into a token");

/* ---- tasks ---- */

void *policy_token(const struct task *t)
{
    return (void *)(uintptr_t)(t->serial << SLOT_BITS | t->slot);
}

/* The task a token names, NULL if that one is gone. */
static struct task *token_task(const struct policy *p, const void *token)
{
    uintptr_t bits = (uintptr_t)token;
    unsigned slot = (unsigned)(bits & ((1u << SLOT_BITS) - 1));
    struct task *t = slot < p->slot_count ? p->slots[slot] : NULL;
    return t && policy_token(t) == token ? t : NULL;
}

/* Of the coroutine on top of L's stack, which is popped: threads keeps it alive, and its place there is the task's
 * slot. May raise. */
static struct task *task_new(struct policy *p, lua_State *L, struct task *parent, int args)
{
    lua_State *co = lua_tothread(L, -1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->threads);
    lua_insert(L, -2);
    unsigned slot = (unsigned)luaL_ref(L, -2);
    lua_pop(L, 1);
    if (slot >= p->slot_count) {
        p->slots = mem_array(p->slots, 2 * slot, sizeof(p->slots[0]));
        memset(p->slots + p->slot_count, 0, (2 * slot - p->slot_count) * sizeof(p->slots[0]));
        p->slot_count = 2 * slot;
    }
    struct task *t = mem_zalloc(sizeof(*t));
    list_init(&t->link);
    t->co = co;
    t->parent = parent;
    t->args = args;
    t->slot = slot;
    t->serial = ++p->serials;
    p->slots[slot] = t;
    p->alive++;
    return t;
}

/* The coroutine is dropped, not closed: closing runs __close of the script, and nothing of ours depends on it. */
static void task_free(struct policy *p, struct task *t)
{
    lua_State *L = script_state(p->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->threads);
    luaL_unref(L, -1, (int)t->slot); /* the place stays for the next one: this needs no memory and cannot raise */
    lua_pop(L, 1);
    list_unlink(&t->link);
    p->selection_bytes -= t->run_bytes;
    p->slots[t->slot] = NULL;
    p->alive--;
    free(t);
}

void policy_spawn(struct policy *p, lua_State *L, struct task *parent)
{
    assert(p->alive < POLICY_COROUTINES);
    lua_newthread(L);
    struct task *t = task_new(p, L, parent, 2);
    lua_xmove(L, t->co, 3);                 /* function part label */
    parent->parts++;
    list_push(&p->runnable, &t->link);
}

void policy_unspawn(struct policy *p, struct task *parent)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->slots[i] && p->slots[i]->parent == parent)
            task_free(p, p->slots[i]);
    parent->parts = 0;
}

/* ---- a run ---- */

static bool running(const struct policy *p)
{
    return p->job != NULL;
}

static void run_over(struct policy *p)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->slots[i])
            task_free(p, p->slots[i]);
    assert(p->alive == 0 && list_empty(&p->runnable));
    p->job = NULL;
    p->plan = NULL;
    p->current = NULL;
}

static void run_ended(struct policy *p, const char *error)
{
    struct engine_job *job = p->job;
    run_over(p);
    engine_policy_ended(job, error); /* the last thing: it may call stop() */
}

static void task_done(struct policy *p, struct task *t)
{
    struct task *parent = t->parent;
    task_free(p, t);
    if (!parent)
        run_ended(p, NULL);
    else if (--parent->parts == 0)
        list_push(&p->runnable, &parent->link);
}

static void stray_yield(const struct task *t, struct err *err)
{
    char where[SANDBOX_WHERE];
    sandbox_where(t->co, where);
    err_set(err, ERR_SCRIPT,
            "coroutine.yield in a policy, which nothing would ever wake (%s): use plan:run, plan:each or canvass.sleep",
            where);
}

static void resume(struct policy *p, struct task *t)
{
    struct err err;
    int results = 0, args = t->args;
    t->args = 0;
    t->waits = WAITS_FOR_NOTHING;
    p->current = t;
    enum script_resumed how = script_resume(p->script, t->co, args, &results, &err);
    p->current = NULL;

    if (how == SCRIPT_DONE) {
        task_done(p, t);
        return;
    }
    if (how == SCRIPT_YIELDED && t->waits != WAITS_FOR_NOTHING) {
        lua_pop(t->co, results);
        return;
    }
    if (how == SCRIPT_YIELDED)
        stray_yield(t, &err);
    run_ended(p, err.text);
}

/* Resumes all that can go on. Each has the budget of one call; together they have it once more, for a
 * thousand parts that each stay just below it would stop the loop for as many seconds. */
static void drive(struct policy *p)
{
    assert(!p->current);
    int64_t until_us = sandbox_cpu_us() + 2 * p->call_us;
    while (running(p) && !list_empty(&p->runnable)) {
        if (sandbox_cpu_us() > until_us) {
            run_ended(p, "the policy takes too long between two waits (all its parts together): "
                         "let it compute less, or while the script is loaded");
            return;
        }
        resume(p, container_of(list_pop(&p->runnable), struct task, link));
    }
}

/* Pushes the first coroutine with the policy and its plan. Protected, for all of it needs memory. */
static int begin(lua_State *L)
{
    struct policy *p = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->function);
    plan_push_all(L, p);
    lua_newthread(L);
    struct task *t = task_new(p, L, NULL, 1);
    lua_xmove(L, t->co, 2);
    list_push(&p->runnable, &t->link);
    return 0;
}

static void policy_start(void *ctx, struct engine_job *job)
{
    struct policy *p = ctx;
    assert(!running(p) && p->plan);
    p->job = job;
    p->run++;
    lua_State *L = script_state(p->script);
    lua_pushcfunction(L, begin);
    lua_pushlightuserdata(L, p);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        run_ended(p, "the policy cannot start: the script has used up its memory");
        return;
    }
    drive(p);
}

/* A run that is over ignores what still comes for it. */
static void policy_ready(void *ctx, void *token)
{
    struct policy *p = ctx;
    struct task *t = token_task(p, token);
    if (!t)
        return;
    assert(t->waits == WAITS_FOR_ENGINE);
    p->selection_bytes -= t->run_bytes;
    t->run_bytes = 0;
    list_push(&p->runnable, &t->link);
    t->waits = WAITS_FOR_NOTHING;
    drive(p);
}

static void policy_stop(void *ctx)
{
    struct policy *p = ctx;
    if (running(p))
        run_over(p);
}

/* ---- what the script calls ---- */

static struct policy *upvalue_policy(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct policy *running_policy(lua_State *L, const char *name)
{
    struct policy *p = upvalue_policy(L);
    if (!running(p))
        luaL_error(L, "%s works in a running policy only, not while the script is loaded", name);
    return p;
}

struct task *policy_waiter(struct policy *p, lua_State *L, const char *name)
{
    struct task *t = p->current;
    if (!running(p) || !t)
        luaL_error(L, "%s works in a running policy only", name);
    if (t->co != L)
        luaL_error(L, "%s cannot wait inside a coroutine of the script's own: use plan:each for work at the same time",
                   name);
    if (!lua_isyieldable(L))
        luaL_error(L, "%s cannot wait here, inside a callback of a library function (table.sort, string.gsub ...)",
                   name);
    t->serial = ++p->serials; /* what was said of an earlier wait is not about this one */
    return t;
}

static int api_now(lua_State *L)
{
    struct policy *p = running_policy(L, "canvass.now");
    lua_pushnumber(L, engine_job_now_s(p->job));
    return 1;
}

static int64_t check_duration(lua_State *L, int index)
{
    int64_t us;
    if (lua_type(L, index) == LUA_TSTRING) {
        if (!duration_parse(script_str(L, index), &us))
            luaL_argerror(L, index, "a duration is a number of seconds, or text such as \"1.5s\" or \"10m\"");
        return us;
    }
    double seconds = luaL_checknumber(L, index);
    if (!(seconds >= 0 && seconds <= SLEEP_MAX_S))
        luaL_argerror(L, index, "a duration is at least 0 and at most ten years");
    return (int64_t)(seconds * (double)SECOND_US);
}

static int api_sleep(lua_State *L)
{
    struct policy *p = running_policy(L, "canvass.sleep");
    int64_t us = check_duration(L, 1);
    struct task *t = policy_waiter(p, L, "canvass.sleep");
    t->waits = WAITS_FOR_ENGINE;
    engine_sleep(p->job, us, policy_token(t));
    return lua_yield(L, 0);
}

static int api_progress(lua_State *L)
{
    struct policy *p = running_policy(L, "canvass.progress");
    struct job_view v;
    engine_job_view(p->job, &v);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"planned", v.tally.planned}, {"posts", v.posts}, {"hops", v.hops}, {"attempts", v.attempts},
        {"in_flight", v.in_flight}, {"max_in_flight", v.max_in_flight},
    };
    lua_createtable(L, 0, (int)ARRAY_LEN(counters) + STATUS_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        lua_pushinteger(L, (lua_Integer)counters[i].value);
        lua_setfield(L, -2, counters[i].name);
    }
    for (int i = 0; i < STATUS_COUNT; i++) {
        lua_pushinteger(L, v.tally.by_status[i]);
        lua_setfield(L, -2, status_name((enum status)i));
    }
    return 1;
}

void policy_add_functions(lua_State *L, struct policy *p)
{
    static const luaL_Reg functions[] = {
        {"now", api_now}, {"sleep", api_sleep}, {"progress", api_progress}, {NULL, NULL}};
    plan_open(L);
    lua_newtable(L);
    p->threads = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, p);
    luaL_setfuncs(L, functions, 1);
}

/* ---- life ---- */

struct policy *policy_new(struct script *s, int64_t call_us)
{
    struct policy *p = mem_zalloc(sizeof(*p));
    p->script = s;
    p->call_us = call_us;
    p->threads = LUA_NOREF;
    list_init(&p->runnable);
    return p;
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->slot_count; i++)
        free(p->slots[i]);
    free(p->slots);
    free(p);
}

void policy_port(struct policy *p, int function, const struct plan *plan, struct policy_port *out)
{
    assert(!running(p));
    p->function = function;
    p->plan = plan;
    *out = (struct policy_port){p, policy_start, policy_ready, policy_stop};
}
