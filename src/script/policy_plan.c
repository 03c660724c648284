/* The plan a policy sees: an immutable selection and its methods. */
#include <assert.h>
#include <stdio.h>

#include "script/policy_state.h"
#include "script/sandbox_priv.h"

static const char plan_type[] = "canvass.plan";

struct box {
    struct policy *policy;
    struct selection *selection; /* NULL until it is made */
    size_t bytes;
    uint64_t run;
};

static size_t selection_bytes(const struct selection *s)
{
    return sizeof(*s) + sizeof(uint32_t) * ((size_t)s->question_count + s->sample_count + s->endpoint_count);
}

/* Makes room on the account for selections, which Lua's collector does not see the size of. */
static void charge(lua_State *L, struct policy *p, size_t bytes)
{
    enum { NOTEWORTHY = 64 << 10 };
    sandbox_charge(L, bytes / sizeof(uint32_t));
    if (p->selection_bytes + bytes > POLICY_SELECTION_BYTES)
        lua_gc(L, LUA_GCCOLLECT);
    else if (bytes >= NOTEWORTHY)
        lua_gc(L, LUA_GCSTEP, (int)(bytes >> 10));
    if (p->selection_bytes + bytes > POLICY_SELECTION_BYTES)
        luaL_error(L, "the selections of the policy take more than %d MB: keep fewer of them at a time",
                   POLICY_SELECTION_BYTES >> 20);
    p->selection_bytes += bytes;
}

/* The box comes first and owns the selection as soon as there is one: what follows may raise. */
static struct box *box_new(lua_State *L, struct policy *p)
{
    struct box *b = lua_newuserdatauv(L, sizeof(*b), 0);
    *b = (struct box){.policy = p, .run = p->run};
    luaL_setmetatable(L, plan_type);
    return b;
}

static int box_fill(lua_State *L, struct box *b, struct selection *s)
{
    b->selection = s;
    size_t bytes = selection_bytes(s);
    charge(L, b->policy, bytes);
    b->bytes = bytes;
    return 1;
}

void plan_push_all(lua_State *L, struct policy *p)
{
    struct box *b = box_new(L, p);
    box_fill(L, b, selection_all(p->plan));
}

static int plan_gc(lua_State *L)
{
    struct box *b = lua_touserdata(L, 1);
    b->policy->selection_bytes -= b->bytes;
    selection_free(b->selection);
    b->selection = NULL;
    b->bytes = 0;
    return 0;
}

static struct box *check_box(lua_State *L, int index)
{
    struct box *b = luaL_testudata(L, index, plan_type);
    if (!b && index == 1)
        luaL_error(L, "this is a method of the plan: call it with a colon, as in plan:run(part)");
    if (!b)
        luaL_typeerror(L, index, "plan or a part of it");
    if (!b->policy->job || b->run != b->policy->run)
        luaL_error(L, "this plan belongs to a run that is over");
    return b;
}

static enum key check_key(lua_State *L, int index)
{
    enum key key = KEY_QUESTION;
    if (lua_isnoneornil(L, index))
        luaL_error(L, "no key is given: it is one of question, sample, model, region, endpoint");
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "the key is a %s: it is one of question, sample, model, region, endpoint",
                   luaL_typename(L, index));
    if (!key_parse(lua_tostring(L, index), &key))
        luaL_error(L, "unknown key \"%s\": it is one of question, sample, model, region, endpoint",
                   lua_tostring(L, index));
    return key;
}

static uint64_t check_seed(lua_State *L, int index)
{
    if (!lua_isinteger(L, index))
        luaL_argerror(L, index, "give a seed, an integer, so that the same order can be had again");
    return (uint64_t)lua_tointeger(L, index);
}

/* Of nothing there are no parts, although the questions of an empty product may still be many. */
static uint32_t part_count(const struct box *b, enum key key)
{
    return selection_count(b->selection) ? selection_part_count(b->selection, key) : 0;
}

/* ---- methods that wait ---- */

static int plan_run(lua_State *L)
{
    const struct box *self = check_box(L, 1), *b = lua_isnoneornil(L, 2) ? self : check_box(L, 2);
    struct policy *p = b->policy;
    struct task *t = policy_waiter(p, L, "plan:run");
    if (selection_count(b->selection) == 0)
        return 0;
    charge(L, p, b->bytes); /* for as long as the engine has its copy */
    t->run_bytes = b->bytes;
    t->waits = WAITS_FOR_ENGINE;
    engine_run(p->job, selection_copy(b->selection), policy_token(t));
    return lua_yield(L, 0);
}

/* plan key function */
static int spawn_parts(lua_State *L)
{
    const struct box *b = lua_touserdata(L, 1);
    enum key key = (enum key)lua_tointeger(L, 2);
    struct policy *p = b->policy;
    uint32_t count = part_count(b, key);
    if (count > POLICY_COROUTINES - p->alive)
        luaL_error(L,
                   "%d parts at the same time are too many (%d coroutines at most): go through them with plan:batches",
                   (int)count, POLICY_COROUTINES);
    for (uint32_t i = 0; i < count; i++) {
        char label[256];
        lua_pushvalue(L, 3);
        struct box *part = box_new(L, p);
        box_fill(L, part, selection_part(b->selection, key, i, label));
        lua_pushstring(L, label);
        policy_spawn(p, L, p->current);
    }
    return 0;
}

