#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/forecast.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/timeline.h"
#include "script/fleet_file.h"

enum { POLICIES_MAX = 64, RUNS_MAX = 100000, RUNS_USUAL = 100, RUNS_FEW = 5, EXECUTIONS_USUAL = 100000,
       IDLE_NOTES_MAX = 8, CHART_COLUMNS = 80, OUTPUT_BYTES = 16 << 20 };

/* 2026-01-01T00:00:00Z: the time of day is part of a run that shall be the same each time. */
static const double UNIX_ZERO_S = 1767225600;

struct trial {                 /* of one policy */
    struct job_file *file;
    struct forecast forecast;
    struct timeline timeline;  /* of its first run */
};

struct rehearse {
    const struct args *args;
    struct inputs inputs;
    struct fleet_spec *fleet;
    struct plan *plan;         /* the same for each policy */
    size_t *places;            /* in the fleet, by position in the plan */
    uint64_t seed;
    unsigned runs;
    struct trial trials[POLICIES_MAX];
    size_t trial_count;
    int64_t took_us;
    bool refusal_told;
};

/* One run under way. */
struct rehearsing {
    struct rehearse *all;
    struct trial *trial;
    uint64_t seed;
    bool first;
    int64_t start_us;          /* of its first request; 0: not yet */
    char failure[1024];        /* of the policy; empty: none */
};

/* ---- what is rehearsed ---- */

static bool find_places(struct rehearse *r, struct err *err)
{
    const char *path = args_text(r->args, "fleet");
    r->places = mem_array(NULL, r->plan->endpoint_count, sizeof *r->places);
    struct fleet *fleet = fleet_new(r->fleet);
    bool found = true;
    for (uint32_t i = 0; found && i < r->plan->endpoint_count; i++) {
        const char *id = plan_endpoint(r->plan, i)->id;
        found = fleet_find(fleet, str_from(id), &r->places[i]);
        if (!found)
            err_set(err, ERR_CONFIG, "the fleet has no endpoint %s, which the job asks (%s): add it under regions", id,
                    path);
    }
    fleet_free(fleet);
    return found;
}

static bool load_fleet(struct rehearse *r, struct err *err)
{
    const char *path = args_text(r->args, "fleet");
    if (!path)
        return err_set(err, ERR_USAGE, "no fleet (--fleet): name the file that says how the endpoints behave, such as "
                       "--fleet fleet.lua; the least is return { regions = { us = { [\"a-model\"] = {} } } }");
    r->fleet = fleet_load(path, &r->inputs.limits, err);
    return r->fleet;
}

/* The file that is there already is that of the policy named last. */
static bool load_policies(struct rehearse *r, struct err *err)
{
    size_t named = args_count(r->args, "policy");
    if (named > POLICIES_MAX)
        return err_set(err, ERR_USAGE, "too many policies (--policy): name at most %d", POLICIES_MAX);
    for (size_t i = 0; i + 1 < named; i++) {
        r->trials[i].file = inputs_job(r->args, &r->inputs, args_nth(r->args, "policy", i), err);
        if (!r->trials[i].file)
            return false;
        r->trial_count++;
    }
    r->trials[r->trial_count++].file = r->inputs.file;
    for (size_t i = 0; i < r->trial_count; i++) {
        struct trial *t = &r->trials[i];
        forecast_init(&t->forecast, r->plan, job_file_spec(t->file)->policy, r->runs);
        timeline_init(&t->timeline, r->plan);
    }
    return true;
}

/* A hundred runs of a usual job are a matter of seconds; of a large one fewer have to do. */
static int64_t usual_runs(const struct plan *plan)
{
    uint64_t runs = EXECUTIONS_USUAL / plan->count;
    return runs > RUNS_USUAL ? RUNS_USUAL : runs < RUNS_FEW ? RUNS_FEW : (int64_t)runs;
}

static bool prepare(struct rehearse *r, struct err *err)
{
    int64_t seed = 0, runs;
    if (!load_fleet(r, err))
        return false;
    r->plan = plan_make(job_file_spec(r->inputs.file), r->inputs.table, err);
    if (!r->plan || !find_places(r, err))
        return false;
    seed = (int64_t)r->fleet->seed;
    runs = usual_runs(r->plan);
    if (!args_integer(r->args, "seed", 0, INT64_MAX - RUNS_MAX, &seed, err) ||
        !args_integer(r->args, "runs", 1, RUNS_MAX, &runs, err))
        return false;
    r->seed = (uint64_t)seed;
    r->runs = (unsigned)runs;
    return load_policies(r, err);
}

