#include "script/table_file.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "script/table_build.h"

enum { TABLE_MAX_BYTES = 4 << 20, SCRATCH_BYTES = 1 << 20, WARNINGS_MAX = 200 };

/* ---- what all parts use ---- */

void table_warn(struct table_build *b, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    for (size_t i = 0; i < b->warning_count; i++)
        if (strcmp(b->warnings[i], text) == 0)
            return;
    if (b->warning_count == WARNINGS_MAX)
        return;
    if (!b->warnings)
        b->warnings = mem_array(NULL, WARNINGS_MAX, sizeof *b->warnings);
    b->warnings[b->warning_count++] = arena_strdup(&b->table->arena, text);
}

void table_setting(struct table_build *b, const char *path, const char *value, const char *set_by)
{
    if (b->setting_count == b->setting_cap) {
        b->setting_cap = b->setting_cap ? 2 * b->setting_cap : 256;
        b->settings = mem_array(b->settings, b->setting_cap, sizeof *b->settings);
    }
    b->settings[b->setting_count++] = (struct setting){path, value, set_by};
}

const char *table_duration(struct arena *a, int64_t us)
{
    static const struct { int64_t us; const char *unit; } units[] = {
        {24 * HOUR_US, "d"}, {HOUR_US, "h"}, {MINUTE_US, "m"}, {SECOND_US, "s"}, {MS_US, "ms"}};
    for (size_t i = 0; i < ARRAY_LEN(units) && us > 0; i++)
        if (us % units[i].us == 0)
            return arena_printf(a, "%lld%s", (long long)(us / units[i].us), units[i].unit);
    return us > 0 ? arena_printf(a, "%.15gms", (double)us / (double)MS_US) : "0s";
}

/* ---- one load ---- */

/* Runs protected: index 1 is the build, 2 what the file returned. */
static int build_table(lua_State *L)
{
    struct table_build *b = lua_touserdata(L, 1);
    luaL_checkstack(L, 60, NULL);
    b->ok = table_read(b, L, 2);
    return 0;
}

static void hash_add(EVP_MD_CTX *context, const char *bytes, size_t len)
{
    int ok = EVP_DigestUpdate(context, bytes, len);
    assert(ok == 1);
}

/* What tells one revision from another. A table alone hashes like its file does under sha256sum. Each further file adds
 * its name and length before its bytes, so that moving a line from one file to the next changes the hash too. */
static void hash_table(struct region_table *t)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    assert(ok == 1);
    hash_add(context, t->source, strlen(t->source));
    for (size_t i = 0; i < t->file_count; i++) {
        const struct source_file *file = &t->files[i];
        char length[32];
        int digits = snprintf(length, sizeof length, "\n%zu\n", file->text.len);
        hash_add(context, "", 1); /* a NUL, which no table holds, ends what came before */
        hash_add(context, file->name, strlen(file->name));
        hash_add(context, length, (size_t)digits);
        hash_add(context, file->text.ptr, file->text.len);
    }
    ok = EVP_DigestFinal_ex(context, digest, &len);
    assert(ok == 1 && 2 * len + 1 == sizeof t->hash);
    for (unsigned i = 0; i < len; i++)
        snprintf(t->hash + (size_t)2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(context);
}

static void keep_files(struct table_build *b)
{
    struct region_table *t = b->table;
    size_t own = script_files(b->script, NULL, NULL);
    size_t most = own + adapters_files(b->adapters, NULL) + 1;
    struct source_file *files = arena_alloc(&t->arena, most * sizeof *files);
    script_files(b->script, &t->arena, files);
    t->file_count = own + adapters_files(b->adapters, files + own);
    if (b->overrides.text.len)
        files[t->file_count++] =
            (struct source_file){TABLE_OVERRIDES_KEPT, arena_str(&t->arena, b->overrides.text)};
    t->files = files;
}

