/* text_lib_priv.h -- what the files of canvass.text share: texts folded and cut, and room to work in. */
#ifndef SCRIPT_TEXT_LIB_PRIV_H
#define SCRIPT_TEXT_LIB_PRIV_H

#include "script/icu.h"
#include "script/sandbox_priv.h"

struct text { /* its user value is the string */
    size_t words, distinct;
    uint64_t *sequence, *set; /* of hashes: in their order, and sorted */
};

struct folded { /* one of the two */
    UChar *wide;
    char *ascii;
    int32_t len;
};

enum scratch {
    FOR_RAW, FOR_WIDE, FOR_ASCII, FOR_UTF8, FOR_WORDS, FOR_SORTING, FOR_POINTS, FOR_OTHER_POINTS, FOR_ROW, FOR_LEFT,
    FOR_RIGHT, SCRATCHES
};

/* Room for count + 1, which the next call with the same `use` takes again: made for each text, it would be most of the
 * garbage. */
void *texts_scratch(lua_State *L, enum scratch use, size_t count, size_t size);

/* Each of these holds until the next of its kind. The text at index, of it not more than `most` bytes: folded; and with
 * straight apostrophes and single spaces. */
struct folded texts_fold(lua_State *L, int index, size_t most);
struct str texts_fold_plain(lua_State *L, int index, size_t most, bool *ascii);
size_t texts_at_most(lua_State *L, int index); /* such a `most`, from an argument; all without one */

uint64_t texts_hash(const UChar *p, int32_t len);
uint64_t texts_hash_word(const struct folded *f, int32_t start, int32_t end); /* the same for the same word */
void texts_sort(lua_State *L, uint64_t *p, size_t n);

const struct text *texts_at(lua_State *L, int index);
/* Its code points, of its first `most` units, in the room for `use`. */
UChar32 *texts_points(lua_State *L, int index, int32_t most, enum scratch use, size_t *count);

/* text_find.c */
int texts_new_phrases(lua_State *L);
int texts_first(lua_State *L);
int texts_new_lexicon(lua_State *L);
int texts_closest(lua_State *L);
int texts_changes(lua_State *L);
void texts_find_open(lua_State *L); /* the types of these */

/* text_alike.c */
int texts_jaccard(lua_State *L);
int texts_rouge_l(lua_State *L);
int texts_edit(lua_State *L);
int texts_chrf(lua_State *L);

#endif
