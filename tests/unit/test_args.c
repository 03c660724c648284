/* The command line: settings, mistakes and their cures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"

static const struct option_spec options[] = {
    {.name = "db", .value = "FILE", .help = "the database", .fallback = "canvass.db", .setting = true},
    {.name = "timeout", .value = "TIME", .help = "of the job", .setting = true},
    {.name = "samples", .value = "N", .help = "how often"},
    {.name = "speed", .value = "N", .help = "how fast"},
    {.name = "set", .value = "K=V", .help = "a setting", .repeats = true},
    {.name = "json", .help = "as JSON"},
    {.name = NULL},
};
static const struct command run = {.name = "run", .words = "JOB", .summary = "ask", .words_min = 1, .words_max = 1,
                                   .options = options};
static const struct command regions = {.name = "regions check", .words = "", .summary = "check", .options = options};
static const struct command *const commands[] = {&run, &regions};

enum { WORDS_MAX = 24 };

/* "canvass" and the words of line, which must live as long as the args. */
static int split(char *line, char *argv[WORDS_MAX])
{
    int argc = 1;
    argv[0] = (char *)(uintptr_t)"canvass";
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

static bool parse(struct args *a, char *line, struct err *err)
{
    char *argv[WORDS_MAX];
    int argc = split(line, argv);
    static char *kept[WORDS_MAX];
    memcpy(kept, argv, sizeof argv);
    return args_parse(a, &run, argc, kept, err);
}

static void flag_then_environment_then_default(void **state)
{
    (void)state;
    static const struct { const char *line, *environment, *expected; } rows[] = {
        {"job.lua", NULL, "canvass.db"},
        {"job.lua", "env.db", "env.db"},
        {"job.lua", "", "canvass.db"},
        {"--db flag.db job.lua", "env.db", "flag.db"},
        {"job.lua --db=flag.db", NULL, "flag.db"},
        {"--db first.db job.lua --db last.db", NULL, "last.db"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[100];
        struct args a;
        struct err err;
        strcpy(line, rows[i].line);
        if (rows[i].environment)
            setenv("CANVASS_DB", rows[i].environment, 1);
        else
            unsetenv("CANVASS_DB");
        assert_true(parse(&a, line, &err));
        assert_string_equal(args_text(&a, "db"), rows[i].expected);
        assert_int_equal(args_given(&a, "db"), i != 0 && i != 2);
        assert_int_equal(a.word_count, 1);
        assert_string_equal(a.words[0], "job.lua");
        assert_null(args_text(&a, "timeout"));
        args_done(&a);
    }
    unsetenv("CANVASS_DB");
}

static void mistakes_name_the_cure(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"job.lua --sampels 3", "did you mean --samples?"},
        {"job.lua --jsno", "did you mean --json?"},
        {"job.lua --qqqqqqqqqq", "no such option (--qqqqqqqqqq): see `canvass run --help`"},
        {"job.lua --db", "no value (--db)"},
        {"job.lua --json=1", "no such option (--json=1)"},
        {"--json", "something is missing (canvass run): give it JOB"},
        {"job.lua other.lua", "one word too many (other.lua)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[100];
        struct args a;
        struct err err;
        strcpy(line, rows[i][0]);
        assert_false(parse(&a, line, &err));
        assert_int_equal(err.code, ERR_USAGE);
        if (!strstr(err.text, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], err.text);
    }
}

static void values_are_checked_where_they_come_from(void **state)
{
    (void)state;
    char line[] = "job.lua --samples 12x --timeout 10m --speed 2.5 --set a=1 --set b=2 --json";
    struct args a;
    struct err err;
    int64_t number = -1, time_us = -1;
    double speed = 0;
    assert_true(parse(&a, line, &err));
    assert_false(args_integer(&a, "samples", 1, 10, &number, &err));
    assert_int_equal(number, -1);
    assert_non_null(strstr(err.text, "(--samples)"));
    assert_true(args_duration(&a, "timeout", &time_us, &err));
    assert_int_equal(time_us, 600000000);
    assert_true(args_real(&a, "speed", 1, 3, &speed, &err));
    assert_true(speed > 2.49 && speed < 2.51);
    assert_false(args_real(&a, "speed", 3, 4, &speed, &err));
    assert_int_equal(args_count(&a, "set"), 2);
    assert_string_equal(args_nth(&a, "set", 0), "a=1");
    assert_string_equal(args_nth(&a, "set", 1), "b=2");
    assert_true(args_flag(&a, "json"));
    args_done(&a);

    char plain[] = "job.lua";
    setenv("CANVASS_TIMEOUT", "ten", 1);
    assert_true(parse(&a, plain, &err));
    assert_false(args_duration(&a, "timeout", &time_us, &err));
    assert_non_null(strstr(err.text, "(CANVASS_TIMEOUT)"));
    assert_true(args_integer(&a, "samples", 1, 10, &number, &err));
    assert_int_equal(number, -1);
    args_done(&a);
    unsetenv("CANVASS_TIMEOUT");
}

static void choices_are_listed(void **state)
{
    (void)state;
    static const char *const words[] = {"auto", "live", "none"};
    char good[] = "job.lua --db live", bad[] = "job.lua --db lively";
    struct args a;
    struct err err;
    int which = -1;
    assert_true(parse(&a, good, &err));
    assert_true(args_choice(&a, "db", words, 3, &which, &err));
    assert_int_equal(which, 1);
    args_done(&a);
    assert_true(parse(&a, bad, &err));
    assert_false(args_choice(&a, "db", words, 3, &which, &err));
    assert_non_null(strstr(err.text, "use auto, live or none"));
    args_done(&a);
}

static void commands_may_have_two_words(void **state)
{
    (void)state;
    static const struct { const char *line, *found, *complaint; int used; } rows[] = {
        {"run job.lua", "run", NULL, 1},
        {"regions check x.lua", "regions check", NULL, 2},
        {"regions chekc", NULL, "did you mean `canvass regions check`?", 0},
        {"rnu", NULL, "did you mean `canvass run`?", 0},
        {"entirely-different", NULL, "see `canvass help`", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[100], *argv[WORDS_MAX];
        struct err err;
        int used = 0;
        strcpy(line, rows[i].line);
        int argc = split(line, argv);
        const struct command *c = command_find(commands, ARRAY_LEN(commands), argc, argv, &used, &err);
        if (rows[i].found) {
            assert_non_null(c);
            assert_string_equal(c->name, rows[i].found);
            assert_int_equal(used, rows[i].used);
        } else {
            assert_null(c);
            if (!strstr(err.text, rows[i].complaint))
                fail_msg("%s: %s", rows[i].line, err.text);
        }
    }
}

static void help_names_every_option_and_setting(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 65536);
    args_help(&run, &out);
    for (const struct option_spec *o = options; o->name; o++) {
        char flag[40];
        snprintf(flag, sizeof flag, "  --%s", o->name);
        assert_non_null(strstr(out.ptr, flag));
    }
    assert_non_null(strstr(out.ptr, "[default canvass.db; CANVASS_DB]"));
    assert_non_null(strstr(out.ptr, "[CANVASS_TIMEOUT]"));
    assert_non_null(strstr(out.ptr, "--help"));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flag_then_environment_then_default),
        cmocka_unit_test(mistakes_name_the_cure),
        cmocka_unit_test(values_are_checked_where_they_come_from),
        cmocka_unit_test(choices_are_listed),
        cmocka_unit_test(commands_may_have_two_words),
        cmocka_unit_test(help_names_every_option_and_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
