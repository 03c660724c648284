#include "script/icu.h"

#include <pthread.h>
#include <stdio.h>

#include "base/defs.h"

#define LIBRARY "libicuuc.so." LATE_TEXT(U_ICU_VERSION_MAJOR_NUM)

struct icu icu;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char why[256];

static void load(void)
{
#define FUNCTION(name) LATE_FUNCTION(icu, name)
    static const struct late_function functions[] = {ICU_FUNCTIONS(FUNCTION)};
    const char *missing = late_load(LIBRARY, functions, ARRAY_LEN(functions));
    if (missing)
        snprintf(why, sizeof why, "texts cannot be compared: %s; install ICU %d", missing, U_ICU_VERSION_MAJOR_NUM);
}

const char *icu_load(void)
{
    pthread_once(&once, load);
    return why[0] ? why : NULL;
}
