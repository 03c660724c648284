/* mem.h -- allocation that never returns NULL: out of memory ends the process.
 *
 * Sizes that come from outside are capped by the caller before they get here.
 * What these return is released with free(). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                              /* not zeroed */
void *mem_zalloc(size_t size);                             /* zeroed */
void *mem_realloc(void *ptr, size_t size);
void *mem_array(void *ptr, size_t count, size_t size);     /* realloc, overflow-checked */
void *mem_dup(const void *ptr, size_t size);
char *mem_strdup(const char *text);                        /* NULL gives NULL */
char *mem_strndup(const char *text, size_t len);           /* NUL-terminated copy */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
