#include "host/logging.h"

#include <stdio.h>
#include <string.h>

#include "base/timeutil.h"

/* Milliseconds are what a reader of a log can use. */
static double seconds(int64_t us)
{
    return (double)(us / MS_US) / 1000;
}

/* NULL leaves the field out. */
static const char *class_or_null(enum failure_class class)
{
    return class == CLASS_NONE ? NULL : class_name(class);
}

static void log_job(const struct event *e)
{
    struct job_view view, *v = &view;
    engine_job_view(e->job, v);
    if (e->kind == EVENT_JOB_STARTED) {
        log_event(LOG_INFO, "job started", LOG_S("job_id", v->id), LOG_I("executions", e->executions));
        return;
    }
    const struct tally *t = &v->tally;
    log_event(LOG_INFO, "job ended", LOG_S("job_id", v->id), LOG_S("state", job_state_name(v->state)),
              LOG_S("reason", v->reason), LOG_R("took_s", seconds(e->took_us)), LOG_I("executions", e->executions),
              LOG_I("succeeded", t->by_status[STATUS_SUCCEEDED]), LOG_I("failed", t->by_status[STATUS_FAILED]),
              LOG_I("cancelled", t->by_status[STATUS_CANCELLED]), LOG_I("skipped", t->by_status[STATUS_SKIPPED]),
              LOG_I("posts", v->posts), LOG_I("hops", v->hops), LOG_I("warm_posts", v->warm.posts),
              LOG_I("warm_hops", v->warm.hops));
}

static void log_batch(const struct event *e)
{
    struct job_view view, *v = &view;
    engine_job_view(e->job, v);
    const char *question = v->plan->job->questions[e->cell.question].id;
    const struct tally *t = &v->questions[e->cell.question].tally;
    if (e->kind == EVENT_BATCH_STARTED)
        log_event(LOG_INFO, "starting question batch", LOG_S("job_id", v->id), LOG_S("question", question),
                  LOG_I("question_num", e->cell.question + 1), LOG_I("total_questions", v->plan->question_count),
                  LOG_I("executions", e->executions));
    else
        log_event(LOG_INFO, "question batch completed", LOG_S("job_id", v->id), LOG_S("question", question),
                  LOG_I("question_num", e->cell.question + 1), LOG_I("total_questions", v->plan->question_count),
                  LOG_I("executions", e->executions), LOG_R("took_s", seconds(e->took_us)),
                  LOG_I("succeeded", t->by_status[STATUS_SUCCEEDED]),
                  LOG_I("failed", t->by_status[STATUS_FAILED]), LOG_I("cancelled", t->by_status[STATUS_CANCELLED]),
                  LOG_I("skipped", t->by_status[STATUS_SKIPPED]));
}

/* How an attempt or execution event reads; level is its importance. */
static const char *describe(const struct event *e, enum log_level *level)
{
    *level = LOG_DEBUG;
    switch (e->kind) {
    case EVENT_ATTEMPT_STARTED:
        *level = e->warm ? LOG_INFO : LOG_DEBUG;
        return e->warm ? "warming the endpoint up" : "asking";
    case EVENT_HOP:
        if (e->warm == WARM_HEALTH)
            return "asking the health URL";
        *level = e->hops <= 1 ? LOG_INFO : LOG_DEBUG; /* an endpoint that is polled makes many */
        return "fetching the answer from its result URL";
    case EVENT_ATTEMPT_FAILED: /* nothing is lost yet */
        *level = LOG_INFO;
        return e->warm ? "warm-up failed, will ask again" : "attempt failed, will ask again";
    default:
        break;
    }
    if (e->status == STATUS_FAILED)
        *level = LOG_WARN;
    if (e->warm) {
        *level = e->status == STATUS_SUCCEEDED ? LOG_INFO : *level;
        return e->status == STATUS_SUCCEEDED ? "endpoint is warm" : "endpoint could not be warmed up, it stays cold";
    }
    return e->status == STATUS_FAILED      ? "execution failed"
           : e->status == STATUS_SUCCEEDED ? "execution succeeded"
           : e->status == STATUS_CANCELLED ? "execution cancelled"
                                           : "execution skipped";
}

