/* err.h -- what went wrong, for a person: WHAT (WHERE): WHAT TO DO.
 *
 * A function that can fail because of the world returns bool and takes a
 * `struct err *` last. On false the err is set and every other out-parameter is
 * untouched; on true the err is untouched. Our own bugs are assertions. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/defs.h"

enum err_code {
    ERR_NONE,
    ERR_USAGE,   /* the command line */
    ERR_CONFIG,  /* a table, job, fleet or questions file */
    ERR_STORE,   /* the database */
    ERR_SYSTEM,  /* files, sockets, memory limits of the machine */
    ERR_SCRIPT,  /* a Lua function failed while a job ran */
};

struct err {
    enum err_code code;
    char text[2048]; /* one line, or several for a Lua traceback; no trailing newline */
};

/* Sets err and returns false, so that `return err_set(...)` reads as one thing.
 * A text too long for the buffer ends in "...". err may be NULL. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts text before what err already says. Returns false. */
bool err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
