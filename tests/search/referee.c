/* What must hold, whatever happens. It knows what went over the wire from the fleet, not from the engine. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timeutil.h"
#include "search.h"

void trace(struct search *s, const char *fmt, ...)
{
    va_list args;
    if (!s->trace)
        return;
    va_start(args, fmt);
    printf("%12.6f  ", (double)search_now_us(s) / 1e6);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

void broken(struct search *s, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fprintf(stderr, "broken promise (line %d) at %.6f s, life %u: ", line, (double)search_now_us(s) / 1e6, s->life);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort(); /* main's handler says how to see it again */
}

int64_t search_now_us(const struct search *s)
{
    return virtual_now_us(s->world) + s->jumped_us;
}

static const struct endpoint_spec *spec_of(struct search *s, unsigned row)
{
    return &s->table->endpoints[endpoint_of_row(s, row)];
}

void referee_life(struct search *s)
{
    PROMISE(s, s->open_count == 0, "%u exchanges are left open", s->open_count);
    memset(s->endpoints, 0, sizeof s->endpoints);
    memset(s->groups, 0, sizeof s->groups);
    for (unsigned i = 0; i < s->rows_count; i++) {
        const struct row *row = &s->disk[i];
        struct watched *w = &s->watched[i];
        if (row->last == LAST_NONE)
            w->truth = MAY_POST;
        else if (row->last != LAST_ENDED)
            w->truth = row->last == LAST_HOPPED ? PROMISED : UNKNOWN_POST;
        w->good = w->held = false;
        w->not_before_us = w->started_us = w->first_us = 0;
        w->began = false;
    }
    memcpy(s->said, s->disk, sizeof s->said);
}

/* ---- permits ---- */

/* More than this never fit into any stretch of time: a bucket of one second's worth, refilled at the rate. */
static void take_token(struct search *s, struct endpoint_watch *w, double per_minute, const char *whose)
{
    double most = per_minute >= 120 ? (double)(int)(per_minute / 60) : 1;
    int64_t now_us = search_now_us(s);
    if (per_minute <= 0)
        return;
    if (w->tokens_at_us)
        w->tokens += (double)(now_us - w->tokens_at_us) * per_minute / 60e6;
    if (!w->tokens_at_us || w->tokens > most)
        w->tokens = most;
    w->tokens_at_us = now_us;
    PROMISE(s, w->tokens > 1 - 1e-3, "%s: more than %g a minute", whose, per_minute);
    w->tokens -= 1;
}

static unsigned held_by(struct search *s, const struct search_job *job, int region, int group)
{
    unsigned held = 0;
    for (unsigned i = 0; i < s->rows_count; i++) {
        const struct endpoint_spec *spec = spec_of(s, i);
        bool counts = s->watched[i].held && (region < 0 || spec->region == (unsigned)region) &&
                      (group < 0 || spec->group == group) && (!job || job_of_row(s, i) == job);
        held += counts;
    }
    return held;
}

static void check_cap(struct search *s, unsigned held, unsigned cap, const char *whose)
{
    PROMISE(s, !cap || held <= cap, "%s: %u in flight, at most %u may be", whose, held, cap);
}

static void take_permits(struct search *s, unsigned row)
{
    const struct endpoint_spec *spec = spec_of(s, row);
    const struct search_job *job = job_of_row(s, row);
    struct endpoint_watch *e = &s->endpoints[spec->index];
    int64_t now_us = search_now_us(s);
    if (!e->held && now_us - e->last_used_us > spec->scaledown_us)
        e->warm = false;
    s->watched[row].held = true;
    e->held++;
    PROMISE(s, !spec->paused, "%s is paused and is asked", spec->id);
    PROMISE(s, !job->stopped, "%s is asked for a job that has been stopped", spec->id);
    PROMISE(s, !job->paused, "%s is asked for a job that is paused", spec->id);
    PROMISE(s, now_us >= e->held_until_us, "%s is asked before its Retry-After is over", spec->id);
    PROMISE(s, now_us >= e->open_until_us, "%s is asked while its breaker is open", spec->id);
    check_cap(s, e->held, e->warm ? (spec->adaptive.ceiling ? spec->adaptive.ceiling : spec->slots) : 1, spec->id);
    check_cap(s, held_by(s, NULL, -1, -1), s->table->in_flight, "program");
    check_cap(s, held_by(s, NULL, (int)spec->region, -1), s->table->regions[spec->region].in_flight, "region");
    check_cap(s, held_by(s, job, -1, -1), job->spec->in_flight, "job");
    take_token(s, e, spec->rate_per_minute, spec->id);
    if (spec->group != NO_INDEX) {
        const struct group_spec *g = &s->table->groups[spec->group];
        check_cap(s, held_by(s, NULL, -1, spec->group), g->in_flight, g->name);
        take_token(s, &s->groups[spec->group], g->rate_per_minute, g->name);
    }
}

