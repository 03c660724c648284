#include "cli/runner.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "host/logging.h"
#include "host/session.h"
#include "net/loop.h"

enum { IDLE_NOTES_MAX = 8, OUTPUT_BYTES = 16 << 20 };

/* An endpoint that was left alone for longer than it stays warm. */
struct idle_note {
    char *endpoint;
    int64_t idle_us, scaledown_us;
};

enum show { SHOW_LIVE, SHOW_LOG, SHOW_NOTHING };

struct run {
    const struct args *args;
    const char *db;
    const struct runner *what;
    struct session *session;
    struct session_job *job;
    struct progress *progress;
    enum show show;
    int interrupts;
    int64_t locked_since_us;   /* of the database, by another program */
    int status;
    bool failed;               /* err says why there is no result, or not a whole one */
    bool policy_failed;
    struct err err;
    char *job_id;              /* NULL until it is stored */
    char *reason, *author;
    struct idle_note idle[IDLE_NOTES_MAX];
    size_t idle_count;
};

/* ---- limits in force ---- */

static unsigned effective_in_flight(const struct plan *plan)
{
    uint64_t limit = 0;
    for (uint32_t i = 0; i < plan->endpoint_count; i++) {
        const struct endpoint_spec *e = plan_endpoint(plan, i);
        limit += e->adaptive.ceiling ? e->adaptive.ceiling : e->slots;
    }
    if (plan->table->in_flight && plan->table->in_flight < limit)
        limit = plan->table->in_flight;
    if (plan->job->in_flight && plan->job->in_flight < limit)
        limit = plan->job->in_flight;
    return limit > UINT32_MAX ? UINT32_MAX : (unsigned)limit;
}

static void log_past(const struct run *r)
{
    const struct taken *taken = session_job_taken(r->job);
    unsigned by_status[STATUS_COUNT] = {0};
    if (!taken)
        return;
    for (uint64_t n = 0; n < session_job_plan(r->job)->count; n++)
        by_status[taken->past.status[n]]++;
    log_event(LOG_INFO, "job taken up again", LOG_S("job_id", r->job_id),
              LOG_I("succeeded", by_status[STATUS_SUCCEEDED]),
              LOG_I("failed", by_status[STATUS_FAILED]), LOG_I("to_ask", by_status[STATUS_PENDING]),
              LOG_I("asked_again", taken->opened), LOG_I("to_collect", by_status[STATUS_WAITING_RESULT]),
              LOG_I("unknown_outcome", by_status[STATUS_RUNNING]));
}

static void log_limits(const struct run *r, const struct plan *plan)
{
    char text[DURATION_TEXT];
    const struct job_spec *job = plan->job;
    log_event(LOG_INFO, r->what->plan ? "job goes on" : "job accepted", LOG_S("job_id", r->job_id),
              LOG_I("executions", plan->count),
              LOG_I("questions", plan->question_count), LOG_I("samples", plan->sample_count),
              LOG_I("endpoints", plan->endpoint_count), LOG_I("in_flight", effective_in_flight(plan)),
              LOG_S("timeout", job->timeout_us ? duration_format(job->timeout_us, text) : "none"),
              LOG_S("policy", job->policy), LOG_I("revision", plan->table->revision), LOG_S("database", r->db));
    for (uint32_t i = 0; i < plan->endpoint_count; i++) {
        const struct endpoint_spec *e = plan_endpoint(plan, i);
        if (e->paused)
            log_event(LOG_WARN, job->on_missing == ON_MISSING_SKIP ? "endpoint is paused, its executions are skipped"
                                                                   : "endpoint is paused, its executions wait",
                      LOG_S("endpoint", e->id), LOG_S("reason", e->paused));
    }
}

/* ---- stopping ---- */

static void stop(struct run *r)
{
    struct engine_job *job = r->job ? session_job_engine(r->job) : NULL;
    if (!job)
        return; /* accepted() sees the interrupts */
    struct job_view view;
    engine_job_view(job, &view);
    if (r->interrupts == 1) {
        log_event(LOG_WARN, "interrupted: no more is asked, what is in flight may finish; Ctrl-C again aborts",
                  LOG_S("job_id", r->job_id), LOG_I("in_flight", view.in_flight));
        if (r->progress)
            progress_draining(r->progress);
        engine_stop(job, STOP_DRAIN, JOB_CANCELLED, "interrupted");
    } else {
        log_event(LOG_WARN, "aborted: closing every connection", LOG_S("job_id", r->job_id),
                  LOG_I("in_flight", view.in_flight));
        session_hurry(r->session);
        engine_stop(job, STOP_ABORT, JOB_CANCELLED, "interrupted");
    }
}

