/* The module canvass.text: texts made comparable. What they hold is found in text_find.c, how alike they are in
 * text_alike.c.
 *
 * A text is folded (NFKC and case, Unicode TR 31) and cut into words (TR 29) by ICU, which also knows where words
 * end in Chinese, Japanese and Thai; ASCII, most of what comes, takes a short way to the same result. What is kept of
 * a text is numbers: its words in order, and its set of words. */
#include <stdlib.h>

#include "base/defs.h"
#include "base/text.h"
#include "base/word.h"
#include "script/sandbox_priv.h"
#include "script/text_lib.h"
#include "script/text_lib_priv.h"

enum { TEXT_BYTES = 1 << 20, ROOM_BYTES = 16 << 10 };

static const char text_type[] = "canvass.text", breaker_type[] = "canvass.breaker";
static char breaker_key;

void *texts_scratch(lua_State *L, enum scratch use, size_t count, size_t size)
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
    UChar *raw = texts_scratch(L, FOR_RAW, s.len + 1, sizeof *raw);
    icu.u_strFromUTF8WithSub(raw, (int32_t)s.len + 1, &len, s.ptr, (int32_t)s.len, 0xFFFD, NULL, &code);
    const UNormalizer2 *folder = icu.unorm2_getNFKCCasefoldInstance(&code);
    if (U_FAILURE(code))
        luaL_error(L, "Unicode data are missing: %s", icu.u_errorName(code));
    struct folded out = {.wide = texts_scratch(L, FOR_WIDE, (size_t)len * 2 + 16, sizeof *out.wide)};
    need = icu.unorm2_normalize(folder, raw, len, out.wide, len * 2 + 16, &code);
    if (code == U_BUFFER_OVERFLOW_ERROR) {
        code = U_ZERO_ERROR;
        out.wide = texts_scratch(L, FOR_WIDE, (size_t)need + 1, sizeof *out.wide);
        need = icu.unorm2_normalize(folder, raw, len, out.wide, need + 1, &code);
    }
    out.len = need;
    return out;
}

/* The text at index, of it not more than most bytes; until the next is folded. */
struct folded texts_fold(lua_State *L, int index, size_t most)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    s.len = s.len < most ? s.len : most;
    luaL_argcheck(L, s.len <= TEXT_BYTES, index, "the text is longer than 1 MiB");
    sandbox_charge(L, s.len);
    if (!text_is_ascii(s))
        return fold_unicode(L, s);
    struct folded out = {.ascii = texts_scratch(L, FOR_ASCII, s.len, 1), .len = (int32_t)s.len};
    size_t i = 0;
    for (uint64_t word; i + sizeof word <= s.len; i += sizeof word) {
        word = word_lower(word_load(s.ptr + i));
        memcpy(out.ascii + i, &word, sizeof word);
    }
    for (; i < s.len; i++)
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
    struct cut c = {.folded = texts_fold(L, index, most)};
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

uint64_t texts_hash(const UChar *p, int32_t len)
{
    uint64_t h = HASH_START;
    for (int32_t i = 0; i < len; i++)
        h = HASH_STEP(h, p[i]);
    return h;
}

/* Of the units from start to end: the same for the same word. */
uint64_t texts_hash_word(const struct folded *f, int32_t start, int32_t end)
{
    uint64_t h = HASH_START;
    if (f->wide)
        return texts_hash(f->wide + start, end - start);
    for (int32_t i = start; i < end; i++)
        h = HASH_STEP(h, (unsigned char)f->ascii[i]);
    return h;
}

/* By the highest bits first, then Shell 1959 with the gaps of Ciura 2001, which has little left to do: most texts are
 * short, and qsort compares through a pointer. */
