/* The module canvass.text: texts made comparable, and how alike two are.
 *
 * A text is folded (NFKC and case, Unicode TR 31) and cut into words (TR 29) by ICU, which also knows where words
 * end in Chinese, Japanese and Thai; ASCII, most of what comes, takes a short way to the same result. What is kept of
 * a text is numbers: its words in order, its set of words, its code points. */
#include <stdlib.h>

#include "base/text.h"
#include "script/icu.h"
#include "script/sandbox_priv.h"
#include "script/text_lib.h"

enum { TEXT_BYTES = 1 << 20, POINTS_MAX = 4000, NGRAM = 6, WORDS_MAX = 4000, PIECES_MAX = 1200, LISTS_MAX = 64,
       ROOM_BYTES = 16 << 10 };

static const char text_type[] = "canvass.text", breaker_type[] = "canvass.breaker",
                  lexicon_type[] = "canvass.lexicon", phrases_type[] = "canvass.phrases";
static char breaker_key;

struct text { /* its user value is the string */
    size_t words, distinct;
    uint64_t *sequence, *set;
};

struct folded { /* one of the two */
    UChar *wide;
    char *ascii;
    int32_t len;
};

enum scratch { FOR_RAW, FOR_WIDE, FOR_ASCII, FOR_UTF8, FOR_WORDS, FOR_SORTING, FOR_POINTS, FOR_OTHER_POINTS, FOR_ROW, FOR_LEFT, FOR_RIGHT, SCRATCHES };

/* Room that the next call with the same `use` takes again: made for each text, it would be most of the garbage. */
static void *scratch(lua_State *L, enum scratch use, size_t count, size_t size)
{
    static const char keys[SCRATCHES];
    size_t bytes = (count + 1) * size;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &keys[use]);
    void *room = lua_touserdata(L, -1);
    if (!room || lua_rawlen(L, -1) < bytes) {
        room = lua_newuserdatauv(L, bytes < ROOM_BYTES ? ROOM_BYTES : bytes, 0);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &keys[use]);
    }
    lua_pop(L, 1);
    return room;
}

/* ---- folding ---- */

static struct folded fold_unicode(lua_State *L, struct str s)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t len, need;
    UChar *raw = scratch(L, FOR_RAW, s.len + 1, sizeof *raw);
    icu.u_strFromUTF8WithSub(raw, (int32_t)s.len + 1, &len, s.ptr, (int32_t)s.len, 0xFFFD, NULL, &code);
    const UNormalizer2 *folder = icu.unorm2_getNFKCCasefoldInstance(&code);
    if (U_FAILURE(code))
        luaL_error(L, "Unicode data are missing: %s", icu.u_errorName(code));
    struct folded out = {.wide = scratch(L, FOR_WIDE, (size_t)len * 2 + 16, sizeof *out.wide)};
    need = icu.unorm2_normalize(folder, raw, len, out.wide, len * 2 + 16, &code);
    if (code == U_BUFFER_OVERFLOW_ERROR) {
        code = U_ZERO_ERROR;
        out.wide = scratch(L, FOR_WIDE, (size_t)need + 1, sizeof *out.wide);
        need = icu.unorm2_normalize(folder, raw, len, out.wide, need + 1, &code);
    }
    out.len = need;
    return out;
}

/* The text at index, of it not more than most bytes; until the next is folded. */
static struct folded fold(lua_State *L, int index, size_t most)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    s.len = s.len < most ? s.len : most;
    luaL_argcheck(L, s.len <= TEXT_BYTES, index, "the text is longer than 1 MiB");
    sandbox_charge(L, s.len);
    if (!text_is_ascii(s))
        return fold_unicode(L, s);
    struct folded out = {.ascii = scratch(L, FOR_ASCII, s.len, 1), .len = (int32_t)s.len};
    for (size_t i = 0; i < s.len; i++)
        out.ascii[i] = (char)(s.ptr[i] + (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? 'a' - 'A' : 0));
    return out;
}

/* ---- words ---- */

