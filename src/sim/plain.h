/* plain.h -- what a SCHEMA_PLAIN endpoint and its adapter say to one another: lines, no JSON, no Lua.
 *
 * The request's body is the prompt. An answer is PLAIN_ANSWER, the region, the model, then the text; a failure of
 * the model PLAIN_ERROR and what it says. For plans, tests and searches, where a run must cost microseconds. */
#ifndef SIM_PLAIN_H
#define SIM_PLAIN_H

#include "engine/ports.h"

#define PLAIN_ANSWER "answer\n"
#define PLAIN_ERROR "error\n"

enum { PLAIN_LINE_BYTES = 256 };

/* Lives as long as the port. */
struct plain_adapter {
    char region[PLAIN_LINE_BYTES], model[PLAIN_LINE_BYTES];
};

void plain_adapter_port(struct plain_adapter *a, struct adapter_port *out);

#endif
