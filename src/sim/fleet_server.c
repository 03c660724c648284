#include "sim/fleet_server.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "sim/fleet.h"
#include "sim/fleet_stats.h"
#include "sim/fleet_table.h"
#include "sim/replies.h"
#include "sim/request_log.h"
#include "sim/results.h"

enum {
    MAX_REQUEST_BYTES = 8 << 20,
    MAX_STATS_BYTES = 64 << 20,
    MAX_CONNECTIONS = 16384,
};

struct fleet_server {
    struct loop *loop;
    const struct fleet_spec *spec;
    struct fleet *fleet;
    struct http_server *http;
    struct loop_timer *timer;
    char *base_url;
    double speed;
    int64_t start_us;
    uint32_t instance;      /* part of every result id: those of an earlier run are nobody's here */
    struct list asks;
    struct request_log log;
    struct credentials_seen credentials;
    uint64_t rejected, lost_results, health;
};

/* A request that the model has not ended yet. */
struct ask {
    struct list link;
    struct http_call *call;
    struct fleet_exchange *exchange;
    size_t endpoint;
    uint64_t log_number;
};

/* ---- time ---- */

static int64_t simulated_us(const struct fleet_server *f)
{
    int64_t now_us = (int64_t)((double)(loop_now_us(f->loop) - f->start_us) * f->speed);
    int64_t before_us = fleet_now_us(f->fleet);
    return now_us > before_us ? now_us : before_us;
}

static void arm(struct fleet_server *f)
{
    int64_t next_us = fleet_next_us(f->fleet);
    double wait_us = ceil((double)next_us / f->speed);
    bool never = next_us == NEVER_US || wait_us > (double)(NEVER_US / 2);
    loop_timer_at(f->timer, never ? NEVER_US : f->start_us + (int64_t)wait_us);
}

/* ---- replies ---- */

static void send_json(struct http_call *call, int status, cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    assert(text);
    http_reply(call, status, "application/json", str_from(text), NULL, 0);
    free(text);
    cJSON_Delete(object);
}

static void send_problem(struct http_call *call, int status, const char *text)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "error", text);
    send_json(call, status, o);
}

static bool is_plain_host(const char *host)
{
    return *host && strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]") == strlen(host);
}

/* Where the result can be fetched: on the origin the client asked, or its redirect would lead it away. */
static void write_result_url(const struct fleet_server *f, const struct ask *a, const char *result, struct buf *url)
{
    const char *host = http_call_header(a->call, "Host");
    if (host && is_plain_host(host))
        buf_addf(url, "http://%s", host);
    else
        buf_adds(url, f->base_url);
    fleet_path_write(&f->spec->endpoints[a->endpoint], url);
    buf_addf(url, "?" RESULT_QUERY "=%s", result);
}

static void send_reply(struct fleet_server *f, struct ask *a, const struct reply *r, const char *result)
{
    struct http_reply_header headers[2];
    size_t count = 0;
    char seconds[RETRY_AFTER_BYTES];
    struct buf url;
    buf_init(&url, 8192);
    if (r->result_url)
        write_result_url(f, a, result, &url);
    if (r->result_url || r->location)
        headers[count++] = (struct http_reply_header){"Location", r->location ? r->location : buf_str(&url).ptr};
    if (r->retry_after_us)
        headers[count++] = (struct http_reply_header){"Retry-After", reply_retry_after(r, f->speed, seconds)};
    switch (r->how) {
    case REPLY_WHOLE:
        http_reply(a->call, r->status, r->content_type, buf_str(&r->body), headers, count);
        break;
    case REPLY_RESET:
        http_reply_reset(a->call);
        break;
    case REPLY_TRUNCATED:
        http_reply_truncated(a->call, r->status, buf_str(&r->body), r->promised_bytes);
        break;
    }
    buf_done(&url);
}

/* ---- asking ---- */

static const char *const end_names[] = {
    [FLEET_ANSWERED] = "answered", [FLEET_COME_BACK] = "redirect", [FLEET_OVERFLOW] = "overflow",
    [FLEET_FAILED] = "failed",
};

