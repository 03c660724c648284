/* How the server itself is. */
#include <string.h>

#include "base/timeutil.h"
#include "core/breaker.h"
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

static const char *breaker_word(int state)
{
    return state == BREAKER_CLOSED ? "closed" : state == BREAKER_OPEN ? "open" : state == BREAKER_DEAD ? "dead" : "probing";
}

static cJSON *endpoint_json(const struct endpoint_view *v, int64_t now_us)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "endpoint", v->spec->id);
    cJSON_AddStringToObject(json, "breaker", breaker_word(v->breaker));
    cJSON_AddBoolToObject(json, "cold", v->cold);
    cJSON_AddNumberToObject(json, "in_flight", v->in_flight);
    cJSON_AddNumberToObject(json, "limit", v->limit);
    cJSON_AddNumberToObject(json, "waiting", v->waiting);
    cJSON_AddNumberToObject(json, "backing_off", v->backing_off);
    if (v->away)
        cJSON_AddStringToObject(json, "paused", v->away);
    if (v->held_until_us > now_us)
        cJSON_AddNumberToObject(json, "held_for_s", (double)(v->held_until_us - now_us) / SECOND_US);
    return json;
}

void api_health(struct request *q)
{
    struct daemon *d = q->daemon;
    const struct region_table *t = session_table(d->session);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "status", d->failed ? "failed" : d->draining ? "ending" : "ok");
    cJSON_AddStringToObject(json, "version", CANVASS_VERSION);
    cJSON_AddNumberToObject(json, "started_at", d->started_at);
    cJSON *services = cJSON_AddObjectToObject(json, "services");
    cJSON_AddItemToObject(services, "store", service(!d->failed, d->failed ? d->failure.text : NULL));
    cJSON_AddItemToObject(services, "engine", service(!d->failed, NULL));
    cJSON *endpoints = cJSON_AddArrayToObject(json, "endpoints");
    for (unsigned i = 0; i < t->endpoint_count; i++) {
        struct endpoint_view v;
        engine_endpoint_view(session_engine(d->session), i, &v);
        cJSON_AddItemToArray(endpoints, endpoint_json(&v, loop_now_us(d->loop)));
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

void api_openapi(struct request *q)
{
    const struct asset *a = asset_find("openapi.json");
    reply_text(q->call, 200, "application/json", (struct str){a->text, a->len});
}