static void interrupted(void *ctx, int signum)
{
    struct run *r = ctx;
    (void)signum;
    r->interrupts++;
    stop(r);
}

/* The terminal was closed, which may be told twice: never a reason to throw away what is paid for. */
static void hung_up(void *ctx, int signum)
{
    struct run *r = ctx;
    if (!r->interrupts)
        interrupted(r, signum);
}

/* NULL when nohup, or whoever started this, wants it ignored. */
static struct loop_signal *watch_hangup(struct run *r)
{
    struct sigaction inherited;
    if (sigaction(SIGHUP, NULL, &inherited) == 0 && inherited.sa_handler == SIG_IGN)
        return NULL;
    return loop_signal_new(session_loop(r->session), SIGHUP, hung_up, r);
}

static void control(void *ctx, struct session_job *job, const char *action, const char *author, const char *reason)
{
    struct run *r = ctx;
    if (strcmp(action, "cancel") != 0)
        return;
    log_event(LOG_WARN, "cancelled on request", LOG_S("job_id", r->job_id), LOG_S("author", author),
              LOG_S("reason", reason));
    engine_stop(session_job_engine(job), STOP_ABORT, JOB_CANCELLED,
                reason && *reason ? reason : "cancelled on request");
}

/* ---- what the session tells ---- */

static void accepted(void *ctx, struct session_job *job)
{
    struct run *r = ctx;
    r->job = job;
    r->job_id = mem_strdup(session_job_id(job));
    log_past(r);
    log_limits(r, session_job_plan(job));
    if (r->show == SHOW_LIVE) /* the table shows the rest */
        logging_setup(r->args, LOG_WARN, NULL);
    if (r->show != SHOW_NOTHING)
        r->progress = progress_new(session_loop(r->session), session_engine(r->session), session_job_engine(job),
                                   r->show == SHOW_LIVE);
    if (r->interrupts)
        stop(r);
}

static void refused(void *ctx, struct session_job *job, const struct err *err)
{
    struct run *r = ctx;
    (void)job;
    r->failed = true;
    r->err = *err;
    loop_stop(session_loop(r->session));
}

static void store_failed(void *ctx, const struct err *err)
{
    struct run *r = ctx;
    r->failed = true;
    r->err = *err;
    r->err.code = ERR_STORE;
    if (!r->job_id) /* no job whose end would stop the loop */
        loop_stop(session_loop(r->session));
}

static void store_locked(void *ctx, int64_t since_us)
{
    struct run *r = ctx;
    char text[DURATION_TEXT];
    int64_t now_us = mono_now_us();
    if (since_us)
        log_event(LOG_WARN, "another program keeps the database locked: nothing more is sent, and what comes back is "
                  "kept in memory, until it can be written: end that program (fuser finds it); Ctrl-C twice gives up",
                  LOG_S("database", r->db),
                  LOG_S("since", unix_format(unix_now_s() - (double)(now_us - since_us) / SECOND_US, text)));
    else
        log_event(LOG_WARN, "the database can be written again", LOG_S("database", r->db),
                  LOG_S("after", duration_format(now_us - r->locked_since_us, text)));
    r->locked_since_us = since_us;
    if (r->progress)
        progress_locked(r->progress, since_us);
}

static void observe(void *ctx, const struct session_job *job, const struct event *event)
{
    struct run *r = ctx;
    (void)job;
    logging_event(event);
    if (r->progress && event->job)
        progress_event(r->progress, event);
}

static int exit_status(const struct run *r, const struct job_view *view)
{
    if (r->failed)
        return EXIT_STORE;
    if (r->interrupts)
        return EXIT_INTERRUPTED;
    if (view->policy_failed)
        return EXIT_USAGE;
    if (view->state == JOB_TIMED_OUT)
        return EXIT_TIMED_OUT;
    return view->state == JOB_SUCCEEDED ? EXIT_ALL_WELL : EXIT_SOME_FAILED;
}

