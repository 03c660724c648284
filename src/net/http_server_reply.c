#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/http_server_internal.h"

enum { STREAM_BLOCK_BYTES = 16 * 1024 };

/* ---- what a handler sees ---- */

const char *http_call_method(const struct http_call *c)
{
    return c->method;
}

const char *http_call_path(const struct http_call *c)
{
    return c->path;
}

const char *http_call_query(const struct http_call *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_call_header(const struct http_call *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

struct str http_call_body(const struct http_call *c)
{
    return buf_str(&c->body);
}

void *http_call_server_ctx(const struct http_call *c)
{
    return c->server->options.ctx;
}

void http_call_set_user(struct http_call *c, void *user)
{
    c->user = user;
}

void *http_call_user(const struct http_call *c)
{
    return c->user;
}

/* ---- replies ---- */

static void reply_with(struct http_call *c, int status, struct MHD_Response *response)
{
    if (!response)
        abort(); /* out of memory */
    c->status = (unsigned)status;
    c->response = response;
    http_call_settle(c, CALL_ANSWERED);
}

static void add_headers(struct MHD_Response *r, const char *content_type, const struct http_reply_header *headers,
                        size_t header_count)
{
    if (r && content_type)
        MHD_add_response_header(r, "Content-Type", content_type);
    for (size_t i = 0; r && i < header_count; i++)
        MHD_add_response_header(r, headers[i].name, headers[i].value);
}

void http_reply(struct http_call *c, int status, const char *content_type, struct str body,
                const struct http_reply_header *headers, size_t header_count)
{
    /* Not written to: libmicrohttpd copies it. */
    void *bytes = (void *)(uintptr_t)(body.len ? body.ptr : "");
    struct MHD_Response *r = MHD_create_response_from_buffer(body.len, bytes, MHD_RESPMEM_MUST_COPY);
    add_headers(r, content_type, headers, header_count);
    reply_with(c, status, r);
}

void http_reply_reset(struct http_call *c)
{
    /* Dissolving the association sends the reset now; the daemon would send a FIN before it closes. */
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    connect(http_call_socket(c), &nobody, sizeof nobody);
    http_call_settle(c, CALL_DROPPED);
}

struct part {
    size_t len;
    char bytes[];
};

static ssize_t read_part(void *ctx, uint64_t pos, char *out, size_t max)
{
    const struct part *p = ctx;
    if (pos >= p->len)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = p->len - (size_t)pos < max ? p->len - (size_t)pos : max;
    memcpy(out, p->bytes + pos, n);
    return (ssize_t)n;
}

void http_reply_truncated(struct http_call *c, int status, struct str body, size_t promised_bytes)
{
    assert(promised_bytes > body.len);
    struct part *p = mem_alloc(sizeof *p + body.len);
    p->len = body.len;
    if (body.len)
        memcpy(p->bytes, body.ptr, body.len);
    reply_with(c, status, MHD_create_response_from_callback(promised_bytes, 4096, read_part, p, free));
}

/* ---- replies that go on ---- */

static void wake(struct http_stream *st)
{
    if (!st->asleep)
        return;
    st->asleep = false;
    http_call_resume(st->call);
}

void http_stream_cut(struct http_stream *st)
{
    st->cut = true;
    shutdown(http_call_socket(st->call), SHUT_RDWR);
    wake(st);
}

static ssize_t read_stream(void *ctx, uint64_t pos, char *out, size_t max)
{
    struct http_stream *st = ctx;
    (void)pos;
    if (st->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = st->out.len - st->sent;
    if (n == 0 && st->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        st->asleep = true;
        http_call_suspend(st->call);
        return 0;
    }
    n = n < max ? n : max;
    memcpy(out, st->out.ptr + st->sent, n);
    st->sent += n;
    if (st->sent == st->out.len) {
        buf_clear(&st->out);
        st->sent = 0;
    }
    return (ssize_t)n;
}

struct http_stream *http_reply_stream(struct http_call *c, int status, const char *content_type,
                                      const struct http_reply_header *headers, size_t header_count,
                                      const struct http_stream_options *o)
{
    struct http_stream *st = mem_zalloc(sizeof *st);
    st->options = *o;
    st->call = c;
    buf_init(&st->out, o->waiting_max_bytes);
    c->stream = st;
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, st, NULL);
    add_headers(r, content_type, headers, header_count);
    reply_with(c, status, r);
    return st;
}

void http_stream_write(struct http_stream *st, struct str data)
{
    if (st->cut)
        return;
    if (st->sent) { /* what has left makes room */
        memmove(st->out.ptr, st->out.ptr + st->sent, st->out.len - st->sent);
        st->out.len -= st->sent;
        st->sent = 0;
    }
    if (buf_add(&st->out, data.ptr, data.len))
        wake(st);
    else
        http_stream_cut(st);
}

void http_stream_end(struct http_stream *st)
{
    st->ended = true;
    wake(st);
}

void http_stream_free(struct http_stream *st)
{
    if (!st)
        return;
    if (!st->ended)
        st->options.closed(st->options.ctx, st);
    buf_done(&st->out);
    free(st);
}
