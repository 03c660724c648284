/* target PORT DELAY_MS -- the least an HTTP server can be: every POST gets the same answer, at
 * once or after a delay. For benchmarks; it trusts its client. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 1 << 16, REQUEST = 16 * 1024, EVENTS = 512 };

struct conn {
    size_t used;
    char *in;
};
static struct conn conns[CONNECTIONS];

struct due {
    int64_t at_ms;
    int fd;
};
static struct due *queue;
static size_t head, tail;
static const size_t queue_size = 1 << 20;

static char response[4096];
static size_t response_len;

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void answer(int fd)
{
    if (send(fd, response, response_len, MSG_NOSIGNAL) != (ssize_t)response_len)
        shutdown(fd, SHUT_RDWR);
}

/* The length of the first whole request in the buffer, 0 when it is not there yet. */
static size_t whole_request(const struct conn *c)
{
    const char *end = memmem(c->in, c->used, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t body = 0;
    const char *length = memmem(c->in, (size_t)(end - c->in), "Content-Length: ", 16);
    if (length)
        body = strtoul(length + 16, NULL, 10);
    size_t size = (size_t)(end - c->in) + 4 + body;
    return size <= c->used ? size : 0;
}

static void close_conn(int fd)
{
    free(conns[fd].in);
    conns[fd] = (struct conn){0};
    close(fd);
}

static void readable(int fd, int64_t delay_ms)
{
    struct conn *c = &conns[fd];
    if (!c->in && !(c->in = malloc(REQUEST)))
        abort();
    ssize_t n = recv(fd, c->in + c->used, REQUEST - c->used, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            close_conn(fd);
        return;
    }
    c->used += (size_t)n;
    for (size_t size; (size = whole_request(c)) > 0;) {
        memmove(c->in, c->in + size, c->used - size);
        c->used -= size;
        if (delay_ms == 0)
            answer(fd);
        else
            queue[tail++ % queue_size] = (struct due){now_ms() + delay_ms, fd};
    }
    if (c->used == 0) {
        free(c->in);
        c->in = NULL;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int64_t delay_ms = strtol(argv[2], NULL, 10);
    char body[1024];
    snprintf(body, sizeof body,
             "{\"success\":true,\"response\":\"%.400s\",\"model\":null,\"inference_time\":0.01,"
             "\"tokens_generated\":80}",
             "The answer is a few sentences long, as answers are. It has the usual words in the usual order, "
             "says nothing that matters, and ends when it has reached the length that a benchmark wants. "
             "The answer is a few sentences long, as answers are. It has the usual words in the usual order, "
             "says nothing that matters, and ends when it has reached the length that a benchmark wants. ");
    response_len = (size_t)snprintf(response, sizeof response,
                                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                                    "%zu\r\n\r\n%s",
                                    strlen(body), body);
    struct rlimit files = {CONNECTIONS, CONNECTIONS};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    queue = malloc(queue_size * sizeof *queue);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!queue || bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 16384)) {
        perror("target");
        return 1;
    }
    int ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (;;) {
        struct epoll_event events[EVENTS];
        int64_t wait_ms = head == tail ? -1 : queue[head % queue_size].at_ms - now_ms();
        int n = epoll_wait(ep, events, EVENTS, (int)(head != tail && wait_ms < 0 ? 0 : wait_ms));
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) {
                readable(events[i].data.fd, delay_ms);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                if (fd >= CONNECTIONS) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
            }
        }
        for (int64_t t = now_ms(); head != tail && queue[head % queue_size].at_ms <= t; head++)
            answer(queue[head % queue_size].fd);
    }
}
