#include <stdio.h>

#include "base/text.h"
#include "script/data_list.h"
#include "script/job_parts.h"

/* Where question i of the list stands, for errors; and how a key of it is written there. */
struct place {
    char text[PLACE_TEXT + 64];
    const char *dot;
};

struct reader {
    struct job_load *j;
    struct data_list *list;  /* NULL: a Lua table */
    int index;               /* of either on the stack */
    const char *path;
};

static struct place place_of(const struct reader *r, size_t i)
{
    struct place p = {.dot = r->list ? ", " : "."};
    if (r->list)
        data_place(r->list, i, p.text);
    else
        snprintf(p.text, sizeof(p.text), "%.200s: %.40s[%zu]", r->j->path, r->path, i + 1);
    return p;
}

static bool fail(const struct reader *r, size_t i, const char *key, const char *what, const char *cure)
{
    struct place p = place_of(r, i);
    return err_set(r->j->err, ERR_CONFIG, "%s (%s%s%s): %s", what, p.text, key ? p.dot : "", key ? key : "", cure);
}

static const char *id_fault(struct str id)
{
    if (id.len == 0)
        return "the id is empty";
    if (id.len > JOB_ID_BYTES)
        return "the id is longer than 200 bytes";
    if (text_has_control(id))
        return "the id holds a control character";
    if (!text_is_utf8(id))
        return "the id is not UTF-8";
    if (id.ptr[0] == ' ' || id.ptr[id.len - 1] == ' ')
        return "the id begins or ends with a space";
    return NULL;
}

static bool read_id(struct reader *r, int question, size_t i, struct question *out)
{
    lua_State *L = r->j->L;
    lua_pushliteral(L, "id");
    int type = lua_rawget(L, question);
    if (type != LUA_TSTRING) {
        char what[64];
        if (type == LUA_TNIL)
            return fail(r, i, "id", "the question has no id", "give it one, such as id = \"math_basic\"");
        snprintf(what, sizeof(what), "the id is a %s", lua_typename(L, type));
        return fail(r, i, "id", what, "write it as text, in quotes");
    }
    struct str id = script_str(L, -1);
    const char *fault = id_fault(id);
    if (fault)
        return fail(r, i, "id", fault, "use a short name, such as \"math_basic\"");
    out->id = arena_strndup(&r->j->job->spec->arena, id.ptr, id.len);
    uint32_t first;
    if (!map_add(&r->j->names, str_from(out->id), (uint32_t)i) && map_get(&r->j->names, str_from(out->id), &first)) {
        struct place here = place_of(r, i), there = place_of(r, first);
        return err_set(r->j->err, ERR_CONFIG,
                       "duplicate question id \"%s\" (%s, first at %s): give each question its own id", out->id,
                       here.text, there.text);
    }
    lua_pop(L, 1);
    return true;
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != ' ' && s.ptr[i] != '\t' && s.ptr[i] != '\n' && s.ptr[i] != '\r')
            return false;
    return true;
}

static bool read_prompt(struct reader *r, int question, size_t i, struct question *out)
{
    lua_State *L = r->j->L;
    lua_pushliteral(L, "prompt");
    int type = lua_rawget(L, question);
    if (type == LUA_TNIL)
        return fail(r, i, "prompt", "the question has no prompt", "give it one: prompt = \"What is 2+2?\"");
    if (type != LUA_TSTRING) {
        char what[64];
        snprintf(what, sizeof(what), "the prompt is a %s", lua_typename(L, type));
        return fail(r, i, "prompt", what, "write it as text, in quotes");
    }
    struct str prompt = script_str(L, -1);
    if (is_blank(prompt))
        return fail(r, i, "prompt", "the prompt is empty", "write what is to be asked");
    if (!text_is_utf8(prompt))
        return fail(r, i, "prompt", "the prompt is not UTF-8", "save the file as UTF-8");
    out->prompt = arena_str(&r->j->job->spec->arena, prompt);
    lua_pop(L, 1);
    return true;
}

/* The value on top of the stack as JSON text in the arena; it stays on the stack. */
static bool read_json(struct reader *r, size_t i, const char *key, const char **out)
{
    struct job_load *j = r->j;
    buf_clear(&j->scratch);
    if (!script_add_json(j->job->script, lua_gettop(j->L), &j->scratch, j->err)) {
        struct place p = place_of(r, i);
        return err_prefix(j->err, "%s%s%s: ", p.text, key ? p.dot : "", key ? key : "");
    }
    if (j->scratch.full)
        return fail(r, i, key, "the value is larger than 16 MB", "shorten it");
    *out = arena_strndup(&j->job->spec->arena, j->scratch.ptr, j->scratch.len);
    return true;
}

