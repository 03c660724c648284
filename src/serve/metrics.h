/* metrics.h -- /metrics, in the Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * Counters since the start, gauges of now. Labels are bounded: an endpoint after the thousandth counts as "other", and
 * jobs, questions and errors are no labels at all. */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include "engine/ports.h"

struct daemon;
struct metrics;
struct request;

struct metrics *metrics_new(struct daemon *d);
void metrics_stop(struct metrics *m);    /* before the loop goes; NULL is a no-op */
void metrics_free(struct metrics *m);    /* NULL is a no-op */

void metrics_engine(struct metrics *m, const struct event *event);
/* How the last execution of an endpoint ended; NULL: none has, since the start. */
struct last_result {
    double at;
    enum status status;
    enum failure_class class;
    char error[200];
};
const struct last_result *metrics_last(const struct metrics *m, const char *endpoint);
void metrics_reply(struct metrics *m, int status);        /* a request was answered */

void api_metrics(struct request *q);

#endif
