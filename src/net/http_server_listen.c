#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_server_internal.h"

enum { BACKLOG = 4096 };

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

int http_server_listen(const struct http_server_options *o, uint16_t *port, struct err *err)
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
