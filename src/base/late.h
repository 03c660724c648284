/* late.h -- a library that is loaded when it is first needed.
 *
 * Most of what a start takes is the loading of libraries, and most commands need few of them. */
#ifndef BASE_LATE_H
#define BASE_LATE_H

#include <stddef.h>

struct late_function {
    const char *name;
    void **at;               /* where its address goes */
};

/* NULL when all are there; else why not, until the thread's next call. Never unloads. */
const char *late_load(const char *library, const struct late_function *functions, size_t count);

/* The same for what nothing goes without: ends the program, as the system's loader would have done at the start. */
void late_need(const char *library, const struct late_function *functions, size_t count);

#endif