static int plan_each(lua_State *L)
{
    const struct box *b = check_box(L, 1);
    enum key key = check_key(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    struct task *t = policy_waiter(b->policy, L, "plan:each");
    /* All parts or none: the script may catch an error that came half-way, and go on. */
    lua_pushcfunction(L, spawn_parts);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, key);
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        policy_unspawn(b->policy, t);
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        return lua_error(L);
    }
    if (t->parts == 0)
        return 0;
    t->waits = WAITS_FOR_PARTS;
    return lua_yield(L, 0);
}

/* ---- methods that give a part, or the same in another order ---- */

/* Upvalues: plan, key, next part. */
static int next_batch(lua_State *L)
{
    const struct box *b = check_box(L, lua_upvalueindex(1));
    enum key key = (enum key)lua_tointeger(L, lua_upvalueindex(2));
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    if (i >= lua_tointeger(L, lua_upvalueindex(4)))
        return 0;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(3));
    char label[256];
    struct box *part = box_new(L, b->policy);
    box_fill(L, part, selection_part(b->selection, key, (uint32_t)i, label));
    lua_pushstring(L, label);
    lua_insert(L, -2);
    return 2;
}

static int plan_batches(lua_State *L)
{
    const struct box *b = check_box(L, 1);
    enum key key = check_key(L, 2);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, key);
    lua_pushinteger(L, 0);
    lua_pushinteger(L, part_count(b, key));
    lua_pushcclosure(L, next_batch, 4);
    return 1;
}

static bool keeps_nothing(struct selection *s)
{
    bool nothing = selection_count(s) == 0;
    selection_free(s);
    return nothing;
}

/* A part that has none of a name is empty; a name that the whole plan does not have is a slip, and
 * would skip executions without a word. */
static void check_name(lua_State *L, const struct policy *p, enum key key, const char *label)
{
    struct selection *all = selection_all(p->plan);
    size_t bytes = selection_bytes(all);
    bool unknown = keeps_nothing(selection_where(all, key, label));
    selection_free(all);
    sandbox_charge(L, bytes / sizeof(uint32_t));
    if (unknown)
        luaL_error(L, "the plan has no %s \"%s\": see `canvass plan` for what it has", key_name(key), label);
}

/* The label that the value on top of the stack is. */
static const char *check_label(lua_State *L, const struct policy *p, enum key key)
{
    bool number = key == KEY_SAMPLE && lua_isinteger(L, -1);
    if (lua_type(L, -1) != LUA_TSTRING && !number)
        luaL_error(L, "plan:where: %s is one name, not a %s", key_name(key), luaL_typename(L, -1));
    const char *label = lua_tostring(L, -1);
    check_name(L, p, key, label);
    return label;
}

static int plan_where(lua_State *L)
{
    struct policy *p = check_box(L, 1)->policy;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_pushvalue(L, 1); /* plan conditions result */
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        enum key key = check_key(L, -2);
        const char *label = check_label(L, p, key);
        struct box *part = box_new(L, p);
        box_fill(L, part, selection_where(((struct box *)lua_touserdata(L, 3))->selection, key, label));
        lua_replace(L, 3);
    }
    return 1;
}

static int plan_shuffle(lua_State *L)
{
    const struct box *b = check_box(L, 1);
    uint64_t seed = check_seed(L, 2);
    struct box *other = box_new(L, b->policy);
    return box_fill(L, other, selection_shuffle(b->selection, seed));
}

static int plan_interleave(lua_State *L)
{
    const struct box *b = check_box(L, 1);
    enum key key = check_key(L, 2);
    struct box *other = box_new(L, b->policy);
    return box_fill(L, other, selection_interleave(b->selection, key));
}

static int plan_rotate(lua_State *L)
{
    const struct box *b = check_box(L, 1);
    enum key key = check_key(L, 2);
    uint64_t seed = check_seed(L, 3);
    struct box *other = box_new(L, b->policy);
    return box_fill(L, other, selection_rotate(b->selection, key, seed));
}

static int plan_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)selection_count(check_box(L, 1)->selection));
    return 1;
}

static int plan_tostring(lua_State *L)
{
    const struct selection *s = check_box(L, 1)->selection;
    char text[160];
    snprintf(text, sizeof(text), "plan of %llu executions (questions %u, samples %u, endpoints %u)",
             (unsigned long long)selection_count(s), s->question_count, s->sample_count, s->endpoint_count);
    lua_pushstring(L, text);
    return 1;
}

static int no_method(lua_State *L)
{
    return luaL_error(L,
                      "a plan has no \"%s\": it has run, each, batches, where, shuffle, interleave, rotate and count",
                      luaL_tolstring(L, 2, NULL));
}

void plan_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"run", plan_run}, {"each", plan_each}, {"batches", plan_batches}, {"where", plan_where},
        {"shuffle", plan_shuffle}, {"interleave", plan_interleave}, {"rotate", plan_rotate}, {"count", plan_count},
        {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__gc", plan_gc}, {"__len", plan_count}, {"__tostring", plan_tostring}, {NULL, NULL}};
    luaL_newmetatable(L, plan_type);
    luaL_setfuncs(L, metamethods, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_newlib(L, methods);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, no_method);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
