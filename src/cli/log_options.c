#include "cli/log_options.h"

static const char *const formats[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json"};
static const char *const levels[] = {[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn",
                                     [LOG_ERROR] = "error"};

bool logging_setup(const struct args *args, enum log_level least, struct err *err)
{
    int format = LOG_TEXT, level = LOG_INFO;
    if (!args_choice(args, "log", formats, ARRAY_LEN(formats), &format, err) ||
        !args_choice(args, "log-level", levels, ARRAY_LEN(levels), &level, err))
        return false;
    log_setup(args_given(args, "log-level") ? (enum log_level)level : least, (enum log_format)format);
    return true;
}