/* Nothing expected is nil, JSON's null, and the empty cell of a CSV file. */
static bool read_expected(struct reader *r, int question, size_t i, struct question *out)
{
    lua_State *L = r->j->L;
    lua_pushliteral(L, "expected");
    int type = lua_rawget(L, question);
    bool none = type == LUA_TNIL || type == LUA_TLIGHTUSERDATA || (type == LUA_TSTRING && lua_rawlen(L, -1) == 0);
    if (!none && !read_json(r, i, "expected", &out->expected))
        return false;
    lua_pop(L, 1);
    return true;
}

/* All further fields. */
static bool read_metadata(struct reader *r, int question, size_t i, struct question *out)
{
    lua_State *L = r->j->L;
    unsigned count = 0;
    lua_newtable(L);
    int metadata = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, question); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return fail(r, i, NULL, "the question has a value without a name",
                        "name each field: { id = \"...\", prompt = \"...\" }");
        struct str key = script_str(L, -2);
        if (str_is(key, "id") || str_is(key, "prompt") || str_is(key, "expected"))
            continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, metadata);
        count++;
    }
    if (count > 0 && !read_json(r, i, NULL, &out->metadata))
        return false;
    lua_pop(L, 1);
    return true;
}

static bool read_question(struct reader *r, size_t i, struct question *out)
{
    lua_State *L = r->j->L;
    int question = lua_gettop(L);
    if (!lua_istable(L, question)) {
        char what[64];
        snprintf(what, sizeof(what), "the question is a %s", luaL_typename(L, question));
        return fail(r, i, NULL, what, "write { id = \"...\", prompt = \"...\" }");
    }
    return read_id(r, question, i, out) && read_prompt(r, question, i, out) && read_expected(r, question, i, out) &&
           read_metadata(r, question, i, out);
}

/* A list is a table with the keys 1 to n and no other. */
static bool list_count(struct reader *r, size_t *count)
{
    lua_State *L = r->j->L;
    const char *file = r->j->path,
               *cure = "write { { id = \"...\", prompt = \"...\" }, ... }, or canvass.jsonl \"FILE\"";
    if (r->list) {
        *count = data_count(r->list);
        return true;
    }
    if (!lua_istable(L, r->index))
        return lua_isnil(L, r->index)
                   ? err_set(r->j->err, ERR_CONFIG, "there are no questions (%s: %s): %s", file, r->path, cure)
                   : err_set(r->j->err, ERR_CONFIG, "the questions are a %s (%s: %s): %s", luaL_typename(L, r->index),
                             file, r->path, cure);
    if (value_list(L, r->index, count) != LIST_WHOLE)
        return err_set(r->j->err, ERR_CONFIG, "the questions are not a list from 1 on without gaps (%s: %s): %s", file,
                       r->path, cure);
    return true;
}

bool job_read_questions(struct job_load *j, int index, const char *path)
{
    struct reader r = {j, data_test(j->L, index), lua_absindex(j->L, index), path};
    struct job_spec *spec = j->job->spec;
    size_t count = 0;
    if (!list_count(&r, &count))
        return false;
    if (count == 0)
        return err_set(j->err, ERR_CONFIG, "the list of questions is empty (%s: %s): ask at least one", j->path, path);
    if (count > JOB_QUESTIONS_MAX)
        return err_set(j->err, ERR_CONFIG, "%zu questions (%s: %s): ask at most %d in one job", count, j->path, path,
                       JOB_QUESTIONS_MAX);
    map_done(&j->names);
    map_init(&j->names);
    spec->questions = arena_alloc(&spec->arena, count * sizeof(spec->questions[0]));
    for (size_t i = 0; i < count; i++) {
        if (r.list)
            data_push_row(j->L, r.index, i);
        else
            lua_rawgeti(j->L, r.index, (lua_Integer)i + 1);
        if (!read_question(&r, i, &spec->questions[i]))
            return false;
        lua_pop(j->L, 1);
    }
    spec->question_count = count;
    return true;
}