/* ---- rehearsing ---- */

static void observe(void *ctx, const struct event *event)
{
    struct rehearsing *now = ctx;
    if (!now->start_us && event->kind == EVENT_ATTEMPT_STARTED)
        now->start_us = event->at_us;
    forecast_event(&now->trial->forecast, event);
    if (now->first)
        timeline_event(&now->trial->timeline, event, now->start_us, now->all->inputs.table->speed);
}

/* The fleet's time begins with the engine's, the chart's with the first request. */
static void fleet_answered(void *ctx, const struct exchange *x, const struct fleet_ended *ended)
{
    struct rehearsing *now = ctx;
    const struct plan *plan = now->all->plan;
    if (!now->first || ended->started_us == NEVER_US || ended->ended_us == NEVER_US)
        return;
    double start_s = (double)(now->start_us - VIRTUAL_START_US) * now->all->inputs.table->speed / SECOND_US;
    for (uint32_t i = 0; i < plan->endpoint_count; i++)
        if (plan->endpoints[i] == x->endpoint->index)
            timeline_add(&now->trial->timeline, i, SPAN_ANSWERING, (double)ended->started_us / SECOND_US - start_s,
                         (double)ended->ended_us / SECOND_US - start_s);
}

/* A fleet that speaks otherwise than the table's adapter is a slip in one of the files. */
static void tell_refusals(struct rehearse *r, const struct virtual *world)
{
    const struct endpoint_spec *first;
    const char *told;
    if (r->refusal_told || !virtual_refused(world, &first, &told))
        return;
    r->refusal_told = true;
    log_event(LOG_WARN,
              "the fleet does not understand what this endpoint's adapter sends: do they speak the same schema?",
              LOG_S("endpoint", first->id), LOG_S("adapter", first->adapter), LOG_S("answer", told),
              LOG_S("fleet", r->fleet->path));
}

static void ended(void *ctx, const struct rehearsal_end *end)
{
    struct rehearsing *now = ctx;
    struct rehearse *r = now->all;
    int64_t bound_us = forecast_bound_us(r->plan, r->fleet, r->places, now->seed);
    forecast_add(&now->trial->forecast, end, bound_us, r->inputs.table->speed);
    tell_refusals(r, end->world);
    if (end->view->policy_failed)
        snprintf(now->failure, sizeof now->failure, "%s", end->view->reason);
}

static bool run_once(struct rehearse *r, struct trial *trial, unsigned n, struct err *err)
{
    struct rehearsing now = {.all = r, .trial = trial, .seed = r->seed + n, .first = n == 0};
    const struct job_spec *spec = job_file_spec(trial->file);
    struct plan *plan = plan_make(spec, r->inputs.table, err);
    if (!plan)
        return false;
    rehearsal_run(&(struct rehearsal){
        .spec = spec, .plan = plan, .file = trial->file, .observer = {&now, observe}, .ended = ended, .ctx = &now,
        .world = {.fleet = r->fleet, .seed = now.seed, .speed = r->inputs.table->speed, .unix_zero_s = UNIX_ZERO_S,
                  .ended = fleet_answered, .ctx = &now}});
    return !*now.failure || err_set(err, ERR_SCRIPT, "the policy %s failed (%s): %s", trial->forecast.policy,
                                    r->args->words[0], now.failure);
}

static bool run_all(struct rehearse *r, struct err *err)
{
    int64_t began_us = mono_now_us();
    for (size_t i = 0; i < r->trial_count; i++) {
        for (unsigned n = 0; n < r->runs; n++)
            if (!run_once(r, &r->trials[i], n, err))
                return false;
        forecast_finish(&r->trials[i].forecast);
    }
    r->took_us = mono_now_us() - began_us;
    if (r->fleet->answers.error)
        log_event(LOG_WARN, "the fleet's function `answers` failed, built-in answers stand in for it",
                  LOG_S("error", r->fleet->answers.error), LOG_S("file", r->fleet->path));
    return true;
}

/* ---- text ---- */

