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

enum { TEXT_BYTES = 1 << 20, POINTS_MAX = 4000, NGRAM = 6, WORDS_MAX = 4000, LISTS_MAX = 64 };

static const char text_type[] = "canvass.text", breaker_type[] = "canvass.breaker",
                  lexicon_type[] = "canvass.lexicon";
static char breaker_key;

struct text {
    size_t words, distinct, points;
    uint64_t *sequence, *set;
    UChar32 *point;
};

struct folded {
    UChar *ptr;
    int32_t len;
    bool ascii;
};

static void *scratch(lua_State *L, size_t count, size_t size)
{
    return lua_newuserdatauv(L, count * size + 1, 0);
}

/* ---- folding ---- */

static struct folded fold_unicode(lua_State *L, struct str s)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t len, need;
    UChar *raw = scratch(L, s.len + 1, sizeof *raw);
    icu.u_strFromUTF8WithSub(raw, (int32_t)s.len + 1, &len, s.ptr, (int32_t)s.len, 0xFFFD, NULL, &code);
    const UNormalizer2 *folder = icu.unorm2_getNFKCCasefoldInstance(&code);
    if (U_FAILURE(code))
        luaL_error(L, "Unicode data are missing: %s", icu.u_errorName(code));
    struct folded out = {scratch(L, (size_t)len * 2 + 16, sizeof *out.ptr), 0, false};
    need = icu.unorm2_normalize(folder, raw, len, out.ptr, len * 2 + 16, &code);
    if (code == U_BUFFER_OVERFLOW_ERROR) {
        code = U_ZERO_ERROR;
        out.ptr = scratch(L, (size_t)need + 1, sizeof *out.ptr);
        need = icu.unorm2_normalize(folder, raw, len, out.ptr, need + 1, &code);
    }
    out.len = need;
    return out;
}

/* The text at index; what is made lies in userdata that are left on the stack. */
static struct folded fold(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    luaL_argcheck(L, s.len <= TEXT_BYTES, index, "the text is longer than 1 MiB");
    sandbox_charge(L, s.len);
    bool ascii = true;
    for (size_t i = 0; i < s.len; i++)
        ascii = ascii && (unsigned char)s.ptr[i] < 0x80;
    if (!ascii)
        return fold_unicode(L, s);
    struct folded out = {scratch(L, s.len + 1, sizeof *out.ptr), (int32_t)s.len, true};
    for (size_t i = 0; i < s.len; i++)
        out.ptr[i] = (UChar)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]);
    return out;
}

/* ---- words ---- */

static bool is_letter(UChar c) { return c >= 'a' && c <= 'z'; }
static bool is_digit(UChar c) { return c >= '0' && c <= '9'; }

/* The rules of TR 29 for folded ASCII: what joins two letters, and what joins two digits. */
static bool joins(UChar before, UChar c, UChar after)
{
    if (c == '\'' || c == '.')
        return (is_letter(before) && is_letter(after)) || (is_digit(before) && is_digit(after));
    return (c == ',' || c == ';') && is_digit(before) && is_digit(after);
}

static bool next_ascii(const struct folded *f, int32_t *start, int32_t *end)
{
    const UChar *p = f->ptr;
    int32_t i = *end;
    while (i < f->len && !is_letter(p[i]) && !is_digit(p[i]) && p[i] != '_')
        i++;
    *start = i;
    while (i < f->len && (is_letter(p[i]) || is_digit(p[i]) || p[i] == '_' ||
                          (i > *start && i + 1 < f->len && joins(p[i - 1], p[i], p[i + 1]))))
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

static struct cut cut_begin(lua_State *L, int index)
{
    struct cut c = {.folded = fold(L, index)};
    if (c.folded.ascii)
        return c;
    UErrorCode code = U_ZERO_ERROR;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &breaker_key);
    c.breaker = *(UBreakIterator **)luaL_checkudata(L, -1, breaker_type);
    lua_pop(L, 1);
    icu.ubrk_setText(c.breaker, c.folded.ptr, c.folded.len, &code);
    c.end = icu.ubrk_first(c.breaker);
    return c;
}

/* Lines of underscores are words to the rules, and to nobody else. */
static bool is_line(const struct cut *c)
{
    for (int32_t i = c->start; i < c->end; i++)
        if (c->folded.ptr[i] != '_')
            return false;
    return true;
}

static bool cut_next(struct cut *c)
{
    bool found;
    do
        found = c->breaker ? next_unicode(c->breaker, &c->start, &c->end) : next_ascii(&c->folded, &c->start, &c->end);
    while (found && is_line(c));
    return found;
}

