/* Responses as they come off a socket to the HTTP client, and what the rules make of them. The first byte chooses
 * between asking and fetching a result. */
#include "fuzz_loopback.h"

#include "core/outcome.h"
#include "core/url.h"
#include "net/http_client.h"
#include "net/loop.h"

enum { MAX_BODY = 2000 };

static struct loop *loop;
static struct http_client *client;
static struct http_target *target;
static struct loop_io *listening;
static struct str reply;
static char url[64];
static bool on_result_url;
static int fd, visitor = -1;

/* All at once, whatever was asked, and the end. */
static void visited(void *ctx, int events)
{
    (void)ctx, (void)events;
    if (visitor >= 0)
        fuzz_close(visitor);
    visitor = accept(fd, NULL, NULL);
    PROMISE(visitor >= 0, "nobody there");
    send(visitor, reply.ptr, reply.len, MSG_NOSIGNAL);
    shutdown(visitor, SHUT_WR);
}

static void ended(void *ctx, const struct response *r)
{
    (void)ctx;
    static const struct region_spec region = {.id = "eu"};
    static const struct answer nothing = {.kind = ANSWER_UNREADABLE, .prompt_tokens = -1, .completion_tokens = -1,
                                          .wait_us = -1};
    struct region_table table = {.regions = (struct region_spec *)(uintptr_t)&region, .region_count = 1};
    struct endpoint_spec endpoint = {.id = "eu/m", .model = "m", .url = url, .hop_us = 1};
    struct outcome out;
    PROMISE(r->wire != WIRE_CONNECT && r->wire != WIRE_TLS, "%s", r->detail);
    PROMISE(r->wire != WIRE_ANSWERED || r->http_status >= 200, "status %d", r->http_status);
    PROMISE(r->body.len <= MAX_BODY, "%zu bytes", r->body.len);
    outcome_decide(&table, &endpoint, on_result_url, r, outcome_wants_answer(r) ? &nothing : NULL, 1e9, &out);
    fuzz_plain(str_from(out.error), true);
    bool away = (out.action == ACTION_FOLLOW || out.action == ACTION_REPOST) && out.url;
    PROMISE(!away || url_same_origin(out.url, url), "sent away to %s", out.url);
    PROMISE(out.action != ACTION_SUCCEED && out.wait_us >= -1, "an answer out of nothing");
    PROMISE(out.action != ACTION_RETRY || !on_result_url || r->http_status >= 400,
            "posted again while a result may live");
    loop_stop(loop);
}

static void open_client(void)
{
    struct err err = {0};
    struct sockaddr_in at = fuzz_loopback(0);
    socklen_t len = sizeof at;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PROMISE(bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 16) == 0, "cannot listen");
    PROMISE(getsockname(fd, (struct sockaddr *)&at, &len) == 0, "no port");
    snprintf(url, sizeof url, "http://127.0.0.1:%u/eu/m", ntohs(at.sin_port));
    loop = loop_new();
    listening = loop_io_new(loop, fd, LOOP_READ, visited, NULL);
    client = http_client_new(loop, &(struct http_client_options){.user_agent = "fuzz", .in_flight_hint = 1}, &err);
    PROMISE(client, "%s", err.text);
    target = http_target_new(client,
                             &(struct http_target_options){.url = url, .connect_us = 10000000,
                                                           .max_body_bytes = MAX_BODY},
                             &err);
    PROMISE(target, "%s", err.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop)
        open_client();
    reply = (struct str){(const char *)data, size};
    on_result_url = fuzz_byte(&reply) % 2;
    struct http_send send = {.target = target, .post = !on_result_url,
                             .body = on_result_url ? (struct str){0} : STR("{}"),
                             .ended = ended};
    http_send(client, &send);
    loop_run(loop);
    return 0;
}
