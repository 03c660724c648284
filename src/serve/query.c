/* Answers that come from rows. They are read on the store's reader thread; the loop never waits for a disk. */
#include <stdlib.h>

#include "base/mem.h"
#include "serve/internal.h"

static void query_free(struct query *q)
{
    for (size_t i = 0; i < q->live_count; i++) {
        free(q->live[i].id);
        free(q->live[i].json);
    }
    free(q->live);
    arena_done(&q->texts);
    buf_done(&q->body);
    free(q);
}

static void abandoned(struct parked *p)
{
    container_of(p, struct query, parked)->call = NULL;
}

struct query *query_new(struct request *rq, void (*read)(struct query *q, struct reader *reader))
{
    struct query *q = mem_zalloc(sizeof *q);
    q->parked.abandoned = abandoned;
    q->daemon = rq->daemon;
    q->call = rq->call;
    q->read = read;
    q->status = 200;
    arena_init(&q->texts);
    buf_init(&q->body, REPLY_MAX_BYTES);
    return q;
}

void query_failed(struct query *q, const struct err *err)
{
    q->status = err->code == ERR_USAGE ? 404 : 503;
    q->err = *err;
}

static void work(void *ctx, struct reader *reader, const struct err *error)
{
    struct query *q = ctx;
    if (reader)
        q->read(q, reader);
    else
        query_failed(q, error);
}

static void done(void *ctx)
{
    struct query *q = ctx;
    if (q->call && q->status >= 400)
        reply_problem(q->call, q->status, "%s", q->err.text);
    else if (q->finish)
        q->finish(q);
    else if (q->call && q->body.full)
        reply_problem(q->call, 500, "the answer is larger than %d MiB: ask for less", REPLY_MAX_BYTES >> 20);
    else if (q->call)
        reply_text(q->call, q->status, "application/json", buf_str(&q->body));
    query_free(q);
}

void query_start(struct query *q)
{
    http_call_set_user(q->call, &q->parked);
    if (store_read(session_store(q->daemon->session), work, done, q))
        return;
    reply_problem(q->call, 503, "too many queries wait for the database: ask again later");
    query_free(q);
}
