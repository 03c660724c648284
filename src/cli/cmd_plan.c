#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/rehearsal.h"
#include "cli/table.h"
#include "store/store.h"

enum { FIRST_LINES = 20, OUTPUT_BYTES = 1 << 30 };
#define NOMINAL_US SECOND_US

struct asked {
    struct cell cell;
    int64_t at_us;
};

struct planning {
    const struct args *args;
    struct inputs inputs;
    const struct job_spec *spec;
    struct plan *plan;         /* for looking things up; the engine has one of its own */
    int64_t *answer_us, *first_us; /* by endpoint index */
    bool *measured;
    size_t measured_count;
    struct asked *asked;
    size_t asked_count, asked_max;
    uint64_t posts;
    int64_t first_asked_us;
    bool *answered;            /* by endpoint index */
    struct {                   /* of the rehearsal */
        struct tally tally;
        struct warm_tally warm;
        int64_t makespan_us;
        unsigned max_in_flight, max_batches;
        bool stuck;
        char failure[1024];    /* of the policy; empty: none */
    } result;
    double cost;               /* at worst, of the endpoints whose price is known */
    uint32_t priced, no_price; /* endpoints */
    uint32_t no_max_tokens;    /* endpoints with a price per token, where an answer may be of any length */
};

/* ---- times of earlier jobs ---- */

/* The middle answer of each endpoint, apart for cold ones. */
static const char median_sql[] =
    "WITH t AS (SELECT c.endpoint AS endpoint, d.cold AS cold, e.ended_at - e.dispatched_at AS s FROM endings e "
    "JOIN dispatches d ON d.row = e.row JOIN jobs j ON j.row = d.job_row JOIN job_cells c ON c.job_row = j.row "
    "AND c.position = (e.row / 1024 - j.first_row) % j.width WHERE e.status = 'succeeded' "
    "AND e.row < (j.first_row + j.planned) * 1024), "
    "r AS (SELECT endpoint, cold, s, row_number() OVER w AS k, count(*) OVER (PARTITION BY endpoint, cold) AS n FROM t "
    "WINDOW w AS (PARTITION BY endpoint, cold ORDER BY s)) "
    "SELECT endpoint, cold, s FROM r WHERE k = (n + 1) / 2 ORDER BY cold";

/* Warm medians come first: an endpoint that only ever answered cold is measured by that. */
static bool take_median(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct planning *p = ctx;
    (void)columns;
    (void)names;
    if (v[2].type != VALUE_REAL || v[2].real < 0)
        return true;
    int64_t us = (int64_t)(v[2].real * SECOND_US);
    for (size_t i = 0; i < p->inputs.table->endpoint_count; i++) {
        if (!str_is(v[0].text, p->inputs.table->endpoints[i].id))
            continue;
        if (!v[1].integer || !p->measured[i])
            p->answer_us[i] = us;
        p->first_us[i] = us;
        p->measured[i] = true;
    }
    return true;
}

static bool measure(struct planning *p, struct err *err)
{
    const char *db = args_text(p->args, "db");
    size_t count = p->inputs.table->endpoint_count;
    p->answer_us = mem_array(NULL, count, sizeof *p->answer_us);
    p->first_us = mem_array(NULL, count, sizeof *p->first_us);
    p->measured = mem_zalloc(count * sizeof *p->measured);
    for (size_t i = 0; i < count; i++)
        p->answer_us[i] = p->first_us[i] = NOMINAL_US;
    if (access(db, F_OK) != 0)
        return true; /* nothing was ever asked */
    struct reader *reader = reader_open(db, err);
    bool ok = reader && reader_sql(reader, median_sql, NULL, 0, 0, take_median, p, err);
    reader_close(reader);
    for (uint32_t i = 0; i < p->plan->endpoint_count; i++)
        p->measured_count += p->measured[p->plan->endpoints[i]];
    return ok;
}

/* ---- cost at worst ---- */

static double max_tokens(const struct job_spec *spec)
{
    cJSON *parameters = cJSON_Parse(spec->parameters);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(parameters, "max_tokens");
    double tokens = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    cJSON_Delete(parameters);
    return tokens;
}

