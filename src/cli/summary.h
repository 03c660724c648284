/* summary.h -- what became of a job, counted from its rows: for the end of `run` and for `show`. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

struct cJSON;
struct summary;

/* job_id may be "last". NULL on error. */
MUST_USE struct summary *summary_load(struct reader *reader, const char *job_id, struct err *err);
void summary_free(struct summary *s);        /* NULL is a no-op */
const struct job_summary *summary_job(const struct summary *s);

/* columns: of the terminal, 0: no limit. speed: of the region table; other than 1, times are told in simulated time
 * too. */
void summary_text(const struct summary *s, size_t columns, double speed, struct buf *out);
struct cJSON *summary_json(const struct summary *s);
struct cJSON *job_json(const struct job_summary *job); /* the same without regions, failures and times */

#endif
