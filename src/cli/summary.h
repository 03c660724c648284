/* summary.h -- what became of a job, for people. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "base/buf.h"
#include "host/summary.h"

/* columns: of the terminal, 0: no limit. speed: of the region table; other than 1, times are told in simulated time
 * too. */
void summary_text(const struct summary *s, size_t columns, double speed, struct buf *out);

#endif
