#include "net/http_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "net/loop.h"

enum {
    CONNECTION_BYTES = 16 * 1024,           /* request line and headers must fit */
    DISCARD_BYTES = 64 * 1024 * 1024,       /* of a body that is too large, read so that the 413 arrives */
    BACKLOG = 4096,
    HANGUPS_AT_ONCE = 64,
    STREAM_BLOCK_BYTES = 16 * 1024,
};

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    struct MHD_Daemon *daemon;
    struct loop_io *ready;                  /* the daemon's own epoll set */
    struct loop_timer *timer;
    struct loop_task resume;                /* posted when a parked call has its reply */
    struct list parked;                     /* calls and streams that the daemon does not look at */
    int hangup_fd;                          /* an epoll set of their sockets: who hangs up? */
    struct loop_io *hangup;
    struct list reading;                    /* connections that owe a request, the longest first */
    struct loop_timer *overdue;
    unsigned connections;
    uint16_t port;
    bool inside;                            /* the daemon is on the stack */
};

enum call_state {
    CALL_READING,
    CALL_HANDLING,  /* in handle() */
    CALL_PARKED,    /* suspended: the daemon does not look at it */
    CALL_ANSWERED,  /* response is set; the daemon takes it when it calls next */
    CALL_DROPPED,   /* the daemon closes the connection when it calls next */
};

struct connection {
    struct list link;                       /* in reading */
    int fd;
    int64_t since_us;
};

struct http_stream {
    struct http_call *call;
    struct http_stream_options options;
    struct buf out;
    size_t sent;                            /* of out */
    bool asleep;                            /* suspended: all has been sent */
    bool ended, cut;
};

struct http_call {
    struct list link;                       /* in parked */
    struct http_server *server;
    struct MHD_Connection *connection;
    const char *method, *path;              /* the daemon's, until the request is completed */
    struct buf body;
    size_t discarded;
    enum call_state state;
    struct MHD_Response *response;
    unsigned status;
    void *user;
    struct http_stream *stream;             /* ANSWERED with a reply that goes on */
};