static bool is_letter(char c) { return c >= 'a' && c <= 'z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_of_word(char c) { return is_letter(c) || is_digit(c) || c == '_'; }

/* The rules of TR 29 for folded ASCII: what joins two letters, and what joins two digits. */
static bool joins(char before, char c, char after)
{
    if (c == '\'' || c == '.')
        return (is_letter(before) && is_letter(after)) || (is_digit(before) && is_digit(after));
    return (c == ',' || c == ';') && is_digit(before) && is_digit(after);
}

static bool next_ascii(const char *p, int32_t len, int32_t *start, int32_t *end)
{
    int32_t i = *end;
    while (i < len && !is_of_word(p[i]))
        i++;
    *start = i;
    while (i < len && (is_of_word(p[i]) || (i > *start && i + 1 < len && joins(p[i - 1], p[i], p[i + 1]))))
        i++;
    *end = i;
    return i > *start;
}

static bool next_unicode(UBreakIterator *breaker, int32_t *start, int32_t *end)
{
    for (;;) {
        *start = *end;
        *end = icu.ubrk_next(breaker);
        if (*end == UBRK_DONE)
            return false;
        if (icu.ubrk_getRuleStatus(breaker) >= UBRK_WORD_NUMBER)
            return true;
    }
}

struct cut {
    struct folded folded;
    UBreakIterator *breaker;
    int32_t start, end;
};

static struct cut cut_begin(lua_State *L, int index, size_t most)
{
    struct cut c = {.folded = fold(L, index, most)};
    if (c.folded.ascii)
        return c;
    UErrorCode code = U_ZERO_ERROR;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &breaker_key);
    c.breaker = *(UBreakIterator **)luaL_checkudata(L, -1, breaker_type);
    lua_pop(L, 1);
    icu.ubrk_setText(c.breaker, c.folded.wide, c.folded.len, &code);
    c.end = icu.ubrk_first(c.breaker);
    return c;
}

/* Lines of underscores are words to the rules, and to nobody else. */
static bool is_line(const struct cut *c)
{
    for (int32_t i = c->start; i < c->end; i++)
        if (c->breaker ? c->folded.wide[i] != '_' : c->folded.ascii[i] != '_')
            return false;
    return true;
}

static bool cut_next(struct cut *c)
{
    bool found;
    do
        found = c->breaker ? next_unicode(c->breaker, &c->start, &c->end)
                           : next_ascii(c->folded.ascii, c->folded.len, &c->start, &c->end);
    while (found && is_line(c));
    return found;
}

/* FNV-1a over 16-bit units: http://www.isthe.com/chongo/tech/comp/fnv/ */
#define HASH_START UINT64_C(0xCBF29CE484222325)
#define HASH_STEP(h, unit) (((h) ^ (unit)) * UINT64_C(0x100000001B3))

static uint64_t hash(const UChar *p, int32_t len)
{
    uint64_t h = HASH_START;
    for (int32_t i = 0; i < len; i++)
        h = HASH_STEP(h, p[i]);
    return h;
}

/* Of the units from start to end: the same for the same word. */
static uint64_t hash_word(const struct folded *f, int32_t start, int32_t end)
{
    uint64_t h = HASH_START;
    if (f->wide)
        return hash(f->wide + start, end - start);
    for (int32_t i = start; i < end; i++)
        h = HASH_STEP(h, (unsigned char)f->ascii[i]);
    return h;
}

/* By the highest bits first, then Shell 1959 with the gaps of Ciura 2001, which has little left to do: most texts are
 * short, and qsort compares through a pointer. */
