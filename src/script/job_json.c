/* A job specification in JSON, as the upstream system writes it: {"id", "questions", "models", "constraints", ...},
 * alone or wrapped as {"jobspec": {...}, "target_regions": [...]}. It may say besides what a job script can. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/timeutil.h"
#include "script/data_list.h"
#include "script/job_parts.h"

enum { LIST_BYTES = 64 << 20, DEPTH_SLOTS = 4 };

/* Keys that are known and change nothing here. Each that is there is told. */
static void ignore(struct job_load *j, struct fields *f, const char *const *keys)
{
    for (; *keys; keys++)
        if (field_type(f, *keys) != LUA_TNIL)
            buf_addf(&j->ignored, "%s%s", j->ignored.len ? ", " : "", field_path(f, *keys));
}

/* null says no more than a key that is left out. Depth is bounded by the JSON reader. */
static void drop_nulls(lua_State *L, int table)
{
    luaL_checkstack(L, DEPTH_SLOTS, NULL);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_istable(L, -1)) {
            drop_nulls(L, lua_gettop(L));
        } else if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && lua_type(L, -2) == LUA_TSTRING) {
            lua_pushvalue(L, -2);
            lua_pushnil(L);
            lua_rawset(L, table);
        }
    }
}

/* ---- durations ---- */

/* Upstream sends nanoseconds; people write seconds or "10m". No deadline is a billion seconds long. */
static bool read_timeout(struct job_load *j, struct fields *f, const char *key)
{
    const double ns_from = 1e9;
    if (field_type(f, key) == LUA_TNUMBER) {
        double ns = 0;
        field_push(f, key);
        ns = lua_tonumber(j->L, -1);
        lua_pop(j->L, 1);
        if (ns >= ns_from && ns < 9e18 && floor(ns) == ns) {
            char line[160], text[DURATION_TEXT];
            j->job->spec->timeout_us = (int64_t)(ns / 1000);
            snprintf(line, sizeof(line), "%.60s is %.0f and read as nanoseconds: %s", field_path(f, key), ns,
                     duration_format(j->job->spec->timeout_us, text));
            job_log(j->job, line);
            return true;
        }
    }
    field_duration(f, key, 1, &j->job->spec->timeout_us);
    return !f->failed;
}

/* ---- questions by id ---- */

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/* Pushes the list that --questions names, a table or a list read from a file. */
static bool push_list(struct job_load *j, const char *path)
{
    struct arena *arena = &j->job->spec->arena;
    char *text;
    size_t len;
    if (!job_read_file(j, path, LIST_BYTES, &text, &len))
        return err_prefix(j->err, "--questions: ");
    /* Kept as a source, and the list's rows point into it. */
    j->list_text = (struct str){arena_strndup(arena, text, len), len};
    free(text);
    if (ends_in(path, ".jsonl"))
        data_push(j->L, "jsonl", path, j->list_text);
    else if (ends_in(path, ".csv"))
        data_push(j->L, "csv", path, j->list_text);
    else if (ends_in(path, ".json"))
        data_push_json(j->L, path, j->list_text);
    else if (ends_in(path, ".lua"))
        return script_run(j->job->script, path, j->list_text, j->err);
    else
        return err_set(j->err, ERR_USAGE,
                       "unknown kind of file (--questions %s): give one that ends in .jsonl, .csv, .json or .lua",
                       path);
    return true;
}

/* Replaces the list on top by a table: id -> question. */
static bool index_list(struct job_load *j, const char *path)
{
    lua_State *L = j->L;
    int list = lua_gettop(L);
    struct data_list *rows = data_test(L, list);
    if (!rows && !lua_istable(L, list))
        return err_set(j->err, ERR_CONFIG,
                       "holds no list of questions (--questions %s): write { { id = ..., prompt = ... } }", path);
    size_t count = rows ? data_count(rows) : lua_rawlen(L, list);
    lua_createtable(L, 0, (int)(count < INT32_MAX ? count : 0));
    for (size_t i = 0; i < count; i++) {
        if (rows)
            data_push_row(L, list, i);
        else
            lua_rawgeti(L, list, (lua_Integer)i + 1);
        bool table = lua_istable(L, -1);
        lua_pushliteral(L, "id");
        if (!table || lua_rawget(L, -2) != LUA_TSTRING)
            return err_set(j->err, ERR_CONFIG, "question %zu has no id that is text (--questions %s): give it one",
                           i + 1, path);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, list + 1) != LUA_TNIL)
            return err_set(j->err, ERR_CONFIG,
                           "duplicate question id \"%s\" (--questions %s, question %zu): give each its own id",
                           lua_tostring(L, -2), path, i + 1);
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, list + 1);
        lua_pop(L, 1);
    }
    lua_remove(L, list);
    return true;
}

static bool unknown_question(struct job_load *j, size_t i, const char *id)
{
    const char *list = j->options->questions;
    if (!list)
        return err_set(j->err, ERR_CONFIG,
                       "question \"%.200s\" is an id only (%s: questions[%zu]): say with --questions FILE where "
                       "its text is, or write {\"id\": ..., \"prompt\": ...}",
                       id, j->path, i + 1);
    return err_set(j->err, ERR_CONFIG, "unknown question id \"%.200s\" (%s: questions[%zu]): %s has no such question",
                   id, j->path, i + 1, list);
}

