#include "script/job_file.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "script/job_parts.h"

enum { SCRIPT_BYTES = 1 << 20, SPECIFICATION_BYTES = 16 << 20 };

bool job_protected(struct job_load *j, lua_CFunction fn)
{
    j->ok = false;
    return script_apply(j->job->script, fn, j, j->err) && j->ok;
}

/* ---- the state ---- */

static void print_line(void *ctx, const char *line)
{
    job_log(ctx, line);
}

static int make_api(lua_State *L)
{
    job_push_api(L, lua_touserdata(L, 1));
    return 1;
}

static void open_script(struct job_load *j)
{
    struct job_file *f = j->job;
    const struct script_limits usual = SCRIPT_LIMITS_DEFAULT;
    const struct script_limits *limits = j->options->limits ? j->options->limits : &usual;
    f->script = script_new(
        &(struct script_options){.folder = j->folder, .kept = j->options->kept, .limits = limits, .print = print_line,
                                 .ctx = f});
    f->policy = policy_new(f->script, limits->call_us);
    j->L = script_state(f->script);
    lua_pushcfunction(j->L, make_api);
    lua_pushlightuserdata(j->L, f);
    int status = lua_pcall(j->L, 1, 1, 0);
    assert(status == LUA_OK); /* the least memory there can be is enough for this */
    script_global(f->script, "canvass");
}

static void copy_settings(struct job_load *j)
{
    struct job_file *f = j->job;
    struct arena *arena = &f->spec->arena;
    f->setting_count = j->options->setting_count;
    f->settings = arena_alloc(arena, (f->setting_count ? f->setting_count : 1) * sizeof(f->settings[0]));
    for (size_t i = 0; i < f->setting_count; i++) {
        const struct script_setting *s = &j->options->settings[i];
        f->settings[i] = (struct job_setting){arena_strdup(arena, s->key), arena_strdup(arena, s->value), false};
    }
}

/* ---- reading ---- */

static bool is_specification(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcasecmp(dot, ".json") == 0;
}

static bool load_script(struct job_load *j)
{
    if (j->options->questions)
        return err_set(j->err, ERR_USAGE,
                       "--questions is for JSON specifications (%s): a script names its questions itself", j->path);
    return script_run(j->job->script, j->path, (struct str){j->text, j->text_len}, j->err) &&
           job_protected(j, job_read_script);
}

static bool load_specification(struct job_load *j)
{
    if (!script_push_json(j->job->script, (struct str){j->text, j->text_len}, j->err))
        return err_prefix(j->err, "%s: ", j->path);
    return job_protected(j, job_read_specification);
}

static int keep_settings(lua_State *L)
{
    struct job_load *j = lua_touserdata(L, 1);
    j->ok = job_settings_done(j) && job_settings_keep(j);
    return 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* All that the job is made of, for resume: they are what it asks, whatever happens to the files. */
static void keep_sources(struct job_load *j)
{
    struct job_spec *spec = j->job->spec;
    struct arena *arena = &spec->arena;
    size_t n = 0;
    struct source_file *sources =
        arena_alloc(arena, (script_files(j->job->script, NULL, NULL) + 2) * sizeof(sources[0]));
    sources[n++] = (struct source_file){arena_strdup(arena, j->base),
                                        arena_str(arena, (struct str){j->text, j->text_len})};
    if (j->list_text.ptr)
        sources[n++] = (struct source_file){arena_strdup(arena, last_part(j->options->questions)), j->list_text};
    n += script_files(j->job->script, arena, sources + n);
    spec->question_list = j->list_text.ptr ? sources[1].name : NULL;
    spec->sources = sources;
    spec->source_count = n;
}

bool job_read_file(const struct job_load *j, const char *path, size_t max_bytes, char **text, size_t *len)
{
    if (!j->options->kept)
        return read_file(path, max_bytes, text, len, j->err);
    const struct source_file *kept = sources_find(j->options->kept, path);
    if (!kept)
        return err_set(j->err, ERR_STORE, "is not among the files that were kept (%s)", path);
    *text = mem_strndup(kept->text.ptr, kept->text.len);
    *len = kept->text.len;
    return true;
}

static bool load(struct job_load *j)
{
    bool json = is_specification(j->path);
    if (!job_read_file(j, j->path, json ? SPECIFICATION_BYTES : SCRIPT_BYTES, &j->text, &j->text_len))
        return false;
    open_script(j);
    if (json ? !load_specification(j) : !load_script(j))
        return false;
    lua_pushnil(j->L);
    if (!job_protected(j, keep_settings))
        return false;
    keep_sources(j);
    return true;
}

struct job_file *job_file_load(const char *path, const struct job_file_options *o, struct err *err)
{
    struct job_file *f = mem_zalloc(sizeof(*f));
    f->spec = job_spec_new();
    f->function = f->score = LUA_NOREF;
    f->log = o->log;
    f->ctx = o->ctx;
    const char *base = last_part(path);
    char *folder = base == path ? mem_strdup(".") : mem_strndup(path, (size_t)(base - path));
    struct job_load j = {.job = f, .options = o, .path = path, .folder = folder, .base = base, .err = err};
    map_init(&j.names);
    map_init(&j.region_names);
    buf_init(&j.scratch, JOB_TEXT_BYTES);
    buf_init(&j.ignored, 4096);
    copy_settings(&j);

    bool ok = load(&j);
    map_done(&j.names);
    map_done(&j.region_names);
    buf_done(&j.scratch);
    buf_done(&j.ignored);
    free(j.text);
    free(folder);
    if (ok)
        return f;
    job_file_free(f);
    return NULL;
}

void job_file_free(struct job_file *f)
{
    if (!f)
        return;
    script_free(f->script);
    policy_free(f->policy); /* finalizers of the script still use it */
    job_spec_free(f->spec);
    free(f);
}

const struct job_spec *job_file_spec(const struct job_file *f)
{
    return f->spec;
}

void job_file_policy(struct job_file *f, const struct plan *plan, struct policy_port *out)
{
    policy_port(f->policy, f->function, plan, out);
}