static void note_idle(struct run *r, const struct job_view *view)
{
    for (uint32_t i = 0; i < view->plan->endpoint_count && r->idle_count < IDLE_NOTES_MAX; i++) {
        const struct endpoint_spec *e = plan_endpoint(view->plan, i);
        int64_t idle_us = view->endpoints[i].longest_idle_us;
        if (e->scaledown_us && idle_us > e->scaledown_us)
            r->idle[r->idle_count++] = (struct idle_note){mem_strdup(e->id), idle_us, e->scaledown_us};
    }
}

static void ended(void *ctx, struct session_job *job)
{
    struct run *r = ctx;
    struct job_view view;
    engine_job_view(session_job_engine(job), &view);
    r->status = exit_status(r, &view);
    r->reason = mem_strdup(view.reason);
    r->policy_failed = view.policy_failed;
    note_idle(r, &view);
    progress_free(r->progress);
    r->progress = NULL;
    loop_stop(session_loop(r->session));
}

/* ---- the result ---- */

static void add_command(const struct run *r, const char *command, const char *job, const char *options,
                        struct buf *out)
{
    bool elsewhere = strcmp(r->db, "canvass.db") != 0;
    buf_addf(out, "canvass %s %s%s%s%s\n", command, job, options, elsewhere ? " --db " : "",
             elsewhere ? r->db : "");
}

/* What to look at now; and after an end before its time, how it goes on. */
static void add_next(const struct run *r, const struct job_summary *j, struct buf *out)
{
    bool failed = j->by_status[STATUS_FAILED] > 0;
    const char *about = job_file_spec(r->what->file)->derived_of;
    buf_addc(out, '\n');
    if (j->state == JOB_CANCELLED || j->state == JOB_TIMED_OUT || r->policy_failed) {
        buf_addf(out, "kept: %lld of %lld answers, and how far each of the others came\nnext: ",
                 (long long)j->by_status[STATUS_SUCCEEDED], (long long)j->planned);
        add_command(r, "resume", r->job_id, "", out);
        return;
    }
    buf_adds(out, "next: ");
    if (about && !failed)
        add_command(r, "report", about, "", out);
    else
        add_command(r, "results", r->job_id, failed ? " --status failed" : "", out);
    if (failed)
        buf_adds(out, "then: ");
    if (failed)
        add_command(r, "retry", r->job_id, "", out);
}

static void print_text(const struct run *r, const struct summary *s)
{
    struct buf out;
    char idle[DURATION_TEXT], scaledown[DURATION_TEXT];
    buf_init(&out, OUTPUT_BYTES);
    summary_text(s, out_columns(), r->what->table->speed, &out);
    if (r->reason)
        buf_addf(&out, "\nwhy it ended: %s\n", r->reason);
    for (size_t i = 0; i < r->idle_count; i++)
        buf_addf(&out, "%s  %s was idle for %s, longer than its scaledown of %s: it had to start cold again\n",
                 i ? "" : "\n", r->idle[i].endpoint, duration_format(r->idle[i].idle_us, idle),
                 duration_format(r->idle[i].scaledown_us, scaledown));
    add_next(r, &s->job, &out);
    out_buf(&out);
    buf_done(&out);
}

static void print_json(const struct run *r, const struct summary *s)
{
    cJSON *json = summary_json(s);
    cJSON_AddItemToObject(json, "reason", r->reason ? cJSON_CreateString(r->reason) : cJSON_CreateNull());
    cJSON *idle = cJSON_AddArrayToObject(json, "idle");
    for (size_t i = 0; i < r->idle_count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", r->idle[i].endpoint);
        cJSON_AddNumberToObject(one, "idle_s", (double)r->idle[i].idle_us / SECOND_US);
        cJSON_AddNumberToObject(one, "scaledown_s", (double)r->idle[i].scaledown_us / SECOND_US);
        cJSON_AddItemToArray(idle, one);
    }
    out_json(json);
}

