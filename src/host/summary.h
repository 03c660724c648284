/* summary.h -- what became of a job, counted from its rows: for the end of `run`, for `show`, and for the API. */
#ifndef HOST_SUMMARY_H
#define HOST_SUMMARY_H

#include "base/arena.h"
#include "base/err.h"
#include "store/store.h"

struct cJSON;

struct region_line {
    const char *id;
    int64_t planned, succeeded, failed, cancelled, skipped;
};

struct failure_line {
    const char *endpoint, *status, *class, *error;
    int64_t count;
};

struct warm_line {
    const char *endpoint, *kind, *status, *class, *error;
    double took_s;
};

struct summary {
    struct arena arena;
    struct job_summary job;
    struct region_line *regions;
    struct failure_line *failures;
    size_t region_count, failure_count;
    struct warm_line *warm_ups;
    size_t warm_count;
};

/* job_id may be "last". NULL on error. */
MUST_USE struct summary *summary_load(struct reader *reader, const char *job_id, struct err *err);
void summary_free(struct summary *s);        /* NULL is a no-op */
double summary_mean_s(const struct job_summary *job, int cold); /* of the answers; NAN when there was none */

struct cJSON *summary_json(const struct summary *s);
struct cJSON *job_json(const struct job_summary *job); /* the same without regions, failures and times */

#endif
