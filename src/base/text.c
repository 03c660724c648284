#include "base/text.h"

#include <stdint.h>
#include <wchar.h>

#include "base/defs.h"
#include "base/word.h"

static const struct str REPLACEMENT = {"\xEF\xBF\xBD", 3};
static const struct str ELLIPSIS = {"\xE2\x80\xA6", 3};

/* Length of the character at p and its code point; 0 when the bytes there are not UTF-8. Overlong forms, surrogates and
 * anything beyond U+10FFFF are not (Unicode, table 3-7): they have hidden slashes and quotes before. */
static size_t decode(const char *text, size_t len, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t size = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 0;
    if (size == 1) {
        *point = p[0];
        return 1;
    }
    if (size == 0 || size > len || p[0] > 0xF4)
        return 0;
    uint32_t value = p[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3F);
    }
    if (value < least[size] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return size;
}

/* What a terminal obeys, or what makes a line read as something else than it says. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

/* A character newer than libc's tables is shown and taken for one column. */
static size_t width_of(uint32_t c)
{
    int width = wcwidth((wchar_t)c);
    return width < 0 ? 1 : (size_t)width;
}

bool text_is_ascii(struct str s)
{
    size_t i = 0;
    uint64_t bits = 0;
    for (; i + sizeof bits <= s.len; i += sizeof bits)
        bits |= word_load(s.ptr + i);
    for (; i < s.len; i++)
        bits |= (unsigned char)s.ptr[i];
    return !(bits & WORD_HIGHS);
}

bool text_is_utf8(struct str s)
{
    uint32_t c;
    for (size_t i = 0, size; i < s.len; i += size)
        if (!(size = decode(s.ptr + i, s.len - i, &c)))
            return false;
    return true;
}

bool text_has_control(struct str s)
{
    uint32_t c;
    for (size_t i = 0, size; i < s.len; i += size ? size : 1)
        if ((size = decode(s.ptr + i, s.len - i, &c)) && is_control(c))
            return true;
    return false;
}

bool text_is_name(struct str s, const char *marks, size_t most_bytes)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr(marks, c)))
            return false;
    }
    return s.len > 0 && s.len <= most_bytes;
}

void text_add_utf8(struct buf *out, struct str s)
{
    uint32_t c;
    size_t from = 0, i = 0;
    while (i < s.len) {
        size_t size = decode(s.ptr + i, s.len - i, &c);
        if (!size) {
            buf_add(out, s.ptr + from, i - from);
            buf_add(out, REPLACEMENT.ptr, REPLACEMENT.len);
            from = i + 1;
        }
        i += size ? size : 1;
    }
    buf_add(out, s.ptr + from, s.len - from);
}

/* One character as it may be shown: the bytes of itself, of a space, or of U+FFFD. */
struct shown {
    struct str bytes;
    size_t taken, columns; /* taken: bytes of the input */
};

static struct shown show(const char *text, size_t len, bool one_line)
{
    uint32_t c;
    size_t size = decode(text, len, &c);
    if (size == 1 && c == '\r' && len > 1 && text[1] == '\n')
        return (struct shown){.taken = 1};
    if (size == 1 && c == '\n' && !one_line)
        return (struct shown){{text, 1}, 1, 0};
    if (size == 1 && (c == '\n' || c == '\t'))
        return (struct shown){STR(" "), 1, 1};
    if (!size || is_control(c))
        return (struct shown){REPLACEMENT, size ? size : 1, 1};
    return (struct shown){{text, size}, size, width_of(c)};
}

static void cut(struct buf *out, size_t len)
{
    out->len = len;
    if (out->ptr)
        out->ptr[len] = '\0';
}

enum { MARKS_MAX = 8 }; /* accents on one character: enough for every script, too few to flood a table's cell */