/* By the endpoint's id: its region's place is that of a table which may have been exchanged. */
static const char *region_of(const struct endpoint_spec *e, char out[128])
{
    size_t len = strlen(e->id) - strlen(e->model) - 1;
    snprintf(out, 128, "%.*s", (int)len, e->id);
    return out;
}

/* There are more of these events than of all others together, and most are wanted by nobody. */
static void log_execution(const struct event *e)
{
    enum log_level level;
    struct job_view v;
    char region[128];
    const char *message = describe(e, &level);
    bool failed = e->kind == EVENT_ATTEMPT_FAILED;
    if (!log_wanted(level))
        return;
    engine_job_view(e->job, &v);
    struct log_field fields[] = {
        LOG_S("job_id", v.id),
        LOG_S("question", e->warm ? NULL : v.plan->job->questions[e->cell.question].id),
        LOG_S("region", region_of(e->endpoint, region)),
        LOG_S("model", e->endpoint->model),
        LOG_I("sample", e->cell.sample + 1),
        LOG_I("attempt", e->attempt),
        LOG_S("class", class_or_null(e->class)),
        LOG_S("error", e->error),
        {.name = NULL}, {.name = NULL}, {.name = NULL}, {.name = NULL},
    };
    size_t n = 8;
    if (e->kind == EVENT_HOP || e->hops)
        fields[n++] = (struct log_field)LOG_I("hops", e->hops);
    if (failed)
        fields[n++] = (struct log_field)LOG_R("wait_s", seconds(e->wait_us));
    if (failed || e->kind == EVENT_EXECUTION_ENDED)
        fields[n++] = (struct log_field)LOG_R("took_s", seconds(e->took_us));
    log_fields(level, message, fields);
}

static void log_endpoint(const struct event *e)
{
    const char *id = e->endpoint->id;
    if (e->kind == EVENT_ENDPOINT_HELD)
        log_event(LOG_WARN, "endpoint asked for patience", LOG_S("endpoint", id), LOG_R("wait_s", seconds(e->wait_us)),
                  LOG_S("error", e->error));
    else if (e->kind == EVENT_BREAKER_CLOSED)
        log_event(LOG_INFO, "endpoint answers again", LOG_S("endpoint", id));
    else if (e->wait_us == NEVER_US)
        log_event(LOG_ERROR, "endpoint given up, what waits for it is skipped", LOG_S("endpoint", id),
                  LOG_S("class", class_or_null(e->class)), LOG_S("error", e->error));
    else
        log_event(LOG_WARN, "endpoint keeps failing, left alone for a while", LOG_S("endpoint", id),
                  LOG_R("wait_s", seconds(e->wait_us)), LOG_S("error", e->error));
}

void logging_event(const struct event *e)
{
    switch (e->kind) {
    case EVENT_JOB_STARTED:
    case EVENT_JOB_ENDED:
        log_job(e);
        break;
    case EVENT_BATCH_STARTED:
    case EVENT_BATCH_COMPLETED:
        log_batch(e);
        break;
    case EVENT_ATTEMPT_STARTED:
    case EVENT_HOP:
    case EVENT_ATTEMPT_FAILED:
    case EVENT_EXECUTION_ENDED:
        log_execution(e);
        break;
    case EVENT_ENDPOINT_HELD:
    case EVENT_BREAKER_OPENED:
    case EVENT_BREAKER_CLOSED:
        log_endpoint(e);
        break;
    }
}

void logging_script(void *ctx, const char *line)
{
    (void)ctx;
    log_event(LOG_INFO, line, LOG_S("from", "script"));
}
