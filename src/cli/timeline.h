/* timeline.h -- a chart of one rehearsal: a row for each endpoint, time from left to right. Pure. */
#ifndef CLI_TIMELINE_H
#define CLI_TIMELINE_H

#include "cli/pen.h"
#include "core/plan.h"
#include "engine/ports.h"

enum { TIMELINE_ROWS_MAX = 24, TIMELINE_SPANS_MAX = 1 << 20 };

enum span_kind { SPAN_ASKED, SPAN_ANSWERING, SPAN_FAILED }; /* FAILED: an instant */

struct span {
    uint32_t row;              /* of the endpoint: its position in the plan */
    enum span_kind kind;
    double from_s, to_s;
};

/* The first so many endpoints, and the first so many spans: the chart says what it leaves out. */
struct timeline {
    const struct plan *plan;
    int64_t *started_us;       /* of each execution's attempt under way, then of each endpoint's warm-up; 0: none */
    struct span *spans;
    size_t count;
    double end_s;
};

void timeline_init(struct timeline *t, const struct plan *plan);
void timeline_done(struct timeline *t);
void timeline_add(struct timeline *t, uint32_t row, enum span_kind kind, double from_s, double to_s);
void timeline_event(struct timeline *t, const struct event *event, int64_t start_us, double speed);
/* Rows with a newline each, none wider than columns. */
void timeline_draw(const struct timeline *t, size_t columns, bool colors, struct buf *out);

#endif
