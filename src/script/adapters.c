#include "script/adapters.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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
    bool writing;                    /* it is the body's JSON that raised */
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

static struct adapter_cell *cell_of(const struct ask *ask)
{
    struct adapters *a = ask->table->adapters;
    return &a->cells[ask->endpoint->index];
}

/* The table at `index` becomes the body. What cannot be written raises. */
static void write_body(lua_State *L, struct call *c, int index, struct buf *body, struct json_holes *holes)
{
    c->writing = true;
    json_add(L, index, body, true, holes);
    c->writing = false;
    c->ok = true;
}

static bool too_large(struct call *c, const struct ask *ask)
{
    return err_set(c->err, ERR_CONFIG,
                   "adapter %s makes no request for %s: it would be larger than %zu bytes: shorten the question",
                   c->ad->name, ask->endpoint->id, c->body->max);
}

static int run_prepare(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct adapter *ad = c->ad;
    struct adapter_cell *cell = cell_of(ad->ask);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->prepare);
    adapter_push_ask(L, ad);
    cell->body_state = BODY_UNKNOWN; /* unless this call ends well */
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        cell->body_state = BODY_EACH;
        c->ok = true;
    } else if (lua_type(L, -1) == LUA_TTABLE) {
        buf_clear(&cell->body);
        cell->holes.count = 0;
        write_body(L, c, lua_gettop(L), &cell->body, &cell->holes);
        cell->body_state = BODY_PREPARED;
    } else {
        c->ok = err_set(c->err, ERR_CONFIG, "prepare() returns a %s (adapter %s): return the body as a table, or nil",
                        luaL_typename(L, -1), ad->name);
    }
    return 0;
}

static int run_request(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct adapter *ad = c->ad;
    struct str text;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ad->request);
    adapter_push_ask(L, ad);
    lua_call(L, 1, 2); /* call body reason */
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        text = script_str(L, 2);
        c->ok = buf_add(c->body, text.ptr, text.len) || too_large(c, ad->ask);
        break;
    case LUA_TTABLE:
        write_body(L, c, 2, c->body, NULL);
        break;
    case LUA_TNIL:
        text.ptr = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : "it returns nil: mend the adapter";
        c->ok = err_set(c->err, ERR_CONFIG, "adapter %s cannot ask %s: %s", ad->name, ad->ask->endpoint->id, text.ptr);
        break;
    default:
        c->ok =
            err_set(c->err, ERR_CONFIG, "request() returns a %s (adapter %s): return the body as a table or as text",
                    luaL_typename(L, 2), ad->name);
    }
    return 0;
}

static bool run_asking(struct call *c, const struct ask *ask, lua_CFunction function)
{
    c->ad->ask = ask;
    if (run(c, function, c->err))
        return c->ok;
    if (c->writing)
        return err_prefix(c->err, "adapter %s makes no request for %s: ", c->ad->name, ask->endpoint->id);
    return err_prefix(c->err, "adapter %s: ", c->ad->name);
}

static bool prepare(struct call *c, const struct ask *ask)
{
    const struct adapter_cell *cell = cell_of(ask);
    if (c->ad->prepare == LUA_NOREF || (cell->body_state != BODY_UNKNOWN && adapter_cell_fits(c->ad, cell, ask)))
        return true;
    c->ad->preparing = true;
    bool ok = run_asking(c, ask, run_prepare);
    c->ad->preparing = false;
    return ok;
}

static bool port_request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    (void)ctx;
    struct adapter *ad = adapter_of(ask->table, ask->endpoint);
    struct call c = {.ad = ad, .err = err, .body = body};
    if (!adapter_alive(ad, c.err) || !prepare(&c, ask))
        return false;
    const struct adapter_cell *cell = cell_of(ask);
    if (ad->prepare == LUA_NOREF || cell->body_state == BODY_EACH)
        return run_asking(&c, ask, run_request);
    json_fill(body, buf_str(&cell->body), &cell->holes, ask->question->prompt);
    return !body->full || too_large(&c, ask);
}

/* ---- answer ---- */

static void say(struct adapter *ad, struct answer *out, enum answer_kind kind, const char *fmt, va_list args)
    PRINTF_LIKE(4, 0);

static void say(struct adapter *ad, struct answer *out, enum answer_kind kind, const char *fmt, va_list args)
{
    char text[ADAPTER_NOTE_BYTES / 2];
    vsnprintf(text, sizeof text, fmt, args);
    buf_clear(&ad->note);
    buf_adds(&ad->note, text);
    *out = (struct answer){.kind = kind, .error = buf_str(&ad->note), .prompt_tokens = -1, .completion_tokens = -1,
                           .wait_us = -1};
}

