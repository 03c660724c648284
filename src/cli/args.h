/* args.h -- the command line, from one table for each command.
 *
 * The table gives the parser, the help text and the settings: an option marked `setting` is looked up
 * as flag, then in the environment (CANVASS_ and its name in capitals), then its default. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum exit_status {
    EXIT_ALL_WELL = 0,
    EXIT_SOME_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_TIMED_OUT = 3,
    EXIT_STORE = 4,
    EXIT_INTERRUPTED = 130,
};

struct option_spec {
    const char *name;      /* "ca-file" for --ca-file; NULL ends a table */
    const char *value;     /* "FILE"; NULL: a flag */
    const char *help;
    const char *fallback;  /* the default, also shown; NULL: none */
    bool setting;          /* may come from the environment */
    bool repeats;
};

struct args;

struct command {
    const char *name;      /* "run", "regions check" */
    const char *words;     /* "JOB.lua"; "" when it takes none */
    const char *summary;   /* one line */
    const char *details;   /* paragraphs, may be NULL */
    const char *examples;  /* lines, may be NULL */
    int words_min, words_max;
    const struct option_spec *options;
    int (*run)(const struct args *args);
};

struct arg_value {
    const struct option_spec *option;
    const char *text;      /* NULL for a flag */
};

struct args {
    const struct command *command;
    char **words;          /* what is not an option */
    int word_count;
    bool help;
    struct arg_value *values;
    size_t value_count;
};

/* The command that argv[1..] names and how many words its name took; NULL with err set when there is none. */
const struct command *command_find(const struct command *const *commands, size_t count, int argc, char **argv,
                                   int *used, struct err *err);

/* argv[0] is skipped and argv reordered; both outlive args. Free with args_done() on true. */
MUST_USE bool args_parse(struct args *a, const struct command *command, int argc, char **argv, struct err *err);
void args_done(struct args *a);

/* All of these assert that the command has the option. The last flag of a name counts. */
const char *args_text(const struct args *a, const char *name);   /* NULL: nowhere set */
bool args_flag(const struct args *a, const char *name);
bool args_given(const struct args *a, const char *name);         /* by flag or environment, not by default */
size_t args_count(const struct args *a, const char *name);       /* for those that repeat */
const char *args_nth(const struct args *a, const char *name, size_t i);

/* *out is untouched when the option is nowhere set. */
bool args_integer(const struct args *a, const char *name, int64_t low, int64_t high, int64_t *out, struct err *err);
bool args_real(const struct args *a, const char *name, double low, double high, double *out, struct err *err);
bool args_duration(const struct args *a, const char *name, int64_t *out_us, struct err *err);
/* The value's place in words; err lists them. */
bool args_choice(const struct args *a, const char *name, const char *const *words, size_t count, int *out,
                 struct err *err);

void args_help(const struct command *command, struct buf *out);

#endif
