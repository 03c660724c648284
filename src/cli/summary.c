#include "cli/summary.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/table.h"

/* Of each list: a table has at most so many regions, and its endpoints fail in so many ways. */
enum { LINES_MAX = 4096 };

struct region_line {
    const char *id;
    int64_t planned, succeeded, failed, cancelled, skipped;
};

struct failure_line {
    const char *endpoint, *status, *class, *error;
    int64_t count;
};

struct warm_line {
    const char *endpoint, *kind, *status, *class, *error;
    double took_s;
};

struct summary {
    struct arena arena;
    struct job_summary job;
    struct region_line *regions;
    struct failure_line *failures;
    size_t region_count, failure_count;
    struct warm_line *warm_ups;
    size_t warm_count;
};

/* NAN when there was none. */
static double mean_s(const struct job_summary *job, int cold)
{
    return job->answers[cold] ? job->answers_s[cold] / (double)job->answers[cold] : (double)NAN;
}

/* ---- reading ---- */

#define JOB(column) "(SELECT " column " FROM jobs WHERE id = ?1)"

static const char region_sql[] =
    "SELECT region, count(*) * " JOB("planned / width") " FROM job_cells WHERE job_row = " JOB("row")
    " GROUP BY region ORDER BY min(position)";

/* Mostly few, and then cheaper than to group all that went well. */
static const char rest_sql[] =
    "SELECT endpoint, status, coalesce(class, ''), max(error), count(*), region FROM executions WHERE job_id = ?1"
    " AND status <> 'succeeded' GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3";

static const char *keep(struct summary *s, const struct value *v)
{
    return v->type == VALUE_TEXT ? arena_strndup(&s->arena, v->text.ptr, v->text.len) : "";
}

static bool add_region(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    s->regions = mem_array(s->regions, s->region_count + 1, sizeof *s->regions);
    s->regions[s->region_count++] =
        (struct region_line){.id = keep(s, &v[0]), .planned = v[1].integer, .succeeded = v[1].integer};
    return s->region_count < LINES_MAX;
}

static void take_from_region(struct summary *s, struct str region, enum status status, int64_t count)
{
    for (size_t i = 0; i < s->region_count; i++) {
        struct region_line *r = &s->regions[i];
        if (!str_is(region, r->id))
            continue;
        r->succeeded -= count;
        r->failed += status == STATUS_FAILED ? count : 0;
        r->cancelled += status == STATUS_CANCELLED ? count : 0;
        r->skipped += status == STATUS_SKIPPED ? count : 0;
    }
}

static bool add_rest(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    struct failure_line line = {keep(s, &v[0]), keep(s, &v[1]), keep(s, &v[2]), keep(s, &v[3]), v[4].integer};
    enum status status;
    if (!status_parse(line.status, &status))
        return true;
    take_from_region(s, v[5].text, status, line.count);
    if (!status_is_final(status) || s->failure_count == LINES_MAX)
        return true;
    s->failures = mem_array(s->failures, s->failure_count + 1, sizeof *s->failures);
    s->failures[s->failure_count++] = line;
    return true;
}

static const char warm_sql[] =
    "SELECT endpoint, kind, status, coalesce(class, ''), coalesce(error, ''), ended_at - started_at FROM warmups"
    " WHERE job_id = ?1 ORDER BY row";

static bool add_warm_up(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    s->warm_ups = mem_array(s->warm_ups, s->warm_count + 1, sizeof *s->warm_ups);
    s->warm_ups[s->warm_count++] = (struct warm_line){keep(s, &v[0]), keep(s, &v[1]), keep(s, &v[2]), keep(s, &v[3]),
                                                      keep(s, &v[4]), v[5].type == VALUE_REAL ? v[5].real : NAN};
    return s->warm_count < LINES_MAX;
}

struct summary *summary_load(struct reader *reader, const char *job_id, struct err *err)
{
    struct summary *s = mem_zalloc(sizeof *s);
    arena_init(&s->arena);
    const char *bind[] = {s->job.id};
    if (reader_job(reader, job_id, &s->job, err) &&
        reader_sql(reader, region_sql, bind, 1, 0, add_region, s, err) &&
        (s->job.by_status[STATUS_SUCCEEDED] == s->job.planned ||
         reader_sql(reader, rest_sql, bind, 1, 0, add_rest, s, err)) &&
        (s->job.warm_ups == 0 || reader_sql(reader, warm_sql, bind, 1, 0, add_warm_up, s, err)))
        return s;
    summary_free(s);
    return NULL;
}

void summary_free(struct summary *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    free(s->regions);
    free(s->failures);
    free(s->warm_ups);
    free(s);
}

const struct job_summary *summary_job(const struct summary *s)
{
    return &s->job;
}

/* ---- text ---- */

enum { TIME_TEXT = 2 * DURATION_TEXT + 16 };

/* "8.9 s", and with a simulated fleet "8.9 s (8m 54s simulated)". */
static char *time_text(double s, double speed, char out[TIME_TEXT])
{
    char real[DURATION_TEXT], simulated[DURATION_TEXT];
    duration_format((int64_t)(s * SECOND_US), real);
    duration_format((int64_t)(s * speed * SECOND_US), simulated);
    if (speed < 1 || speed > 1)
        snprintf(out, TIME_TEXT, "%s (%s simulated)", real, simulated);
    else
        snprintf(out, TIME_TEXT, "%s", real);
    return out;
}

