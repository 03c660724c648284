/* Changes to a region table by command. They are made in the table's own files, which a daemon that runs on them takes
 * up within a second: there is one truth, whoever edits it. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/table_diff.h"
#include "host/files.h"
#include "host/overrides.h"
#include "script/table_file.h"
#include "store/store.h"

enum { OUTPUT_BYTES = 64 << 20 };

/* ---- what differs ---- */

struct difference {
    struct buf lines;
    size_t count;
    bool same;                     /* down to the last byte of what they are made of */
};

static void compare(const struct region_table *from, const struct region_table *to, struct difference *out)
{
    buf_init(&out->lines, OUTPUT_BYTES);
    out->count = table_diff(from, to, &out->lines);
    out->same = strcmp(from->hash, to->hash) == 0;
}

static cJSON *lines_json(struct str text)
{
    cJSON *list = cJSON_CreateArray();
    while (text.len) {
        size_t len = strcspn(text.ptr, "\n");
        char *line = mem_strndup(text.ptr, len);
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        free(line);
        len += text.ptr[len] == '\n';
        text = (struct str){text.ptr + len, text.len - len};
    }
    return list;
}

/* made NULL: nothing was to be made. */
static void tell(const struct args *args, const struct difference *d, const char *made, bool changed)
{
    if (args_flag(args, "json")) {
        cJSON *json = cJSON_CreateObject();
        if (made)
            cJSON_AddBoolToObject(json, "changed", changed);
        else
            cJSON_AddBoolToObject(json, "differs", d->count > 0);
        cJSON_AddItemToObject(json, "diff", lines_json(buf_str(&d->lines)));
        out_json(json);
        return;
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES + 4096);
    buf_add(&out, d->lines.ptr ? d->lines.ptr : "", d->lines.len);
    if (!d->count)
        buf_adds(&out, "no setting differs\n");
    if (made)
        buf_addf(&out, "%s\n", changed ? made : "nothing was changed");
    out_buf(&out);
    buf_done(&out);
}

static struct region_table *load(const struct args *args, const char *path, struct err *err)
{
    return load_regions(path, args_text(args, "secrets"), true, NULL, err);
}

/* ---- regions diff ---- */

static int run_diff(const struct args *args)
{
    struct err err;
    struct region_table *from = NULL, *to = NULL;
    if (logging_setup(args, LOG_WARN, &err) && (from = load(args, args->words[0], &err)))
        to = load(args, args->words[1], &err);
    int status = to ? EXIT_ALL_WELL : complain(&err);
    if (to) {
        struct difference d;
        compare(from, to, &d);
        tell(args, &d, NULL, false);
        status = d.count ? EXIT_SOME_FAILED : EXIT_ALL_WELL;
        buf_done(&d.lines);
    }
    region_table_unref(from);
    region_table_unref(to);
    return status;
}

/* ---- a change of the files ---- */

struct edit {
    const struct args *args;
    const char *path;              /* of the table */
    char *overrides_path;
    const char *source;            /* NULL: stays */
    char *overrides;               /* NULL: stays */
};

static struct region_table *load_edited(const struct edit *e, const struct region_table *now, struct err *err)
{
    char *overrides = e->overrides ? mem_strdup(e->overrides) : file_text(e->overrides_path, err);
    struct region_table *t = NULL;
    if (overrides)
        t = table_load_text(e->path, str_from(e->source ? e->source : now->source),
                            &(struct table_options){.secrets_file = args_text(e->args, "secrets"),
                                                    .secrets_optional = true, .overrides = overrides}, err);
    free(overrides);
    return t;
}

static bool write_edit(const struct edit *e, struct err *err)
{
    return (!e->source || file_replace(e->path, e->source, err)) &&
           (!e->overrides || file_replace(e->overrides_path, e->overrides, err));
}

/* Held against the table as it is, and only then written. */
static int make_edit(const struct edit *e, bool dry_run, struct err *err)
{
    struct region_table *now = load(e->args, e->path, err), *next = now ? load_edited(e, now, err) : NULL;
    bool ok = next;
    if (ok) {
        struct difference d;
        compare(now, next, &d);
        ok = dry_run || d.same || write_edit(e, err);
        if (ok)
            tell(e->args, &d, dry_run ? "nothing was written: this was a dry run"
                                      : "saved; a daemon that runs on these files takes it up within a second",
                 !d.same);
        buf_done(&d.lines);
    }
    region_table_unref(now);
    region_table_unref(next);
    return ok ? EXIT_ALL_WELL : complain(err);
}

