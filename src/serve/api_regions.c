/* The region table over HTTP: what is in force, what it would mean to change it, and changes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "host/files.h"
#include "host/overrides.h"
#include "host/row.h"
#include "script/table_file.h"
#include "serve/internal.h"

enum { PAGE_MAX = 500, EFFECT_BYTES = 64 << 10 };

/* ---- looking ---- */

static cJSON *text_or_null(const char *text)
{
    return text ? cJSON_CreateString(text) : cJSON_CreateNull();
}

static cJSON *lines_json(const char *const *lines, size_t count)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(lines[i]));
    return list;
}

static void add_regions(cJSON *json, const struct region_table *t)
{
    cJSON *list = cJSON_AddArrayToObject(json, "regions");
    for (size_t i = 0; i < t->region_count; i++) {
        const struct region_spec *r = &t->regions[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "id", r->id);
        cJSON_AddItemToObject(one, "aliases", lines_json(r->aliases, r->alias_count));
        cJSON_AddItemToObject(one, "in_flight", r->in_flight ? cJSON_CreateNumber(r->in_flight) : cJSON_CreateNull());
        cJSON_AddItemToObject(one, "paused", text_or_null(r->paused));
        cJSON_AddItemToObject(one, "health", text_or_null(r->health));
        cJSON_AddItemToArray(list, one);
    }
}

static void add_endpoints(cJSON *json, const struct region_table *t, const struct engine *engine)
{
    cJSON *list = cJSON_AddArrayToObject(json, "endpoints");
    for (size_t i = 0; i < t->endpoint_count; i++) {
        const struct endpoint_spec *e = &t->endpoints[i];
        struct endpoint_view live;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "endpoint", e->id);
        cJSON_AddStringToObject(one, "region", t->regions[e->region].id);
        cJSON_AddStringToObject(one, "model", e->model);
        cJSON_AddStringToObject(one, "url", e->url);
        cJSON_AddStringToObject(one, "adapter", e->adapter);
        cJSON_AddNumberToObject(one, "slots", e->slots);
        json_add_real(one, "rate", e->rate_per_minute > 0 ? e->rate_per_minute : (double)NAN);
        cJSON_AddItemToObject(one, "paused", text_or_null(e->paused));
        engine_endpoint_view(engine, (unsigned)i, &live);
        cJSON_AddItemToObject(one, "live", endpoint_live_json(&live));
        cJSON_AddItemToArray(list, one);
    }
}

static void add_settings(cJSON *json, const struct region_table *t)
{
    cJSON *list = cJSON_AddArrayToObject(json, "settings");
    for (size_t i = 0; i < t->setting_count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "setting", t->settings[i].path);
        cJSON_AddStringToObject(one, "value", t->settings[i].value);
        cJSON_AddStringToObject(one, "set_by", t->settings[i].set_by);
        cJSON_AddItemToArray(list, one);
    }
}

static const struct source_file *overrides_in(const struct region_table *t)
{
    for (size_t i = 0; i < t->file_count; i++)
        if (strcmp(t->files[i].name, TABLE_OVERRIDES_KEPT) == 0)
            return &t->files[i];
    return NULL;
}

void api_regions(struct request *q)
{
    const struct daemon *d = q->daemon;
    const struct region_table *t = session_table(d->session);
    const struct source_file *overrides = overrides_in(t);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "revision", (double)t->revision);
    cJSON_AddStringToObject(json, "path", t->path);
    cJSON_AddStringToObject(json, "hash", t->hash);
    cJSON_AddItemToObject(json, "error", text_or_null(live_table_error(d->live)));
    cJSON_AddItemToObject(json, "warnings", lines_json(t->warnings, t->warning_count));
    add_regions(json, t);
    add_endpoints(json, t, session_engine(d->session));
    cJSON_AddItemToObject(json, "overrides",
                          overrides ? cJSON_ParseWithLength(overrides->text.ptr, overrides->text.len)
                                    : cJSON_CreateObject());
    if (query_flag(q, "settings")) /* thirty for each endpoint */
        add_settings(json, t);
    cJSON_AddStringToObject(json, "source", t->source);
    reply_json(q->call, 200, json);
}

void regions_changed(void *ctx)
{
    struct daemon *d = ctx;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "revision", (double)session_table(d->session)->revision);
    cJSON_AddItemToObject(json, "error", text_or_null(live_table_error(d->live)));
    events_publish(d->events, NULL, "regions", json);
}

/* ---- revisions ---- */

struct page {
    struct query *query;
    int64_t count, last;
    bool more;
};

