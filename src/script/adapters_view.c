/* ask and response, as a script sees them.
 *
 * Both are made once and used for every call: an empty table in front, which cannot be written to,
 * then the plain fields, then lazy_index() for what most adapters never look at. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/adapters_state.h"

static struct adapter *upvalue_adapter(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "ask and response are shared by all calls and cannot be changed: copy what you need");
}

/* json_push works on the state's own stack, which is not this one in a coroutine. */
static void push_json(lua_State *L, struct adapter *ad, const char *what, struct str json)
{
    struct err err;
    if (L != script_state(ad->script))
        luaL_error(L, "%s cannot be read in a coroutine: read it before", what);
    if (!script_push_json(ad->script, json, &err))
        lua_pushnil(L);
}

static void push_question(lua_State *L, struct adapter *ad)
{
    const struct question *q = ad->ask->question;
    if (q->metadata)
        push_json(L, ad, "ask.question", str_from(q->metadata));
    if (!q->metadata || lua_type(L, -1) != LUA_TTABLE)
        lua_newtable(L);
    if (q->expected) {
        push_json(L, ad, "ask.question", str_from(q->expected));
        lua_setfield(L, -2, "expected");
    }
    lua_pushstring(L, q->id);
    lua_setfield(L, -2, "id");
    lua_pushlstring(L, q->prompt.ptr, q->prompt.len);
    lua_setfield(L, -2, "prompt");
}

static void push_body_json(lua_State *L, struct adapter *ad)
{
    push_json(L, ad, "response.json", ad->reading->body);
    if (lua_isnil(L, -1))
        return;
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "json");
    ad->json_cached = true;
}

/* __index of the fields: (fields, key) */
static int lazy_index(lua_State *L)
{
    struct adapter *ad = upvalue_adapter(L);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->response_fields);
    bool response = lua_rawequal(L, 1, -1);
    lua_pop(L, 1);
    if (response && ad->reading && strcmp(key, "body") == 0)
        lua_pushlstring(L, ad->reading->body.ptr ? ad->reading->body.ptr : "", ad->reading->body.len);
    else if (response && ad->reading && strcmp(key, "json") == 0)
        push_body_json(L, ad);
    else if (!response && ad->ask && strcmp(key, "prompt") == 0)
        lua_pushlstring(L, ad->ask->question->prompt.ptr, ad->ask->question->prompt.len);
    else if (!response && ad->ask && strcmp(key, "question") == 0)
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

static void push_fields(lua_State *L, struct adapter *ad)
{
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->lazy);
    lua_setmetatable(L, -2);
}

void adapter_make_tables(lua_State *L, struct adapter *ad)
{
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, ad);
    lua_pushcclosure(L, lazy_index, 1);
    lua_setfield(L, -2, "__index");
    ad->lazy = luaL_ref(L, LUA_REGISTRYINDEX);

    push_fields(L, ad);
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
    push_fields(L, ad);
    set_string(L, "model", e->model);
    set_string(L, "region", ad->ask->table->regions[e->region].id);
    set_string(L, "endpoint", e->id);
    set_string(L, "url", e->url);
    push_json(L, ad, "options", str_from(cell->options));
    lua_setfield(L, -2, "options");
    lua_pushvalue(L, -1);
    cell->fields = luaL_ref(L, LUA_REGISTRYINDEX);
    push_front(L);
    cell->ask = luaL_ref(L, LUA_REGISTRYINDEX);
    free(cell->parameters);
    cell->parameters = NULL;
    cell->generation = ad->generation;
}

/* Jobs differ in their parameters; compared by content, for a job's memory may be another job's by now. */
void adapter_push_ask(lua_State *L, struct adapter *ad)
{
    const struct ask *ask = ad->ask;
    struct adapter_cell *cell = &ad->owner->cells[ask->endpoint->index];
    const char *parameters = ask->job->parameters ? ask->job->parameters : "{}";
    if (cell->generation != ad->generation)
        make_ask(L, ad, cell);
    lua_rawgeti(L, LUA_REGISTRYINDEX, cell->fields);
    if (!cell->parameters || strcmp(cell->parameters, parameters) != 0) {
        push_json(L, ad, "parameters", str_from(parameters));
        lua_setfield(L, -2, "parameters");
        free(cell->parameters);
        cell->parameters = mem_strdup(parameters);
    }
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
