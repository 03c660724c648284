#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/timeutil.h"
#include "script/job_parts.h"

/* ---- --set over a key of the file ---- */

static bool set_fault(struct job_load *j, const char *key, const char *value, const char *cure)
{
    return err_set(j->err, ERR_USAGE, "%s cannot be \"%.100s\" (--set %s=%.100s): %s", key, value, key, value, cure);
}

/* From the file, or from --set, which goes before it. */
static bool read_integer(struct job_load *j, struct fields *f, const char *field, const char *key, int64_t high,
                         int64_t *out)
{
    const int64_t low = 1;
    field_integer(f, field, low, high, out);
    const char *value = job_setting(j->job, key);
    if (!value)
        return true;
    char *end, cure[80];
    errno = 0;
    long long number = strtoll(value, &end, 10);
    snprintf(cure, sizeof(cure), "give a whole number from %lld to %lld", (long long)low, (long long)high);
    if (errno || end == value || *end || number < low || number > high)
        return set_fault(j, key, value, cure);
    *out = number;
    return true;
}

static bool set_duration(struct job_load *j, const char *key, int64_t *out_us)
{
    const char *value = job_setting(j->job, key);
    int64_t us;
    if (!value)
        return true;
    char *end;
    double seconds = strtod(value, &end);
    bool number = end != value && !*end && seconds > 0 && seconds < 1e9;
    if (number)
        us = (int64_t)(seconds * (double)SECOND_US);
    else if (!duration_parse(str_from(value), &us))
        us = 0;
    if (us <= 0)
        return set_fault(j, key, value, "give seconds, or a number with ms, s, m, h or d, such as 10m");
    *out_us = us;
    return true;
}

/* ---- one key each ---- */

static bool is_name(const char *name)
{
    return text_is_name(str_from(name), "_-", JOB_NAME_BYTES);
}

bool job_read_name(struct job_load *j, struct fields *f, const char *key)
{
    const char *cure = "use letters, digits, _ and -, at most 100 of them", *name = NULL;
    struct arena *arena = &j->job->spec->arena;
    const char *set = job_setting(j->job, "name");
    if (field_string(f, key, &name) && !is_name(name))
        return field_fail(f, key, cure, "the name \"%.120s\" is not one", name);
    if (set && !is_name(set))
        return set_fault(j, "name", set, cure);
    if (!name && !set) {
        const char *dot = strrchr(j->base, '.');
        name = arena_strndup(arena, j->base, dot && dot != j->base ? (size_t)(dot - j->base) : strlen(j->base));
        if (!is_name(name))
            return field_fail(f, key, cure, "the job has no name, and the file's name \"%.120s\" is not one", name);
    }
    j->job->spec->name = set ? set : name;
    return true;
}

/* A name that is there twice would be asked twice, or mean a slip: both places are told. */
static bool add_name(struct job_load *j, struct map *names, const char *what, const char *name, const char *path,
                     size_t i)
{
    uint32_t first = 0;
    if (map_add(names, str_from(name), (uint32_t)i))
        return true;
    map_get(names, str_from(name), &first);
    return err_set(j->err, ERR_CONFIG, "duplicate %s \"%s\" (%s: %s[%zu], first at %s[%u]): leave one out", what, name,
                   j->path, path, i + 1, path, first + 1);
}

static void forget(struct map *names)
{
    map_done(names);
    map_init(names);
}

/* f has failed if this returns false, or err says why. */
static bool read_region_list(struct job_load *j, struct fields *f, const char *key, const char *const **out,
                             size_t *count)
{
    const char *const *regions;
    size_t n;
    if (!field_strings(f, key, &regions, &n))
        return !f->failed;
    if (n == 0)
        return field_fail(f, key, "leave it out for all regions", "no region is named");
    forget(&j->region_names);
    for (size_t i = 0; i < n; i++)
        if (!add_name(j, &j->region_names, "region", regions[i], field_path(f, key), i))
            return false;
    *out = regions;
    *count = n;
    return true;
}

bool job_read_regions(struct job_load *j, struct fields *f, const char *key)
{
    return read_region_list(j, f, key, &j->job->spec->regions, &j->job->spec->region_count);
}

/* A model written as a table. extra_keys are known too: "name" stands in for the id, the others say nothing here. */
static bool read_model_table(struct job_load *j, int item, const char *path, const char *const *extra_keys,
                             struct model_choice *out)
{
    struct fields f;
    bool named = false;
    if (!fields_begin(&f, j->L, item, j->path, path, &j->job->spec->arena, j->err))
        return false;
    field_string(&f, "id", &out->model);
    for (; extra_keys && *extra_keys; extra_keys++) {
        named = named || strcmp(*extra_keys, "name") == 0;
        field_type(&f, *extra_keys);
    }
    if (!out->model && named)
        field_string(&f, "name", &out->model);
    if (!f.failed && !out->model)
        return field_fail(&f, "id", "write { id = \"llama3.2-1b\", regions = { \"us\" } }", "the model has no id");
    return read_region_list(j, &f, "regions", &out->regions, &out->region_count) && fields_end(&f);
}

