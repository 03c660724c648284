/* log_options.h -- the options that set the log up. */
#ifndef CLI_LOG_OPTIONS_H
#define CLI_LOG_OPTIONS_H

#include "base/log.h"
#include "cli/args.h"

#define LOGGING_OPTIONS \
    {.name = "log", .value = "text|json", .help = "form of the log lines on standard error", .fallback = "text", \
     .setting = true}, \
    {.name = "log-level", .value = "LEVEL", .help = "debug, info, warn or error", .fallback = "info", .setting = true}

/* Sets the log up from a command's LOGGING_OPTIONS; least holds unless a level was asked for. */
bool logging_setup(const struct args *args, enum log_level least, struct err *err);

#endif
