#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/url.h"
#include "host/redact.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "script/table_file.h"

enum { OUTPUT_BYTES = 16 << 20, HEALTH_BYTES = 1 << 20, BODY_SHOWN = 200 };
#define HEALTH_TIMEOUT_US (30 * SECOND_US)

struct checking;

/* One health URL, and every region that names it. */
struct probe {
    struct checking *checking;
    const char *url;
    const struct endpoint_spec *endpoint; /* whose adapter, headers and proxy it is asked with */
    struct http_target *target;
    int64_t sent_us, took_us;
    int http_status;
    bool good;
    struct buf regions, wrong, body, missing, extra; /* wrong: what, for people */
};

struct checking {
    struct region_table *table;
    struct loop *loop;
    struct http_client *client;
    struct probe *probes;
    size_t probe_count, open;
};

/* ---- which URLs ---- */

static const struct endpoint_spec *first_endpoint(const struct region_table *t, size_t region)
{
    for (size_t i = 0; i < t->endpoint_count; i++)
        if (t->endpoints[i].region == region)
            return &t->endpoints[i];
    return NULL;
}

static void collect(struct checking *c)
{
    c->probes = mem_zalloc(c->table->region_count * sizeof *c->probes);
    for (size_t i = 0; i < c->table->region_count; i++) {
        const struct region_spec *region = &c->table->regions[i];
        const struct endpoint_spec *endpoint = first_endpoint(c->table, i);
        if (!region->health || !endpoint)
            continue;
        size_t k = 0;
        while (k < c->probe_count && strcmp(c->probes[k].url, region->health) != 0)
            k++;
        struct probe *p = &c->probes[k];
        if (k == c->probe_count) {
            c->probe_count++;
            *p = (struct probe){.checking = c, .url = region->health, .endpoint = endpoint};
            buf_init(&p->regions, 4096);
            buf_init(&p->wrong, 4096);
            buf_init(&p->body, 4096);
            buf_init(&p->missing, 65536);
            buf_init(&p->extra, 65536);
        }
        buf_addf(&p->regions, "%s%s", p->regions.len ? ", " : "", region->id);
    }
}

static bool has_url(const struct checking *c, const struct endpoint_spec *e, const struct probe *p)
{
    const char *health = c->table->regions[e->region].health;
    return health && strcmp(health, p->url) == 0;
}

/* ---- what came ---- */

static void compare_models(const struct checking *c, struct probe *p, const struct health *h)
{
    for (size_t i = 0; i < c->table->endpoint_count; i++) {
        const struct endpoint_spec *e = &c->table->endpoints[i];
        bool found = !has_url(c, e, p);
        for (size_t k = 0; k < h->model_count && !found; k++) {
            char *name = mem_strndup(h->models[k].ptr, h->models[k].len);
            found = endpoint_served_model_ok(e, name);
            free(name);
        }
        if (!found)
            buf_addf(&p->missing, "%s%s", p->missing.len ? ", " : "", e->id);
    }
    for (size_t k = 0; k < h->model_count; k++) {
        char *name = mem_strndup(h->models[k].ptr, h->models[k].len);
        bool known = false;
        for (size_t i = 0; i < c->table->endpoint_count && !known; i++)
            known = has_url(c, &c->table->endpoints[i], p) &&
                    endpoint_served_model_ok(&c->table->endpoints[i], name);
        if (!known) {
            buf_adds(&p->extra, p->extra.len ? ", " : "");
            text_add_plain(&p->extra, str_from(name), 60, true);
        }
        free(name);
    }
}

