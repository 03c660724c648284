#include "net/http_client_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/timeutil.h"

enum {
    SPARE_ALWAYS = 512,
    MAX_HEADER_BYTES = 256 * 1024,  /* of all responses to one request together */
    READ_BYTES = 4096,              /* each request in flight has a buffer of this size */
    UPLOAD_BYTES = 16 * 1024,       /* the least libcurl takes */
    POST_IDLE_S = 1,
    GET_IDLE_S = 60,
    PROBE_AFTER_S = 30,
    PROBE_EVERY_S = 15,
};

/* ---- callbacks of libcurl: they append and note, nothing else ---- */

/* Until 8.1.1 libcurl continues a folded header in the last one it had, which for the first of a response is that of
 * the handle's response before, and freed. RFC 9112, 5.2 lets such a line be refused. Each line of the head comes here
 * before libcurl looks at it (CURLOPT_HEADER), and then goes to take_header(). */
static bool may_pass(struct http_request *q, const char *line)
{
    q->fold_refused = q->head_lines == 1 && (line[0] == ' ' || line[0] == '\t');
    return !q->fold_refused;
}

static size_t take_body(char *ptr, size_t size, size_t count, void *ctx)
{
    struct http_request *q = ctx;
    if (!q->headers_complete)
        return may_pass(q, ptr) ? size * count : 0;
    return buf_add(&q->answer, ptr, size * count) ? size * count : 0;
}

static bool is_header(struct str line, const char *name)
{
    size_t len = strlen(name);
    return line.len > len && line.ptr[len] == ':' && strncasecmp(line.ptr, name, len) == 0;
}

static void keep_value(char **kept, struct str line)
{
    const char *from = memchr(line.ptr, ':', line.len), *end = line.ptr + line.len;
    from++;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    free(*kept);
    *kept = mem_strndup(from, (size_t)(end - from));
}

static void forget_headers(struct http_request *q)
{
    free(q->location);
    free(q->retry_after);
    q->location = q->retry_after = NULL;
}

/* Another head follows this one. What libcurl read out of the status line counts, not what we would: a head that it
 * goes on from and we do not would let a line pass that may_pass() is there to stop. 101 is the end of heads for it. */
static bool is_interim(const struct http_request *q)
{
    long status = 0;
    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 100 && status < 200 && status != 101;
}

static size_t take_header(char *ptr, size_t size, size_t count, void *ctx)
{
    struct http_request *q = ctx;
    struct str line = {ptr, size * count};
    q->header_bytes += line.len;
    if (q->header_bytes > MAX_HEADER_BYTES) {
        q->headers_too_large = true;
        return 0;
    }
    if (q->headers_complete)
        return line.len; /* a trailer */
    if (q->head_lines++ == 0) {
        forget_headers(q); /* those were of a 100 or 103 */
    } else if (ptr[0] == '\r' || ptr[0] == '\n') {
        q->headers_complete = !is_interim(q);
        q->head_lines = 0;
    } else if (is_header(line, "Location")) {
        keep_value(&q->location, line);
    } else if (is_header(line, "Retry-After")) {
        keep_value(&q->retry_after, line);
    }
    return line.len;
}

/* Called each time a request is about to be written. libcurl repeats a request by itself when a
 * reused connection dies before the first byte of an answer. The server may have run it by then, so
 * for a POST that would be paying twice: from the first byte sent on, it gets one chance only. */
