/* held.h -- a block of memory and what it is full of. Blocks that overlap, or move without their bytes, show up as
 * another block's mark. */
#ifndef TESTS_UNIT_HELD_H
#define TESTS_UNIT_HELD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct held {
    unsigned char *ptr, mark;
    size_t size;
};

/* Of all that it is full of, or of what must have come along. */
static inline void held_check(const struct held *h, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(h->ptr[i], h->mark);
}

static inline void held_fill(struct held *h, size_t size)
{
    h->mark++;
    h->size = size;
    if (size)
        memset(h->ptr, h->mark, size);
}

static inline void held_forget(struct held *h)
{
    *h = (struct held){.mark = h->mark};
}

#endif
