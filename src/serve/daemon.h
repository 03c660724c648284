/* daemon.h -- canvass serve: one session for many jobs, and an HTTP API to it. */
#ifndef SERVE_DAEMON_H
#define SERVE_DAEMON_H

#include "base/err.h"
#include "core/region_table.h"
#include "script/limits.h"

struct daemon_options {
    const char *db, *jobs_folder, *ca_file, *secrets_file;
    const char *questions;             /* the list that a specification's ids are looked up in; NULL: none */
    const char *address;               /* an IP literal */
    uint16_t port;                     /* 0: any free one */
    const char *port_file;             /* NULL: none; else the port is written there once it is served */
    const char *token;                 /* NULL: token_file */
    const char *token_file;            /* NULL: one is made beside the database */
    const char *const *hosts;          /* further names by which browsers reach it */
    size_t host_count;
    unsigned at_once;                  /* jobs that run side by side */
    bool allow_scripts;                /* clients may send Lua to run */
    struct script_limits limits;
};

/* Serves until SIGTERM or SIGINT: the first lets what is in flight end, the second does not. Jobs that have not ended
 * stay open, and are gone on with by the next start. Logs; false when it could not start, or the store failed. */
bool daemon_run(struct region_table *table, const struct daemon_options *o, struct err *err);

#endif