static void price(struct planning *p)
{
    double tokens = max_tokens(p->spec), each = (double)p->plan->question_count * p->plan->sample_count;
    for (uint32_t i = 0; i < p->plan->endpoint_count; i++) {
        const struct endpoint_spec *e = plan_endpoint(p->plan, i);
        bool warmed = p->spec->warm && e->warm == WARM_ASK && !e->paused;
        double one = e->price_per_second * (double)e->deadline_us / SECOND_US;
        if (e->price_per_token > 0)
            one += e->price_per_token * tokens;
        if (isnan(one)) {
            p->no_max_tokens++;
        } else if (one <= 0) {
            p->no_price++;
        } else {
            p->cost += (each + warmed) * e->retry.attempts * one;
            p->priced++;
        }
    }
}

/* ---- running it dry ---- */

static void observe(void *ctx, const struct event *event)
{
    struct planning *p = ctx;
    if (event->kind != EVENT_ATTEMPT_STARTED || event->warm)
        return;
    if (!p->posts++)
        p->first_asked_us = event->at_us;
    if (p->asked_max && p->asked_count == p->asked_max)
        return;
    if ((p->asked_count & (p->asked_count - 1)) == 0)
        p->asked = mem_array(p->asked, p->asked_count ? p->asked_count * 2 : 1, sizeof *p->asked);
    p->asked[p->asked_count++] = (struct asked){event->cell, event->at_us - p->first_asked_us};
}

static int64_t takes_us(void *ctx, const struct exchange *x)
{
    struct planning *p = ctx;
    unsigned endpoint = x->endpoint->index;
    if (x->health)
        return 0; /* nobody measures it, and its container may be another */
    bool first = !p->answered[endpoint];
    p->answered[endpoint] = true;
    return first ? p->first_us[endpoint] : p->answer_us[endpoint];
}

static void ended(void *ctx, const struct rehearsal_end *end)
{
    struct planning *p = ctx;
    p->result.tally = end->view->tally;
    p->result.warm = end->view->warm;
    p->result.makespan_us = end->makespan_us;
    p->result.max_in_flight = end->view->max_in_flight;
    p->result.max_batches = end->max_batches;
    p->result.stuck = end->stuck;
    if (end->view->policy_failed)
        snprintf(p->result.failure, sizeof p->result.failure, "%s", end->view->reason);
}

static bool run_dry(struct planning *p, struct err *err)
{
    struct job_spec spec = *p->spec;
    spec.timeout_us = 0; /* the order is wanted whole; the summary tells whether it would fit */
    struct plan *plan = plan_make(&spec, p->inputs.table, err);
    if (!plan)
        return false;
    p->asked_max = args_flag(p->args, "all") ? 0 : FIRST_LINES;
    p->answered = mem_zalloc(p->inputs.table->endpoint_count * sizeof *p->answered);
    rehearsal_run(&(struct rehearsal){
        .spec = &spec, .plan = plan, .file = p->inputs.file, .observer = {p, observe}, .ended = ended, .ctx = p,
        .world = {.speed = 1, .unix_zero_s = unix_now_s() - (double)VIRTUAL_START_US / SECOND_US, .takes_us = takes_us,
                  .ctx = p}});
    if (*p->result.failure)
        return err_set(err, ERR_SCRIPT, "the policy failed (%s): %s", p->args->words[0], p->result.failure);
    return true;
}

/* ---- text ---- */

static uint32_t waiting(const struct planning *p)
{
    const struct tally *t = &p->result.tally;
    return t->planned - t->by_status[STATUS_SUCCEEDED] - t->by_status[STATUS_SKIPPED];
}

static bool has_paused(const struct planning *p)
{
    for (uint32_t i = 0; i < p->plan->endpoint_count; i++)
        if (plan_endpoint(p->plan, i)->paused)
            return true;
    return false;
}

static void add_regions(const struct planning *p, struct buf *out)
{
    const struct region_table *t = p->inputs.table;
    for (size_t r = 0; r < t->region_count; r++) {
        uint64_t endpoints = 0, paused = 0;
        for (uint32_t i = 0; i < p->plan->endpoint_count; i++) {
            const struct endpoint_spec *e = plan_endpoint(p->plan, i);
            endpoints += e->region == r;
            paused += e->region == r && e->paused;
        }
        if (!endpoints)
            continue;
        uint64_t each = (uint64_t)p->plan->question_count * p->plan->sample_count;
        buf_addf(out, "  %s: %llu on %llu endpoints", t->regions[r].id, (unsigned long long)(endpoints * each),
                 (unsigned long long)endpoints);
        if (paused)
            buf_addf(out, ", %llu of them paused", (unsigned long long)paused);
        buf_addc(out, '\n');
    }
}