static void sort_numbers(lua_State *L, uint64_t *p, size_t n)
{
    static const size_t gaps[] = {79445, 30967, 11890, 4605, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
    size_t place[257] = {0};
    uint64_t *sorted = scratch(L, FOR_SORTING, n, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        place[(p[i] >> 56) + 1]++;
    for (size_t i = 1; i < 256; i++)
        place[i] += place[i - 1];
    for (size_t i = 0; i < n; i++)
        sorted[place[p[i] >> 56]++] = p[i];
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < n; i++) {
            uint64_t x = sorted[i];
            size_t k = i;
            for (; k >= gaps[g] && sorted[k - gaps[g]] > x; k -= gaps[g])
                sorted[k] = sorted[k - gaps[g]];
            sorted[k] = x;
        }
    memcpy(p, sorted, n * sizeof *p);
}

/* text.new(string): what comes after the first MiB is left out */
static int new_text(lua_State *L)
{
    lua_settop(L, 1);
    struct cut c = cut_begin(L, 1, TEXT_BYTES);
    size_t words = 0;
    uint64_t *found = scratch(L, FOR_WORDS, (size_t)c.folded.len, sizeof *found);
    while (cut_next(&c))
        found[words++] = hash_word(&c.folded, c.start, c.end);
    struct text *t = lua_newuserdatauv(L, sizeof *t + 2 * words * sizeof *t->set, 1);
    *t = (struct text){.words = words, .sequence = (uint64_t *)(t + 1)};
    t->set = t->sequence + words;
    memcpy(t->sequence, found, words * sizeof *found);
    sort_numbers(L, found, words);
    for (size_t i = 0; i < words; i++)
        if (i == 0 || found[i] != found[i - 1])
            t->set[t->distinct++] = found[i];
    luaL_setmetatable(L, text_type);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, 1);
    return 1;
}

static void push_utf8(lua_State *L, const UChar *p, int32_t len)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t bytes = 0;
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, (size_t)len * 3 + 1);
    icu.u_strToUTF8WithSub(out, len * 3 + 1, &bytes, p, len, 0xFFFD, NULL, &code);
    luaL_pushresultsize(&b, (size_t)bytes);
}

static bool is_space(UChar c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The first `most` bytes of the text at index with straight apostrophes and single spaces; until the next. */
static struct str fold_plain(lua_State *L, int index, size_t most, bool *ascii)
{
    struct folded f = fold(L, index, most);
    int32_t len = 0, bytes = 0;
    *ascii = f.ascii != NULL;
    for (int32_t i = 0; i < f.len && f.ascii; i++)
        if (f.ascii[i] > ' ' || !is_space((UChar)f.ascii[i]))
            f.ascii[len++] = f.ascii[i];
        else if (len == 0 || f.ascii[len - 1] != ' ')
            f.ascii[len++] = ' ';
    if (f.ascii)
        return (struct str){f.ascii, (size_t)len};
    for (int32_t i = 0; i < f.len; i++)
        if (!is_space(f.wide[i]))
            f.wide[len++] = f.wide[i] == 0x2019 ? '\'' : f.wide[i];
        else if (len == 0 || f.wide[len - 1] != ' ')
            f.wide[len++] = ' ';
    UErrorCode code = U_ZERO_ERROR;
    char *out = scratch(L, FOR_UTF8, (size_t)len * 3, 1);
    icu.u_strToUTF8WithSub(out, len * 3 + 1, &bytes, f.wide, len, 0xFFFD, NULL, &code);
    return (struct str){out, (size_t)bytes};
}

static size_t at_most(lua_State *L, int index)
{
    return (size_t)luaL_optinteger(L, index, LUA_MAXINTEGER);
}

/* text.fold(string, most) -> string with straight apostrophes and single spaces, and whether it is ASCII. most: of its
 * bytes; all */
static int fold_text(lua_State *L)
{
    bool ascii;
    struct str s = fold_plain(L, 1, at_most(L, 2), &ascii);
    lua_pushlstring(L, s.ptr, s.len);
    lua_pushboolean(L, ascii);
    return 2;
}

/* text.words(string) -> list of folded words */
static int list_words(lua_State *L)
{
    lua_settop(L, 1);
    struct cut c = cut_begin(L, 1, SIZE_MAX);
    lua_newtable(L);
    int list = lua_gettop(L);
    for (lua_Integer n = 1; cut_next(&c); n++) {
        if (c.folded.ascii)
            lua_pushlstring(L, c.folded.ascii + c.start, (size_t)(c.end - c.start));
        else
            push_utf8(L, c.folded.wide + c.start, c.end - c.start);
        lua_rawseti(L, list, n);
    }
    return 1;
}

/* ---- what is known of one ---- */

static const struct text *text_at(lua_State *L, int index)
{
    return luaL_checkudata(L, index, text_type);
}

static int length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)text_at(L, 1)->words);
    return 1;
}

