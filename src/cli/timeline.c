#include "cli/timeline.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"

enum { CELLS_MIN = 10, CELLS_MAX = 240, NAME_COLUMNS_MAX = 32 };

void timeline_init(struct timeline *t, const struct plan *plan)
{
    *t = (struct timeline){.plan = plan};
    t->started_us = mem_zalloc((plan->count + plan->endpoint_count) * sizeof *t->started_us);
}

void timeline_done(struct timeline *t)
{
    free(t->started_us);
    free(t->spans);
}

void timeline_add(struct timeline *t, uint32_t row, enum span_kind kind, double from_s, double to_s)
{
    t->end_s = to_s > t->end_s ? to_s : t->end_s;
    if (row >= TIMELINE_ROWS_MAX || t->count == TIMELINE_SPANS_MAX)
        return;
    if ((t->count & (t->count - 1)) == 0)
        t->spans = mem_array(t->spans, t->count ? t->count * 2 : 1, sizeof *t->spans);
    t->spans[t->count++] = (struct span){row, kind, from_s, to_s};
}

void timeline_event(struct timeline *t, const struct event *e, int64_t start_us, double speed)
{
    bool failed = e->kind == EVENT_ATTEMPT_FAILED || (e->kind == EVENT_EXECUTION_ENDED && e->status == STATUS_FAILED);
    if (e->kind != EVENT_ATTEMPT_STARTED && e->kind != EVENT_EXECUTION_ENDED && !failed)
        return;
    int64_t *started_us = &t->started_us[plan_number(t->plan, e->cell)];
    double at_s = (double)(e->at_us - start_us) * speed / SECOND_US;
    if (*started_us)
        timeline_add(t, e->cell.endpoint, SPAN_ASKED, (double)(*started_us - start_us) * speed / SECOND_US, at_s);
    if (failed)
        timeline_add(t, e->cell.endpoint, SPAN_FAILED, at_s, at_s);
    *started_us = e->kind == EVENT_ATTEMPT_STARTED ? e->at_us : 0;
}

/* ---- drawing ---- */

/* How many seconds of each kind there are in each cell of each row. */
struct cells {
    size_t count;
    double cell_s;
    double (*seconds)[SPAN_FAILED + 1]; /* [row * count + cell] */
};

static void fill(const struct timeline *t, struct cells *c)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct span *s = &t->spans[i];
        size_t first = (size_t)(s->from_s / c->cell_s), last = (size_t)(s->to_s / c->cell_s);
        for (size_t k = first; k <= last && k < c->count; k++) {
            double from_s = fmax(s->from_s, (double)k * c->cell_s), to_s = fmin(s->to_s, (double)(k + 1) * c->cell_s);
            c->seconds[s->row * c->count + k][s->kind] += s->kind == SPAN_FAILED ? 1 : to_s - from_s;
        }
        if (s->kind == SPAN_FAILED && first >= c->count) /* in the last instant */
            c->seconds[s->row * c->count + c->count - 1][s->kind] += 1;
    }
}

static const struct mark { enum ink ink; const char *text; } marks[] = {
    {INK_BAD, "x"}, {INK_DIM, "·"}, {INK_GOOD, "▁"}, {INK_BUSY, "▒"}, {INK_GOOD, "█"}};

static const struct mark *mark_of(const double *seconds, double cell_s)
{
    if (seconds[SPAN_FAILED] > 0)
        return &marks[0];
    if (!(seconds[SPAN_ASKED] > 0))
        return &marks[1];
    if (seconds[SPAN_ASKED] < cell_s / 4)
        return &marks[2];
    return seconds[SPAN_ANSWERING] < seconds[SPAN_ASKED] / 2 ? &marks[3] : &marks[4];
}

static void draw_row(struct pen *p, const struct cells *c, size_t row)
{
    for (size_t k = 0, next; k < c->count; k = next) {
        const struct mark *mark = mark_of(c->seconds[row * c->count + k], c->cell_s);
        for (next = k + 1; next < c->count && mark_of(c->seconds[row * c->count + next], c->cell_s) == mark; next++)
            ;
        pen_marks(p, mark->ink, mark->text, next - k);
    }
}

static void draw_axis(struct pen *p, size_t left, double end_s)
{
    char text[DURATION_TEXT];
    duration_format((int64_t)(end_s * SECOND_US), text);
    size_t len = strlen(text);
    pen_to(p, left);
    pen_text(p, INK_DIM, "0");
    if (p->columns > left + len + 2)
        pen_to(p, p->columns - len);
    pen_text(p, INK_DIM, text);
}

void timeline_draw(const struct timeline *t, size_t columns, bool colors, struct buf *out)
{
    uint32_t rows = t->plan->endpoint_count < TIMELINE_ROWS_MAX ? t->plan->endpoint_count : TIMELINE_ROWS_MAX;
    size_t name = 0;
    for (uint32_t i = 0; i < rows; i++) {
        size_t len = text_columns(str_from(plan_endpoint(t->plan, i)->id));
        name = len > name ? len : name;
    }
    name = name < NAME_COLUMNS_MAX ? name : NAME_COLUMNS_MAX;
    size_t left = name + 4;
    if (columns < left + CELLS_MIN || !(t->end_s > 0))
        return;
    columns = columns < left + CELLS_MAX ? columns : left + CELLS_MAX;
    struct cells c = {.count = columns - left, .cell_s = t->end_s / (double)(columns - left)};
    c.seconds = mem_zalloc(rows * c.count * sizeof *c.seconds);
    fill(t, &c);
    for (uint32_t i = 0; i < rows; i++) {
        struct pen p = {.out = out, .columns = name + 2, .colors = colors};
        pen_text(&p, INK_PLAIN, "  ");
        pen_text(&p, INK_PLAIN, plan_endpoint(t->plan, i)->id);
        p.columns = columns;
        pen_to(&p, left);
        draw_row(&p, &c, i);
        buf_addc(out, '\n');
    }
    struct pen axis = {.out = out, .columns = columns, .colors = colors};
    draw_axis(&axis, left, t->end_s);
    buf_addc(out, '\n');
    if (t->plan->endpoint_count > rows)
        buf_addf(out, "  ... and %u endpoints more\n", t->plan->endpoint_count - rows);
    free(c.seconds);
}
