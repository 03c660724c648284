/* Requests to the simulated fleet, as they come off a socket: each is answered by HTTP that holds nothing but our own
 * headers, or the connection is closed. */
#include "fuzz_loopback.h"

#include <strings.h>

#include "base/timeutil.h"
#include "net/loop.h"
#include "sim/fleet_server.h"

enum { ANSWER_BYTES = 32 << 20, TURNS = 4 };

static const char *const schemas[] = {"a", "b", "c", "d", "e"}; /* by enum fleet_schema */

static struct loop *loop;
static struct fleet_server *server;
static struct loop_timer *timer;
static struct buf got;
static int client, turns;
static uint32_t visits;

/* The end of what we send comes some turns later: libmicrohttpd does not see one that comes together with the last
 * bytes, and would wait for more until the connection has idled too long. Answers can still come after it. */
static void end_input(void *ctx)
{
    (void)ctx;
    if (turns-- > 0)
        loop_timer_at(timer, loop_now_us(loop));
    else
        shutdown(client, SHUT_WR);
}

static void open_server(void)
{
    struct fleet_spec *spec = fleet_spec_new();
    struct err err = {0};
    static const char *const regions[] = {"eu"};
    spec->endpoints = arena_alloc(&spec->arena, ARRAY_LEN(schemas) * sizeof *spec->endpoints);
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
        spec->endpoints[i] = (struct fleet_endpoint){.region = "eu", .model = schemas[i],
                                                     .schema = (enum fleet_schema)i,
                                                     .containers = 1, .queue = 1, .redirect_status = 303,
                                                     .redirect_after_us = i % 2 ? 1 : 0};
    spec->endpoint_count = ARRAY_LEN(schemas);
    spec->regions = regions;
    spec->region_count = 1;
    loop = loop_new();
    timer = loop_timer_new(loop, end_input, NULL);
    server = fleet_server_new(loop, spec, &(struct fleet_server_options){.address = "127.0.0.1", .speed = 1e6}, &err);
    PROMISE(server, "%s", err.text);
    buf_init(&got, ANSWER_BYTES);
}

static void readable(void *ctx, int events)
{
    (void)ctx, (void)events;
    char bytes[65536];
    ssize_t n = recv(client, bytes, sizeof bytes, 0);
    if (n > 0)
        buf_add(&got, bytes, (size_t)n);
    else
        loop_stop(loop);
}

static void exchange(struct str input)
{
    struct sockaddr_in to = fuzz_loopback(fleet_server_port(server));
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* From another address each time: one alone would soon have all its ports resting in TIME_WAIT. */
    struct sockaddr_in from = fuzz_loopback(0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (++visits & 0xFFFFF));
    PROMISE(bind(client, (struct sockaddr *)&from, sizeof from) == 0, "no address");
    PROMISE(client >= 0 && connect(client, (struct sockaddr *)&to, sizeof to) == 0, "cannot connect");
    PROMISE(send(client, input.ptr, input.len, MSG_NOSIGNAL) == (ssize_t)input.len, "cannot send");
    turns = TURNS;
    loop_timer_at(timer, loop_now_us(loop));
    buf_clear(&got);
    struct loop_io *io = loop_io_new(loop, client, LOOP_READ, readable, NULL);
    loop_run(loop);
    loop_timer_at(timer, NEVER_US);
    loop_io_free(io);
    fuzz_close(client);
}

static void check_header(struct str line)
{
    static const char *const ours[] = {"Date", "Connection", "Content-Length", "Content-Type", "Location",
                                       "Retry-After",
                                       "Allow", "Transfer-Encoding"};
    struct str name = fuzz_piece(&line, ':');
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        known |= name.len == strlen(ours[i]) && strncasecmp(name.ptr, ours[i], name.len) == 0;
    PROMISE(known, "a header %.*s", (int)name.len, name.ptr);
}

/* The first answer; a body may look like further ones. */
static void check_answer(struct str text)
{
    if (!text.len)
        return;
    struct str line = fuzz_piece(&text, '\n');
    PROMISE(line.len > 12 && memcmp(line.ptr, "HTTP/1.", 7) == 0, "%.*s", (int)line.len, line.ptr);
    while (line = fuzz_piece(&text, '\n'), line.len > 1) {
        fuzz_plain((struct str){line.ptr, line.len - 1}, true);
        check_header(line);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop)
        open_server();
    exchange((struct str){(const char *)data, size});
    check_answer(buf_str(&got));
    return 0;
}
