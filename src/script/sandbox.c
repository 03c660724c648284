#include "script/sandbox.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "script/numbers.h"
#include "script/sandbox_priv.h"
#include "script/text_lib.h"

enum {
    /* One instruction may compare or scan a string as large as the whole memory, so the hook comes more
     * often than its cost alone would ask for: 1,000 instructions take some 5 us, a firing 0.1 us. */
    HOOK_INSTRUCTIONS = 1000,
    TRAFFIC_BYTES = 16 << 20,   /* allocated between two looks at the clock */
    MEMORY_LEAST = 1 << 20,     /* the libraries alone take 60 KB */
    SLAB_PER_CAP = 2,
    MEMORY_RESERVE = 256 << 10, /* beyond the cap, so that a doomed state can still say why */
};

int64_t sandbox_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

/* CPU time cannot run faster than the clock on the wall, and reading that one costs a tenth. */
static bool over_budget(struct script *s)
{
    if (s->depth == 0)
        return false;
    int64_t now_us = mono_now_us();
    if (!s->clock_started) {
        s->clock_started = true;
        s->cpu_start_us = sandbox_cpu_us();
        s->due_us = now_us + s->budget_us;
        return false;
    }
    if (now_us < s->due_us)
        return false;
    int64_t left_us = s->budget_us - (sandbox_cpu_us() - s->cpu_start_us);
    s->due_us = now_us + left_us;
    return left_us <= 0;
}

static void hook(lua_State *L, lua_Debug *ar);

static void set_doom(struct script *s, const char *what, const char *where, const char *cure)
{
    if (s->doomed)
        return;
    snprintf(s->doom, sizeof s->doom, "%s%s%s%s: %s", what, where[0] ? " (" : "", where, where[0] ? ")" : "", cure);
    s->doomed = true;
    /* Sticky: from now on every instruction raises, so that no pcall can carry on. Coroutines between
     * these two are seen to by coroutine.resume and wrap, which look at `doomed` before and after. */
    lua_sethook(s->L, hook, LUA_MASKCOUNT, 1);
    if (s->running != s->L)
        lua_sethook(s->running, hook, LUA_MASKCOUNT, 1);
}

static void doom_time(struct script *s)
{
    char what[64];
    snprintf(what, sizeof what, "stopped after %.3g s of CPU time", (double)s->budget_us / 1e6);
    char where[SANDBOX_WHERE];
    sandbox_where(s->running, where);
    set_doom(s, what, where, s->loading ? "make it do less, or raise --script-load-time"
                                        : "make it do less, or raise --script-call-time");
}

static void doom_memory(struct script *s)
{
    char what[64];
    snprintf(what, sizeof what, "went over %.3g MB of memory", (double)s->limits.memory_bytes / (1 << 20));
    set_doom(s, what, s->refused_where, "make it keep less, or raise --script-memory");
}

int sandbox_raise_doom(lua_State *L)
{
    lua_pushstring(L, script_of(L)->doom);
    return lua_error(L);
}

static void hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct script *s = script_of(L);
    if (!s->doomed && over_budget(s))
        doom_time(s);
    if (s->doomed) {
        lua_sethook(L, hook, LUA_MASKCOUNT, 1);
        sandbox_raise_doom(L);
    }
}

bool script_is_idle(lua_State *L)
{
    return script_of(L)->depth == 0;
}

void sandbox_check_clock(lua_State *L)
{
    struct script *s = script_of(L);
    s->steps_left = SANDBOX_CHECK_STEPS;
    if (!s->doomed && over_budget(s))
        doom_time(s);
    if (s->doomed)
        sandbox_raise_doom(L);
}

void sandbox_charge(lua_State *L, size_t steps)
{
    struct script *s = script_of(L);
    s->steps_left -= steps < INT64_MAX / 2 ? (int64_t)steps : INT64_MAX / 2;
    if (s->steps_left < 0)
        sandbox_check_clock(L);
}

/* Work that a single instruction does on long strings is charged here, for the hook does not see it; nor does it see
 * the full collection that follows a refusal. Lua asks a second time after that; only then is a refusal final. (Its
 * string buffers ask once; then the call fails with LUA_ERRMEM.) */
