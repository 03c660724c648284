#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/feed.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "host/files.h"

enum { REPORT_BYTES = 512 << 20 };

/* The rules are ours and run over all of a job: more room than a stranger's script has. */
static const struct script_limits limits = {.load_us = 60000000, .call_us = 600000000, .memory_bytes = 1u << 30};

/* The page goes into its file, all else to standard output. */
static bool write_report(struct analysis *a, const char *form, const char *file, struct err *err)
{
    struct buf out;
    buf_init(&out, REPORT_BYTES);
    bool ok = analysis_report(a, form, out_columns(), &out, err);
    if (ok && strcmp(form, "json") == 0)
        buf_addc(&out, '\n');
    if (ok && file && strcmp(file, "-") != 0) {
        buf_addc(&out, '\0');
        ok = file_replace(file, buf_str(&out).ptr, err);
        size_t bytes = out.len - 1;
        buf_clear(&out);
        buf_addf(&out, "wrote %s (%zu bytes)\n", file, bytes);
        if (ok)
            out_buf(&out);
    } else if (ok) {
        out_data(buf_str(&out));
    }
    buf_done(&out);
    return ok;
}

/* The one form that is asked for; NULL: several are. */
static const char *form_of(const struct args *args, struct err *err)
{
    static const char *const forms[] = {"json", "csv", "html"};
    const char *form = NULL;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        bool wanted = strcmp(forms[i], "html") == 0 ? args_text(args, "html") != NULL : args_flag(args, forms[i]);
        if (wanted && form) {
            err_set(err, ERR_USAGE, "two forms at once (--%s --%s): choose one", form, forms[i]);
            return NULL;
        }
        form = wanted ? forms[i] : form;
    }
    return form ? form : "text";
}

static bool holds_rules(const char *folder, struct err *err)
{
    struct stat there;
    char *path = mem_printf("%s/canvass", folder);
    bool ok = stat(path, &there) == 0 && S_ISDIR(there.st_mode);
    free(path);
    return ok || err_set(err, ERR_USAGE, "--rules %s: there is no folder canvass in it: put the files that stand in "
                         "for the program's own there, such as canvass/analysis/settings.lua", folder);
}

/* The job whose grades or embeddings are taken in, "" for none: the newest, or the one that the option names. */
static bool choose_derived(struct reader *reader, const char *of, enum derived_kind kind, const char *option,
                           const char *word, char id[128], struct err *err)
{
    struct derived_job about;
    *id = '\0';
    if (!word)
        return derived_newest(reader, of, kind, id, err);
    if (strcmp(word, "none") == 0)
        return true;
    if (!reader_find(reader, word, id, err) || !derived_about(reader, id, &about, err))
        return false;
    return (strcmp(about.of, of) == 0 && strcmp(about.kind, derived_words[kind]) == 0) ||
           err_set(err, ERR_USAGE, "%s is no job of canvass %s about %s (--%s): name one that is, or none", id,
                   derived_words[kind], of, option);
}

/* NULL without an error when there are none. */
static bool load_derived(struct reader *reader, const struct args *args, const struct feed_options *o,
                         const struct script_limits *script, struct derived **out, struct err *err)
{
    static const char *const names[DERIVED_KINDS] = {"grades", "embeddings"};
    char ids[DERIVED_KINDS][128];
    struct derived_options options = {.job_id = o->jobs[0], .limits = script};
    bool any = false;
    *out = NULL;
    for (int i = 0; i < DERIVED_KINDS; i++) {
        const char *word = args_text(args, names[i]);
        if (o->jobs[1] && word && strcmp(word, "none") != 0)
            return err_set(err, ERR_USAGE, "two jobs are compared without grades and embeddings (--%s): name one job",
                           names[i]);
        word = o->jobs[1] ? "none" : word;
        if (!choose_derived(reader, o->jobs[0], (enum derived_kind)i, names[i], word, ids[i], err))
            return false;
        options.ids[i] = ids[i];
        any |= *ids[i] != '\0';
    }
    return !any || (*out = derived_load(reader, &options, err)) != NULL;
}

static bool report(struct reader *reader, const struct args *args, struct err *err)
{
    char ids[2][128];
    struct script_limits script;
    struct kept_job again = {0};
    struct feed_options o = {.jobs = {ids[0], args->word_count > 1 ? ids[1] : NULL}};
    int64_t seed = 1;
    const char *form = form_of(args, err), *rules = args_text(args, "rules");
    if (!form || (rules && !holds_rules(rules, err)) || !args_integer(args, "seed", 0, INT64_MAX, &seed, err) ||
        !inputs_limits(args, &script, err))
        return false;
    for (int i = 0; i < 2 && o.jobs[i]; i++)
        if (!reader_find(reader, args->words[i], ids[i], err))
            return false;
    if (o.jobs[1] && strcmp(ids[0], ids[1]) == 0)
        return err_set(err, ERR_USAGE, "%s twice: name two jobs, or one to compare its regions", ids[0]);
    struct kept *kept = NULL;
    if (!args_flag(args, "no-score") && !kept_load_scorer(reader, ids[0], &script, &kept, &again, err))
        return false;
    o.scorer = again.file;
    o.page = strcmp(form, "html") == 0;
    struct analysis *a = analysis_new(
        &(struct analysis_options){&limits, "canvass.report", o.jobs[1] ? "job" : "region", seed, rules}, err);
    bool ok = a && load_derived(reader, args, &o, &script, &o.derived, err) && feed_analysis(a, reader, &o, err) &&
              write_report(a, form, args_text(args, "html"), err);
    derived_free(o.derived);
    analysis_free(a);
    kept_free(kept, &again);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && report(reader, args, &err);
    reader_close(reader);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    OPTION_DB,
    {.name = "seed", .value = "N", .help = "of the random draws: the same one gives the same report", .fallback = "1"},
    {.name = "html", .value = "FILE", .help = "one page with everything, that needs no network; - is standard output"},
    {.name = "csv", .help = "one line for each question, model and region"},
    {.name = "rules", .value = "DIR", .help = "DIR/canvass/analysis/... instead of the program's own rules"},
    {.name = "grades", .value = "JOB", .help = "of canvass grade, or none; else the newest that has ended"},
    {.name = "embeddings", .value = "JOB", .help = "the same of canvass embed"},
    {.name = "no-score", .help = "do not call the job's own scorer"},
    OPTION_JSON,
    SCRIPT_OPTIONS,
    {.name = NULL},
};

const struct command command_report = {
    .name = "report",
    .words = "JOB [OTHER]",
    .summary = "do the answers differ by region, beyond chance; or between two jobs",
    .details = "Compares refusals, expected answers, likeness, length, missing cells and what the job's scorer says,\n"
               "between regions, for each model, and for each question that was asked more than once (samples);\n"
               "with them the grades of canvass grade, and how alike in meaning answers are, of canvass embed.\n"
               "All comparisons are corrected together. \"Cannot tell\" is an answer: the report then says what it\n"
               "would take. JOB may be `last`.\n"
               "With OTHER, two jobs are compared: the questions that both have in the same words, for each model\n"
               "in each region.",
    .examples = "  canvass report last\n  canvass report bias-detection-3 --json --seed 7\n"
                "  canvass report last --html report.html\n  canvass report bias-detection-3 bias-detection-4",
    .words_min = 1,
    .words_max = 2,
    .options = options,
    .run = run,
};
