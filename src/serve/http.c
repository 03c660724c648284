/* A request's way in: may it be answered, which route is it, is its body right; and the ways out. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "serve/internal.h"

enum { PROBLEM_BYTES = 8192, ALLOW_BYTES = 64, KEYS_MAX = 16 };

/* ---- answers ---- */

/* Nothing of ours is loaded from elsewhere, framed, or remembered. */
static const struct http_reply_header guards[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
};

static void reply(struct http_call *c, int status, const char *content_type, struct str body, const char *name,
                  const char *value)
{
    struct http_reply_header headers[ARRAY_LEN(guards) + 1];
    size_t count = ARRAY_LEN(guards);
    struct daemon *d = http_call_server_ctx(c);
    metrics_reply(d->metrics, status);
    memcpy(headers, guards, sizeof guards);
    if (name)
        headers[count++] = (struct http_reply_header){name, value};
    http_reply(c, status, content_type, body, headers, count);
}

void reply_text(struct http_call *c, int status, const char *content_type, struct str body)
{
    reply(c, status, content_type, body, NULL, NULL);
}

/* A page of its own that has its style in itself, and no script. */
void reply_page(struct http_call *c, struct str body)
{
    struct http_reply_header headers[ARRAY_LEN(guards)];
    struct daemon *d = http_call_server_ctx(c);
    metrics_reply(d->metrics, 200);
    memcpy(headers, guards, sizeof guards);
    headers[0].value = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'; sandbox allow-same-origin";
    http_reply(c, 200, "text/html; charset=utf-8", body, headers, ARRAY_LEN(headers));
}

void reply_json(struct http_call *c, int status, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    reply_text(c, status, "application/json", str_from(text));
    cJSON_free(text);
    cJSON_Delete(json);
}

struct http_stream *reply_stream(struct http_call *c, const char *content_type, const struct http_stream_options *o)
{
    struct daemon *d = http_call_server_ctx(c);
    metrics_reply(d->metrics, 200);
    return http_reply_stream(c, 200, content_type, guards, ARRAY_LEN(guards), o);
}

static const char *reason_phrase(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 422: return "Unprocessable Content";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
    }
}

static void problem(struct http_call *c, int status, struct str detail, const char *name, const char *value)
{
    struct buf body;
    buf_init(&body, 8 * PROBLEM_BYTES);
    buf_addf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", reason_phrase(status),
             status);
    text_add_json(&body, detail);
    buf_addc(&body, '}');
    reply(c, status, "application/problem+json", buf_str(&body), name, value);
    buf_done(&body);
}

