/* pool.h -- malloc() for what comes and goes with every request.
 *
 * libcurl and Lua allocate some thirty blocks a request and free them when it ends. A thread that called pool_begin()
 * keeps what it frees in lists by size, for its next request of that size; every other thread (libcurl's
 * resolvers) gets its blocks from malloc(). A block may be freed by any thread, and only by pool_free(). Under
 * a sanitizer nothing is kept, so that it sees each use after a free.
 * All return NULL when memory runs out. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

void pool_begin(void);      /* this thread keeps lists, until it ends or pool_end() */
void pool_end(void);        /* gives all it kept back; without pool_begin(): nothing */

void *pool_malloc(size_t size);
void *pool_calloc(size_t count, size_t size);
void *pool_realloc(void *ptr, size_t size);
char *pool_strdup(const char *text);
void pool_free(void *ptr);

#endif
