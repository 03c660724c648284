#include "host/live_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "core/table_diff.h"
#include "host/files.h"
#include "host/overrides.h"
#include "net/loop.h"
#include "script/table_file.h"
#include "store/store.h"

enum { DIFF_BYTES = 4 << 20 };
#define LOOK_EVERY_US SECOND_US

struct change {
    struct list link;
    struct live_table *live;
    char *source, *overrides, *hash, *author, *reason;
    bool dry_run, from_file;
    void (*done)(void *ctx, const struct table_change *change);
    void *ctx;
    struct region_table *table;         /* loaded, and on its way to be recorded */
    struct buf diff;
    struct table_effect *effects;
    size_t effect_count;
};

struct live_table {
    struct session *session;
    struct loop *loop;
    struct live_table_options options;
    char *path, *overrides_path;
    char *error;
    struct list waiting;                /* of struct change */
    struct change *recording;           /* NULL: none, or the first table of all */
    bool busy;                          /* something is being recorded */
    struct loop_task next;
    struct loop_timer *look;
    uint64_t seen;                      /* a digest of how the files stood when they were last loaded */
};

/* ---- the files ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

static uint64_t mix_file(uint64_t hash, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return mix(hash, 1);
    hash = mix(mix(hash, (uint64_t)st.st_ino), (uint64_t)st.st_size);
    hash = mix(mix(hash, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
    return mix(mix(hash, (uint64_t)st.st_ctim.tv_sec), (uint64_t)st.st_ctim.tv_nsec);
}

/* The table, its overrides, and what the one in force required. */
static uint64_t look_at_files(const struct live_table *t)
{
    const struct region_table *table = session_table(t->session);
    const char *slash = strrchr(t->path, '/');
    int folder = slash ? (int)(slash - t->path) + 1 : 0;
    uint64_t hash = mix_file(mix_file(7, t->path), t->overrides_path);
    for (size_t i = 0; i < table->file_count; i++) {
        char *path = mem_printf("%.*s%s", folder, t->path, table->files[i].name);
        hash = mix_file(hash, path);
        free(path);
    }
    return hash;
}

static void look(void *ctx)
{
    struct live_table *t = ctx;
    loop_timer_at(t->look, loop_now_us(t->loop) + LOOK_EVERY_US);
    if (!t->busy && list_empty(&t->waiting) && look_at_files(t) != t->seen)
        live_table_change(t, &(struct table_wish){.author = NULL}, NULL, NULL);
}

static void set_error(struct live_table *t, const char *text)
{
    bool same = t->error && text ? strcmp(t->error, text) == 0 : t->error == text;
    if (same)
        return;
    if (text)
        log_event(LOG_ERROR, "the region table's file is wrong: the table of before stays in force",
                  LOG_S("file", t->path), LOG_S("error", text));
    else
        log_event(LOG_INFO, "the region table's file is right again", LOG_S("file", t->path));
    free(t->error);
    t->error = mem_strdup(text);
    t->options.changed(t->options.ctx);
}

/* ---- one change ---- */

static void change_free(struct change *c)
{
    region_table_unref(c->table);
    buf_done(&c->diff);
    free(c->effects);
    free(c->source);
    free(c->overrides);
    free(c->hash);
    free(c->author);
    free(c->reason);
    free(c);
}

static void answer(struct change *c, bool changed, const struct err *error)
{
    struct table_change told = {
        .error = error, .changed = changed, .revision = session_table(c->live->session)->revision,
        .diff = buf_str(&c->diff), .effects = c->effects, .effect_count = c->effect_count};
    if (c->done)
        c->done(c->ctx, &told);
    change_free(c);
}

static bool differs(const char *path, const char *text)
{
    struct err err;
    char *now = file_text(path, &err);
    bool same = now && strcmp(now, text) == 0;
    free(now);
    return !same;
}

static bool write_files(const struct change *c, struct err *err)
{
    const struct live_table *t = c->live;
    return (!c->source || !differs(t->path, c->source) || file_replace(t->path, c->source, err)) &&
           (!c->overrides || !differs(t->overrides_path, c->overrides) ||
            file_replace(t->overrides_path, c->overrides, err));
}