/* The code points of the text at index, of its first `most` units. */
static UChar32 *points_of(lua_State *L, int index, int32_t most, enum scratch use, size_t *count)
{
    UErrorCode code = U_ZERO_ERROR;
    (void)text_at(L, index);
    lua_getiuservalue(L, index, 1);
    struct folded f = fold(L, lua_gettop(L), most < TEXT_BYTES / 3 ? (size_t)most * 3 : TEXT_BYTES); /* UTF-8 of a unit */
    lua_pop(L, 1);
    int32_t len = f.len < most ? f.len : most;
    UChar32 *points = scratch(L, use, (size_t)len, sizeof *points);
    for (int32_t i = 0; i < len && f.ascii; i++)
        points[i] = f.ascii[i];
    if (f.wide)
        icu.u_strToUTF32WithSub(points, len + 1, &len, f.wide, len, 0xFFFD, NULL, &code);
    *count = (size_t)len;
    return points;
}

/* The script that most letters at the beginning are of, by its ISO 15924 code: Latn, Hani ...; nil without letters. */
static int script_of_text(lua_State *L)
{
    enum { LOOKED_AT = 200, CODES = USCRIPT_CODE_LIMIT };
    unsigned counts[CODES] = {0}, best = USCRIPT_COMMON;
    size_t count;
    const UChar32 *point = points_of(L, 1, 2 * LOOKED_AT, FOR_POINTS, &count);
    for (size_t i = 0; i < count && i < LOOKED_AT; i++) {
        UErrorCode code = U_ZERO_ERROR;
        UChar32 c = point[i];
        UScriptCode script = c < 0x80 ? (is_letter((char)c) ? USCRIPT_LATIN : USCRIPT_COMMON) : icu.uscript_getScript(c, &code);
        if (U_SUCCESS(code) && script > USCRIPT_INHERITED && ++counts[script] > counts[best])
            best = (unsigned)script;
    }
    if (best == USCRIPT_COMMON)
        return 0;
    lua_pushstring(L, icu.uscript_getShortName((UScriptCode)best));
    return 1;
}

/* ---- phrases that a text may hold ---- */

enum { PHRASES_MAX = 1000, PHRASE_HEADS = 1 << 12 };

struct phrase {
    struct str text; /* of the user value */
    unsigned next;   /* with the same head; one more than the place, 0: none */
};

struct phrases {
    size_t count;
    uint16_t head[PHRASE_HEADS]; /* by the first two bytes */
    struct phrase phrase[];
};

static unsigned head_of(const char *s)
{
    return ((unsigned char)s[0] * 37U ^ (unsigned char)s[1]) % PHRASE_HEADS;
}

/* text.phrases{ strings }: of two bytes or more */
static int new_phrases(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    size_t count = (size_t)luaL_len(L, 1);
    luaL_argcheck(L, count <= PHRASES_MAX, 1, "more than 1000 phrases");
    lua_createtable(L, (int)count, 0); /* 2 */
    struct phrases *all = lua_newuserdatauv(L, sizeof *all + count * sizeof *all->phrase, 1);
    memset(all, 0, sizeof *all);
    for (; all->count < count; all->count++) {
        struct phrase *p = &all->phrase[all->count];
        lua_geti(L, 1, (lua_Integer)all->count + 1);
        p->text.ptr = luaL_checklstring(L, -1, &p->text.len);
        luaL_argcheck(L, p->text.len >= 2, 1, "a phrase has two bytes or more");
        lua_rawseti(L, 2, (lua_Integer)all->count + 1);
    }
    for (size_t i = count; i > 0; i--) { /* so that each head's chain begins with the first */
        uint16_t *head = &all->head[head_of(all->phrase[i - 1].text.ptr)];
        all->phrase[i - 1].next = *head;
        *head = (uint16_t)i;
    }
    luaL_setmetatable(L, phrases_type);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 3, 1);
    return 1;
}

