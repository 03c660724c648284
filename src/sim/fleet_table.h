/* fleet_table.h -- a region table (Lua) that points at a served fleet. */
#ifndef SIM_FLEET_TABLE_H
#define SIM_FLEET_TABLE_H

#include "base/buf.h"
#include "core/fleet_spec.h"

/* base_url: "http://127.0.0.1:9100". Every time but `connect` is divided by speed, prices are multiplied. */
void fleet_table_write(const struct fleet_spec *spec, const char *base_url, double speed, struct buf *out);

/* "/REGION/MODEL", percent-encoded. */
void fleet_path_write(const struct fleet_endpoint *e, struct buf *out);

#endif