/* ---- what the recorder is told ---- */

static bool is_wanted(struct search_job *j, unsigned row)
{
    struct cell cell = plan_cell(j->job->plan, row - (uint64_t)j->first_row);
    for (unsigned i = 0; i < j->lane_count; i++)
        if (j->lanes[i].running && selection_contains(j->lanes[i].running, cell))
            return true;
    return false;
}

void referee_began(struct search *s, const struct record *r)
{
    unsigned row = (unsigned)r->row;
    struct watched *w = &s->watched[row];
    PROMISE(s, !w->held, "row %u takes permits twice", row);
    PROMISE(s, is_wanted(job_of_row(s, row), row), "row %u starts, and no run that is under way has it", row);
    PROMISE(s, search_now_us(s) >= w->not_before_us, "row %u is asked again before its Retry-After is over", row);
    w->attempt_hops = 0;
    w->began = true;
    take_permits(s, row);
}

void referee_ended(struct search *s, const struct record *r)
{
    struct watched *w = &s->watched[r->row];
    struct endpoint_watch *e = &s->endpoints[endpoint_of_row(s, r->row)];
    bool said_good = r->attempt_status == STATUS_SUCCEEDED;
    PROMISE(s, w->good == said_good, "row %d: recorded as %s %s, and the answer was %s", (int)r->row,
            status_name(r->attempt_status), class_name(r->class), w->good ? "right" : "not right");
    PROMISE(s, r->posts == w->posts && r->all_hops == w->hops && r->hops == w->attempt_hops,
            "row %d: recorded %u POSTs, %u hops, %u of the attempt; there were %u, %u, %u", (int)r->row, r->posts,
            r->all_hops, r->hops, w->posts, w->hops, w->attempt_hops);
    PROMISE(s, r->class != CLASS_TIMEOUT || r->attempt_status == STATUS_CANCELLED || w->truth != PROMISED ||
               search_now_us(s) >= w->first_us + spec_of(s, (unsigned)r->row)->deadline_us,
            "row %d: its result URL is given up before its deadline", (int)r->row);
    PROMISE(s, r->attempt_status != STATUS_CANCELLED || job_of_row(s, r->row)->stopped != STOPPED_DRAIN,
            "row %d is cut off by a drain", (int)r->row);
    if (w->held) {
        w->held = false;
        e->held--;
        e->last_used_us = search_now_us(s);
    }
    if (said_good)
        e->warm = true;
    else if (!w->began)
        w->started_us = 0; /* it was only collected: the deadline runs anew when the policy comes to it */
}

/* ---- what goes over the wire ---- */

static void check_post(struct search *s, const struct exchange *x, unsigned row, unsigned attempt)
{
    const struct row *disk = &s->disk[row];
    const struct watched *w = &s->watched[row];
    PROMISE(s, disk->attempts == attempt && disk->last == LAST_DISPATCHED,
            "row %u: POST of attempt %u, and its dispatch is not on disk", row, attempt);
    PROMISE(s, w->truth != PROMISED, "row %u: POST while its result URL lives", row);
    PROMISE(s, w->truth != NEVER_POST, "row %u: POST after it was answered", row);
    PROMISE(s, w->truth != UNKNOWN_POST || x->endpoint->retry.unknown, "row %u: POST after one that may have run", row);
    PROMISE(s, !w->started_us || search_now_us(s) < w->started_us + x->endpoint->deadline_us,
            "row %u: POST after its deadline", row);
    PROMISE(s, w->held, "row %u: POST without permits", row);
}

static void check_get(struct search *s, const struct exchange *x, unsigned row, unsigned attempt)
{
    const struct row *disk = &s->disk[row];
    PROMISE(s, disk->attempts == attempt && disk->last == LAST_HOPPED && strcmp(disk->url, x->url) == 0,
            "row %u: GET of %s, which is not on disk", row, x->url);
    PROMISE(s, s->watched[row].truth == PROMISED, "row %u: GET of a result URL that is gone", row);
}

