#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void PRINTF_LIKE(2, 0) set_text(struct err *err, const char *fmt, va_list args)
{
    int len = vsnprintf(err->text, sizeof err->text, fmt, args);
    if (len >= (int)sizeof err->text)
        memcpy(err->text + sizeof err->text - 4, "...", 4);
}

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->code = code;
        set_text(err, fmt, args);
        va_end(args);
    }
    return false;
}

bool err_prefix(struct err *err, const char *fmt, ...)
{
    if (err) {
        char old[sizeof err->text];
        memcpy(old, err->text, sizeof old);
        va_list args;
        va_start(args, fmt);
        set_text(err, fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, "%s", old);
    }
    return false;
}