/* Whoever wrote the overrides last says who and why. */
static void take_signature(struct change *c, const char *overrides)
{
    cJSON *doc = cJSON_Parse(overrides);
    const char *author = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, "author"));
    const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, "reason"));
    if (!c->author)
        c->author = mem_strdup(author ? author : "file");
    if (!c->reason)
        c->reason = mem_strdup(reason);
    cJSON_Delete(doc);
}

static bool overrides_are_new(const struct region_table *before, const char *overrides)
{
    for (size_t i = 0; i < before->file_count; i++)
        if (strcmp(before->files[i].name, TABLE_OVERRIDES_KEPT) == 0)
            return !str_is(before->files[i].text, overrides);
    return *overrides;
}

static bool load(struct change *c, struct err *err)
{
    struct live_table *t = c->live;
    char *source = c->source ? mem_strdup(c->source) : file_text(t->path, err);
    char *overrides = !source ? NULL : c->overrides ? mem_strdup(c->overrides) : file_text(t->overrides_path, err);
    if (overrides) {
        c->table = table_load_text(t->path, str_from(source),
                                   &(struct table_options){.limits = &t->options.limits, .overrides = overrides,
                                                           .secrets_file = t->options.secrets_file}, err);
        if (c->from_file && overrides_are_new(session_table(t->session), overrides))
            take_signature(c, overrides);
    }
    free(source);
    free(overrides);
    if (c->table && c->hash && strcmp(c->hash, c->table->hash) != 0)
        return err_set(err, ERR_USAGE, "that revision was made of other files beside the table than there are now "
                       "(%s): put those back first", t->path);
    return c->table;
}

static void add_effect(void *ctx, struct session_job *job)
{
    struct change *c = ctx;
    struct table_effect one = {.job = job};
    engine_change_effect(session_job_engine(job), c->table, &one.effect);
    const struct change_effect *e = &one.effect;
    if (!e->moved && !e->waiting && !e->skipped && !e->released && !e->finishing)
        return;
    c->effects = mem_array(c->effects, c->effect_count + 1, sizeof *c->effects);
    c->effects[c->effect_count++] = one;
}

/* ---- putting it in force ---- */

static void next_is_due(struct live_table *t)
{
    t->recording = NULL;
    t->busy = false;
    loop_post(t->loop, &t->next);
}

static void recorded(void *ctx, int64_t revision, const struct err *error)
{
    struct change *c = ctx;
    struct live_table *t = c->live;
    next_is_due(t);
    if (error) {
        answer(c, false, error);
        return;
    }
    c->table->revision = revision;
    session_change_table(t->session, c->table);
    t->seen = look_at_files(t);
    log_event(LOG_INFO, "another region table is in force", LOG_I("revision", revision), LOG_S("author", c->author),
              LOG_S("reason", c->reason), LOG_S("changes", buf_str(&c->diff).ptr));
    for (size_t i = 0; i < c->table->warning_count; i++)
        log_event(LOG_WARN, c->table->warnings[i], LOG_S("file", t->path));
    set_error(t, NULL);
    t->options.changed(t->options.ctx);
    answer(c, true, NULL);
}

static void record(struct change *c)
{
    struct live_table *t = c->live;
    char before[64];
    snprintf(before, sizeof before, "{\"revision\":%lld}", (long long)session_table(t->session)->revision);
    t->recording = c;
    t->busy = true;
    store_revise(session_store(t->session),
                 &(struct revise){.table = c->table, .author = c->author, .reason = c->reason, .action = "regions",
                                  .target = t->path, .before = before}, recorded, c);
}

static void begin(struct change *c)
{
    struct live_table *t = c->live;
    struct err err;
    uint64_t seen = look_at_files(t);
    bool ok = load(c, &err);
    if (c->from_file) {
        t->seen = seen;
        set_error(t, ok ? NULL : err.text);
    }
    if (!ok) {
        answer(c, false, &err);
        return;
    }
    if (!c->author)
        c->author = mem_strdup(c->from_file ? "file" : "unknown");
    bool changed = strcmp(c->table->hash, session_table(t->session)->hash) != 0;
    if (changed) {
        table_diff(session_table(t->session), c->table, &c->diff);
        session_each_running(t->session, add_effect, c);
    }
    if (c->dry_run) {
        answer(c, changed, NULL);
    } else if (!write_files(c, &err) || (changed && !session_add_table(t->session, c->table, &err))) {
        answer(c, false, &err);
    } else if (changed) {
        record(c);
    } else {
        t->seen = look_at_files(t);
        set_error(t, NULL);
        answer(c, false, NULL);
    }
}

