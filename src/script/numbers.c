/* The module canvass.numbers: a seeded generator, permutation tests and vectors, whose loops are hot.
 *
 * A test asks whether values (or texts, by their distances) depend on the region, within strata: it shuffles the labels
 * of each stratum and counts how often the statistic comes out as large as it was. Values: the sum over regions
 * of (sum of what exceeds the stratum's mean)^2 / count, over all strata; for pairs this is the
 * two-sided paired permutation test (Fisher 1935, The Design of Experiments, section 21), for zeros and ones with one
 * value in each region the order of Cochran's Q. Distances: minus the sum of squares within regions of Anderson 2001,
 * Austral Ecology 26, 32-46, over all strata. It stops early once `stop` draws were as large (Besag and Clifford
 * 1991, Biometrika 78, 301-304), which leaves p valid and costs little where nothing differs. */
#include <math.h>
#include <string.h>

#include "base/defs.h"
#include "base/random.h"
#include "script/numbers.h"
#include "script/sandbox_priv.h"

enum { GROUPS_MAX = 1000, LIST_MAX = 1000000, DRAWS_MAX = 10000000 };

static const char generator_type[] = "canvass.random", vector_type[] = "canvass.vector";

/* ---- random(seed, name): the same numbers for the same seed and name ---- */

static int new_generator(lua_State *L)
{
    lua_Integer seed = luaL_checkinteger(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct rng *rng = lua_newuserdatauv(L, sizeof *rng, 0);
    rng_seed(rng, rng_hash((uint64_t)seed, name));
    luaL_setmetatable(L, generator_type);
    return 1;
}

/* rng(): in [0, 1). rng(n): 1 to n. */
static int draw(lua_State *L)
{
    struct rng *rng = luaL_checkudata(L, 1, generator_type);
    if (lua_isnoneornil(L, 2)) {
        lua_pushnumber(L, rng_unit(rng));
        return 1;
    }
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1 && n <= INT64_C(1) << 53, 2, "1 to 2^53");
    lua_pushinteger(L, 1 + (lua_Integer)(rng_unit(rng) * (double)n));
    return 1;
}

/* ---- permutation tests ---- */

struct stratum {
    size_t n;
    unsigned *labels;      /* 0 .. groups - 1 */
    double *values;        /* n, less their mean; or n(n-1)/2 squared distances, row by row */
    bool distances;
};

struct strata {
    struct stratum *all;
    size_t count, cost;    /* cost: steps of one draw */
    unsigned groups;
    double *sums, *counts; /* of each group; sums are scratch */
    size_t *sizes;         /* scratch */
};

/* Memory that goes with the call, whatever is raised: it stays on the stack of the C function. */
static void *scratch(lua_State *L, size_t count, size_t size)
{
    luaL_checkstack(L, 8, "too many strata");
    return lua_newuserdatauv(L, count * size + 1, 0);
}

/* The list at t[field], which has n numbers if n is not 0, for the stratum table on top. */
static double *read_numbers(lua_State *L, int stratum, const char *field, size_t *n)
{
    if (lua_getfield(L, stratum, field) != LUA_TTABLE) {
        lua_pop(L, 1);
        return NULL;
    }
    int list = lua_gettop(L);
    size_t count = (size_t)luaL_len(L, list);
    sandbox_charge(L, count);
    double *out = scratch(L, count, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        if (!lua_isnumber(L, -1))
            luaL_error(L, "%s holds a %s: numbers only", field, luaL_typename(L, -1));
        out[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    lua_remove(L, list);
    *n = count;
    return out;
}

static void centre(double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    for (size_t i = 0; i < n; i++)
        values[i] -= sum / (double)n;
}

static void read_stratum(lua_State *L, int index, struct strata *s, struct stratum *out)
{
    size_t values;
    double *groups = read_numbers(L, index, "groups", &out->n);
    if (!groups)
        luaL_error(L, "a stratum has no groups");
    out->labels = scratch(L, out->n, sizeof *out->labels);
    for (size_t i = 0; i < out->n; i++) {
        if (!(groups[i] >= 1 && groups[i] <= GROUPS_MAX))
            luaL_error(L, "a group is not 1 to %d", (int)GROUPS_MAX);
        out->labels[i] = (unsigned)groups[i] - 1;
        s->groups = out->labels[i] >= s->groups ? out->labels[i] + 1 : s->groups;
    }
    out->values = read_numbers(L, index, "values", &values);
    out->distances = !out->values;
    if (out->distances)
        out->values = read_numbers(L, index, "distances", &values);
    if (!out->values || values != (out->distances ? out->n * (out->n - 1) / 2 : out->n))
        luaL_error(L, "a stratum has another number of values than of groups");
    if (!out->distances)
        centre(out->values, out->n);
    else
        for (size_t i = 0; i < values; i++)
            out->values[i] *= out->values[i];
    s->cost += out->n + values;
}

static double within(const struct strata *s, const struct stratum *t)
{
    double sum = 0;
    memset(s->sizes, 0, s->groups * sizeof *s->sizes);
    memset(s->sums, 0, s->groups * sizeof *s->sums);
    const double *d = t->values;
    for (size_t i = 0; i < t->n; i++) {
        unsigned label = t->labels[i];
        s->sizes[label]++;
        for (size_t k = i + 1; k < t->n; k++, d++)
            if (t->labels[k] == label)
                s->sums[label] += *d;
    }
    for (unsigned g = 0; g < s->groups; g++)
        sum += s->sizes[g] ? s->sums[g] / (double)s->sizes[g] : 0;
    return sum;
}

static double statistic(const struct strata *s)
{
    double result = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->all[i].distances)
            result -= within(s, &s->all[i]);
    memset(s->sums, 0, s->groups * sizeof *s->sums);
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->all[i].n && !s->all[i].distances; k++)
            s->sums[s->all[i].labels[k]] += s->all[i].values[k];
    for (unsigned g = 0; g < s->groups; g++)
        result += s->counts[g] > 0 ? s->sums[g] * s->sums[g] / s->counts[g] : 0;
    return result;
}

