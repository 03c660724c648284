#include "cli/frame.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "cli/pen.h"
#include "core/breaker.h"
#include "host/eta.h"

enum { FRAME_BYTES = 256 * 1024, BAR_MAX = 24, WAITS_MAX = 5, NAME_MAX_COLUMNS = 32, BARE_ROWS = 2 };

void frame_init(struct frame *f)
{
    *f = (struct frame){0};
    buf_init(&f->text, FRAME_BYTES);
}

void frame_done(struct frame *f)
{
    buf_done(&f->text);
}

/* ---- rows ---- */

struct sketch {
    const struct frame_input *in;
    struct frame *frame;
    struct pen pen;
    size_t name_columns;     /* of question and region names */
    size_t bar_cells;
};

static struct pen *row_begin(struct sketch *s)
{
    s->pen = (struct pen){.out = &s->frame->text, .columns = s->in->columns, .colors = s->in->colors};
    return &s->pen;
}

static void row_end(struct sketch *s)
{
    buf_addc(&s->frame->text, '\n');
    s->frame->row_columns[s->frame->row_count++] = s->pen.column;
}

static size_t rows_left(const struct sketch *s)
{
    size_t rows = s->in->rows < FRAME_ROWS_MAX ? s->in->rows : FRAME_ROWS_MAX;
    return rows > s->frame->row_count ? rows - s->frame->row_count : 0;
}

static void heading(struct sketch *s, const char *text)
{
    row_begin(s);
    row_end(s);
    pen_text(row_begin(s), INK_BOLD, text);
    row_end(s);
}

/* ---- counting ---- */

static uint32_t busy_of(const struct tally *t)
{
    return t->by_status[STATUS_RUNNING] + t->by_status[STATUS_WAITING_RESULT] + t->by_status[STATUS_BACKING_OFF];
}

static uint32_t closed_of(const struct tally *t)
{
    return t->by_status[STATUS_CANCELLED] + t->by_status[STATUS_SKIPPED];
}

static uint32_t ended_of(const struct tally *t)
{
    return t->by_status[STATUS_SUCCEEDED] + t->by_status[STATUS_FAILED] + closed_of(t);
}

static bool over(const struct tally *t)
{
    return ended_of(t) == t->planned;
}

/* The stage before the first question. */
static bool warming_up(const struct job_view *v)
{
    return v->warm.planned && !v->warm.ended_us && !job_state_is_final(v->state);
}

static void add_tally(struct tally *sum, const struct tally *t)
{
    sum->planned += t->planned;
    for (int i = 0; i < STATUS_COUNT; i++)
        sum->by_status[i] += t->by_status[i];
}

static struct bar bar_of(const struct tally *t)
{
    return (struct bar){t->by_status[STATUS_SUCCEEDED], t->by_status[STATUS_FAILED], closed_of(t), busy_of(t),
                        t->planned};
}

/* In words what did not succeed, each with its own. */
static void draw_losses(struct pen *p, const struct tally *t)
{
    static const enum status kinds[] = {STATUS_FAILED, STATUS_CANCELLED, STATUS_SKIPPED};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (t->by_status[kinds[i]])
            pen_textf(p, kinds[i] == STATUS_FAILED ? INK_BAD : INK_DIM, "  %u %s", t->by_status[kinds[i]],
                      status_name(kinds[i]));
}

/* A clock that counts whole seconds, so that it does not flicker. */
static const char *seconds_text(int64_t us, char out[DURATION_TEXT])
{
    if (us >= MINUTE_US)
        return duration_format(us, out);
    snprintf(out, DURATION_TEXT, "%d s", us > 0 ? (int)(us / SECOND_US) : 0);
    return out;
}

/* ---- the header ---- */

static void draw_eta(struct pen *p, const struct frame_input *in)
{
    const struct job_view *v = in->view;
    char text[DURATION_TEXT];
    if (job_state_is_final(v->state) || over(&v->tally))
        return;
    int64_t eta_us = eta_left_us(v, in->endpoints, in->now_us);
    if (in->locked_since_us)
        pen_textf(p, INK_BAD, "   waiting for the database, locked by another program for %s",
                  seconds_text(in->now_us - in->locked_since_us, text));
    else if (in->draining)
        pen_text(p, INK_BUSY, "   draining: Ctrl-C again aborts");
    else if (warming_up(v))
        pen_textf(p, INK_BUSY, "   warming up: %u of %u endpoints are through",
                  v->warm.warm + v->warm.failed, v->warm.planned);
    else if (eta_us < 0)
        pen_text(p, INK_DIM, "   ETA unknown until the first answers");
    else
        pen_textf(p, INK_PLAIN, "   ETA %s", seconds_text(eta_us, text));
}

