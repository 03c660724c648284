#include "sim/replies.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "sim/answers.h"
#include "sim/plain.h"

enum { BODY_MAX_BYTES = 64 << 20, TOO_LARGE_BYTES = 9 << 20 };

static const char json_type[] = "application/json";
static const char plain_type[] = "text/plain; charset=utf-8";

void reply_init(struct reply *r)
{
    *r = (struct reply){.status = 200, .content_type = json_type};
    buf_init(&r->body, BODY_MAX_BYTES);
}

void reply_done(struct reply *r)
{
    buf_done(&r->body);
}

/* Takes the object. */
static void set_json(struct reply *r, cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    assert(text);
    buf_clear(&r->body);
    buf_adds(&r->body, text);
    r->content_type = json_type;
    free(text);
    cJSON_Delete(object);
}

static void set_text(struct reply *r, const char *content_type, const char *text)
{
    buf_clear(&r->body);
    buf_adds(&r->body, text);
    r->content_type = content_type;
}

/* ---- errors ---- */

struct error_words {
    int status;
    const char *openai, *anthropic;
};

static const struct error_words *words_for(int status)
{
    static const struct error_words all[] = {
        {401, "authentication_error", "authentication_error"}, {404, "invalid_request_error", "not_found_error"},
        {410, "invalid_request_error", "not_found_error"},     {429, "rate_limit_error", "rate_limit_error"},
        {500, "server_error", "api_error"},                    {503, "server_error", "overloaded_error"},
        {200, "server_error", "api_error"},                    {0, "invalid_request_error", "invalid_request_error"},
    };
    size_t i = 0;
    while (all[i].status && all[i].status != status)
        i++;
    return &all[i];
}

static void set_openai_error(struct reply *r, const char *type, const char *code, const char *message)
{
    cJSON *o = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(o, "error");
    cJSON_AddStringToObject(error, "message", message);
    cJSON_AddStringToObject(error, "type", type);
    cJSON_AddNullToObject(error, "param");
    if (code)
        cJSON_AddStringToObject(error, "code", code);
    else
        cJSON_AddNullToObject(error, "code");
    set_json(r, o);
}

static void set_anthropic_error(struct reply *r, const char *type, const char *message)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", "error");
    cJSON *error = cJSON_AddObjectToObject(o, "error");
    cJSON_AddStringToObject(error, "type", type);
    cJSON_AddStringToObject(error, "message", message);
    set_json(r, o);
}

static void set_runpod_error(struct reply *r, const char *message)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "error", message);
    set_json(r, o);
}

void reply_error(enum fleet_schema schema, int status, const char *message, struct reply *r)
{
    r->status = status;
    switch (schema) {
    case SCHEMA_MODAL: case SCHEMA_MODAL_OLD: case SCHEMA_PLAIN:
        set_text(r, plain_type, message); /* modal: the provider's gateway speaks, not the function */
        break;
    case SCHEMA_OPENAI:
        set_openai_error(r, words_for(status)->openai, NULL, message);
        break;
    case SCHEMA_ANTHROPIC:
        set_anthropic_error(r, words_for(status)->anthropic, message);
        break;
    case SCHEMA_RUNPOD:
        set_runpod_error(r, message);
        break;
    }
}

static const char *own_region(const struct fleet_endpoint *e)
{
    return e->served_region ? e->served_region : e->region;
}

void reply_lost_result(const struct fleet_endpoint *e, enum fleet_result_state state, struct reply *r)
{
    bool expired = state == RESULT_EXPIRED;
    const char *text = expired ? "the result of this function call has expired"
                               : "modal-http: invalid function call id";
    reply_error(e ? e->schema : SCHEMA_RUNPOD, expired ? 410 : 404, text, r);
}

