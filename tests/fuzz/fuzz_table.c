/* Region tables: loaded whole or refused with a reason, within their limits, and without a secret in anything shown. */
#include "fuzz.h"

#include "core/url.h"
#include "script/table_file.h"

static const char secret[] = "s3cret-v4lue";

static void check_endpoint(const struct region_table *t, size_t i)
{
    const struct endpoint_spec *e = &t->endpoints[i];
    PROMISE(url_check(e->url, e->id, NULL), "%s", e->url);
    PROMISE(e->index == i && e->region < t->region_count && e->group < (int)t->group_count, "%s", e->id);
    PROMISE(region_table_endpoint(t, (int)e->region, e->model) == e, "%s is there twice", e->id);
    PROMISE(e->slots >= 1 && e->retry.attempts >= 1 && e->retry.base_us <= e->retry.cap_us, "%s", e->id);
    PROMISE(e->deadline_us > 0 && e->hop_us > 0 && e->connect_us > 0 && e->poll_us > 0 && e->scaledown_us >= 0, "%s",
            e->id);
    PROMISE(!e->adaptive.ceiling || (e->adaptive.floor <= e->slots && e->slots <= e->adaptive.ceiling), "%s", e->id);
    for (size_t k = 0; k < e->header_count; k++)
        PROMISE(!strpbrk(e->headers[k].value, "\r\n") && !strpbrk(e->headers[k].name, "\r\n: "), "%s",
                e->headers[k].name);
    for (size_t k = 0; k < e->origins_count; k++)
        PROMISE(url_check(e->origins[k], e->id, NULL), "%s", e->origins[k]);
}

static void check_shown(const char *text)
{
    PROMISE(!strstr(text, secret), "%s", text);
}

static void check_table(const struct region_table *t)
{
    PROMISE(t->endpoint_count > 0 && (!t->endpoints_max || t->endpoint_count <= t->endpoints_max), "%zu",
            t->endpoint_count);
    for (size_t i = 0; i < t->endpoint_count; i++)
        check_endpoint(t, i);
    for (size_t i = 0; i < t->region_count; i++)
        PROMISE(region_table_region(t, t->regions[i].id) == (int)i, "%s", t->regions[i].id);
    for (size_t i = 0; i < t->setting_count; i++)
        check_shown(t->settings[i].value);
    for (size_t i = 0; i < t->warning_count; i++)
        check_shown(t->warnings[i]);
    PROMISE(strspn(t->hash, "0123456789abcdef") == 64, "%s", t->hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script_limits limits = {5000, 5000, 8u << 20};
    static const struct table_options options = {.limits = &limits};
    struct err err = {0};
    setenv("FUZZ", secret, 1);
    struct region_table *t = table_load_text("fuzz/regions.lua", (struct str){(const char *)data, size}, &options,
                                             &err);
    bool given = memmem(data, size, secret, sizeof secret - 1); /* libFuzzer has seen it compared */
    if (t && !given)
        check_table(t);
    if (!t)
        fuzz_refusal(&err);
    if (!t && !given)
        check_shown(err.text);
    region_table_unref(t);
    return 0;
}
