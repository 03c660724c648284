#include "sim/fleet_stats.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { TEXT_MAX_BYTES = 64 << 10 };

void credentials_count(struct credentials_seen *c, const char *path)
{
    c->total++;
    struct buf clean;
    char key[CREDENTIAL_PATH_BYTES];
    buf_init(&clean, TEXT_MAX_BYTES);
    text_add_utf8(&clean, str_from(path));
    snprintf(key, sizeof key, "%s", buf_str(&clean).ptr);
    buf_done(&clean);
    size_t i = 0;
    while (i < c->path_count && strcmp(c->paths[i].path, key) != 0)
        i++;
    if (i == CREDENTIAL_PATHS_MAX)
        return;
    if (i == c->path_count) {
        memcpy(c->paths[i].path, key, sizeof key);
        c->paths[i].count = 0;
        c->path_count++;
    }
    c->paths[i].count++;
}

static void add_count(cJSON *o, const char *name, uint64_t n)
{
    cJSON_AddNumberToObject(o, name, (double)n);
}

/* Simulated seconds; null for what has not happened. */
static void add_instant(cJSON *o, const char *name, int64_t at_us)
{
    if (at_us == NEVER_US)
        cJSON_AddNullToObject(o, name);
    else
        cJSON_AddNumberToObject(o, name, (double)at_us / 1e6);
}

static void add_counts(cJSON *o, const struct fleet_counts *c, uint64_t credentials)
{
    add_count(o, "posts", c->posts);
    add_count(o, "gets", c->gets);
    add_count(o, "open", c->open);
    add_count(o, "max_open", c->max_open);
    add_count(o, "answered", c->answered);
    add_count(o, "redirects", c->redirects);
    add_count(o, "overflows", c->overflows);
    add_count(o, "failed", c->failed);
    add_count(o, "aborted", c->aborted);
    add_count(o, "calls_done", c->calls_done);
    add_count(o, "calls_cancelled", c->calls_cancelled);
    add_count(o, "cold_starts", c->cold_starts);
    cJSON_AddNumberToObject(o, "busy_s", (double)c->busy_us / 1e6);
    add_count(o, "credentials_seen", credentials);
    cJSON *faults = cJSON_AddObjectToObject(o, "faults");
    for (int what = 0; what < FAULT_KINDS; what++)
        if (c->faults[what])
            add_count(faults, fault_name((enum fault_what)what), c->faults[what]);
}

static void endpoint_name(const struct fleet_spec *spec, size_t endpoint, char name[512])
{
    snprintf(name, 512, "%s/%s", spec->endpoints[endpoint].region, spec->endpoints[endpoint].model);
}

static void add_endpoints(cJSON *o, const struct fleet_stats *stats)
{
    cJSON *endpoints = cJSON_AddObjectToObject(o, "endpoints");
    for (size_t i = 0; i < stats->spec->endpoint_count; i++) {
        char name[512];
        endpoint_name(stats->spec, i, name);
        cJSON *e = cJSON_AddObjectToObject(endpoints, name);
        add_counts(e, fleet_counts(stats->fleet, i), stats->credentials->by_endpoint[i]);
        struct fleet_load load = fleet_load_of(stats->fleet, i);
        add_count(e, "containers", load.containers);
        add_count(e, "starting", load.starting);
        add_count(e, "busy", load.busy);
        add_count(e, "waiting", load.waiting);
    }
}

static void add_text(cJSON *o, const char *name, const char *text)
{
    struct buf clean;
    buf_init(&clean, TEXT_MAX_BYTES);
    text_add_utf8(&clean, str_from(text));
    cJSON_AddStringToObject(o, name, buf_str(&clean).ptr);
    buf_done(&clean);
}

static void add_log(cJSON *o, const struct fleet_stats *stats)
{
    cJSON *requests = cJSON_AddArrayToObject(o, "requests");
    const struct request_record *r;
    for (size_t i = 0; (r = request_log_at(stats->log, i)); i++) {
        cJSON *item = cJSON_CreateObject();
        char name[512];
        endpoint_name(stats->spec, r->endpoint, name);
        cJSON_AddStringToObject(item, "endpoint", name);
        add_text(item, "question", r->head);
        cJSON_AddStringToObject(item, "method", r->get ? "GET" : "POST");
        add_instant(item, "arrived_s", r->arrived_us);
        add_instant(item, "ended_s", r->ended_us);
        cJSON_AddStringToObject(item, "ended", r->ended);
        cJSON_AddItemToArray(requests, item);
    }
}

void fleet_stats_write(const struct fleet_stats *stats, struct buf *json_out)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "speed", stats->speed);
    add_instant(o, "now", fleet_now_us(stats->fleet));
    add_instant(o, "first_post_at", fleet_first_post_us(stats->fleet));
    add_instant(o, "last_answer_at", fleet_last_answer_us(stats->fleet));
    add_counts(o, fleet_totals(stats->fleet), stats->credentials->total);
    add_count(o, "rejected", stats->rejected);
    add_count(o, "lost_results", stats->lost_results);
    add_count(o, "health", stats->health);
    cJSON *paths = cJSON_AddObjectToObject(o, "credentials_paths");
    for (size_t i = 0; i < stats->credentials->path_count; i++)
        add_count(paths, stats->credentials->paths[i].path, stats->credentials->paths[i].count);
    if (stats->spec->answers.error) /* then the built-in texts stand in */
        add_text(o, "answers_error", stats->spec->answers.error);
    add_endpoints(o, stats);
    if (stats->log)
        add_log(o, stats);
    char *text = cJSON_PrintUnformatted(o);
    assert(text);
    buf_adds(json_out, text);
    free(text);
    cJSON_Delete(o);
}

/* ---- in words ---- */

static void add_plural(struct buf *out, uint64_t n, const char *one)
{
    buf_addf(out, "%llu %s%s", (unsigned long long)n, one, n == 1 ? "" : "s");
}

/* True when 303 is the only way in which this fleet sends a caller away. */
static bool comes_back_by_303(const struct fleet_spec *spec)
{
    for (size_t i = 0; i < spec->endpoint_count; i++)
        if (spec->endpoints[i].redirect_status != 303 || spec->endpoints[i].schema == SCHEMA_RUNPOD)
            return false;
    return true;
}

void fleet_stats_sentence(const struct fleet_stats *stats, struct buf *out)
{
    const struct fleet_counts *c = fleet_totals(stats->fleet);
    add_plural(out, c->posts, "POST");
    buf_adds(out, " and ");
    add_plural(out, c->gets, "GET");
    buf_addf(out, " on result URLs; %llu of them told to come back later%s; at most ", (unsigned long long)c->redirects,
             comes_back_by_303(stats->spec) ? " (303)" : "");
    add_plural(out, c->max_open, "request");
    buf_addf(out, " open at once; %llu refused", (unsigned long long)(c->overflows + stats->rejected));
    if (c->failed)
        buf_addf(out, "; %llu failed by a fault", (unsigned long long)c->failed);
    if (c->aborted)
        buf_addf(out, "; %llu closed by the client", (unsigned long long)c->aborted);
}