/* text.first(s, phrases, most): the place of the first phrase in their list that text.fold(s, most) holds, wherever; nil:
 * it holds none. Called with some eighty phrases for each answer, of which mostly none is there. */
static int first_phrase(lua_State *L)
{
    bool ascii;
    const struct phrases *all = luaL_checkudata(L, 2, phrases_type);
    struct str s = fold_plain(L, 1, at_most(L, 3), &ascii);
    size_t found = all->count + 1;
    for (size_t at = 0; at + 1 < s.len; at++)
        for (size_t i = all->head[head_of(s.ptr + at)]; i && i < found; i = all->phrase[i - 1].next) {
            struct str p = all->phrase[i - 1].text;
            if (p.len <= s.len - at && memcmp(s.ptr + at, p.ptr, p.len) == 0)
                found = i;
        }
    if (found > all->count)
        return 0;
    lua_pushinteger(L, (lua_Integer)found);
    return 1;
}

/* ---- lists of words, and which of them a text has most of ---- */

struct lexicon_word {
    uint64_t hash;
    unsigned list;
};

enum { LEXICON_BITS = 1 << 13 };

struct lexicon {
    size_t count;
    unsigned lists;
    bool some[LEXICON_BITS]; /* by the low bits of the hash: is there a word? Most have none. */
    struct lexicon_word word[];
};

static int by_hash(const void *a, const void *b)
{
    const struct lexicon_word *x = a, *y = b;
    return x->hash == y->hash ? (x->list > y->list) - (x->list < y->list) : x->hash > y->hash ? 1 : -1;
}

/* text.lexicon{ name = { words } }: its user value holds the names, sorted */
static int new_lexicon(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L); /* 2: names */
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, luaL_len(L, 2) + 1);
        count += (size_t)luaL_len(L, -1);
    }
    unsigned lists = (unsigned)luaL_len(L, 2);
    luaL_argcheck(L, lists <= LISTS_MAX, 1, "too many lists");
    struct lexicon *x = lua_newuserdatauv(L, sizeof *x + count * sizeof *x->word, 1); /* 3 */
    memset(x, 0, sizeof *x);
    x->lists = lists;
    for (unsigned i = 0; i < lists; i++) {
        lua_rawgeti(L, 2, i + 1);
        lua_gettable(L, 1); /* 4 */
        lua_Integer words = luaL_len(L, 4);
        for (lua_Integer k = 1; k <= words && x->count < count; k++) {
            lua_geti(L, 4, k); /* 5 */
            struct folded f = fold(L, 5, SIZE_MAX);
            x->word[x->count] = (struct lexicon_word){hash_word(&f, 0, f.len), i};
            x->some[x->word[x->count++].hash % LEXICON_BITS] = true;
            lua_settop(L, 4);
        }
        lua_settop(L, 3);
    }
    qsort(x->word, x->count, sizeof *x->word, by_hash);
    luaL_setmetatable(L, lexicon_type);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 3, 1);
    return 1;
}

/* text.closest(lexicon, text) -> name of the list that most of its first words are in, how many, how many of the next
 * list's; nil when none is */
static int closest(lua_State *L)
{
    enum { LOOKED_AT = 200 };
    const struct lexicon *x = luaL_checkudata(L, 1, lexicon_type);
    const struct text *t = text_at(L, 2);
    unsigned counts[LISTS_MAX] = {0}, best = 0, second = 0;
    for (size_t i = 0; i < t->words && i < LOOKED_AT; i++) {
        size_t low = 0, high = x->some[t->sequence[i] % LEXICON_BITS] ? x->count : 0;
        if (!high)
            continue;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (x->word[middle].hash < t->sequence[i])
                low = middle + 1;
            else
                high = middle;
        }
        for (; low < x->count && x->word[low].hash == t->sequence[i]; low++)
            counts[x->word[low].list]++;
    }
    for (unsigned i = 1; i < x->lists; i++)
        best = counts[i] > counts[best] ? i : best;
    for (unsigned i = 0; i < x->lists; i++)
        second = i != best && counts[i] > second ? counts[i] : second;
    if (!counts[best])
        return 0;
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, best + 1);
    lua_pushinteger(L, counts[best]);
    lua_pushinteger(L, second);
    return 3;
}

