#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "core/url.h"
#include "script/table_build.h"

enum { HEADER_MAX = 16 * 1024 };

/* Names whose plain value is most likely a credential that should not stand in the file. */
static const char *const credentials[] = {
    "authorization", "proxy-authorization",      "x-api-key", "api-key", "x-goog-api-key", "modal-key", "modal-secret",
    "cookie",        "ocp-apim-subscription-key"};

/* What the HTTP client sets by itself; a second one would make the request ambiguous. */
static const char *const reserved[] = {"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer",
                                       "expect", "x-trace-id"};

static bool among(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(name, list[i]) == 0)
            return true;
    return false;
}

/* A line break in a value would smuggle in further headers. */
static bool value_ok(const char *value)
{
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return strlen(value) <= HEADER_MAX;
}

/* The value of f[key] when it is a secret; a missing one fails or warns. */
static bool read_secret(struct table_build *b, struct fields *f, const char *key, const struct secret_ref *ref,
                        const char **value, const char **shown)
{
    struct arena *a = f->arena;
    *shown = secrets_shown(ref, a);
    if (secrets_value(&b->secrets, ref, a, value)) {
        if (!value_ok(*value))
            return field_fail(f, key, "set it without line breaks or other control characters",
                              "secret %s is not one line", ref->name);
        return true;
    }
    const char *cure =
        arena_printf(a, "export %s=..., or put a line %s=... into a file of mode 0600 and name it with --secrets",
                     ref->name, ref->name);
    *value = "";
    if (!b->options->secrets_optional)
        return field_fail(f, key, cure, "secret %s is not set", ref->name);
    table_warn(b, "secret %s is not set (%s: %s): %s", ref->name, f->file, field_path(f, key), cure);
    return true;
}

static void put_header(struct arena *a, struct table_keys *k, struct table_header header)
{
    struct table_header *list = arena_alloc(a, (k->header_count + 1) * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < k->header_count; i++)
        if (strcasecmp(k->headers[i].header.name, header.header.name) != 0)
            list[count++] = k->headers[i];
    if (header.header.value) /* NULL: only taken away */
        list[count++] = header;
    k->headers = list;
    k->header_count = count;
}

/* The value is on top of the stack. */
static bool read_header(struct table_build *b, struct fields *f, const char *name, enum setter by, struct table_keys *k)
{
    struct table_header h = {.header = {.name = name}, .by = by};
    const struct secret_ref *ref = secrets_ref(f->L, -1);
    if (!text_is_name(str_from(name), "!#$%&'*+-.^_`|~", HEADER_MAX))
        return field_fail(f, name, "use letters, digits and -", "not a header name");
    if (among(name, reserved, ARRAY_LEN(reserved)))
        return field_fail(f, name, "leave it out", "header %s is set by canvass itself", name);
    if (ref) {
        h.header.secret = true;
        if (!read_secret(b, f, name, ref, &h.header.value, &h.header.shown))
            return false;
    } else if (lua_type(f->L, -1) == LUA_TSTRING) {
        struct str text = script_str(f->L, -1);
        h.header.value = arena_str(f->arena, text).ptr;
        if (strlen(text.ptr) != text.len || !value_ok(h.header.value))
            return field_fail(f, name, "write one line of text",
                              "a header's value holds a control character, or is too long");
        h.header.shown = h.header.value;
        if (among(name, credentials, ARRAY_LEN(credentials))) {
            h.header.secret = true;
            h.header.shown = "(hidden)";
            table_warn(b,
                       "header %s is a credential in plain text (%s: %s): it is kept with every revision of the table; "
                       "write secret \"NAME\" instead",
                       name, f->file, field_path(f, name));
        }
    } else if (lua_type(f->L, -1) != LUA_TBOOLEAN || lua_toboolean(f->L, -1)) {
        return field_fail(f, name, "write a text, secret \"NAME\", or false to take an inherited one away",
                          "a header cannot be a %s", luaL_typename(f->L, -1));
    }
    put_header(f->arena, k, h);
    return true;
}

