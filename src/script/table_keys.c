#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "base/timeutil.h"
#include "core/url.h"
#include "script/table_build.h"

enum kind {
    KIND_COUNT, KIND_SIZE, KIND_NUMBER, KIND_DURATION, KIND_FLAG, /* low and high hold */
    KIND_URL, KIND_NAME, KIND_NAME_OR_FALSE, KIND_REASON, KIND_WARM, KIND_SERVES, KIND_ORIGINS,
    KIND_PROXY, KIND_ADAPTIVE,
};

/* One key of an endpoint; its position is where table_keys.by remembers who set it. */
struct row {
    const char *table, *name;      /* table: the nested one it stands in, NULL: none */
    enum kind kind;
    size_t offset;                 /* in struct table_keys */
    double low, high;              /* durations: low in us */
};

#define AT(member) offsetof(struct table_keys, member)

static const struct row rows[] = {
    {NULL, "url", KIND_URL, AT(spec.url), 0, 0},
    {NULL, "adapter", KIND_NAME, AT(spec.adapter), 0, 0},
    {NULL, "slots", KIND_COUNT, AT(spec.slots), 1, 100000},
    {NULL, "rate", KIND_NUMBER, AT(spec.rate_per_minute), 0, 1e9},
    {NULL, "deadline", KIND_DURATION, AT(spec.deadline_us), MS_US, 0},
    {NULL, "connect", KIND_DURATION, AT(spec.connect_us), MS_US, 0},
    {NULL, "hop", KIND_DURATION, AT(spec.hop_us), MS_US, 0},
    {NULL, "poll", KIND_DURATION, AT(spec.poll_us), MS_US, 0},
    {NULL, "scaledown", KIND_DURATION, AT(spec.scaledown_us), 0, 0},
    {NULL, "max_body", KIND_SIZE, AT(spec.max_body_bytes), 1, 1 << 30},
    {NULL, "price_per_second", KIND_NUMBER, AT(spec.price_per_second), 0, 1e6},
    {NULL, "price_per_token", KIND_NUMBER, AT(spec.price_per_token), 0, 1e6},
    {NULL, "warm", KIND_WARM, AT(spec.warm), 0, 0},
    {NULL, "reserved", KIND_FLAG, AT(spec.reserved), 0, 0},
    {NULL, "group", KIND_NAME_OR_FALSE, AT(group), 0, 0},
    {NULL, "paused", KIND_REASON, AT(spec.paused), 0, 0},
    {NULL, "serves", KIND_SERVES, AT(spec.serves), 0, 0},
    {NULL, "origins", KIND_ORIGINS, AT(spec.origins), 0, 0},
    {NULL, "proxy", KIND_PROXY, AT(spec.proxy), 0, 0},
    {NULL, "adaptive", KIND_ADAPTIVE, AT(spec.adaptive), 0, 0},
    {"retry", "attempts", KIND_COUNT, AT(spec.retry.attempts), 1, 1000},
    {"retry", "base", KIND_DURATION, AT(spec.retry.base_us), MS_US, 0},
    {"retry", "cap", KIND_DURATION, AT(spec.retry.cap_us), MS_US, 0},
    {"retry", "unknown", KIND_FLAG, AT(spec.retry.unknown), 0, 0},
    {"breaker", "failures", KIND_COUNT, AT(spec.breaker.failures), 1, 1000000},
    {"breaker", "window", KIND_DURATION, AT(spec.breaker.window_us), MS_US, 0},
    {"breaker", "cooldown", KIND_DURATION, AT(spec.breaker.cooldown_us), MS_US, 0},
};

_Static_assert(ARRAY_LEN(rows) <= KEYS_MAX, "table_keys.by is too short");

static const struct breaker_rule usual_breaker = {.failures = 5, .window_us = MINUTE_US, .cooldown_us = 30 * SECOND_US};

void table_keys_default(struct table_keys *k)
{
    *k = (struct table_keys){
        .spec = {
            .adapter = "modal", .slots = 1, .deadline_us = 15 * MINUTE_US, .connect_us = 10 * SECOND_US,
            .hop_us = 3 * MINUTE_US, .scaledown_us = 10 * MINUTE_US, .poll_us = SECOND_US,
            .max_body_bytes = (size_t)8 << 20, .warm = WARM_HEALTH, .breaker = usual_breaker,
            .retry = {.attempts = 4, .base_us = SECOND_US, .cap_us = MINUTE_US},
        },
    };
}