static void do_next(struct loop_task *task)
{
    struct live_table *t = container_of(task, struct live_table, next);
    if (t->busy || list_empty(&t->waiting))
        return;
    begin(container_of(list_pop(&t->waiting), struct change, link));
    if (!list_empty(&t->waiting))
        loop_post(t->loop, &t->next);
}

void live_table_change(struct live_table *t, const struct table_wish *wish,
                       void (*done)(void *ctx, const struct table_change *change), void *ctx)
{
    struct change *c = mem_zalloc(sizeof *c);
    c->live = t;
    c->source = mem_strdup(wish->source);
    c->overrides = mem_strdup(wish->overrides);
    c->hash = mem_strdup(wish->hash);
    c->author = mem_strdup(wish->author);
    c->reason = mem_strdup(wish->reason);
    c->dry_run = wish->dry_run;
    c->from_file = !wish->source && !wish->overrides && !wish->dry_run;
    c->done = done;
    c->ctx = ctx;
    buf_init(&c->diff, DIFF_BYTES);
    list_push(&t->waiting, &c->link);
    loop_post(t->loop, &t->next);
}

/* ---- making and freeing ---- */

static void first_recorded(void *ctx, int64_t revision, const struct err *error)
{
    struct live_table *t = ctx;
    if (!error)
        session_table(t->session)->revision = revision;
    next_is_due(t);
    loop_stop(t->loop);
}

struct live_table *live_table_new(struct session *s, const struct live_table_options *o)
{
    struct live_table *t = mem_zalloc(sizeof *t);
    t->session = s;
    t->loop = session_loop(s);
    t->options = *o;
    t->path = mem_strdup(o->path);
    t->overrides_path = mem_printf("%s%s", o->path, TABLE_OVERRIDES);
    list_init(&t->waiting);
    loop_task_init(&t->next, do_next);
    t->seen = look_at_files(t);
    t->look = loop_timer_new(t->loop, look, t);
    t->busy = true; /* nothing is changed before this one has its number */
    store_revise(session_store(s), &(struct revise){.table = session_table(s), .author = "file",
                                                    .reason = "canvass serve starts"}, first_recorded, t);
    loop_run(t->loop);
    look(t);
    return t;
}

void live_table_stop(struct live_table *t)
{
    if (!t)
        return;
    loop_task_cancel(&t->next);
    loop_timer_free(t->look);
    t->look = NULL;
    while (!list_empty(&t->waiting))
        change_free(container_of(list_pop(&t->waiting), struct change, link));
}

void live_table_free(struct live_table *t)
{
    if (!t)
        return;
    if (t->recording) /* the store has ended before it told */
        change_free(t->recording);
    free(t->path);
    free(t->overrides_path);
    free(t->error);
    free(t);
}

const char *live_table_error(const struct live_table *t)
{
    return t->error;
}

const char *live_table_path(const struct live_table *t)
{
    return t->path;
}

char *live_table_overrides_path(const struct live_table *t)
{
    return mem_strdup(t->overrides_path);
}

static void add_part(struct buf *out, uint64_t count, const char *what)
{
    if (count)
        buf_addf(out, "%s%llu %s", out->len ? ", " : "", (unsigned long long)count, what);
}

void table_effect_text(const struct change_effect *e, struct buf *out)
{
    char finishing[80];
    snprintf(finishing, sizeof finishing, "in flight finish on revision %lld", (long long)e->revision);
    add_part(out, e->moved, "pending executions move");
    add_part(out, e->waiting, "pending executions wait");
    add_part(out, e->skipped, "pending executions are skipped");
    add_part(out, e->released, "pending executions go on");
    add_part(out, e->finishing, finishing);
}
