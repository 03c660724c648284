/* internal.h -- what the files of the daemon share. */
#ifndef SERVE_INTERNAL_H
#define SERVE_INTERNAL_H

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "host/kept.h"
#include "host/live_table.h"
#include "host/session.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "serve/daemon.h"
#include "serve/events.h"
#include "serve/guard.h"
#include "serve/metrics.h"
#include "store/store.h"

/* What was counted of a job that has ended: it stays so until somebody goes on with it, and then it ends at another
 * time. The reader thread's. */
struct ended_job {
    int64_t row;
    double ended_at;
    char *json;                     /* NULL: the slot is free */
};
enum { ENDED_JOBS = 1024 };

struct daemon {
    const struct daemon_options *options;
    struct session *session;
    struct loop *loop;
    struct http_server *http;
    struct guard guard;
    struct reader *reader;          /* of the loop thread: for jobs that are taken up again. Opened when first wanted */
    struct list runs;               /* of struct run */
    struct loop_hook watch;         /* ends the loop when a drain is over */
    struct events *events;
    struct metrics *metrics;
    struct live_table *live;
    struct list reports;            /* of struct report: processes that make one */
    unsigned report_count;
    struct ended_job ended[ENDED_JOBS]; /* by row, the latest in its slot */
    double started_at;
    bool draining, failed;
    struct err failure;
};

/* ---- requests (http.c) ---- */

enum { PARAMS_MAX = 3, BODY_MAX_BYTES = 16 << 20, REPLY_MAX_BYTES = 64 << 20 };

struct request {
    struct daemon *daemon;
    struct http_call *call;
    char *params[PARAMS_MAX];       /* what stood for :name in the route's pattern */
};

struct route {
    const char *method, *pattern;   /* :name is one segment of the path, *name takes slashes too */
    void (*handle)(struct request *q); /* answers, or parks the call */
    enum access access;
};
extern const struct route routes[]; /* routes.c; method NULL ends it */

/* A call that is answered later. http_call_set_user() of it. */
struct parked {
    void (*abandoned)(struct parked *p);
};

void handle_call(void *ctx, struct http_call *c);
void handle_too_large(void *ctx, struct http_call *c);
void handle_abandoned(void *ctx, struct http_call *c);

/* The call is gone after each of these. */
void reply_json(struct http_call *c, int status, cJSON *json);       /* frees json */
void reply_text(struct http_call *c, int status, const char *content_type, struct str body);
/* As http_reply_stream(), with the headers that all answers have. */
void reply_page(struct http_call *c, struct str body); /* of HTML without scripts */
struct http_stream *reply_stream(struct http_call *c, const char *content_type, const struct http_stream_options *o);
void reply_problem(struct http_call *c, int status, const char *fmt, ...) PRINTF_LIKE(3, 4); /* RFC 9457 */

/* The body, an object with no other keys than these (NULL ends them); no body is an empty object. NULL: it was answered
 * with what is wrong. */
cJSON *request_body(struct request *q, const char *const *keys);
/* A text of it; NULL when it is not there. False: it is something else, and was answered. */
bool body_text(struct request *q, const cJSON *body, const char *key, const char **out);
/* ?name=N; false: it is no such number, and was answered. */
bool query_integer(struct request *q, const char *name, int64_t low, int64_t high, int64_t *out);

/* ?name=WORD, its place in words, which NULL ends; the first when it is not there. False: it is none, and was
 * answered. */
bool query_word(struct request *q, const char *name, const char *const *words, size_t *out);
bool query_flag(struct request *q, const char *name);                /* ?name, but for ?name=false and ?name=0 */

void json_add_real(cJSON *to, const char *name, double value);       /* NAN: null */

/* ---- answers from the database (query.c) ---- */

struct query {
    struct parked parked;
    struct daemon *daemon;
    struct http_call *call;         /* NULL: the client has gone */
    struct arena texts;             /* of what was asked */
    const char *job_id;
    const char *source, *overrides, *hash; /* of a revision, for finish() */
    struct execution_filter filter;
    int64_t limit, from;
    const char *author, *reason;
    struct live_job {
        char *id, *json;
    } *live;                        /* jobs that run here, which the engine knows better than the rows */
    size_t live_count;
    void (*finish)(struct query *q); /* on the loop thread, takes the call, if any; NULL: the body is the answer */
    void (*read)(struct query *q, struct reader *reader); /* on the reader thread: fills status and body */
    int status;
    struct buf body;                /* JSON; of a problem: its text */
    struct err err;
};