static int about_to_send(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    struct http_request *q = ctx;
    long sent = 0;
    if (q->began && q->post)
        curl_easy_getinfo(q->easy, CURLINFO_REQUEST_SIZE, &sent);
    q->began = true;
    list_unlink(&q->connect_link);
    if (sent > 0) {
        q->repeat_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)ctx, (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- life ---- */

/* A setting that is refused is our mistake: each has been checked before it gets here. */
#define SET(easy, option, value)                                        \
    do {                                                                \
        CURLcode refused_ = curl_easy_setopt(easy, option, value);      \
        assert(refused_ == CURLE_OK);                                   \
    } while (0)

static void set_callbacks(struct http_request *q)
{
    SET(q->easy, CURLOPT_PRIVATE, q);
    SET(q->easy, CURLOPT_ERRORBUFFER, q->error);
    SET(q->easy, CURLOPT_WRITEFUNCTION, take_body);
    SET(q->easy, CURLOPT_WRITEDATA, q);
    SET(q->easy, CURLOPT_HEADERFUNCTION, take_header);
    SET(q->easy, CURLOPT_HEADERDATA, q);
    SET(q->easy, CURLOPT_PREREQFUNCTION, about_to_send);
    SET(q->easy, CURLOPT_PREREQDATA, q);
    SET(q->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
}

/* Set once: a handle is never reset between requests. curl_easy_reset() forgets the size of a
 * buffer that a handle may still have from a cancelled request, and the next read overruns it. */
static void set_constants(CURL *easy, CURLSH *share)
{
    SET(easy, CURLOPT_SHARE, share);
    SET(easy, CURLOPT_HEADER, 1L); /* for may_pass() */
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
    SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_TCP_KEEPIDLE, (long)PROBE_AFTER_S);
    SET(easy, CURLOPT_TCP_KEEPINTVL, (long)PROBE_EVERY_S);
    SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(easy, CURLOPT_PROXY, "");
    SET(easy, CURLOPT_NOPROXY, "");
}

/* A new handle takes 20,000 instructions, a tenth of all that an execution costs. */
struct http_request *http_request_get(struct http_client *c)
{
    c->in_use++;
    if (!list_empty(&c->spare)) {
        c->spare_count--;
        return container_of(list_pop(&c->spare), struct http_request, link);
    }
    struct http_request *q = mem_zalloc(sizeof *q);
    list_init(&q->link);
    list_init(&q->connect_link);
    buf_init(&q->trace_line, MAX_HEADER_BYTES);
    q->easy = curl_easy_init();
    if (!q->easy)
        abort(); /* out of memory */
    set_callbacks(q);
    set_constants(q->easy, c->share);
    http_trust_use(c, q->easy);
    return q;
}

static void forget_exchange(struct http_request *q)
{
    buf_done(&q->answer);
    forget_headers(q);
}

void http_request_free(struct http_request *q)
{
    curl_easy_cleanup(q->easy);
    forget_exchange(q);
    buf_done(&q->trace_line);
    free(q);
}

/* At most as many wait as are in use; the one whose memory is still warm goes first. */
void http_request_put(struct http_client *c, struct http_request *q)
{
    c->in_use--;
    if (c->spare_count >= SPARE_ALWAYS && c->spare_count >= c->in_use) {
        http_request_free(q);
        return;
    }
    forget_exchange(q);
    q->state = REQUEST_SPARE;
    list_push_front(&c->spare, &q->link);
    c->spare_count++;
}

/* ---- one request ---- */

static long to_ms(int64_t us)
{
    int64_t ms = us / MS_US + (us % MS_US > 0);
    return ms < INT32_MAX ? (long)ms : INT32_MAX;
}

static void set_method(CURL *easy, const struct http_send *s)
{
    /* A server closes idle connections after some seconds, and a POST that crosses the closing would be
     * lost: it takes only one that was just in use. A GET can be repeated. */
    SET(easy, CURLOPT_MAXAGE_CONN, (long)(s->post ? POST_IDLE_S : GET_IDLE_S));
    if (!s->post) {
        SET(easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    SET(easy, CURLOPT_POST, 1L);
    SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.len);
    SET(easy, CURLOPT_POSTFIELDS, s->body.len ? s->body.ptr : "");
}

static void set_headers(struct http_request *q, const struct http_send *s)
{
    const struct http_chain *from = s->without_headers ? &q->target->client->bare : &q->target->chain;
    struct curl_slist *list = s->post ? from->for_post : from->for_get;
    if (s->trace_id) {
        buf_clear(&q->trace_line);
        buf_adds(&q->trace_line, "X-Trace-Id: ");
        buf_adds(&q->trace_line, s->trace_id);
        q->trace = (struct curl_slist){q->trace_line.ptr, list};
        list = &q->trace;
    }
    SET(q->easy, CURLOPT_HTTPHEADER, list);
}

/* The parsed URL saves libcurl the parsing; the text beside it is what it goes by when it starts over. */
static void set_url(CURL *easy, const struct http_target *t, const char *other)
{
    SET(easy, CURLOPT_URL, other ? other : t->url_text);
    SET(easy, CURLOPT_CURLU, other ? NULL : t->url);
}

/* With a proxy the environment's no_proxy holds; without one it is not looked for, which takes libcurl 600
 * instructions a request. */
static void set_proxy(struct http_request *q, const char *proxy)
{
    if (!q->has_proxy && !proxy)
        return;
    q->has_proxy = proxy != NULL;
    SET(q->easy, CURLOPT_PROXY, proxy ? proxy : "");
    SET(q->easy, CURLOPT_NOPROXY, proxy ? NULL : "");
}

static void set_target(CURL *easy, const struct http_target *t)
{
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, to_ms(t->connect_us));
    SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->max_body_bytes);
    SET(easy, CURLOPT_HTTP_VERSION, (long)(t->multiplex ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    /* Else each of many requests at once would open a connection of its own before it is known that they
     * could share one. */
    SET(easy, CURLOPT_PIPEWAIT, t->multiplex ? 1L : 0L);
}

void http_request_prepare(struct http_request *q, const struct http_send *s)
{
    struct http_target *t = s->target;
    q->target = t;
    q->post = s->post;
    q->timeout_us = s->timeout_us;
    q->ended = s->ended;
    q->ctx = s->ctx;
    q->header_bytes = 0;
    q->head_lines = 0;
    q->code = CURLE_OK;
    q->began = q->repeat_refused = q->headers_complete = q->headers_too_large = q->fold_refused = false;
    q->error[0] = q->detail[0] = '\0';
    buf_init(&q->answer, t->max_body_bytes);

    set_proxy(q, t->proxy);
    set_target(q->easy, t);
    set_url(q->easy, t, s->url);
    set_method(q->easy, s);
    set_headers(q, s);
    SET(q->easy, CURLOPT_TIMEOUT_MS, to_ms(s->timeout_us));
}