static bool add_revision(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct page *p = ctx;
    if (p->count == p->query->limit) {
        p->more = true;
        return false;
    }
    if (p->count++)
        buf_addc(&p->query->body, ',');
    row_add_json(&p->query->body, columns, names, v);
    p->last = v[0].integer;
    return true;
}

static bool take_number(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns, (void)names;
    *(int64_t *)ctx = v[0].integer;
    return false;
}

static void read_revisions(struct query *q, struct reader *reader)
{
    struct page p = {.query = q};
    char from[32];
    const char *bind[] = {from};
    int64_t total = 0;
    snprintf(from, sizeof from, "%lld", (long long)q->from);
    buf_adds(&q->body, "{\"revisions\":[");
    if (!reader_sql(reader, "SELECT revision, hash, author, reason, created_at FROM region_revisions WHERE revision <"
                            " CAST(?1 AS INTEGER) ORDER BY revision DESC", bind, 1, 0, add_revision, &p, &q->err) ||
        !reader_sql(reader, "SELECT count(*) FROM region_revisions", NULL, 0, 0, take_number, &total, &q->err)) {
        query_failed(q, &q->err);
        return;
    }
    buf_addf(&q->body, "],\"total\":%lld,\"cursor\":", (long long)total);
    buf_addf(&q->body, p.more ? "\"%lld\"}" : "null}", (long long)p.last);
}

void api_revisions(struct request *rq)
{
    int64_t limit = 50, from = INT64_MAX;
    if (!query_integer(rq, "limit", 1, PAGE_MAX, &limit) || !query_integer(rq, "cursor", 1, INT64_MAX, &from))
        return;
    struct query *q = query_new(rq, read_revisions);
    q->limit = limit;
    q->from = from;
    query_start(q);
}

#define OVERRIDES \
    "(SELECT text FROM region_files AS f WHERE f.revision = r.revision AND f.name = '" TABLE_OVERRIDES_KEPT "')"

static bool add_one(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct query *q = ctx;
    row_add_json(&q->body, columns, names, v);
    return false;
}

static void read_revision(struct query *q, struct reader *reader)
{
    char number[32];
    const char *bind[] = {number};
    snprintf(number, sizeof number, "%lld", (long long)q->from);
    bool ok = reader_sql(reader, "SELECT r.*, " OVERRIDES " AS overrides FROM region_revisions AS r"
                                 " WHERE r.revision = CAST(?1 AS INTEGER)", bind, 1, 0, add_one, q, &q->err);
    if (ok && !q->body.len)
        ok = err_set(&q->err, ERR_USAGE, "there is no revision %s of the region table", number);
    if (!ok)
        query_failed(q, &q->err);
}

static bool revision_param(struct request *rq, const char *text, int64_t *out)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    *out = n;
    if (!*end && n > 0)
        return true;
    reply_problem(rq->call, 404, "\"%.40s\" is not the number of a revision", text);
    return false;
}

void api_revision(struct request *rq)
{
    int64_t revision;
    if (!revision_param(rq, rq->params[0], &revision))
        return;
    struct query *q = query_new(rq, read_revision);
    q->from = revision;
    query_start(q);
}

/* ---- changes ---- */

/* A call that waits for its change. */
struct pending {
    struct parked parked;
    struct http_call *call;
};

static void abandoned(struct parked *p)
{
    container_of(p, struct pending, parked)->call = NULL;
}

static cJSON *diff_json(struct str diff)
{
    cJSON *list = cJSON_CreateArray();
    while (diff.len) {
        const char *end = memchr(diff.ptr, '\n', diff.len);
        size_t len = end ? (size_t)(end - diff.ptr) : diff.len;
        char *line = mem_strndup(diff.ptr, len);
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        free(line);
        len += end != NULL;
        diff = (struct str){diff.ptr + len, diff.len - len};
    }
    return list;
}

static cJSON *effect_json(const struct table_effect *e, struct buf *text)
{
    struct buf one;
    cJSON *json = cJSON_CreateObject();
    const char *id = session_job_id(e->job);
    buf_init(&one, EFFECT_BYTES);
    cJSON_AddStringToObject(json, "job_id", id);
    cJSON_AddNumberToObject(json, "moved", (double)e->effect.moved);
    cJSON_AddNumberToObject(json, "waiting", (double)e->effect.waiting);
    cJSON_AddNumberToObject(json, "skipped", (double)e->effect.skipped);
    cJSON_AddNumberToObject(json, "released", (double)e->effect.released);
    cJSON_AddNumberToObject(json, "finishing", e->effect.finishing);
    cJSON_AddNumberToObject(json, "revision", (double)e->effect.revision);
    table_effect_text(&e->effect, &one);
    buf_addf(text, "%s%s: %s", text->len ? "; " : "", id, buf_str(&one).ptr);
    buf_done(&one);
    return json;
}

