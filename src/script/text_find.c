/* What a text holds: phrases, words of a language; and what it says in other words than another. */
#include <stdlib.h>
#include <string.h>

#include "script/text_lib_priv.h"

enum { PIECES_MAX = 1200, LISTS_MAX = 64 };

static const char lexicon_type[] = "canvass.lexicon", phrases_type[] = "canvass.phrases";

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
int texts_new_phrases(lua_State *L)
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

/* text.first(s, phrases, most): the place of the first phrase in their list that text.fold(s, most) holds, wherever;
 * nil: it holds none. Called with some eighty phrases for each answer, of which mostly none is there. */
int texts_first(lua_State *L)
{
    bool ascii;
    const struct phrases *all = luaL_checkudata(L, 2, phrases_type);
    struct str s = texts_fold_plain(L, 1, texts_at_most(L, 3), &ascii);
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
int texts_new_lexicon(lua_State *L)
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
            struct folded f = texts_fold(L, 5, SIZE_MAX);
            x->word[x->count] = (struct lexicon_word){texts_hash_word(&f, 0, f.len), i};
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
int texts_closest(lua_State *L)
{
    enum { LOOKED_AT = 200 };
    const struct lexicon *x = luaL_checkudata(L, 1, lexicon_type);
    const struct text *t = texts_at(L, 2);
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

/* ---- what one says in other words than another ---- */

/* The pieces of the list at index by number, the same for the same text: the table on top has those of so far. */
static uint16_t *numbers_of(lua_State *L, int index, enum scratch use, uint16_t *known, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    *count = lua_rawlen(L, index);
    luaL_argcheck(L, *count <= PIECES_MAX, index, "more than 1200 pieces");
    uint16_t *out = texts_scratch(L, use, *count, sizeof *out);
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
int texts_changes(lua_State *L)
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
    /* of what follows a[i], b[k] */
    uint16_t *common = texts_scratch(L, FOR_ROW, (end - head + 1) * width, sizeof *common);
    memset(common, 0, (end - head + 1) * width * sizeof *common);
    sandbox_charge(L, (end - head) * width);
    for (i = end - head; i-- > 0;) {
        uint16_t *row = common + i * width, *below = row + width;
        for (k = width - 1; k-- > 0;)
            row[k] = a[head + i] == b[head + k] ? (uint16_t)(below[k + 1] + 1)
                     : below[k] > row[k + 1] ? below[k] : row[k + 1];
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

void texts_find_open(lua_State *L)
{
    static const char *const types[] = {lexicon_type, phrases_type};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        luaL_newmetatable(L, types[i]);
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
}
