#include "net/http_client_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"

/* libcurl goes through all of a multi handle's connections in places: beyond a few hundred each request
 * costs visibly more. A hundred is also what HTTP/2 servers allow as streams of a connection; past that
 * every further transfer would open a connection of its own. The cache must hold more than can be in
 * flight, or live connections are thrown away. */
enum { SHARD_TRANSFERS = 100, SHARD_CONNECTIONS = SHARD_TRANSFERS + 56, NUDGE_EVERY_US = 100 * 1000 };

/* A socket that libcurl waits for. */
struct watch {
    struct http_shard *shard;
    curl_socket_t fd;
    struct loop_io *io;
};

static void touch(struct http_shard *s)
{
    if (list_empty(&s->touch_link))
        list_push(&s->client->touched, &s->touch_link);
}

static void act(struct http_shard *s, curl_socket_t fd, int bits)
{
    int running = 0;
    s->client->inside = true;
    CURLMcode code = curl_multi_socket_action(s->multi, fd, bits, &running);
    s->client->inside = false;
    assert(code == CURLM_OK);
    touch(s);
}

static void socket_ready(void *ctx, int events)
{
    struct watch *w = ctx;
    /* libcurl may drop the watch, and free it, before this returns. */
    act(w->shard, w->fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *old)
{
    (void)easy;
    struct http_shard *s = ctx;
    struct watch *w = old;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            loop_io_free(w->io);
            free(w);
        }
        return 0;
    }
    int events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
    if (w) {
        loop_io_set(w->io, events);
        return 0;
    }
    w = mem_alloc(sizeof *w);
    *w = (struct watch){.shard = s, .fd = fd};
    w->io = loop_io_new(s->client->loop, fd, events, socket_ready, w);
    curl_multi_assign(s->multi, fd, w);
    return 0;
}

/* libcurl may not be entered from its own callback, so "now" is a task. */
static int set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    struct http_shard *s = ctx;
    if (timeout_ms > 0) {
        loop_timer_at(s->timer, loop_now_us(s->client->loop) + timeout_ms * MS_US);
        return 0;
    }
    loop_timer_at(s->timer, NEVER_US);
    if (timeout_ms == 0 && list_empty(&s->kick_link)) {
        list_push(&s->client->kicked, &s->kick_link);
        loop_post(s->client->loop, &s->client->kick);
    }
    return 0;
}

void http_shard_kick(struct http_shard *s)
{
    act(s, CURL_SOCKET_TIMEOUT, 0);
}

static void timer_fired(void *ctx)
{
    http_shard_kick(ctx);
}

/* libcurl 7.88 forgets to go on with a stream whose answer outgrew its buffer while another stream
 * of the connection was being read: it would wait for ever. Pausing and resuming makes it look again. */
static void nudge(void *ctx)
{
    struct http_shard *s = ctx;
    s->nudging = false;
    s->client->inside = true;
    LIST_EACH(it, &s->requests) {
        struct http_request *q = container_of(it, struct http_request, link);
        if (!q->target->multiplex)
            continue;
        s->nudging = true;
        if (q->header_bytes) {
            curl_easy_pause(q->easy, CURLPAUSE_RECV);
            curl_easy_pause(q->easy, CURLPAUSE_CONT);
        }
    }
    s->client->inside = false;
    touch(s);
    if (s->nudging)
        loop_timer_at(s->nudge, loop_now_us(s->client->loop) + NUDGE_EVERY_US);
}

static struct http_shard *shard_new(struct http_client *c)
{
    struct http_shard *s = mem_zalloc(sizeof *s);
    s->client = c;
    s->multi = curl_multi_init();
    if (!s->multi)
        abort(); /* out of memory */
    s->timer = loop_timer_new(c->loop, timer_fired, s);
    s->nudge = loop_timer_new(c->loop, nudge, s);
    list_init(&s->kick_link);
    list_init(&s->touch_link);
    list_init(&s->requests);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_CONNECTIONS);

    c->shards = mem_array(c->shards, c->shard_count + 1, sizeof *c->shards);
    c->shards[c->shard_count++] = s;
    return s;
}

void http_shard_free(struct http_shard *s)
{
    assert(s->in_flight == 0);
    s->client->inside = true;
    curl_multi_cleanup(s->multi);
    s->client->inside = false;
    list_unlink(&s->kick_link);
    list_unlink(&s->touch_link);
    loop_timer_free(s->timer);
    loop_timer_free(s->nudge);
    free(s);
}

struct http_shard *http_shard_home(struct http_client *c)
{
    struct http_shard *least = NULL;
    for (unsigned i = 0; i < c->shard_count; i++)
        if (!least || c->shards[i]->targets < least->targets)
            least = c->shards[i];
    unsigned wanted = c->shards_wanted / SHARD_TRANSFERS + 1;
    if (!least || (least->targets > 0 && c->shard_count < wanted))
        least = shard_new(c);
    least->targets++;
    return least;
}

/* From the target's home on, the first with room: always in the same order, so that its
 * connections are found again and HTTP/2 streams share them. */
struct http_shard *http_shard_pick(struct http_target *t)
{
    if (t->home->in_flight < SHARD_TRANSFERS)
        return t->home;
    struct http_client *c = t->client;
    unsigned home = 0;
    while (c->shards[home] != t->home)
        home++;
    for (unsigned i = 1; i < c->shard_count; i++) {
        struct http_shard *s = c->shards[(home + i) % c->shard_count];
        if (s->in_flight < SHARD_TRANSFERS)
            return s;
    }
    return shard_new(c);
}

void http_shard_add(struct http_shard *s, struct http_request *q)
{
    q->shard = s;
    s->in_flight++;
    list_push(&s->requests, &q->link);
    s->client->inside = true;
    CURLMcode code = curl_multi_add_handle(s->multi, q->easy);
    s->client->inside = false;
    assert(code == CURLM_OK);
    if (q->target->multiplex && !s->nudging) {
        s->nudging = true;
        loop_timer_at(s->nudge, loop_now_us(s->client->loop) + NUDGE_EVERY_US);
    }
}

void http_shard_remove(struct http_request *q)
{
    struct http_shard *s = q->shard;
    assert(q->state == REQUEST_FLYING);
    s->client->inside = true;
    CURLMcode code = curl_multi_remove_handle(s->multi, q->easy);
    s->client->inside = false;
    assert(code == CURLM_OK);
    s->in_flight--;
    q->shard = NULL;
    list_unlink(&q->link);
    list_unlink(&q->connect_link);
}

void http_shard_drain(struct http_shard *s)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(s->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *owner = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
        struct http_request *q = (struct http_request *)(void *)owner;
        http_shard_remove(q); /* the message dies here */
        q->code = code;
        q->state = REQUEST_DONE;
        list_push(&s->client->done, &q->link);
    }
}