static void add_upper(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_addc(out, (char)toupper((unsigned char)*text));
}

static void add_head(const struct summary *s, double speed, struct buf *out)
{
    const struct job_summary *j = &s->job;
    char text[TIME_TEXT];
    buf_addf(out, "%s: %s", j->id, job_state_name(j->state));
    if (!isnan(j->started_at) && !isnan(j->ended_at))
        buf_addf(out, " after %s", time_text(j->ended_at - j->started_at, speed, text));
    else if (!isnan(j->started_at))
        buf_addf(out, " since %s", unix_format(j->started_at, text));
    if (j->owner_gone)
        buf_addf(out, ", interrupted (its process is gone: canvass resume %s goes on)", j->id);
    buf_adds(out, "\n\n");
}

static void add_regions(const struct summary *s, struct buf *out)
{
    for (size_t i = 0; i < s->region_count; i++) {
        buf_adds(out, "  ");
        add_upper(out, s->regions[i].id);
        buf_addf(out, " %lld/%lld\n", (long long)s->regions[i].succeeded, (long long)s->regions[i].planned);
    }
    buf_addf(out, "  total %lld/%lld\n\n", (long long)s->job.by_status[STATUS_SUCCEEDED], (long long)s->job.planned);
}

static void add_figures(const struct summary *s, double speed, struct buf *out)
{
    const struct job_summary *j = &s->job;
    char text[TIME_TEXT];
    int64_t answers = j->by_status[STATUS_SUCCEEDED];
    if (answers)
        buf_addf(out, "  posts per answer  %.2f", (double)j->posts / (double)answers);
    else
        buf_adds(out, "  posts per answer  -");
    buf_addf(out, " (%lld posts, %lld hops)\n", (long long)j->posts, (long long)j->hops);
    if (j->warm_ups)
        buf_addf(out, "  warmed up first   %lld of %lld endpoints (%lld more posts, %lld hops)\n", (long long)j->warmed,
                 (long long)j->warm_ups, (long long)j->warm_posts, (long long)j->warm_hops);
    buf_addf(out, "  most in flight    %lld\n", (long long)j->max_in_flight);
    for (int cold = 1; cold >= 0; cold--)
        if (s->job.answers[cold])
            buf_addf(out, "  %lld %s answers, each took %s\n", (long long)s->job.answers[cold], cold ? "cold" : "warm",
                     time_text(mean_s(&s->job, cold), speed, text));
    if (!isnan(j->max_batch_gap_s))
        buf_addf(out, "  between batches   at most %s\n", time_text(j->max_batch_gap_s, speed, text));
    if (!isnan(j->cost))
        buf_addf(out, "  cost              $%.4f\n", j->cost);
}

static void add_failures(const struct summary *s, size_t columns, struct buf *out)
{
    if (!s->failure_count)
        return;
    struct table *t = table_new();
    table_column(t, "", TABLE_LEFT);
    table_column(t, "endpoint", TABLE_LEFT);
    table_column(t, "status", TABLE_LEFT);
    table_column(t, "class", TABLE_LEFT);
    table_column(t, "count", TABLE_RIGHT);
    table_column(t, "for example", TABLE_FLEX);
    for (size_t i = 0; i < s->failure_count; i++) {
        const struct failure_line *f = &s->failures[i];
        table_text(t, "");
        table_text(t, f->endpoint);
        table_text(t, f->status);
        table_text(t, *f->class ? f->class : "-");
        table_cellf(t, "%lld", (long long)f->count);
        table_text(t, f->error);
    }
    buf_adds(out, "\nnot succeeded\n");
    table_print(t, columns, out);
    table_free(t);
}

static void add_cold(const struct summary *s, size_t columns, struct buf *out)
{
    if (s->job.warmed == s->job.warm_ups)
        return;
    struct table *t = table_new();
    table_column(t, "", TABLE_LEFT);
    table_column(t, "endpoint", TABLE_LEFT);
    table_column(t, "status", TABLE_LEFT);
    table_column(t, "class", TABLE_LEFT);
    table_column(t, "why", TABLE_FLEX);
    for (size_t i = 0; i < s->warm_count; i++) {
        const struct warm_line *w = &s->warm_ups[i];
        if (strcmp(w->status, status_name(STATUS_SUCCEEDED)) == 0)
            continue;
        table_text(t, "");
        table_text(t, w->endpoint);
        table_text(t, w->status);
        table_text(t, *w->class ? w->class : "-");
        table_text(t, w->error);
    }
    buf_adds(out, "\nnot warmed up\n");
    table_print(t, columns, out);
    table_free(t);
}

void summary_text(const struct summary *s, size_t columns, double speed, struct buf *out)
{
    add_head(s, speed, out);
    add_regions(s, out);
    add_figures(s, speed, out);
    add_cold(s, columns, out);
    add_failures(s, columns, out);
}

/* ---- JSON ---- */

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
        add_real(one, "mean_s", mean_s(&s->job, cold));
    }
    return json;
}
