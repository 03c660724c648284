#include "net/http_client.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/timeutil.h"
#include "net/http_client_internal.h"

enum { SPARE_DESCRIPTORS = 256, DESCRIPTORS_PER_SHARD = 4 };

/* ---- the turn ---- */

static void kick_shards(struct loop_task *t)
{
    struct http_client *c = container_of(t, struct http_client, kick);
    struct list batch; /* a shard kicked again by its own kick waits for the next round */
    list_init(&batch);
    list_append(&batch, &c->kicked);
    while (!list_empty(&batch))
        http_shard_kick(container_of(list_pop(&batch), struct http_shard, kick_link));
}

/* A server that answered by HTTP/1 is not waited for any more. */
static void learn(struct http_request *q)
{
    long version = 0;
    curl_easy_getinfo(q->easy, CURLINFO_HTTP_VERSION, &version);
    if (version && version < CURL_HTTP_VERSION_2_0)
        q->target->multiplex = false;
}

static void end_request(struct http_client *c, struct http_request *q)
{
    struct response r;
    q->state = REQUEST_ENDING;
    http_request_result(q, &r);
    if (q->target->multiplex)
        learn(q);
    q->target->in_flight--;
    c->ending = true;
    q->ended(q->ctx, &r); /* may send, cancel others, and free the target */
    c->ending = false;
    http_request_put(c, q);
}

static void turn_ends(struct loop_hook *h)
{
    struct http_client *c = container_of(h, struct http_client, hook);
    while (!list_empty(&c->touched))
        http_shard_drain(container_of(list_pop(&c->touched), struct http_shard, touch_link));
    while (!list_empty(&c->done))
        end_request(c, container_of(list_pop(&c->done), struct http_request, link));
}

/* ---- the connect deadline ---- */

/* libcurl's own does not run while a transfer waits for another one's connection. */
static int64_t fail_overdue(struct http_client *c, struct http_target *t, int64_t now_us)
{
    while (!list_empty(&t->connecting)) {
        struct http_request *q = container_of(t->connecting.next, struct http_request, connect_link);
        if (q->sent_us + t->connect_us > now_us)
            return q->sent_us + t->connect_us;
        http_shard_remove(q);
        q->code = CURLE_OPERATION_TIMEDOUT;
        q->state = REQUEST_DONE;
        list_push(&c->done, &q->link);
    }
    return NEVER_US;
}

static void connect_overdue(void *ctx)
{
    struct http_client *c = ctx;
    int64_t now_us = loop_now_us(c->loop), next_us = NEVER_US;
    /* What ended in this turn already must not be taken for overdue. */
    while (!list_empty(&c->touched))
        http_shard_drain(container_of(list_pop(&c->touched), struct http_shard, touch_link));
    LIST_EACH(it, &c->targets) {
        int64_t at_us = fail_overdue(c, container_of(it, struct http_target, link), now_us);
        if (at_us < next_us)
            next_us = at_us;
    }
    c->connect_due_us = next_us;
    loop_timer_at(c->connect_timer, next_us);
}

static void await_connection(struct http_client *c, struct http_request *q)
{
    int64_t due_us = q->sent_us + q->target->connect_us;
    list_push(&q->target->connecting, &q->connect_link);
    if (due_us < c->connect_due_us) {
        c->connect_due_us = due_us;
        loop_timer_at(c->connect_timer, due_us);
    }
}

/* ---- requests ---- */

struct http_request *http_send(struct http_client *c, const struct http_send *s)
{
    assert(!c->inside && s->ended && s->target->client == c);
    struct http_request *q = http_request_get(c);
    http_request_prepare(q, s);
    q->sent_us = loop_now_us(c->loop);
    q->state = REQUEST_FLYING;
    q->target->in_flight++;
    await_connection(c, q);
    http_shard_add(http_shard_pick(q->target), q);
    return q;
}

void http_cancel(struct http_request *q)
{
    struct http_client *c = q->target->client;
    assert(!c->inside && (q->state == REQUEST_FLYING || q->state == REQUEST_DONE));
    if (q->state == REQUEST_FLYING)
        http_shard_remove(q);
    list_unlink(&q->link);
    q->target->in_flight--;
    http_request_put(c, q);
}

/* ---- the client ---- */

/* Enough descriptors for what is expected, and their table grown now: growing it later, with
 * threads about, makes socket() wait for milliseconds. */
static void prepare_descriptors(unsigned in_flight)
{
    struct rlimit limit;
    rlim_t shards = in_flight / 100 + 1;
    rlim_t need = in_flight + in_flight / 4 + shards * DESCRIPTORS_PER_SHARD + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < need) {
        limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    int highest = (int)(need < limit.rlim_cur ? need : limit.rlim_cur) - 1;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, highest);
    if (high >= 0)
        close(high);
    close(fd);
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_options *o, struct err *err)
{
    struct http_client *c = mem_zalloc(sizeof *c);
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, pool_malloc, pool_free, pool_realloc, pool_strdup, pool_calloc);
    if (o->ca_file && !http_trust_load(c, o->ca_file, err)) {
        curl_global_cleanup();
        free(c);
        return NULL;
    }
    prepare_descriptors(o->in_flight_hint);
    c->loop = loop;
    c->shards_wanted = o->in_flight_hint;
    c->http2 = o->http2;
    c->connect_due_us = NEVER_US;
    c->connect_timer = loop_timer_new(loop, connect_overdue, c);
    list_init(&c->kicked);
    list_init(&c->touched);
    list_init(&c->done);
    list_init(&c->spare);
    list_init(&c->targets);
    loop_task_init(&c->kick, kick_shards);
    loop_hook_add(loop, &c->hook, turn_ends);
    c->share = curl_share_init();
    if (!c->share)
        abort(); /* out of memory */
    curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    http_chain_build(&c->bare, o->user_agent, NULL, 0);
    c->user_agent = mem_strdup(o->user_agent);
    return c;
}

static void drop_requests(struct list *requests)
{
    while (!list_empty(requests)) {
        struct http_request *q = container_of(requests->next, struct http_request, link);
        if (q->state == REQUEST_FLYING)
            http_shard_remove(q);
        list_unlink(&q->link);
        http_request_free(q);
    }
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    assert(!c->inside && !c->ending);
    loop_hook_remove(&c->hook);
    drop_requests(&c->done);
    for (unsigned i = 0; i < c->shard_count; i++) {
        drop_requests(&c->shards[i]->requests);
        http_shard_free(c->shards[i]);
    }
    drop_requests(&c->spare);
    loop_task_cancel(&c->kick);
    loop_timer_free(c->connect_timer);
    while (!list_empty(&c->targets)) {
        struct http_target *t = container_of(list_pop(&c->targets), struct http_target, link);
        t->client = NULL;
        t->in_flight = 0;
    }
    curl_share_cleanup(c->share);
    http_chain_done(&c->bare);
    http_trust_done(c);
    free(c->user_agent);
    free(c->shards);
    free(c);
    curl_global_cleanup();
}
