#include "cli/inputs.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/logging.h"
#include "script/table_file.h"

enum { SETTINGS_MAX = 256, OVERRIDES = 3 };

struct settings {
    struct script_setting list[SETTINGS_MAX + OVERRIDES];
    size_t count;
};

static bool read_settings(const struct args *args, struct settings *out, struct err *err)
{
    size_t count = args_count(args, "set");
    if (count > SETTINGS_MAX)
        return err_set(err, ERR_USAGE, "too many settings (--set): give at most %d", SETTINGS_MAX);
    for (out->count = 0; out->count < count; out->count++) {
        const char *text = args_nth(args, "set", out->count), *equals = strchr(text, '=');
        if (!equals || equals == text)
            return err_set(err, ERR_USAGE, "\"%.40s\" is not a setting (--set): write KEY=VALUE", text);
        out->list[out->count] = (struct script_setting){mem_strndup(text, (size_t)(equals - text)), equals + 1};
    }
    return true;
}

/* The flags that stand for a setting: kept with the job like any other, so that resuming it finds them. */
static bool read_overrides(const struct args *args, struct settings *out, struct err *err)
{
    static const char *const flags[OVERRIDES][2] = {
        {"timeout", "timeout"}, {"samples", "samples"}, {"in-flight", "in_flight"}};
    int64_t number, time_us = 1;
    if (!args_duration(args, "timeout", &time_us, err) ||
        !args_integer(args, "samples", 1, JOB_SAMPLES_MAX, &number, err) ||
        !args_integer(args, "in-flight", 1, JOB_IN_FLIGHT_MAX, &number, err))
        return false;
    if (time_us <= 0)
        return err_set(err, ERR_USAGE, "no time at all (--timeout): write a number and a unit, such as 90s or 10m");
    for (size_t i = 0; i < OVERRIDES; i++)
        if (args_given(args, flags[i][0]))
            out->list[out->count++] = (struct script_setting){mem_strdup(flags[i][1]), args_text(args, flags[i][0])};
    return true;
}

static void free_settings(struct settings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free((char *)(uintptr_t)s->list[i].key);
}

bool inputs_limits(const struct args *args, struct script_limits *out, struct err *err)
{
    int64_t megabytes = 64;
    *out = (struct script_limits)SCRIPT_LIMITS_DEFAULT;
    if (!args_integer(args, "script-memory", 1, 65536, &megabytes, err) ||
        !args_duration(args, "script-load-time", &out->load_us, err) ||
        !args_duration(args, "script-call-time", &out->call_us, err))
        return false;
    out->memory_bytes = (size_t)megabytes << 20;
    return true;
}

/* files: of a job that the program makes up; NULL: the command names one. */
static struct job_file *load_job(const struct args *args, const struct sources *files,
                                 const struct script_limits *limits, const struct settings *settings,
                                 const char *policy, struct err *err)
{
    struct job_file_options options = {
        .limits = limits,
        .settings = settings->list,
        .setting_count = settings->count,
        .policy = policy,
        .kept = files,
        .questions = files ? NULL : args_text(args, "questions"),
        .log = logging_script,
    };
    return job_file_load(files ? files->files[0].name : args->words[0], &options, err);
}

struct region_table *load_regions(const char *path, const char *secrets, bool secrets_optional,
                                  const struct script_limits *limits, struct err *err)
{
    if (!path) {
        err_set(err, ERR_USAGE, "no region table (--regions): name the file that says which model is where, such as "
                "--regions regions.lua");
        return NULL;
    }
    struct region_table *table = table_load(
        path,
        &(struct table_options){.limits = limits, .secrets_file = secrets, .secrets_optional = secrets_optional}, err);
    for (size_t i = 0; table && i < table->warning_count; i++)
        log_event(LOG_WARN, table->warnings[i], LOG_S("file", path));
    return table;
}

static bool load(const struct args *args, bool secrets_optional, const struct sources *files, struct inputs *out,
                 struct err *err)
{
    struct inputs in = {0};
    struct settings settings = {.count = 0};
    /* What was typed wrong is told before a file is read, and before any of its warnings. */
    if (inputs_limits(args, &in.limits, err) && read_settings(args, &settings, err) &&
        read_overrides(args, &settings, err))
        in.table = load_regions(args_text(args, "regions"), args_text(args, "secrets"), secrets_optional, &in.limits,
                                err);
    if (in.table)
        in.file = load_job(args, files, &in.limits, &settings, files ? NULL : args_text(args, "policy"), err);
    free_settings(&settings);
    if (!in.file) {
        region_table_unref(in.table);
        return false;
    }
    *out = in;
    return true;
}

bool inputs_load(const struct args *args, bool secrets_optional, struct inputs *out, struct err *err)
{
    return load(args, secrets_optional, NULL, out, err);
}

bool inputs_load_made(const struct args *args, const struct sources *files, struct inputs *out, struct err *err)
{
    return load(args, false, files, out, err);
}

struct job_file *inputs_job(const struct args *args, const struct inputs *in, const char *policy, struct err *err)
{
    struct settings settings = {.count = 0};
    struct job_file *file = NULL;
    if (read_settings(args, &settings, err) && read_overrides(args, &settings, err))
        file = load_job(args, NULL, &in->limits, &settings, policy, err);
    free_settings(&settings);
    return file;
}

struct kept *inputs_kept(const struct args *args, struct reader *reader, const char *job_id, struct kept_job *out,
                         struct err *err)
{
    const char *path = args_text(args, "regions");
    struct kept_options o = {.secrets_file = args_text(args, "secrets")};
    if (!inputs_limits(args, &o.limits, err) ||
        (path && !(o.table = load_regions(path, o.secrets_file, false, &o.limits, err))))
        return NULL;
    struct kept *kept = kept_load(reader, job_id, &o, out, err);
    region_table_unref(o.table);
    return kept;
}

void inputs_done(struct inputs *in)
{
    job_file_free(in->file);
    region_table_unref(in->table);
}

const char *author_name(void)
{
    const struct passwd *user = getpwuid(geteuid());
    return user && *user->pw_name ? user->pw_name : "unknown";
}
