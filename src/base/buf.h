/* buf.h -- a growable byte buffer that is born with a maximum.
 *
 * The bytes are always followed by a NUL that is not counted. Adding beyond the
 * maximum changes nothing and returns false; `full` then stays set, so a writer
 * may add many pieces and look once at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/str.h"

struct buf {
    char *ptr; /* NULL until something is added */
    size_t len, cap, max;
    bool full;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);  /* frees; b can be used again with its old maximum */
void buf_clear(struct buf *b); /* keeps the memory */
bool buf_add(struct buf *b, const void *ptr, size_t len);
bool buf_adds(struct buf *b, const char *text);
bool buf_addc(struct buf *b, char c);
bool buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *buf_take(struct buf *b); /* the caller frees; never NULL; b is empty after */

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->ptr ? b->ptr : "", b->len};
}

#endif