/* Who and why go with the overrides, where the daemon finds them. NULL with err. */
static cJSON *read_overrides(const struct edit *e, struct err *err)
{
    char *text = file_text(e->overrides_path, err);
    cJSON *doc = text ? overrides_parse(text, e->overrides_path, err) : NULL;
    free(text);
    return doc;
}

static bool edit_begin(struct edit *e, const struct args *args, struct err *err)
{
    *e = (struct edit){.args = args, .path = args_text(args, "regions")};
    if (!logging_setup(args, LOG_WARN, err))
        return false;
    if (!e->path)
        return err_set(err, ERR_USAGE, "no region table (--regions): name the file to change");
    e->overrides_path = mem_printf("%s%s", e->path, TABLE_OVERRIDES);
    return true;
}

static void edit_done(struct edit *e)
{
    free(e->overrides_path);
    free(e->overrides);
}

static const char *author_of(const struct args *args)
{
    const char *author = args_text(args, "author");
    return author ? author : author_name();
}

static void sign(struct edit *e, cJSON *doc)
{
    overrides_sign(doc, author_of(e->args), args_text(e->args, "reason"));
    e->overrides = overrides_text(doc);
    cJSON_Delete(doc);
}

/* ---- regions apply ---- */

static int run_apply(const struct args *args)
{
    struct err err;
    struct edit e;
    char *source = NULL;
    cJSON *doc = NULL;
    bool ok = edit_begin(&e, args, &err) && (source = file_text(args->words[0], &err));
    if (ok && !*source)
        ok = err_set(&err, ERR_CONFIG, "there is no text (%s): name a region table", args->words[0]);
    ok = ok && (doc = read_overrides(&e, &err));
    if (ok && cJSON_GetArraySize(doc) > 0)
        sign(&e, doc);
    else
        cJSON_Delete(doc);
    e.source = source;
    int status = ok ? make_edit(&e, args_flag(args, "dry-run"), &err) : complain(&err);
    free(source);
    edit_done(&e);
    return status;
}

/* ---- regions pause, resume ---- */

/* A region by any of its names, or REGION/MODEL. */
static bool find_target(const struct region_table *t, const char *word, const char **kind, const char **name,
                        bool *paused, struct err *err)
{
    int region = region_table_region(t, word);
    if (region != NO_INDEX) {
        *kind = "regions";
        *name = t->regions[region].id;
        *paused = t->regions[region].paused;
        return true;
    }
    const char *slash = strchr(word, '/');
    char *first = slash ? mem_strndup(word, (size_t)(slash - word)) : mem_strdup(word);
    region = region_table_region(t, first);
    free(first);
    const struct endpoint_spec *e = region != NO_INDEX && slash ? region_table_endpoint(t, region, slash + 1) : NULL;
    if (!e)
        return err_set(err, ERR_USAGE, "the table has no region or endpoint \"%.200s\" (%s): canvass regions show "
                       "lists them", word, t->path);
    *kind = "endpoints";
    *name = e->id;
    *paused = e->paused;
    return true;
}

static bool set_pause(struct edit *e, const struct region_table *t, bool pause, struct err *err)
{
    const char *kind = NULL, *name = NULL;
    bool paused = false;
    cJSON *doc = NULL;
    if (!find_target(t, e->args->words[0], &kind, &name, &paused, err) || !(doc = read_overrides(e, err)))
        return false;
    if (paused == pause) {
        cJSON_Delete(doc);
        return true;
    }
    if (pause)
        overrides_pause(doc, kind, name, author_of(e->args), args_text(e->args, "reason"));
    else
        overrides_resume(doc, kind, name);
    sign(e, doc);
    return true;
}

static int run_pause_or_resume(const struct args *args, bool pause)
{
    struct err err;
    struct edit e;
    struct region_table *t = NULL;
    bool ok = edit_begin(&e, args, &err) && (t = load(args, e.path, &err)) && set_pause(&e, t, pause, &err);
    int status = ok ? make_edit(&e, false, &err) : complain(&err);
    region_table_unref(t);
    edit_done(&e);
    return status;
}

static int run_pause(const struct args *args)
{
    return run_pause_or_resume(args, true);
}

static int run_resume(const struct args *args)
{
    return run_pause_or_resume(args, false);
}

/* ---- regions history, rollback ---- */

struct history {
    struct table *table;
    cJSON *list;
};

