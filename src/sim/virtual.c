#include "sim/virtual.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "engine/timers.h"
#include "sim/plain.h"
#include "sim/replies.h"
#include "sim/results.h"

enum { PROMPT_BYTES = 64 << 20, REFUSAL_BYTES = 512 };

struct virtual {
    struct virtual_options options;
    struct fleet_spec spec;        /* the options' with their seed */
    struct fleet *fleet;
    struct engine *engine;
    int64_t now_us, wake_us;
    uint64_t recorded, committing, durable;
    int64_t commit_began_us, commit_ends_us; /* NEVER_US: none is under way */
    struct timers without_fleet;   /* of struct call: answered without it */
    uint64_t refused;
    const struct endpoint_spec *first_refused;
    char refusal[REFUSAL_BYTES];
};

/* What exchange->wire points to. */
struct call {
    struct timer timer;            /* armed without the fleet */
    struct virtual *world;
    struct exchange *exchange;
    struct fleet_exchange *asked;  /* NULL: reply is all it gets */
    struct reply reply;
    bool unreachable;
};

/* ---- clock ---- */

static int64_t now(void *ctx)
{
    struct virtual *v = ctx;
    return v->now_us;
}

static void wake_at(void *ctx, int64_t at_us)
{
    struct virtual *v = ctx;
    if (at_us < v->wake_us)
        v->wake_us = at_us;
}

static double unix_s(const struct virtual *v)
{
    return v->options.unix_zero_s + (double)v->now_us / (double)SECOND_US;
}

static int64_t fleet_us(const struct virtual *v, int64_t at_us)
{
    return llround((double)(at_us - VIRTUAL_START_US) * v->options.speed);
}

/* The first instant of the engine's at which it has come for the fleet. */
static int64_t engine_us(const struct virtual *v, int64_t fleet_at_us)
{
    double wait_us = (double)fleet_at_us / v->options.speed;
    if (fleet_at_us == NEVER_US || wait_us > (double)(NEVER_US / 2))
        return NEVER_US;
    int64_t at_us = VIRTUAL_START_US + (int64_t)wait_us;
    while (fleet_us(v, at_us) < fleet_at_us)
        at_us++;
    return at_us;
}

/* ---- recorder ---- */

static void begin_commit(struct virtual *v)
{
    v->commit_began_us = v->now_us;
    v->commit_ends_us = v->now_us + v->options.commit_us;
    v->committing = v->recorded;
}

static uint64_t record(struct virtual *v)
{
    v->recorded++;
    if (v->commit_ends_us == NEVER_US || v->commit_began_us == v->now_us) /* what comes at once goes together */
        begin_commit(v);
    return v->recorded;
}

#define RECORDER(name)                                          \
    static uint64_t name(void *ctx, const struct name *row)     \
    {                                                           \
        (void)row;                                              \
        return record(ctx);                                     \
    }

RECORDER(attempt_began)
RECORDER(attempt_hopped)
RECORDER(attempt_ended)
RECORDER(rows_closed)
RECORDER(job_changed)

static void commit_if_due(struct virtual *v)
{
    if (v->commit_ends_us > v->now_us)
        return;
    v->durable = v->committing;
    v->commit_ends_us = NEVER_US;
    if (v->recorded > v->durable)
        begin_commit(v);
    engine_durable(v->engine, v->durable);
}

/* ---- transport: sending ---- */

static void answered_without_fleet(struct timer *t);

static struct call *call_new(struct virtual *v, struct exchange *x)
{
    struct call *c = mem_zalloc(sizeof *c);
    c->world = v;
    c->exchange = x;
    c->timer.fire = answered_without_fleet;
    reply_init(&c->reply);
    x->wire = c;
    return c;
}

static void call_free(struct call *c)
{
    c->exchange->wire = NULL;
    timer_off(&c->world->without_fleet, &c->timer);
    reply_done(&c->reply);
    free(c);
}

static void note_refusal(struct virtual *v, const struct call *c)
{
    if (v->refused++)
        return;
    struct str told = buf_str(&c->reply.body);
    v->first_refused = c->exchange->endpoint;
    snprintf(v->refusal, sizeof v->refusal, "%.*s", (int)told.len, told.ptr);
}

