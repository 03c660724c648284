#include "serve/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "core/breaker.h"
#include "serve/internal.h"

enum { ENDPOINTS_MAX = 1000, BUCKETS = 20, TEXT_BYTES = 64 << 20, STATUS_CODES = 600 };
#define LOOK_EVERY_US SECOND_US

/* A provider ends a call after 150 s and cold starts take minutes: the usual buckets end where this begins. */
static const double bounds[BUCKETS] = {0.01, 0.05, 0.1, 0.25, 0.5, 1,   2.5, 5,   10,  20,
                                       30,   45,   60,  90,   120, 150, 200, 300, 600, 900};

struct histogram {
    uint64_t buckets[BUCKETS + 1], count;
    double sum;
};

struct series {                      /* of one endpoint */
    char *id;                        /* letters, digits and marks that need no escape */
    uint64_t posts, hops, ended[STATUS_COUNT], failed[CLASS_COUNT];
    struct histogram took;
    struct last_result last;
};

struct metrics {
    struct daemon *daemon;
    struct map ids;
    struct series series[ENDPOINTS_MAX + 1]; /* the last is that of all others */
    size_t count;
    uint64_t jobs_ended[JOB_STATE_COUNT], replies[STATUS_CODES];
    struct histogram batch_took, batch_gap;
    const struct engine_job *last_batch_job;
    int64_t last_batch_us;           /* when a batch of it ended */
    struct loop_timer *look;
    int64_t look_at_us;
    double lag_s, worst_lag_s;
};

/* ---- counting ---- */

static void observe(struct histogram *h, int64_t us)
{
    double s = (double)us / SECOND_US;
    size_t i = 0;
    while (i < BUCKETS && s > bounds[i])
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum += s;
}

static struct series *series_of(struct metrics *m, const char *id)
{
    uint32_t at;
    if (map_get(&m->ids, str_from(id), &at))
        return &m->series[at];
    if (m->count == ENDPOINTS_MAX)
        return &m->series[ENDPOINTS_MAX];
    struct series *s = &m->series[m->count];
    s->id = mem_strdup(id);
    map_add(&m->ids, str_from(s->id), (uint32_t)m->count);
    m->count++;
    return s;
}

static void count_batch(struct metrics *m, const struct event *e)
{
    if (e->kind == EVENT_BATCH_COMPLETED) {
        observe(&m->batch_took, e->took_us);
        m->last_batch_job = e->job;
        m->last_batch_us = e->at_us;
    } else if (m->last_batch_job == e->job && m->last_batch_us) {
        observe(&m->batch_gap, e->at_us - m->last_batch_us);
        m->last_batch_us = 0;
    }
}

void metrics_engine(struct metrics *m, const struct event *e)
{
    struct series *s = e->endpoint ? series_of(m, e->endpoint->id) : NULL;
    struct job_view v;
    switch (e->kind) {
    case EVENT_ATTEMPT_STARTED:
        s->posts += e->warm != WARM_HEALTH;
        break;
    case EVENT_HOP:
        s->hops++;
        break;
    case EVENT_EXECUTION_ENDED:
        if (e->warm)
            break;
        s->ended[e->status]++;
        s->last = (struct last_result){.at = unix_now_s(), .status = e->status, .class = e->class};
        snprintf(s->last.error, sizeof s->last.error, "%s", e->error ? e->error : "");
        s->failed[e->class] += e->status == STATUS_FAILED;
        if (e->status == STATUS_SUCCEEDED)
            observe(&s->took, e->took_us);
        break;
    case EVENT_BATCH_STARTED:
    case EVENT_BATCH_COMPLETED:
        count_batch(m, e);
        break;
    case EVENT_JOB_ENDED:
        engine_job_view(e->job, &v);
        m->jobs_ended[v.state]++;
        if (m->last_batch_job == e->job)
            m->last_batch_job = NULL;
        break;
    default:
        break;
    }
}

const struct last_result *metrics_last(const struct metrics *m, const char *endpoint)
{
    uint32_t at;
    if (!map_get(&m->ids, str_from(endpoint), &at) || m->series[at].last.at <= 0)
        return NULL;
    return &m->series[at].last;
}

void metrics_reply(struct metrics *m, int status)
{
    if (m && status >= 0 && status < STATUS_CODES)
        m->replies[status]++;
}

