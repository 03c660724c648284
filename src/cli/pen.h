/* pen.h -- writes one row of a frame, and never past its last column. */
#ifndef CLI_PEN_H
#define CLI_PEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum ink { INK_PLAIN, INK_BOLD, INK_DIM, INK_GOOD, INK_BUSY, INK_BAD };

struct pen {
    struct buf *out;
    size_t column, columns;
    bool colors;
};

void pen_text(struct pen *p, enum ink ink, const char *text);
void pen_textf(struct pen *p, enum ink ink, const char *fmt, ...) PRINTF_LIKE(3, 4);
void pen_to(struct pen *p, size_t column);   /* spaces up to there, one at least unless at the start */
void pen_marks(struct pen *p, enum ink ink, const char *mark, size_t count); /* mark: one column wide */
/* A bar of so many cells. What is left of total is what waits. */
struct bar {
    uint32_t good, bad, closed, busy, total; /* closed: ended without having been answered or failed */
};
void pen_bar(struct pen *p, size_t cells, const struct bar *bar);

#endif