static void post(struct virtual *v, struct call *c, size_t endpoint)
{
    const struct exchange *x = c->exchange;
    struct buf prompt;
    buf_init(&prompt, PROMPT_BYTES);
    if (reply_read_request(&v->spec.endpoints[endpoint], x->endpoint->sent_as, x->body, &prompt, &c->reply))
        c->asked = fleet_post(v->fleet, endpoint, buf_str(&prompt), c);
    else
        note_refusal(v, c);
    buf_done(&prompt);
}

/* A result URL ends with its id, whatever the adapter made of the rest. */
static const char *id_in(const char *url)
{
    const char *id = url;
    for (; *url; url++)
        if (strchr("/=", *url))
            id = url + 1;
    return id;
}

static void get(struct virtual *v, struct call *c, size_t endpoint)
{
    size_t owner;
    uint64_t result = c->exchange->url ? result_id_read(0, id_in(c->exchange->url)) : 0;
    enum fleet_result_state state = result ? fleet_result(v->fleet, result, &owner) : RESULT_UNKNOWN;
    if (state == RESULT_KNOWN && owner == endpoint)
        c->asked = fleet_get(v->fleet, result, c);
    else
        reply_lost_result(&v->spec.endpoints[endpoint], state, &c->reply);
}

static void send_exchange(void *ctx, struct exchange *x)
{
    struct virtual *v = ctx;
    struct call *c = call_new(v, x);
    size_t endpoint;
    if (v->options.takes_us) {
        buf_adds(&c->reply.body, PLAIN_ANSWER);
        timer_set(&v->without_fleet, &c->timer, v->now_us + v->options.takes_us(v->options.ctx, x));
        return;
    }
    fleet_advance(v->fleet, fleet_us(v, v->now_us));
    if (x->health) {
        reply_health(&v->spec, "", unix_s(v), &c->reply);
        timer_set(&v->without_fleet, &c->timer, v->now_us);
        return;
    }
    c->unreachable = x->other_origin || !fleet_find(v->fleet, str_from(x->endpoint->id), &endpoint);
    if (!c->unreachable)
        x->post ? post(v, c, endpoint) : get(v, c, endpoint);
    if (!c->asked)
        timer_set(&v->without_fleet, &c->timer, v->now_us);
}

static void cancel_exchange(void *ctx, struct exchange *x)
{
    struct virtual *v = ctx;
    struct call *c = x->wire;
    assert(c);
    if (c->asked) {
        fleet_advance(v->fleet, fleet_us(v, v->now_us));
        fleet_close(v->fleet, c->asked);
    }
    call_free(c);
}

/* ---- transport: what comes back ---- */

static enum wire wire_of(const struct call *c)
{
    if (c->unreachable)
        return WIRE_CONNECT;
    if (c->reply.how != REPLY_WHOLE)
        return WIRE_LOST;
    return c->reply.body.len > c->exchange->endpoint->max_body_bytes ? WIRE_TOO_LARGE : WIRE_ANSWERED;
}

static const char *describe(enum wire wire)
{
    switch (wire) {
    case WIRE_CONNECT:
        return "the fleet does not have this endpoint";
    case WIRE_LOST:
        return "the connection was closed before the answer was there";
    case WIRE_TOO_LARGE:
        return "the answer is larger than max_body";
    default:
        return NULL;
    }
}

/* The endpoint's own URL, with the id where the fleet's server has it. */
static void add_result_url(const struct exchange *x, const char *id, struct buf *out)
{
    const char *url = x->endpoint->url;
    buf_add(out, url, strcspn(url, "?#"));
    buf_addf(out, "?" RESULT_QUERY "=%s", id);
}

