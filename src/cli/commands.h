/* commands.h -- one for each file cmd_*.c; main.c has them in a list. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

extern const struct command command_run, command_plan, command_rehearse, command_check, command_resume, command_retry,
    command_cancel, command_jobs, command_show, command_results, command_query, command_verify, command_serve,
    command_simulate, command_report, command_export, command_grade, command_embed,
    command_regions_check, command_regions_show, command_regions_diff, command_regions_apply, command_regions_pause,
    command_regions_resume, command_regions_history, command_regions_rollback;

#define OPTION_DB \
    {.name = "db", .value = "FILE", .help = "the database", .fallback = "canvass.db", .setting = true}
#define OPTION_JSON {.name = "json", .help = "JSON on standard output, and nothing else there"}
#define OPTION_REGIONS \
    {.name = "regions", .value = "TABLE.lua", .help = "the region table: which model is where", .setting = true}
#define OPTION_SECRETS \
    {.name = "secrets", .value = "FILE", .help = "NAME=value lines, mode 0600; for secrets not in the environment", \
     .setting = true}

#endif
