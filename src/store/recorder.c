#include "store/recorder.h"

#include <string.h>

#include "base/timeutil.h"

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *keep_text(char **at, const char *text)
{
    if (!text)
        return NULL;
    char *copy = *at;
    *at = stpcpy(copy, text) + 1;
    return copy;
}

/* An empty text stays one: only a NULL pointer is no text. */
static struct str keep_str(char **at, struct str text)
{
    if (!text.ptr)
        return text;
    char *copy = *at;
    memcpy(copy, text.ptr, text.len);
    *at = copy + text.len;
    return (struct str){copy, text.len};
}

void record_attempt_began(struct queue *q, const struct attempt_began *r)
{
    char *at;
    struct record *out = queue_add(q, RECORD_BEGAN, sizeof *r, text_size(r->url) + r->request.len, &at);
    out->at = unix_now_s();
    out->began = *r;
    out->began.url = keep_text(&at, r->url);
    out->began.request = keep_str(&at, r->request);
}

void record_attempt_hopped(struct queue *q, const struct attempt_hopped *r)
{
    char *at;
    struct record *out = queue_add(q, RECORD_HOPPED, sizeof *r, text_size(r->result_url), &at);
    out->hopped = *r;
    out->hopped.result_url = keep_text(&at, r->result_url);
}

void record_attempt_ended(struct queue *q, const struct attempt_ended *r)
{
    size_t texts = text_size(r->error) + r->response.len + text_size(r->served_model) + text_size(r->served_region) +
                   text_size(r->execution.error) + r->execution.answer.len;
    char *at;
    struct record *out = queue_add(q, RECORD_ENDED, sizeof *r, texts, &at);
    struct attempt_ended *e = &out->ended;
    *e = *r;
    e->error = keep_text(&at, r->error);
    e->response = keep_str(&at, r->response);
    e->served_model = keep_text(&at, r->served_model);
    e->served_region = keep_text(&at, r->served_region);
    e->execution.error = keep_text(&at, r->execution.error);
    e->execution.answer = keep_str(&at, r->execution.answer);
}

void record_rows_closed(struct queue *q, const struct rows_closed *r)
{
    char *at;
    struct record *out = queue_add(q, RECORD_CLOSED, sizeof *r, text_size(r->endpoint) + text_size(r->error), &at);
    out->closed = *r;
    out->closed.endpoint = keep_text(&at, r->endpoint);
    out->closed.error = keep_text(&at, r->error);
}

void record_job_changed(struct queue *q, const struct job_changed *r)
{
    char *at;
    struct record *out = queue_add(q, RECORD_JOB, sizeof *r, text_size(r->job_id), &at);
    out->job = *r;
    out->job.job_id = keep_text(&at, r->job_id);
}
