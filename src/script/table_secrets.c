#include "script/table_secrets.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "script/sandbox.h"

enum { SECRETS_MAX_BYTES = 256 * 1024 };

static const char secret_type[] = "secret";

static bool name_ok(struct str name)
{
    return text_is_name(name, "_", SECRET_NAME - 1) && !isdigit((unsigned char)name.ptr[0]);
}

/* ---- the file ---- */

/* The mode is asked of the open file, so that it cannot be exchanged in between. */
static bool read_private(struct secrets *s, int fd, const char *file, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, "not a regular file (%s): name a text file of NAME=value lines", file);
    if (st.st_mode & 077)
        return err_set(err, ERR_CONFIG, "others may read the secrets, mode %04o (%s): chmod 600 %s",
                       (unsigned)st.st_mode & 07777, file, file);
    if (st.st_size > SECRETS_MAX_BYTES)
        return err_set(err, ERR_CONFIG, "larger than %d bytes (%s): name a text file of NAME=value lines",
                       SECRETS_MAX_BYTES, file);

    size_t size = (size_t)st.st_size;
    s->text = mem_zalloc(size + 1);
    while (s->len < size) {
        ssize_t got = read(fd, s->text + s->len, size - s->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(err, ERR_SYSTEM, "cannot read the secrets, %s (%s): check the file", strerror(errno), file);
        if (got == 0)
            break;
        s->len += (size_t)got;
    }
    return true;
}

/* An error names the line's number and never its content. */
static bool add_line(struct secrets *s, char *line, unsigned number, const char *file, struct err *err)
{
    size_t len = strlen(line);
    if (len && line[len - 1] == '\r')
        line[len - 1] = '\0';
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return true;

    char *equals = strchr(line, '=');
    if (!equals || !name_ok((struct str){line, (size_t)(equals - line)}))
        return err_set(err, ERR_CONFIG, "not a NAME=value line (%s:%u): a name is letters, digits and _, "
                       "with no space around the =", file, number);
    *equals = '\0';
    s->names = mem_array(s->names, s->count + 1, sizeof *s->names);
    s->values = mem_array(s->values, s->count + 1, sizeof *s->values);
    s->names[s->count] = line;
    s->values[s->count++] = equals + 1;
    return true;
}

bool secrets_open(struct secrets *s, const char *file, struct err *err)
{
    *s = (struct secrets){0};
    if (!file)
        return true;

    /* Without O_NONBLOCK opening a pipe by mistake would wait for ever. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot open the secrets file, %s (%s): check its name, or leave it out and "
                       "use the environment", strerror(errno), file);
    bool ok = read_private(s, fd, file, err);
    close(fd);

    unsigned number = 0;
    for (char *line = s->text, *end = s->text ? s->text + s->len : NULL; ok && line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline)
            *newline = '\0';
        ok = add_line(s, line, ++number, file, err);
        line = newline ? newline + 1 : end;
    }
    if (!ok)
        secrets_done(s);
    return ok;
}

void secrets_done(struct secrets *s)
{
    if (s->text)
        explicit_bzero(s->text, s->len);
    free(s->text);
    free(s->names);
    free(s->values);
    *s = (struct secrets){0};
}

/* ---- the Lua side ---- */

static int refuse_use(lua_State *L)
{
    return luaL_error(L, "a secret cannot be joined, compared or looked into: "
                         "secret(\"NAME\", \"Bearer %%s\") puts it into a text");
}

static int shown_to_lua(lua_State *L)
{
    const struct secret_ref *ref = luaL_checkudata(L, 1, secret_type);
    lua_pushfstring(L, "secret %s", ref->name);
    return 1;
}

static void push_metatable(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__concat", refuse_use}, {"__index", refuse_use}, {"__newindex", refuse_use},
                                       {"__call", refuse_use},   {"__len", refuse_use},   {"__tostring", shown_to_lua},
                                       {NULL, NULL}};
    if (luaL_newmetatable(L, secret_type)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushliteral(L, "secret");
        lua_setfield(L, -2, "__metatable");
    }
}

/* Cuts the format at its one %s. */
static void set_format(lua_State *L, struct secret_ref *ref, struct str text)
{
    const char *format = text.ptr, *hole = strstr(format, "%s");
    luaL_argcheck(L, strlen(format) == text.len && text.len < SECRET_FORMAT, 2, "must be a short text without NUL");
    luaL_argcheck(L, hole && !memchr(format, '%', (size_t)(hole - format)) && !strchr(hole + 2, '%'), 2,
                  "must hold %s once, and no other %: \"Bearer %s\"");
    memcpy(ref->before, format, (size_t)(hole - format));
    memcpy(ref->after, hole + 2, strlen(hole + 2));
}

int secrets_function(lua_State *L)
{
    luaL_argcheck(L, lua_type(L, 1) == LUA_TSTRING, 1, "must be the secret's name in quotes: secret \"MODAL_TOKEN\"");
    struct str name = script_str(L, 1);
    luaL_argcheck(L, name_ok(name), 1, "must be a name of letters, digits and _, as a variable has");

    bool has_format = !lua_isnoneornil(L, 2);
    struct secret_ref *ref = lua_newuserdatauv(L, sizeof *ref, 0);
    memset(ref, 0, sizeof *ref);
    memcpy(ref->name, name.ptr, name.len);
    if (has_format) {
        luaL_argcheck(L, lua_type(L, 2) == LUA_TSTRING, 2, "must be a text with %s in it: \"Bearer %s\"");
        set_format(L, ref, script_str(L, 2));
    }
    push_metatable(L);
    lua_setmetatable(L, -2);
    return 1;
}

const struct secret_ref *secrets_ref(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA ? luaL_testudata(L, index, secret_type) : NULL;
}

/* ---- values ---- */

static const char *find(const struct secrets *s, const char *name)
{
    const char *value = getenv(name);
    for (size_t i = s->count; !(value && *value) && i-- > 0;) /* the last line of a name counts, as in a shell */
        if (strcmp(s->names[i], name) == 0)
            value = s->values[i];
    return value && *value ? value : NULL;
}

bool secrets_value(const struct secrets *s, const struct secret_ref *ref, struct arena *arena, const char **value)
{
    const char *found = find(s, ref->name);
    if (!found)
        return false;
    *value = arena_printf(arena, "%s%s%s", ref->before, found, ref->after);
    return true;
}

const char *secrets_shown(const struct secret_ref *ref, struct arena *arena)
{
    if (!ref->before[0] && !ref->after[0])
        return arena_printf(arena, "secret %s", ref->name);
    return arena_printf(arena, "%s<secret %s>%s", ref->before, ref->name, ref->after);
}
