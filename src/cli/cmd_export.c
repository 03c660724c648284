#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/feed.h"
#include "cli/inputs.h"
#include "cli/output.h"

static const struct script_limits limits = {.load_us = 60000000, .call_us = 60000000, .memory_bytes = 256u << 20};

static const char *const forms[] = {"inspect", "lm-eval", "promptfoo", "csv"};
enum { INSPECT, LM_EVAL, PROMPTFOO, CSV };

struct target {
    const char *path;   /* what is asked for */
    char *partial;      /* what is written until it is whole; NULL: standard output */
    bool folder;
    FILE *file;         /* of no folder */
};

static bool cannot(const char *path, struct err *err)
{
    return err_set(err, ERR_SYSTEM, "cannot be written, %s (%s): make room, or give this user the right to",
                   strerror(errno), path);
}

static bool target_open(struct target *t, struct err *err)
{
    struct stat there;
    if (!t->path)
        return true;
    if (lstat(t->path, &there) == 0)
        return err_set(err, ERR_USAGE, "%s is there already: name another --output, or remove it", t->path);
    t->partial = mem_printf("%s.partial", t->path);
    if (t->folder ? mkdir(t->partial, 0777) == 0 : (t->file = fopen(t->partial, "wxe")) != NULL)
        return true;
    if (errno != EEXIST)
        return cannot(t->partial, err);
    return err_set(err, ERR_USAGE, "%s is there already, of an export that did not end: remove it", t->partial);
}

/* A piece names its file, and at most one folder before it; both are made of safe letters only. */
static bool append(const struct target *t, const char *name, struct str text, struct err *err)
{
    char *path = mem_printf("%s/%s", t->partial, name), *slash = strchr(path + strlen(t->partial) + 1, '/');
    bool ok = true;
    if (slash) {
        *slash = '\0';
        ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
    }
    FILE *file = ok ? fopen(path, "ae") : NULL;
    ok = file && fwrite(text.ptr, 1, text.len, file) == text.len;
    ok = file && fclose(file) == 0 && ok;
    if (!ok)
        cannot(path, err);
    free(path);
    return ok;
}

static bool piece(void *ctx, const char *file, struct str text, struct err *err)
{
    struct target *t = ctx;
    if (t->folder)
        return append(t, file, text, err);
    if (!t->file)
        return out_data(text) || cannot("standard output", err);
    return fwrite(text.ptr, 1, text.len, t->file) == text.len || cannot(t->path, err);
}

/* Whole, or not there at all. */
static bool target_close(struct target *t, struct err *err)
{
    bool ok = !t->file || (fflush(t->file) == 0 && fsync(fileno(t->file)) == 0);
    if (t->file)
        ok = fclose(t->file) == 0 && ok;
    t->file = NULL;
    return !t->partial || (ok && rename(t->partial, t->path) == 0) || cannot(t->path, err);
}

static bool export(struct reader *reader, const struct args *args, struct err *err)
{
    char id[128];
    int form;
    struct script_limits script;
    struct kept_job again = {0};
    struct target t = {.path = args_text(args, "output")};
    if (!args_choice(args, "to", forms, ARRAY_LEN(forms), &form, err) || !inputs_limits(args, &script, err) ||
        !reader_find(reader, args->words[0], id, err))
        return false;
    t.folder = form == INSPECT || form == LM_EVAL;
    if (t.folder && !t.path)
        return err_set(err, ERR_USAGE, "%s is a folder of files: name it with --output", forms[form]);
    struct kept *kept = NULL;
    if (!args_flag(args, "no-score") && !kept_load_scorer(reader, id, &script, &kept, &again, err))
        return false;
    struct feed_options o = {.jobs = {id}, .piece = piece, .ctx = &t, .scorer = again.file};
    struct analysis *a = analysis_new(
        &(struct analysis_options){.limits = &limits, .module = "canvass.export", .word = forms[form]}, err);
    bool ok = a && target_open(&t, err) && feed_analysis(a, reader, &o, err) && target_close(&t, err);
    if (t.file)
        fclose(t.file);
    free(t.partial);
    analysis_free(a);
    kept_free(kept, &again);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && export(reader, args, &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    OPTION_DB,
    {.name = "to", .value = "FORM", .help = "inspect, lm-eval, promptfoo or csv", .fallback = "csv"},
    {.name = "output", .value = "PATH", .help = "the file, or the folder for inspect and lm-eval; not there yet"},
    {.name = "no-score", .help = "do not call the job's own scorer"},
    SCRIPT_OPTIONS,
    {.name = NULL},
};

const struct command command_export = {
    .name = "export",
    .words = "JOB",
    .summary = "a job's executions for Inspect AI, lm-evaluation-harness, promptfoo, pandas and R",
    .details =
        "csv has one line for each execution, and goes to standard output unless --output names a file, as does\n"
        "promptfoo. inspect and lm-eval are folders with one log for each model in a region.",
    .examples = "  canvass export last --output answers.csv\n  canvass export last --to inspect --output logs\n"
                "  inspect view --log-dir logs",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
