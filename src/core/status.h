/* status.h -- the words for how things stand, once: schema, API, Lua and tests use these. */
#ifndef CORE_STATUS_H
#define CORE_STATUS_H

#include <stdbool.h>

/* Status of an execution and of an attempt. The first four are open, the last four final. */
#define STATUS_LIST(X) \
    X(PENDING, "pending") X(RUNNING, "running") X(WAITING_RESULT, "waiting_result") X(BACKING_OFF, "backing_off") \
    X(SUCCEEDED, "succeeded") X(FAILED, "failed") X(CANCELLED, "cancelled") X(SKIPPED, "skipped")

/* Why something did not succeed. NONE is an empty column, not a word. */
#define CLASS_LIST(X) \
    X(NONE, "") X(CONNECT, "connect") X(TLS, "tls") X(TIMEOUT, "timeout") X(UNKNOWN_OUTCOME, "unknown_outcome") \
    X(HTTP_CLIENT, "http_client") X(HTTP_SERVER, "http_server") X(RATE_LIMITED, "rate_limited") \
    X(QUOTA_EXHAUSTED, "quota_exhausted") X(NOT_FOUND, "not_found") X(BAD_RESPONSE, "bad_response") \
    X(TOO_LARGE, "too_large") X(WRONG_REGION, "wrong_region") X(WRONG_MODEL, "wrong_model") X(CONFIG, "config") \
    X(BREAKER_OPEN, "breaker_open")

#define JOB_STATE_LIST(X) \
    X(QUEUED, "queued") X(RUNNING, "running") X(PAUSED, "paused") X(SUCCEEDED, "succeeded") X(PARTIAL, "partial") \
    X(FAILED, "failed") X(CANCELLED, "cancelled") X(TIMED_OUT, "timed_out")

#define X(name, text) STATUS_##name,
enum status { STATUS_LIST(X) STATUS_COUNT };
#undef X
#define X(name, text) CLASS_##name,
enum failure_class { CLASS_LIST(X) CLASS_COUNT };
#undef X
#define X(name, text) JOB_##name,
enum job_state { JOB_STATE_LIST(X) JOB_STATE_COUNT };
#undef X

const char *status_name(enum status s);
const char *class_name(enum failure_class c);
const char *job_state_name(enum job_state s);
bool status_parse(const char *text, enum status *out);
bool class_parse(const char *text, enum failure_class *out);
bool job_state_parse(const char *text, enum job_state *out);

static inline bool status_is_final(enum status s)
{
    return s >= STATUS_SUCCEEDED;
}

static inline bool job_state_is_final(enum job_state s)
{
    return s >= JOB_SUCCEEDED;
}

#endif
