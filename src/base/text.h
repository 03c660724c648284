/* text.h -- text from outside made harmless, and as wide as it looks.
 *
 * Answers, error bodies and names are untrusted: they may hold terminal
 * escapes, bidirectional overrides, broken UTF-8, or nothing but newlines. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

bool text_is_utf8(struct str s);
bool text_is_ascii(struct str s); /* as most texts are; much the quicker question */
bool text_has_control(struct str s); /* what text_add_plain() would make visible, but for invalid UTF-8 */

/* 1 to most_bytes ASCII letters, digits and marks. */
bool text_is_name(struct str s, const char *marks, size_t most_bytes);

/* Appends s with every byte that is not valid UTF-8 replaced by U+FFFD, for JSON and the store. */
void text_add_utf8(struct buf *out, struct str s);

/* Appends s for a terminal or a log line: control characters (C0, C1, DEL), bidi
 * controls and invalid UTF-8 become visible (\n as a space when one_line, else
 * kept; TAB as a space, \r\n as \n; others as U+FFFD), and it is cut at `columns` columns (0: never cut)
 * with an ellipsis. Returns the columns used. */
size_t text_add_plain(struct buf *out, struct str s, size_t columns, bool one_line);

size_t text_columns(struct str s); /* wcwidth over UTF-8; controls count 0 */

/* Appends s as one CSV field (RFC 4180), quoted when needed. A field that a spreadsheet would take
 * for a formula (= + - @ TAB CR first) gets an apostrophe first, numbers excepted. */
void text_add_csv(struct buf *out, struct str s);

/* Appends s as a JSON string with its quotes; invalid UTF-8 replaced. */
void text_add_json(struct buf *out, struct str s);

/* Appends s percent-encoded for one path segment of a URL (RFC 3986 unreserved kept). */
void text_add_percent(struct buf *out, struct str s);

#endif
