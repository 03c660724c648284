/* pattern.h -- the patterns of Lua 5.4, matched so that every step is counted: one that backtracks for ever ends
 * with the call's budget. Private to script/pattern*.c.
 *
 * Malformed patterns are found when matching gets to them, as in stock Lua. All functions may raise. */
#ifndef SCRIPT_PATTERN_H
#define SCRIPT_PATTERN_H

#include <stddef.h>

#include "script/sandbox_priv.h"

enum { PATTERN_CAPTURES = 32, PATTERN_NESTING = 200, CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct matcher {
    lua_State *L;
    struct script *script;
    const char *src, *src_end, *pattern_end;
    unsigned nesting, count;
    struct { const char *start; ptrdiff_t len; } captures[PATTERN_CAPTURES]; /* len may be CAPTURE_... */
};

/* Both texts are Lua strings: reading the NUL behind their end is fine. */
void pattern_prepare(struct matcher *m, lua_State *L, struct str src, struct str pattern);
/* The end of the match that begins at s exactly, or NULL. p is the pattern without its ^. */
const char *pattern_match_at(struct matcher *m, const char *s, const char *p);

/* Capture i of the match [s, end); capture 0 is the whole match when the pattern has none. */
void pattern_push_capture(struct matcher *m, unsigned i, const char *s, const char *end);
/* All of them; the whole match when there are none and s is not NULL. Returns how many. */
int pattern_push_captures(struct matcher *m, const char *s, const char *end);

#endif