/* text.pieces(string) -> list of its words and of what lies between them, unfolded: together they are the string, but
 * for what is no UTF-8 */
static int list_pieces(lua_State *L)
{
    UErrorCode code = U_ZERO_ERROR;
    struct str s;
    int32_t len;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    luaL_argcheck(L, s.len <= TEXT_BYTES, 1, "the text is longer than 1 MiB");
    sandbox_charge(L, s.len);
    lua_settop(L, 1);
    UChar *wide = scratch(L, FOR_RAW, s.len + 1, sizeof *wide);
    icu.u_strFromUTF8WithSub(wide, (int32_t)s.len + 1, &len, s.ptr, (int32_t)s.len, 0xFFFD, NULL, &code);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &breaker_key);
    UBreakIterator *breaker = *(UBreakIterator **)luaL_checkudata(L, -1, breaker_type);
    lua_pop(L, 1);
    icu.ubrk_setText(breaker, wide, len, &code);
    lua_newtable(L);
    int32_t start = icu.ubrk_first(breaker);
    for (lua_Integer n = 1;; n++) {
        int32_t end = icu.ubrk_next(breaker);
        if (end == UBRK_DONE)
            return 1;
        push_utf8(L, wide + start, end - start);
        lua_rawseti(L, 2, n);
        start = end;
    }
}

/* ---- what one says in other words than another ---- */

/* The pieces of the list at index by number, the same for the same text: the table on top has those of so far. */
static uint16_t *numbers_of(lua_State *L, int index, enum scratch use, uint16_t *known, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    *count = lua_rawlen(L, index);
    luaL_argcheck(L, *count <= PIECES_MAX, index, "more than 1200 pieces");
    uint16_t *out = scratch(L, use, *count, sizeof *out);
    int numbers = lua_gettop(L);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        luaL_checktype(L, -1, LUA_TSTRING);
        lua_pushvalue(L, -1);
        bool is_new = lua_rawget(L, numbers) == LUA_TNIL;
        out[i] = is_new ? ++*known : (uint16_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (is_new) {
            lua_pushinteger(L, out[i]);
            lua_rawset(L, numbers);
        }
        lua_settop(L, numbers);
    }
    return out;
}

/* text.changes(before, after), lists of pieces -> what leads from one to the other, a letter for each step: "=" both go
 * on, "-" a piece of before, "+" one of after. By the longest common subsequence (the recurrence is in Hirschberg 1975,
 * Communications of the ACM 18, 341-343). */
static int changes(lua_State *L)
{
    size_t x, y, head = 0, tail = 0, i, k;
    lua_settop(L, 2);
    lua_newtable(L);
    uint16_t known = 0;
    const uint16_t *a = numbers_of(L, 1, FOR_LEFT, &known, &x), *b = numbers_of(L, 2, FOR_RIGHT, &known, &y);
    while (head < x && head < y && a[head] == b[head])
        head++;
    while (tail < x - head && tail < y - head && a[x - 1 - tail] == b[y - 1 - tail])
        tail++;
    size_t end = x - tail, width = y - tail - head + 1;
    uint16_t *common = scratch(L, FOR_ROW, (end - head + 1) * width, sizeof *common); /* of what follows a[i], b[k] */
    memset(common, 0, (end - head + 1) * width * sizeof *common);
    sandbox_charge(L, (end - head) * width);
    for (i = end - head; i-- > 0;) {
        uint16_t *row = common + i * width, *below = row + width;
        for (k = width - 1; k-- > 0;)
            row[k] = a[head + i] == b[head + k] ? (uint16_t)(below[k + 1] + 1) : below[k] > row[k + 1] ? below[k] : row[k + 1];
    }
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (i = 0; i < head; i++)
        luaL_addchar(&out, '=');
    for (i = k = 0; i < end - head || k < width - 1;) {
        const uint16_t *row = common + i * width;
        bool removes = i < end - head && (k == width - 1 || row[width + k] >= row[k + 1]);
        bool same = i < end - head && k < width - 1 && a[head + i] == b[head + k];
        luaL_addchar(&out, same ? '=' : removes ? '-' : '+');
        i += same || removes;
        k += same || !removes;
    }
    for (i = 0; i < tail; i++)
        luaL_addchar(&out, '=');
    luaL_pushresult(&out);
    return 1;
}

