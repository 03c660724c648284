#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "net/http_server_internal.h"

enum {
    CONNECTION_BYTES = 16 * 1024,           /* request line and headers must fit */
    DISCARD_BYTES = 64 * 1024 * 1024,       /* of a body that is too large, read so that the 413 arrives */
    HANGUPS_AT_ONCE = 64,
};

/* ---- driving the daemon ---- */

static void run_daemon(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;
    s->inside = true;
    MHD_run(s->daemon);
    s->inside = false;
    int64_t at_us = NEVER_US;
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        at_us = loop_now_us(s->loop) + (int64_t)ms * MS_US;
    loop_timer_at(s->timer, at_us);
}

static void daemon_ready(void *ctx, int events)
{
    (void)events;
    run_daemon(ctx);
}

static void daemon_due(void *ctx)
{
    run_daemon(ctx);
}

static void daemon_resume(struct loop_task *t)
{
    run_daemon(container_of(t, struct http_server, resume));
}

/* ---- parking ---- */

int http_call_socket(const struct http_call *c)
{
    return MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* Not by reading: a client that has sent more already would hide its hang-up behind that. */
void http_call_suspend(struct http_call *c)
{
    struct epoll_event wish = {.events = EPOLLRDHUP, .data.ptr = c};
    MHD_suspend_connection(c->connection);
    list_push(&c->server->parked, &c->link);
    epoll_ctl(c->server->hangup_fd, EPOLL_CTL_ADD, http_call_socket(c), &wish);
}

void http_call_resume(struct http_call *c)
{
    epoll_ctl(c->server->hangup_fd, EPOLL_CTL_DEL, http_call_socket(c), NULL);
    list_unlink(&c->link);
    MHD_resume_connection(c->connection);
    loop_post(c->server->loop, &c->server->resume);
}

void http_call_settle(struct http_call *c, enum call_state state)
{
    assert(c->state == CALL_HANDLING || c->state == CALL_PARKED);
    bool parked = c->state == CALL_PARKED;
    c->state = state;
    if (parked) /* else the daemon waits for handle() to return */
        http_call_resume(c);
}

static void abandon(struct http_call *c)
{
    struct http_server *s = c->server;
    if (c->stream) {
        http_stream_cut(c->stream);
        return;
    }
    http_call_settle(c, CALL_DROPPED);
    if (s->options.abandoned)
        s->options.abandoned(s->options.ctx, c);
}

static void hung_up(void *ctx, int events)
{
    (void)events;
    struct http_server *s = ctx;
    struct epoll_event seen[HANGUPS_AT_ONCE];
    int count = epoll_wait(s->hangup_fd, seen, HANGUPS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        /* abandoned() of one may have answered another; the memory stays until the daemon runs. */
        struct http_call *c = seen[i].data.ptr;
        if (c->state == CALL_PARKED || (c->stream && c->stream->asleep))
            abandon(c);
    }
}

/* ---- requests that do not come ---- */

static void look_again(struct http_server *s)
{
    int64_t at_us = NEVER_US;
    if (s->options.request_us && !list_empty(&s->reading))
        at_us = container_of(s->reading.next, struct connection, link)->since_us + s->options.request_us;
    loop_timer_at(s->overdue, at_us);
}

static void owe_request(struct http_server *s, struct connection *k)
{
    k->since_us = loop_now_us(s->loop);
    list_push(&s->reading, &k->link);
    if (s->reading.next == &k->link)
        look_again(s);
}

static void close_overdue(void *ctx)
{
    struct http_server *s = ctx;
    int64_t now_us = loop_now_us(s->loop);
    while (!list_empty(&s->reading)) {
        struct connection *k = container_of(s->reading.next, struct connection, link);
        if (k->since_us + s->options.request_us > now_us)
            break;
        list_unlink(&k->link);
        shutdown(k->fd, SHUT_RDWR); /* the daemon sees it and closes */
    }
    look_again(s);
}

static struct connection *call_connection(const struct http_call *c)
{
    return MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* ---- requests ---- */

static struct http_call *call_new(struct http_server *s, struct MHD_Connection *connection, const char *method,
                                  const char *path)
{
    struct http_call *c = mem_zalloc(sizeof *c);
    c->server = s;
    c->connection = connection;
    c->method = method;
    c->path = path;
    list_init(&c->link);
    buf_init(&c->body, s->options.max_body_bytes);
    return c;
}

static void call_free(struct http_call *c)
{
    assert(list_empty(&c->link));
    if (c->response)
        MHD_destroy_response(c->response);
    http_stream_free(c->stream);
    buf_done(&c->body);
    free(c);
}

static void refuse_body(struct http_call *c)
{
    struct http_server *s = c->server;
    c->state = CALL_HANDLING;
    if (s->options.too_large)
        s->options.too_large(s->options.ctx, c);
    else
        http_reply(c, MHD_HTTP_CONTENT_TOO_LARGE, "text/plain", STR("the body is too large\n"), NULL, 0);
}

/* A client that asks first is told at once; one that sends anyway is heard out, or it would see a
 * reset instead of the answer. */
static bool is_refused_early(struct http_call *c)
{
    const char *expect = http_call_header(c, "Expect"), *length = http_call_header(c, "Content-Length");
    return expect && length && strcasecmp(expect, "100-continue") == 0 &&
           strtoull(length, NULL, 10) > c->server->options.max_body_bytes;
}

static bool take_body(struct http_call *c, const char *data, size_t len)
{
    if (buf_add(&c->body, data, len))
        return true;
    c->discarded += len;
    return c->discarded <= DISCARD_BYTES;
}

static enum MHD_Result deliver(struct http_call *c)
{
    if (c->state == CALL_ANSWERED)
        return MHD_queue_response(c->connection, c->status, c->response);
    return MHD_NO;
}

static enum MHD_Result access_handler(void *ctx, struct MHD_Connection *connection, const char *path,
                                      const char *method, const char *version, const char *data, size_t *len,
                                      void **slot)
{
    (void)version;
    struct http_server *s = ctx;
    struct http_call *c = *slot;
    if (!c) {
        *slot = c = call_new(s, connection, method, path);
        if (!is_refused_early(c))
            return MHD_YES;
        refuse_body(c);
        return deliver(c);
    }
    if (*len) {
        bool more = take_body(c, data, *len);
        *len = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (c->state == CALL_READING) {
        list_unlink(&call_connection(c)->link);
        if (c->body.full) {
            refuse_body(c);
        } else {
            c->state = CALL_HANDLING;
            s->options.handle(s->options.ctx, c);
        }
    }
    if (c->state == CALL_HANDLING) {
        c->state = CALL_PARKED;
        http_call_suspend(c);
        return MHD_YES;
    }
    return deliver(c);
}

static void request_completed(void *ctx, struct MHD_Connection *connection, void **slot,
                              enum MHD_RequestTerminationCode why)
{
    (void)connection, (void)why;
    struct http_call *c = *slot;
    *slot = NULL;
    if (!c)
        return;
    struct connection *k = call_connection(c);
    list_unlink(&k->link);
    owe_request(ctx, k);
    call_free(c);
}

/* ---- connections ---- */

static enum MHD_Result may_connect(void *ctx, const struct sockaddr *address, socklen_t len)
{
    (void)address, (void)len;
    const struct http_server *s = ctx;
    return s->connections < s->options.max_connections ? MHD_YES : MHD_NO;
}

static void connection_changed(void *ctx, struct MHD_Connection *connection, void **slot,
                               enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *k = mem_zalloc(sizeof *k);
        k->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        *slot = k;
        s->connections++;
        owe_request(s, k);
    } else {
        struct connection *k = *slot;
        s->connections--;
        list_unlink(&k->link);
        free(k);
        *slot = NULL;
    }
}

/* ---- the server ---- */

static struct MHD_Daemon *start_daemon(struct http_server *s, int listen_fd)
{
    const struct http_server_options *o = &s->options;
    int64_t idle_s = (o->idle_us + SECOND_US - 1) / SECOND_US;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, may_connect, s, access_handler, s,
        MHD_OPTION_LISTEN_SOCKET, listen_fd,
        /* may_connect() is the limit: at its own the daemon would leave clients waiting unaccepted. */
        MHD_OPTION_CONNECTION_LIMIT, o->max_connections + 1,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(idle_s < UINT32_MAX ? idle_s : 0),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, request_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, s,
        MHD_OPTION_END);
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *o, struct err *err)
{
    uint16_t port;
    int listen_fd = http_server_listen(o, &port, err);
    if (listen_fd < 0)
        return NULL;
    struct http_server *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->options = *o;
    s->options.address = NULL; /* borrowed until here */
    s->port = port;
    list_init(&s->parked);
    list_init(&s->reading);
    s->overdue = loop_timer_new(loop, close_overdue, s);
    loop_task_init(&s->resume, daemon_resume);
    s->hangup_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->hangup_fd >= 0)
        s->daemon = start_daemon(s, listen_fd);
    if (!s->daemon) {
        err_set(err, ERR_SYSTEM, "cannot start the HTTP server, %s (%s): close other programs", strerror(errno),
                o->address);
        if (s->hangup_fd >= 0)
            close(s->hangup_fd);
        close(listen_fd);
        loop_timer_free(s->overdue);
        free(s);
        return NULL;
    }
    int epoll_fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    s->timer = loop_timer_new(loop, daemon_due, s);
    s->ready = loop_io_new(loop, epoll_fd, LOOP_READ, daemon_ready, s);
    s->hangup = loop_io_new(loop, s->hangup_fd, LOOP_READ, hung_up, s);
    return s;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    assert(!s->inside);
    while (!list_empty(&s->parked))
        abandon(container_of(s->parked.next, struct http_call, link));
    loop_task_cancel(&s->resume);
    loop_io_free(s->ready);
    loop_io_free(s->hangup);
    loop_timer_free(s->timer);
    MHD_stop_daemon(s->daemon);
    loop_task_cancel(&s->resume);
    loop_timer_free(s->overdue);
    close(s->hangup_fd);
    free(s);
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}