static cJSON *change_json(const struct table_change *c)
{
    struct buf text;
    buf_init(&text, EFFECT_BYTES);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "revision", (double)c->revision);
    cJSON_AddBoolToObject(json, "changed", c->changed);
    cJSON_AddItemToObject(json, "diff", diff_json(c->diff));
    cJSON *effects = cJSON_AddArrayToObject(json, "blast_radius");
    for (size_t i = 0; i < c->effect_count; i++)
        cJSON_AddItemToArray(effects, effect_json(&c->effects[i], &text));
    cJSON_AddStringToObject(json, "text", text.len ? text.ptr : "no job that runs is concerned");
    buf_done(&text);
    return json;
}

static void changed(void *ctx, const struct table_change *c)
{
    struct pending *p = ctx;
    if (p->call && c->error)
        reply_problem(p->call, c->error->code == ERR_STORE || c->error->code == ERR_SYSTEM ? 503 :
                               c->error->code == ERR_USAGE ? 409 : 422, "%s", c->error->text);
    else if (p->call)
        reply_json(p->call, 200, change_json(c));
    free(p);
}

static void change_table(struct daemon *d, struct http_call *call, const struct table_wish *wish)
{
    struct pending *p = mem_zalloc(sizeof *p);
    p->parked.abandoned = abandoned;
    p->call = call;
    if (call)
        http_call_set_user(call, &p->parked);
    live_table_change(d->live, wish, changed, p);
}

void api_regions_put(struct request *rq)
{
    static const char *const keys[] = {"source", "reason", "author", NULL};
    struct table_wish wish = {.dry_run = query_flag(rq, "dry_run")};
    cJSON *body = request_body(rq, keys);
    if (body && body_text(rq, body, "source", &wish.source) && body_text(rq, body, "reason", &wish.reason) &&
        body_text(rq, body, "author", &wish.author)) {
        wish.author = author_of(wish.author);
        if (wish.source)
            change_table(rq->daemon, rq->call, &wish);
        else
            reply_problem(rq->call, 400, "no \"source\": give the whole text of the table");
    }
    cJSON_Delete(body);
}

static bool take_revision(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct query *q = ctx;
    (void)columns, (void)names;
    q->source = arena_strndup(&q->texts, v[0].text.ptr, v[0].text.len);
    q->hash = arena_strndup(&q->texts, v[1].text.ptr, v[1].text.len);
    q->overrides = v[2].type == VALUE_TEXT ? arena_strndup(&q->texts, v[2].text.ptr, v[2].text.len) : "";
    return false;
}

static void read_for_rollback(struct query *q, struct reader *reader)
{
    char number[32];
    const char *bind[] = {number};
    snprintf(number, sizeof number, "%lld", (long long)q->from);
    bool ok = reader_sql(reader, "SELECT r.source, r.hash, " OVERRIDES " FROM region_revisions AS r"
                                 " WHERE r.revision = CAST(?1 AS INTEGER)", bind, 1, 0, take_revision, q, &q->err);
    if (ok && !q->source)
        ok = err_set(&q->err, ERR_USAGE, "there is no revision %s of the region table", number);
    if (!ok)
        query_failed(q, &q->err);
}

static void roll_back(struct query *q)
{
    change_table(q->daemon, q->call,
                 &(struct table_wish){.source = q->source, .overrides = q->overrides, .hash = q->hash,
                                      .author = q->author, .reason = q->reason});
}

void api_rollback(struct request *rq)
{
    static const char *const keys[] = {"revision", "reason", "author", NULL};
    const char *reason, *author;
    cJSON *body = request_body(rq, keys);
    if (!body || !body_text(rq, body, "reason", &reason) || !body_text(rq, body, "author", &author)) {
        cJSON_Delete(body);
        return;
    }
    const cJSON *revision = cJSON_GetObjectItemCaseSensitive(body, "revision");
    if (cJSON_IsNumber(revision) && revision->valuedouble >= 1 && revision->valuedouble < 1e15) {
        struct query *q = query_new(rq, read_for_rollback);
        q->from = (int64_t)revision->valuedouble;
        q->author = arena_strdup(&q->texts, author_of(author));
        q->reason = reason && *reason ? arena_strdup(&q->texts, reason)
                                      : arena_printf(&q->texts, "back to revision %lld", (long long)q->from);
        q->finish = roll_back;
        query_start(q);
    } else {
        reply_problem(rq->call, 400, "\"revision\" is not the number of a revision");
    }
    cJSON_Delete(body);
}

/* ---- overrides ---- */