/* Whole seconds only; rounded up, since who comes earlier is sent away again. */
const char *reply_retry_after(const struct reply *r, double speed, char out[RETRY_AFTER_BYTES])
{
    if (!r->retry_after_us)
        return NULL;
    snprintf(out, RETRY_AFTER_BYTES, "%.0f", ceil((double)r->retry_after_us / speed / (double)SECOND_US));
    return out;
}

void reply_function_failed(const struct fleet_endpoint *e, const char *error, double seconds, struct reply *r)
{
    cJSON *o = cJSON_CreateObject();
    if (e->schema == SCHEMA_MODAL)
        cJSON_AddBoolToObject(o, "success", false);
    else
        cJSON_AddStringToObject(o, "status", "error");
    cJSON_AddStringToObject(o, "error", error);
    cJSON_AddStringToObject(o, "region", own_region(e));
    cJSON_AddNumberToObject(o, "inference_time", seconds);
    set_json(r, o);
}

/* ---- answers ---- */

struct said {
    const struct fleet_endpoint *endpoint;
    const struct fleet_ended *ended;
    const char *result;
    const char *model, *region; /* as it says of itself */
    struct buf text;            /* valid UTF-8 */
    double seconds, unix_s;
    int prompt_tokens, answer_tokens;
};

static const char *own_model(const struct fleet_endpoint *e)
{
    return e->served_model ? e->served_model : e->model;
}

static const char *another_region(const struct fleet_spec *spec, const struct fleet_endpoint *e)
{
    for (size_t i = 0; i < spec->endpoint_count; i++)
        if (strcmp(spec->endpoints[i].region, e->region) != 0)
            return own_region(&spec->endpoints[i]);
    return "somewhere-else-1";
}

static const char *another_model(const struct fleet_spec *spec, const struct fleet_endpoint *e)
{
    for (size_t i = 0; i < spec->endpoint_count; i++)
        if (strcmp(spec->endpoints[i].model, e->model) != 0)
            return own_model(&spec->endpoints[i]);
    return "another-model";
}

static bool has_fault(const struct fleet_ended *ended, enum fault_what what)
{
    return ended->fault && ended->fault->what == what;
}

static int tokens_in(size_t bytes)
{
    return (int)(bytes / 4 + 1); /* close to what tokenizers make of English */
}

static double to_ms_places(double seconds)
{
    return round(seconds * 1e3) / 1e3;
}

static void add_text(struct said *s, const struct fleet_spec *spec)
{
    const struct fleet_ended *ended = s->ended;
    if (has_fault(ended, FAULT_EMPTY))
        return;
    struct answer_wish wish = {.prompt = ended->prompt, .model = s->endpoint->model, .region = s->endpoint->region,
                               .seed = ended->seed, .refuses = ended->refuses || has_fault(ended, FAULT_REFUSAL)};
    struct buf raw;
    buf_init(&raw, BODY_MAX_BYTES / 4);
    answer_write(&spec->answers, &wish, &raw);
    text_add_utf8(&s->text, buf_str(&raw));
    buf_done(&raw);
    while (has_fault(ended, FAULT_TOO_LARGE) && s->text.len < TOO_LARGE_BYTES)
        buf_adds(&s->text, " and so on, and so on, and so on, and so on, and so on, and so on, and so on, and so on");
}

static void said_init(struct said *s, const struct fleet_spec *spec, const struct fleet_ended *ended,
                      const char *result,
                      double unix_s)
{
    const struct fleet_endpoint *e = &spec->endpoints[ended->endpoint];
    *s = (struct said){.endpoint = e, .ended = ended, .result = result, .unix_s = unix_s};
    s->region = has_fault(ended, FAULT_WRONG_REGION) ? another_region(spec, e) : own_region(e);
    s->model = has_fault(ended, FAULT_WRONG_MODEL) ? another_model(spec, e) : own_model(e);
    s->seconds = to_ms_places((double)(ended->ended_us - ended->started_us) / 1e6);
    buf_init(&s->text, BODY_MAX_BYTES / 2);
    add_text(s, spec);
    s->prompt_tokens = tokens_in(ended->prompt.len);
    s->answer_tokens = tokens_in(s->text.len);
}