static void ask_free(struct ask *a)
{
    list_unlink(&a->link);
    free(a);
}

/* Sends what has ended, then sleeps until the next thing happens. */
static void pump(struct fleet_server *f)
{
    struct fleet_ended ended;
    while (fleet_take(f->fleet, &ended)) {
        struct ask *a = ended.user;
        char result[RESULT_ID_BYTES];
        struct reply r;
        result_id_write(f->instance, ended.result, result);
        reply_init(&r);
        reply_write(f->spec, &ended, result, unix_now_s(), &r);
        request_log_end(&f->log, a->log_number, end_names[ended.end], ended.at_us);
        send_reply(f, a, &r, result);
        reply_done(&r);
        ask_free(a);
    }
    arm(f);
}

static void timer_fired(void *ctx)
{
    struct fleet_server *f = ctx;
    fleet_advance(f->fleet, simulated_us(f));
    pump(f);
}

static struct ask *ask_new(struct fleet_server *f, struct http_call *call, size_t endpoint, bool get, struct str prompt)
{
    struct ask *a = mem_zalloc(sizeof *a);
    a->call = call;
    a->endpoint = endpoint;
    a->log_number = request_log_begin(&f->log, endpoint, get, prompt, fleet_now_us(f->fleet));
    list_push(&f->asks, &a->link);
    http_call_set_user(call, a);
    return a;
}

static void handle_post(struct fleet_server *f, struct http_call *call, size_t endpoint)
{
    struct buf prompt;
    struct reply refusal;
    buf_init(&prompt, MAX_REQUEST_BYTES);
    reply_init(&refusal);
    if (reply_read_request(&f->spec->endpoints[endpoint], NULL, http_call_body(call), &prompt, &refusal)) {
        struct ask *a = ask_new(f, call, endpoint, false, buf_str(&prompt));
        a->exchange = fleet_post(f->fleet, endpoint, buf_str(&prompt), a);
    } else {
        f->rejected++;
        http_reply(call, refusal.status, refusal.content_type, buf_str(&refusal.body), NULL, 0);
    }
    reply_done(&refusal);
    buf_done(&prompt);
}

/* endpoint NULL: whichever it belongs to. */
static void handle_result(struct fleet_server *f, struct http_call *call, const size_t *endpoint, const char *id)
{
    size_t owner;
    uint64_t result = result_id_read(f->instance, id);
    enum fleet_result_state state = result ? fleet_result(f->fleet, result, &owner) : RESULT_UNKNOWN;
    if (state == RESULT_KNOWN && (!endpoint || *endpoint == owner)) {
        struct ask *a = ask_new(f, call, owner, true, STR(""));
        a->exchange = fleet_get(f->fleet, result, a);
        return;
    }
    f->lost_results++;
    struct reply r;
    reply_init(&r);
    reply_lost_result(endpoint ? &f->spec->endpoints[*endpoint] : NULL, state, &r);
    http_reply(call, r.status, r.content_type, buf_str(&r.body), NULL, 0);
    reply_done(&r);
}

static void handle_abandoned(void *ctx, struct http_call *call)
{
    struct fleet_server *f = ctx;
    struct ask *a = http_call_user(call);
    if (!a)
        return;
    int64_t now_us = simulated_us(f);
    fleet_advance(f->fleet, now_us);
    fleet_close(f->fleet, a->exchange);
    request_log_end(&f->log, a->log_number, "aborted", now_us);
    ask_free(a);
    pump(f);
}

/* ---- the other routes ---- */

static void handle_health(struct fleet_server *f, struct http_call *call, const char *region)
{
    struct reply r;
    f->health++;
    reply_init(&r);
    reply_health(f->spec, region, unix_now_s(), &r);
    http_reply(call, r.status, r.content_type, buf_str(&r.body), NULL, 0);
    reply_done(&r);
}

static struct fleet_stats stats_of(const struct fleet_server *f, bool with_log)
{
    return (struct fleet_stats){.spec = f->spec, .fleet = f->fleet, .credentials = &f->credentials,
                                .log = with_log ? &f->log : NULL, .rejected = f->rejected,
                                .lost_results = f->lost_results, .health = f->health, .speed = f->speed};
}

