#include "core/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/text.h"

enum { URL_BYTES = 8000, HOST_BYTES = 253, SHOWN = 80 };

struct parts {
    bool https;
    struct str host; /* as written; an IPv6 address with its brackets */
    unsigned port;
};

/* What is wrong with a URL, and what would be right. */
struct fault {
    const char *what, *cure;
};

static bool fault_set(struct fault *f, const char *what, const char *cure)
{
    *f = (struct fault){what, cure};
    return false;
}

static bool check_bytes(const char *url, struct fault *f)
{
    for (const unsigned char *p = (const unsigned char *)url; *p; p++) {
        if (*p <= ' ' || *p == 0x7F)
            return fault_set(f, "has a space or a control character", "percent-encode it, a space as %20");
        if (*p == '#')
            return fault_set(f, "has a fragment", "leave out what follows the '#'");
    }
    if (strlen(url) > URL_BYTES)
        return fault_set(f, "is longer than 8000 bytes", "use a shorter one");
    return true;
}

/* With its brackets; the caller found the closing one. */
static bool read_ipv6(struct str host, struct in6_addr *out)
{
    char address[INET6_ADDRSTRLEN];
    size_t len = host.len - 2;
    if (len >= sizeof address)
        return false;
    memcpy(address, host.ptr + 1, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, out) == 1;
}

/* 127.1, 0x7f000001 and the like: libcurl takes them for addresses, so their origin would not be the one they show. */
static bool is_odd_number(struct str host)
{
    char address[INET_ADDRSTRLEN];
    struct in_addr unused;
    size_t len = host.len - (host.ptr[host.len - 1] == '.'), last = len;
    while (last > 0 && host.ptr[last - 1] != '.')
        last--;
    size_t hex = len - last >= 2 && strncasecmp(host.ptr + last, "0x", 2) == 0 ? 2 : 0;
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    for (size_t i = last + hex; i < len; i++)
        if (!strchr(digits, host.ptr[i]))
            return false;
    if (len == last)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)host.len, host.ptr);
    return host.len >= sizeof address || inet_pton(AF_INET, address, &unused) != 1;
}

static bool check_host(struct str host, struct fault *f)
{
    if (host.len == 0)
        return fault_set(f, "has no host", "write https://HOST/PATH");
    if (host.len > HOST_BYTES)
        return fault_set(f, "has a host name of more than 253 bytes", "use the server's real name");
    struct in6_addr unused;
    if (host.ptr[0] == '[')
        return read_ipv6(host, &unused) ||
               fault_set(f, "has a bad IPv6 address", "write it like http://[::1]:8000/");
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)))
            return fault_set(f, "has a character in its host that no host name has",
                             "use letters, digits, '-' and '.'; write an international name in its xn-- form");
    }
    if (is_odd_number(host))
        return fault_set(f, "has a number for a host", "write an address like 127.0.0.1, without further zeros");
    return true;
}

static bool parse_port(struct str digits, unsigned *port, struct fault *f)
{
    unsigned value = 0;
    bool good = digits.len >= 1 && digits.len <= 5;
    for (size_t i = 0; good && i < digits.len; i++) {
        good = digits.ptr[i] >= '0' && digits.ptr[i] <= '9';
        value = value * 10 + (unsigned)(digits.ptr[i] - '0');
    }
    if (!good || value < 1 || value > 65535)
        return fault_set(f, "has a bad port", "use a number from 1 to 65535, or leave the ':' out");
    *port = value;
    return true;
}

static bool parse(const char *url, struct parts *p, struct fault *f)
{
    if (!check_bytes(url, f))
        return false;
    bool https = strncasecmp(url, "https://", 8) == 0;
    if (!https && strncasecmp(url, "http://", 7) != 0)
        return fault_set(f, "is not an http or https URL", "write https://HOST/PATH");

    const char *start = url + (https ? 8 : 7);
    struct str rest = {start, strcspn(start, "/?")};
    if (memchr(rest.ptr, '@', rest.len))
        return fault_set(f, "holds a user name or password", "send credentials as a header, with secret \"NAME\"");

    const char *bracket = rest.len && rest.ptr[0] == '[' ? memchr(rest.ptr, ']', rest.len) : NULL;
    const char *after = bracket ? bracket + 1 : rest.ptr;
    const char *colon = memchr(after, ':', (size_t)(rest.ptr + rest.len - after));
    struct parts found = {.https = https, .host = rest, .port = https ? 443 : 80};
    if (colon)
        found.host.len = (size_t)(colon - rest.ptr);
    if (bracket && after != found.host.ptr + found.host.len)
        return fault_set(f, "has something between its address and its port", "write it like http://[::1]:8000/");
    if (rest.len && rest.ptr[0] == '[' && !bracket)
        return fault_set(f, "has a '[' without a ']'", "write it like http://[::1]:8000/");
    if (!check_host(found.host, f))
        return false;
    if (colon && !parse_port((struct str){colon + 1, (size_t)(rest.ptr + rest.len - colon - 1)}, &found.port, f))
        return false;
    *p = found;
    return true;
}

/* Cut and harmless. What stands before an '@' may be a password and is left out. */
static void add_shown(struct buf *out, const char *url)
{
    const char *at = strchr(url, '@');
    if (at)
        buf_adds(out, "...");
    text_add_plain(out, str_from(at ? at : url), SHOWN, true);
}

bool url_check(const char *url, const char *where, struct err *err)
{
    struct parts unused;
    struct fault f;
    if (parse(url, &unused, &f))
        return true;
    struct buf shown;
    buf_init(&shown, 8 * SHOWN);
    add_shown(&shown, url);
    err_set(err, ERR_CONFIG, "the URL \"%s\" %s (%s): %s", shown.ptr ? shown.ptr : "", f.what, where, f.cure);
    buf_done(&shown);
    return false;
}

bool url_origin(const char *url, char out[ORIGIN_TEXT])
{
    struct parts p;
    struct fault unused;
    if (!parse(url, &p, &unused))
        return false;
    char port[8] = "";
    if (p.port != (p.https ? 443 : 80))
        snprintf(port, sizeof port, ":%u", p.port);
    struct in6_addr address;
    char shortest[INET6_ADDRSTRLEN + 2] = "[";
    if (p.host.ptr[0] == '[' && read_ipv6(p.host, &address)) {
        inet_ntop(AF_INET6, &address, shortest + 1, INET6_ADDRSTRLEN);
        strcat(shortest, "]");
        p.host = str_from(shortest);
    }
    snprintf(out, ORIGIN_TEXT, "%s://%.*s%s", p.https ? "https" : "http", (int)p.host.len, p.host.ptr, port);
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    return true;
}

bool url_same_origin(const char *a, const char *b)
{
    char origin_a[ORIGIN_TEXT], origin_b[ORIGIN_TEXT];
    return url_origin(a, origin_a) && url_origin(b, origin_b) && strcmp(origin_a, origin_b) == 0;
}