static const char *text_of(const struct said *s)
{
    return buf_str(&s->text).ptr;
}

static void add_receipt(cJSON *o, const struct said *s)
{
    char started[DURATION_TEXT], completed[DURATION_TEXT];
    cJSON *receipt = cJSON_AddObjectToObject(o, "receipt");
    cJSON_AddStringToObject(receipt, "schema_version", "v0.1.0");
    cJSON *details = cJSON_AddObjectToObject(receipt, "execution_details");
    char provider[128] = "modal-";
    strncat(provider, s->region, sizeof provider - sizeof "modal-");
    cJSON_AddStringToObject(details, "provider_id", provider);
    cJSON_AddStringToObject(details, "region", s->region);
    cJSON_AddStringToObject(details, "model", s->model);
    cJSON_AddStringToObject(details, "started_at", unix_format(s->unix_s - s->seconds, started));
    cJSON_AddStringToObject(details, "completed_at", unix_format(s->unix_s, completed));
    cJSON_AddNumberToObject(details, "duration", s->seconds);
    cJSON *output = cJSON_AddObjectToObject(receipt, "output");
    cJSON_AddStringToObject(output, "response", text_of(s));
    cJSON_AddNumberToObject(output, "tokens_generated", s->answer_tokens);
    cJSON *provenance = cJSON_AddObjectToObject(receipt, "provenance");
    cJSON_AddStringToObject(provenance, "provider", "simulated");
    cJSON_AddStringToObject(provenance, "architecture", "hf-transformers");
}

static cJSON *modal_body(const struct said *s, bool with_receipt)
{
    cJSON *o = cJSON_CreateObject();
    if (s->endpoint->schema == SCHEMA_MODAL_OLD)
        cJSON_AddStringToObject(o, "status", "success");
    else
        cJSON_AddBoolToObject(o, "success", true);
    cJSON_AddStringToObject(o, "response", text_of(s));
    cJSON_AddStringToObject(o, "model", s->model);
    cJSON_AddNumberToObject(o, "inference_time", s->seconds);
    cJSON_AddStringToObject(o, "region", s->region);
    cJSON_AddNumberToObject(o, "tokens_generated", s->answer_tokens);
    cJSON_AddNumberToObject(o, "gpu_memory_used", 2.4);
    if (with_receipt)
        add_receipt(o, s);
    return o;
}

static void make_id(const struct said *s, const char *prefix, char id[40])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    struct rng rng;
    rng_seed(&rng, s->ended->seed);
    size_t len = strlen(prefix);
    memcpy(id, prefix, len);
    for (int i = 0; i < 24; i++)
        id[len++] = digits[rng_next(&rng) % 36];
    id[len] = '\0';
}

static cJSON *openai_body(const struct said *s)
{
    char id[40];
    make_id(s, "chatcmpl-", id);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "object", "chat.completion");
    cJSON_AddNumberToObject(o, "created", floor(s->unix_s));
    cJSON_AddStringToObject(o, "model", s->model);
    cJSON *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "choices"), choice);
    cJSON_AddNumberToObject(choice, "index", 0);
    cJSON *message = cJSON_AddObjectToObject(choice, "message");
    cJSON_AddStringToObject(message, "role", "assistant");
    cJSON_AddStringToObject(message, "content", text_of(s));
    cJSON_AddStringToObject(choice, "finish_reason", "stop");
    cJSON *usage = cJSON_AddObjectToObject(o, "usage");
    cJSON_AddNumberToObject(usage, "prompt_tokens", s->prompt_tokens);
    cJSON_AddNumberToObject(usage, "completion_tokens", s->answer_tokens);
    cJSON_AddNumberToObject(usage, "total_tokens", s->prompt_tokens + s->answer_tokens);
    return o;
}