static enum ink state_ink(enum job_state state)
{
    return state == JOB_SUCCEEDED ? INK_GOOD : !job_state_is_final(state) ? INK_BUSY : INK_BAD;
}

static void draw_header(struct sketch *s)
{
    const struct frame_input *in = s->in;
    const struct job_view *v = in->view;
    char text[DURATION_TEXT];
    int64_t until_us = v->ended_us ? v->ended_us : in->now_us;
    int64_t since_us = v->first_dispatch_us ? v->first_dispatch_us : v->warm.began_us;
    int64_t elapsed_us = since_us ? until_us - since_us : 0;
    uint32_t answers = v->tally.by_status[STATUS_SUCCEEDED];
    struct bar bar = bar_of(&v->tally);

    struct pen *p = row_begin(s);
    pen_text(p, INK_BOLD, v->id);
    pen_textf(p, state_ink(v->state), "  %s", job_state_name(v->state));
    pen_textf(p, INK_PLAIN, "  %s", seconds_text(elapsed_us, text));
    draw_eta(p, in);
    row_end(s);

    p = row_begin(s);
    size_t cells = in->columns > 100 ? 40 : in->columns / 3;
    pen_bar(p, cells, &bar);
    pen_textf(p, INK_BOLD, "  %u/%u", ended_of(&v->tally), v->tally.planned);
    draw_losses(p, &v->tally);
    pen_textf(p, INK_PLAIN, "  %u in flight", v->in_flight);
    /* POSTs that may still bring an answer do not count yet. */
    uint64_t open = v->tally.by_status[STATUS_RUNNING] + v->tally.by_status[STATUS_WAITING_RESULT];
    if (answers)
        pen_textf(p, INK_PLAIN, "  %.2f posts per answer", (double)(v->posts > open ? v->posts - open : 0) / answers);
    if (!isnan(v->cost))
        pen_textf(p, INK_PLAIN, "  $%.4f", v->cost);
    row_end(s);
}

/* ---- questions ---- */

static void draw_question(struct sketch *s, uint32_t q)
{
    const struct job_view *v = s->in->view;
    const struct tally *t = &v->questions[q].tally;
    struct bar bar = bar_of(t);
    bool begun = v->questions[q].first_dispatch_us || ended_of(t);
    struct pen *p = row_begin(s);
    if (!over(t))
        pen_text(p, begun ? INK_BUSY : INK_DIM, begun ? "  ▶ " : "  · ");
    else if (bar.bad)
        pen_text(p, INK_BAD, "  ✗ ");
    else
        pen_text(p, bar.closed ? INK_DIM : INK_GOOD, bar.closed ? "  - " : "  ✓ ");
    size_t all = p->columns;
    p->columns = all < 4 + s->name_columns ? all : 4 + s->name_columns;
    pen_text(p, begun ? INK_PLAIN : INK_DIM, v->plan->job->questions[q].id);
    p->columns = all;
    pen_to(p, 4 + s->name_columns + 1);
    pen_bar(p, s->bar_cells, &bar);
    pen_textf(p, begun ? INK_PLAIN : INK_DIM, "  %u/%u", ended_of(t), t->planned);
    draw_losses(p, t);
    row_end(s);
}

/* Many questions scroll: the window stands around the first one that has not ended. */
static void draw_questions(struct sketch *s, size_t rows)
{
    const struct job_view *v = s->in->view;
    uint32_t count = v->plan->question_count, first = 0, shown = count;
    if (rows < 4 || count == 0)
        return;
    rows -= 2;
    if (count > rows) {
        shown = (uint32_t)rows - 1; /* one row tells what is not shown */
        while (first < count && over(&v->questions[first].tally))
            first++;
        first = first > shown / 3 ? first - shown / 3 : 0;
        first = first + shown > count ? count - shown : first;
    }
    heading(s, "Questions");
    for (uint32_t q = first; q < first + shown; q++)
        draw_question(s, q);
    if (shown < count) {
        pen_textf(row_begin(s), INK_DIM, "    %u above, %u below, %u in all", first, count - first - shown, count);
        row_end(s);
    }
}

/* ---- regions ---- */

struct region_sum {
    struct tally tally;
    unsigned models, in_flight, backing_off, paused;
    bool held, broken, cold, warming;
    int64_t first_dispatch_us;
};

