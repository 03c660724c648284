/* transport.h -- the engine's transport over real HTTP: one http_target for each endpoint of a table. */
#ifndef HOST_TRANSPORT_H
#define HOST_TRANSPORT_H

#include "base/err.h"
#include "engine/ports.h"

struct http_client;
struct transport;

/* reported() is called after each engine_exchange_ended(): a turn of the engine is due. */
struct transport *transport_new(struct http_client *client, void (*reported)(void *ctx), void *ctx);
void transport_free(struct transport *t);  /* NULL is a no-op; nothing may be in flight */

/* Makes the endpoints of a table known, before the engine may ask them. A table stays known: what was
 * started under it finishes under it. */
bool transport_add_table(struct transport *t, struct region_table *table, struct err *err);

/* Forgets the tables that nobody refers to any more, but for the newest. */
void transport_sweep(struct transport *t);

/* engine: who is told how exchanges ended. It is made from the port, so it is named later. */
void transport_port(struct transport *t, struct transport_port *out);
void transport_attach(struct transport *t, struct engine *engine);

#endif
