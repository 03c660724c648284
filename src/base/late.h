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

/* For each name of a list X(a) X(b) of functions: a member that points to it, and what fills that member of `lib` in.
 * A name that its header makes another of is the other one. */
#define LATE_MEMBER(name) __typeof__(&(name)) name;
#define LATE_FUNCTION(lib, name) {LATE_TEXT(name), (void **)(void *)&(lib).name},
#define LATE_TEXT(name) LATE_TEXT_OF(name)
#define LATE_TEXT_OF(name) #name

/* NULL when all are there; else why not, until the thread's next call. Never unloads. */
const char *late_load(const char *library, const struct late_function *functions, size_t count);

/* The same for what nothing goes without: ends the program, as the system's loader would have done at the start. */
void late_need(const char *library, const struct late_function *functions, size_t count);

#endif
