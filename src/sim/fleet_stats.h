/* fleet_stats.h -- what a served fleet has seen, as JSON. */
#ifndef SIM_FLEET_STATS_H
#define SIM_FLEET_STATS_H

#include <stdint.h>

#include "base/buf.h"
#include "sim/fleet.h"
#include "sim/request_log.h"

enum { CREDENTIAL_PATHS_MAX = 64, CREDENTIAL_PATH_BYTES = 256 };

/* Requests that came with a credential, by path: none should be found where none was meant to go. */
struct credentials_seen {
    uint64_t total, *by_endpoint;
    struct { char path[CREDENTIAL_PATH_BYTES]; uint64_t count; } paths[CREDENTIAL_PATHS_MAX]; /* the first that many */
    size_t path_count;
};

struct fleet_stats {
    const struct fleet_spec *spec;
    const struct fleet *fleet;
    const struct credentials_seen *credentials;
    const struct request_log *log; /* NULL: leave it out */
    uint64_t rejected;             /* asked in a way the endpoint does not understand: not among the posts */
    uint64_t lost_results;         /* GETs on results that are not there */
    uint64_t health;
    double speed;
};

void credentials_count(struct credentials_seen *c, const char *path);
void fleet_stats_write(const struct fleet_stats *stats, struct buf *json_out);
/* The totals in one line of words, without a newline. */
void fleet_stats_sentence(const struct fleet_stats *stats, struct buf *out);

#endif