static struct region_sum sum_region(const struct frame_input *in, unsigned region)
{
    const struct job_view *v = in->view;
    struct region_sum sum = {.cold = true, .warming = warming_up(v)};
    for (uint32_t i = 0; i < v->plan->endpoint_count; i++) {
        const struct endpoint_view *e = &in->endpoints[i];
        const struct endpoint_tally *t = &v->endpoints[i];
        if (e->spec->region != region)
            continue;
        add_tally(&sum.tally, &t->tally);
        sum.models++;
        sum.in_flight += e->in_flight;
        sum.backing_off += e->backing_off;
        sum.paused += e->spec->paused != NULL;
        sum.held |= e->held_until_us > in->now_us;
        sum.broken |= e->breaker == BREAKER_OPEN || e->breaker == BREAKER_DEAD;
        sum.cold &= e->cold;
        if (t->first_dispatch_us && (!sum.first_dispatch_us || t->first_dispatch_us < sum.first_dispatch_us))
            sum.first_dispatch_us = t->first_dispatch_us;
    }
    return sum;
}

static const char *region_status(const struct region_sum *r, enum ink *ink)
{
    *ink = INK_BUSY;
    if (over(&r->tally)) {
        bool all = r->tally.by_status[STATUS_SUCCEEDED] == r->tally.planned;
        *ink = all ? INK_GOOD : INK_BAD;
        return all ? "done" : "ended";
    }
    if (r->in_flight)
        return r->warming ? "warming up" : r->cold ? "cold start" : "asking";
    if (r->broken) {
        *ink = INK_BAD;
        return "failing";
    }
    if (r->held)
        return "told to wait";
    if (r->backing_off)
        return "backing off";
    *ink = INK_DIM;
    return r->paused == r->models ? "paused" : "waiting";
}

static void clock_time(double unix_s, char out[16])
{
    time_t at = (time_t)unix_s;
    struct tm local;
    localtime_r(&at, &local);
    strftime(out, 16, "%H:%M:%S", &local);
}

static void draw_region(struct sketch *s, unsigned region, const size_t columns[5])
{
    const struct frame_input *in = s->in;
    struct region_sum sum = sum_region(in, region);
    if (!sum.models)
        return;
    char name[64], started[16] = "-";
    snprintf(name, sizeof name, "%s", in->view->plan->table->regions[region].id);
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    if (sum.first_dispatch_us)
        clock_time(in->unix_zero_s + (double)sum.first_dispatch_us / SECOND_US, started);

    struct pen *p = row_begin(s);
    enum ink ink;
    size_t all = p->columns;
    p->columns = all < columns[0] ? all : columns[0] - 1;
    pen_text(p, INK_PLAIN, name);
    p->columns = all;
    pen_to(p, columns[0]);
    struct bar bar = bar_of(&sum.tally);
    pen_bar(p, s->bar_cells / 2, &bar);
    pen_textf(p, INK_PLAIN, " %u/%u", ended_of(&sum.tally), sum.tally.planned);
    pen_to(p, columns[1]);
    const char *status = region_status(&sum, &ink);
    pen_text(p, ink, status);
    if (bar.bad)
        pen_textf(p, INK_BAD, ", %u failed", bar.bad);
    pen_to(p, columns[2]);
    pen_textf(p, INK_PLAIN, "%u", sum.models);
    pen_to(p, columns[3]);
    uint32_t questions = in->view->plan->question_count;
    if (in->questions_ended) /* what is closed in bulk is not counted one by one */
        pen_textf(p, INK_PLAIN, "%u/%u", over(&sum.tally) ? questions : in->questions_ended[region], questions);
    else
        pen_textf(p, INK_PLAIN, "%u", questions);
    pen_to(p, columns[4]);
    pen_text(p, INK_PLAIN, started);
    row_end(s);
}

static void draw_regions(struct sketch *s)
{
    static const char *const names[] = {"Progress", "Status", "Models", "Questions", "Started"};
    const struct region_table *table = s->in->view->plan->table;
    size_t at[5] = {2 + s->name_columns + 2};
    at[1] = at[0] + s->bar_cells / 2 + 15;
    at[2] = at[1] + 22;
    at[3] = at[2] + 8;
    at[4] = at[3] + 13;
    row_begin(s);
    row_end(s);
    struct pen *p = row_begin(s);
    pen_text(p, INK_BOLD, "Region");
    for (size_t i = 0; i < 5; i++) {
        pen_to(p, at[i]);
        pen_text(p, INK_BOLD, names[i]);
    }
    row_end(s);
    for (unsigned i = 0; i < table->region_count && rows_left(s); i++)
        draw_region(s, i, at);
}

/* ---- what is waited for ---- */

/* Greater is more telling: how long somebody has been waiting, or will be. */
static int64_t weight(const struct frame_input *in, uint32_t i)
{
    const struct endpoint_view *e = &in->endpoints[i];
    if (over(&in->view->endpoints[i].tally))
        return 0;
    if (e->breaker == BREAKER_OPEN || e->spec->paused)
        return NEVER_US / 2;
    if (e->held_until_us > in->now_us)
        return e->held_until_us - in->now_us;
    if (e->oldest_dispatch_us)
        return in->now_us - e->oldest_dispatch_us + 1;
    return e->backing_off ? 1 : 0;
}