static int call_socket(const struct http_call *c)
{
    return MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

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

/* Not by reading: a client that has sent more already would hide its hang-up behind that. */
static void suspend(struct http_call *c)
{
    struct epoll_event wish = {.events = EPOLLRDHUP, .data.ptr = c};
    MHD_suspend_connection(c->connection);
    list_push(&c->server->parked, &c->link);
    epoll_ctl(c->server->hangup_fd, EPOLL_CTL_ADD, call_socket(c), &wish);
}

static void resume(struct http_call *c)
{
    epoll_ctl(c->server->hangup_fd, EPOLL_CTL_DEL, call_socket(c), NULL);
    list_unlink(&c->link);
    MHD_resume_connection(c->connection);
    loop_post(c->server->loop, &c->server->resume);
}

static void settle(struct http_call *c, enum call_state state)
{
    assert(c->state == CALL_HANDLING || c->state == CALL_PARKED);
    bool parked = c->state == CALL_PARKED;
    c->state = state;
    if (parked) /* else the daemon waits for handle() to return */
        resume(c);
}

static void wake_stream(struct http_call *c)
{
    if (!c->stream->asleep)
        return;
    c->stream->asleep = false;
    resume(c);
}

/* The daemon sees the socket fail, or is told so when it asks for more. */
static void cut_stream(struct http_call *c)
{
    c->stream->cut = true;
    shutdown(call_socket(c), SHUT_RDWR);
    wake_stream(c);
}

static void abandon(struct http_call *c)
{
    struct http_server *s = c->server;
    if (c->stream) {
        cut_stream(c);
        return;
    }
    settle(c, CALL_DROPPED);
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
    if (c->stream) {
        struct http_stream *st = c->stream;
        if (!st->ended)
            st->options.closed(st->options.ctx, st);
        buf_done(&st->out);
        free(st);
    }
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
        suspend(c);
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

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t len;
};

static bool parse_address(const struct http_server_options *o, struct address *out)
{
    struct address a = {0};
    if (inet_pton(AF_INET, o->address, &a.at.v4.sin_addr) == 1) {
        a.at.v4.sin_family = AF_INET;
        a.at.v4.sin_port = htons(o->port);
        a.len = sizeof a.at.v4;
    } else if (inet_pton(AF_INET6, o->address, &a.at.v6.sin6_addr) == 1) {
        a.at.v6.sin6_family = AF_INET6;
        a.at.v6.sin6_port = htons(o->port);
        a.len = sizeof a.at.v6;
    } else {
        return false;
    }
    *out = a;
    return true;
}

static int listen_at(const struct http_server_options *o, uint16_t *port, struct err *err)
{
    struct address a;
    int on = 1;
    if (!parse_address(o, &a)) {
        err_set(err, ERR_CONFIG, "not an IP address (%s): give one such as 127.0.0.1 or ::1", o->address);
        return -1;
    }
    int fd = socket(a.at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || /* accepted sockets inherit it */
        bind(fd, &a.at.any, a.len) != 0 || listen(fd, BACKLOG) != 0 || getsockname(fd, &a.at.any, &a.len) != 0) {
        err_set(err, ERR_SYSTEM, "cannot listen, %s (%s port %u): choose another address or port", strerror(errno),
                o->address, (unsigned)o->port);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(a.at.any.sa_family == AF_INET ? a.at.v4.sin_port : a.at.v6.sin6_port);
    return fd;
}

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
    int listen_fd = listen_at(o, &port, err);
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

/* ---- what a handler sees ---- */

const char *http_call_method(const struct http_call *c)
{
    return c->method;
}

const char *http_call_path(const struct http_call *c)
{
    return c->path;
}

const char *http_call_query(const struct http_call *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_call_header(const struct http_call *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

struct str http_call_body(const struct http_call *c)
{
    return buf_str(&c->body);
}

void *http_call_server_ctx(const struct http_call *c)
{
    return c->server->options.ctx;
}

void http_call_set_user(struct http_call *c, void *user)
{
    c->user = user;
}

void *http_call_user(const struct http_call *c)
{
    return c->user;
}

/* ---- replies ---- */

static void reply_with(struct http_call *c, int status, struct MHD_Response *response)
{
    if (!response)
        abort(); /* out of memory */
    c->status = (unsigned)status;
    c->response = response;
    settle(c, CALL_ANSWERED);
}

static void add_headers(struct MHD_Response *r, const char *content_type, const struct http_reply_header *headers,
                        size_t header_count)
{
    if (r && content_type)
        MHD_add_response_header(r, "Content-Type", content_type);
    for (size_t i = 0; r && i < header_count; i++)
        MHD_add_response_header(r, headers[i].name, headers[i].value);
}

void http_reply(struct http_call *c, int status, const char *content_type, struct str body,
                const struct http_reply_header *headers, size_t header_count)
{
    /* Not written to: libmicrohttpd copies it. */
    void *bytes = (void *)(uintptr_t)(body.len ? body.ptr : "");
    struct MHD_Response *r = MHD_create_response_from_buffer(body.len, bytes, MHD_RESPMEM_MUST_COPY);
    add_headers(r, content_type, headers, header_count);
    reply_with(c, status, r);
}

void http_reply_reset(struct http_call *c)
{
    /* Dissolving the association sends the reset now; the daemon would send a FIN before it closes. */
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    connect(call_socket(c), &nobody, sizeof nobody);
    settle(c, CALL_DROPPED);
}

struct part {
    size_t len;
    char bytes[];
};

static ssize_t read_part(void *ctx, uint64_t pos, char *out, size_t max)
{
    const struct part *p = ctx;
    if (pos >= p->len)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = p->len - (size_t)pos < max ? p->len - (size_t)pos : max;
    memcpy(out, p->bytes + pos, n);
    return (ssize_t)n;
}

void http_reply_truncated(struct http_call *c, int status, struct str body, size_t promised_bytes)
{
    assert(promised_bytes > body.len);
    struct part *p = mem_alloc(sizeof *p + body.len);
    p->len = body.len;
    if (body.len)
        memcpy(p->bytes, body.ptr, body.len);
    reply_with(c, status, MHD_create_response_from_callback(promised_bytes, 4096, read_part, p, free));
}

/* ---- replies that go on ---- */

static ssize_t read_stream(void *ctx, uint64_t pos, char *out, size_t max)
{
    struct http_call *c = ctx;
    struct http_stream *st = c->stream;
    (void)pos;
    if (st->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = st->out.len - st->sent;
    if (n == 0 && st->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        st->asleep = true;
        suspend(c);
        return 0;
    }
    n = n < max ? n : max;
    memcpy(out, st->out.ptr + st->sent, n);
    st->sent += n;
    if (st->sent == st->out.len) {
        buf_clear(&st->out);
        st->sent = 0;
    }
    return (ssize_t)n;
}

struct http_stream *http_reply_stream(struct http_call *c, int status, const char *content_type,
                                      const struct http_reply_header *headers, size_t header_count,
                                      const struct http_stream_options *o)
{
    struct http_stream *st = mem_zalloc(sizeof *st);
    st->options = *o;
    st->call = c;
    buf_init(&st->out, o->waiting_max_bytes);
    c->stream = st;
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, c, NULL);
    add_headers(r, content_type, headers, header_count);
    reply_with(c, status, r);
    return st;
}

void http_stream_write(struct http_stream *st, struct str data)
{
    if (st->cut)
        return;
    if (st->sent) { /* what has left makes room */
        memmove(st->out.ptr, st->out.ptr + st->sent, st->out.len - st->sent);
        st->out.len -= st->sent;
        st->sent = 0;
    }
    if (buf_add(&st->out, data.ptr, data.len))
        wake_stream(st->call);
    else
        cut_stream(st->call);
}

void http_stream_end(struct http_stream *st)
{
    st->ended = true;
    wake_stream(st->call);
}