static cJSON *anthropic_body(const struct said *s)
{
    char id[40];
    make_id(s, "msg_", id);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "type", "message");
    cJSON_AddStringToObject(o, "role", "assistant");
    cJSON_AddStringToObject(o, "model", s->model);
    cJSON *part = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "content"), part);
    cJSON_AddStringToObject(part, "type", "text");
    cJSON_AddStringToObject(part, "text", text_of(s));
    cJSON_AddStringToObject(o, "stop_reason", "end_turn");
    cJSON_AddNullToObject(o, "stop_sequence");
    cJSON *usage = cJSON_AddObjectToObject(o, "usage");
    cJSON_AddNumberToObject(usage, "input_tokens", s->prompt_tokens);
    cJSON_AddNumberToObject(usage, "output_tokens", s->answer_tokens);
    return o;
}

static cJSON *runpod_body(const struct said *s, const char *status)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", s->result);
    cJSON_AddStringToObject(o, "status", status);
    if (s->ended->ended_us == NEVER_US)
        return o;
    cJSON_AddNumberToObject(o, "delayTime", (double)((s->ended->started_us - s->ended->asked_us) / MS_US));
    cJSON_AddNumberToObject(o, "executionTime", (double)((s->ended->ended_us - s->ended->started_us) / MS_US));
    return o;
}

static void set_answer(const struct said *s, struct reply *r)
{
    cJSON *o = NULL;
    switch (s->endpoint->schema) {
    case SCHEMA_PLAIN:
        set_text(r, plain_type, PLAIN_ANSWER);
        buf_addf(&r->body, "%s\n%s\n%s", s->region, s->model, text_of(s));
        return;
    case SCHEMA_MODAL: case SCHEMA_MODAL_OLD:
        o = modal_body(s, s->endpoint->schema == SCHEMA_MODAL);
        break;
    case SCHEMA_OPENAI:
        o = openai_body(s);
        break;
    case SCHEMA_ANTHROPIC:
        o = anthropic_body(s);
        break;
    case SCHEMA_RUNPOD:
        o = runpod_body(s, "COMPLETED");
        cJSON_AddItemToObject(o, "output", modal_body(s, false));
        break;
    }
    set_json(r, o);
}

/* What the schema says when the model itself broke down. */
static void set_breakdown(const struct said *s, struct reply *r)
{
    static const char what[] = "CUDA out of memory. Tried to allocate 2.00 GiB";
    if (s->endpoint->schema == SCHEMA_RUNPOD) {
        cJSON *o = runpod_body(s, "FAILED");
        cJSON_AddStringToObject(o, "error", what);
        set_json(r, o);
    } else if (s->endpoint->schema == SCHEMA_MODAL || s->endpoint->schema == SCHEMA_MODAL_OLD) {
        reply_function_failed(s->endpoint, what, s->seconds, r);
    } else if (s->endpoint->schema == SCHEMA_PLAIN) {
        set_text(r, plain_type, PLAIN_ERROR);
        buf_adds(&r->body, what);
    } else {
        reply_error(s->endpoint->schema, 200, what, r);
    }
}

static void write_answer(const struct said *s, struct reply *r)
{
    if (has_fault(s->ended, FAULT_MALFORMED)) {
        set_text(r, "text/html",
                 "<html><head><title>Application error</title></head><body>Something went wrong</body></html>");
    } else if (has_fault(s->ended, FAULT_ERROR)) {
        set_breakdown(s, r);
    } else {
        set_answer(s, r);
        if (has_fault(s->ended, FAULT_TRUNCATED)) {
            r->how = REPLY_TRUNCATED;
            r->promised_bytes = r->body.len;
            r->body.len /= 2;
        }
    }
}

/* ---- what is not an answer ---- */

static void write_come_back(const struct said *s, struct reply *r)
{
    const struct fleet_endpoint *e = s->endpoint;
    if (e->schema == SCHEMA_RUNPOD) {
        set_json(r, runpod_body(s, s->ended->started_us == NEVER_US ? "IN_QUEUE" : "IN_PROGRESS"));
        return;
    }
    r->status = e->redirect_status;
    r->result_url = true;
    if (r->status == 202)
        r->retry_after_us = e->retry_after_us;
}

