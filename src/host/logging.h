/* logging.h -- what the engine tells its observers, and what scripts say, as log lines. */
#ifndef HOST_LOGGING_H
#define HOST_LOGGING_H

#include "base/log.h"
#include "engine/engine.h"

void logging_event(const struct event *event);

void logging_script(void *ctx, const char *line); /* for canvass.log() */

#endif
