/* How the server itself is. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "serve/assets.h"
#include "serve/internal.h"

static cJSON *service(bool ok, const char *detail)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "status", ok ? "ok" : "failed");
    if (detail)
        cJSON_AddStringToObject(json, "detail", detail);
    return json;
}

static cJSON *last_json(const struct last_result *last)
{
    if (!last)
        return cJSON_CreateNull();
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "at", last->at);
    cJSON_AddStringToObject(json, "status", status_name(last->status));
    cJSON_AddStringToObject(json, "class", class_name(last->class));
    cJSON_AddStringToObject(json, "error", last->error);
    return json;
}

void api_health(struct request *q)
{
    struct daemon *d = q->daemon;
    const struct region_table *t = session_table(d->session);
    cJSON *json = cJSON_CreateObject();
    const char *wrong = live_table_error(d->live);
    cJSON_AddStringToObject(json, "status", d->failed ? "failed" : d->draining ? "ending" : wrong ? "degraded" : "ok");
    cJSON_AddStringToObject(json, "version", CANVASS_VERSION);
    cJSON_AddNumberToObject(json, "started_at", d->started_at);
    cJSON *services = cJSON_AddObjectToObject(json, "services");
    cJSON_AddItemToObject(services, "store", service(!d->failed, d->failed ? d->failure.text : NULL));
    cJSON_AddItemToObject(services, "engine", service(!d->failed, NULL));
    cJSON_AddItemToObject(services, "regions", service(!wrong, wrong));
    cJSON *endpoints = cJSON_AddArrayToObject(json, "endpoints");
    for (unsigned i = 0; i < t->endpoint_count; i++) {
        struct endpoint_view v;
        engine_endpoint_view(session_engine(d->session), i, &v);
        cJSON *one = endpoint_live_json(&v);
        cJSON_AddStringToObject(one, "endpoint", v.spec->id);
        cJSON_AddItemToObject(one, "last", last_json(metrics_last(d->metrics, v.spec->id)));
        cJSON_AddItemToArray(endpoints, one);
    }
    reply_json(q->call, d->failed ? 503 : 200, json);
}

void api_ready(struct request *q)
{
    bool ready = !q->daemon->draining && !q->daemon->failed;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "ready", ready);
    reply_json(q->call, ready ? 200 : 503, json);
}

void api_events(struct request *q)
{
    events_subscribe(q->daemon->events, q->call, NULL);
}

void api_job_events(struct request *q)
{
    events_subscribe(q->daemon->events, q->call, q->params[0]);
}

/* ---- the scripts that may be named ---- */

enum { SCRIPTS_MAX = 1000 };

static int is_script(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return *entry->d_name != '.' && dot && (strcmp(dot, ".lua") == 0 || strcmp(dot, ".json") == 0);
}

/* Of the folder itself: what lies deeper is mostly what these require, and can be named all the same. */
void api_scripts(struct request *q)
{
    const char *folder = q->daemon->options->jobs_folder;
    struct dirent **entries;
    int count = folder ? scandir(folder, &entries, is_script, alphasort) : 0;
    if (count < 0) {
        reply_problem(q->call, 503, "the folder of jobs cannot be read, %s", strerror(errno));
        return;
    }
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "scripts");
    for (int i = 0; i < count; i++) {
        if (i < SCRIPTS_MAX)
            cJSON_AddItemToArray(list, cJSON_CreateString(entries[i]->d_name));
        free(entries[i]);
    }
    if (folder)
        free(entries);
    cJSON_AddNumberToObject(json, "total", count);
    reply_json(q->call, 200, json);
}

void api_openapi(struct request *q)
{
    const struct asset *a = asset_find("openapi.json");
    reply_text(q->call, 200, "application/json", (struct str){a->text, a->len});
}