void reply_problem(struct http_call *c, int status, const char *fmt, ...)
{
    char detail[PROBLEM_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    problem(c, status, str_from(detail), status == 401 ? "WWW-Authenticate" : status == 503 ? "Retry-After" : NULL,
            status == 401 ? "Bearer" : "5");
}

void json_add_real(cJSON *to, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(to, name, value);
    else
        cJSON_AddNullToObject(to, name);
}

/* ---- routes ---- */

/* Does the path fit the pattern? Params are the caller's to free, fit or not. */
static bool match(const char *pattern, const char *path, char *params[PARAMS_MAX])
{
    size_t n = 0;
    while (*pattern) {
        if (*pattern != ':' && *pattern != '*') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        bool greedy = *pattern == '*';
        pattern += strcspn(pattern, "/");
        size_t rest = strlen(pattern), left = strlen(path), len = strcspn(path, "/");
        if (greedy && left >= rest)
            len = left - rest;
        if (!len)
            return false;
        params[n++] = mem_strndup(path, len);
        path += len;
    }
    return !*path;
}

static void free_params(char *params[PARAMS_MAX])
{
    for (size_t i = 0; i < PARAMS_MAX; i++)
        free(params[i]);
    memset(params, 0, PARAMS_MAX * sizeof *params);
}

static bool same_method(const struct route *r, const char *method)
{
    return strcmp(r->method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

/* NULL: there is none, and allow says what this path knows instead, if anything. */
static const struct route *find_route(struct request *q, struct buf *allow)
{
    const char *method = http_call_method(q->call), *path = http_call_path(q->call);
    for (const struct route *r = routes; r->method; r++) {
        bool fits = match(r->pattern, path, q->params);
        if (fits && same_method(r, method))
            return r;
        if (fits)
            buf_addf(allow, "%s%s", allow->len ? ", " : "", r->method);
        free_params(q->params);
    }
    return NULL;
}

void handle_call(void *ctx, struct http_call *c)
{
    struct request q = {.daemon = ctx, .call = c};
    struct buf allow;
    const char *why = NULL;
    buf_init(&allow, ALLOW_BYTES);
    const struct route *r = find_route(&q, &allow);
    int refused = guard_check(&q.daemon->guard, c, r ? r->access : ACCESS_READ, &why);
    if (refused)
        reply_problem(c, refused, "%s", why);
    else if (r)
        r->handle(&q);
    else if (allow.len)
        problem(c, 405, STR("this path knows other methods"), "Allow", buf_str(&allow).ptr);
    else
        reply_problem(c, 404, "nothing is at %.200s: /api/v1/openapi.json lists what there is", http_call_path(c));
    free_params(q.params);
    buf_done(&allow);
}

void handle_too_large(void *ctx, struct http_call *c)
{
    (void)ctx;
    reply_problem(c, 413, "the body is over %d MiB", BODY_MAX_BYTES >> 20);
}

void handle_abandoned(void *ctx, struct http_call *c)
{
    (void)ctx;
    struct parked *p = http_call_user(c);
    p->abandoned(p);
}

/* ---- what was sent ---- */

static bool known_keys(struct request *q, const cJSON *body, const char *const *keys)
{
    size_t count = 0;
    while (keys[count])
        count++;
    const cJSON *item;
    cJSON_ArrayForEach(item, body) {
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known = known || strcmp(item->string, keys[i]) == 0;
        if (known)
            continue;
        const char *near = nearest_name(item->string, keys, count);
        reply_problem(q->call, 400, "unknown key \"%.80s\"%s%s%s", item->string, near ? ": did you mean \"" : "",
                      near ? near : "", near ? "\"?" : "");
        return false;
    }
    return true;
}

cJSON *request_body(struct request *q, const char *const *keys)
{
    struct str text = http_call_body(q->call);
    const char *end = NULL;
    cJSON *body = text.len ? cJSON_ParseWithLengthOpts(text.ptr, text.len + 1, &end, true) : cJSON_CreateObject();
    if (!body || !cJSON_IsObject(body)) {
        reply_problem(q->call, 400, body ? "the body is not a JSON object" : "the body is not JSON, from byte %zu on",
                      end ? (size_t)(end - text.ptr) : 0);
        cJSON_Delete(body);
        return NULL;
    }
    if (known_keys(q, body, keys))
        return body;
    cJSON_Delete(body);
    return NULL;
}

bool body_text(struct request *q, const cJSON *body, const char *key, const char **out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, key);
    *out = NULL;
    if (item && !cJSON_IsNull(item) && !cJSON_IsString(item)) {
        reply_problem(q->call, 400, "\"%s\" is not a text", key);
        return false;
    }
    *out = cJSON_GetStringValue(item);
    return true;
}

bool query_flag(struct request *q, const char *name)
{
    const char *text = http_call_query(q->call, name);
    return text && strcmp(text, "false") != 0 && strcmp(text, "0") != 0;
}

bool query_word(struct request *q, const char *name, const char *const *words, size_t *out)
{
    const char *text = http_call_query(q->call, name);
    char known[256] = "";
    *out = 0;
    for (size_t i = 0; words[i]; i++) {
        if (text && strcmp(text, words[i]) == 0)
            *out = i;
        if (!text || strcmp(text, words[i]) == 0)
            return true;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", words[i]);
    }
    reply_problem(q->call, 400, "?%s=%.40s: give one of %s", name, text, known);
    return false;
}

bool query_integer(struct request *q, const char *name, int64_t low, int64_t high, int64_t *out)
{
    const char *text = http_call_query(q->call, name);
    if (!text)
        return true;
    char *end;
    long long n = strtoll(text, &end, 10);
    if (!*text || *end || *text == ' ' || n < low || n > high) {
        reply_problem(q->call, 400, "?%s=%.40s: give a number from %lld to %lld", name, text, (long long)low,
                      (long long)high);
        return false;
    }
    *out = n;
    return true;
}
