/* The store, as far as its promises go: what rows say, and what resume makes of them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "search.h"

struct search_job *job_of_row(struct search *s, int64_t row)
{
    for (unsigned i = 0; i < s->job_count; i++)
        if (row >= s->jobs[i].first_row && row < s->jobs[i].first_row + (int64_t)s->jobs[i].count)
            return &s->jobs[i];
    broken(s, __LINE__, "no job has row %lld", (long long)row);
}

unsigned endpoint_of_row(struct search *s, int64_t row)
{
    return (unsigned)((uint64_t)(row - job_of_row(s, row)->first_row) % s->first_table->endpoint_count);
}

static bool waits(const struct row *row)
{
    return row->status == STATUS_PENDING || row->status == STATUS_BACKING_OFF;
}

static void apply_began(struct search *s, struct row *row, const struct record *r)
{
    unsigned most = s->table->endpoints[endpoint_of_row(s, r->row)].retry.attempts;
    PROMISE(s, waits(row), "row %lld is dispatched while it is %s", (long long)r->row, status_name(row->status));
    PROMISE(s, row->last == LAST_NONE || row->last == LAST_ENDED, "row %lld: two attempts at once", (long long)r->row);
    PROMISE(s, r->number == row->attempts + 1, "row %lld: attempt %u after %u", (long long)r->row, r->number,
            row->attempts);
    PROMISE(s, r->number - row->forgiven - s->watched[r->row].pardons <= most, "row %lld: attempt %u of %u",
            (long long)r->row, r->number, most);
    row->attempts = r->number;
    row->last = LAST_DISPATCHED;
    row->hopped = false;
    row->url_hops = 0;
    row->status = STATUS_RUNNING;
}

static void apply_hopped(struct search *s, struct row *row, const struct record *r)
{
    PROMISE(s, row->last == LAST_DISPATCHED || row->last == LAST_HOPPED, "row %lld: a hop of no attempt",
            (long long)r->row);
    PROMISE(s, r->number == row->attempts, "row %lld: a hop of attempt %u in %u", (long long)r->row, r->number,
            row->attempts);
    PROMISE(s, !row->hopped || r->hops > row->url_hops, "row %lld: hop %u is recorded twice", (long long)r->row,
            r->hops);
    row->last = LAST_HOPPED;
    row->hopped = true;
    row->url_hops = r->hops;
    row->status = STATUS_WAITING_RESULT;
    snprintf(row->url, sizeof row->url, "%s", r->url);
}

static void apply_ended(struct search *s, struct row *row, const struct record *r)
{
    PROMISE(s, row->last == LAST_DISPATCHED || row->last == LAST_HOPPED, "row %lld: its attempt ends twice",
            (long long)r->row);
    PROMISE(s, r->number == row->attempts, "row %lld: attempt %u ends in %u", (long long)r->row, r->number,
            row->attempts);
    PROMISE(s, status_is_final(r->attempt_status) && r->attempt_status != STATUS_SKIPPED,
            "row %lld: an attempt ends %s", (long long)r->row, status_name(r->attempt_status));
    PROMISE(s, r->status == r->attempt_status ||
            (r->attempt_status == STATUS_FAILED && r->status == STATUS_BACKING_OFF),
            "row %lld: %s after an attempt that %s", (long long)r->row, status_name(r->status),
            status_name(r->attempt_status));
    row->last = LAST_ENDED;
    row->status = r->status;
    row->ended = r->attempt_status;
    row->ended_class = r->class;
    row->posts_before = row->posts;
    row->hops_before = row->hops;
    row->posts = r->posts;
    row->hops = r->all_hops;
}

static void apply_closed(struct search *s, struct row *rows, const struct record *r)
{
    PROMISE(s, status_is_final(r->status) && r->status != STATUS_SUCCEEDED, "rows are closed as %s",
            status_name(r->status));
    for (int64_t i = r->row; i < r->row + (int64_t)r->count; i++) {
        struct row *row = &rows[i];
        if (r->endpoint >= 0 && endpoint_of_row(s, i) != (unsigned)r->endpoint)
            continue;
        if (r->waiting_only ? !waits(row) : status_is_final(row->status)) {
            PROMISE(s, r->waiting_only || r->count > 1, "row %lld is closed while it is %s", (long long)i,
                    status_name(row->status));
            continue;
        }
        row->status = r->status;
        row->forgiven = row->attempts;
    }
}

void rows_apply(struct search *s, struct row *rows, const struct record *r)
{
    switch (r->kind) {
    case RECORD_BEGAN:
        apply_began(s, &rows[r->row], r);
        break;
    case RECORD_HOPPED:
        apply_hopped(s, &rows[r->row], r);
        break;
    case RECORD_ENDED:
        apply_ended(s, &rows[r->row], r);
        break;
    case RECORD_CLOSED:
        apply_closed(s, rows, r);
        break;
    case RECORD_JOB:
        break;
    }
}

/* An attempt whose result URL is as good as ever goes on, as if it had not ended; all else begins anew. */
void rows_open_again(struct search *s, struct search_job *j)
{
    for (int64_t i = j->first_row; i < j->first_row + (int64_t)j->count; i++) {
        struct row *row = &s->disk[i];
        if (row->status != STATUS_CANCELLED && row->status != STATUS_SKIPPED)
            continue;
        bool goes_on = row->last == LAST_ENDED && row->hopped &&
                       (row->ended == STATUS_CANCELLED || row->ended_class == CLASS_TIMEOUT);
        if (goes_on) {
            row->last = LAST_HOPPED;
            row->posts = row->posts_before;
            row->hops = row->hops_before;
        } else if (row->last == LAST_ENDED) {
            row->forgiven = row->attempts;
            s->watched[i].pardons = 0;
        }
        row->status = row->last == LAST_HOPPED ? STATUS_WAITING_RESULT : STATUS_PENDING;
        s->watched[i].truth = row->last == LAST_HOPPED ? PROMISED : MAY_POST; /* whoever resumes asks for it */
    }
}