static int print_result(struct run *r)
{
    struct reader *reader = reader_open(r->db, &r->err);
    struct summary *s = reader ? summary_load(reader, r->job_id, &r->err) : NULL;
    if (!s) {
        reader_close(reader);
        complain(&r->err);
        return EXIT_STORE;
    }
    if (args_flag(r->args, "json"))
        print_json(r, s);
    else
        print_text(r, s);
    summary_free(s);
    reader_close(reader);
    if (r->policy_failed) {
        err_set(&r->err, ERR_SCRIPT, "the policy failed (%s): %s", r->args->words[0], r->reason);
        complain(&r->err);
    }
    return r->status;
}

/* ---- the whole of it ---- */

static bool choose_progress(const struct args *args, enum show *show, struct err *err)
{
    static const char *const modes[] = {"auto", "live", "log", "none"};
    int mode = 0, form = LOG_TEXT;
    static const char *const forms[] = {"text", "json"};
    if (!args_choice(args, "progress", modes, ARRAY_LEN(modes), &mode, err) ||
        !args_choice(args, "log", forms, ARRAY_LEN(forms), &form, err))
        return false;
    size_t columns, rows;
    const char *term = getenv("TERM");
    bool able = terminal_size(2, &columns, &rows) && term && strcmp(term, "dumb") != 0 && form == LOG_TEXT;
    *show = mode == 3 ? SHOW_NOTHING : mode == 1 || (mode == 0 && able) ? SHOW_LIVE : SHOW_LOG;
    return logging_setup(args, *show == SHOW_NOTHING ? LOG_WARN : LOG_INFO, err);
}

static bool submit(struct run *r, struct err *err)
{
    const struct runner *what = r->what;
    if (!what->plan)
        return session_submit(r->session, what->file, &(struct submission){.author = author_name()}, err);
    r->author = mem_strdup(author_name());
    return session_resume(r->session, what->file, what->plan, what->job_id, what->failed, r->author);
}

/* False when the job could not be run; err says why. */
static bool run_job(struct run *r, struct err *err)
{
    struct session_options options = {
        .db = r->db,
        .ca_file = args_text(r->args, "ca-file"),
        .watcher = {.ctx = r, .accepted = accepted, .refused = refused, .ended = ended, .event = observe,
                    .control = control, .store_failed = store_failed, .store_locked = store_locked},
    };
    r->session = session_new(r->what->table, &options, err);
    if (!r->session) {
        plan_free(r->what->plan);
        return false;
    }
    struct loop_signal *on_int = loop_signal_new(session_loop(r->session), SIGINT, interrupted, r);
    struct loop_signal *on_term = loop_signal_new(session_loop(r->session), SIGTERM, interrupted, r);
    struct loop_signal *on_hangup = watch_hangup(r);
    bool submitted = submit(r, err);
    if (submitted)
        loop_run(session_loop(r->session));
    progress_free(r->progress);
    loop_signal_free(on_int);
    loop_signal_free(on_term);
    loop_signal_free(on_hangup);
    struct err close_err;
    if (!session_free(r->session, &close_err) && submitted && !r->failed) {
        r->failed = true;
        r->err = close_err;
        r->err.code = ERR_STORE;
    }
    return submitted;
}

static void say_how_to_go_on(const struct run *r)
{
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    buf_adds(&out, "once that is mended: ");
    add_command(r, "resume", r->job_id, "", &out);
    fputs(buf_str(&out).ptr, stderr);
    buf_done(&out);
}

static int finish(struct run *r, bool ran)
{
    int status = r->status;
    bool well = ran && !r->failed;
    if (!well)
        status = complain(&r->err);
    else if (r->job_id)
        status = print_result(r);
    if (!well && r->job_id)
        say_how_to_go_on(r);
    for (size_t i = 0; i < r->idle_count; i++)
        free(r->idle[i].endpoint);
    free(r->job_id);
    free(r->reason);
    free(r->author);
    return status;
}

bool runner_setup(const struct args *args, struct err *err)
{
    enum show show;
    return choose_progress(args, &show, err);
}

int runner_run(const struct args *args, const struct runner *what)
{
    struct run r = {.args = args, .db = args_text(args, "db"), .what = what};
    bool chosen = choose_progress(args, &r.show, &r.err);
    return finish(&r, chosen && run_job(&r, &r.err));
}
