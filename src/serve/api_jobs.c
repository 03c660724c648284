/* /api/v1/jobs: what clients submit, and the verbs on a job. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/logging.h"
#include "host/summary.h"
#include "serve/internal.h"

enum { SETTINGS_MAX = 256, LIST_MAX = 500, NAME_MAX_BYTES = 200, KEY_MAX_BYTES = 200, QUESTIONS_BYTES = 64 << 20 };

const char *author_of(const char *author)
{
    return author && *author ? author : "api";
}

static bool accepts(struct request *q)
{
    if (!q->daemon->draining)
        return true;
    reply_problem(q->call, 503, "the server is ending: ask again when it is back");
    return false;
}

/* ---- submitting ---- */

struct posted {
    const char *script, *source, *policy, *author;
    const cJSON *settings, *specification;
    struct script_setting *list;
    char **numbers;            /* texts of settings that are no texts */
    size_t count;
};

static bool add_setting(struct request *q, struct posted *p, const cJSON *item)
{
    if (!cJSON_IsString(item) && !cJSON_IsNumber(item) && !cJSON_IsBool(item)) {
        reply_problem(q->call, 400, "the setting \"%.80s\" is neither a text, a number nor a boolean", item->string);
        return false;
    }
    char *text = cJSON_IsString(item) ? mem_strdup(item->valuestring) : cJSON_PrintUnformatted(item);
    p->numbers[p->count] = text;
    p->list[p->count++] = (struct script_setting){item->string, text};
    return true;
}

static bool read_settings(struct request *q, struct posted *p)
{
    int count = cJSON_GetArraySize(p->settings);
    if (p->settings && (!cJSON_IsObject(p->settings) || count > SETTINGS_MAX)) {
        reply_problem(q->call, 400, "\"settings\" is not an object of at most %d texts", SETTINGS_MAX);
        return false;
    }
    p->list = mem_array(NULL, (size_t)count + 1, sizeof *p->list);
    p->numbers = mem_array(NULL, (size_t)count + 1, sizeof *p->numbers);
    const cJSON *item;
    cJSON_ArrayForEach(item, p->settings)
        if (!add_setting(q, p, item))
            return false;
    return true;
}

static void posted_done(struct posted *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->numbers[i]);
    free(p->numbers);
    free(p->list);
}

/* A file of the folder of jobs: no other can be named, by no name. */
static char *script_path(struct request *q, const char *name)
{
    const char *folder = q->daemon->options->jobs_folder;
    if (!folder) {
        reply_problem(q->call, 422, "this server has no scripts: it was started without --jobs FOLDER");
        return NULL;
    }
    bool plain = text_is_name(str_from(name), "._-/", NAME_MAX_BYTES) && *name != '/' && *name != '.' &&
                 !strstr(name, "/.") && !strstr(name, "//");
    char *path = plain ? mem_printf("%s/%s", folder, name) : NULL;
    char *real = path ? realpath(path, NULL) : NULL, *real_folder = realpath(folder, NULL);
    bool inside = real && real_folder && strncmp(real, real_folder, strlen(real_folder)) == 0 &&
                  real[strlen(real_folder)] == '/';
    free(real);
    free(real_folder);
    if (inside)
        return path;
    free(path);
    reply_problem(q->call, 422, "there is no script \"%.200s\" in the server's folder of jobs", name);
    return NULL;
}

static struct job_file_options options_of(struct request *q, const struct posted *p)
{
    return (struct job_file_options){
        .limits = &q->daemon->options->limits, .settings = p->list, .setting_count = p->count, .policy = p->policy,
        .log = logging_script};
}

