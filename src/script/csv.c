#include "script/csv.h"

#include <string.h>

void csv_init(struct csv *c, struct str text)
{
    *c = (struct csv){.text = text, .line = 1};
    if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
        c->at = 3;
}

/* The byte at `at`, or -1 at the end. */
static int peek(const struct csv *c)
{
    return c->at < c->text.len ? (unsigned char)c->text.ptr[c->at] : -1;
}

/* Steps over LF or CRLF. A CR alone is a character like any other. */
static bool skip_newline(struct csv *c)
{
    size_t left = c->text.len - c->at;
    size_t step = left >= 1 && c->text.ptr[c->at] == '\n' ? 1
                : left >= 2 && memcmp(c->text.ptr + c->at, "\r\n", 2) == 0 ? 2 : 0;
    c->at += step;
    c->line += step > 0;
    return step > 0;
}

bool csv_more(struct csv *c)
{
    while (skip_newline(c))
        ;
    return c->at < c->text.len;
}

static enum csv_end wrong(struct csv *c, const char *what)
{
    c->wrong = what;
    return CSV_WRONG;
}

/* What stands behind a field: a comma, the end of the line, or the end of the text. */
static enum csv_end field_end(struct csv *c, const char *otherwise)
{
    if (peek(c) == ',') {
        c->at++;
        return CSV_FIELD;
    }
    if (peek(c) < 0 || skip_newline(c))
        return CSV_RECORD;
    return wrong(c, otherwise);
}

static enum csv_end read_quoted(struct csv *c, struct buf *field)
{
    size_t opened = c->line;
    c->at++;
    for (;;) {
        const char *from = c->text.ptr + c->at;
        const char *quote = memchr(from, '"', c->text.len - c->at);
        if (!quote) {
            c->line = opened; /* the last line of the file would help nobody */
            return wrong(c, "a quote is opened and never closed: close it, or double the quotes inside the field");
        }
        for (const char *p = from; p < quote; p++)
            c->line += *p == '\n';
        buf_add(field, from, (size_t)(quote - from));
        c->at += (size_t)(quote - from) + 1;
        if (peek(c) != '"')
            return field_end(c,
                             "text follows a closing quote: put the whole field in quotes and double the quotes in it");
        buf_addc(field, '"');
        c->at++;
    }
}

static enum csv_end read_plain(struct csv *c, struct buf *field)
{
    size_t start = c->at;
    for (; c->at < c->text.len; c->at++) {
        char b = c->text.ptr[c->at];
        if (b == ',' || b == '\n' || (b == '\r' && c->at + 1 < c->text.len && c->text.ptr[c->at + 1] == '\n'))
            break;
        if (b == '"')
            return wrong(
                c, "a quote inside a field without quotes: put the whole field in quotes and double the quotes in it");
    }
    buf_add(field, c->text.ptr + start, c->at - start);
    return field_end(c, "");
}

enum csv_end csv_read(struct csv *c, struct buf *field)
{
    buf_clear(field);
    enum csv_end end = peek(c) == '"' ? read_quoted(c, field) : read_plain(c, field);
    if (end != CSV_WRONG && field->full)
        return wrong(c, "a field is too long: cut it");
    return end;
}