size_t text_add_plain(struct buf *out, struct str s, size_t columns, bool one_line)
{
    /* The longest start that leaves a column for the ellipsis, should there be too much. */
    size_t used = 0, room_len = out->len, room_used = 0;
    unsigned marks = 0;
    for (size_t i = 0; i < s.len;) {
        struct shown piece = show(s.ptr + i, s.len - i, one_line);
        i += piece.taken;
        bool mark = piece.columns == 0 && piece.bytes.len > 1;
        marks = mark ? marks + 1 : 0;
        if (mark && marks > MARKS_MAX)
            continue;
        if (columns && used + piece.columns > columns) {
            cut(out, room_len);
            return room_used + (buf_add(out, ELLIPSIS.ptr, ELLIPSIS.len) ? 1 : 0);
        }
        if (!buf_add(out, piece.bytes.ptr, piece.bytes.len))
            break;
        used += piece.columns;
        if (used < columns) {
            room_len = out->len;
            room_used = used;
        }
    }
    return used;
}

size_t text_columns(struct str s)
{
    size_t columns = 0;
    uint32_t c;
    for (size_t i = 0, size; i < s.len; i += size ? size : 1) {
        size = decode(s.ptr + i, s.len - i, &c);
        columns += !size ? 1 : is_control(c) ? 0 : width_of(c);
    }
    return columns;
}

static size_t digits(struct str s, size_t i)
{
    size_t from = i;
    while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
        i++;
    return i - from;
}

/* A sign, digits, a fraction, an exponent: "-3", "+1.5e-7". */
static bool is_number(struct str s)
{
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    size_t whole = digits(s, i), part = 0;
    i += whole;
    if (i < s.len && s.ptr[i] == '.') {
        part = digits(s, i + 1);
        i += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+'))
            i++;
        size_t exponent = digits(s, i);
        i += exponent;
        if (!exponent)
            return false;
    }
    return i == s.len;
}

void text_add_csv(struct buf *out, struct str s)
{
    bool formula = s.len && memchr("=+-@\t\r", s.ptr[0], 6) && !is_number(s);
    bool quoted = false;
    for (size_t i = 0; i < s.len && !quoted; i++)
        quoted = memchr(",\"\r\n", s.ptr[i], 4) != NULL;
    if (quoted)
        buf_addc(out, '"');
    if (formula)
        buf_addc(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, s.ptr[i]);
    }
    if (quoted)
        buf_addc(out, '"');
}

static void add_escape(struct buf *out, uint32_t c)
{
    static const struct {
        char c, letter;
    } shorts[] = {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\b', 'b'}, {'\f', 'f'}};
    for (size_t i = 0; i < ARRAY_LEN(shorts); i++)
        if (c == (unsigned char)shorts[i].c) {
            buf_add(out, (char[]){'\\', shorts[i].letter}, 2);
            return;
        }
    buf_addf(out, "\\u%04x", (unsigned)c);
}

/* How many bytes at the start need no second look; the rest may be plain too. */
static size_t plain_words(const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    while (end - at >= 8 && word_is_plain(word_load(at)))
        at += 8;
    return (size_t)(at - text);
}

/* Terminal and bidi controls are escaped too: the same string to a program, and harmless on a screen. */
void text_add_json(struct buf *out, struct str s)
{
    uint32_t c;
    size_t from = 0, i = 0;
    buf_addc(out, '"');
    while (i < s.len) {
        i += plain_words(s.ptr + i, s.len - i);
        if (i == s.len)
            break;
        size_t size = decode(s.ptr + i, s.len - i, &c);
        if (size && !is_control(c) && c != '"' && c != '\\') {
            i += size;
            continue;
        }
        buf_add(out, s.ptr + from, i - from);
        if (size)
            add_escape(out, c);
        else
            buf_add(out, REPLACEMENT.ptr, REPLACEMENT.len);
        i += size ? size : 1;
        from = i;
    }
    buf_add(out, s.ptr + from, s.len - from);
    buf_addc(out, '"');
}

void text_add_percent(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (text_is_name((struct str){s.ptr + i, 1}, "-._~", 1))
            buf_addc(out, s.ptr[i]);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)s.ptr[i]);
    }
}