static void judge(struct probe *p, const struct response *r)
{
    struct checking *c = p->checking;
    if (r->wire != WIRE_ANSWERED) {
        static const char *const words[] = {
            [WIRE_CONNECT] = "could not connect", [WIRE_TLS] = "TLS failed",
            [WIRE_NOT_SENT] = "closed before the request was sent", [WIRE_LOST] = "no whole answer came",
            [WIRE_TOO_LARGE] = "the answer is too large", [WIRE_BAD] = "what came is not HTTP",
        };
        buf_addf(&p->wrong, "%s%s%s", words[r->wire], r->detail ? ": " : "", r->detail ? r->detail : "");
        return;
    }
    if (r->http_status != 200) {
        buf_addf(&p->wrong, "HTTP %d", r->http_status);
        return;
    }
    struct health health = {0};
    struct err err;
    if (!adapter_health(c->table, p->endpoint, r, &health, &err)) {
        buf_adds(&p->wrong, err.text);
        return;
    }
    if (!health_tells(&health, r))
        buf_addf(&p->wrong, "HTTP 200, but adapter %s finds neither status nor models in the answer: check the URL",
                 p->endpoint->adapter);
    if (health.readable && health.model_count)
        compare_models(c, p, &health);
    if (p->missing.len)
        buf_addf(&p->wrong, "not served: %s", buf_str(&p->missing).ptr);
    p->good = p->wrong.len == 0;
}

static void ended(void *ctx, const struct response *r)
{
    struct probe *p = ctx;
    p->took_us = mono_now_us() - p->sent_us;
    p->http_status = r->http_status;
    judge(p, r);
    struct buf scratch;
    buf_init(&scratch, 2 * HEALTH_BYTES);
    if (!p->good)
        text_add_plain(&p->body, redact(p->endpoint, r->body, &scratch), BODY_SHOWN, true);
    buf_done(&scratch);
    if (--p->checking->open == 0)
        loop_stop(p->checking->loop);
}

/* ---- asking ---- */

/* The endpoint's headers hold secrets: they go to the endpoint's own origin only. */
static bool send_probe(struct probe *p, struct err *err)
{
    const struct endpoint_spec *e = p->endpoint;
    struct http_header *headers = mem_array(NULL, e->header_count, sizeof *headers);
    for (size_t i = 0; i < e->header_count; i++)
        headers[i] = (struct http_header){e->headers[i].name, e->headers[i].value};
    p->target = http_target_new(p->checking->client,
                                &(struct http_target_options){
                                    .url = p->url,
                                    .headers = headers,
                                    .header_count = e->header_count,
                                    .proxy = e->proxy,
                                    .connect_us = e->connect_us,
                                    .max_body_bytes = HEALTH_BYTES,
                                },
                                err);
    free(headers);
    if (!p->target)
        return false;
    p->sent_us = mono_now_us();
    p->checking->open++;
    http_send(p->checking->client, &(struct http_send){
                                       .target = p->target,
                                       .without_headers = !url_same_origin(e->url, p->url),
                                       .timeout_us = HEALTH_TIMEOUT_US,
                                       .ended = ended,
                                       .ctx = p,
                                   });
    return true;
}

static bool ask_all(struct checking *c, const char *ca_file, struct err *err)
{
    c->loop = loop_new();
    c->client = http_client_new(c->loop,
                                &(struct http_client_options){.ca_file = ca_file,
                                                              .user_agent = "canvass/" CANVASS_VERSION,
                                                              .in_flight_hint = (unsigned)c->probe_count,
                                                              .http2 = true},
                                err);
    bool ok = c->client;
    for (size_t i = 0; ok && i < c->probe_count; i++)
        ok = send_probe(&c->probes[i], err);
    if (ok && c->open)
        loop_run(c->loop);
    if (c->client)
        http_client_free(c->client);
    for (size_t i = 0; i < c->probe_count; i++)
        if (c->probes[i].target)
            http_target_free(c->probes[i].target);
    loop_free(c->loop);
    return ok;
}

/* ---- telling ---- */