static bool may_grow(struct script *s, size_t more, size_t nsize)
{
    s->traffic_left -= (int64_t)nsize;
    if (s->traffic_left < 0) {
        s->traffic_left = TRAFFIC_BYTES;
        if (!s->doomed && over_budget(s)) {
            doom_time(s);
            return false;
        }
    }
    size_t room = s->limits.memory_bytes + (s->doomed ? MEMORY_RESERVE : 0);
    if (more <= room && s->used <= room - more) {
        if (s->refused == nsize)
            s->refused = 0;
        return true;
    }
    sandbox_where(s->running, s->refused_where);
    if (s->refused == nsize)
        doom_memory(s);
    s->refused = nsize;
    s->traffic_left = 0;
    return false;
}

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct script *s = ud;
    if (!ptr)
        osize = 0; /* it is a type tag then */
    if (nsize == 0) {
        s->used -= osize;
        slab_free(&s->slab, ptr, osize);
        return NULL;
    }
    if (nsize > osize && !may_grow(s, nsize - osize, nsize))
        return NULL;
    void *fresh = slab_realloc(&s->slab, ptr, osize, nsize);
    if (!fresh)
        return nsize <= osize ? ptr : NULL; /* Lua relies on shrinking never to fail */
    s->used = s->used - osize + nsize;
    return fresh;
}

static int panic(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no text";
    fprintf(stderr, "canvass: bug: a Lua error outside of a protected call (%s): please report this\n", text);
    abort();
}