static bool read_file(const char *path, struct buf *out, struct err *err)
{
    char block[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && (n = read(fd, block, sizeof block)) > 0)
        buf_add(out, block, (size_t)n);
    int code = errno;
    if (fd >= 0)
        close(fd);
    if (n == 0 && !out->full)
        return true;
    return err_set(err, ERR_SYSTEM, "%s (%s): see --questions", n < 0 ? strerror(code) : "it is too large", path);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Does it name its questions by id, instead of holding them? */
static bool names_questions(const cJSON *specification)
{
    const cJSON *wrapped = cJSON_GetObjectItemCaseSensitive(specification, "jobspec"), *one;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(wrapped ? wrapped : specification, "questions");
    cJSON_ArrayForEach(one, list)
        if (cJSON_IsString(one))
            return true;
    return false;
}

/* As if it were a file, beside the list of questions that the operator gave. */
static struct job_file *load_text(struct request *q, const struct posted *p, const char *name, const char *text,
                                  struct err *err)
{
    const char *list = names_questions(p->specification) ? q->daemon->options->questions : NULL;
    struct buf questions;
    buf_init(&questions, QUESTIONS_BYTES);
    struct job_file *file = NULL;
    if (!list || read_file(list, &questions, err)) {
        struct source_file files[] = {{name, str_from(text)},
                                      {list ? last_part(list) : "", buf_str(&questions)}};
        struct sources kept = {files, list ? 2 : 1};
        struct job_file_options options = options_of(q, p);
        options.kept = &kept;
        options.questions = list ? files[1].name : NULL;
        file = job_file_load(files[0].name, &options, err);
    }
    buf_done(&questions);
    return file;
}

/* NULL: it was answered with what is wrong. */
static struct job_file *load_posted(struct request *q, const struct posted *p)
{
    struct err err = {0};
    struct job_file *file = NULL;
    if (p->specification) {
        char *text = cJSON_PrintUnformatted(p->specification);
        file = load_text(q, p, "specification.json", text, &err);
        cJSON_free(text);
    } else if (p->source) {
        file = load_text(q, p, "job.lua", p->source, &err);
    } else {
        char *path = script_path(q, p->script);
        if (!path)
            return NULL;
        struct job_file_options options = options_of(q, p);
        file = job_file_load(path, &options, &err);
        free(path);
    }
    if (!file)
        reply_problem(q->call, 422, "%s", err.text);
    return file;
}

static bool read_posted(struct request *q, const cJSON *body, struct posted *p)
{
    *p = (struct posted){.settings = cJSON_GetObjectItemCaseSensitive(body, "settings"),
                         .specification = cJSON_GetObjectItemCaseSensitive(body, "specification")};
    if (!body_text(q, body, "script", &p->script) || !body_text(q, body, "source", &p->source) ||
        !body_text(q, body, "policy", &p->policy) ||
        !body_text(q, body, "author", &p->author))
        return false;
    if (!!p->script + !!p->specification + !!p->source != 1 || (p->specification && !cJSON_IsObject(p->specification))) {
        reply_problem(q->call, 400, "name a \"script\" of the server, or give a \"specification\", an object: one of them");
        return false;
    }
    if (p->source && !q->daemon->options->allow_scripts) {
        reply_problem(q->call, 403, "this server runs no scripts that clients send: it was started without "
                      "--allow-scripts");
        return false;
    }
    return read_settings(q, p);
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): tells slips apart, and keeps nothing secret. */
static char *digest(struct str text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    return mem_printf("%016llx", (unsigned long long)hash);
}

void api_submit(struct request *q)
{
    static const char *const keys[] = {"script", "source", "settings", "specification", "policy", "author", NULL};
    const char *key = http_call_header(q->call, "Idempotency-Key");
    if (!accepts(q))
        return;
    if (key && (!*key || strlen(key) > KEY_MAX_BYTES)) {
        reply_problem(q->call, 400, "the Idempotency-Key has %zu bytes: use 1 to %d", strlen(key), KEY_MAX_BYTES);
        return;
    }
    cJSON *body = request_body(q, keys);
    if (!body)
        return;
    struct posted p;
    char *key_of = digest(http_call_body(q->call));
    struct job_file *file = read_posted(q, body, &p) ? load_posted(q, &p) : NULL;
    if (file)
        run_submit(q->daemon, file, &(struct submission){author_of(p.author), key, key_of}, q->call);
    posted_done(&p);
    free(key_of);
    cJSON_Delete(body);
}

/* ---- looking ---- */

struct listing {
    struct query *query;
    struct reader *reader;
    int64_t count, last_row;
    bool ok;
};

static const char *live_json(const struct query *q, const char *id)
{
    for (size_t i = 0; i < q->live_count; i++)
        if (strcmp(q->live[i].id, id) == 0)
            return q->live[i].json;
    return NULL;
}

static void add_json(struct buf *out, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    buf_adds(out, text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static bool list_job(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct listing *l = ctx;
    struct query *q = l->query;
    (void)columns, (void)names;
    if (l->count == q->limit)
        return false;
    struct job_summary job;
    char *id = mem_strndup(v[0].text.ptr, v[0].text.len);
    const char *live = live_json(q, id);
    l->ok = live || reader_job(l->reader, id, &job, &q->err);
    if (l->count++)
        buf_addc(&q->body, ',');
    if (live)
        buf_adds(&q->body, live);
    else if (l->ok)
        add_json(&q->body, job_json(&job));
    l->last_row = v[1].integer;
    free(id);
    return l->ok;
}

static bool take_number(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns, (void)names;
    *(int64_t *)ctx = v[0].integer;
    return false;
}

static void read_jobs(struct query *q, struct reader *reader)
{
    struct listing l = {.query = q, .reader = reader, .ok = true};
    int64_t total = 0, more = 0;
    char from[32], last[32];
    const char *bind[] = {from};
    snprintf(from, sizeof from, "%lld", (long long)q->from);
    buf_adds(&q->body, "{\"jobs\":[");
    bool ok = reader_sql(reader, "SELECT id, row FROM jobs WHERE row < CAST(?1 AS INTEGER) ORDER BY row DESC", bind, 1,
                         0, list_job, &l, &q->err) && l.ok;
    snprintf(last, sizeof last, "%lld", (long long)l.last_row);
    bind[0] = last;
    ok = ok && reader_sql(reader, "SELECT count(*) FROM jobs", NULL, 0, 0, take_number, &total, &q->err) &&
         (!l.count || reader_sql(reader, "SELECT EXISTS (SELECT 1 FROM jobs WHERE row < CAST(?1 AS INTEGER))", bind, 1, 0,
                                 take_number, &more, &q->err));
    if (!ok) {
        query_failed(q, &q->err);
        return;
    }
    buf_addf(&q->body, "],\"total\":%lld,\"cursor\":", (long long)total);
    buf_addf(&q->body, more ? "\"%s\"}" : "null}", last);
}

void api_jobs(struct request *rq)
{
    int64_t limit = 50, from = INT64_MAX;
    if (!query_integer(rq, "limit", 1, LIST_MAX, &limit) || !query_integer(rq, "cursor", 1, INT64_MAX, &from))
        return;
    struct query *q = query_new(rq, read_jobs);
    q->limit = limit;
    q->from = from;
    LIST_EACH (it, &rq->daemon->runs) {
        const struct run *r = container_of(it, struct run, link);
        if (r->over || !r->job || !session_job_id(r->job))
            continue;
        cJSON *json = run_json(r);
        q->live = mem_array(q->live, q->live_count + 1, sizeof *q->live);
        q->live[q->live_count++] =
            (struct live_job){mem_strdup(session_job_id(r->job)), cJSON_PrintUnformatted(json)};
        cJSON_Delete(json);
    }
    query_start(q);
}

static void read_job(struct query *q, struct reader *reader)
{
    struct summary *s = summary_load(reader, q->job_id, &q->err);
    if (s)
        add_json(&q->body, summary_json(s));
    else
        query_failed(q, &q->err);
    summary_free(s);
}

void api_job(struct request *rq)
{
    const struct run *r = run_find(rq->daemon, rq->params[0]);
    if (r && r->job && session_job_id(r->job)) {
        reply_json(rq->call, 200, run_json(r));
        return;
    }
    struct query *q = query_new(rq, read_job);
    q->job_id = arena_strdup(&q->texts, rq->params[0]);
    query_start(q);
}

/* ---- verbs ---- */

static void reply_changed(struct http_call *c, const char *job_id, const char *state, bool changed)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", job_id);
    cJSON_AddStringToObject(json, "state", state);
    cJSON_AddBoolToObject(json, "changed", changed);
    reply_json(c, 200, json);
}

/* Of a job that another process runs, or nobody. */
static void cancel_stored(struct query *q, struct reader *reader)
{
    int pid;
    bool changed;
    struct job_summary job;
    if (!store_request_cancel(q->daemon->options->db, q->job_id, q->author, q->reason, &pid, &changed, &q->err) ||
        !reader_job(reader, q->job_id, &job, &q->err)) {
        query_failed(q, &q->err);
        return;
    }
    buf_adds(&q->body, "{\"job_id\":");
    text_add_json(&q->body, str_from(job.id));
    buf_addf(&q->body, ",\"state\":\"%s\",\"changed\":%s}", job_state_name(job.state), changed ? "true" : "false");
}

/* What a client names, in the terms of the plan. */
struct selection_of {
    const char *question, *region, *model;
    int64_t n;                 /* negative: any */
};

static int64_t find_question(const struct job_spec *job, const char *id)
{
    for (size_t i = 0; i < job->question_count; i++)
        if (strcmp(job->questions[i].id, id) == 0)
            return (int64_t)i;
    return -1;
}

static bool names_endpoint(const struct selection_of *s, const struct plan *plan, uint32_t position)
{
    const struct endpoint_spec *e = plan_endpoint(plan, position);
    return (!s->model || strcmp(s->model, e->model) == 0) &&
           (!s->region || region_table_region(plan->table, s->region) == (int)e->region);
}

static uint64_t cancel_selected(struct engine_job *job, const struct selection_of *s, const char *reason)
{
    struct job_view v;
    uint64_t cancelled = 0;
    engine_job_view(job, &v);
    struct execution_choice which = {.n = s->n, .question = s->question ? find_question(v.plan->job, s->question) : -1};
    if (s->question && which.question < 0)
        return 0;
    for (uint32_t i = 0; i < v.plan->endpoint_count; i++) {
        which.endpoint = i;
        if (s->n < 0 ? names_endpoint(s, v.plan, i) : plan_cell(v.plan, (uint64_t)s->n).endpoint == i)
            cancelled += engine_cancel_some(job, &which, reason);
    }
    return cancelled;
}

/* Some of a job that runs here; the rest of it goes on. */
static void cancel_some(struct request *rq, const char *job_id, const struct selection_of *s, const char *author,
                        const char *reason)
{
    struct run *r = run_find(rq->daemon, job_id);
    struct engine_job *job = r && r->job ? session_job_engine(r->job) : NULL;
    if (!job) {
        reply_problem(rq->call, 409, "job %s does not run here: only of one that runs can some be cancelled", job_id);
        return;
    }
    struct job_view v;
    uint64_t cancelled = cancel_selected(job, s, reason && *reason ? reason : "cancelled on request");
    log_event(LOG_INFO, "executions cancelled on request", LOG_S("job_id", job_id), LOG_I("executions", cancelled),
              LOG_S("author", author), LOG_S("reason", reason));
    store_revise(session_store(rq->daemon->session),
                 &(struct revise){.author = author, .reason = reason, .action = "cancel_some", .target = job_id}, NULL, NULL);
    session_turn(rq->daemon->session);
    engine_job_view(job, &v);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "job_id", job_id);
    cJSON_AddStringToObject(json, "state", job_state_name(v.state));
    cJSON_AddBoolToObject(json, "changed", cancelled > 0);
    cJSON_AddNumberToObject(json, "cancelled", (double)cancelled);
    reply_json(rq->call, 200, json);
}

void api_execution_cancel(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", NULL};
    const char *dot = strrchr(rq->params[0], '.'), *reason, *author;
    int64_t number = dot ? strtoll(dot + 1, NULL, 10) : 0;
    cJSON *body = request_body(rq, keys);
    if (body && number < 1)
        reply_problem(rq->call, 404, "\"%.80s\" is not the id of an execution: those are JOB.NUMBER", rq->params[0]);
    else if (body && body_text(rq, body, "reason", &reason) && body_text(rq, body, "author", &author)) {
        char *job_id = mem_strndup(rq->params[0], (size_t)(dot - rq->params[0]));
        cancel_some(rq, job_id, &(struct selection_of){.n = number - 1}, author_of(author), reason);
        free(job_id);
    }
    cJSON_Delete(body);
}

void api_job_cancel(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", "question_id", "region", "model_id", NULL};
    const char *reason, *author;
    struct selection_of some = {.n = -1};
    cJSON *body = request_body(rq, keys);
    if (!body)
        return;
    struct run *r = run_find(rq->daemon, rq->params[0]);
    if (!body_text(rq, body, "reason", &reason) || !body_text(rq, body, "author", &author) ||
        !body_text(rq, body, "question_id", &some.question) || !body_text(rq, body, "region", &some.region) ||
        !body_text(rq, body, "model_id", &some.model)) {
        cJSON_Delete(body);
        return;
    }
    if (some.question || some.region || some.model) {
        cancel_some(rq, rq->params[0], &some, author_of(author), reason);
        cJSON_Delete(body);
        return;
    }
    if (r && r->job && session_job_id(r->job)) {
        reply_changed(rq->call, rq->params[0], job_state_name(JOB_CANCELLED), run_cancel(r, author_of(author), reason));
    } else {
        struct query *q = query_new(rq, cancel_stored);
        q->job_id = arena_strdup(&q->texts, rq->params[0]);
        q->author = arena_strdup(&q->texts, author_of(author));
        q->reason = arena_strdup(&q->texts, reason ? reason : "");
        query_start(q);
    }
    cJSON_Delete(body);
}

static void log_control(struct request *rq, const char *action, const char *author, const char *reason)
{
    log_event(LOG_INFO, action, LOG_S("job_id", rq->params[0]), LOG_S("author", author), LOG_S("reason", reason));
    store_revise(session_store(rq->daemon->session),
                 &(struct revise){.author = author, .reason = reason, .action = action, .target = rq->params[0]}, NULL, NULL);
}

/* One that waits for its turn is paused by the line it stands in. */
void api_job_pause(struct request *rq)
{
    static const char *const keys[] = {"reason", "author", NULL};
    const char *reason = NULL, *author = NULL;
    cJSON *body = request_body(rq, keys);
    struct run *r = run_find(rq->daemon, rq->params[0]);
    if (!body || !body_text(rq, body, "reason", &reason) || !body_text(rq, body, "author", &author)) {
        cJSON_Delete(body);
        return;
    }
    if (r && r->job && session_job_engine(r->job)) {
        struct job_view v;
        bool changed = session_pause(r->job, reason && *reason ? reason : "paused on request");
        if (changed)
            log_control(rq, "pause", author_of(author), reason);
        engine_job_view(session_job_engine(r->job), &v);
        events_touch(rq->daemon->events, r);
        reply_changed(rq->call, rq->params[0], job_state_name(v.state), changed);
    } else {
        reply_problem(rq->call, 409, "job %s does not run here: only one that runs can be paused", rq->params[0]);
    }
    cJSON_Delete(body);
}

/* With one that runs here: it may be paused. */
static void go_on(struct request *rq, const char *job_id, const char *author)
{
    struct run *r = run_find(rq->daemon, job_id);
    bool changed = r->job && session_unpause(r->job);
    if (changed) {
        log_control(rq, "unpause", author, NULL);
        events_touch(rq->daemon->events, r);
    }
    reply_changed(rq->call, job_id, job_state_name(JOB_RUNNING), changed);
}

/* Goes on with a job, or asks again what failed of it. */
static void take(struct request *rq, const char *job_id, const struct execution_filter *failed, const cJSON *body)
{
    const char *author;
    if (!body_text(rq, body, "author", &author) || !accepts(rq))
        return;
    if (!run_find(rq->daemon, job_id))
        run_take(rq->daemon, job_id, failed, author_of(author), rq->call);
    else if (failed)
        reply_problem(rq->call, 409, "job %s runs: what failed can be asked again when it has ended", job_id);
    else
        go_on(rq, job_id, author_of(author));
}

void api_job_resume(struct request *rq)
{
    static const char *const keys[] = {"author", NULL};
    cJSON *body = request_body(rq, keys);
    if (body)
        take(rq, rq->params[0], NULL, body);
    cJSON_Delete(body);
}

void api_job_retry(struct request *rq)
{
    static const char *const keys[] = {"question_id", "region", "model_id", "author", NULL};
    struct execution_filter failed = {0};
    cJSON *body = request_body(rq, keys);
    if (body && body_text(rq, body, "question_id", &failed.question_id) &&
        body_text(rq, body, "region", &failed.region) && body_text(rq, body, "model_id", &failed.model_id))
        take(rq, rq->params[0], &failed, body);
    cJSON_Delete(body);
}

void api_execution_retry(struct request *rq)
{
    static const char *const keys[] = {"author", NULL};
    struct execution_filter failed = {.execution_id = rq->params[0]};
    const char *dot = strrchr(rq->params[0], '.');
    cJSON *body = request_body(rq, keys);
    if (body && !dot)
        reply_problem(rq->call, 404, "\"%.80s\" is not the id of an execution: those are JOB.NUMBER", rq->params[0]);
    else if (body) {
        char *job_id = mem_strndup(rq->params[0], (size_t)(dot - rq->params[0]));
        take(rq, job_id, &failed, body);
        free(job_id);
    }
    cJSON_Delete(body);
}
