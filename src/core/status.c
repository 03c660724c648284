#include "core/status.h"

#include <string.h>

#define X(name, text) text,
static const char *const statuses[] = {STATUS_LIST(X)};
static const char *const classes[] = {CLASS_LIST(X)};
static const char *const job_states[] = {JOB_STATE_LIST(X)};
#undef X

const char *status_name(enum status s)
{
    return statuses[s];
}

const char *class_name(enum failure_class c)
{
    return classes[c];
}

const char *job_state_name(enum job_state s)
{
    return job_states[s];
}

static int find(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

#define PARSER(function, type, names, count)         \
    bool function(const char *text, type *out)       \
    {                                                \
        int i = find(names, count, text ? text : ""); \
        if (i >= 0)                                  \
            *out = (type)i;                          \
        return i >= 0;                               \
    }

PARSER(status_parse, enum status, statuses, STATUS_COUNT)
PARSER(class_parse, enum failure_class, classes, CLASS_COUNT)
PARSER(job_state_parse, enum job_state, job_states, JOB_STATE_COUNT)