/* ---- how alike two are: 0 to 1; nil where it cannot be said ---- */

/* Jaccard 1912, New Phytologist 11, 37-50: words in both / words in either. */
static int jaccard(lua_State *L)
{
    const struct text *a = text_at(L, 1), *b = text_at(L, 2);
    size_t i = 0, k = 0, both = 0;
    sandbox_charge(L, a->distinct + b->distinct);
    while (i < a->distinct && k < b->distinct) {
        both += a->set[i] == b->set[k];
        bool first = a->set[i] <= b->set[k], second = b->set[k] <= a->set[i];
        i += first;
        k += second;
    }
    size_t either = a->distinct + b->distinct - both;
    if (!either)
        return 0;
    lua_pushnumber(L, (double)both / (double)either);
    return 1;
}

/* Lin 2004, ROUGE: ROUGE-L with beta 1: twice the longest common subsequence of words / words of both. */
static int rouge_l(lua_State *L)
{
    const struct text *a = text_at(L, 1), *b = text_at(L, 2);
    if (!a->words || !b->words || a->words > WORDS_MAX || b->words > WORDS_MAX)
        return 0;
    size_t *row = scratch(L, FOR_ROW, b->words, sizeof *row);
    memset(row, 0, (b->words + 1) * sizeof *row);
    for (size_t i = 0; i < a->words; i++) {
        size_t diagonal = 0;
        sandbox_charge(L, b->words);
        for (size_t k = 1; k <= b->words; k++) {
            size_t above = row[k];
            row[k] = a->sequence[i] == b->sequence[k - 1] ? diagonal + 1 : row[k] > row[k - 1] ? row[k] : row[k - 1];
            diagonal = above;
        }
    }
    lua_pushnumber(L, 2.0 * (double)row[b->words] / (double)(a->words + b->words));
    return 1;
}

/* Levenshtein 1966, Soviet Physics Doklady 10, 707-710, over code points: 1 - distance / the longer length. */
static int edit(lua_State *L)
{
    size_t x, y;
    const UChar32 *left = points_of(L, 1, INT32_MAX, FOR_POINTS, &x),
                  *right = points_of(L, 2, INT32_MAX, FOR_OTHER_POINTS, &y);
    size_t longer = x > y ? x : y;
    if (!longer || longer > POINTS_MAX)
        return 0;
    size_t *row = scratch(L, FOR_ROW, y, sizeof *row);
    for (size_t k = 0; k <= y; k++)
        row[k] = k;
    for (size_t i = 0; i < x; i++) {
        size_t diagonal = row[0]++;
        sandbox_charge(L, y);
        for (size_t k = 1; k <= y; k++) {
            size_t least = diagonal + (left[i] != right[k - 1]);
            diagonal = row[k];
            least = least < row[k] + 1 ? least : row[k] + 1;
            row[k] = least < row[k - 1] + 1 ? least : row[k - 1] + 1;
        }
    }
    lua_pushnumber(L, 1 - (double)row[y] / (double)longer);
    return 1;
}

/* Leaves the code points that are not white space; how many. */
static size_t without_space(UChar32 *point, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        if (!icu.u_isUWhiteSpace(point[i]))
            point[len++] = point[i];
    return len;
}

/* The hashes of all runs of n code points, sorted; how many. */
static size_t ngrams(lua_State *L, const UChar32 *point, size_t len, size_t n, uint64_t *out)
{
    size_t count = 0;
    for (; count + n <= len; count++)
        out[count] = hash((const UChar *)(point + count), (int32_t)(n * 2));
    sort_numbers(L, out, count);
    return count;
}

