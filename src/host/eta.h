/* eta.h -- when a job will have ended, from what its answers have taken so far. */
#ifndef HOST_ETA_H
#define HOST_ETA_H

#include "engine/engine.h"

/* endpoints: by position in the plan. -1: nothing was measured yet. */
int64_t eta_left_us(const struct job_view *view, const struct endpoint_view *endpoints, int64_t now_us);

#endif
