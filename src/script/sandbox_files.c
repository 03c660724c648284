/* Modules and files: what require finds, and nothing outside of the script's folder. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "script/builtin.h"
#include "script/sandbox_priv.h"

static char loaded_key; /* its address is the registry's key for: name -> module, or false while it loads */

/* ---- files ---- */

static bool read_all(int fd, const char *path, size_t max_bytes, char **text, size_t *len, struct err *err)
{
    struct buf b;
    buf_init(&b, max_bytes);
    char piece[16384];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err_set(err, ERR_SYSTEM, "cannot read (%s): %s", path, strerror(errno));
        else if (buf_add(&b, piece, (size_t)n))
            continue;
        else
            err_set(err, ERR_CONFIG, "is larger than %zu bytes (%s): make it smaller, or split it", max_bytes, path);
        buf_done(&b);
        return false;
    }
    *len = b.len;
    *text = buf_take(&b);
    return true;
}

/* regular: nothing but a regular file, for a pipe below the folder could hold a script up for ever. */
static bool read_path(const char *path, const char *shown, bool regular, size_t max_bytes, char **text, size_t *len,
                      struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | (regular ? O_NONBLOCK : 0));
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot open (%s): %s", shown, strerror(errno));
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (ok && (S_ISDIR(st.st_mode) || (regular && !S_ISREG(st.st_mode))))
        ok = err_set(err, ERR_CONFIG, "is not a file (%s): name a file", shown);
    else if (!ok)
        err_set(err, ERR_SYSTEM, "cannot read (%s): %s", shown, strerror(errno));
    ok = ok && read_all(fd, shown, max_bytes, text, len, err);
    close(fd);
    return ok;
}

bool read_file(const char *path, size_t max_bytes, char **text, size_t *len, struct err *err)
{
    return read_path(path, path, false, max_bytes, text, len, err);
}

static bool leaves_folder(const char *relative)
{
    if (relative[0] == '/' || relative[0] == '\0')
        return true;
    for (const char *part = relative; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return true;
    }
    return false;
}

/* The file's own path if it lies below the folder with every link followed, else NULL. The caller frees.
 * absent: it is just not there. */
static char *resolve(const struct script *s, const char *relative, bool *absent, struct err *err)
{
    *absent = false;
    if (!s->folder || leaves_folder(relative)) {
        err_set(err, ERR_CONFIG, "lies outside of the script's folder (%s): put the file beside the script", relative);
        return NULL;
    }
    char *joined = mem_printf("%s/%s", s->folder, relative);
    char *path = realpath(joined, NULL);
    int problem = errno;
    free(joined);
    if (!path) {
        *absent = problem == ENOENT || problem == ENOTDIR;
        err_set(err, ERR_CONFIG, "cannot open (%s): %s", relative, strerror(problem));
        return NULL;
    }
    size_t len = strlen(s->folder);
    len -= s->folder[len - 1] == '/'; /* the folder is the root itself */
    if (strncmp(path, s->folder, len) != 0 || path[len] != '/') {
        free(path);
        err_set(err, ERR_CONFIG, "is a link that leaves the script's folder (%s): copy the file there", relative);
        return NULL;
    }
    return path;
}

/* Where a file's text is: among those that were kept, or at a path, which the caller frees. */
struct place {
    const struct source_file *kept;
    char *path;
    bool absent;
};

static bool find(const struct script *s, const char *relative, struct place *out, struct err *err)
{
    *out = (struct place){0};
    if (!s->options.kept) {
        out->path = resolve(s, relative, &out->absent, err);
        return out->path != NULL;
    }
    out->kept = sources_find(s->options.kept, relative);
    out->absent = !out->kept;
    return out->kept || err_set(err, ERR_CONFIG, "is not among the files that were kept (%s)", relative);
}

bool script_has(const struct script *s, const char *relative, bool *absent, struct err *err)
{
    struct place at;
    bool found = find(s, relative, &at, err);
    free(at.path);
    if (absent)
        *absent = at.absent;
    return found;
}

static bool read_anew(const struct script *s, const char *relative, size_t max_bytes, char **text, size_t *len,
                      struct err *err)
{
    struct place at;
    if (!find(s, relative, &at, err))
        return false;
    if (!at.kept) {
        bool ok = read_path(at.path, relative, true, max_bytes, text, len, err);
        free(at.path);
        return ok;
    }
    *text = mem_strndup(at.kept->text.ptr, at.kept->text.len);
    *len = at.kept->text.len;
    return true;
}

bool script_read(struct script *s, const char *relative, size_t max_bytes, struct str *out, struct err *err)
{
    for (size_t i = 0; i < s->file_count; i++) {
        if (strcmp(s->files[i].name, relative) != 0)
            continue;
        if (s->files[i].text.len > max_bytes)
            return err_set(err, ERR_CONFIG, "is larger than %zu bytes (%s): make it smaller", max_bytes, relative);
        *out = s->files[i].text;
        return true;
    }
    if (s->file_count == SANDBOX_FILES)
        return err_set(err, ERR_CONFIG, "is one file too many (%s): a script may read %d", relative, SANDBOX_FILES);
    char *text;
    size_t len;
    if (!read_anew(s, relative, max_bytes, &text, &len, err))
        return false;
    s->files = mem_array(s->files, s->file_count + 1, sizeof *s->files);
    s->files[s->file_count++] = (struct source_file){mem_strdup(relative), {text, len}};
    *out = (struct str){text, len};
    return true;
}