static void write_busy(const struct fleet_endpoint *e, int status, struct reply *r)
{
    reply_error(e->schema, status, status == 429 ? "Too many requests" : "Service unavailable: no container is free",
                r);
    r->retry_after_us = e->retry_after_us;
}

static void write_overflow(const struct fleet_endpoint *e, struct reply *r)
{
    if (e->overflow == OVERFLOW_RESET)
        r->how = REPLY_RESET;
    else
        write_busy(e, e->overflow == OVERFLOW_429 ? 429 : 503, r);
}

static void write_struck(const struct fleet_endpoint *e, const struct fleet_fault *fault, struct reply *r)
{
    static const char quota[] = "workspace billing cycle spend limit reached";
    switch (fault->what) {
    case FAULT_500:
        reply_error(e->schema, 500, "Internal Server Error", r);
        break;
    case FAULT_503:
        write_busy(e, 503, r);
        break;
    case FAULT_429:
        write_busy(e, 429, r);
        break;
    case FAULT_404:
        reply_error(e->schema, 404, "modal-http: invalid function call", r);
        break;
    case FAULT_401:
        reply_error(e->schema, 401, "modal-http: missing credentials for proxy authorization", r);
        break;
    case FAULT_QUOTA:
        if (e->schema == SCHEMA_OPENAI)
            set_openai_error(r, "insufficient_quota", "insufficient_quota", quota);
        else
            reply_error(e->schema, 429, quota, r);
        r->status = 429;
        break;
    case FAULT_REDIRECT_AWAY:
        r->status = 303;
        r->location = fault->to;
        break;
    default: /* reset; the others do not end an exchange at the door */
        r->how = REPLY_RESET;
    }
}

void reply_write(const struct fleet_spec *spec, const struct fleet_ended *ended, const char *result, double unix_s,
                 struct reply *r)
{
    const struct fleet_endpoint *e = &spec->endpoints[ended->endpoint];
    struct said s = {.endpoint = e, .ended = ended, .result = result};
    switch (ended->end) {
    case FLEET_ANSWERED:
        said_init(&s, spec, ended, result, unix_s);
        write_answer(&s, r);
        buf_done(&s.text);
        break;
    case FLEET_COME_BACK:
        write_come_back(&s, r);
        break;
    case FLEET_OVERFLOW:
        write_overflow(e, r);
        break;
    case FLEET_FAILED:
        write_struck(e, ended->fault, r);
        break;
    }
}

/* ---- health ---- */

static const char *region_label(const struct fleet_spec *spec, const char *region)
{
    for (size_t i = 0; i < spec->endpoint_count; i++)
        if (strcmp(spec->endpoints[i].region, region) == 0)
            return own_region(&spec->endpoints[i]);
    return region;
}

/* models_ready stays empty, as upstream's does: health runs in a container of its own. */
void reply_health(const struct fleet_spec *spec, const char *region, double unix_s, struct reply *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "status", "healthy");
    cJSON_AddNumberToObject(o, "timestamp", unix_s);
    cJSON *models = cJSON_AddArrayToObject(o, "models_available");
    for (size_t i = 0; i < spec->endpoint_count; i++)
        if (strcmp(spec->endpoints[i].region, region) == 0)
            cJSON_AddItemToArray(models, cJSON_CreateString(spec->endpoints[i].model));
    cJSON_AddArrayToObject(o, "models_ready");
    cJSON_AddNumberToObject(o, "models_ready_count", 0);
    cJSON_AddStringToObject(o, "region", region_label(spec, region));
    cJSON_AddStringToObject(o, "architecture", "hf-transformers");
    cJSON_AddBoolToObject(o, "cache_initialized", true);
    set_json(r, o);
}