static size_t row_of(const char *table, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0 &&
            (table ? rows[i].table && strcmp(rows[i].table, table) == 0 : !rows[i].table))
            return i;
    assert(false && "no such key");
    return 0;
}

static void *slot(struct table_keys *k, const struct row *r)
{
    return (char *)k + r->offset;
}

static const void *const_slot(const struct table_keys *k, const struct row *r)
{
    return (const char *)k + r->offset;
}

/* ---- reading ---- */

static bool read_name(struct fields *f, const struct row *r, const char **out)
{
    const char *name;
    if (r->kind == KIND_NAME_OR_FALSE && field_type(f, r->name) == LUA_TBOOLEAN) {
        bool on = true;
        if (!field_bool(f, r->name, &on) || on)
            return field_fail(f, r->name, "write its name in quotes, or false for none", "%s is true", r->name);
        *out = NULL;
        return true;
    }
    if (!field_string(f, r->name, &name))
        return false;
    if (!text_is_name(str_from(name), "._:-", 100))
        return field_fail(f, r->name, "use at most 100 letters, digits and . _ : -", "not a name: \"%.100s\"", name);
    *out = name;
    return true;
}

static bool read_reason(struct fields *f, const struct row *r, const char **out)
{
    if (field_type(f, r->name) == LUA_TBOOLEAN) {
        bool on;
        if (!field_bool(f, r->name, &on))
            return false;
        *out = on ? "paused in the region table" : NULL;
        return true;
    }
    return field_string(f, r->name, out);
}

static bool read_warm(struct fields *f, const struct row *r, enum warm_rule *out)
{
    static const char cure[] = "write \"health\", \"ask\" or false";
    if (field_type(f, r->name) == LUA_TBOOLEAN) {
        bool on;
        if (!field_bool(f, r->name, &on) || on)
            return field_fail(f, r->name, cure, "warm is true");
        *out = WARM_NO;
        return true;
    }
    const char *how;
    if (!field_string(f, r->name, &how))
        return false;
    if (strcmp(how, "health") != 0 && strcmp(how, "ask") != 0)
        return field_fail(f, r->name, cure, "warm is \"%.60s\"", how);
    *out = *how == 'h' ? WARM_HEALTH : WARM_ASK;
    return true;
}

static bool read_origins(struct fields *f, const struct row *r, struct table_keys *k)
{
    const char *const *list;
    size_t count;
    if (!field_strings(f, r->name, &list, &count))
        return false;
    const char **origins = arena_alloc(f->arena, count * sizeof *origins);
    for (size_t i = 0; i < count; i++) {
        char origin[ORIGIN_TEXT];
        const char *host = strstr(list[i], "://");
        if (!url_origin(list[i], origin) || !host || host[3 + strcspn(host + 3, "/?#")])
            return field_fail(f, r->name, "write it as https://host or https://host:port", "not an origin: \"%.200s\"",
                              list[i]);
        origins[i] = arena_strdup(f->arena, origin);
    }
    k->spec.origins = origins;
    k->spec.origins_count = count;
    return true;
}

/* floor and ceiling stay 0 where they are not said; table_keys_check() puts 1 and the slots there. */
static bool read_adaptive(struct fields *f, const struct row *r, struct table_keys *k)
{
    if (field_type(f, r->name) == LUA_TBOOLEAN) {
        k->spec.adaptive = (struct adaptive_rule){0};
        return field_bool(f, r->name, &k->adaptive);
    }
    struct fields nested;
    if (!field_table(f, r->name, &nested))
        return false;
    int64_t floor = 0, ceiling = 0;
    field_integer(&nested, "floor", 1, 100000, &floor);
    field_integer(&nested, "ceiling", 1, 100000, &ceiling);
    if (!fields_end(&nested))
        return false;
    k->adaptive = true;
    k->spec.adaptive = (struct adaptive_rule){.floor = (unsigned)floor, .ceiling = (unsigned)ceiling};
    return true;
}

