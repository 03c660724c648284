#include "host/redact.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"

/* Anything shorter stands in other words too, and keeps no door. */
enum { SECRET_BYTES_MIN = 6 };

static const char shown_mark[] = "<secret ", shown_whole[] = "secret ";

struct secret {
    struct str value, name;
};

/* What stands around the secret is the same in the header's value and in its shown form, "Bearer <secret TOKEN>". */
static bool find_secret(const struct header *h, struct secret *out)
{
    const char *from = h->secret ? strstr(h->shown, shown_mark) : NULL, *to = from ? strchr(from, '>') : NULL;
    size_t before = from ? (size_t)(from - h->shown) : 0, after = to ? strlen(to + 1) : 0, len = strlen(h->value);
    if (!h->secret || len < before + after + SECRET_BYTES_MIN)
        return false;
    out->value = (struct str){h->value + before, len - before - after};
    out->name = str_from(h->name); /* of a credential in plain text */
    if (to)
        out->name = (struct str){from + strlen(shown_mark), (size_t)(to - from) - strlen(shown_mark)};
    else if (strncmp(h->shown, shown_whole, strlen(shown_whole)) == 0)
        out->name = str_from(h->shown + strlen(shown_whole));
    return true;
}

static void add_mark(struct buf *out, const struct secret *secret, bool encoded)
{
    buf_addf(out, "%s%.*s%s>", SECRET_MARK, (int)secret->name.len, secret->name.ptr, encoded ? ":%" : "");
}

static int hex_digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* How many bytes at the start of text spell the value, percent-encoded or not; 0: they do not. */
static size_t spells(struct str text, struct str value, bool *encoded)
{
    size_t at = 0;
    *encoded = false;
    for (size_t i = 0; i < value.len; i++) {
        const char *c = text.ptr + at;
        size_t left = text.len - at;
        if (left && *c == value.ptr[i]) {
            at++;
        } else if (left > 2 && *c == '%' && hex_digit(c[1]) >= 0 && hex_digit(c[2]) >= 0 &&
                   (char)(hex_digit(c[1]) << 4 | hex_digit(c[2])) == value.ptr[i]) {
            at += 3;
            *encoded = true;
        } else {
            return 0;
        }
    }
    return at;
}

/* The first place where the secret stands; len 0: nowhere. */
static struct str find_in(struct str text, struct str value, bool *encoded)
{
    for (size_t i = 0; i < text.len; i++) {
        struct str rest = {text.ptr + i, text.len - i};
        size_t len = *rest.ptr == *value.ptr || *rest.ptr == '%' ? spells(rest, value, encoded) : 0;
        if (len)
            return (struct str){rest.ptr, len};
    }
    return (struct str){0};
}

static void keep(struct buf *scratch, struct buf *next, struct str *text)
{
    buf_done(scratch);
    *scratch = *next;
    *text = buf_str(scratch);
}

struct str redact(const struct endpoint_spec *e, struct str text, struct buf *scratch)
{
    for (size_t i = 0; i < e->header_count; i++) {
        struct secret secret;
        struct str found, rest = text;
        struct buf next;
        bool encoded;
        if (!find_secret(&e->headers[i], &secret))
            continue;
        buf_init(&next, scratch->max);
        while ((found = find_in(rest, secret.value, &encoded)).len) {
            buf_add(&next, rest.ptr, (size_t)(found.ptr - rest.ptr));
            add_mark(&next, &secret, encoded);
            rest = (struct str){found.ptr + found.len, (size_t)(rest.ptr + rest.len - found.ptr) - found.len};
        }
        if (!next.len)
            continue;
        buf_add(&next, rest.ptr, rest.len);
        keep(scratch, &next, &text);
    }
    return text;
}

struct str restore_secrets(const struct endpoint_spec *e, struct str url, struct buf *scratch)
{
    for (size_t i = 0; i < 2 * e->header_count; i++) {
        struct secret secret;
        struct buf mark, next;
        const char *found;
        bool encoded = i % 2;
        if (!find_secret(&e->headers[i / 2], &secret))
            continue;
        buf_init(&mark, 1024);
        add_mark(&mark, &secret, encoded);
        while ((found = memmem(url.ptr, url.len, mark.ptr, mark.len))) {
            size_t before = (size_t)(found - url.ptr), used = before + mark.len;
            buf_init(&next, scratch->max);
            buf_add(&next, url.ptr, before);
            if (encoded)
                text_add_percent(&next, secret.value);
            else
                buf_add(&next, secret.value.ptr, secret.value.len);
            buf_add(&next, url.ptr + used, url.len - used);
            keep(scratch, &next, &url);
        }
        buf_done(&mark);
    }
    return url;
}