static void finish(struct table_build *b)
{
    struct region_table *t = b->table;
    struct setting *settings = arena_alloc(&t->arena, b->setting_count * sizeof *settings);
    memcpy(settings, b->settings, b->setting_count * sizeof *settings);
    t->settings = settings;
    t->setting_count = b->setting_count;

    const char **warnings = arena_alloc(&t->arena, b->warning_count * sizeof *warnings);
    if (b->warning_count)
        memcpy(warnings, b->warnings, b->warning_count * sizeof *warnings);
    t->warnings = warnings;
    t->warning_count = b->warning_count;

    keep_files(b);
    hash_table(t);
    t->adapters = b->adapters;
    t->adapters_free = adapters_free;
    b->adapters = NULL;
}

static bool load(struct table_build *b, struct str text)
{
    lua_pushcfunction(script_state(b->script), secrets_function);
    script_global(b->script, "secret");
    if (!script_run(b->script, b->file, text, b->err) || !script_apply(b->script, build_table, b, b->err) || !b->ok)
        return false;
    finish(b);
    return true;
}

static void choose_overrides(struct table_build *b)
{
    const struct table_options *o = b->options;
    const struct source_file *kept = o->kept ? sources_find(o->kept, TABLE_OVERRIDES_KEPT) : NULL;
    b->overrides.text = o->overrides ? str_from(o->overrides) : kept ? kept->text : STR("");
    b->overrides.file = arena_printf(&b->table->arena, "%s%s", b->file, TABLE_OVERRIDES);
}

struct region_table *table_load_text(const char *path, struct str text, const struct table_options *o, struct err *err)
{
    static const struct table_options usual;
    struct table_build b = {.options = o ? o : &usual, .err = err, .file = path};
    if (text.len > TABLE_MAX_BYTES || memchr(text.ptr ? text.ptr : "", '\0', text.len)) {
        err_set(err, ERR_CONFIG, "not a region table (%s): write a Lua text of at most %d bytes", path,
                TABLE_MAX_BYTES);
        return NULL;
    }
    if (!secrets_open(&b.secrets, b.options->secrets_file, err))
        return NULL;

    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    buf_init(&b.scratch, SCRATCH_BYTES);
    b.table = region_table_new();
    choose_overrides(&b);
    b.table->path = arena_strdup(&b.table->arena, path);
    b.table->source = arena_strndup(&b.table->arena, text.ptr, text.len);
    b.script = script_new(
        &(struct script_options){.folder = folder, .kept = b.options->kept, .limits = b.options->limits});
    b.adapters = adapters_new(folder, slash ? slash + 1 : path, b.options->kept, b.options->limits);

    bool ok = load(&b, text);

    adapters_free(b.adapters);
    script_free(b.script);
    secrets_done(&b.secrets);
    buf_done(&b.scratch);
    free(b.settings);
    free(b.warnings);
    free(b.endpoints);
    free(folder);
    if (!ok)
        region_table_unref(b.table);
    return ok ? b.table : NULL;
}

/* *out NULL: there is no such file. */
static bool read_overrides(const char *path, char **out, struct err *err)
{
    size_t len;
    char *name = mem_printf("%s%s", path, TABLE_OVERRIDES);
    bool ok = access(name, F_OK) != 0 || read_file(name, TABLE_MAX_BYTES, out, &len, err);
    free(name);
    return ok;
}

struct region_table *table_load(const char *path, const struct table_options *o, struct err *err)
{
    char *text;
    size_t len;
    if (!read_file(path, TABLE_MAX_BYTES, &text, &len, err))
        return NULL;
    struct table_options with = o ? *o : (struct table_options){0};
    char *overrides = NULL;
    struct region_table *t = NULL;
    if (with.overrides || read_overrides(path, &overrides, err)) {
        with.overrides = with.overrides ? with.overrides : overrides;
        t = table_load_text(path, (struct str){text, len}, &with, err);
    }
    free(overrides);
    free(text);
    return t;
}
