#include "serve/events.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "serve/internal.h"

enum {
    KEPT_MAX = 4096,                 /* events */
    KEPT_MAX_BYTES = 8 << 20,
    SUBSCRIBERS_MAX = 256,
    WAITING_MAX_BYTES = 1 << 20,     /* of one subscriber; KEPT_MAX_BYTES when it comes back */
    ID_BYTES = 48,
    BATCHES_AT_ONCE = 16,            /* events of batches, until jobs are told of */
};
#define TELL_EVERY_US (250 * MS_US)
#define HEARTBEAT_US (15 * SECOND_US) /* a reader that is gone without a word is found out by writing to it */

struct kept {
    struct list link;
    uint64_t id;
    char *job_id;                    /* NULL: of all */
    struct str text;                 /* as it is sent */
};

struct subscriber {
    struct list link;
    struct events *events;
    struct http_stream *stream;
    char *job_id;
};

struct events {
    struct loop *loop;
    struct list kept, subscribers, touched;
    size_t kept_count, kept_bytes;
    unsigned subscriber_count;
    uint64_t last_id;                /* given to an event */
    uint64_t lost_id;                /* events up to this one are not kept */
    uint64_t boot;                   /* ids of another process mean nothing here */
    struct loop_timer *tell, *heartbeat;
    bool telling;                    /* the timer is set */
    unsigned batches_told;           /* since it last fired */
};

/* ---- keeping ---- */

static void forget_oldest(struct events *e)
{
    struct kept *k = container_of(list_pop(&e->kept), struct kept, link);
    e->lost_id = k->id;
    e->kept_count--;
    e->kept_bytes -= k->text.len;
    free((char *)(uintptr_t)k->text.ptr);
    free(k->job_id);
    free(k);
}

static void keep(struct events *e, const char *job_id, struct buf *text)
{
    struct kept *k = mem_zalloc(sizeof *k);
    k->id = e->last_id;
    k->job_id = mem_strdup(job_id);
    k->text.len = text->len;
    k->text.ptr = buf_take(text);
    list_push(&e->kept, &k->link);
    e->kept_count++;
    e->kept_bytes += k->text.len;
    while (e->kept_count > KEPT_MAX || (e->kept_bytes > KEPT_MAX_BYTES && e->kept_count > 1))
        forget_oldest(e);
}

static bool concerns(const struct subscriber *s, const char *job_id)
{
    return !s->job_id || !job_id || strcmp(s->job_id, job_id) == 0;
}

void events_publish(struct events *e, const char *job_id, const char *type, cJSON *data)
{
    struct buf text;
    char *json = cJSON_PrintUnformatted(data);
    cJSON_Delete(data);
    buf_init(&text, KEPT_MAX_BYTES);
    buf_addf(&text, "id: %llx-%llu\nevent: %s\ndata: ", (unsigned long long)e->boot, (unsigned long long)++e->last_id,
             type);
    buf_adds(&text, json);
    buf_adds(&text, "\n\n");
    cJSON_free(json);
    LIST_EACH (it, &e->subscribers) {
        const struct subscriber *s = container_of(it, struct subscriber, link);
        if (concerns(s, job_id))
            http_stream_write(s->stream, buf_str(&text));
    }
    keep(e, job_id, &text);
}

/* ---- what is told ---- */

void events_job(struct events *e, struct run *r)
{
    list_unlink(&r->touched);
    events_publish(e, session_job_id(r->job), "job", run_json(r));
}

static void tell_touched(void *ctx)
{
    struct events *e = ctx;
    e->telling = false;
    e->batches_told = 0;
    while (!list_empty(&e->touched))
        events_job(e, container_of(e->touched.next, struct run, touched));
}

void events_touch(struct events *e, struct run *r)
{
    if (list_empty(&r->touched))
        list_push(&e->touched, &r->touched);
    if (!e->telling)
        loop_timer_at(e->tell, loop_now_us(e->loop) + TELL_EVERY_US);
    e->telling = true;
}

static void tell_batch(struct events *e, const struct run *r, const struct event *event)
{
    struct job_view v;
    engine_job_view(event->job, &v);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", v.id);
    cJSON_AddStringToObject(json, "question_id", v.plan->job->questions[event->cell.question].id);
    cJSON_AddNumberToObject(json, "question_num", event->cell.question + 1);
    cJSON_AddNumberToObject(json, "total_questions", v.plan->question_count);
    cJSON_AddStringToObject(json, "phase", event->kind == EVENT_BATCH_STARTED ? "started" : "completed");
    json_add_tally(json, &v.questions[event->cell.question].tally);
    events_publish(e, session_job_id(r->job), "batch", json);
}

static void tell_endpoint(struct events *e, const struct event *event)
{
    const char *what = event->kind == EVENT_ENDPOINT_HELD     ? "held"
                       : event->kind == EVENT_BREAKER_CLOSED  ? "breaker_closed"
                       : event->wait_us == NEVER_US           ? "given_up"
                                                              : "breaker_opened";
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "endpoint", event->endpoint->id);
    cJSON_AddStringToObject(json, "what", what);
    json_add_real(json, "for_s", event->wait_us == NEVER_US ? (double)NAN : (double)event->wait_us / SECOND_US);
    if (event->error)
        cJSON_AddStringToObject(json, "error", event->error);
    events_publish(e, NULL, "endpoint", json);
}

