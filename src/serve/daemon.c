#include "serve/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "host/files.h"
#include "host/logging.h"
#include "serve/internal.h"

enum { CONNECTIONS_MAX = 1024 };
#define IDLE_US (60 * SECOND_US)     /* between requests, and while an answer is not taken */
#define REQUEST_US (30 * SECOND_US)  /* from the first byte to the last of a request */

/* ---- telling the service manager (sd_notify(3): a datagram to the socket it names) ---- */

static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof at.sun_path)
        return;
    memcpy(at.sun_path, path, strlen(path));
    if (*path == '@') /* an abstract name */
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&at,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}

/* ---- ending ---- */

static void drain_is_over(struct loop_hook *hook)
{
    struct daemon *d = container_of(hook, struct daemon, watch);
    if (d->draining && engine_in_flight(session_engine(d->session), NULL) == 0)
        loop_stop(d->loop);
}

static void signalled(void *ctx, int signum)
{
    struct daemon *d = ctx;
    (void)signum;
    if (d->draining) {
        log_event(LOG_WARN, "ending now: what is in flight is cut off, and the next start knows how far each had come",
                  LOG_I("in_flight", engine_in_flight(session_engine(d->session), NULL)));
        loop_stop(d->loop);
        return;
    }
    d->draining = true;
    notify("STOPPING=1");
    log_event(LOG_INFO, "ending: nothing new is sent, what is in flight is waited for; a second signal does not wait. "
              "The next start goes on with all jobs",
              LOG_I("in_flight", engine_in_flight(session_engine(d->session), NULL)));
    engine_drain(session_engine(d->session));
}

static void hung_up(void *ctx, int signum)
{
    struct daemon *d = ctx;
    (void)signum;
    log_event(LOG_INFO, "loading the region table", LOG_S("file", live_table_path(d->live)));
    live_table_change(d->live, &(struct table_wish){.author = NULL}, NULL, NULL);
}

/* ---- what the session tells ---- */

static void observe(void *ctx, const struct session_job *job, const struct event *event)
{
    struct daemon *d = ctx;
    logging_event(event);
    metrics_engine(d->metrics, event);
    events_engine(d->events, job ? session_job_user(job) : NULL, event);
}

static void store_failed(void *ctx, const struct err *err)
{
    struct daemon *d = ctx;
    log_event(LOG_ERROR, "the database failed: nothing more is sent", LOG_S("error", err->text));
    d->failed = true;
    d->failure = *err;
    d->failure.code = ERR_STORE;
    loop_stop(d->loop);
}

static void store_locked(void *ctx, int64_t since_us)
{
    const struct daemon *d = ctx;
    if (since_us)
        log_event(LOG_WARN, "another program keeps the database locked: nothing more is sent, and what comes back is "
                  "kept in memory, until it can be written: end that program (fuser finds it)",
                  LOG_S("database", d->options->db));
    else
        log_event(LOG_WARN, "the database can be written again", LOG_S("database", d->options->db));
}

/* ---- beginning ---- */

static bool write_port(const struct daemon *d, struct err *err)
{
    char text[16];
    snprintf(text, sizeof text, "%u\n", http_server_port(d->http));
    return !d->options->port_file || file_replace(d->options->port_file, text, err);
}

static bool listen_on(struct daemon *d, struct err *err)
{
    const struct daemon_options *o = d->options;
    d->http = http_server_new(d->loop,
                              &(struct http_server_options){
                                  .address = o->address, .port = o->port, .max_body_bytes = BODY_MAX_BYTES,
                                  .max_connections = CONNECTIONS_MAX, .idle_us = IDLE_US, .request_us = REQUEST_US,
                                  .handle = handle_call, .too_large = handle_too_large,
                                  .abandoned = handle_abandoned, .ctx = d},
                              err);
    return d->http && write_port(d, err);
}

/* The dashboard's address goes to a terminal once, with the token that it needs; a log has only where that stands. */
static void say_where(const struct daemon *d)
{
    char address[160];
    bool v6 = strchr(d->options->address, ':');
    snprintf(address, sizeof address, "http://%s%s%s:%u/", v6 ? "[" : "", d->options->address, v6 ? "]" : "",
             http_server_port(d->http));
    log_event(LOG_INFO, "serving; Ctrl-C ends it", LOG_S("address", address), LOG_S("database", d->options->db),
              LOG_S("token_file", d->guard.token_path));
    if (d->guard.token_path && isatty(2))
        fprintf(stderr, "dashboard: %s#token=%s\n", address, d->guard.token);
    notify("READY=1");
}

static bool begin(struct daemon *d, struct region_table *table, struct err *err)
{
    const struct daemon_options *o = d->options;
    struct session_options options = {
        .db = o->db, .ca_file = o->ca_file, .at_once = o->at_once,
        .watcher = {.ctx = d, .accepted = run_accepted, .started = run_started, .refused = run_refused,
                    .ended = run_ended, .event = observe, .control = run_control, .store_failed = store_failed,
                    .store_locked = store_locked},
    };
    d->session = session_new(table, &options, err);
    if (!d->session)
        return false;
    d->loop = session_loop(d->session);
    d->events = events_new(d->loop);
    d->metrics = metrics_new(d);
    d->live = live_table_new(d->session, &(struct live_table_options){
                                             .path = table->path, .secrets_file = o->secrets_file,
                                             .limits = o->limits, .changed = regions_changed, .ctx = d});
    loop_hook_add(d->loop, &d->watch, drain_is_over);
    return listen_on(d, err);
}

bool daemon_run(struct region_table *table, const struct daemon_options *o, struct err *err)
{
    struct daemon d = {.options = o, .started_at = unix_now_s()};
    list_init(&d.runs);
    list_init(&d.reports);
    list_init(&d.watch.link);
    bool ok = guard_init(&d.guard, o, err) && begin(&d, table, err);
    if (ok) {
        struct loop_signal *on_int = loop_signal_new(d.loop, SIGINT, signalled, &d);
        struct loop_signal *on_term = loop_signal_new(d.loop, SIGTERM, signalled, &d);
        struct loop_signal *on_hangup = loop_signal_new(d.loop, SIGHUP, hung_up, &d);
        say_where(&d);
        runs_take_all(&d);
        loop_run(d.loop);
        loop_signal_free(on_int);
        loop_signal_free(on_term);
        loop_signal_free(on_hangup);
    }
    if (d.session)
        loop_hook_remove(&d.watch);
    events_close(d.events);
    metrics_stop(d.metrics);
    live_table_stop(d.live);
    http_server_free(d.http); /* whoever waits is told by the closed connection */
    reports_close(&d);
    struct err close_err;
    if (!session_free(d.session, &close_err) && ok && !d.failed) {
        d.failed = true;
        d.failure = close_err;
        d.failure.code = ERR_STORE;
    }
    runs_close(&d);
    for (size_t i = 0; i < ENDED_JOBS; i++)
        free(d.ended[i].json);
    events_free(d.events);
    metrics_free(d.metrics);
    live_table_free(d.live);
    guard_done(&d.guard);
    if (d.failed)
        *err = d.failure;
    return ok && !d.failed;
}
