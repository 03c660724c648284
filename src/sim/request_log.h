/* request_log.h -- the last requests a simulated fleet saw, by its own clock: what tests of order look at. */
#ifndef SIM_REQUEST_LOG_H
#define SIM_REQUEST_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { REQUEST_LOG_MAX = 10000, REQUEST_HEAD_BYTES = 64 };

struct request_record {
    size_t endpoint;
    bool get;
    int64_t arrived_us, ended_us; /* ended_us: NEVER_US while it is open */
    const char *ended;            /* a static word; "open" until then */
    char head[REQUEST_HEAD_BYTES]; /* of the prompt; empty for GETs */
};

struct request_log {
    struct request_record *records; /* a ring */
    uint64_t count;                 /* of all requests since the start */
};

void request_log_init(struct request_log *l);
void request_log_done(struct request_log *l);
uint64_t request_log_begin(struct request_log *l, size_t endpoint, bool get, struct str prompt, int64_t now_us);
/* A record that has been overwritten since is left alone. */
void request_log_end(struct request_log *l, uint64_t number, const char *how, int64_t now_us);
/* The i-th of those still there, oldest first; NULL past the last. */
const struct request_record *request_log_at(const struct request_log *l, size_t i);

#endif
