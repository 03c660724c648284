#include "script/icu.h"

#include <pthread.h>
#include <stdio.h>

#include "base/defs.h"
#include "base/late.h"

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define LIBRARY "libicuuc.so." STRING(U_ICU_VERSION_MAJOR_NUM)

struct icu icu;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char why[256];

static void load(void)
{
    static const struct late_function functions[] = {
#define ICU_FUNCTION(name) {STRING(name), (void **)(void *)&icu.name},
        ICU_FUNCTIONS(ICU_FUNCTION)
#undef ICU_FUNCTION
    };
    const char *missing = late_load(LIBRARY, functions, ARRAY_LEN(functions));
    if (missing)
        snprintf(why, sizeof why, "texts cannot be compared: %s; install ICU %d", missing, U_ICU_VERSION_MAJOR_NUM);
}

const char *icu_load(void)
{
    pthread_once(&once, load);
    return why[0] ? why : NULL;
}