/* The endpoint is at fault: there is nothing in its answer that can be read. */
static void unreadable(struct adapter *ad, struct answer *out, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void unreadable(struct adapter *ad, struct answer *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(ad, out, ANSWER_UNREADABLE, fmt, args);
    va_end(args);
}

/* The adapter is at fault. It would be so the next time too, and each time is paid for: not to be asked again. */
static void blame(struct adapter *ad, struct answer *out, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void blame(struct adapter *ad, struct answer *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(ad, out, ANSWER_ERROR, fmt, args);
    va_end(args);
    out->class = CLASS_CONFIG;
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

static const struct str part_names[PART_COUNT] = {
    {"text", 4}, {"error", 5}, {"class", 5}, {"transient", 9}, {"poll", 4}, {"wait", 4},
    {"model", 5}, {"region", 6}, {"prompt_tokens", 13}, {"completion_tokens", 17},
};

/* Of the key below the value on top. PART_COUNT: none. */
static enum part part_of(lua_State *L)
{
    struct str key = lua_type(L, -2) == LUA_TSTRING ? script_str(L, -2) : STR("");
    enum part part = 0;
    while (part < PART_COUNT && !str_equal(part_names[part], key))
        part++;
    return part;
}

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
    *out = script_str(L, -1);
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

static void take_unknown(lua_State *L, struct adapter *ad, enum part part, struct answer *out)
{
    if (part == PART_COUNT)
        blame(ad, out,
              "answer() returns an unknown \"%.60s\" (adapter %s): it may return text, error or poll, and what goes "
              "with them",
              lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2), ad->name);
    else if (part == PART_POLL && lua_type(L, -1) == LUA_TSTRING)
        unreadable(ad, out, "the endpoint gives \"%.200s\" to ask for the answer, which is no URL of http or https "
                   "(adapter %s)", lua_tostring(L, -1), ad->name);
    else
        blame(ad, out,
              "answer() returns a %s in \"%s\" that cannot be one (adapter %s): see the adapters that come with "
              "canvass",
              luaL_typename(L, -1), part_names[part].ptr, ad->name);
}

/* The answer's table is on top of the stack and kept in the registry, so its strings stay. */
static void take_answer(lua_State *L, struct adapter *ad, struct answer *out)
{
    unsigned seen = 0;
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        enum part part = part_of(L);
        if (part == PART_COUNT || !take_part(L, ad, part, out)) {
            take_unknown(L, ad, part, out);
            return;
        }
        seen |= 1u << part;
    }
    bool text = seen & 1u << PART_TEXT, error = seen & 1u << PART_ERROR, poll = seen & 1u << PART_POLL;
    int outcomes = text + error + poll;
    if (outcomes != 1)
        blame(ad, out, "answer() returns %s (adapter %s): return exactly one of text, error and poll",
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
        blame(ad, c->answer, "answer() returns a %s (adapter %s): return a table, or nil", luaL_typename(L, -1),
              ad->name);
    }
    return 0;
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
    struct health health = {.expected = ad->health != LUA_NOREF};
    struct call c = {.ad = ad, .err = err, .health = &health};
    if (!adapter_alive(ad, c.err))
        return false;
    ad->reading = r;
    if (!health.expected)
        ad->reading = NULL;
    else if (!run(&c, run_health, c.err))
        return err_prefix(c.err, "adapter %s: ", ad->name);
    *out = health;
    return true;
}

bool health_tells(const struct health *h, const struct response *r)
{
    bool told = h->readable && (h->status.len || h->region.len || h->model_count);
    return told || !h->expected || !r->body.len;
}

static bool says_well(struct str status)
{
    static const char *const words[] = {"healthy", "ok", "ready", "up", "pass"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (status.len == strlen(words[i]) && strncasecmp(status.ptr, words[i], status.len) == 0)
            return true;
    return status.len == 0;
}

/* For a warm-up: well, not yet, or never. */
static void read_health(const struct ask *ask, const struct response *r, struct answer *out)
{
    struct err err;
    struct health health;
    int status = r->http_status;
    if (status >= 400) {
        out->kind = ANSWER_ERROR;
        if (status < 500 && status != 408 && status != 429)
            out->class = status == 404 ? CLASS_NOT_FOUND : CLASS_HTTP_CLIENT;
    } else if (!adapter_health(ask->table, ask->endpoint, r, &health, &err)) {
        blame(adapter_of(ask->table, ask->endpoint), out, "%s", err.text);
    } else {
        out->kind = health_tells(&health, r) && says_well(health.status) ? ANSWER_TEXT : ANSWER_POLL;
    }
}

/* ---- the port ---- */

static void port_read(void *ctx, const struct ask *ask, const struct response *response, struct answer *out)
{
    (void)ctx;
    struct err err;
    struct adapter *ad = adapter_of(ask->table, ask->endpoint);
    struct call c = {.ad = ad, .err = &err, .answer = out};
    *out = (struct answer){.prompt_tokens = -1, .completion_tokens = -1, .wait_us = -1};
    if (ask->warm == WARM_HEALTH) {
        read_health(ask, response, out);
        return;
    }
    if (!adapter_alive(ad, &err)) {
        blame(ad, out, "%s", err.text);
        return;
    }
    ad->ask = ask;
    ad->reading = response;
    if (!run(&c, run_read, &err))
        blame(ad, out, "adapter %s: %s", ad->name, err.text);
}

void adapters_port(struct adapter_port *out)
{
    *out = (struct adapter_port){.request = port_request, .read = port_read};
}