static int open_state(lua_State *L)
{
    sandbox_open_libraries(L);
    if (!script_of(L)->options.trusted)
        lua_sethook(L, hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    return 0;
}

struct script *script_new(const struct script_options *o)
{
    struct script *s = mem_zalloc(sizeof *s);
    s->options = *o;
    s->limits = o->limits ? *o->limits : (struct script_limits)SCRIPT_LIMITS_DEFAULT;
    if (s->limits.memory_bytes < MEMORY_LEAST)
        s->limits.memory_bytes = MEMORY_LEAST;
    if (o->trusted) /* the sizes that a script of others wants may change for as long as it lives */
        slab_init(&s->slab, SLAB_PER_CAP * s->limits.memory_bytes);
    s->folder = o->folder ? realpath(o->folder[0] ? o->folder : ".", NULL) : NULL;
    s->options.folder = NULL; /* the caller's, for the length of this call */
    s->options.limits = NULL;
    s->traffic_left = TRAFFIC_BYTES;
    s->steps_left = SANDBOX_CHECK_STEPS;
    buf_init(&s->json_out, SANDBOX_JSON_BYTES);
    buf_init(&s->json_scratch, SANDBOX_JSON_BYTES);

    script_module(s, "json", json_open);
    script_module(s, "canvass.numbers", numbers_open);
    script_module(s, "canvass.text", text_lib_open);
    s->L = s->running = lua_newstate(allocate, s);
    assert(s->L);
    lua_atpanic(s->L, panic);
    memcpy(lua_getextraspace(s->L), &s, sizeof s); /* copied into each coroutine */
    /* What a script of our own makes it mostly keeps until it ends: looking through all of that is seldom worth it. */
    lua_gc(s->L, LUA_GCGEN, o->trusted ? 40 : 0, o->trusted ? 900 : 0);
    lua_pushcfunction(s->L, open_state);
    int status = lua_pcall(s->L, 0, 0, 0);
    assert(status == LUA_OK);
    return s;
}

void script_free(struct script *s)
{
    if (!s)
        return;
    lua_close(s->L);
    assert(s->used == 0);
    slab_done(&s->slab);
    sandbox_free_files(s);
    buf_done(&s->json_out);
    buf_done(&s->json_scratch);
    free(s->folder);
    free(s);
}

lua_State *script_state(struct script *s)
{
    return s->L;
}

struct script *script_of(lua_State *L)
{
    struct script *s;
    memcpy(&s, lua_getextraspace(L), sizeof s);
    return s;
}

bool script_doomed(const struct script *s)
{
    return s->doomed;
}

size_t script_memory(const struct script *s)
{
    return s->used;
}

void script_module(struct script *s, const char *name, lua_CFunction open)
{
    assert(s->module_count < SANDBOX_MODULES);
    s->modules[s->module_count].name = name;
    s->modules[s->module_count++].open = open;
}

static void enter(struct script *s, int64_t budget_us, bool loading)
{
    if (s->depth++ > 0)
        return;
    s->budget_us = budget_us;
    s->loading = loading;
    s->clock_started = false;
}

/* The one way into Lua: the function and nargs arguments are on the stack of s->L. */
static bool protected_call(struct script *s, int nargs, int nresults, enum err_code code, struct err *err)
{
    lua_State *L = s->L;
    int base = lua_gettop(L) - nargs; /* where the function is */
    assert(base > 0 && s->running == L);
    if (s->doomed || !lua_checkstack(L, 4 + (nresults > 0 ? nresults : 0))) {
        lua_settop(L, base - 1);
        return err_set(err, code, "%s", s->doomed ? s->doom : "the script's stack is full: nest less deeply");
    }
    lua_pushcfunction(L, sandbox_on_error);
    lua_insert(L, base);
    int status = lua_pcall(L, nargs, nresults, base);
    lua_remove(L, base);
    if (status == LUA_OK && !s->doomed)
        return true;
    if (status == LUA_ERRMEM)
        doom_memory(s);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error without text";
    err_set(err, code, "%s", s->doomed ? s->doom : text);
    lua_settop(L, base - 1);
    return false;
}

bool script_call(struct script *s, int nargs, int nresults, struct err *err)
{
    enter(s, s->limits.call_us, false);
    bool ok = protected_call(s, nargs, nresults, ERR_SCRIPT, err);
    s->depth--;
    return ok;
}

bool script_apply(struct script *s, lua_CFunction function, void *ctx, struct err *err)
{
    lua_pushcfunction(s->L, function);
    lua_insert(s->L, -2);
    lua_pushlightuserdata(s->L, ctx);
    lua_insert(s->L, -2);
    return sandbox_protect(s, 2, 0, err);
}

bool sandbox_protect(struct script *s, int nargs, int nresults, struct err *err)
{
    return protected_call(s, nargs, nresults, ERR_CONFIG, err);
}

struct chunk {
    const char *name;
    struct str text;
};

static int run_chunk(lua_State *L)
{
    const struct chunk *chunk = lua_touserdata(L, 1);
    lua_settop(L, 0);
    sandbox_load(L, lua_pushfstring(L, "@%s", chunk->name), chunk->text);
    lua_call(L, 0, LUA_MULTRET);
    int results = lua_gettop(L) - 1; /* below them is the name */
    if (results != 1)
        return luaL_error(L, "returns %d values (%s): end it with one `return { ... }`", results, chunk->name);
    return 1;
}

bool script_run(struct script *s, const char *name, struct str text, struct err *err)
{
    struct chunk chunk = {name, text};
    lua_pushcfunction(s->L, run_chunk);
    lua_pushlightuserdata(s->L, &chunk);
    enter(s, s->limits.load_us, true);
    bool ok = protected_call(s, 1, 1, ERR_CONFIG, err);
    s->depth--;
    return ok;
}

static int set_global(lua_State *L)
{
    const char *name = lua_touserdata(L, 2);
    lua_settop(L, 1);
    sandbox_set_global(L, name);
    return 0;
}

void script_global(struct script *s, const char *name)
{
    lua_pushcfunction(s->L, set_global);
    lua_insert(s->L, -2);
    lua_pushlightuserdata(s->L, (void *)name);
    protected_call(s, 2, 0, ERR_SCRIPT, NULL); /* fails in a doomed state only, where nothing runs any more */
}

/* The coroutine is dead but its stack still stands, for the traceback. */
static int describe_dead(lua_State *L)
{
    sandbox_describe(L, lua_touserdata(L, 1));
    return 1;
}

static void resume_failed(struct script *s, lua_State *co, struct err *err)
{
    if (s->doomed) {
        err_set(err, ERR_SCRIPT, "%s", s->doom);
        return;
    }
    lua_pushcfunction(s->L, describe_dead);
    lua_pushlightuserdata(s->L, co);
    if (protected_call(s, 1, 1, ERR_SCRIPT, err)) {
        err_set(err, ERR_SCRIPT, "%s", lua_tostring(s->L, -1));
        lua_pop(s->L, 1);
    }
    /* Runs pending __close. Never in a doomed state: an error out of the hook leaves the coroutine with
     * hooks switched off, and a __close that loops would never end. */
    if (!s->doomed) {
        s->running = co;
        lua_resetthread(co);
        s->running = s->L;
        lua_settop(co, 0);
    }
}

enum script_resumed script_resume(struct script *s, lua_State *co, int nargs, int *nresults, struct err *err)
{
    assert(s->running == s->L && co != s->L);
    if (s->doomed) {
        lua_pop(co, nargs);
        err_set(err, ERR_SCRIPT, "%s", s->doom);
        return SCRIPT_FAILED;
    }
    enter(s, s->limits.call_us, false);
    s->running = co;
    int results = 0;
    int status = lua_resume(co, s->L, nargs, &results);
    s->running = s->L;
    if (status == LUA_ERRMEM)
        doom_memory(s);
    bool ok = !s->doomed && (status == LUA_OK || status == LUA_YIELD);
    if (ok)
        *nresults = results;
    else
        resume_failed(s, co, err);
    s->depth--;
    if (!ok)
        return SCRIPT_FAILED;
    return status == LUA_OK ? SCRIPT_DONE : SCRIPT_YIELDED;
}
