#include "store/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "store/apply.h"
#include "store/lookup.h"
#include "store/schema.h"
#include "store/sqlite.h"

enum { LOOK_EVERY_MS = 500 };

struct watch {
    struct watch *next;
    char *job_id;
    void (*request)(void *ctx, const char *action, const char *author, const char *reason);
    void *ctx;
    int64_t seen;              /* the watcher's: the last entry it has looked at */
    bool ended;                /* under the lock */
};

struct control_request {
    struct control_request *next;
    struct watch *watch;
    char *action, *author, *reason;
};

/* ---- asking, from any process ---- */

static bool log_request(struct db *db, const struct job_found *job, const char *author, const char *reason,
                        bool at_once, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO control_log(at, author, action, target, before, after, reason)"
                                     " VALUES (?1, ?2, 'cancel', ?3, ?4, ?5, ?6)", err);
    if (!st)
        return false;
    char before[64];
    snprintf(before, sizeof before, "{\"state\":\"%s\"}", job_state_name(job->state));
    stmt_real(st, 1, unix_now_s());
    stmt_text(st, 2, author);
    stmt_text(st, 3, job->id);
    stmt_text(st, 4, at_once ? before : NULL);
    stmt_text(st, 5, at_once ? "{\"state\":\"cancelled\"}" : NULL);
    stmt_text(st, 6, reason);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

/* What the owner would have done, had it lived. Attempts stay as they are: a result URL among them can be collected. */
static bool close_job(struct db *db, const struct job_found *job, const char *author, const char *reason,
                      struct err *err)
{
    struct applier *a = applier_new(db, err);
    if (!a)
        return false;
    double now = unix_now_s();
    char *error = mem_printf("cancelled by %s%s%s", author && *author ? author : "nobody named",
                             reason && *reason ? ": " : "", reason ? reason : "");
    struct record rows = {
        .kind = RECORD_CLOSED,
        .closed = {.first_row = job->first_row, .count = (uint64_t)job->planned, .status = STATUS_CANCELLED,
                   .error = error, .ended_at = now},
    };
    struct record end = {
        .kind = RECORD_JOB,
        .job = {.job_id = job->id, .state = JOB_CANCELLED, .started_at = (double)NAN, .ended_at = now},
    };
    bool ok = apply_record(a, &rows, err) && apply_record(a, &end, err);
    free(error);
    applier_free(a);
    return ok;
}

static bool request_locked(struct db *db, const char *job_id, const char *author, const char *reason, int *alive_pid,
                           bool *changed, struct err *err)
{
    struct job_found job;
    if (!job_find(db, job_id, &job, err))
        return false;
    bool open = !job_state_is_final(job.state);
    bool alive = open && owner_alive(&job.owner);
    if (open && !log_request(db, &job, author, reason, !alive, err))
        return false;
    if (open && !alive && !close_job(db, &job, author, reason, err))
        return false;
    *alive_pid = alive ? (int)job.owner.pid : 0;
    *changed = open;
    return true;
}

bool store_request_cancel(const char *path, const char *job_id, const char *author, const char *reason, int *alive_pid,
                          bool *changed, struct err *err)
{
    struct db *db = db_open(path, DB_EXISTING, DB_BUSY_MS, err);
    if (!db)
        return false;
    int pid = 0;
    bool differs = false;
    bool ok = schema_check(db, err) && schema_prepare(db, err) && db_begin(db, err);
    if (ok && !request_locked(db, job_id, author, reason, &pid, &differs, err)) {
        db_rollback(db);
        ok = false;
    }
    ok = ok && db_commit(db, err);
    if (ok) {
        *alive_pid = pid;
        *changed = differs;
    }
    db_close(db);
    return ok;
}

/* ---- hearing, in the owner ---- */

static void request_free(struct control_request *r)
{
    free(r->action);
    free(r->author);
    free(r->reason);
    free(r);
}

