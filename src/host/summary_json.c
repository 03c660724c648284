#include <math.h>

#include <cjson/cJSON.h>

#include "host/summary.h"

double summary_mean_s(const struct job_summary *job, int cold)
{
    return job->answers[cold] ? job->answers_s[cold] / (double)job->answers[cold] : (double)NAN;
}

static void add_counts(cJSON *to, int64_t planned, int64_t succeeded, int64_t failed, int64_t cancelled,
                       int64_t skipped)
{
    cJSON_AddNumberToObject(to, "planned", (double)planned);
    cJSON_AddNumberToObject(to, "succeeded", (double)succeeded);
    cJSON_AddNumberToObject(to, "failed", (double)failed);
    cJSON_AddNumberToObject(to, "cancelled", (double)cancelled);
    cJSON_AddNumberToObject(to, "skipped", (double)skipped);
}

/* NAN becomes null. */
static void add_real(cJSON *to, const char *name, double value)
{
    if (isnan(value))
        cJSON_AddNullToObject(to, name);
    else
        cJSON_AddNumberToObject(to, name, value);
}

cJSON *job_json(const struct job_summary *j)
{
    cJSON *json = cJSON_CreateObject();
    int64_t answers = j->by_status[STATUS_SUCCEEDED];
    cJSON_AddStringToObject(json, "job_id", j->id);
    cJSON_AddStringToObject(json, "name", j->name);
    cJSON_AddStringToObject(json, "state", job_state_name(j->state));
    cJSON_AddStringToObject(json, "policy", j->policy);
    add_counts(cJSON_AddObjectToObject(json, "executions"), j->planned, answers, j->by_status[STATUS_FAILED],
               j->by_status[STATUS_CANCELLED], j->by_status[STATUS_SKIPPED]);
    cJSON_AddNumberToObject(json, "posts", (double)j->posts);
    cJSON_AddNumberToObject(json, "hops", (double)j->hops);
    cJSON_AddNumberToObject(json, "attempts", (double)j->attempts);
    cJSON_AddNumberToObject(json, "warm_posts", (double)j->warm_posts);
    cJSON_AddNumberToObject(json, "warm_hops", (double)j->warm_hops);
    add_real(json, "posts_per_answer", answers ? (double)j->posts / (double)answers : NAN);
    if (job_state_is_final(j->state))
        cJSON_AddNullToObject(json, "owner_alive");
    else
        cJSON_AddBoolToObject(json, "owner_alive", !j->owner_gone);
    add_real(json, "created_at", j->created_at);
    add_real(json, "started_at", j->started_at);
    add_real(json, "ended_at", j->ended_at);
    add_real(json, "timeout_s", j->timeout_s);
    cJSON_AddNumberToObject(json, "revision", (double)j->revision);
    cJSON_AddNumberToObject(json, "max_in_flight", (double)j->max_in_flight);
    add_real(json, "max_batch_gap_s", j->max_batch_gap_s);
    add_real(json, "cost", j->cost);
    add_real(json, "warm_cost", j->warm_cost);
    return json;
}

cJSON *summary_json(const struct summary *s)
{
    cJSON *json = job_json(&s->job);
    cJSON *regions = cJSON_AddObjectToObject(json, "regions");
    for (size_t i = 0; i < s->region_count; i++) {
        const struct region_line *r = &s->regions[i];
        add_counts(cJSON_AddObjectToObject(regions, r->id), r->planned, r->succeeded, r->failed, r->cancelled,
                   r->skipped);
    }
    cJSON *failures = cJSON_AddArrayToObject(json, "failures");
    for (size_t i = 0; i < s->failure_count; i++) {
        const struct failure_line *f = &s->failures[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", f->endpoint);
        cJSON_AddStringToObject(one, "status", f->status);
        cJSON_AddStringToObject(one, "class", f->class);
        cJSON_AddNumberToObject(one, "count", (double)f->count);
        cJSON_AddStringToObject(one, "example", f->error);
        cJSON_AddItemToArray(failures, one);
    }
    cJSON *warm_ups = cJSON_AddArrayToObject(json, "warm_ups");
    for (size_t i = 0; i < s->warm_count; i++) {
        const struct warm_line *w = &s->warm_ups[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", w->endpoint);
        cJSON_AddStringToObject(one, "kind", w->kind);
        cJSON_AddStringToObject(one, "status", w->status);
        cJSON_AddStringToObject(one, "class", w->class);
        cJSON_AddStringToObject(one, "error", w->error);
        add_real(one, "took_s", w->took_s);
        cJSON_AddItemToArray(warm_ups, one);
    }
    cJSON *times = cJSON_AddObjectToObject(json, "times");
    for (int cold = 1; cold >= 0; cold--) {
        cJSON *one = cJSON_AddObjectToObject(times, cold ? "cold" : "warm");
        cJSON_AddNumberToObject(one, "answers", (double)s->job.answers[cold]);
        add_real(one, "mean_s", summary_mean_s(&s->job, cold));
    }
    return json;
}
