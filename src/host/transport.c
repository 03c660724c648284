#include "host/transport.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "host/redact.h"
#include "net/http_client.h"

/* Names may be longer than the secrets they stand for. */
#define BODY_BYTES_MAX ((size_t)2 << 30)

struct known_table {
    struct list link;
    struct region_table *table;
    struct http_target *targets[]; /* by endpoint index */
};

struct transport {
    struct http_client *client;
    struct engine *engine;
    struct list tables;            /* newest last */
    void (*reported)(void *ctx);
    void *ctx;
};

/* What exchange->wire points to. */
struct wire_call {
    struct transport *transport;
    struct exchange *exchange;
    struct http_request *request;
};

struct transport *transport_new(struct http_client *client, void (*reported)(void *ctx), void *ctx)
{
    struct transport *t = mem_zalloc(sizeof *t);
    *t = (struct transport){.client = client, .reported = reported, .ctx = ctx};
    list_init(&t->tables);
    return t;
}

static void known_table_free(struct known_table *k)
{
    for (size_t i = 0; i < k->table->endpoint_count; i++)
        if (k->targets[i])
            http_target_free(k->targets[i]);
    region_table_unref(k->table);
    free(k);
}

void transport_free(struct transport *t)
{
    if (!t)
        return;
    while (!list_empty(&t->tables))
        known_table_free(container_of(list_pop(&t->tables), struct known_table, link));
    free(t);
}

static struct http_target *make_target(struct transport *t, const struct endpoint_spec *e, struct err *err)
{
    struct http_header *headers = mem_array(NULL, e->header_count, sizeof *headers);
    for (size_t i = 0; i < e->header_count; i++)
        headers[i] = (struct http_header){e->headers[i].name, e->headers[i].value};
    struct http_target *target = http_target_new(t->client,
                                                 &(struct http_target_options){
                                                     .url = e->url,
                                                     .headers = headers,
                                                     .header_count = e->header_count,
                                                     .proxy = e->proxy,
                                                     .connect_us = e->connect_us,
                                                     .max_body_bytes = e->max_body_bytes,
                                                 },
                                                 err);
    free(headers);
    return target;
}

bool transport_add_table(struct transport *t, struct region_table *table, struct err *err)
{
    struct known_table *k = mem_zalloc(sizeof *k + table->endpoint_count * sizeof k->targets[0]);
    k->table = region_table_ref(table);
    for (size_t i = 0; i < table->endpoint_count; i++) {
        k->targets[i] = make_target(t, &table->endpoints[i], err);
        if (!k->targets[i]) {
            known_table_free(k);
            return false;
        }
    }
    list_push(&t->tables, &k->link);
    return true;
}

void transport_sweep(struct transport *t)
{
    for (struct list *it = t->tables.next, *next; it->next != &t->tables; it = next) {
        struct known_table *k = container_of(it, struct known_table, link);
        next = it->next;
        if (k->table->refs > 1)
            continue;
        list_unlink(it);
        known_table_free(k);
    }
}

/* The engine hands over an endpoint of some table that is known; which one tells its address. */
static struct http_target *find_target(const struct transport *t, const struct endpoint_spec *e)
{
    for (struct list *it = t->tables.prev; it != &t->tables; it = it->prev) {
        struct known_table *k = container_of(it, struct known_table, link);
        if (e->index < k->table->endpoint_count && &k->table->endpoints[e->index] == e)
            return k->targets[e->index];
    }
    assert(false && "an endpoint of a table that was never added");
    return NULL;
}

static void ended(void *ctx, const struct response *r)
{
    struct wire_call *call = ctx;
    struct transport *t = call->transport;
    struct exchange *x = call->exchange;
    struct response clean = *r;
    struct buf body, location;
    x->wire = NULL;
    free(call);
    buf_init(&body, BODY_BYTES_MAX);
    buf_init(&location, BODY_BYTES_MAX);
    clean.body = redact(x->endpoint, r->body, &body);
    if (r->location)
        clean.location = redact(x->endpoint, str_from(r->location), &location).ptr;
    engine_exchange_ended(t->engine, x, &clean);
    buf_done(&body);
    buf_done(&location);
    t->reported(t->ctx);
}

static void send_exchange(void *ctx, struct exchange *x)
{
    struct transport *t = ctx;
    struct wire_call *call = mem_alloc(sizeof *call);
    *call = (struct wire_call){.transport = t, .exchange = x};
    x->wire = call;
    struct buf scratch;
    buf_init(&scratch, BODY_BYTES_MAX);
    const char *url = x->url;
    if (url && !x->other_origin)
        url = restore_secrets(x->endpoint, str_from(url), &scratch).ptr;
    call->request = http_send(t->client, &(struct http_send){
                                             .target = find_target(t, x->endpoint),
                                             .url = url,
                                             .post = x->post,
                                             .without_headers = x->other_origin,
                                             .body = x->body,
                                             .trace_id = x->trace_id,
                                             .ended = ended,
                                             .ctx = call,
                                         });
    buf_done(&scratch);
}

static void cancel_exchange(void *ctx, struct exchange *x)
{
    (void)ctx;
    struct wire_call *call = x->wire;
    assert(call);
    http_cancel(call->request);
    x->wire = NULL;
    free(call);
}

void transport_port(struct transport *t, struct transport_port *out)
{
    *out = (struct transport_port){.ctx = t, .send = send_exchange, .cancel = cancel_exchange};
}

void transport_attach(struct transport *t, struct engine *engine)
{
    t->engine = engine;
}
