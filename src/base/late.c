#include "base/late.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

const char *late_load(const char *library, const struct late_function *functions, size_t count)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        return dlerror();
    for (size_t i = 0; i < count; i++)
        if (!(*functions[i].at = dlsym(handle, functions[i].name)))
            return dlerror();
    return NULL;
}

void late_need(const char *library, const struct late_function *functions, size_t count)
{
    const char *why = late_load(library, functions, count);
    if (!why)
        return;
    fprintf(stderr, "canvass: a library is missing (%s): %s; install it\n", library, why);
    exit(127);
}