static void add_head(const struct rehearse *r, struct buf *out)
{
    char took[DURATION_TEXT];
    const struct plan *p = r->plan;
    buf_addf(out, "%s: %llu executions, asked of the fleet in %s\n", p->job->name, (unsigned long long)p->count,
             r->fleet->path);
    buf_addf(out, "%u run%s of each policy, seed%s %llu", r->runs, r->runs == 1 ? "" : "s", r->runs == 1 ? "" : "s",
             (unsigned long long)r->seed);
    if (r->runs > 1)
        buf_addf(out, " to %llu", (unsigned long long)(r->seed + r->runs - 1));
    buf_addf(out, ", in %s\n\n", duration_format(r->took_us, took));
}

static void cell_time(struct table *t, double s)
{
    char text[DURATION_TEXT];
    table_text(t, isnan(s) ? "-" : duration_format((int64_t)(s * SECOND_US), text));
}

static void cell_number(struct table *t, const char *unit, int digits, double value)
{
    if (isnan(value))
        table_text(t, "-");
    else
        table_cellf(t, "%s%.*f", unit, digits, value);
}

static void add_row(struct table *t, const struct forecast *f)
{
    struct buf states;
    buf_init(&states, 256);
    table_text(t, f->policy);
    cell_time(t, forecast_quantile(f, MEASURE_MAKESPAN, 0.5));
    cell_time(t, forecast_quantile(f, MEASURE_MAKESPAN, 0.025));
    cell_time(t, forecast_quantile(f, MEASURE_MAKESPAN, 0.975));
    cell_time(t, forecast_quantile(f, MEASURE_BOUND, 0.5));
    cell_number(t, "", 3, forecast_quantile(f, MEASURE_RATIO, 0.5));
    table_cellf(t, "%u", f->peak_in_flight);
    cell_number(t, "", 0, forecast_quantile(f, MEASURE_POSTS, 0.5));
    cell_number(t, "", 0, forecast_quantile(f, MEASURE_HOPS, 0.5));
    cell_number(t, "", 0, forecast_quantile(f, MEASURE_COLD, 0.5));
    cell_number(t, "", 0, forecast_quantile(f, MEASURE_UNANSWERED, 0.5));
    cell_number(t, "$", 2, forecast_quantile(f, MEASURE_COST, 0.5));
    forecast_add_states(f, &states);
    table_cell(t, buf_str(&states));
    buf_done(&states);
}

static void add_table(const struct rehearse *r, struct buf *out)
{
    static const char *const numbers[] = {"takes", "from", "to", "least", "ratio", "in flight", "POSTs", "GETs", "cold",
                                          "unanswered", "cost"};
    struct table *t = table_new();
    table_column(t, "policy", TABLE_LEFT);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        table_column(t, numbers[i], TABLE_RIGHT);
    table_column(t, "ends", TABLE_FLEX);
    for (size_t i = 0; i < r->trial_count; i++)
        add_row(t, &r->trials[i].forecast);
    table_print(t, out_columns(), out);
    table_free(t);
}

static void add_failures(const struct forecast *f, struct buf *out)
{
    bool first = true;
    for (int c = 0; c < CLASS_COUNT; c++) {
        if (!f->failures[c])
            continue;
        if (first)
            buf_addf(out, "  %s: a run has failed executions:", f->policy);
        buf_addf(out, "%s %.3g %s", first ? "" : ",", (double)f->failures[c] / f->runs,
                 class_name((enum failure_class)c));
        first = false;
    }
    if (!first)
        buf_addc(out, '\n');
}

static void add_idle(const struct forecast *f, double speed, struct buf *out)
{
    char idle[DURATION_TEXT], scaledown[DURATION_TEXT];
    unsigned told = 0, more = 0;
    for (uint32_t i = 0; i < f->endpoint_count; i++) {
        const struct idle_gap *gap = &f->idle[i];
        if (!gap->runs)
            continue;
        if (told++ >= IDLE_NOTES_MAX) {
            more++;
            continue;
        }
        duration_format(gap->idle_us, idle);
        duration_format((int64_t)((double)gap->endpoint->scaledown_us * speed), scaledown);
        buf_addf(out, "  %s: %s is idle for up to %s, longer than its scaledown of %s: cold again\n", f->policy,
                 gap->endpoint->id, idle, scaledown);
    }
    if (more)
        buf_addf(out, "  %s: and %u endpoints more\n", f->policy, more);
}