static uint64_t hash(const UChar *p, int32_t len)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (int32_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001B3);
    return h;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* text.new(string) */
static int new_text(lua_State *L)
{
    lua_settop(L, 1);
    struct cut c = cut_begin(L, 1);
    uint64_t *found = scratch(L, (size_t)c.folded.len, sizeof *found);
    size_t words = 0, points = (size_t)icu.u_countChar32(c.folded.ptr, c.folded.len);
    while (cut_next(&c))
        found[words++] = hash(c.folded.ptr + c.start, c.end - c.start);
    struct text *t =
        scratch(L, 1, sizeof *t + 2 * words * sizeof *t->set + points * sizeof *t->point);
    *t = (struct text){.words = words, .points = points, .sequence = (uint64_t *)(t + 1)};
    t->set = t->sequence + words;
    t->point = (UChar32 *)(t->set + words);
    for (size_t i = 0; i < words; i++)
        t->sequence[i] = t->set[i] = found[i];
    qsort(t->set, words, sizeof *t->set, by_value);
    for (size_t i = 0; i < words; i++)
        if (i == 0 || t->set[i] != t->set[i - 1])
            t->set[t->distinct++] = t->set[i];
    UErrorCode code = U_ZERO_ERROR;
    icu.u_strToUTF32WithSub(t->point, (int32_t)points, NULL, c.folded.ptr, c.folded.len, 0xFFFD, NULL, &code);
    luaL_setmetatable(L, text_type);
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

/* text.fold(string) -> string with straight apostrophes and single spaces, and whether it is ASCII */
static int fold_text(lua_State *L)
{
    struct folded f = fold(L, 1);
    int32_t len = 0;
    for (int32_t i = 0; i < f.len; i++) {
        UChar c = f.ptr[i] == 0x2019 ? '\'' : f.ptr[i];
        bool space = c == ' ' || (c >= '\t' && c <= '\r');
        if (!space || len == 0 || f.ptr[len - 1] != ' ')
            f.ptr[len++] = space ? ' ' : c;
    }
    push_utf8(L, f.ptr, len);
    lua_pushboolean(L, f.ascii);
    return 2;
}

/* text.words(string) -> list of folded words */
static int list_words(lua_State *L)
{
    lua_settop(L, 1);
    struct cut c = cut_begin(L, 1);
    lua_newtable(L);
    int list = lua_gettop(L);
    for (lua_Integer n = 1; cut_next(&c); n++) {
        push_utf8(L, c.folded.ptr + c.start, c.end - c.start);
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

/* The script that most letters at the beginning are of, by its ISO 15924 code: Latn, Hani ...; nil without letters. */
static int script_of_text(lua_State *L)
{
    enum { LOOKED_AT = 200, CODES = USCRIPT_CODE_LIMIT };
    const struct text *t = text_at(L, 1);
    unsigned counts[CODES] = {0}, best = USCRIPT_COMMON;
    for (size_t i = 0; i < t->points && i < LOOKED_AT; i++) {
        UErrorCode code = U_ZERO_ERROR;
        UChar32 c = t->point[i];
        UScriptCode script = c < 0x80 ? (is_letter((UChar)c) ? USCRIPT_LATIN : USCRIPT_COMMON) : icu.uscript_getScript(c, &code);
        if (U_SUCCESS(code) && script > USCRIPT_INHERITED && ++counts[script] > counts[best])
            best = (unsigned)script;
    }
    if (best == USCRIPT_COMMON)
        return 0;
    lua_pushstring(L, icu.uscript_getShortName((UScriptCode)best));
    return 1;
}

/* text.first(s, { phrases }): the place of the first phrase in the list that s holds, wherever; nil: it holds none. Called
 * with fifty phrases for each answer, of which mostly none is there. */
static int first_phrase(lua_State *L)
{
    size_t len, wanted;
    const char *s = luaL_checklstring(L, 1, &len);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t count = lua_rawlen(L, 2);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i);
        const char *phrase = luaL_checklstring(L, -1, &wanted);
        sandbox_charge(L, 1 + len / 16);
        if (memmem(s, len, phrase, wanted)) {
            lua_pushinteger(L, (lua_Integer)i);
            return 1;
        }
        lua_pop(L, 1);
    }
    return 0;
}

/* ---- lists of words, and which of them a text has most of ---- */

struct lexicon_word {
    uint64_t hash;
    unsigned list;
};

struct lexicon {
    size_t count;
    unsigned lists;
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
    *x = (struct lexicon){.lists = lists};
    for (unsigned i = 0; i < lists; i++) {
        lua_rawgeti(L, 2, i + 1);
        lua_gettable(L, 1); /* 4 */
        lua_Integer words = luaL_len(L, 4);
        for (lua_Integer k = 1; k <= words && x->count < count; k++) {
            lua_geti(L, 4, k); /* 5 */
            struct folded f = fold(L, 5);
            x->word[x->count++] = (struct lexicon_word){hash(f.ptr, f.len), i};
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
        size_t low = 0, high = x->count;
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
    UChar *wide = scratch(L, s.len + 1, sizeof *wide);
    icu.u_strFromUTF8WithSub(wide, (int32_t)s.len + 1, &len, s.ptr, (int32_t)s.len, 0xFFFD, NULL, &code);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &breaker_key);
    UBreakIterator *breaker = *(UBreakIterator **)luaL_checkudata(L, -1, breaker_type);
    icu.ubrk_setText(breaker, wide, len, &code);
    lua_newtable(L);
    int32_t start = icu.ubrk_first(breaker);
    for (lua_Integer n = 1;; n++) {
        int32_t end = icu.ubrk_next(breaker);
        if (end == UBRK_DONE)
            return 1;
        push_utf8(L, wide + start, end - start);
        lua_rawseti(L, 4, n);
        start = end;
    }
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
    size_t *row = scratch(L, b->words + 1, sizeof *row);
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
    const struct text *a = text_at(L, 1), *b = text_at(L, 2);
    size_t longer = a->points > b->points ? a->points : b->points;
    if (!longer || longer > POINTS_MAX)
        return 0;
    size_t *row = scratch(L, b->points + 1, sizeof *row);
    for (size_t k = 0; k <= b->points; k++)
        row[k] = k;
    for (size_t i = 0; i < a->points; i++) {
        size_t diagonal = row[0]++;
        sandbox_charge(L, b->points);
        for (size_t k = 1; k <= b->points; k++) {
            size_t least = diagonal + (a->point[i] != b->point[k - 1]);
            diagonal = row[k];
            least = least < row[k] + 1 ? least : row[k] + 1;
            row[k] = least < row[k - 1] + 1 ? least : row[k - 1] + 1;
        }
    }
    lua_pushnumber(L, 1 - (double)row[b->points] / (double)longer);
    return 1;
}

/* The hashes of all runs of n code points that are not white space, sorted. */
static size_t ngrams(const struct text *t, size_t n, UChar32 *dense, uint64_t *out)
{
    size_t len = 0, count = 0;
    for (size_t i = 0; i < t->points; i++)
        if (!icu.u_isUWhiteSpace(t->point[i]))
            dense[len++] = t->point[i];
    for (; count + n <= len; count++)
        out[count] = hash((const UChar *)(dense + count), (int32_t)(n * 2));
    qsort(out, count, sizeof *out, by_value);
    return count;
}

/* Popovic 2015, WMT, 392-395: chrF with n up to 6 and beta 1, so that neither text is the reference. */
static int chrf(lua_State *L)
{
    const struct text *a = text_at(L, 1), *b = text_at(L, 2);
    size_t longer = a->points > b->points ? a->points : b->points, orders = 0;
    if (longer > POINTS_MAX)
        return 0;
    UChar32 *dense = scratch(L, longer, sizeof *dense);
    uint64_t *left = scratch(L, longer, sizeof *left), *right = scratch(L, longer, sizeof *right);
    double precision = 0, recall = 0;
    for (size_t n = 1; n <= NGRAM; n++) {
        sandbox_charge(L, longer * 10);
        size_t x = ngrams(a, n, dense, left), y = ngrams(b, n, dense, right), both = 0;
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
    luaL_newmetatable(L, text_type);
    lua_pushcfunction(L, length);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    static const luaL_Reg functions[] = {{"new", new_text}, {"fold", fold_text}, {"words", list_words},
                                         {"pieces", list_pieces}, {"lexicon", new_lexicon}, {"closest", closest},
                                         {"first", first_phrase},
                                         {"script", script_of_text}, {"jaccard", jaccard}, {"rouge_l", rouge_l},
                                         {"edit", edit}, {"chrf", chrf}, {"plain", plain}, {"csv", csv}, {0}};
    luaL_newlib(L, functions);
    sandbox_freeze(L, "canvass.text");
    return 1;
}