/* Puts the questions themselves in place of their ids in the list at index. */
static bool resolve_ids(struct job_load *j, int index)
{
    lua_State *L = j->L;
    const char *list = j->options->questions;
    if (!lua_istable(L, index))
        return true; /* the reader of questions says it better */
    if (!list)
        lua_newtable(L);
    else if (!push_list(j, list) || !index_list(j, list))
        return false;
    int by_id = lua_gettop(L);
    size_t count = lua_rawlen(L, index), found = 0;
    for (size_t i = 0; i < count; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TSTRING) {
            lua_pushvalue(L, -1);
            if (lua_rawget(L, by_id) == LUA_TNIL)
                return unknown_question(j, i, lua_tostring(L, -2));
            lua_rawseti(L, index, (lua_Integer)i + 1);
            found++;
        }
        lua_pop(L, 1);
    }
    if (list && count > 0 && found == 0)
        return err_set(j->err, ERR_USAGE,
                       "nothing is looked up in it (--questions %s): the specification holds its questions itself, so "
                       "leave it out",
                       list);
    lua_settop(L, by_id - 1);
    return true;
}

/* ---- the specification ---- */

static const char *const model_keys[] = {"name", "provider", "container_image", NULL};

/* "models", or for older senders metadata.models. */
static bool read_models(struct job_load *j, struct fields *f)
{
    static const char *const said[] = {
        "timestamp", "nonce", "created_by", "wallet_address", "execution_type", "estimated_cost", "multi_model",
        "total_executions_expected", "model", "model_name", NULL};
    struct fields metadata;
    bool top = field_push(f, "models");
    if (top && !job_read_models(j, lua_gettop(j->L), "models", model_keys))
        return false;
    if (!field_table(f, "metadata", &metadata))
        return !f->failed;
    ignore(j, &metadata, said);
    bool there = field_push(&metadata, "models");
    if (there && top)
        buf_addf(&j->ignored, "%smetadata.models", j->ignored.len ? ", " : "");
    /* Metadata is the sender's own: other keys in it are no error. */
    return !there || top || job_read_models(j, lua_gettop(j->L), "metadata.models", model_keys);
}

static bool read_constraints(struct job_load *j, struct fields *f, bool regions_chosen)
{
    static const char *const said[] = {"min_regions", "min_success_rate", "provider_timeout",
                                       "max_cost",    "providers",        NULL};
    struct fields c;
    if (!field_table(f, "constraints", &c))
        return !f->failed && job_read_timeout(j, f, "timeout");
    ignore(j, &c, said);
    if (regions_chosen)
        ignore(j, &c, (const char *const[]){"regions", NULL});
    else if (!job_read_regions(j, &c, "regions"))
        return false;
    if (field_type(&c, "timeout") != LUA_TNIL && field_type(f, "timeout") != LUA_TNIL)
        return field_fail(&c, "timeout", "leave one out", "the timeout is given twice");
    return read_timeout(j, &c, "timeout") && fields_end(&c) && job_read_timeout(j, f, "timeout");
}

/* The name: "name", the specification's id, the benchmark's name, or the file's. */
static bool read_names(struct job_load *j, struct fields *f)
{
    struct fields benchmark;
    const char *keys[] = {"name", "id", "jobspec_id"}, *key = "name";
    for (size_t i = ARRAY_LEN(keys); i-- > 0;)
        if (field_type(f, keys[i]) != LUA_TNIL)
            key = keys[i];
    if (!field_table(f, "benchmark", &benchmark))
        return !f->failed && job_read_name(j, f, key);
    buf_addf(&j->ignored, "%sbenchmark", j->ignored.len ? ", " : "");
    bool own = field_type(f, key) != LUA_TNIL || field_type(&benchmark, "name") == LUA_TNIL;
    return own ? job_read_name(j, f, key) : job_read_name(j, &benchmark, "name");
}

static bool read_inner(struct job_load *j, struct fields *f, bool regions_chosen)
{
    static const char *const said[] = {"version", "created_at", "wallet_auth", "signature", "public_key", NULL};
    lua_State *L = j->L;
    ignore(j, f, said);
    int questions = lua_gettop(L) + 1, policy = questions + 1;
    if (!field_push(f, "questions"))
        lua_pushnil(L);
    if (!field_push(f, "policy"))
        lua_pushnil(L);
    const char *runs = field_type(f, "runs") != LUA_TNIL ? "runs" : "samples";
    bool ok = read_names(j, f) && read_constraints(j, f, regions_chosen) && job_read_samples(j, f, runs) &&
              job_read_rest(j, f) && job_read_parameters(j, f);
    if (!ok || !read_models(j, f) || !fields_end(f))
        return false;
    return resolve_ids(j, questions) && job_read_questions(j, questions, "questions") && job_choose_policy(j, policy);
}

static bool read_outer(struct job_load *j, int table)
{
    static const char *const said[] = {"min_regions", "min_success_rate", "enable_analysis", NULL};
    struct arena *arena = &j->job->spec->arena;
    struct fields outer, inner;
    if (!fields_begin(&outer, j->L, table, j->path, "", arena, j->err))
        return false;
    drop_nulls(j->L, table);
    if (!field_push(&outer, "jobspec")) {
        outer.known_count = 0; /* it is no wrapper, so "jobspec" is no key either */
        return read_inner(j, &outer, false);
    }
    ignore(j, &outer, said);
    bool chosen = field_type(&outer, "target_regions") != LUA_TNIL;
    if (!job_read_regions(j, &outer, "target_regions") || !fields_end(&outer))
        return false;
    return fields_begin(&inner, j->L, lua_gettop(j->L), j->path, "jobspec", arena, j->err) &&
           read_inner(j, &inner, chosen);
}

int job_read_specification(lua_State *L)
{
    struct job_load *j = lua_touserdata(L, 1);
    j->ok = read_outer(j, 2);
    if (j->ok && j->ignored.len) {
        char line[1024];
        snprintf(line, sizeof(line), "%.200s: not used: %.700s", j->path, j->ignored.ptr);
        job_log(j->job, line);
    }
    return 0;
}