static bool find_new(struct db *db, struct watch *w, struct control_request **found)
{
    struct stmt *st = db_prepare(db,
        "SELECT id, action, coalesce(author, ''), coalesce(reason, '') FROM control_log WHERE target = ?1 AND"
        " id > max(?2, (SELECT control_from FROM jobs WHERE jobs.id = ?1)) ORDER BY control_log.id", NULL);
    if (!st)
        return false;
    bool row = false, ok;
    stmt_text(st, 1, w->job_id);
    stmt_int(st, 2, w->seen);
    while ((ok = stmt_next(st, &row, NULL)) && row) {
        struct control_request *r = mem_zalloc(sizeof *r);
        w->seen = stmt_get_int(st, 0);
        r->watch = w;
        r->action = mem_strdup(stmt_get_text(st, 1));
        r->author = mem_strdup(stmt_get_text(st, 2));
        r->reason = mem_strdup(stmt_get_text(st, 3));
        *found = r;
        found = &r->next;
    }
    stmt_free(st);
    return ok;
}

/* Under the lock. Watches of ended jobs go, with what was still to be said to them. */
static void drop_ended(struct store *s)
{
    struct control_request **r = &s->requests;
    while (*r) {
        struct control_request *this = *r;
        if (!this->watch->ended) {
            r = &this->next;
            continue;
        }
        *r = this->next;
        request_free(this);
    }
    s->requests_last = r;
    for (struct watch **w = &s->watches; *w;) {
        struct watch *this = *w;
        if (!this->ended) {
            w = &this->next;
            continue;
        }
        *w = this->next;
        free(this->job_id);
        free(this);
    }
}

/* Under the lock, which it gives back while it reads: only this thread takes a watch out of the list, and
 * new ones come in at its front. */
static void look_once(struct store *s, struct db **db)
{
    drop_ended(s);
    struct watch *first = s->watches;
    pthread_mutex_unlock(&s->lock);
    struct control_request *found = NULL, **last = &found;
    if (first && !*db)
        *db = db_open(s->path, DB_READ, LOOK_EVERY_MS, NULL);
    bool ok = true;
    for (struct watch *w = first; w && *db && ok; w = w->next) {
        ok = find_new(*db, w, last);
        while (*last)
            last = &(*last)->next;
    }
    if (!ok) { /* whatever it was, the next look starts afresh; `seen` knows what was found */
        db_close(*db);
        *db = NULL;
    }
    pthread_mutex_lock(&s->lock);
    if (!found)
        return;
    *s->requests_last = found;
    s->requests_last = last;
    if (store_needs_wake(s)) {
        pthread_mutex_unlock(&s->lock);
        s->options.wake(s->options.ctx);
        pthread_mutex_lock(&s->lock);
    }
}

static void *watcher_run(void *ctx)
{
    struct store *s = ctx;
    struct db *db = NULL;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        look_once(s, &db);
        if (!s->stopping)
            store_wait(s, &s->look, LOOK_EVERY_MS * MS_US);
    }
    pthread_mutex_unlock(&s->lock);
    db_close(db);
    return NULL;
}

void store_watch_control(struct store *s, const char *job_id,
                         void (*request)(void *ctx, const char *action, const char *author, const char *reason),
                         void *ctx)
{
    struct watch *w = mem_zalloc(sizeof *w);
    w->job_id = mem_strdup(job_id);
    w->request = request;
    w->ctx = ctx;
    pthread_mutex_lock(&s->lock);
    w->next = s->watches;
    s->watches = w;
    pthread_mutex_unlock(&s->lock);
    if (!s->watcher_runs)
        store_thread(&s->watcher, watcher_run, s);
    s->watcher_runs = true;
}

/* One at a time: what a request starts may end the job that the next one is for. */
void control_poll(struct store *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct control_request *r = s->requests;
        bool wanted = r && !r->watch->ended;
        void (*request)(void *, const char *, const char *, const char *) = wanted ? r->watch->request : NULL;
        void *ctx = wanted ? r->watch->ctx : NULL;
        if (r) {
            s->requests = r->next;
            if (!s->requests)
                s->requests_last = &s->requests;
        }
        pthread_mutex_unlock(&s->lock);
        if (!r)
            return;
        if (wanted)
            request(ctx, r->action, r->author, r->reason);
        request_free(r);
    }
}

void control_job_ended(struct store *s, const char *job_id)
{
    pthread_mutex_lock(&s->lock);
    for (struct watch *w = s->watches; w; w = w->next)
        if (strcmp(w->job_id, job_id) == 0)
            w->ended = true;
    pthread_mutex_unlock(&s->lock);
}

void control_stop(struct store *s)
{
    if (s->watcher_runs)
        pthread_join(s->watcher, NULL);
    for (struct watch *w = s->watches; w; w = w->next)
        w->ended = true;
    drop_ended(s);
}
