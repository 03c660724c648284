#include "script/adapters.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/timeutil.h"
#include "core/url.h"
#include "script/adapters_state.h"
#include "script/table_file.h"

enum { BODY_SHOWN = 200, WAIT_MAX_S = 86400 };

static const double TOKENS_MAX = 9007199254740992.0; /* 2^53: beyond it a double no longer counts */

/* ---- calls ---- */

struct call {                        /* handed to the functions run protected */
    struct adapter *ad;
    struct err *err;
    struct buf *body;
    struct answer *answer;
    struct health *health;
    bool ok;
};

static bool run(struct call *c, lua_CFunction function, struct err *err)
{
    struct adapter *ad = c->ad;
    lua_State *L = script_state(ad->script);
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, c);
    bool ok = script_call(ad->script, 1, 0, err);
    adapter_ended(ad);
    ad->ask = NULL;
    ad->reading = NULL;
    return ok;
}

static struct adapter *adapter_of(const struct region_table *t, const struct endpoint_spec *e)
{
    struct adapters *a = t->adapters;
    assert(a && e->adapter_slot >= 0 && (size_t)e->adapter_slot < a->count && e->index < a->cell_count);
    return a->list[e->adapter_slot];
}

/* ---- request ---- */

static int run_request(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct adapter *ad = c->ad;
    const char *id = ad->ask->endpoint->id;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->request);
    adapter_push_ask(L, ad);
    lua_call(L, 1, 2); /* call body reason */
    size_t len;
    const char *text;
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, 2, &len);
        c->ok = buf_add(c->body, text, len) ||
                err_set(c->err, ERR_CONFIG, "the request is larger than %zu bytes (%s): shorten the question",
                        c->body->max, id);
        break;
    case LUA_TTABLE:
        c->ok = script_add_json(ad->script, 2, c->body, c->err) ||
                err_prefix(c->err, "adapter %s makes no request for %s: ", ad->name, id);
        break;
    case LUA_TNIL:
        text = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : "it returns nil: mend the adapter";
        c->ok = err_set(c->err, ERR_CONFIG, "adapter %s cannot ask %s: %s", ad->name, id, text);
        break;
    default:
        c->ok =
            err_set(c->err, ERR_CONFIG, "request() returns a %s (adapter %s): return the body as a table or as text",
                    luaL_typename(L, 2), ad->name);
    }
    return 0;
}

static bool port_request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    (void)ctx;
    struct err unused;
    struct adapter *ad = adapter_of(ask->table, ask->endpoint);
    struct call c = {.ad = ad, .err = err ? err : &unused, .body = body};
    if (!adapter_alive(ad, c.err))
        return false;
    ad->ask = ask;
    if (!run(&c, run_request, c.err))
        return err_prefix(c.err, "adapter %s: ", ad->name);
    return c.ok;
}

/* ---- answer ---- */

/* The adapter is at fault, or nothing can be read: class bad_response, in our words. */
static void unreadable(struct adapter *ad, struct answer *out, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void unreadable(struct adapter *ad, struct answer *out, const char *fmt, ...)
{
    char text[ADAPTER_NOTE_BYTES / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_clear(&ad->note);
    buf_adds(&ad->note, text);
    *out = (struct answer){.kind = ANSWER_UNREADABLE, .error = buf_str(&ad->note), .prompt_tokens = -1,
                           .completion_tokens = -1, .wait_us = -1};
}

/* What an answer may hold. */
enum part {
    PART_TEXT,
    PART_ERROR,
    PART_CLASS,
    PART_TRANSIENT,
    PART_POLL,
    PART_WAIT,
    PART_MODEL,
    PART_REGION,
    PART_PROMPT_TOKENS,
    PART_COMPLETION_TOKENS,
    PART_COUNT
};

static const char *const part_names[PART_COUNT] = {"text", "error", "class",  "transient",     "poll",
                                                   "wait", "model", "region", "prompt_tokens", "completion_tokens"};

static bool take_tokens(lua_State *L, int64_t *out)
{
    double n = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(n >= 0 && n <= TOKENS_MAX))
        return false;
    *out = (int64_t)n;
    return true;
}

static bool take_text(lua_State *L, struct str *out)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        return false;
    out->ptr = lua_tolstring(L, -1, &out->len);
    return true;
}

static bool take_poll(lua_State *L, struct adapter *ad, struct answer *out)
{
    if (lua_type(L, -1) == LUA_TBOOLEAN)
        return lua_toboolean(L, -1);
    char origin[ORIGIN_TEXT];
    struct str url;
    if (!take_text(L, &url))
        return false;
    if (url.len && url.ptr[0] == '/' && (url.len < 2 || url.ptr[1] != '/') &&
        url_origin(ad->ask->endpoint->url, origin)) {
        buf_clear(&ad->note);
        buf_addf(&ad->note, "%s%s", origin, url.ptr);
        url = buf_str(&ad->note);
    }
    out->poll_url = url.ptr;
    return url_check(url.ptr, ad->name, NULL);
}

static bool take_part(lua_State *L, struct adapter *ad, enum part part, struct answer *out)
{
    struct str text;
    double wait_s;
    switch (part) {
    case PART_TEXT:
        return take_text(L, &out->text);
    case PART_ERROR:
        return take_text(L, &out->error);
    case PART_CLASS:
        return take_text(L, &text) && class_parse(text.ptr, &out->class);
    case PART_TRANSIENT:
        out->transient = lua_toboolean(L, -1);
        return lua_type(L, -1) == LUA_TBOOLEAN;
    case PART_POLL:
        return take_poll(L, ad, out);
    case PART_WAIT:
        wait_s = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(wait_s >= 0 && wait_s <= WAIT_MAX_S))
            return false;
        out->wait_us = (int64_t)(wait_s * 1e6);
        return true;
    case PART_MODEL:
        out->served_model = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        return out->served_model != NULL;
    case PART_REGION:
        out->served_region = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        return out->served_region != NULL;
    case PART_PROMPT_TOKENS:
        return take_tokens(L, &out->prompt_tokens);
    default:
        return take_tokens(L, &out->completion_tokens);
    }
}