static char *text_of(const struct value *v)
{
    return v->type == VALUE_TEXT ? mem_strndup(v->text.ptr, v->text.len) : mem_strdup("");
}

static bool add_revision(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct history *h = ctx;
    char when[DURATION_TEXT];
    char *hash = text_of(&v[1]), *author = text_of(&v[2]), *reason = text_of(&v[3]);
    (void)columns, (void)names;
    if (h->table) {
        table_cellf(h->table, "%lld", (long long)v[0].integer);
        table_text(h->table, unix_format(v[4].real, when));
        table_text(h->table, *author ? author : "-");
        table_text(h->table, *reason ? reason : "-");
    } else {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "revision", (double)v[0].integer);
        cJSON_AddStringToObject(one, "hash", hash);
        cJSON_AddItemToObject(one, "author", *author ? cJSON_CreateString(author) : cJSON_CreateNull());
        cJSON_AddItemToObject(one, "reason", *reason ? cJSON_CreateString(reason) : cJSON_CreateNull());
        cJSON_AddNumberToObject(one, "created_at", v[4].real);
        cJSON_AddItemToArray(h->list, one);
    }
    free(hash);
    free(author);
    free(reason);
    return true;
}

static void print_history(struct history *h)
{
    if (!h->table) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "revisions", h->list);
        out_json(json);
        return;
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    table_print(h->table, out_columns(), &out);
    out_buf(&out);
    buf_done(&out);
    table_free(h->table);
}

static int run_history(const struct args *args)
{
    struct err err;
    struct history h = {.table = args_flag(args, "json") ? NULL : table_new(), .list = NULL};
    if (h.table) {
        table_column(h.table, "revision", TABLE_RIGHT);
        table_column(h.table, "when", TABLE_LEFT);
        table_column(h.table, "author", TABLE_LEFT);
        table_column(h.table, "reason", TABLE_FLEX);
    } else {
        h.list = cJSON_CreateArray();
    }
    struct reader *reader = reader_open(args_text(args, "db"), &err);
    bool ok = reader && reader_sql(reader, "SELECT revision, hash, author, reason, created_at FROM region_revisions"
                                           " ORDER BY revision DESC", NULL, 0, 0, add_revision, &h, &err);
    reader_close(reader);
    if (ok) {
        print_history(&h);
        return EXIT_ALL_WELL;
    }
    if (h.table)
        table_free(h.table);
    cJSON_Delete(h.list);
    return complain(&err);
}

struct kept_revision {
    char *source, *overrides, *hash;
};

static bool take_revision(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct kept_revision *r = ctx;
    (void)columns, (void)names;
    r->source = text_of(&v[0]);
    r->hash = text_of(&v[1]);
    r->overrides = text_of(&v[2]);
    return false;
}

static bool read_revision(const struct args *args, struct kept_revision *out, struct err *err)
{
    const char *bind[] = {args->words[0]};
    struct reader *reader = reader_open(args_text(args, "db"), err);
    static const char sql[] =
        "SELECT r.source, r.hash, (SELECT text FROM region_files AS f WHERE f.revision = r.revision AND f.name = '"
        TABLE_OVERRIDES_KEPT "') FROM region_revisions AS r WHERE r.revision = CAST(?1 AS INTEGER)";
    bool ok = reader && reader_sql(reader, sql, bind, 1, 0, take_revision, out, err);
    reader_close(reader);
    return ok && (out->source || err_set(err, ERR_USAGE, "there is no revision %.40s (%s): canvass regions history "
                                         "lists them", args->words[0], args_text(args, "db")));
}

static bool same_as_then(const struct edit *e, const char *hash, struct err *err)
{
    struct region_table *now = load(e->args, e->path, err), *t = now ? load_edited(e, now, err) : NULL;
    bool ok = t && (strcmp(t->hash, hash) == 0 ||
                    err_set(err, ERR_CONFIG, "that revision was made of other files beside the table than there are "
                            "now (%s): put those back first", e->path));
    region_table_unref(now);
    region_table_unref(t);
    return ok;
}

static int run_rollback(const struct args *args)
{
    struct err err;
    struct edit e;
    struct kept_revision r = {0};
    bool ok = edit_begin(&e, args, &err) && read_revision(args, &r, &err);
    e.source = r.source;
    e.overrides = r.overrides;
    ok = ok && same_as_then(&e, r.hash, &err);
    int status = ok ? make_edit(&e, args_flag(args, "dry-run"), &err) : complain(&err);
    free(r.source);
    free(r.hash);
    edit_done(&e);
    return status;
}

