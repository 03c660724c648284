/* progress.h -- how a job stands while it runs: a live table on a terminal, a log line now and then elsewhere.
 *
 * The table is drawn in place on standard error, at most ten times a second, with log lines above it.
 * A terminal that does not take what is written (Ctrl-S) loses frames; the job goes on. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "engine/engine.h"

struct loop;
struct progress;

struct progress *progress_new(struct loop *loop, struct engine *engine, const struct engine_job *job, bool live);
void progress_free(struct progress *p);      /* draws the last frame, which stays; NULL is a no-op */
void progress_event(struct progress *p, const struct event *event);
void progress_draining(struct progress *p);
void progress_locked(struct progress *p, int64_t since_us); /* nothing can be written since then; 0: it can again */

#endif
