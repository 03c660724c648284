/* fleet_server.h -- a simulated fleet served over HTTP on loopback, time scaled.
 *
 * /REGION/MODEL asks, /REGION/health tells, /result/ID is a result URL, /stats counts, /reset starts anew. */
#ifndef SIM_FLEET_SERVER_H
#define SIM_FLEET_SERVER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/fleet_spec.h"

struct loop;
struct fleet_server;

struct fleet_server_options {
    const char *address;  /* "127.0.0.1" */
    uint16_t port;        /* 0: any free one */
    double speed;         /* simulated seconds per real second */
};

/* Borrows spec. */
MUST_USE struct fleet_server *fleet_server_new(struct loop *loop, const struct fleet_spec *spec,
                                               const struct fleet_server_options *o, struct err *err);
void fleet_server_free(struct fleet_server *f);
uint16_t fleet_server_port(const struct fleet_server *f);
/* A region table (Lua text) that points at the running server; times in it are scaled by speed. */
void fleet_server_table(const struct fleet_server *f, struct buf *out);
void fleet_server_stats(const struct fleet_server *f, struct buf *json_out); /* what /stats answers */
void fleet_server_sentence(const struct fleet_server *f, struct buf *out);   /* its totals in one line of words */

#endif