static void report(struct call *c, const char *location)
{
    struct virtual *v = c->world;
    struct exchange *x = c->exchange;
    struct reply reply = c->reply;
    char seconds[RETRY_AFTER_BYTES];
    enum wire wire = wire_of(c);
    bool came = wire != WIRE_CONNECT && reply.how != REPLY_RESET;
    struct response response = {
        .wire = wire,
        .detail = describe(wire),
        .http_status = came ? reply.status : 0,
        .body = buf_str(&reply.body),
        .location = location,
        .retry_after = reply_retry_after(&reply, v->options.speed, seconds),
        .first_byte_us = came ? v->now_us : 0,
        .bytes_in = reply.body.len,
        .bytes_out = x->body.len,
    };
    if (wire == WIRE_TOO_LARGE)
        response.body.len = x->endpoint->max_body_bytes;
    reply_init(&c->reply); /* the engine may send the same exchange again before it returns */
    call_free(c);
    engine_exchange_ended(v->engine, x, &response);
    reply_done(&reply);
}

static void take_ended(struct virtual *v)
{
    struct fleet_ended ended;
    while (fleet_take(v->fleet, &ended)) {
        struct call *c = ended.user;
        char id[RESULT_ID_BYTES];
        struct buf location;
        if (v->options.ended)
            v->options.ended(v->options.ctx, c->exchange, &ended);
        result_id_write(0, ended.result, id);
        buf_init(&location, 65536);
        reply_write(&v->spec, &ended, id, unix_s(v), &c->reply);
        if (c->reply.result_url)
            add_result_url(c->exchange, id, &location);
        report(c, c->reply.location ? c->reply.location : location.len ? buf_str(&location).ptr : NULL);
        buf_done(&location);
    }
}

static void answered_without_fleet(struct timer *t)
{
    report(container_of(t, struct call, timer), NULL);
}

/* ---- time goes on ---- */

int64_t virtual_now_us(const struct virtual *v)
{
    return v->now_us;
}

int64_t virtual_next_us(const struct virtual *v)
{
    int64_t next_us = engine_us(v, fleet_next_us(v->fleet));
    if (v->wake_us < next_us)
        next_us = v->wake_us;
    if (v->commit_ends_us < next_us)
        next_us = v->commit_ends_us;
    if (timers_next_us(&v->without_fleet) < next_us)
        next_us = timers_next_us(&v->without_fleet);
    return next_us > v->now_us ? next_us : v->now_us;
}

void virtual_go(struct virtual *v, int64_t at_us)
{
    assert(at_us >= v->now_us && at_us <= virtual_next_us(v) && at_us != NEVER_US);
    v->now_us = at_us;
    commit_if_due(v);
    timers_fire(&v->without_fleet, v->now_us);
    fleet_advance(v->fleet, fleet_us(v, v->now_us));
    take_ended(v);
    v->wake_us = NEVER_US;
    engine_turn(v->engine);
}

bool virtual_step(struct virtual *v)
{
    int64_t next_us = virtual_next_us(v);
    if (next_us == NEVER_US)
        return false;
    virtual_go(v, next_us);
    return true;
}

/* ---- life ---- */

struct virtual *virtual_new(const struct virtual_options *o)
{
    struct virtual *v = mem_zalloc(sizeof *v);
    assert(o->speed > 0 && o->commit_us >= 0 && !o->fleet == !!o->takes_us);
    v->options = *o;
    if (o->fleet)
        v->spec = *o->fleet;
    v->spec.seed = o->seed;
    v->fleet = fleet_new(&v->spec);
    v->now_us = VIRTUAL_START_US;
    v->wake_us = v->commit_ends_us = NEVER_US;
    return v;
}

void virtual_free(struct virtual *v)
{
    if (!v)
        return;
    fleet_free(v->fleet);
    timers_done(&v->without_fleet);
    free(v);
}

void virtual_ports(struct virtual *v, struct engine_ports *out)
{
    out->clock = (struct clock_port){v, v->options.unix_zero_s, now, wake_at};
    out->transport = (struct transport_port){v, send_exchange, cancel_exchange};
    out->recorder = (struct recorder_port){v, attempt_began, attempt_hopped, attempt_ended, rows_closed, job_changed};
}

void virtual_attach(struct virtual *v, struct engine *engine)
{
    v->engine = engine;
}

const struct fleet *virtual_fleet(const struct virtual *v)
{
    return v->fleet;
}

uint64_t virtual_refused(const struct virtual *v, const struct endpoint_spec **first, const char **told)
{
    *first = v->first_refused;
    *told = v->refusal;
    return v->refused;
}