struct query *query_new(struct request *rq, void (*read)(struct query *q, struct reader *reader));
void query_start(struct query *q);  /* takes the call */
/* For read(): status and text of what went wrong, as err says. */
void query_failed(struct query *q, const struct err *err);

/* ---- jobs of this process (runs.c) ---- */

struct run {
    struct list link;
    struct list touched;            /* in the events' list of those that have news */
    struct parked parked;           /* of call */
    struct daemon *daemon;
    struct session_job *job;
    struct job_file *file;          /* of a new job */
    struct kept *kept;              /* of one that was taken up again */
    struct kept_job again;
    struct execution_filter failed; /* retry: which */
    struct arena texts;
    char *author;
    double created_at;
    struct http_call *call;         /* who waits to hear that it was accepted; NULL: nobody */
    struct loop_task gone;          /* frees it, once it has ended */
    bool paused;                    /* when it was taken up again */
    bool cancelled;                 /* on request: its end is on its way */
    bool over;
};

struct run *run_find(const struct daemon *d, const char *job_id);   /* NULL: it does not run here */
/* Both take the call (NULL: nobody waits), and answer when the job was accepted or refused. The first takes file. */
void run_submit(struct daemon *d, struct job_file *file, const struct submission *by, struct http_call *call);
void run_take(struct daemon *d, const char *job_id, const struct execution_filter *failed, const char *author,
              struct http_call *call);
void runs_take_all(struct daemon *d);     /* at start: all that have not ended and nobody runs */
void runs_close(struct daemon *d);         /* before the session is: their calls; after it: the rest */
cJSON *endpoint_live_json(const struct endpoint_view *v); /* api_progress.c */
cJSON *run_json(const struct run *r);     /* as job_json(), from the engine's counters */

double unix_of(int64_t at_us);             /* of an instant of the loop's clock; 0: NAN */
void json_add_tally(cJSON *to, const struct tally *t);

void run_accepted(void *ctx, struct session_job *job);
void run_started(void *ctx, struct session_job *job);
void run_refused(void *ctx, struct session_job *job, const struct err *err);
/* False: it was cancelled already. */
bool run_cancel(struct run *r, const char *author, const char *reason);
void run_ended(void *ctx, struct session_job *job);
void run_control(void *ctx, struct session_job *job, const char *action, const char *author, const char *reason);

void regions_changed(void *ctx);          /* api_regions.c: tells the events */
const char *author_of(const char *author); /* api_jobs.c: who it is if nobody said */
bool accepts(struct request *q);          /* false: the server is ending, and it was answered */

/* ---- resources ---- */
void web_index(struct request *q);
void web_file(struct request *q);
void api_health(struct request *q);
void api_ready(struct request *q);
void api_openapi(struct request *q);
void api_submit(struct request *q);
void api_jobs(struct request *q);
void api_job(struct request *q);
void api_executions(struct request *q);
void api_execution(struct request *q);
void api_report(struct request *q);
void reports_close(struct daemon *d);     /* after the server, before the loop goes */
void api_questions(struct request *q);
void api_endpoints(struct request *q);
void api_attempts(struct request *q);
void api_events(struct request *q);
void api_job_events(struct request *q);
void api_scripts(struct request *q);
void api_job_cancel(struct request *q);
void api_job_resume(struct request *q);
void api_job_pause(struct request *q);
void api_regions(struct request *q);
void api_regions_put(struct request *q);
void api_rollback(struct request *q);
void api_revisions(struct request *q);
void api_revision(struct request *q);
void api_endpoint_pause(struct request *q);
void api_endpoint_resume(struct request *q);
void api_endpoint_patch(struct request *q);
void api_region_pause(struct request *q);
void api_region_resume(struct request *q);
void api_job_retry(struct request *q);
void api_execution_cancel(struct request *q);
void api_execution_retry(struct request *q);

#endif