static bool read_model(struct job_load *j, size_t i, const char *path, const char *const *extra_keys,
                       struct model_choice *out)
{
    lua_State *L = j->L;
    struct arena *arena = &j->job->spec->arena;
    int item = lua_gettop(L);
    const char *here = arena_printf(arena, "%s[%zu]", path, i + 1);
    if (lua_type(L, item) == LUA_TSTRING)
        out->model = arena_strndup(arena, lua_tostring(L, item), strlen(lua_tostring(L, item)));
    else if (!lua_istable(L, item))
        return err_set(j->err, ERR_CONFIG,
                       "a model is a %s (%s: %s): write its id as text, or { id = \"...\", regions = { ... } }",
                       luaL_typename(L, item), j->path, here);
    else if (!read_model_table(j, item, here, extra_keys, out))
        return false;
    struct str id = str_from(out->model);
    if (id.len == 0 || id.len > JOB_ID_BYTES || !text_is_utf8(id) || text_has_control(id) || strchr(id.ptr, ' '))
        return err_set(j->err, ERR_CONFIG,
                       "a model's id is empty, too long, or holds a space or control character (%s: %s): "
                       "write it as the region table does",
                       j->path, here);
    lua_settop(L, item);
    return add_name(j, &j->names, "model", out->model, path, i);
}

bool job_read_models(struct job_load *j, int index, const char *path, const char *const *extra_keys)
{
    lua_State *L = j->L;
    struct job_spec *spec = j->job->spec;
    const char *cure = "write { \"llama3.2-1b\", ... }, or leave it out for all models";
    if (!lua_istable(L, index))
        return err_set(j->err, ERR_CONFIG, "the models are a %s, not a list (%s: %s): %s", luaL_typename(L, index),
                       j->path, path, cure);
    size_t count = 0;
    bool list = value_list(L, index, &count) == LIST_WHOLE;
    if (!list || count == 0)
        return err_set(j->err, ERR_CONFIG, "%s (%s: %s): %s",
                       list ? "no model is named" : "the models are not a list from 1 on", j->path, path, cure);
    forget(&j->names);
    struct model_choice *models = arena_alloc(&spec->arena, count * sizeof(models[0]));
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        if (!read_model(j, i, path, extra_keys, &models[i]))
            return false;
        lua_pop(L, 1);
    }
    spec->models = models;
    spec->model_count = count;
    return true;
}

bool job_read_samples(struct job_load *j, struct fields *f, const char *key)
{
    int64_t samples = 1;
    if (!read_integer(j, f, key, "samples", JOB_SAMPLES_MAX, &samples))
        return false;
    j->job->spec->samples = (unsigned)samples;
    return true;
}

bool job_read_timeout(struct job_load *j, struct fields *f, const char *key)
{
    field_duration(f, key, 1, &j->job->spec->timeout_us);
    return set_duration(j, "timeout", &j->job->spec->timeout_us);
}

static bool read_on_missing(struct job_load *j, struct fields *f)
{
    const char *cure = "write \"wait\" or \"skip\"", *word = "wait", *set = job_setting(j->job, "on_missing");
    field_string(f, "on_missing", &word);
    if (strcmp(word, "wait") != 0 && strcmp(word, "skip") != 0)
        return field_fail(f, "on_missing", cure, "\"%.100s\" is not known", word);
    if (set && strcmp(set, "wait") != 0 && strcmp(set, "skip") != 0)
        return set_fault(j, "on_missing", set, cure);
    j->job->spec->on_missing = strcmp(set ? set : word, "skip") == 0 ? ON_MISSING_SKIP : ON_MISSING_WAIT;
    return true;
}

bool job_read_rest(struct job_load *j, struct fields *f)
{
    struct job_spec *spec = j->job->spec;
    int64_t in_flight = 0;
    if (!read_integer(j, f, "in_flight", "in_flight", JOB_IN_FLIGHT_MAX, &in_flight))
        return false;
    spec->in_flight = (unsigned)in_flight;
    field_bool(f, "warm", &spec->warm);
    const char *warm = job_setting(j->job, "warm");
    if (warm && strcmp(warm, "true") != 0 && strcmp(warm, "false") != 0)
        return set_fault(j, "warm", warm, "give true or false");
    if (warm)
        spec->warm = strcmp(warm, "true") == 0;
    return read_on_missing(j, f);
}

/* ---- parameters ---- */

/* Pushes a copy of the table on top in its place: --set must not change what the script holds. */
static bool copy_named(struct fields *f, lua_State *L)
{
    int from = lua_gettop(L);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return field_fail(f, "parameters", "name each: { temperature = 0.1, max_tokens = 500 }",
                              "a parameter has no name");
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, from + 1);
    }
    lua_remove(L, from);
    return true;
}

