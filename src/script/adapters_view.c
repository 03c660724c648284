/* ask and response, as a script sees them.
 *
 * Both are made once and used for every call: an empty table in front, which cannot be written to,
 * then the plain fields, then a function for what not every call looks at. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/adapters_state.h"

enum { WARM_TOKENS = 16 };

static struct adapter *upvalue_adapter(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "ask and response are shared by all calls and cannot be changed: copy what you need");
}

static void push_json(lua_State *L, struct str json)
{
    if (!json_try(L, json, NULL))
        lua_pushnil(L);
}

static void push_question(lua_State *L, struct adapter *ad)
{
    const struct question *q = ad->ask->question;
    if (q->metadata)
        push_json(L, str_from(q->metadata));
    if (!q->metadata || lua_type(L, -1) != LUA_TTABLE)
        lua_newtable(L);
    if (q->expected) {
        push_json(L, str_from(q->expected));
        lua_setfield(L, -2, "expected");
    }
    lua_pushstring(L, q->id);
    lua_setfield(L, -2, "id");
    lua_pushlstring(L, q->prompt.ptr, q->prompt.len);
    lua_setfield(L, -2, "prompt");
}

static void push_body_json(lua_State *L, struct adapter *ad)
{
    push_json(L, ad->reading->body);
    if (lua_isnil(L, -1))
        return;
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "json");
    ad->json_cached = true;
}

static const char *asked_key(lua_State *L)
{
    return lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
}

/* __index of the response's fields: (fields, key) */
static int response_index(lua_State *L)
{
    struct adapter *ad = upvalue_adapter(L);
    const char *key = asked_key(L);
    if (ad->reading && strcmp(key, "json") == 0)
        push_body_json(L, ad);
    else if (ad->reading && strcmp(key, "body") == 0)
        lua_pushlstring(L, ad->reading->body.ptr ? ad->reading->body.ptr : "", ad->reading->body.len);
    else
        lua_pushnil(L);
    return 1;
}

/* While prepare() runs the prompt is a hole in the JSON, and what only a question has does not exist. */
static int prepare_index(lua_State *L, const char *key)
{
    if (strcmp(key, "question") == 0 || strcmp(key, "sample") == 0)
        return luaL_error(L, "there is no ask.%s in prepare(), which is called once for all questions: use request()",
                          key);
    if (strcmp(key, "prompt") == 0)
        lua_pushlightuserdata(L, (void *)&json_hole);
    else
        lua_pushnil(L);
    return 1;
}

/* __index of an ask's fields: (fields, key) */
static int ask_index(lua_State *L)
{
    struct adapter *ad = upvalue_adapter(L);
    const char *key = asked_key(L);
    if (ad->preparing)
        return prepare_index(L, key);
    if (ad->ask && strcmp(key, "prompt") == 0)
        lua_pushlstring(L, ad->ask->question->prompt.ptr, ad->ask->question->prompt.len);
    else if (ad->ask && strcmp(key, "question") == 0)
        push_question(L, ad);
    else
        lua_pushnil(L);
    return 1;
}

/* Pops the fields; pushes the table in front of them. */
static void push_front(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 3); /* fields front meta */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static void push_fields(lua_State *L, struct adapter *ad, lua_CFunction index)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, ad);
    lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

void adapter_make_tables(lua_State *L, struct adapter *ad)
{
    push_fields(L, ad, response_index);
    lua_pushvalue(L, -1);
    ad->response_fields = luaL_ref(L, LUA_REGISTRYINDEX);
    push_front(L);
    ad->response = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, false);
    ad->kept = luaL_ref(L, LUA_REGISTRYINDEX);
    ad->json_cached = false;
}

static void set_string(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void make_ask(lua_State *L, struct adapter *ad, struct adapter_cell *cell)
{
    const struct endpoint_spec *e = ad->ask->endpoint;
    push_fields(L, ad, ask_index);
    set_string(L, "model", e->model);
    set_string(L, "region", ad->ask->table->regions[e->region].id);
    set_string(L, "endpoint", e->id);
    set_string(L, "url", e->url);
    push_json(L, str_from(cell->options));
    lua_setfield(L, -2, "options");
    lua_pushvalue(L, -1);
    cell->fields = luaL_ref(L, LUA_REGISTRYINDEX);
    push_front(L);
    cell->ask = luaL_ref(L, LUA_REGISTRYINDEX);
    free(cell->parameters);
    cell->parameters = NULL;
    cell->generation = ad->generation;
}

static const char *parameters_of(const struct ask *ask)
{
    return ask->job->parameters ? ask->job->parameters : "{}";
}

bool adapter_cell_fits(const struct adapter *ad, const struct adapter_cell *cell, const struct ask *ask)
{
    return cell->generation == ad->generation && cell->parameters && cell->warm == (ask->warm != WARM_NO) &&
           strcmp(cell->parameters, parameters_of(ask)) == 0;
}

/* The answer to a warm-up is not wanted. What a job does not set is not set here either: an endpoint may refuse it. The
 * parameters are on top of the stack. */
static void cap_tokens(lua_State *L)
{
    static const char *const names[] = {
        "max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict", "n_predict",
    };
    for (size_t i = 0; i < ARRAY_LEN(names) && lua_istable(L, -1); i++) {
        bool more = lua_getfield(L, -1, names[i]) == LUA_TNUMBER && lua_tonumber(L, -1) > WARM_TOKENS;
        lua_pop(L, 1);
        if (more) {
            lua_pushinteger(L, WARM_TOKENS);
            lua_setfield(L, -2, names[i]);
        }
    }
}

/* Jobs differ in their parameters; compared by content, for a job's memory may be another job's by now. */
void adapter_push_ask(lua_State *L, struct adapter *ad)
{
    const struct ask *ask = ad->ask;
    struct adapter_cell *cell = &ad->owner->cells[ask->endpoint->index];
    if (cell->generation != ad->generation)
        make_ask(L, ad, cell);
    lua_rawgeti(L, LUA_REGISTRYINDEX, cell->fields);
    if (!adapter_cell_fits(ad, cell, ask)) {
        const char *parameters = parameters_of(ask);
        cell->body_state = BODY_UNKNOWN;
        push_json(L, str_from(parameters));
        cell->warm = ask->warm != WARM_NO;
        if (cell->warm)
            cap_tokens(L);
        lua_setfield(L, -2, "parameters");
        free(cell->parameters);
        cell->parameters = mem_strdup(parameters);
    }
    if (ad->preparing)
        lua_pushnil(L);
    else
        lua_pushinteger(L, ask->sample);
    lua_setfield(L, -2, "sample");
    lua_pop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, cell->ask);
}

void adapter_push_response(lua_State *L, struct adapter *ad)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->response_fields);
    if (ad->json_cached) {
        lua_pushnil(L);
        lua_setfield(L, -2, "json");
        ad->json_cached = false;
    }
    lua_pushinteger(L, ad->reading->http_status);
    lua_setfield(L, -2, "status");
    lua_pop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->response);
}
