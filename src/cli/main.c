#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/pool.h"
#include "cli/commands.h"
#include "cli/output.h"

static const struct command *const commands[] = {
    &command_run,          &command_plan,           &command_rehearse,        &command_check,
    &command_resume,       &command_retry,          &command_grade,           &command_embed,
    &command_cancel,       &command_jobs,           &command_show,            &command_results,
    &command_report,       &command_export,         &command_query,           &command_verify,
    &command_regions_check, &command_regions_show,  &command_regions_diff,    &command_regions_apply,
    &command_regions_pause, &command_regions_resume, &command_regions_history, &command_regions_rollback,
    &command_serve,        &command_simulate,
};

static void overview(struct buf *out)
{
    buf_adds(out, "canvass puts the same questions to every model in every region, at exactly the load the\n"
                  "endpoints can bear, loses nothing and never pays twice for an answer.\n\n"
                  "usage: canvass COMMAND [options]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        buf_addf(out, "  %-17s %s\n", commands[i]->name, commands[i]->summary);
    buf_adds(out, "\n`canvass COMMAND --help` tells more. Begin with\n"
                  "  canvass plan job.lua --regions regions.lua\n");
}

/* "regions" alone is no command, but the first word of some. */
static bool in_group(const struct command *command, const char *group)
{
    size_t len = strlen(group);
    return len && strncmp(command->name, group, len) == 0 && command->name[len] == ' ';
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (in_group(commands[i], word))
            return true;
    return false;
}

static void group_overview(const char *group, struct buf *out)
{
    buf_addf(out, "usage: canvass %s COMMAND [options]\n\n", group);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (in_group(commands[i], group))
            buf_addf(out, "  %-17s %s\n", commands[i]->name, commands[i]->summary);
    buf_addf(out, "\n`canvass %s COMMAND --help` tells more.\n", group);
}

/* Asked for: on standard output. Else it is part of a complaint. */
static int show_group(const char *group, bool asked)
{
    struct buf text;
    struct err err;
    buf_init(&text, 65536);
    group_overview(group, &text);
    if (asked) {
        out_buf(&text);
    } else {
        err_set(&err, ERR_USAGE, "a word is missing (canvass %s): say which", group);
        complain(&err);
        fputs(buf_str(&text).ptr, stderr);
    }
    buf_done(&text);
    return asked ? EXIT_ALL_WELL : EXIT_USAGE;
}

static bool is_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int show_help(const struct command *command)
{
    struct buf text;
    buf_init(&text, 65536);
    if (command)
        args_help(command, &text);
    else
        overview(&text);
    out_buf(&text);
    buf_done(&text);
    return EXIT_ALL_WELL;
}

static int run_command(int argc, char **argv)
{
    struct err err;
    int used;
    if (is_group(argv[1]) && (argc == 2 || is_help(argv[2])))
        return show_group(argv[1], argc > 2);
    const struct command *command = command_find(commands, ARRAY_LEN(commands), argc, argv, &used, &err);
    struct args args;
    if (!command || !args_parse(&args, command, argc - used, argv + used, &err))
        return complain(&err);
    int status = args.help ? show_help(command) : command->run(&args);
    args_done(&args);
    return status;
}

static int help_command(int argc, char **argv)
{
    struct err err;
    int used;
    const struct command *command = NULL;
    if (argc == 3 && is_group(argv[2]))
        return show_group(argv[2], true);
    if (argc > 2) {
        command = command_find(commands, ARRAY_LEN(commands), argc - 1, argv + 1, &used, &err);
        if (!command)
            return complain(&err);
    }
    return show_help(command);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        struct buf text;
        buf_init(&text, 65536);
        overview(&text);
        fputs(buf_str(&text).ptr, stderr);
        buf_done(&text);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        out_text("canvass " CANVASS_VERSION "\n");
        return EXIT_ALL_WELL;
    }
    if (is_help(argv[1]))
        return help_command(argc, argv);
    return run_command(argc, argv);
}

/* A stream that came closed gives its number to the next socket, and the log would be written into a request. The
 * null device takes its place, open for reading only, so that writing still fails. */
static void hold_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            abort(); /* no way to be safe, and none to say so */
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    /* Widths and numbers: text is UTF-8 whatever the machine says, numbers always have a point. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    pool_begin();
    return out_finish(dispatch(argc, argv));
}