static void write_stats(const struct fleet_server *f, bool with_log, struct buf *out)
{
    struct fleet_stats stats = stats_of(f, with_log);
    fleet_stats_write(&stats, out);
}

static void handle_stats(struct fleet_server *f, struct http_call *call)
{
    const char *log = http_call_query(call, "log");
    struct buf out;
    buf_init(&out, MAX_STATS_BYTES);
    write_stats(f, log && strcmp(log, "1") == 0, &out);
    http_reply(call, 200, "application/json", buf_str(&out), NULL, 0);
    buf_done(&out);
}

static void begin(struct fleet_server *f)
{
    f->fleet = fleet_new(f->spec);
    f->start_us = loop_now_us(f->loop);
    f->instance = (uint32_t)rng_entropy();
    f->credentials = (struct credentials_seen){
        .by_endpoint = mem_zalloc((f->spec->endpoint_count + 1) * sizeof *f->credentials.by_endpoint)};
    f->rejected = f->lost_results = f->health = 0;
    request_log_init(&f->log);
}

static void end(struct fleet_server *f)
{
    fleet_free(f->fleet);
    free(f->credentials.by_endpoint);
    request_log_done(&f->log);
}

static void handle_reset(struct fleet_server *f, struct http_call *call)
{
    while (!list_empty(&f->asks)) {
        struct ask *a = container_of(f->asks.next, struct ask, link);
        http_reply_reset(a->call);
        ask_free(a);
    }
    end(f);
    begin(f);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "reset", true);
    send_json(call, 200, o);
}

/* ---- routing ---- */

static bool is_method(const struct http_call *call, const char *method)
{
    return strcmp(http_call_method(call), method) == 0;
}

static void send_wrong_method(struct http_call *call, const char *allowed)
{
    struct http_reply_header header = {"Allow", allowed};
    http_reply(call, 405, "application/json", STR("{\"error\":\"method not allowed\"}"), &header, 1);
}

static bool strip_suffix(struct str *text, const char *suffix)
{
    size_t len = strlen(suffix);
    if (text->len <= len || memcmp(text->ptr + text->len - len, suffix, len) != 0)
        return false;
    text->len -= len;
    return true;
}

/* runpod: MODEL/run and MODEL/status/ID. */
static bool route_runpod(struct fleet_server *f, struct http_call *call, struct str name, size_t *endpoint)
{
    struct str base = name;
    if (strip_suffix(&base, "/run") && fleet_find(f->fleet, base, endpoint) &&
        f->spec->endpoints[*endpoint].schema == SCHEMA_RUNPOD) {
        if (is_method(call, "POST"))
            handle_post(f, call, *endpoint);
        else
            send_wrong_method(call, "POST");
        return true;
    }
    const char *slash = memrchr(name.ptr, '/', name.len);
    const char *id = slash ? slash + 1 : "";
    base = (struct str){name.ptr, slash ? (size_t)(slash - name.ptr) : 0};
    if (!strip_suffix(&base, "/status") || !fleet_find(f->fleet, base, endpoint) ||
        f->spec->endpoints[*endpoint].schema != SCHEMA_RUNPOD)
        return false;
    if (is_method(call, "GET"))
        handle_result(f, call, endpoint, id);
    else
        send_wrong_method(call, "GET");
    return true;
}

static bool route_endpoint(struct fleet_server *f, struct http_call *call, struct str name, size_t *endpoint)
{
    if (!fleet_find(f->fleet, name, endpoint))
        return route_runpod(f, call, name, endpoint);
    if (f->spec->endpoints[*endpoint].schema == SCHEMA_RUNPOD)
        return false; /* only /run and /status are there */
    const char *result = http_call_query(call, RESULT_QUERY);
    if (is_method(call, "POST"))
        handle_post(f, call, *endpoint);
    else if (is_method(call, "GET") && result)
        handle_result(f, call, endpoint, result);
    else
        send_wrong_method(call, "POST");
    return true;
}

