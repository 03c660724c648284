#include "cli/summary.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timeutil.h"
#include "cli/table.h"

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
            buf_addf(out, "  %lld %s %s took %s\n", (long long)s->job.answers[cold], cold ? "cold" : "warm",
                     s->job.answers[cold] == 1 ? "answer" : "answers, each",
                     time_text(summary_mean_s(&s->job, cold), speed, text));
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