static bool read_number(struct fields *f, const struct row *r, void *out)
{
    int64_t whole;
    switch (r->kind) {
    case KIND_NUMBER:
        return field_number(f, r->name, r->low, r->high, out);
    case KIND_DURATION:
        return field_duration(f, r->name, (int64_t)r->low, out);
    case KIND_FLAG:
        return field_bool(f, r->name, out);
    default:
        if (!field_integer(f, r->name, (int64_t)r->low, (int64_t)r->high, &whole))
            return false;
        if (r->kind == KIND_SIZE)
            *(size_t *)out = (size_t)whole;
        else
            *(unsigned *)out = (unsigned)whole;
        return true;
    }
}

/* True when the key was there and right. */
static bool read_row(struct table_build *b, struct fields *f, const struct row *r, struct table_keys *k)
{
    bool set = false;
    switch (r->kind) {
    case KIND_URL:
        return field_url(f, r->name, slot(k, r));
    case KIND_NAME:
    case KIND_NAME_OR_FALSE:
        return read_name(f, r, slot(k, r));
    case KIND_REASON:
        return read_reason(f, r, slot(k, r));
    case KIND_WARM:
        return read_warm(f, r, slot(k, r));
    case KIND_SERVES:
        return field_strings(f, r->name, &k->spec.serves, &k->spec.serves_count);
    case KIND_ORIGINS:
        return read_origins(f, r, k);
    case KIND_ADAPTIVE:
        return read_adaptive(f, r, k);
    case KIND_PROXY:
        return table_proxy_read(b, f, k, &set) && set;
    default:
        return read_number(f, r, slot(k, r));
    }
}

static void mark(struct table_keys *k, const char *table, enum setter by)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].table && strcmp(rows[i].table, table) == 0)
            k->by[i] = by;
}

/* retry = false asks once; breaker = false never opens, true is the usual one again. */
static bool read_switch(struct fields *f, const char *table, enum setter by, struct table_keys *k)
{
    bool on;
    if (!field_bool(f, table, &on))
        return false;
    if (strcmp(table, "breaker") == 0)
        k->spec.breaker = on ? usual_breaker : (struct breaker_rule){0};
    else if (on)
        return field_fail(f, table, "write a table, { attempts = 4, base = \"1s\", cap = \"60s\" }, or false",
                          "retry is true");
    else
        k->spec.retry = (struct retry_rule){.attempts = 1, .base_us = SECOND_US, .cap_us = MINUTE_US};
    mark(k, table, by);
    return true;
}

static bool read_nested(struct table_build *b, struct fields *f, const char *table, enum setter by,
                        struct table_keys *k)
{
    if (field_type(f, table) == LUA_TBOOLEAN)
        return read_switch(f, table, by, k);

    struct fields nested;
    if (!field_table(f, table, &nested))
        return !f->failed;
    if (strcmp(table, "breaker") == 0 && k->spec.breaker.failures == 0) {
        k->spec.breaker = usual_breaker;
        mark(k, table, by);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].table && strcmp(rows[i].table, table) == 0 && read_row(b, &nested, &rows[i], k))
            k->by[i] = by;
    return fields_end(&nested);
}

static void put_option(struct fields *f, struct table_keys *k, struct table_option option)
{
    struct table_option *list = arena_alloc(f->arena, (k->option_count + 1) * sizeof *list);
    size_t count = k->option_count, at = 0;
    if (count)
        memcpy(list, k->options, count * sizeof *list);
    while (at < count && strcmp(list[at].name, option.name) != 0)
        at++;
    list[at] = option;
    k->options = list;
    k->option_count = at == count ? count + 1 : count;
}

/* The adapter says which options there are; here they only become JSON, which is how they reach its state. */
static bool read_options(struct table_build *b, struct fields *f, enum setter by, struct table_keys *k)
{
    struct fields options;
    const char *const *names;
    size_t count;
    if (!field_map(f, "options", "an option", &options, &names, &count))
        return !f->failed;
    for (size_t i = 0; !f->failed && i < count; i++) {
        struct err why;
        buf_clear(&b->scratch);
        lua_pushstring(f->L, names[i]);
        lua_rawget(f->L, options.index);
        if (script_add_json(b->script, -1, &b->scratch, &why))
            put_option(f, k,
                       (struct table_option){names[i], arena_strndup(f->arena, b->scratch.ptr, b->scratch.len), by});
        else
            field_fail(&options, names[i], "write text, numbers, true, false or tables of them", "%s", why.text);
        lua_pop(f->L, 1);
    }
    lua_pop(f->L, 1);
    return !f->failed;
}