/* The answer's table is on top of the stack and kept in the registry, so its strings stay. */
static void take_answer(lua_State *L, struct adapter *ad, struct answer *out)
{
    unsigned seen = 0;
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
        enum part part = 0;
        while (part < PART_COUNT && strcmp(part_names[part], key) != 0)
            part++;
        if (part == PART_COUNT) {
            unreadable(
                ad, out,
                "answer() returns an unknown \"%.60s\" (adapter %s): it may return text, error or poll, and what "
                "goes with them",
                key, ad->name);
            return;
        }
        if (!take_part(L, ad, part, out)) {
            unreadable(ad, out,
                       "answer() returns a %s in \"%s\" that cannot be one (adapter %s): see the adapters that come "
                       "with canvass",
                       luaL_typename(L, -1), key, ad->name);
            return;
        }
        seen |= 1u << part;
    }
    bool text = seen & 1u << PART_TEXT, error = seen & 1u << PART_ERROR, poll = seen & 1u << PART_POLL;
    int outcomes = text + error + poll;
    if (outcomes != 1)
        unreadable(ad, out, "answer() returns %s (adapter %s): return exactly one of text, error and poll",
                   outcomes ? "more than one outcome" : "no outcome", ad->name);
    else
        out->kind = text ? ANSWER_TEXT : error ? ANSWER_ERROR : ANSWER_POLL;
}

static int shown_len(struct str body)
{
    return (int)(body.len < BODY_SHOWN ? body.len : BODY_SHOWN);
}

/* The adapter found nothing: the HTTP status decides, with the words of the body. */
static void take_nothing(lua_State *L, struct adapter *ad, struct answer *out)
{
    struct str body = ad->reading->body;
    int status = ad->reading->http_status;
    if (status >= 200 && status < 300) {
        unreadable(ad, out, "%s (adapter %s): %.*s",
                   ad->json_cached ? "there is no answer in the body" : "the body is not the expected JSON", ad->name,
                   shown_len(body), body.ptr ? body.ptr : "");
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->error_text);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->response);
    lua_getfield(L, -1, "json");
    lua_remove(L, -2);
    lua_call(L, 1, 1);
    out->kind = ANSWER_ERROR;
    if (!take_text(L, &out->error))
        out->error = (struct str){body.ptr, body.len < ADAPTER_NOTE_BYTES ? body.len : ADAPTER_NOTE_BYTES};
    lua_rawseti(L, LUA_REGISTRYINDEX, ad->kept);
}

static int run_read(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct adapter *ad = c->ad;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->answer);
    adapter_push_response(L, ad);
    adapter_push_ask(L, ad);
    lua_call(L, 2, 1);
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, LUA_REGISTRYINDEX, ad->kept);
        take_answer(L, ad, c->answer);
    } else if (lua_isnil(L, -1)) {
        take_nothing(L, ad, c->answer);
    } else {
        unreadable(ad, c->answer, "answer() returns a %s (adapter %s): return a table, or nil", luaL_typename(L, -1),
                   ad->name);
    }
    return 0;
}

static void port_read(void *ctx, const struct ask *ask, const struct response *response, struct answer *out)
{
    (void)ctx;
    struct err err;
    struct adapter *ad = adapter_of(ask->table, ask->endpoint);
    struct call c = {.ad = ad, .err = &err, .answer = out};
    *out = (struct answer){.prompt_tokens = -1, .completion_tokens = -1, .wait_us = -1};
    if (!adapter_alive(ad, &err)) {
        unreadable(ad, out, "%s", err.text);
        return;
    }
    ad->ask = ask;
    ad->reading = response;
    if (!run(&c, run_read, &err))
        unreadable(ad, out, "adapter %s: %s", ad->name, err.text);
}

void adapters_port(struct adapter_port *out)
{
    *out = (struct adapter_port){.request = port_request, .read = port_read};
}

/* ---- health ---- */

static void take_models(lua_State *L, struct health *h)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n && h->model_count < ARRAY_LEN(h->models); i++) {
        lua_rawgeti(L, -1, i);
        if (take_text(L, &h->models[h->model_count]))
            h->model_count++;
        lua_pop(L, 1);
    }
}

static int run_health(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct adapter *ad = c->ad;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->health);
    adapter_push_response(L, ad);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TTABLE)
        return 0;
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, ad->kept);
    c->health->readable = true;
    lua_pushliteral(L, "status");
    lua_rawget(L, 2);
    take_text(L, &c->health->status);
    lua_pushliteral(L, "region");
    lua_rawget(L, 2);
    take_text(L, &c->health->region);
    lua_pushliteral(L, "models");
    if (lua_rawget(L, 2) == LUA_TTABLE)
        take_models(L, c->health);
    return 0;
}

bool adapter_health(const struct region_table *t, const struct endpoint_spec *e, const struct response *r,
                    struct health *out, struct err *err)
{
    struct adapter *ad = adapter_of(t, e);
    struct err unused;
    struct health health = {0};
    struct call c = {.ad = ad, .err = err ? err : &unused, .health = &health};
    if (!adapter_alive(ad, c.err))
        return false;
    ad->reading = r;
    if (ad->health == LUA_NOREF)
        ad->reading = NULL;
    else if (!run(&c, run_health, c.err))
        return err_prefix(c.err, "adapter %s: ", ad->name);
    *out = health;
    return true;
}