/* How late the loop comes to a timer is how late it comes to everything. */
static void look(void *ctx)
{
    struct metrics *m = ctx;
    int64_t now_us = loop_now_us(m->daemon->loop);
    if (m->look_at_us) {
        m->lag_s = (double)(now_us - m->look_at_us) / SECOND_US;
        m->worst_lag_s = fmax(m->worst_lag_s, m->lag_s);
    }
    m->look_at_us = now_us + LOOK_EVERY_US;
    loop_timer_at(m->look, m->look_at_us);
}

struct metrics *metrics_new(struct daemon *d)
{
    struct metrics *m = mem_zalloc(sizeof *m);
    m->daemon = d;
    map_init(&m->ids);
    m->series[ENDPOINTS_MAX].id = mem_strdup("other");
    m->look = loop_timer_new(d->loop, look, m);
    look(m);
    return m;
}

void metrics_stop(struct metrics *m)
{
    if (m) {
        loop_timer_free(m->look);
        m->look = NULL;
    }
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->series[i].id);
    free(m->series[ENDPOINTS_MAX].id);
    map_done(&m->ids);
    free(m);
}

/* ---- telling ---- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP canvass_%s %s\n# TYPE canvass_%s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    buf_addf(out, "canvass_%s %.17g\n", name, value);
}

static void add_histogram(struct buf *out, const char *name, const char *labels, const struct histogram *h)
{
    uint64_t below = 0;
    const char *comma = *labels ? "," : "";
    for (size_t i = 0; i < BUCKETS; i++) {
        below += h->buckets[i];
        buf_addf(out, "canvass_%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, bounds[i],
                 (unsigned long long)below);
    }
    buf_addf(out, "canvass_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, (unsigned long long)h->count);
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    buf_addf(out, "canvass_%s_sum%s%s%s %.6f\n", name, open, labels, close, h->sum);
    buf_addf(out, "canvass_%s_count%s%s%s %llu\n", name, open, labels, close, (unsigned long long)h->count);
}

/* The endpoints seen, then all others. */
static const struct series *next_series(const struct metrics *m, const struct series *s)
{
    size_t i = s ? (size_t)(s - m->series) + 1 : 0;
    return i < m->count ? &m->series[i] : i <= ENDPOINTS_MAX ? &m->series[ENDPOINTS_MAX] : NULL;
}

#define EACH_SERIES(s, m) for (const struct series *s = NULL; (s = next_series(m, s));)

static void add_endpoints(struct buf *out, const struct metrics *m)
{
    head(out, "posts_total", "counter", "POSTs sent, warm-ups included");
    EACH_SERIES (s, m)
        buf_addf(out, "canvass_posts_total{endpoint=\"%s\"} %llu\n", s->id, (unsigned long long)s->posts);
    head(out, "hops_total", "counter", "GETs of result URLs");
    EACH_SERIES (s, m)
        buf_addf(out, "canvass_hops_total{endpoint=\"%s\"} %llu\n", s->id, (unsigned long long)s->hops);
    head(out, "executions_total", "counter", "executions that have ended");
    EACH_SERIES (s, m)
        for (int i = STATUS_SUCCEEDED; i < STATUS_COUNT; i++)
            buf_addf(out, "canvass_executions_total{endpoint=\"%s\",status=\"%s\"} %llu\n", s->id,
                     status_name((enum status)i), (unsigned long long)s->ended[i]);
    head(out, "failures_total", "counter", "executions that failed, by class");
    EACH_SERIES (s, m)
        for (int i = CLASS_NONE + 1; i < CLASS_COUNT; i++)
            if (s->failed[i])
                buf_addf(out, "canvass_failures_total{endpoint=\"%s\",class=\"%s\"} %llu\n", s->id,
                         class_name((enum failure_class)i), (unsigned long long)s->failed[i]);
    head(out, "execution_duration_seconds", "histogram", "from the first POST of an execution to its answer");
    EACH_SERIES (s, m) {
        char *labels = mem_printf("endpoint=\"%s\"", s->id);
        add_histogram(out, "execution_duration_seconds", labels, &s->took);
        free(labels);
    }
}