void referee_sent(struct search *s, const struct exchange *x, unsigned row, unsigned attempt)
{
    struct watched *w = &s->watched[row];
    PROMISE(s, !s->store_failed, "row %u is asked, and nothing can be kept", row);
    PROMISE(s, strcmp(spec_of(s, row)->id, x->endpoint->id) == 0, "row %u is put to %s", row, x->endpoint->id);
    PROMISE(s, job_of_row(s, row)->stopped != STOPPED_ABORT, "row %u is asked after its job was aborted", row);
    PROMISE(s, !status_is_final(s->said[row].status), "row %u is asked after it has ended", row);
    for (unsigned i = 0; i < s->open_count; i++)
        PROMISE(s, s->open[i].row != row, "row %u is asked twice at once", row);
    x->post ? check_post(s, x, row, attempt) : check_get(s, x, row, attempt);
    if (!w->held)
        take_permits(s, row);
    if (!w->started_us)
        w->started_us = search_now_us(s);
    if (!w->first_us)
        w->first_us = search_now_us(s);
    w->good = false;
    if (x->post) {
        w->posts++;
        w->truth = UNKNOWN_POST;
    } else {
        w->hops++;
        w->attempt_hops++;
    }
}

static void told_to_wait(struct search *s, const struct exchange *x, struct watched *w, bool all)
{
    int64_t until_us = search_now_us(s) + s->fleet->endpoints[x->endpoint->index].retry_after_us;
    w->not_before_us = until_us;
    for (size_t i = 0; all && i < s->table->endpoint_count; i++) {
        const struct endpoint_spec *spec = &s->table->endpoints[i];
        bool speaks = x->endpoint->index < s->table->endpoint_count; /* for its group, until it leaves the table */
        bool same = i == x->endpoint->index || (speaks && spec->group != NO_INDEX && spec->group == x->endpoint->group);
        if (same && until_us > s->endpoints[i].held_until_us)
            s->endpoints[i].held_until_us = until_us;
    }
}

/* The fleet did not take it. */
static void turned_away(struct search *s, const struct exchange *x, struct watched *w, bool busy, bool all)
{
    if (!x->post)
        return;
    w->truth = MAY_POST;
    const struct adaptive_rule *rule = &x->endpoint->adaptive;
    if (busy && rule->ceiling && s->endpoints[x->endpoint->index].held > (rule->floor > 1 ? rule->floor : 1))
        w->pardons++;
    if (busy && s->fleet->endpoints[x->endpoint->index].retry_after_us)
        told_to_wait(s, x, w, all);
}

static void answered(struct search *s, const struct exchange *x, struct watched *w, const struct fleet_fault *fault)
{
    enum fault_what what = fault ? fault->what : FAULT_SLOW;
    bool honest = !s->fleet->endpoints[x->endpoint->index].served_region;
    bool unreadable = what == FAULT_MALFORMED || what == FAULT_TRUNCATED;
    w->good = honest && (what == FAULT_SLOW || what == FAULT_EMPTY || what == FAULT_REFUSAL);
    w->truth = !unreadable ? NEVER_POST : x->post ? UNKNOWN_POST : PROMISED;
    if (unreadable)
        w->good = false;
}

void referee_fleet_ended(struct search *s, const struct exchange *x, unsigned row, const struct fleet_ended *e)
{
    struct watched *w = &s->watched[row];
    enum fleet_overflow overflow = s->fleet->endpoints[x->endpoint->index].overflow;
    enum fault_what what = e->fault ? e->fault->what : FAULT_SLOW;
    switch (e->end) {
    case FLEET_COME_BACK:
        w->truth = PROMISED;
        break;
    case FLEET_ANSWERED:
        answered(s, x, w, e->fault);
        break;
    case FLEET_OVERFLOW:
        if (overflow != OVERFLOW_RESET)
            turned_away(s, x, w, true, overflow == OVERFLOW_429);
        break;
    case FLEET_FAILED:
        if (what == FAULT_500 || what == FAULT_503 || what == FAULT_429)
            turned_away(s, x, w, what != FAULT_500, what == FAULT_429);
        else if (what != FAULT_RESET)
            w->truth = NEVER_POST;
        break;
    }
}

void referee_injected(struct search *s, const struct open_exchange *o)
{
    struct watched *w = &s->watched[o->row];
    w->truth = o->inject == INJECT_GONE ? UNKNOWN_POST : MAY_POST;
    if (o->inject == INJECT_CONNECT || o->inject == INJECT_NOT_SENT)
        w->posts--;
}

