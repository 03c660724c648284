/* How alike two texts are: 0 to 1; nil where it cannot be said. */
#include <string.h>

#include "script/text_lib_priv.h"

enum { POINTS_MAX = 4000, NGRAM = 6, WORDS_MAX = 4000 };

/* Jaccard 1912, New Phytologist 11, 37-50: words in both / words in either. */
int texts_jaccard(lua_State *L)
{
    const struct text *a = texts_at(L, 1), *b = texts_at(L, 2);
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
int texts_rouge_l(lua_State *L)
{
    const struct text *a = texts_at(L, 1), *b = texts_at(L, 2);
    if (!a->words || !b->words || a->words > WORDS_MAX || b->words > WORDS_MAX)
        return 0;
    size_t *row = texts_scratch(L, FOR_ROW, b->words, sizeof *row);
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
int texts_edit(lua_State *L)
{
    size_t x, y;
    const UChar32 *left = texts_points(L, 1, INT32_MAX, FOR_POINTS, &x),
                  *right = texts_points(L, 2, INT32_MAX, FOR_OTHER_POINTS, &y);
    size_t longer = x > y ? x : y;
    if (!longer || longer > POINTS_MAX)
        return 0;
    size_t *row = texts_scratch(L, FOR_ROW, y, sizeof *row);
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
        out[count] = texts_hash((const UChar *)(point + count), (int32_t)(n * 2));
    texts_sort(L, out, count);
    return count;
}

/* Popovic 2015, WMT, 392-395: chrF with n up to 6 and beta 1, so that neither text is the reference. */
int texts_chrf(lua_State *L)
{
    size_t a, b, orders = 0;
    UChar32 *one = texts_points(L, 1, INT32_MAX, FOR_POINTS, &a),
            *other = texts_points(L, 2, INT32_MAX, FOR_OTHER_POINTS, &b);
    if (a > POINTS_MAX || b > POINTS_MAX)
        return 0;
    a = without_space(one, a);
    b = without_space(other, b);
    uint64_t *left = texts_scratch(L, FOR_LEFT, a, sizeof *left),
             *right = texts_scratch(L, FOR_RIGHT, b, sizeof *right);
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