static void print_text(const struct checking *c)
{
    struct buf out;
    char text[DURATION_TEXT];
    buf_init(&out, OUTPUT_BYTES);
    struct table *t = table_new();
    table_column(t, "region", TABLE_LEFT);
    table_column(t, "health", TABLE_LEFT);
    table_column(t, "status", TABLE_RIGHT);
    table_column(t, "took", TABLE_RIGHT);
    table_column(t, "not in the table", TABLE_FLEX);
    table_column(t, "url", TABLE_FLEX);
    for (size_t i = 0; i < c->probe_count; i++) {
        const struct probe *p = &c->probes[i];
        table_cell(t, buf_str(&p->regions));
        table_text(t, p->good ? "ok" : "WRONG");
        table_cellf(t, "%d", p->http_status);
        table_text(t, duration_format(p->took_us, text));
        table_text(t, p->extra.len ? p->extra.ptr : "-");
        table_text(t, p->url);
    }
    table_print(t, out_columns(), &out);
    table_free(t);
    for (size_t i = 0; i < c->table->region_count; i++)
        if (!c->table->regions[i].health)
            buf_addf(&out, "%s: no health URL, not asked\n", c->table->regions[i].id);
    for (size_t i = 0; i < c->probe_count; i++) {
        const struct probe *p = &c->probes[i];
        if (p->good)
            continue;
        buf_addf(&out, "\n%s: ", buf_str(&p->regions).ptr);
        text_add_plain(&out, buf_str(&p->wrong), 0, true);
        buf_addf(&out, "\n  %s\n", p->url);
        if (p->body.len)
            buf_addf(&out, "  HTTP %d: %s\n", p->http_status, p->body.ptr);
    }
    out_buf(&out);
    buf_done(&out);
}

static void print_json(const struct checking *c, bool good)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "healthy", good);
    cJSON *list = cJSON_AddArrayToObject(json, "checks");
    for (size_t i = 0; i < c->probe_count; i++) {
        const struct probe *p = &c->probes[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "regions", buf_str(&p->regions).ptr);
        cJSON_AddStringToObject(one, "url", p->url);
        cJSON_AddBoolToObject(one, "healthy", p->good);
        cJSON_AddNumberToObject(one, "http_status", p->http_status);
        cJSON_AddNumberToObject(one, "took_s", (double)p->took_us / SECOND_US);
        cJSON_AddStringToObject(one, "missing", buf_str(&p->missing).ptr);
        cJSON_AddStringToObject(one, "extra", buf_str(&p->extra).ptr);
        cJSON_AddStringToObject(one, "wrong", buf_str(&p->wrong).ptr);
        cJSON_AddStringToObject(one, "body", buf_str(&p->body).ptr);
        cJSON_AddItemToArray(list, one);
    }
    out_json(json);
}

static int check(struct checking *c, const struct args *args)
{
    struct err err;
    collect(c);
    if (!c->probe_count) {
        err_set(&err, ERR_CONFIG, "no region has a health URL (%s): give them `health = \"https://...\"`",
                args_text(args, "regions"));
        return complain(&err);
    }
    if (!ask_all(c, args_text(args, "ca-file"), &err))
        return complain(&err);
    bool good = true;
    for (size_t i = 0; i < c->probe_count; i++)
        good &= c->probes[i].good;
    if (args_flag(args, "json"))
        print_json(c, good);
    else
        print_text(c);
    return good ? EXIT_ALL_WELL : EXIT_SOME_FAILED;
}

static int run(const struct args *args)
{
    struct err err;
    struct checking c = {0};
    if (!logging_setup(args, LOG_INFO, &err))
        return complain(&err);
    c.table = load_regions(args_text(args, "regions"), args_text(args, "secrets"), false, NULL, &err);
    if (!c.table)
        return complain(&err);
    int status = check(&c, args);
    for (size_t i = 0; i < c.probe_count; i++) {
        struct probe *p = &c.probes[i];
        struct buf *all[] = {&p->regions, &p->wrong, &p->body, &p->missing, &p->extra};
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            buf_done(all[k]);
    }
    free(c.probes);
    region_table_unref(c.table);
    return status;
}

static const struct option_spec options[] = {
    OPTION_REGIONS,
    OPTION_SECRETS,
    {.name = "ca-file", .value = "FILE", .help = "trust the certificates in this PEM file, not the system's",
     .setting = true},
    LOGGING_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_check = {
    .name = "check",
    .words = "",
    .summary = "ask every health URL and compare the models served with the table",
    .details = "Asks by GET only, each distinct URL once, all at the same time, for at most 30 s. Health tells that\n"
               "an endpoint can be reached and what it serves, not that it is warm. The endpoint's headers go along\n"
               "only where the health URL has the endpoint's own origin.\n\n"
               "exit status: 0 all well, 1 something is wrong",
    .examples = "  canvass check --regions regions.lua",
    .options = options,
    .run = run,
};