/* ---- the commands ---- */

#define OPTION_REASON {.name = "reason", .value = "TEXT", .help = "why, for the records"}
#define OPTION_AUTHOR {.name = "author", .value = "NAME", .help = "who, for the records; else the user's name"}
#define OPTION_DRY_RUN {.name = "dry-run", .help = "only tell what would change"}

static const struct option_spec diff_options[] = {OPTION_SECRETS, LOGGING_OPTIONS, OPTION_JSON, {.name = NULL}};
static const struct option_spec apply_options[] = {OPTION_REGIONS, OPTION_DRY_RUN, OPTION_REASON, OPTION_AUTHOR,
                                                   OPTION_SECRETS, LOGGING_OPTIONS, OPTION_JSON, {.name = NULL}};
static const struct option_spec pause_options[] = {OPTION_REGIONS, OPTION_REASON, OPTION_AUTHOR, OPTION_SECRETS,
                                                   LOGGING_OPTIONS, OPTION_JSON, {.name = NULL}};
static const struct option_spec history_options[] = {OPTION_DB, OPTION_JSON, {.name = NULL}};
static const struct option_spec rollback_options[] = {OPTION_REGIONS, OPTION_DB, OPTION_DRY_RUN, OPTION_SECRETS,
                                                      LOGGING_OPTIONS, OPTION_JSON, {.name = NULL}};

const struct command command_regions_diff = {
    .name = "regions diff", .words = "OLD.lua NEW.lua",
    .summary = "what tells two region tables apart",
    .details =
        "By the settings in force, so that it shows what a changed line really changes; secrets by their names.\n\n"
        "exit status: 0 no setting differs; 1 some do; 2 one of them is wrong",
    .examples = "  canvass regions diff regions.lua new.lua",
    .words_min = 2, .words_max = 2, .options = diff_options, .run = run_diff,
};

const struct command command_regions_apply = {
    .name = "regions apply", .words = "NEW.lua",
    .summary = "put another text in place of a region table",
    .details =
        "NEW.lua is checked first, as the table it will be, and written whole or not at all. What is set by\n"
        "command (pauses, limits) stays over it. A daemon that runs on the table takes it up within a second.\n\n"
        "exit status: 0 done, or nothing to do; 2 the table would be wrong: nothing was changed",
    .examples = "  canvass regions apply new.lua --regions regions.lua --dry-run\n"
                "  canvass regions apply new.lua --regions regions.lua --reason \"EU has moved\"",
    .words_min = 1, .words_max = 1, .options = apply_options, .run = run_apply,
};

const struct command command_regions_pause = {
    .name = "regions pause", .words = "REGION|REGION/MODEL",
    .summary = "ask a region or an endpoint no more, until it is resumed",
    .details =
        "The operator's file stays as it is: the pause lies in TABLE.lua" TABLE_OVERRIDES ", and holds for every\n"
        "program that loads the table. What is in flight ends as it would.\n\n"
        "exit status: 0 it is paused; 2 there is no such region or endpoint",
    .examples = "  canvass regions pause asia --regions regions.lua --reason \"out of quota\"\n"
                "  canvass regions pause eu/mistral-7b --regions regions.lua",
    .words_min = 1, .words_max = 1, .options = pause_options, .run = run_pause,
};

const struct command command_regions_resume = {
    .name = "regions resume", .words = "REGION|REGION/MODEL",
    .summary = "let a paused region or endpoint go on",
    .details = "A pause that was set by command goes; one that stands in the file is overridden.\n\n"
               "exit status: 0 it goes on; 2 there is no such region or endpoint",
    .examples = "  canvass regions resume asia --regions regions.lua",
    .words_min = 1, .words_max = 1, .options = pause_options, .run = run_resume,
};

const struct command command_regions_history = {
    .name = "regions history", .words = "",
    .summary = "the revisions of the region table that a database has seen",
    .examples = "  canvass regions history --db study.db",
    .options = history_options, .run = run_history,
};

const struct command command_regions_rollback = {
    .name = "regions rollback", .words = "REVISION",
    .summary = "put an earlier revision back in place",
    .details = "Its text and what was set over it then are written to the table's files, and become a new revision.\n\n"
               "exit status: 0 done; 2 there is no such revision, or it was made of other files beside the table",
    .examples = "  canvass regions rollback 5 --regions regions.lua --db study.db --dry-run",
    .words_min = 1, .words_max = 1, .options = rollback_options, .run = run_rollback,
};
