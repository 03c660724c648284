/* word.h -- looking at eight bytes of text at once, for loops that skip what is plain. */
#ifndef BASE_WORD_H
#define BASE_WORD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_ONES UINT64_C(0x0101010101010101)
#define WORD_HIGHS (WORD_ONES * 0x80)

static inline uint64_t word_load(const char *at) /* eight bytes, aligned or not */
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* ASCII without controls, quotes and backslashes: what stands in JSON as it is. A borrow or carry into the
 * next byte comes only from a byte that is not plain itself. */
static inline bool word_is_plain(uint64_t word)
{
    uint64_t quotes = (word ^ WORD_ONES * '"') - WORD_ONES, slashes = (word ^ WORD_ONES * '\\') - WORD_ONES;
    uint64_t controls = word - WORD_ONES * ' ', deletes = word + WORD_ONES;
    return !((word | quotes | slashes | controls | deletes) & WORD_HIGHS);
}

/* Of eight bytes that are all ASCII: A to Z become a to z. Each byte's high bit tells first whether it is from A on,
 * then whether it is beyond Z. */
static inline uint64_t word_lower(uint64_t word)
{
    uint64_t from_a = word + WORD_ONES * (0x80 - 'A'), beyond_z = word + WORD_ONES * (0x7F - 'Z');
    return word | ((from_a & ~beyond_z & WORD_HIGHS) >> 2);
}

#endif