/* Fisher and Yates; the product of two numbers below 2^32 has no bias worth the name. */
static void shuffle(struct stratum *t, struct rng *rng)
{
    for (size_t i = t->n; i > 1; i--) {
        size_t k = (size_t)((rng_next(rng) >> 32) * i >> 32);
        unsigned label = t->labels[i - 1];
        t->labels[i - 1] = t->labels[k];
        t->labels[k] = label;
    }
}

static lua_Integer count_option(lua_State *L, const char *name, lua_Integer fallback)
{
    lua_Integer n = fallback;
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        n = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    if (n < 1 || n > DRAWS_MAX)
        luaL_error(L, "%s must be 1 to %d", name, (int)DRAWS_MAX);
    return n;
}

/* permute(strata, { random, draws, stop }) -> p, draws made, statistic, and mean and deviation of what was drawn */
static int permute(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_Integer draws = count_option(L, "draws", 9999), stop = count_option(L, "stop", draws);
    lua_getfield(L, 2, "random");
    struct rng *rng = luaL_checkudata(L, -1, generator_type);
    struct strata s = {.count = (size_t)luaL_len(L, 1)};
    s.all = scratch(L, s.count, sizeof *s.all);
    for (size_t i = 0; i < s.count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        read_stratum(L, lua_gettop(L), &s, &s.all[i]);
    }
    s.sums = scratch(L, s.groups, sizeof *s.sums);
    s.counts = scratch(L, s.groups, sizeof *s.counts);
    s.sizes = scratch(L, s.groups, sizeof *s.sizes);
    memset(s.counts, 0, s.groups * sizeof *s.counts);
    for (size_t i = 0; i < s.count; i++)
        for (size_t k = 0; k < s.all[i].n; k++)
            s.counts[s.all[i].labels[k]]++;

    double observed = statistic(&s), least = observed - 1e-9 * fabs(observed);
    double mean = 0, squares = 0; /* Welford 1962, Technometrics 4, 419-420 */
    lua_Integer made = 0, as_large = 0;
    while (made < draws && as_large < stop) {
        sandbox_charge(L, s.cost);
        for (size_t i = 0; i < s.count; i++)
            shuffle(&s.all[i], rng);
        double drawn = statistic(&s), off = drawn - mean;
        as_large += drawn >= least;
        made++;
        mean += off / (double)made;
        squares += off * (drawn - mean);
    }
    /* Stopped early, as_large of made is the estimate; else the data count as one of the draws. */
    bool stopped = as_large >= stop;
    lua_pushnumber(L, stopped ? (double)as_large / (double)made : (double)(as_large + 1) / (double)(made + 1));
    lua_pushinteger(L, made);
    lua_pushnumber(L, observed);
    lua_pushnumber(L, mean);
    lua_pushnumber(L, made > 1 ? sqrt(squares / (double)(made - 1)) : 0);
    return 5;
}

/* ---- vector(list): numbers side by side, of length 1; nil when they have no direction. cosine(a, b) ---- */

struct vector {
    size_t n;
    double x[];
};

static int new_vector(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = (size_t)luaL_len(L, 1);
    double sum = 0, most = 0;
    sandbox_charge(L, n);
    struct vector *v = lua_newuserdatauv(L, sizeof *v + n * sizeof v->x[0], 0);
    v->n = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        v->x[i] = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
        lua_pop(L, 1);
        if (!isfinite(v->x[i]))
            return 0;
        most = fabs(v->x[i]) > most ? fabs(v->x[i]) : most;
    }
    if (!(most > 0))
        return 0;
    for (size_t i = 0; i < n; i++) { /* by the largest first: no square overflows */
        v->x[i] /= most;
        sum += v->x[i] * v->x[i];
    }
    for (size_t i = 0; i < n; i++)
        v->x[i] /= sqrt(sum);
    luaL_setmetatable(L, vector_type);
    return 1;
}

static int vector_length(lua_State *L)
{
    const struct vector *v = luaL_checkudata(L, 1, vector_type);
    lua_pushinteger(L, (lua_Integer)v->n);
    return 1;
}

static int cosine(lua_State *L)
{
    const struct vector *a = luaL_checkudata(L, 1, vector_type), *b = luaL_checkudata(L, 2, vector_type);
    double sum = 0;
    luaL_argcheck(L, a->n == b->n, 2, "vectors of two lengths");
    sandbox_charge(L, a->n / 4);
    for (size_t i = 0; i < a->n; i++)
        sum += a->x[i] * b->x[i];
    lua_pushnumber(L, fmin(1, fmax(-1, sum)));
    return 1;
}

/* numbers.list(n) -> an empty list that grows to n without being moved */
static int new_list(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= LIST_MAX, 1, "0 to 1000000");
    lua_createtable(L, (int)n, 0);
    return 1;
}

int numbers_open(lua_State *L)
{
    luaL_newmetatable(L, vector_type);
    lua_pushcfunction(L, vector_length);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newmetatable(L, generator_type);
    lua_pushcfunction(L, draw);
    lua_setfield(L, -2, "__call");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    static const luaL_Reg functions[] = {{"list", new_list}, {"random", new_generator}, {"permute", permute},
                                         {"vector", new_vector}, {"cosine", cosine}, {0}};
    luaL_newlib(L, functions);
    sandbox_freeze(L, "canvass.numbers");
    return 1;
}