static void print_text(const struct rehearse *r)
{
    struct buf out;
    size_t columns = out_columns() ? out_columns() : CHART_COLUMNS;
    buf_init(&out, OUTPUT_BYTES);
    add_head(r, &out);
    add_table(r, &out);
    buf_adds(&out,
             "\ntakes: the middle run; 95 of 100 lie between from and to; least: what the busiest endpoint needs\n"
                   "for its own executions, whatever the policy; POSTs to cost: the middle run\n");
    for (size_t i = 0; i < r->trial_count; i++) {
        add_failures(&r->trials[i].forecast, &out);
        add_idle(&r->trials[i].forecast, r->inputs.table->speed, &out);
    }
    for (size_t i = 0; i < r->trial_count; i++) {
        buf_addf(&out, "\n%s, seed %llu: █ answering  ▒ starting or in line  ▁ for a moment  · idle  x failed\n",
                 r->trials[i].forecast.policy, (unsigned long long)r->seed);
        timeline_draw(&r->trials[i].timeline, columns, terminal_colors(1), &out);
    }
    out_buf(&out);
    buf_done(&out);
}

/* ---- JSON ---- */

static void print_json(const struct rehearse *r)
{
    char seed[24];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", r->plan->job->name);
    cJSON_AddNumberToObject(json, "executions", (double)r->plan->count);
    cJSON_AddNumberToObject(json, "endpoints", r->plan->endpoint_count);
    snprintf(seed, sizeof seed, "%" PRIu64, r->seed);
    cJSON_AddRawToObject(json, "seed", seed); /* a double would round it */
    cJSON_AddNumberToObject(json, "runs", r->runs);
    cJSON_AddNumberToObject(json, "took_s", (double)r->took_us / SECOND_US);
    cJSON *policies = cJSON_AddArrayToObject(json, "policies");
    for (size_t i = 0; i < r->trial_count; i++)
        cJSON_AddItemToArray(policies, forecast_json(&r->trials[i].forecast));
    out_json(json);
}

/* ---- the whole of it ---- */

static bool rehearse(struct rehearse *r, struct err *err)
{
    if (!prepare(r, err) || !run_all(r, err))
        return false;
    if (args_flag(r->args, "json"))
        print_json(r);
    else
        print_text(r);
    return true;
}

static int run(const struct args *args)
{
    struct err err;
    struct rehearse r = {.args = args};
    if (!logging_setup(args, LOG_WARN, &err) || !inputs_load(args, true, &r.inputs, &err))
        return complain(&err);
    bool ok = rehearse(&r, &err);
    for (size_t i = 0; i < r.trial_count; i++) {
        forecast_done(&r.trials[i].forecast);
        timeline_done(&r.trials[i].timeline);
        if (r.trials[i].file != r.inputs.file)
            job_file_free(r.trials[i].file);
    }
    free(r.places);
    plan_free(r.plan);
    fleet_spec_free(r.fleet);
    inputs_done(&r.inputs);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    {.name = "fleet", .value = "FLEET.lua", .help = "how the endpoints behave", .setting = true},
    INPUT_OPTIONS_OF(true),
    {.name = "seed", .value = "N", .help = "of the first run; the fleet's own unless given", .setting = true},
    {.name = "runs", .value = "N", .help = "of each policy, each with the next seed; 100, or fewer if the job is large",
     .setting = true},
    LOGGING_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_rehearse = {
    .name = "rehearse",
    .words = "JOB.lua",
    .summary = "run the job against a simulated fleet in virtual time: how long, how much; asks nobody",
    .details =
        "Runs the job's policy, the real scheduler and the real adapters against the fleet of a file, in which an\n"
        "hour takes milliseconds, and tells for each policy: how long it takes, in the middle run and in 95 of 100;\n"
        "the least that is possible, and how far the policy is from it; what is in flight at most; POSTs, GETs on\n"
        "result URLs, cold starts, executions left unanswered, and the cost. The same files and seeds give the same\n"
        "numbers. Opens no connection and writes no database. What scripts log is shown with --log-level info.\n\n"
        "The least time (lower_bound_s) is the busiest endpoint's own work: its quickest cold start and all its\n"
        "answers, shared out over its slots. ratio is of the runs in which every execution came to its end.",
    .examples = "  canvass rehearse job.lua --regions regions.lua --fleet fleet.lua\n"
                "  canvass rehearse job.lua --regions regions.lua --fleet fleet.lua --policy sequential --policy free\n"
                "  canvass rehearse job.lua --regions regions.lua --fleet fleet.lua --runs 1000 --json",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