void texts_sort(lua_State *L, uint64_t *p, size_t n)
{
    enum { FEW = 256 };
    static const size_t gaps[] = {79445, 30967, 11890, 4605, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
    size_t place[257] = {0};
    uint64_t *sorted = texts_scratch(L, FOR_SORTING, n, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        place[(p[i] >> 56) + 1]++;
    for (size_t i = 1; i < 256; i++)
        place[i] += place[i - 1];
    for (size_t i = 0; i < n; i++)
        sorted[place[p[i] >> 56]++] = p[i];
    for (size_t g = n <= FEW ? ARRAY_LEN(gaps) - 1 : 0; g < ARRAY_LEN(gaps); g++)
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
    uint64_t *found = texts_scratch(L, FOR_WORDS, (size_t)c.folded.len, sizeof *found);
    while (cut_next(&c))
        found[words++] = texts_hash_word(&c.folded, c.start, c.end);
    struct text *t = lua_newuserdatauv(L, sizeof *t + 2 * words * sizeof *t->set, 1);
    *t = (struct text){.words = words, .sequence = (uint64_t *)(t + 1)};
    t->set = t->sequence + words;
    memcpy(t->sequence, found, words * sizeof *found);
    texts_sort(L, found, words);
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
struct str texts_fold_plain(lua_State *L, int index, size_t most, bool *ascii)
{
    struct folded f = texts_fold(L, index, most);
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
    char *out = texts_scratch(L, FOR_UTF8, (size_t)len * 3, 1);
    icu.u_strToUTF8WithSub(out, len * 3 + 1, &bytes, f.wide, len, 0xFFFD, NULL, &code);
    return (struct str){out, (size_t)bytes};
}

size_t texts_at_most(lua_State *L, int index)
{
    return (size_t)luaL_optinteger(L, index, LUA_MAXINTEGER);
}

/* text.fold(string, most) -> string with straight apostrophes and single spaces, and whether it is ASCII. most: of its
 * bytes; all */
static int fold_text(lua_State *L)
{
    bool ascii;
    struct str s = texts_fold_plain(L, 1, texts_at_most(L, 2), &ascii);
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

const struct text *texts_at(lua_State *L, int index)
{
    return luaL_checkudata(L, index, text_type);
}

static int length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)texts_at(L, 1)->words);
    return 1;
}

/* The code points of the text at index, of its first `most` units. */
UChar32 *texts_points(lua_State *L, int index, int32_t most, enum scratch use, size_t *count)
{
    UErrorCode code = U_ZERO_ERROR;
    (void)texts_at(L, index);
    lua_getiuservalue(L, index, 1);
    size_t bytes = most < TEXT_BYTES / 3 ? (size_t)most * 3 : TEXT_BYTES; /* a unit has no more than three */
    struct folded f = texts_fold(L, lua_gettop(L), bytes);
    lua_pop(L, 1);
    int32_t len = f.len < most ? f.len : most;
    UChar32 *points = texts_scratch(L, use, (size_t)len, sizeof *points);
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
    const UChar32 *point = texts_points(L, 1, 2 * LOOKED_AT, FOR_POINTS, &count);
    for (size_t i = 0; i < count && i < LOOKED_AT; i++) {
        UErrorCode code = U_ZERO_ERROR;
        UChar32 c = point[i];
        UScriptCode script = c >= 0x80 ? icu.uscript_getScript(c, &code)
                             : is_letter((char)c) ? USCRIPT_LATIN : USCRIPT_COMMON;
        if (U_SUCCESS(code) && script > USCRIPT_INHERITED && ++counts[script] > counts[best])
            best = (unsigned)script;
    }
    if (best == USCRIPT_COMMON)
        return 0;
    lua_pushstring(L, icu.uscript_getShortName((UScriptCode)best));
    return 1;
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
    UChar *wide = texts_scratch(L, FOR_RAW, s.len + 1, sizeof *wide);
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
    texts_find_open(L);
    luaL_newmetatable(L, text_type);
    lua_pushcfunction(L, length);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    static const luaL_Reg functions[] = {
        {"new", new_text}, {"fold", fold_text}, {"words", list_words}, {"pieces", list_pieces},
        {"script", script_of_text}, {"phrases", texts_new_phrases}, {"first", texts_first},
        {"lexicon", texts_new_lexicon}, {"closest", texts_closest}, {"changes", texts_changes},
        {"jaccard", texts_jaccard}, {"rouge_l", texts_rouge_l}, {"edit", texts_edit}, {"chrf", texts_chrf},
        {"plain", plain}, {"csv", csv}, {0}};
    luaL_newlib(L, functions);
    sandbox_freeze(L, "canvass.text");
    return 1;
}
