#include "script/icu.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define LIBRARY "libicuuc.so." STRING(U_ICU_VERSION_MAJOR_NUM)

struct icu icu;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char why[256];

static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, sizeof why, "texts cannot be compared: %s; install ICU %d", dlerror(), U_ICU_VERSION_MAJOR_NUM);
        return;
    }
    static const struct {
        const char *name;
        size_t at;
    } functions[] = {
#define ICU_ENTRY(name) {STRING(name), offsetof(struct icu, name)},
        ICU_FUNCTIONS(ICU_ENTRY)
#undef ICU_ENTRY
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found)
            snprintf(why, sizeof why, "texts cannot be compared: %s has no %s", LIBRARY, functions[i].name);
        memcpy((char *)&icu + functions[i].at, &found, sizeof found);
    }
}

const char *icu_load(void)
{
    pthread_once(&once, load);
    return why[0] ? why : NULL;
}