bool table_headers_read(struct table_build *b, struct fields *f, enum setter by, struct table_keys *k)
{
    struct fields headers;
    const char *const *names;
    size_t count;
    if (!field_map(f, "headers", "a header", &headers, &names, &count))
        return !f->failed;
    for (size_t i = 0; !f->failed && i < count; i++) {
        if (among(names[i], names, i))
            field_fail(&headers, names[i], "keep one of them", "header %s stands here twice", names[i]);
        lua_pushstring(f->L, names[i]);
        lua_rawget(f->L, headers.index);
        read_header(b, &headers, names[i], by, k);
        lua_pop(f->L, 1);
    }
    lua_pop(f->L, 1);
    return !f->failed;
}

void table_headers_end(struct table_build *b, struct table_keys *k)
{
    const struct header *constant;
    size_t constants = adapters_headers(b->adapters, k->spec.adapter_slot, &constant), count = 0;
    struct arena *a = &b->table->arena;
    struct table_header *all = arena_alloc(a, (constants + k->header_count) * sizeof *all);

    for (size_t i = 0; i < constants; i++) {
        bool replaced = false;
        for (size_t j = 0; j < k->header_count; j++)
            replaced |= strcasecmp(k->headers[j].header.name, constant[i].name) == 0;
        if (!replaced)
            all[count++] = (struct table_header){constant[i], BY_ADAPTER};
    }
    for (size_t i = 0; i < k->header_count; i++)
        all[count++] = k->headers[i];
    k->headers = all;
    k->header_count = count;

    struct header *plain = arena_alloc(a, count * sizeof *plain);
    for (size_t i = 0; i < count; i++)
        plain[i] = all[i].header;
    k->spec.headers = plain;
    k->spec.header_count = count;
}

/* ---- the proxy: the other place where a secret may stand ---- */

/* url_check() knows http(s) only and refuses user:password@, which is right for a secret's
 * value only: so the scheme is exchanged, and the credentials cut out, before it looks. */
static bool proxy_ok(struct fields *f, const char *proxy, bool secret)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(proxy, schemes[i], len) != 0)
            continue;
        const char *host = strchr(proxy + len, '@');
        if (host && !secret)
            return field_fail(f, "proxy",
                              "write secret(\"NAME\", \"http://user:%s@host:3128\"), with the password in NAME",
                              "a proxy's password in plain text");
        struct err why;
        host = host ? host + 1 : proxy + len;
        return url_check(arena_printf(f->arena, "http://%s", host), "proxy", &why) ||
               field_fail(f, "proxy", "write it as http://host:port", "not a proxy's address");
    }
    return field_fail(f, "proxy", "write http://host:port, https://..., socks5://... or socks5h://...",
                      "a proxy of an unknown kind");
}

bool table_proxy_read(struct table_build *b, struct fields *f, struct table_keys *k, bool *set)
{
    if (f->failed || field_type(f, "proxy") == LUA_TNIL || !field_push(f, "proxy"))
        return !f->failed;
    const struct secret_ref *ref = secrets_ref(f->L, -1);
    bool none = lua_type(f->L, -1) == LUA_TBOOLEAN && !lua_toboolean(f->L, -1);
    const char *proxy = NULL, *shown = NULL;
    bool ok = none || (ref ? read_secret(b, f, "proxy", ref, &proxy, &shown) : field_string(f, "proxy", &proxy));
    lua_pop(f->L, 1);

    bool missing = ref && proxy && !*proxy; /* it was warned about */
    if (!ok || (proxy && !missing && !proxy_ok(f, proxy, ref != NULL)))
        return false;
    k->spec.proxy = missing ? NULL : proxy;
    k->proxy_shown = shown ? shown : proxy;
    *set = true;
    return true;
}
