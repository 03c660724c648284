/* recorder.h -- the recorder port: a change becomes a record in the queue, its texts copied behind it. */
#ifndef STORE_RECORDER_H
#define STORE_RECORDER_H

#include "store/queue.h"

void record_attempt_began(struct queue *q, const struct attempt_began *r);
void record_attempt_hopped(struct queue *q, const struct attempt_hopped *r);
void record_attempt_ended(struct queue *q, const struct attempt_ended *r);
void record_rows_closed(struct queue *q, const struct rows_closed *r);
void record_job_changed(struct queue *q, const struct job_changed *r);

#endif
