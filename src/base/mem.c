#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *ptr)
{
    if (!ptr) {
        fputs("canvass: out of memory (malloc): close other programs or ask for less at once\n", stderr);
        abort();
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    return must(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return must(calloc(1, size ? size : 1));
}

void *mem_realloc(void *ptr, size_t size)
{
    return must(realloc(ptr, size ? size : 1));
}

void *mem_array(void *ptr, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        must(NULL);
    return mem_realloc(ptr, count * size);
}

void *mem_dup(const void *ptr, size_t size)
{
    void *copy = mem_alloc(size);
    if (size)
        memcpy(copy, ptr, size);
    return copy;
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return text ? mem_strndup(text, strlen(text)) : NULL;
}

char *mem_printf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    return must(len < 0 ? NULL : text);
}