bool table_keys_read(struct table_build *b, struct fields *f, enum setter by, struct table_keys *k)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!rows[i].table && read_row(b, f, &rows[i], k))
            k->by[i] = by;
    return !f->failed && read_nested(b, f, "retry", by, k) && read_nested(b, f, "breaker", by, k) &&
           table_headers_read(b, f, by, k) && read_options(b, f, by, k) && !f->failed;
}

/* ---- what only the whole shows ---- */

struct places {
    struct table_build *b;
    const char *region, *endpoint; /* paths */
};

const char *table_keys_path(struct table_build *b, enum setter by, const char *key, const char *region_path,
                            const char *endpoint_path)
{
    const char *parent = by == BY_DEFAULTS ? "defaults" : by == BY_REGION ? region_path : endpoint_path;
    return arena_printf(&b->table->arena, "%s.%s", parent, key);
}

static const char *place(const struct places *p, const struct table_keys *k, const char *table, const char *name)
{
    const char *key = table ? arena_printf(&p->b->table->arena, "%s.%s", table, name) : name;
    return table_keys_path(p->b, k->by[row_of(table, name)], key, p->region, p->endpoint);
}

enum setter table_keys_by(const struct table_keys *k, const char *name)
{
    return k->by[row_of(NULL, name)];
}

/* Of two values that do not go together: the one that somebody wrote. */
static const char *place_of_either(const struct places *p, const struct table_keys *k, const char *first,
                                   const char *second)
{
    return place(p, k, NULL, table_keys_by(k, first) == BY_PROGRAM ? second : first);
}

static bool resolve_adaptive(const struct places *p, struct table_keys *k)
{
    struct adaptive_rule *rule = &k->spec.adaptive;
    if (!k->adaptive)
        return true;
    if (rule->floor == 0)
        rule->floor = 1;
    if (rule->ceiling == 0)
        rule->ceiling = k->spec.slots > rule->floor ? k->spec.slots : rule->floor;
    if (rule->floor <= k->spec.slots && k->spec.slots <= rule->ceiling)
        return true;
    return err_set(p->b->err, ERR_CONFIG,
                   "adaptive from %u to %u leaves out slots, which is %u (%s: %s): floor may not be "
                   "above slots, nor ceiling below",
                   rule->floor, rule->ceiling, k->spec.slots, p->b->file, place(p, k, NULL, "adaptive"));
}

static bool is_loopback(const char *url)
{
    return strncasecmp(url, "http://127.", 11) == 0 || strncasecmp(url, "http://localhost", 16) == 0 ||
           strncasecmp(url, "http://[::1]", 12) == 0;
}

static void warn_about_times(const struct places *p, const struct table_keys *k)
{
    struct arena *a = &p->b->table->arena;
    const struct endpoint_spec *e = &k->spec;
    const char *hop = table_duration(a, e->hop_us);
    if ((double)e->hop_us * p->b->table->speed < 150 * SECOND_US)
        table_warn(p->b,
                   "hop is %s, below the 150s after which a provider hands over a result URL (%s: %s): an answer that "
                   "takes longer than %s is cut off, paid for and lost",
                   hop, p->b->file, place(p, k, NULL, "hop"), hop);
    if (e->deadline_us < e->hop_us)
        table_warn(p->b,
                   "deadline is %s, below hop, which is %s (%s: %s): no exchange will last longer than the deadline",
                   table_duration(a, e->deadline_us), hop, p->b->file, place_of_either(p, k, "deadline", "hop"));
    if (e->connect_us > e->hop_us)
        table_warn(p->b, "connect is %s, above hop, which is %s (%s: %s): the hop ends first",
                   table_duration(a, e->connect_us), hop, p->b->file, place_of_either(p, k, "connect", "hop"));
}

static void warn_about_secrets(const struct places *p, const struct table_keys *k)
{
    if (strncasecmp(k->spec.url, "http://", 7) != 0 || is_loopback(k->spec.url))
        return;
    for (size_t i = 0; i < k->header_count; i++)
        if (k->headers[i].header.secret)
            table_warn(
                p->b,
                "header %s holds a secret and the url is not https (%s: %s): it travels readable for everyone on "
                "the way",
                k->headers[i].header.name, p->b->file, place(p, k, NULL, "url"));
}

