/* What a simulated endpoint takes for a request, and what it says to anything else. */
#include "sim/replies.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"

enum { COMPLAINT_BYTES = 256 };

static const char *string_in(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* A message's content: a string, or parts of which some are text. */
static void add_content(const cJSON *content, struct buf *prompt)
{
    const char *text = cJSON_GetStringValue(content);
    if (text)
        buf_adds(prompt, text);
    const cJSON *part;
    cJSON_ArrayForEach(part, content) {
        const char *piece = cJSON_IsObject(part) ? string_in(part, "text") : NULL;
        if (piece)
            buf_adds(prompt, piece);
    }
}

/* The last thing the user said. */
static void add_user_message(const cJSON *body, struct buf *prompt)
{
    const cJSON *message, *last = NULL;
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(body, "messages")) {
        const char *role = string_in(message, "role");
        if (role && strcmp(role, "user") == 0)
            last = message;
    }
    if (last)
        add_content(cJSON_GetObjectItemCaseSensitive(last, "content"), prompt);
}

/* One way to be wrong: the status it is answered with and what is said; status 0: nothing is wrong. */
struct complaint {
    int status;
    char text[COMPLAINT_BYTES];
};

static struct complaint PRINTF_LIKE(2, 3) complain(int status, const char *fmt, ...)
{
    struct complaint c = {.status = status};
    va_list args;
    va_start(args, fmt);
    vsnprintf(c.text, sizeof c.text, fmt, args);
    va_end(args);
    return c;
}

/* Who is asked, and by which other name; NULL: none. */
struct asked {
    const struct fleet_endpoint *endpoint;
    const char *called;
};

static bool is_model(const struct asked *a, const char *name)
{
    return strcmp(name, a->endpoint->model) == 0 || (a->called && strcmp(name, a->called) == 0);
}

static struct complaint read_function(const struct asked *a, const cJSON *input, struct buf *prompt)
{
    const char *model = string_in(input, "model");
    if (model && !is_model(a, model))
        return complain(200, "Unknown model: %.100s", model);
    const char *text = string_in(input, "prompt");
    if (!text || !*text)
        return complain(200, "Prompt is required");
    buf_adds(prompt, text);
    return (struct complaint){0};
}

static struct complaint read_chat(const struct asked *a, const cJSON *body, struct buf *prompt)
{
    const char *model = string_in(body, "model");
    if (!model)
        return complain(400, "you must provide a model parameter");
    if (!is_model(a, model))
        return complain(404, "The model `%.100s` does not exist", model);
    if (a->endpoint->schema == SCHEMA_ANTHROPIC &&
        !cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(body, "max_tokens")))
        return complain(400, "max_tokens: Field required");
    add_user_message(body, prompt);
    return prompt->len ? (struct complaint){0} : complain(400, "messages: at least one user message is required");
}

static struct complaint read_body(const struct asked *a, const cJSON *body, struct buf *prompt)
{
    enum fleet_schema schema = a->endpoint->schema;
    if (!cJSON_IsObject(body))
        return complain(schema == SCHEMA_MODAL || schema == SCHEMA_MODAL_OLD ? 422 : 400,
                        "the body is not a JSON object");
    if (schema == SCHEMA_OPENAI || schema == SCHEMA_ANTHROPIC)
        return read_chat(a, body, prompt);
    if (schema != SCHEMA_RUNPOD)
        return read_function(a, body, prompt);
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(body, "input");
    if (!cJSON_IsObject(input))
        return complain(400, "input is required");
    struct complaint c = read_function(a, input, prompt);
    if (c.status)
        c.status = 400;
    return c;
}

bool reply_read_request(const struct fleet_endpoint *e, const char *called, struct str body, struct buf *prompt,
                        struct reply *refusal)
{
    if (e->schema == SCHEMA_PLAIN)
        return buf_add(prompt, body.ptr, body.len);
    cJSON *parsed = cJSON_ParseWithLength(body.ptr, body.len);
    struct complaint c = read_body(&(struct asked){e, called}, parsed, prompt);
    cJSON_Delete(parsed);
    if (!c.status)
        return true;
    if (c.status == 200)
        reply_function_failed(e, c.text, 0, refusal);
    else
        reply_error(e->schema, c.status, c.text, refusal);
    return false;
}