/* ---- what is told ---- */

void referee_event(struct search *s, const struct event *e)
{
    if (e->kind == EVENT_BREAKER_OPENED)
        s->endpoints[e->endpoint->index].open_until_us =
            e->wait_us == NEVER_US ? NEVER_US : search_now_us(s) + e->wait_us;
    if (e->kind == EVENT_BREAKER_CLOSED)
        s->endpoints[e->endpoint->index].open_until_us = 0;
    if (e->kind != EVENT_EXECUTION_ENDED)
        return;
    for (unsigned i = 0; i < s->job_count; i++)
        if (s->jobs[i].job == e->job) {
            const struct row *row = &s->disk[s->jobs[i].first_row + (int64_t)plan_number(e->job->plan, e->cell)];
            PROMISE(s, row->status == e->status, "told as %s, on disk it is %s", status_name(e->status),
                    status_name(row->status));
        }
}

/* A run is a barrier: nothing of it is open once the policy hears that it has ended. Nobody waits for the row of what
 * was never asked. */
void referee_run_ended(struct search *s, struct search_job *j, const struct lane *lane)
{
    for (uint64_t n = 0; n < j->count; n++) {
        const struct row *said = &s->said[j->first_row + (int64_t)n], *disk = &s->disk[j->first_row + (int64_t)n];
        if (!selection_contains(lane->running, plan_cell(j->job->plan, n)))
            continue;
        PROMISE(s, status_is_final(said->status), "a run ends while row %d is %s", (int)(j->first_row + (int64_t)n),
                status_name(said->status));
        bool waited_for = said->status != STATUS_SKIPPED && said->status != STATUS_CANCELLED;
        PROMISE(s, !waited_for || disk->status == said->status, "a run ends before row %d is on disk",
                (int)(j->first_row + (int64_t)n));
    }
}

/* A dead breaker is forgotten when its endpoint comes back from a pause; all may be when it was not in the table. */
void referee_retuned(struct search *s, const struct region_table *to)
{
    for (size_t i = 0; i < to->endpoint_count; i++) {
        struct endpoint_watch *e = &s->endpoints[i];
        if (s->table->endpoints[i].paused && !to->endpoints[i].paused && e->open_until_us == NEVER_US)
            e->open_until_us = 0;
        if (i >= s->table->endpoint_count)
            e->open_until_us = e->held_until_us = e->tokens_at_us = 0;
    }
}

/* ---- after each step ---- */

static void check_gate(struct search *s, const struct gate *g, unsigned held)
{
    PROMISE(s, g->sema.used == held, "%s: %u permits are taken, %u are held", g->sema.name, g->sema.used, held);
}

static void check_permits(struct search *s)
{
    struct engine *e = s->engine;
    check_gate(s, &e->global, held_by(s, NULL, -1, -1));
    for (size_t i = 0; i < s->table->endpoint_count; i++) {
        size_t listed = 0;
        LIST_EACH(it, &e->endpoints[i]->in_flight)
            listed++;
        check_gate(s, &e->endpoints[i]->gate, s->endpoints[i].held);
        PROMISE(s, listed == s->endpoints[i].held, "%zu of %u are listed as in flight", listed, s->endpoints[i].held);
    }
    for (size_t i = 0; i < s->table->region_count; i++)
        if (s->table->regions[i].in_flight)
            check_gate(s, e->regions.list[i], held_by(s, NULL, (int)i, -1));
    for (size_t i = 0; i < s->table->group_count; i++)
        check_gate(s, e->groups.list[i], held_by(s, NULL, -1, (int)i));
    for (unsigned i = 0; i < s->job_count; i++)
        if (s->jobs[i].job && s->jobs[i].spec->in_flight)
            check_gate(s, &s->jobs[i].job->gate, held_by(s, &s->jobs[i], -1, -1));
}

