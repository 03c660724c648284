#include "sim/plain.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"

static bool request(void *ctx, const struct ask *ask, struct buf *body, struct err *err)
{
    (void)ctx;
    return buf_add(body, ask->question->prompt.ptr, ask->question->prompt.len) ||
           err_set(err, ERR_USAGE, "the prompt is too long (%s): shorten it", ask->question->id);
}

/* Takes the first line off *rest. */
static struct str take_line(struct str *rest)
{
    const char *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    struct str line = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};
    size_t used = line.len + (end != NULL);
    *rest = (struct str){rest->ptr + used, rest->len - used};
    return line;
}

static const char *keep(struct str line, char out[PLAIN_LINE_BYTES])
{
    snprintf(out, PLAIN_LINE_BYTES, "%.*s", (int)line.len, line.ptr);
    return line.len ? out : NULL;
}

static void read_reply(void *ctx, const struct ask *ask, const struct response *r, struct answer *out)
{
    struct plain_adapter *a = ctx;
    struct str rest = r->body, kind = take_line(&rest);
    (void)ask;
    *out = (struct answer){.kind = ANSWER_ERROR, .error = r->body, .prompt_tokens = -1, .completion_tokens = -1,
                           .wait_us = -1};
    if (r->http_status / 100 != 2)
        return;
    if (str_is(kind, "answer")) {
        out->kind = ANSWER_TEXT;
        out->served_region = keep(take_line(&rest), a->region);
        out->served_model = keep(take_line(&rest), a->model);
        out->text = rest;
    } else if (str_is(kind, "error")) {
        out->error = rest;
    } else {
        out->kind = ANSWER_UNREADABLE;
        out->error = STR("neither an answer nor an error");
    }
}

void plain_adapter_port(struct plain_adapter *a, struct adapter_port *out)
{
    *out = (struct adapter_port){.ctx = a, .request = request, .read = read_reply};
}