static void add_time(const struct planning *p, struct buf *out)
{
    char text[DURATION_TEXT], limit[DURATION_TEXT];
    int64_t makespan_us = p->result.makespan_us;
    duration_format(makespan_us, text);
    if (p->measured_count == p->plan->endpoint_count)
        buf_addf(out, "takes at least     %s, going by the median answers of earlier jobs\n", text);
    else
        buf_addf(out, "takes              unknown: %zu of %u endpoints never answered before; %s if each of their "
                 "answers took 1 s\n", p->plan->endpoint_count - p->measured_count, p->plan->endpoint_count, text);
    if (p->spec->timeout_us)
        buf_addf(out, "timeout            %s%s\n", duration_format(p->spec->timeout_us, limit),
                 makespan_us > p->spec->timeout_us ? ": too short" : "");
}

static const char *plural(uint32_t n)
{
    return n == 1 ? "" : "s";
}

static void add_unpriced(const struct planning *p, uint32_t count, const char *why, struct buf *out)
{
    if (count)
        buf_addf(out, "                   without %u of the %u endpoints: %s\n", count, p->plan->endpoint_count, why);
}

static void add_cost(const struct planning *p, struct buf *out)
{
    static const char no_price[] = "no price in the table";
    static const char no_max_tokens[] = "a price per token, and no max_tokens in the job";
    if (!p->priced) {
        buf_addf(out, "cost at worst      unknown: %s\n", p->no_max_tokens ? no_max_tokens : no_price);
        return;
    }
    buf_addf(out, "cost at worst      $%.2f: every attempt used up, every answer as slow and long as it may be\n",
             p->cost);
    add_unpriced(p, p->no_price, no_price, out);
    add_unpriced(p, p->no_max_tokens, no_max_tokens, out);
}

static void add_summary(const struct planning *p, struct buf *out)
{
    const struct plan *plan = p->plan;
    buf_addf(out, "%s: %u question%s x %u sample%s x %u endpoint%s = %llu executions\n", p->spec->name,
             plan->question_count, plural(plan->question_count), plan->sample_count, plural(plan->sample_count),
             plan->endpoint_count, plural(plan->endpoint_count), (unsigned long long)plan->count);
    add_regions(p, out);
    buf_addf(out, "\npolicy             %s: %u question batch%s, %s\n", p->spec->policy, plan->question_count,
             plan->question_count == 1 ? "" : "es",
             p->result.max_batches <= 1 ? "one after another" : "several at a time");
    const struct warm_tally *warm = &p->result.warm;
    buf_addf(out, "POSTs              %llu%s, if nothing has to be asked again\n", (unsigned long long)p->posts,
             warm->posts ? " and those of the warm-up" : "");
    if (warm->planned)
        buf_addf(out,
                 "warm-up            %llu POSTs and %llu health GETs before anything else, one for each endpoint\n",
                 (unsigned long long)warm->posts, (unsigned long long)warm->hops);
    buf_addf(out, "most in flight     %u\n", p->result.max_in_flight);
    add_cost(p, out);
    add_time(p, out);
    if (p->result.tally.by_status[STATUS_SKIPPED])
        buf_addf(out, "not asked          %u executions\n", p->result.tally.by_status[STATUS_SKIPPED]);
    if (p->result.stuck)
        buf_addf(out, "waiting            %u executions: %s\n", waiting(p),
                 has_paused(p) ? "their endpoints are paused, until these return or the timeout"
                               : "the policy waits and does not come to them");
}

static void print_text(const struct planning *p)
{
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    add_summary(p, &out);
    buf_addc(&out, '\n');
    struct table *t = table_new();
    table_column(t, "#", TABLE_RIGHT);
    table_column(t, "question", TABLE_FLEX);
    table_column(t, "endpoint", TABLE_LEFT);
    table_column(t, "sample", TABLE_RIGHT);
    table_column(t, "starts in", TABLE_RIGHT);
    for (size_t i = 0; i < p->asked_count; i++) {
        char text[DURATION_TEXT];
        const struct cell *c = &p->asked[i].cell;
        table_cellf(t, "%zu", i + 1);
        table_text(t, p->spec->questions[c->question].id);
        table_text(t, plan_endpoint(p->plan, c->endpoint)->id);
        table_cellf(t, "%u", c->sample + 1);
        table_text(t, p->asked[i].at_us ? duration_format(p->asked[i].at_us, text) : "at once");
    }
    table_print(t, out_columns(), &out);
    table_free(t);
    if (p->posts > p->asked_count)
        buf_addf(&out, "... and %llu more; --all shows every one\n", (unsigned long long)(p->posts - p->asked_count));
    out_buf(&out);
    buf_done(&out);
}