static void draw_wait(struct sketch *s, uint32_t i)
{
    const struct frame_input *in = s->in;
    const struct endpoint_view *e = &in->endpoints[i];
    char text[DURATION_TEXT];
    struct pen *p = row_begin(s);
    pen_textf(p, INK_PLAIN, "  %s", e->spec->id);
    pen_to(p, 2 + s->name_columns + 2);
    if (e->spec->paused)
        pen_textf(p, INK_DIM, "paused: %s", e->spec->paused);
    else if (e->breaker == BREAKER_OPEN)
        pen_textf(p, INK_BAD, "keeps failing, next try in %s",
                  seconds_text(e->breaker_until_us - in->now_us, text));
    else if (e->held_until_us > in->now_us)
        pen_textf(p, INK_BUSY, "asked for patience, next try in %s",
                  seconds_text(e->held_until_us - in->now_us, text));
    else if (e->oldest_dispatch_us)
        pen_textf(p, INK_BUSY, "%u in flight, the oldest for %s%s", e->in_flight,
                  seconds_text(in->now_us - e->oldest_dispatch_us, text),
                  warming_up(in->view) ? ", warming up" : e->cold ? ", cold start" : "");
    if (e->backing_off)
        pen_textf(p, INK_BUSY, "%s%u backing off", e->oldest_dispatch_us ? ", " : "", e->backing_off);
    row_end(s);
}

static void draw_waits(struct sketch *s, size_t rows)
{
    const struct frame_input *in = s->in;
    uint32_t count = in->view->plan->endpoint_count, shown[WAITS_MAX];
    size_t n = 0, most = rows < 3 ? 0 : rows - 2 < WAITS_MAX ? rows - 2 : WAITS_MAX;
    while (n < most) {
        uint32_t best = count;
        int64_t best_weight = 0;
        for (uint32_t i = 0; i < count; i++) {
            bool taken = false;
            for (size_t k = 0; k < n; k++)
                taken |= shown[k] == i;
            if (!taken && weight(in, i) > best_weight) {
                best = i;
                best_weight = weight(in, i);
            }
        }
        if (best == count)
            break;
        shown[n++] = best;
    }
    if (!n)
        return;
    heading(s, "Waiting for");
    for (size_t i = 0; i < n; i++)
        draw_wait(s, shown[i]);
}

/* ---- all of it ---- */

static void measure(struct sketch *s)
{
    const struct plan *plan = s->in->view->plan;
    size_t widest = 6;
    for (uint32_t i = 0; i < plan->question_count && i < 1000; i++) {
        size_t width = text_columns(str_from(plan->job->questions[i].id));
        widest = width > widest ? width : widest;
    }
    for (uint32_t i = 0; i < plan->endpoint_count; i++) {
        size_t width = text_columns(str_from(plan_endpoint(plan, i)->id));
        widest = width > widest ? width : widest;
    }
    size_t most = s->in->columns / 3 < NAME_MAX_COLUMNS ? s->in->columns / 3 : NAME_MAX_COLUMNS;
    s->name_columns = widest < most ? widest : most;
    s->bar_cells = s->in->columns / 4 < BAR_MAX ? s->in->columns / 4 : BAR_MAX;
}

void frame_draw(struct frame *f, const struct frame_input *in)
{
    struct sketch s = {.in = in, .frame = f};
    buf_clear(&f->text);
    f->row_count = 0;
    if (in->rows < BARE_ROWS || in->columns < 20)
        return;
    measure(&s);
    draw_header(&s);
    unsigned regions = 0;
    for (unsigned i = 0; i < in->view->plan->table->region_count; i++)
        regions += sum_region(in, i).models > 0;
    bool running = !job_state_is_final(in->view->state);
    size_t region_rows = regions + 2, wait_rows = running ? WAITS_MAX + 2 : 0;
    size_t question_rows = in->view->plan->question_count + 2;

    /* What does not fit goes in this order: what is waited for, questions beyond a few, regions. */
    size_t left = rows_left(&s);
    if (left < region_rows)
        region_rows = 0;
    left -= region_rows;
    if (left < wait_rows + (question_rows < 6 ? question_rows : 6))
        wait_rows = 0;
    left -= wait_rows;
    draw_questions(&s, question_rows < left ? question_rows : left);
    if (region_rows)
        draw_regions(&s);
    if (wait_rows)
        draw_waits(&s, rows_left(&s));
}