/* The value of --set is JSON if it reads as such, else text. */
static bool set_parameters(struct job_load *j, lua_State *L)
{
    struct job_file *f = j->job;
    static const char prefix[] = "parameters.";
    for (size_t i = 0; i < f->setting_count; i++) {
        struct job_setting *s = &f->settings[i];
        const char *name = s->key + sizeof(prefix) - 1;
        if (strncmp(s->key, prefix, sizeof(prefix) - 1) != 0)
            continue;
        if (!*name || strchr(name, '.'))
            return set_fault(j, s->key, s->value, "name one parameter, such as parameters.temperature=0.7");
        s->read = true;
        if (!script_push_json(f->script, str_from(s->value), NULL))
            lua_pushstring(L, s->value);
        lua_setfield(L, -2, name);
    }
    return true;
}

bool job_read_parameters(struct job_load *j, struct fields *f)
{
    lua_State *L = j->L;
    int type = field_type(f, "parameters");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        return field_fail(f, "parameters", "write a table such as { temperature = 0.1, max_tokens = 500 }",
                          "the parameters are a %s", lua_typename(L, type));
    if (!field_push(f, "parameters"))
        lua_newtable(L);
    if (!copy_named(f, L) || !set_parameters(j, L))
        return false;
    buf_clear(&j->scratch);
    if (!script_add_json(j->job->script, lua_gettop(L), &j->scratch, j->err))
        return err_prefix(j->err, "%s: parameters: ", j->path);
    if (j->scratch.full)
        return field_fail(f, "parameters", "shorten them", "the parameters are larger than 16 MB");
    lua_pushnil(L);
    bool any = lua_next(L, -2) != 0;
    lua_pop(L, any ? 3 : 1);
    if (any)
        j->job->spec->parameters = arena_strndup(&j->job->spec->arena, j->scratch.ptr, j->scratch.len);
    return true;
}

/* ---- a job script's table ---- */

static bool keep_score(struct job_load *j, struct fields *f)
{
    int type = field_type(f, "score");
    if (type == LUA_TNIL)
        return true;
    if (type != LUA_TFUNCTION)
        return field_fail(f, "score", "write function(answer, question) ... end", "the scorer is a %s",
                          lua_typename(j->L, type));
    field_push(f, "score");
    j->job->score = luaL_ref(j->L, LUA_REGISTRYINDEX);
    j->job->spec->scored = true;
    return true;
}

/* A job about the answers of another: `canvass report` of that one finds it by this. */
static bool read_derived(struct job_load *j, struct fields *f)
{
    struct job_spec *spec = j->job->spec;
    struct fields nested;
    const char *of = NULL, *kind = NULL;
    if (!field_table(f, "derived", &nested))
        return !f->failed;
    field_string(&nested, "of", &of);
    field_string(&nested, "kind", &kind);
    if (!nested.failed && !of)
        return field_fail(&nested, "of", "write the id of the job whose answers this one is about", "it is of no job");
    if (!nested.failed && (!kind || (strcmp(kind, "grade") != 0 && strcmp(kind, "embed") != 0)))
        return field_fail(&nested, "kind", "write \"grade\" or \"embed\"", "the kind is %s%.60s", kind ? "" : "missing",
                          kind ? kind : "");
    spec->derived_of = of;
    spec->derived_kind = kind;
    return fields_end(&nested);
}

static void push_or_nil(lua_State *L, struct fields *f, const char *key)
{
    if (!field_push(f, key))
        lua_pushnil(L);
}

static bool read_script(struct job_load *j, int table)
{
    lua_State *L = j->L;
    struct fields f;
    if (!fields_begin(&f, L, table, j->path, "", &j->job->spec->arena, j->err))
        return false;
    push_or_nil(L, &f, "questions");
    push_or_nil(L, &f, "models");
    push_or_nil(L, &f, "policy");
    int questions = table + 1, models = table + 2, policy = table + 3;
    bool ok = job_read_name(j, &f, "name") && job_read_regions(j, &f, "regions") &&
              job_read_samples(j, &f, "samples") && job_read_timeout(j, &f, "timeout") && job_read_rest(j, &f) &&
              job_read_parameters(j, &f) && keep_score(j, &f) && read_derived(j, &f);
    if (!ok || !fields_end(&f))
        return false;
    lua_settop(L, policy);
    return (lua_isnil(L, models) || job_read_models(j, models, "models", NULL)) &&
           job_read_questions(j, questions, "questions") && job_choose_policy(j, policy);
}

int job_read_script(lua_State *L)
{
    struct job_load *j = lua_touserdata(L, 1);
    j->ok = read_script(j, 2);
    return 0;
}