static bool route_own(struct fleet_server *f, struct http_call *call, const char *path)
{
    static const char results[] = "/result/";
    bool get = is_method(call, "GET");
    if (strcmp(path, "/stats") == 0)
        get ? handle_stats(f, call) : send_wrong_method(call, "GET");
    else if (strcmp(path, "/reset") == 0)
        is_method(call, "POST") ? handle_reset(f, call) : send_wrong_method(call, "POST");
    else if (strncmp(path, results, sizeof results - 1) == 0)
        get ? handle_result(f, call, NULL, path + sizeof results - 1) : send_wrong_method(call, "GET");
    else
        return false;
    return true;
}

static bool route_health(struct fleet_server *f, struct http_call *call, struct str name)
{
    if (!is_method(call, "GET") || !strip_suffix(&name, "/health"))
        return false;
    for (size_t i = 0; i < f->spec->region_count; i++) {
        if (str_is(name, f->spec->regions[i])) {
            handle_health(f, call, f->spec->regions[i]);
            return true;
        }
    }
    return false;
}

static bool has_credential(const struct http_call *call)
{
    return http_call_header(call, "Authorization") || http_call_header(call, "Modal-Key") ||
           http_call_header(call, "X-Api-Key");
}

static void handle(void *ctx, struct http_call *call)
{
    struct fleet_server *f = ctx;
    size_t endpoint = f->spec->endpoint_count;
    const char *path = http_call_path(call);
    struct str name = str_from(*path == '/' ? path + 1 : path);
    bool credential = has_credential(call);
    if (credential)
        credentials_count(&f->credentials, path);
    fleet_advance(f->fleet, simulated_us(f));
    if (route_own(f, call, path) || route_health(f, call, name)) {
        pump(f);
        return;
    }
    if (!route_endpoint(f, call, name, &endpoint))
        send_problem(call, 404, "modal-http: invalid function call");
    else if (credential)
        f->credentials.by_endpoint[endpoint]++;
    pump(f);
}

/* ---- life ---- */

static char *make_base_url(const char *address, uint16_t port)
{
    bool six = strchr(address, ':') != NULL;
    return mem_printf("http://%s%s%s:%u", six ? "[" : "", address, six ? "]" : "", (unsigned)port);
}

struct fleet_server *fleet_server_new(struct loop *loop, const struct fleet_spec *spec,
                                      const struct fleet_server_options *o, struct err *err)
{
    if (!(o->speed > 0 && o->speed <= 1e6)) {
        err_set(err, ERR_USAGE, "the speed cannot be %g (speed): give a number above 0 and up to 1000000", o->speed);
        return NULL;
    }
    struct fleet_server *f = mem_zalloc(sizeof *f);
    f->loop = loop;
    f->spec = spec;
    f->speed = o->speed;
    list_init(&f->asks);
    struct http_server_options http = {
        .address = o->address, .port = o->port, .max_body_bytes = MAX_REQUEST_BYTES, .max_connections = MAX_CONNECTIONS,
        .idle_us = 10 * MINUTE_US, .handle = handle, .abandoned = handle_abandoned, .ctx = f,
    };
    f->http = http_server_new(loop, &http, err);
    if (!f->http) {
        free(f);
        return NULL;
    }
    f->base_url = make_base_url(o->address, http_server_port(f->http));
    f->timer = loop_timer_new(loop, timer_fired, f);
    begin(f);
    return f;
}

void fleet_server_free(struct fleet_server *f)
{
    if (!f)
        return;
    http_server_free(f->http); /* open calls come back by handle_abandoned */
    loop_timer_free(f->timer);
    end(f);
    free(f->base_url);
    free(f);
}

uint16_t fleet_server_port(const struct fleet_server *f)
{
    return http_server_port(f->http);
}

void fleet_server_table(const struct fleet_server *f, struct buf *out)
{
    fleet_table_write(f->spec, f->base_url, f->speed, out);
}

void fleet_server_stats(const struct fleet_server *f, struct buf *json_out)
{
    write_stats(f, false, json_out);
}

void fleet_server_sentence(const struct fleet_server *f, struct buf *out)
{
    struct fleet_stats stats = stats_of(f, false);
    fleet_stats_sentence(&stats, out);
}