size_t script_files(const struct script *s, struct arena *arena, struct source_file *out)
{
    for (size_t i = 0; out && i < s->file_count; i++)
        out[i] = (struct source_file){arena_strdup(arena, s->files[i].name), arena_str(arena, s->files[i].text)};
    return s->file_count;
}

void sandbox_free_files(struct script *s)
{
    for (size_t i = 0; i < s->file_count; i++) {
        free((char *)s->files[i].name);
        free((char *)s->files[i].text.ptr);
    }
    free(s->files);
}

/* ---- chunks ---- */

void sandbox_load(lua_State *L, const char *name, struct str text)
{
    if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
        text = (struct str){text.ptr + 3, text.len - 3};
    if (text.len && text.ptr[0] == LUA_SIGNATURE[0])
        luaL_error(L, "is precompiled, and only source text is run (%s): give the .lua source", name + 1);
    if (text.len && text.ptr[0] == '#') { /* a #! line; its newline stays, for the line numbers */
        const char *end = memchr(text.ptr, '\n', text.len);
        text = end ? (struct str){end, text.len - (size_t)(end - text.ptr)} : STR("");
    }
    sandbox_charge(L, text.len);
    if (luaL_loadbufferx(L, text.ptr ? text.ptr : "", text.len, name, "t") != LUA_OK)
        lua_error(L);
}

/* ---- require ---- */

static bool is_module_name(const char *name)
{
    bool start = true; /* of a part */
    for (; *name; name++) {
        if (*name == '.' ? start : !isalnum((unsigned char)*name) && *name != '_' && *name != '-')
            return false;
        start = *name == '.';
    }
    return !start;
}

const struct builtin *builtin_find(const char *name)
{
    for (const struct builtin *b = builtin_modules; b->name; b++)
        if (strcmp(b->name, name) == 0)
            return b;
    return NULL;
}

static bool push_builtin(lua_State *L, const char *name)
{
    const struct builtin *b = builtin_find(name);
    if (b)
        sandbox_load(L, lua_pushfstring(L, "=%s", name), (struct str){b->text, b->len});
    return b != NULL;
}

static bool push_c_module(lua_State *L, const char *name)
{
    struct script *s = script_of(L);
    for (unsigned i = 0; i < s->module_count; i++) {
        if (strcmp(s->modules[i].name, name) == 0) {
            lua_pushcfunction(L, s->modules[i].open);
            return true;
        }
    }
    return false;
}

/* Is there a file in the folder that stands in for the built-in module? */
static bool is_replaced(lua_State *L, const char *name)
{
    struct script *s = script_of(L);
    struct err err;
    bool absent = true;
    if (!s->options.folder_first)
        return false;
    script_has(s, lua_pushfstring(L, "%s.lua", luaL_gsub(L, name, ".", "/")), &absent, &err);
    lua_pop(L, 2);
    return !absent;
}

/* Pushes the chunk of `name` found as a file, or raises what was looked for. */
static void push_file(lua_State *L, const char *name)
{
    struct script *s = script_of(L);
    if (!s->folder && !s->options.kept)
        luaL_error(L, "no module \"%s\": looked for a built-in module only, for this script has no folder", name);
    const char *base = luaL_gsub(L, name, ".", "/");
    const char *tries[] = {lua_pushfstring(L, "%s.lua", base), lua_pushfstring(L, "%s/init.lua", base)};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        bool absent;
        struct err err;
        struct str text;
        script_has(s, tries[i], &absent, &err);
        if (absent)
            continue;
        if (!script_read(s, tries[i], SANDBOX_SCRIPT_BYTES, &text, &err))
            luaL_error(L, "module \"%s\" %s", name, err.text);
        sandbox_load(L, lua_pushfstring(L, "@%s", tries[i]), text);
        return;
    }
    luaL_error(L, "no module \"%s\": looked for a built-in module, %s and %s in the script's folder", name, tries[0],
               tries[1]);
}

static void push_loaded(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
}

/* __close of a guard {name}: a module that failed to load is forgotten, so that it can be tried again. */
static int forget_failed(lua_State *L)
{
    if (lua_isnil(L, 2))
        return 0;
    push_loaded(L);
    lua_rawgeti(L, 1, 1);
    lua_pushnil(L);
    lua_rawset(L, -3);
    return 0;
}

/* Marks the module at index 1 as being loaded; loaded is at index 2. */
static void begin_loading(lua_State *L)
{
    lua_pushvalue(L, 1);
    lua_pushboolean(L, false);
    lua_rawset(L, 2);
    lua_newtable(L); /* the guard, its own metatable */
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushcfunction(L, forget_failed);
    lua_setfield(L, -2, "__close");
    lua_pushvalue(L, -1);
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
}

int sandbox_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    push_loaded(L);
    lua_pushvalue(L, 1);
    lua_rawget(L, 2); /* name loaded module */
    if (lua_toboolean(L, 3))
        return 1;
    if (!lua_isnil(L, 3))
        return luaL_error(L, "module \"%s\" is already being loaded: two modules require each other", name);
    if (!is_module_name(name) || strlen(name) != lua_rawlen(L, 1))
        return luaL_error(L, "no module \"%s\": a module's name is made of letters, digits, _ and -, "
                             "with dots for folders", name);
    begin_loading(L);
    if (!push_c_module(L, name) && (is_replaced(L, name) || !push_builtin(L, name)))
        push_file(L, name);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true); /* as in stock Lua: a module may be there for its effect only */
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}
