/* http_server_internal.h -- what the files of the HTTP server share.
 *
 * A call that has no reply yet, and a stream that has sent all, are suspended: the daemon does not look at them, an
 * epoll set of our own does, for the one thing that can happen: that the client hangs up. */
#ifndef NET_HTTP_SERVER_INTERNAL_H
#define NET_HTTP_SERVER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <microhttpd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "net/http_server.h"
#include "net/loop.h"

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

/* A socket that listens, and the port it got; or -1. */
int http_server_listen(const struct http_server_options *o, uint16_t *port, struct err *err);

int http_call_socket(const struct http_call *c);
void http_call_suspend(struct http_call *c);
void http_call_resume(struct http_call *c);

/* ANSWERED or DROPPED: the daemon learns it when handle() returns, or when it is resumed. */
void http_call_settle(struct http_call *c, enum call_state state);

/* The client gets no more of it: the daemon sees the socket fail, or is told so when it asks for more. */
void http_stream_cut(struct http_stream *st);
void http_stream_free(struct http_stream *st);

#endif