/* The document as it stands in its file; NULL: it was answered. */
static cJSON *read_overrides(struct request *rq)
{
    struct err err;
    char *path = live_table_overrides_path(rq->daemon->live), *text = file_text(path, &err);
    cJSON *doc = text ? overrides_parse(text, path, &err) : NULL;
    if (!doc)
        reply_problem(rq->call, 503, "%s", err.text);
    free(text);
    free(path);
    return doc;
}

/* Takes doc. */
static void change_overrides(struct request *rq, cJSON *doc, const char *author, const char *reason)
{
    overrides_sign(doc, author, reason);
    char *text = overrides_text(doc);
    cJSON_Delete(doc);
    change_table(rq->daemon, rq->call, &(struct table_wish){.overrides = text, .author = author, .reason = reason});
    free(text);
}

static void reply_unchanged(struct request *rq)
{
    struct table_change nothing = {.revision = session_table(rq->daemon->session)->revision};
    reply_json(rq->call, 200, change_json(&nothing));
}

/* By id or alias. NULL: it was answered. */
static const struct region_spec *find_region(struct request *rq)
{
    const struct region_table *t = session_table(rq->daemon->session);
    int region = region_table_region(t, rq->params[0]);
    if (region != NO_INDEX)
        return &t->regions[region];
    reply_problem(rq->call, 404, "the region table has no region \"%.80s\"", rq->params[0]);
    return NULL;
}

static const struct endpoint_spec *find_endpoint(struct request *rq)
{
    const struct region_table *t = session_table(rq->daemon->session);
    const struct region_spec *region = find_region(rq);
    const struct endpoint_spec *e = region ? region_table_endpoint(t, (int)(region - t->regions), rq->params[1]) : NULL;
    if (region && !e)
        reply_problem(rq->call, 404, "the region table has no endpoint \"%.80s/%.160s\"", region->id, rq->params[1]);
    return e;
}

/* kind NULL: there is no such thing, and it was answered. */
static void pause_or_resume(struct request *rq, const char *kind, const char *name, bool is_paused, bool pause)
{
    static const char *const keys[] = {"reason", "author", NULL};
    const char *reason, *author;
    cJSON *body = kind ? request_body(rq, keys) : NULL;
    if (body && body_text(rq, body, "reason", &reason) && body_text(rq, body, "author", &author)) {
        cJSON *doc = is_paused == pause ? NULL : read_overrides(rq);
        author = author_of(author);
        if (doc && pause)
            overrides_pause(doc, kind, name, author, reason);
        else if (doc)
            overrides_resume(doc, kind, name);
        if (doc)
            change_overrides(rq, doc, author, reason);
        else if (is_paused == pause)
            reply_unchanged(rq);
    }
    cJSON_Delete(body);
}

static void endpoint_verb(struct request *rq, bool pause)
{
    const struct endpoint_spec *e = find_endpoint(rq);
    pause_or_resume(rq, e ? "endpoints" : NULL, e ? e->id : NULL, e && e->paused, pause);
}

static void region_verb(struct request *rq, bool pause)
{
    const struct region_spec *r = find_region(rq);
    pause_or_resume(rq, r ? "regions" : NULL, r ? r->id : NULL, r && r->paused, pause);
}

void api_endpoint_pause(struct request *rq)
{
    endpoint_verb(rq, true);
}

void api_endpoint_resume(struct request *rq)
{
    endpoint_verb(rq, false);
}

void api_region_pause(struct request *rq)
{
    region_verb(rq, true);
}

void api_region_resume(struct request *rq)
{
    region_verb(rq, false);
}

/* Limits: null takes an override away. Whether a value is right is the table's own check to say. */
void api_endpoint_patch(struct request *rq)
{
    static const char *const keys[] = {"slots", "rate", "deadline", "connect", "hop", "poll", "scaledown", "adaptive",
                                       "reason", "author", NULL};
    const struct endpoint_spec *e = find_endpoint(rq);
    const char *reason, *author;
    cJSON *body = e ? request_body(rq, keys) : NULL;
    if (body && body_text(rq, body, "reason", &reason) && body_text(rq, body, "author", &author)) {
        cJSON *doc = read_overrides(rq);
        for (size_t i = 0; doc && strcmp(keys[i], "reason") != 0; i++) {
            const cJSON *value = cJSON_GetObjectItemCaseSensitive(body, keys[i]);
            if (value)
                overrides_set(doc, "endpoints", e->id, keys[i],
                              cJSON_IsNull(value) ? NULL : cJSON_Duplicate(value, true));
        }
        if (doc)
            change_overrides(rq, doc, author_of(author), reason);
    }
    cJSON_Delete(body);
}
