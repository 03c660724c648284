/* frame.h -- one picture of a running job for the terminal: pure, from what the engine counts.
 *
 * Never wider or taller than asked for. What a color says, a word or a mark says too. */
#ifndef CLI_FRAME_H
#define CLI_FRAME_H

#include "base/buf.h"
#include "engine/engine.h"

struct frame_input {
    const struct job_view *view;
    const struct endpoint_view *endpoints;  /* by position in the plan */
    const uint32_t *questions_ended;        /* by region: questions that have ended there; NULL: not counted */
    int64_t now_us;
    double unix_zero_s;                     /* the wall clock at instant 0 */
    size_t columns, rows;
    bool colors, draining;
    int64_t locked_since_us;                /* another program has kept the database since; 0: it has not */
};

enum { FRAME_ROWS_MAX = 200 };

struct frame {
    struct buf text;                        /* rows with a newline each */
    size_t row_columns[FRAME_ROWS_MAX];
    size_t row_count;
};

void frame_init(struct frame *f);
void frame_done(struct frame *f);
void frame_draw(struct frame *f, const struct frame_input *in);

#endif
