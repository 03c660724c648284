#include "serve/internal.h"

#define API "/api/v1"

const struct route routes[] = {
    {"GET", "/health", api_health, false},
    {"GET", "/ready", api_ready, false},
    {"GET", "/metrics", api_metrics, false},
    {"GET", API "/openapi.json", api_openapi, false},
    {"GET", API "/jobs", api_jobs, false},
    {"POST", API "/jobs", api_submit, true},
    {"GET", API "/jobs/:job", api_job, false},
    {"GET", API "/jobs/:job/executions", api_executions, false},
    {"GET", API "/jobs/:job/questions", api_questions, false},
    {"GET", API "/jobs/:job/endpoints", api_endpoints, false},
    {"GET", API "/jobs/:job/attempts", api_attempts, false},
    {"GET", API "/jobs/:job/events", api_job_events, false},
    {"GET", API "/events", api_events, false},
    {"GET", API "/scripts", api_scripts, false},
    {"POST", API "/jobs/:job/cancel", api_job_cancel, true},
    {"POST", API "/jobs/:job/resume", api_job_resume, true},
    {"POST", API "/jobs/:job/retry", api_job_retry, true},
    {"GET", API "/executions/:execution", api_execution, false},
    {"POST", API "/executions/:execution/retry", api_execution_retry, true},
    {NULL, NULL, NULL, false},
};