static struct begun begun_of(const struct search *s, int64_t first_row, uint64_t n)
{
    const struct row *row = &s->disk[first_row + (int64_t)n];
    bool open = row->last == LAST_DISPATCHED || row->last == LAST_HOPPED;
    return (struct begun){
        .n = n,
        .status = row->last == LAST_HOPPED ? STATUS_WAITING_RESULT : open ? STATUS_RUNNING : STATUS_PENDING,
        .attempts = row->attempts,
        .posts = row->posts + open,
        .hops = row->hops + (row->last == LAST_HOPPED ? row->url_hops : 0),
        .forgiven = row->forgiven,
        .cost = (double)NAN,
        .attempt_hops = row->url_hops,
        .result_url = row->last == LAST_HOPPED ? row->url : NULL,
        .dispatched_at = (double)NAN,
        .first_byte_at = (double)NAN,
    };
}

void rows_past(struct search *s, struct search_job *j)
{
    j->past = (struct job_past){.status = j->status, .begun = j->begun, .cost = (double)NAN};
    for (uint64_t n = 0; n < j->count; n++) {
        struct begun b = begun_of(s, j->first_row, n);
        struct watched *w = &s->watched[j->first_row + (int64_t)n];
        const struct row *row = &s->disk[j->first_row + (int64_t)n];
        j->status[n] = (uint8_t)(row->status == STATUS_BACKING_OFF ? STATUS_PENDING : row->status);
        j->past.posts += w->posts = b.posts;
        j->past.hops += w->hops = b.hops;
        j->past.attempts += b.attempts;
        w->attempt_hops = row->last == LAST_HOPPED ? row->url_hops : 0;
        if (!status_is_final(row->status) && b.attempts)
            j->begun[j->past.begun_count++] = b;
    }
    j->posts_before = j->past.posts;
    j->hops_before = j->past.hops;
}