/* Batches may follow one another by the thousand a second; past a pace at which anybody reads them the job's own event,
 * which comes anyway, says enough. */
static bool may_tell_batch(struct events *e)
{
    return e->subscriber_count && e->batches_told++ < BATCHES_AT_ONCE;
}

void events_engine(struct events *e, struct run *r, const struct event *event)
{
    if (r)
        events_touch(e, r);
    switch (event->kind) {
    case EVENT_BATCH_STARTED:
    case EVENT_BATCH_COMPLETED:
        if (may_tell_batch(e))
            tell_batch(e, r, event);
        break;
    case EVENT_ENDPOINT_HELD:
    case EVENT_BREAKER_OPENED:
    case EVENT_BREAKER_CLOSED:
        tell_endpoint(e, event);
        break;
    default:
        break;
    }
}

/* ---- subscribers ---- */

static void unsubscribe(struct subscriber *s)
{
    list_unlink(&s->link);
    s->events->subscriber_count--;
    free(s->job_id);
    free(s);
}

static void closed(void *ctx, struct http_stream *stream)
{
    (void)stream;
    unsubscribe(ctx);
}

/* False: what came after it is not all there. */
static bool knows(const struct events *e, const char *last, uint64_t *id)
{
    char *end;
    unsigned long long boot = strtoull(last, &end, 16);
    if (end == last || *end != '-' || boot != e->boot)
        return false;
    *id = strtoull(end + 1, &end, 10);
    return !*end && *id >= e->lost_id && *id <= e->last_id;
}

static void catch_up(struct events *e, struct subscriber *s, const char *last)
{
    uint64_t id = 0;
    http_stream_write(s->stream, STR("retry: 2000\n\n"));
    if (!last)
        return;
    if (!knows(e, last, &id)) {
        struct buf text;
        buf_init(&text, 256);
        buf_addf(&text, "id: %llx-%llu\nevent: reset\ndata: {}\n\n", (unsigned long long)e->boot,
                 (unsigned long long)e->last_id);
        http_stream_write(s->stream, buf_str(&text));
        buf_done(&text);
        return;
    }
    LIST_EACH (it, &e->kept) {
        const struct kept *k = container_of(it, struct kept, link);
        if (k->id > id && concerns(s, k->job_id))
            http_stream_write(s->stream, k->text);
    }
}

void events_subscribe(struct events *e, struct http_call *c, const char *job_id)
{
    const char *last = http_call_header(c, "Last-Event-ID");
    char last_id[ID_BYTES] = "";
    if (e->subscriber_count == SUBSCRIBERS_MAX) {
        reply_problem(c, 503, "%d readers of events are here already: close one", SUBSCRIBERS_MAX);
        return;
    }
    if (last)
        snprintf(last_id, sizeof last_id, "%s", last);
    struct subscriber *s = mem_zalloc(sizeof *s);
    s->events = e;
    s->job_id = mem_strdup(job_id);
    s->stream = reply_stream(c, "text/event-stream",
                             &(struct http_stream_options){WAITING_MAX_BYTES + (last ? KEPT_MAX_BYTES : 0), closed, s});
    list_push(&e->subscribers, &s->link);
    e->subscriber_count++;
    catch_up(e, s, last ? last_id : NULL);
}

unsigned events_subscribers(const struct events *e)
{
    return e->subscriber_count;
}

static void beat(void *ctx)
{
    struct events *e = ctx;
    LIST_EACH (it, &e->subscribers)
        http_stream_write(container_of(it, struct subscriber, link)->stream, STR(":\n\n"));
    loop_timer_at(e->heartbeat, loop_now_us(e->loop) + HEARTBEAT_US);
}

/* ---- making and freeing ---- */

struct events *events_new(struct loop *loop)
{
    struct events *e = mem_zalloc(sizeof *e);
    e->loop = loop;
    e->boot = rng_entropy();
    list_init(&e->kept);
    list_init(&e->subscribers);
    list_init(&e->touched);
    e->tell = loop_timer_new(loop, tell_touched, e);
    e->heartbeat = loop_timer_new(loop, beat, e);
    beat(e);
    return e;
}

void events_close(struct events *e)
{
    if (!e)
        return;
    while (!list_empty(&e->subscribers)) {
        struct subscriber *s = container_of(e->subscribers.next, struct subscriber, link);
        http_stream_end(s->stream);
        unsubscribe(s);
    }
    loop_timer_free(e->tell);
    loop_timer_free(e->heartbeat);
    e->tell = e->heartbeat = NULL;
    e->telling = true; /* nobody is told any more */
}

void events_free(struct events *e)
{
    if (!e)
        return;
    while (!list_empty(&e->kept))
        forget_oldest(e);
    free(e);
}