/* Of the endpoints of the table of now. */
static void add_gauges(struct buf *out, struct metrics *m)
{
    static const struct {
        const char *name, *help;
    } gauges[] = {{"permits_used", "requests in flight at an endpoint"},
                  {"permits_limit", "requests it may have in flight now: slots, adaptive, one while it is cold"},
                  {"endpoint_waiting", "executions that wait for an endpoint"},
                  {"endpoint_backing_off", "executions that wait to be asked again"},
                  {"breaker_state", "0 closed, 1 open, 2 half open, 3 given up"},
                  {"endpoint_paused", "1: paused by the table"}};
    size_t count = session_table(m->daemon->session)->endpoint_count;
    for (size_t g = 0; g < ARRAY_LEN(gauges); g++) {
        head(out, gauges[g].name, "gauge", gauges[g].help);
        for (unsigned i = 0; i < count && i < ENDPOINTS_MAX; i++) {
            struct endpoint_view v;
            engine_endpoint_view(session_engine(m->daemon->session), i, &v);
            const unsigned values[] = {v.in_flight, v.limit, v.waiting, v.backing_off, (unsigned)v.breaker,
                                       v.away != NULL};
            buf_addf(out, "canvass_%s{endpoint=\"%s\"} %u\n", gauges[g].name, v.spec->id, values[g]);
        }
    }
}

static void add_jobs(struct buf *out, const struct metrics *m)
{
    unsigned running = 0, queued = 0;
    double oldest_s = 0;
    LIST_EACH (it, &m->daemon->runs) {
        const struct run *r = container_of(it, struct run, link);
        bool started = r->job && session_job_engine(r->job);
        running += started && !r->over;
        queued += !started && !r->over;
        if (!started && !r->over)
            oldest_s = fmax(oldest_s, unix_now_s() - r->created_at);
    }
    head(out, "jobs", "gauge", "jobs of this process");
    buf_addf(out, "canvass_jobs{state=\"running\"} %u\ncanvass_jobs{state=\"queued\"} %u\n", running, queued);
    head(out, "jobs_ended_total", "counter", "jobs that have ended here");
    for (int i = JOB_SUCCEEDED; i < JOB_STATE_COUNT; i++)
        buf_addf(out, "canvass_jobs_ended_total{state=\"%s\"} %llu\n", job_state_name((enum job_state)i),
                 (unsigned long long)m->jobs_ended[i]);
    one(out, "queue_age_seconds", "gauge", "how long the oldest queued job has waited", oldest_s);
}

static void add_service(struct buf *out, struct metrics *m)
{
    struct daemon *d = m->daemon;
    unsigned peak, in_flight = engine_in_flight(session_engine(d->session), &peak);
    uint64_t posts = 0, answers = 0;
    EACH_SERIES (s, m) {
        posts += s->posts;
        answers += s->ended[STATUS_SUCCEEDED];
    }
    head(out, "build_info", "gauge", "which program this is");
    buf_addf(out, "canvass_build_info{version=\"%s\"} 1\n", CANVASS_VERSION);
    one(out, "start_time_seconds", "gauge", "when it started, unix time", d->started_at);
    one(out, "in_flight", "gauge", "requests in flight", in_flight);
    one(out, "in_flight_peak", "gauge", "most requests in flight since the start", peak);
    one(out, "posts_per_answer", "gauge", "since the start; its target is 1",
        answers ? (double)posts / (double)answers : (double)NAN);
    one(out, "store_lag_seconds", "gauge", "how long the oldest record that is not on disk has waited",
        (double)store_lag_us(session_store(d->session)) / SECOND_US);
    one(out, "loop_lag_seconds", "gauge", "how late the event loop was at its last look, one a second", m->lag_s);
    one(out, "loop_lag_worst_seconds", "gauge", "the same, the worst since the last scrape", m->worst_lag_s);
    one(out, "region_table_revision", "gauge", "the revision in force",
        (double)session_table(d->session)->revision);
    one(out, "event_subscribers", "gauge", "readers of server-sent events", events_subscribers(d->events));
    head(out, "http_replies_total", "counter", "answers of this API");
    for (int i = 0; i < STATUS_CODES; i++)
        if (m->replies[i])
            buf_addf(out, "canvass_http_replies_total{code=\"%d\"} %llu\n", i, (unsigned long long)m->replies[i]);
    m->worst_lag_s = m->lag_s;
}

void api_metrics(struct request *q)
{
    struct metrics *m = q->daemon->metrics;
    struct buf out;
    buf_init(&out, TEXT_BYTES);
    add_service(&out, m);
    add_jobs(&out, m);
    add_endpoints(&out, m);
    head(&out, "batch_duration_seconds", "histogram", "from a question's first dispatch to its last answer");
    add_histogram(&out, "batch_duration_seconds", "", &m->batch_took);
    head(&out, "batch_gap_seconds", "histogram", "from a question's end to the first dispatch of the next");
    add_histogram(&out, "batch_gap_seconds", "", &m->batch_gap);
    add_gauges(&out, m);
    reply_text(q->call, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out));
    buf_done(&out);
}