/* ---- JSON ---- */

static void print_json(const struct planning *p)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", p->spec->name);
    cJSON_AddStringToObject(json, "policy", p->spec->policy);
    cJSON_AddNumberToObject(json, "questions", p->plan->question_count);
    cJSON_AddNumberToObject(json, "samples", p->plan->sample_count);
    cJSON_AddNumberToObject(json, "endpoints", p->plan->endpoint_count);
    cJSON_AddNumberToObject(json, "executions", (double)p->plan->count);
    cJSON_AddNumberToObject(json, "posts", (double)p->posts);
    cJSON_AddNumberToObject(json, "warm_posts", (double)p->result.warm.posts);
    cJSON_AddNumberToObject(json, "warm_hops", (double)p->result.warm.hops);
    cJSON_AddNumberToObject(json, "skipped", p->result.tally.by_status[STATUS_SKIPPED]);
    cJSON_AddNumberToObject(json, "waiting", waiting(p));
    cJSON_AddNumberToObject(json, "max_in_flight", p->result.max_in_flight);
    cJSON_AddNumberToObject(json, "max_batches", p->result.max_batches);
    bool all_priced = p->priced == p->plan->endpoint_count; /* half a sum would be taken for the whole */
    cJSON_AddItemToObject(json, "worst_cost", all_priced ? cJSON_CreateNumber(p->cost) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "worst_cost_known", p->cost);
    cJSON_AddNumberToObject(json, "endpoints_priced", p->priced);
    cJSON_AddNumberToObject(json, "makespan_s", (double)p->result.makespan_us / SECOND_US);
    cJSON_AddNumberToObject(json, "endpoints_measured", (double)p->measured_count);
    cJSON *order = cJSON_AddArrayToObject(json, "order");
    for (size_t i = 0; i < p->asked_count; i++) {
        const struct cell *c = &p->asked[i].cell;
        const struct endpoint_spec *e = plan_endpoint(p->plan, c->endpoint);
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "question_id", p->spec->questions[c->question].id);
        cJSON_AddStringToObject(one, "region", p->inputs.table->regions[e->region].id);
        cJSON_AddStringToObject(one, "model_id", e->model);
        cJSON_AddNumberToObject(one, "sample", c->sample + 1);
        cJSON_AddNumberToObject(one, "after_s", (double)p->asked[i].at_us / SECOND_US);
        cJSON_AddItemToArray(order, one);
    }
    out_json(json);
}

/* ---- the whole of it ---- */

static bool plan(struct planning *p, struct err *err)
{
    p->spec = job_file_spec(p->inputs.file);
    p->plan = plan_make(p->spec, p->inputs.table, err);
    if (!p->plan || !measure(p, err) || !run_dry(p, err))
        return false;
    price(p);
    if (args_flag(p->args, "json"))
        print_json(p);
    else
        print_text(p);
    return true;
}

static int run(const struct args *args)
{
    struct err err;
    struct planning p = {.args = args};
    if (!logging_setup(args, LOG_INFO, &err) || !inputs_load(args, true, &p.inputs, &err))
        return complain(&err);
    bool ok = plan(&p, &err);
    plan_free(p.plan);
    free(p.answer_us);
    free(p.first_us);
    free(p.measured);
    free(p.asked);
    free(p.answered);
    inputs_done(&p.inputs);
    return ok ? EXIT_ALL_WELL : complain(&err);
}

static const struct option_spec options[] = {
    INPUT_OPTIONS,
    OPTION_DB,
    {.name = "all", .help = "every line of the order, not the first twenty"},
    LOGGING_OPTIONS,
    OPTION_JSON,
    {.name = NULL},
};

const struct command command_plan = {
    .name = "plan",
    .words = "JOB.lua",
    .summary = "what would be asked, in which order, and what it may cost; asks nobody",
    .details = "Runs the job's policy and the real scheduler in virtual time. Opens no connection and writes no\n"
               "database; reads the times of earlier answers from it when there are any.",
    .examples = "  canvass plan job.lua --regions regions.lua\n"
                "  canvass plan job.lua --regions regions.lua --policy by_region --all",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
