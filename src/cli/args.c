#include "cli/args.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/timeutil.h"

enum { OPTIONS_MAX = 40, ENV_TEXT = 64, HELP_COLUMN = 28, HELP_WIDTH = 100 };

static const struct option_spec help_option = {.name = "help", .help = "show this text"};

static size_t option_count(const struct command *c)
{
    size_t n = 0;
    while (c->options && c->options[n].name)
        n++;
    assert(n < OPTIONS_MAX - 1);
    return n;
}

const struct command *command_find(const struct command *const *commands, size_t count, int argc, char **argv,
                                   int *used, struct err *err)
{
    char two[128];
    snprintf(two, sizeof two, "%s %s", argv[1], argc > 2 ? argv[2] : "");
    const char *typed = argv[1];
    for (size_t i = 0; i < count; i++) {
        bool one_word = strcmp(commands[i]->name, argv[1]) == 0;
        if (one_word || strcmp(commands[i]->name, two) == 0) {
            *used = one_word ? 1 : 2;
            return commands[i];
        }
        /* "regions chekc": the first word is right, so the second one is what was mistyped */
        size_t len = strlen(argv[1]);
        if (strncmp(commands[i]->name, argv[1], len) == 0 && commands[i]->name[len] == ' ')
            typed = two;
    }

    const char **names = mem_array(NULL, count, sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = commands[i]->name;
    const char *near = nearest_name(typed, names, count);
    struct buf shown;
    buf_init(&shown, 256);
    text_add_plain(&shown, str_from(typed), 60, true);
    while (shown.len && shown.ptr[shown.len - 1] == ' ')
        shown.ptr[--shown.len] = '\0';
    if (near)
        err_set(err, ERR_USAGE, "no such command (%s): did you mean `canvass %s`?", buf_str(&shown).ptr, near);
    else
        err_set(err, ERR_USAGE, "no such command (%s): see `canvass help`", buf_str(&shown).ptr);
    buf_done(&shown);
    free(names);
    return NULL;
}

/* ---- parsing ---- */

static bool unknown_option(const struct command *c, const char *typed, struct err *err)
{
    const char *names[OPTIONS_MAX];
    size_t n = option_count(c);
    for (size_t i = 0; i < n; i++)
        names[i] = c->options[i].name;
    names[n++] = help_option.name;

    char name[64];
    snprintf(name, sizeof name, "%s", typed + strspn(typed, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *near = nearest_name(name, names, n);
    struct buf shown;
    buf_init(&shown, 256);
    text_add_plain(&shown, str_from(typed), 60, true);
    if (near)
        err_set(err, ERR_USAGE, "no such option (%s): did you mean --%s?", buf_str(&shown).ptr, near);
    else
        err_set(err, ERR_USAGE, "no such option (%s): see `canvass %s --help`", buf_str(&shown).ptr, c->name);
    buf_done(&shown);
    return false;
}

static void add_value(struct args *a, const struct option_spec *option, const char *text)
{
    a->values = mem_array(a->values, a->value_count + 1, sizeof *a->values);
    a->values[a->value_count++] = (struct arg_value){option, text};
}

static bool parse_options(struct args *a, int argc, char **argv, struct err *err)
{
    struct option longs[OPTIONS_MAX] = {{0}};
    size_t n = option_count(a->command);
    for (size_t i = 0; i < n; i++)
        longs[i] = (struct option){a->command->options[i].name,
                                   a->command->options[i].value ? required_argument : no_argument, NULL, 0};
    longs[n] = (struct option){help_option.name, no_argument, NULL, 0};

    optind = 0; /* glibc: start anew */
    opterr = 0;
    for (;;) {
        int which = 0;
        int c = getopt_long(argc, argv, ":h", longs, &which);
        if (c == -1)
            return true;
        if (c == 'h' || (c == 0 && (size_t)which == n))
            a->help = true;
        else if (c == 0)
            add_value(a, &a->command->options[which], optarg);
        else if (c == ':')
            return err_set(err, ERR_USAGE, "no value (%s): see `canvass %s --help`", argv[optind - 1],
                           a->command->name);
        else
            return unknown_option(a->command, argv[optind - 1], err);
    }
}

bool args_parse(struct args *a, const struct command *command, int argc, char **argv, struct err *err)
{
    *a = (struct args){.command = command};
    bool ok = parse_options(a, argc, argv, err);
    if (ok && !a->help) {
        a->words = argv + optind;
        a->word_count = argc - optind;
        if (a->word_count < command->words_min)
            ok = err_set(err, ERR_USAGE, "something is missing (canvass %s): give it %s; see `canvass %s --help`",
                         command->name, command->words, command->name);
        else if (a->word_count > command->words_max)
            ok = err_set(err, ERR_USAGE, "one word too many (%.60s): see `canvass %s --help`",
                         a->words[command->words_max], command->name);
    }
    if (!ok)
        args_done(a);
    return ok;
}

void args_done(struct args *a)
{
    free(a->values);
    *a = (struct args){0};
}

/* ---- reading ---- */

static const struct option_spec *find_option(const struct args *a, const char *name)
{
    for (const struct option_spec *o = a->command->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return o;
    return NULL;
}

static const char *env_name(const struct option_spec *o, char out[ENV_TEXT])
{
    int len = snprintf(out, ENV_TEXT, "CANVASS_%s", o->name);
    assert(len < ENV_TEXT);
    for (char *c = out; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    return out;
}

static const char *from_environment(const struct option_spec *o)
{
    char name[ENV_TEXT];
    const char *text = o->setting ? getenv(env_name(o, name)) : NULL;
    return text && *text ? text : NULL;
}

static const struct arg_value *last_value(const struct args *a, const struct option_spec *o)
{
    for (size_t i = a->value_count; i-- > 0;)
        if (a->values[i].option == o)
            return &a->values[i];
    return NULL;
}

const char *args_text(const struct args *a, const char *name)
{
    const struct option_spec *o = find_option(a, name);
    assert(o && o->value);
    const struct arg_value *given = last_value(a, o);
    if (given)
        return given->text;
    const char *text = from_environment(o);
    return text ? text : o->fallback;
}

bool args_flag(const struct args *a, const char *name)
{
    const struct option_spec *o = find_option(a, name);
    assert(o && !o->value);
    if (last_value(a, o))
        return true;
    const char *text = from_environment(o);
    return text && strcmp(text, "0") != 0;
}

bool args_given(const struct args *a, const char *name)
{
    const struct option_spec *o = find_option(a, name);
    assert(o);
    return last_value(a, o) || from_environment(o);
}

size_t args_count(const struct args *a, const char *name)
{
    const struct option_spec *o = find_option(a, name);
    assert(o && o->repeats);
    size_t n = 0;
    for (size_t i = 0; i < a->value_count; i++)
        n += a->values[i].option == o;
    return n;
}

const char *args_nth(const struct args *a, const char *name, size_t nth)
{
    const struct option_spec *o = find_option(a, name);
    assert(o && o->repeats);
    for (size_t i = 0; i < a->value_count; i++)
        if (a->values[i].option == o && nth-- == 0)
            return a->values[i].text;
    return NULL;
}

/* "--port", or the variable's name when the value came from there. */
static const char *source_name(const struct args *a, const char *name, char out[ENV_TEXT])
{
    const struct option_spec *o = find_option(a, name);
    if (!last_value(a, o) && from_environment(o))
        return env_name(o, out);
    snprintf(out, ENV_TEXT, "--%s", name);
    return out;
}

bool args_integer(const struct args *a, const char *name, int64_t low, int64_t high, int64_t *out, struct err *err)
{
    const char *text = args_text(a, name);
    if (!text)
        return true;
    char *end, from[ENV_TEXT];
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        return err_set(err, ERR_USAGE, "\"%.40s\" is not a number from %lld to %lld (%s): write one", text,
                       (long long)low, (long long)high, source_name(a, name, from));
    *out = value;
    return true;
}

bool args_real(const struct args *a, const char *name, double low, double high, double *out, struct err *err)
{
    const char *text = args_text(a, name);
    if (!text)
        return true;
    char *end, from[ENV_TEXT];
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < low || value > high)
        return err_set(err, ERR_USAGE, "\"%.40s\" is not a number from %g to %g (%s): write one", text, low, high,
                       source_name(a, name, from));
    *out = value;
    return true;
}

bool args_duration(const struct args *a, const char *name, int64_t *out_us, struct err *err)
{
    const char *text = args_text(a, name);
    char from[ENV_TEXT];
    if (!text || duration_parse(str_from(text), out_us))
        return true;
    return err_set(err, ERR_USAGE, "\"%.40s\" is not a duration (%s): write a number and a unit, such as 90s or 10m",
                   text, source_name(a, name, from));
}

bool args_choice(const struct args *a, const char *name, const char *const *words, size_t count, int *out,
                 struct err *err)
{
    const char *text = args_text(a, name);
    if (!text)
        return true;
    struct buf list;
    buf_init(&list, 512);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            buf_done(&list);
            *out = (int)i;
            return true;
        }
        buf_addf(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", words[i]);
    }
    char from[ENV_TEXT];
    err_set(err, ERR_USAGE, "\"%.40s\" is unknown (%s): use %s", text, source_name(a, name, from), buf_str(&list).ptr);
    buf_done(&list);
    return false;
}

/* ---- help ---- */

/* Words of text from column HELP_COLUMN on, wrapped. */
static void add_wrapped(struct buf *out, const char *text)
{
    size_t column = HELP_COLUMN;
    for (const char *word = text; *word;) {
        size_t len = strcspn(word, " ");
        if (column > HELP_COLUMN && column + len + 1 > HELP_WIDTH) {
            buf_addf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buf_addc(out, ' ');
            column++;
        }
        buf_add(out, word, len);
        column += len;
        word += len;
        word += strspn(word, " ");
    }
    buf_addc(out, '\n');
}

static void add_option(struct buf *out, const struct option_spec *o)
{
    char left[80], env[ENV_TEXT], text[512];
    int len = snprintf(left, sizeof left, "  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    buf_addf(out, "%-*s", HELP_COLUMN, left);
    if (len >= HELP_COLUMN)
        buf_addf(out, "\n%*s", HELP_COLUMN, "");
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", o->help, o->repeats ? "; may be repeated" : "",
             o->fallback || o->setting ? " [" : "", o->fallback ? "default " : "", o->fallback ? o->fallback : "",
             o->fallback && o->setting ? "; " : "", o->setting ? env_name(o, env) : "",
             o->fallback || o->setting ? "]" : "");
    add_wrapped(out, text);
}

void args_help(const struct command *c, struct buf *out)
{
    buf_addf(out, "canvass %s -- %s\n\nusage: canvass %s%s%s [options]\n", c->name, c->summary, c->name,
             *c->words ? " " : "", c->words);
    if (c->details)
        buf_addf(out, "\n%s\n", c->details);
    buf_adds(out, "\noptions\n");
    for (const struct option_spec *o = c->options; o && o->name; o++)
        add_option(out, o);
    add_option(out, &help_option);
    if (c->examples)
        buf_addf(out, "\nexamples\n%s\n", c->examples);
}
