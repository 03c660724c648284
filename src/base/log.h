/* log.h -- log lines on stderr: one event a line, a message and its fields.
 *
 * text:  2025-10-01T23:53:00.123Z INFO  starting question batch job_id=b-1 question=math_basic
 * json:  {"time":"...","level":"info","message":"starting question batch","job_id":"b-1",...}
 *
 * Values pass through text_add_plain / text_add_json. While a live table is on
 * the terminal, lines go to `sink` instead, which draws them above it. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *name;                          /* NULL ends the list */
    enum { LOG_STRING, LOG_INT, LOG_REAL } type;
    union {
        const char *string;                    /* NULL: the field is left out */
        int64_t integer;
        double real;
    };
};

#define LOG_S(n, v) {.name = (n), .type = LOG_STRING, .string = (v)}
#define LOG_I(n, v) {.name = (n), .type = LOG_INT, .integer = (int64_t)(v)}
#define LOG_R(n, v) {.name = (n), .type = LOG_REAL, .real = (v)}

void log_setup(enum log_level least, enum log_format format);
/* line has no newline; NULL goes back to stderr. */
void log_sink(void (*sink)(void *ctx, const char *line), void *ctx);
bool log_wanted(enum log_level level);         /* false: a line of this level would be dropped */
void log_fields(enum log_level level, const char *message, const struct log_field *fields);

/* log_event(LOG_INFO, "job accepted", LOG_S("job_id", id), LOG_I("executions", n)); */
#define log_event(level, message, ...) \
    log_fields(level, message, (const struct log_field[]){__VA_ARGS__, {.name = NULL}})

#endif