bool table_keys_check(struct table_build *b, struct fields *f, const struct table_keys *region, const char *region_path,
                      struct table_keys *k)
{
    struct places p = {b, region_path, f->path};
    /* A pause of the region is about the region: no endpoint may leave it. */
    enum setter by = table_keys_by(region, "paused");
    if (by >= BY_REGION && region->spec.paused && !k->spec.paused && table_keys_by(k, "paused") != BY_OVERRIDE) {
        k->spec.paused = region->spec.paused;
        k->by[row_of(NULL, "paused")] = by;
    }
    if (!k->spec.url)
        return field_fail(f, "url", "add url = \"https://...\", the exact address to POST to", "no url");
    if (k->spec.retry.cap_us < k->spec.retry.base_us)
        return err_set(b->err, ERR_CONFIG,
                       "retry.cap is %s, below retry.base, which is %s (%s: %s): make cap the larger one",
                       table_duration(&b->table->arena, k->spec.retry.cap_us),
                       table_duration(&b->table->arena, k->spec.retry.base_us), b->file, place(&p, k, "retry", "cap"));
    if (!resolve_adaptive(&p, k))
        return false;
    warn_about_times(&p, k);
    warn_about_secrets(&p, k);
    return true;
}

/* ---- showing ---- */

static const char *show_row(struct table_build *b, const struct table_keys *k, const struct row *r)
{
    struct arena *a = &b->table->arena;
    const void *at = const_slot(k, r);
    const char *text;
    switch (r->kind) {
    case KIND_COUNT:
        return arena_printf(a, "%u", *(const unsigned *)at);
    case KIND_SIZE:
        return arena_printf(a, "%zu", *(const size_t *)at);
    case KIND_NUMBER:
        return arena_printf(a, "%.12g", *(const double *)at);
    case KIND_DURATION:
        return table_duration(a, *(const int64_t *)at);
    case KIND_FLAG:
        return *(const bool *)at ? "true" : "false";
    case KIND_WARM:
        return k->spec.warm == WARM_ASK ? "ask" : k->spec.warm == WARM_HEALTH ? "health" : "false";
    case KIND_SERVES:
        return table_list(b, k->spec.serves, k->spec.serves_count);
    case KIND_ORIGINS:
        return table_list(b, k->spec.origins, k->spec.origins_count);
    case KIND_PROXY:
        return k->spec.proxy ? k->proxy_shown : "false";
    case KIND_ADAPTIVE:
        return k->adaptive
                   ? arena_printf(a, "{ floor = %u, ceiling = %u }", k->spec.adaptive.floor, k->spec.adaptive.ceiling)
                   : "false";
    default:
        memcpy(&text, at, sizeof text);
        return text ? text : "false";
    }
}

static const char *setter_name(struct table_build *b, enum setter by, const char *region)
{
    static const char *const names[] = {"default", "defaults", NULL, "endpoint", "adapter", "override"};
    return by == BY_REGION ? arena_printf(&b->table->arena, "region %s", region) : names[by];
}

static void add(struct table_build *b, const struct table_keys *k, const char *region, enum setter by,
                const char *table, const char *name, const char *value)
{
    const char *path =
        arena_printf(&b->table->arena, "%s.%s%s%s", k->spec.id, table ? table : "", table ? "." : "", name);
    table_setting(b, path, value, setter_name(b, by, region));
}

void table_keys_settings(struct table_build *b, const struct table_keys *k, const char *region)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        if (r->table && strcmp(r->table, "breaker") == 0 && k->spec.breaker.failures == 0) {
            if (strcmp(r->name, "failures") == 0)
                add(b, k, region, k->by[i], NULL, "breaker", "false");
            continue;
        }
        const char *value = show_row(b, k, r), *file = adapters_file(b->adapters, k->spec.adapter_slot);
        if (r->offset == AT(spec.adapter) && file)
            value = arena_printf(&b->table->arena, "%s (%s)", value, file);
        add(b, k, region, k->by[i], r->table, r->name, value);
    }
    for (size_t i = 0; i < k->header_count; i++)
        add(b, k, region, k->headers[i].by, "headers", k->headers[i].header.name, k->headers[i].header.shown);
    for (size_t i = 0; i < k->option_count; i++)
        add(b, k, region, k->options[i].by, "options", k->options[i].name, k->options[i].json);
}