static void check_counters(struct search *s, struct search_job *j)
{
    struct job_view view;
    uint32_t by_status[STATUS_COUNT] = {0}, backing_off[ENDPOINTS_MAX] = {0};
    uint64_t posts = 0, hops = 0;
    engine_job_view(j->job, &view);
    for (uint64_t n = 0; n < j->count; n++) {
        int64_t row = j->first_row + (int64_t)n;
        enum status status = j->job->status[n];
        by_status[status]++;
        posts += s->watched[row].posts;
        hops += s->watched[row].hops;
        backing_off[endpoint_of_row(s, row)] += status == STATUS_BACKING_OFF;
        if (status_is_final(status))
            PROMISE(s, s->said[row].status == status, "row %d counts as %s and is recorded as %s", (int)row,
                    status_name(status), status_name(s->said[row].status));
        if (status == STATUS_SUCCEEDED || status == STATUS_FAILED)
            PROMISE(s, s->disk[row].status == status, "row %d counts as %s before it is on disk", (int)row,
                    status_name(status));
    }
    PROMISE(s, memcmp(by_status, view.tally.by_status, sizeof by_status) == 0, "the tally is not what a recount gives");
    PROMISE(s, view.posts == posts && view.hops == hops,
            "the job counts %" PRIu64 " POSTs, %" PRIu64 " hops; there were %" PRIu64 ", %" PRIu64,
            view.posts, view.hops, posts, hops);
    PROMISE(s, view.in_flight == held_by(s, j, -1, -1), "%u count as in flight, %u are", view.in_flight,
            held_by(s, j, -1, -1));
    for (size_t i = 0; i < s->table->endpoint_count; i++)
        PROMISE(s, j->job->lines[i].backing_off <= backing_off[i], "more wait at endpoint %zu than were sent off", i);
}

static bool line_has_pending(const struct line *line)
{
    if (!list_empty(&line->due))
        return true;
    LIST_EACH(it, &line->parts) {
        const struct part *part = container_of(it, struct part, link);
        for (uint64_t i = part->next; i < selection_line_count(part->run->selection); i++) {
            struct cell cell = selection_line_at(part->run->selection, line->position, i);
            if (line->job->status[plan_number(line->job->plan, cell)] == STATUS_PENDING)
                return true;
        }
    }
    return false;
}

static bool is_free(struct search *s, const struct gate *g)
{
    int64_t retry_us;
    return !g || (sema_free_at(&g->sema, search_now_us(s), &retry_us) &&
                  (!gate_limit(g) || g->sema.used < gate_limit(g)));
}

/* Nobody who has work and could start it waits. */
static void check_starvation(struct search *s, struct search_job *j)
{
    for (size_t i = 0; i < s->table->endpoint_count; i++) {
        struct line *line = &j->job->lines[i];
        struct endpoint *e = line->endpoint;
        bool may = !endpoint_away(e) && is_free(s, &e->gate) && is_free(s, e->group) && is_free(s, e->region) &&
                   is_free(s, &s->engine->global) && (!j->spec->in_flight || is_free(s, &j->job->gate));
        bool works = e->breaker.state == BREAKER_CLOSED ||
                     (e->breaker.state == BREAKER_HALF_OPEN && !e->breaker.probing) ||
                     (e->breaker.state == BREAKER_OPEN && search_now_us(s) >= e->breaker.open_until_us);
        PROMISE(s, !may || !works || !line_has_pending(line), "%s has work, every permit is free, and nothing starts",
                e->spec->id);
    }
}

static void check_deadlines(struct search *s)
{
    for (unsigned i = 0; i < s->open_count; i++) {
        const struct open_exchange *o = &s->open[i];
        int64_t whole_us = s->watched[o->row].started_us + o->x->endpoint->deadline_us;
        int64_t hop_us = o->sent_us + o->x->endpoint->hop_us;
        PROMISE(s, search_now_us(s) <= whole_us && search_now_us(s) <= hop_us, "row %u is in flight past its deadline",
                o->row);
    }
}

void referee_step(struct search *s)
{
    if (s->store_failed)
        return;
    check_permits(s);
    bool settled = virtual_next_us(s->world) > virtual_now_us(s->world);
    for (unsigned i = 0; i < s->job_count; i++) {
        struct search_job *j = &s->jobs[i];
        if (!j->job)
            continue;
        check_counters(s, j);
        if (settled && !j->stopped && !j->paused)
            check_starvation(s, j);
    }
    if (settled)
        check_deadlines(s);
}

void referee_job_over(struct search *s, struct search_job *j)
{
    if (s->store_failed)
        return;
    for (int64_t i = j->first_row; i < j->first_row + (int64_t)j->count; i++) {
        PROMISE(s, status_is_final(s->disk[i].status), "the job is over and row %d is %s", (int)i,
                status_name(s->disk[i].status));
        PROMISE(s, s->disk[i].status == s->said[i].status, "the job is over and the end of row %d is not on disk",
                (int)i);
        PROMISE(s, !s->watched[i].held, "the job is over and row %d is in flight", (int)i);
    }
}
