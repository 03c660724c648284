/* events.h -- server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), for one job or all.
 *
 * A job that has news is told of as a whole and at most four times a second, however fast it goes, and of its batches
 * no more than a reader can follow: what a subscriber costs does not grow with the load. The latest events are kept, so
 * that one that comes back with the id of the last it has seen misses nothing; if that is not there any more it gets
 * `reset`. Nobody waits for a reader that is slow: it is cut off, and comes back. */
#ifndef SERVE_EVENTS_H
#define SERVE_EVENTS_H

#include <stdbool.h>

#include "engine/ports.h"

struct cJSON;
struct events;
struct http_call;
struct loop;
struct run;

struct events *events_new(struct loop *loop);
void events_close(struct events *e);   /* ends every stream; NULL is a no-op */
void events_free(struct events *e);    /* NULL is a no-op */

/* To be told of: soon, together with what else happens until then; or now. */
void events_touch(struct events *e, struct run *r);
void events_job(struct events *e, struct run *r);
void events_engine(struct events *e, struct run *r, const struct event *event);
/* job_id NULL: it concerns all. Frees data. */
void events_publish(struct events *e, const char *job_id, const char *type, struct cJSON *data);

/* Answers the call. job_id NULL: all jobs. */
void events_subscribe(struct events *e, struct http_call *c, const char *job_id);
unsigned events_subscribers(const struct events *e);

#endif