/* Popovic 2015, WMT, 392-395: chrF with n up to 6 and beta 1, so that neither text is the reference. */
static int chrf(lua_State *L)
{
    size_t a, b, orders = 0;
    UChar32 *one = points_of(L, 1, INT32_MAX, FOR_POINTS, &a),
            *other = points_of(L, 2, INT32_MAX, FOR_OTHER_POINTS, &b);
    if (a > POINTS_MAX || b > POINTS_MAX)
        return 0;
    a = without_space(one, a);
    b = without_space(other, b);
    uint64_t *left = scratch(L, FOR_LEFT, a, sizeof *left), *right = scratch(L, FOR_RIGHT, b, sizeof *right);
    double precision = 0, recall = 0;
    for (size_t n = 1; n <= NGRAM; n++) {
        sandbox_charge(L, (a > b ? a : b) * 10);
        size_t x = ngrams(L, one, a, n, left), y = ngrams(L, other, b, n, right), both = 0;
        if (!x || !y)
            break;
        for (size_t i = 0, k = 0; i < x && k < y;) {
            both += left[i] == right[k];
            bool first = left[i] <= right[k], second = right[k] <= left[i];
            i += first;
            k += second;
        }
        precision += (double)both / (double)x;
        recall += (double)both / (double)y;
        orders++;
    }
    if (!orders)
        return 0;
    double sum = precision + recall;
    lua_pushnumber(L, sum > 0 ? 2 * precision * recall / sum / (double)orders : 0);
    return 1;
}

/* ---- for output: texts from outside made harmless ---- */

static int harmless(lua_State *L, void (*add)(struct buf *out, struct str s, size_t columns))
{
    luaL_checkstring(L, 1);
    struct buf *out = &script_of(L)->json_scratch;
    buf_clear(out);
    add(out, script_str(L, 1), (size_t)luaL_optinteger(L, 2, 0));
    lua_pushlstring(L, buf_str(out).ptr, out->len);
    return 1;
}

static void add_plain(struct buf *out, struct str s, size_t columns)
{
    size_t used = text_add_plain(out, s, columns, true);
    for (; used < columns; used++)
        buf_addc(out, ' ');
}

static void add_csv(struct buf *out, struct str s, size_t columns)
{
    (void)columns;
    text_add_csv(out, s);
}

static int plain(lua_State *L) { return harmless(L, add_plain); } /* padded to `columns`, or cut */
static int csv(lua_State *L) { return harmless(L, add_csv); }

/* ---- the module ---- */

static int close_breaker(lua_State *L)
{
    UBreakIterator **breaker = luaL_checkudata(L, 1, breaker_type);
    icu.ubrk_close(*breaker);
    *breaker = NULL;
    return 0;
}

int text_lib_open(lua_State *L)
{
    UErrorCode code = U_ZERO_ERROR;
    const char *error = icu_load();
    if (error)
        return luaL_error(L, "%s", error);
    luaL_newmetatable(L, breaker_type);
    UBreakIterator **breaker = lua_newuserdatauv(L, sizeof(UBreakIterator *), 0);
    *breaker = NULL;
    lua_pushcfunction(L, close_breaker);
    lua_setfield(L, -3, "__gc");
    luaL_setmetatable(L, breaker_type);
    *breaker = icu.ubrk_open(UBRK_WORD, "en", NULL, 0, &code);
    if (U_FAILURE(code))
        return luaL_error(L, "Unicode data are missing: %s", icu.u_errorName(code));
    lua_rawsetp(L, LUA_REGISTRYINDEX, &breaker_key);
    luaL_newmetatable(L, lexicon_type);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    luaL_newmetatable(L, phrases_type);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    luaL_newmetatable(L, text_type);
    lua_pushcfunction(L, length);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    static const luaL_Reg functions[] = {{"new", new_text}, {"fold", fold_text}, {"words", list_words},
                                         {"pieces", list_pieces}, {"changes", changes}, {"lexicon", new_lexicon}, {"closest", closest},
                                         {"phrases", new_phrases}, {"first", first_phrase},
                                         {"script", script_of_text}, {"jaccard", jaccard}, {"rouge_l", rouge_l},
                                         {"edit", edit}, {"chrf", chrf}, {"plain", plain}, {"csv", csv}, {0}};
    luaL_newlib(L, functions);
    sandbox_freeze(L, "canvass.text");
    return 1;
}
