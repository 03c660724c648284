#include "cli/redact.h"

#include <string.h>

/* Anything shorter stands in other words too, and keeps no door. */
enum { SECRET_BYTES_MIN = 6 };

static const char mark[] = "<secret ";

struct secret {
    struct str value, name;
};

/* What stands around the secret is the same in the header's value and in its shown form, "Bearer <secret TOKEN>". */
static bool find_secret(const struct header *h, struct secret *out)
{
    const char *from = h->secret ? strstr(h->shown, mark) : NULL, *to = from ? strchr(from, '>') : NULL;
    size_t before = from ? (size_t)(from - h->shown) : 0, after = to ? strlen(to + 1) : 0, len = strlen(h->value);
    if (!h->secret || len < before + after + SECRET_BYTES_MIN)
        return false;
    out->value = (struct str){h->value + before, len - before - after};
    out->name = to ? (struct str){from, (size_t)(to + 1 - from)} : str_from(h->shown);
    return true;
}

static void replace(struct str text, const struct secret *secret, struct buf *out)
{
    const char *found;
    while (text.len && (found = memmem(text.ptr, text.len, secret->value.ptr, secret->value.len))) {
        size_t before = (size_t)(found - text.ptr), used = before + secret->value.len;
        buf_add(out, text.ptr, before);
        buf_add(out, secret->name.ptr, secret->name.len);
        text = (struct str){text.ptr + used, text.len - used};
    }
    buf_add(out, text.ptr, text.len);
}

struct str redact(const struct endpoint_spec *e, struct str text, struct buf *scratch)
{
    for (size_t i = 0; i < e->header_count; i++) {
        struct secret secret;
        if (!text.len || !find_secret(&e->headers[i], &secret) ||
            !memmem(text.ptr, text.len, secret.value.ptr, secret.value.len))
            continue;
        struct buf next;
        buf_init(&next, scratch->max);
        replace(text, &secret, &next);
        buf_done(scratch);
        *scratch = next;
        text = buf_str(scratch);
    }
    return text;
}
