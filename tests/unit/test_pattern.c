/* The sandbox's find, match, gmatch and gsub against those of stock Lua, on many thousands of random patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "script/sandbox.h"

/* Asks one implementation; its results, or the fact that it failed, as one line of text. */
static const char ask[] =
    "local function show(ok, ...)\n"
    "  if not ok then return 'error' end\n"
    "  local out = {}\n"
    "  for i = 1, select('#', ...) do\n"
    "    local v = select(i, ...)\n"
    "    out[i] = type(v) .. ':' .. tostring(v)\n"
    "  end\n"
    "  return table.concat(out, '|')\n"
    "end\n"
    "local function all(...)\n"
    "  local out, n = {}, 0\n"
    "  for a, b, c in string.gmatch(...) do\n"
    "    n = n + 1\n"
    "    out[n] = tostring(a) .. ',' .. tostring(b) .. ',' .. tostring(c)\n"
    "    if n > 50 then break end\n"
    "  end\n"
    "  return table.concat(out, ';')\n"
    "end\n"
    "local map = {a = 'x', b = false, ab = 7, ['('] = 'open', ['1'] = 'one'}\n"
    "local function swap(a, b) if a == 'b' then return nil end return tostring(b) .. tostring(a) end\n"
    "return function(what, s, p, arg)\n"
    "  if what == 'find' then return show(pcall(string.find, s, p, arg)) end\n"
    "  if what == 'plain' then return show(pcall(string.find, s, p, arg, true)) end\n"
    "  if what == 'match' then return show(pcall(string.match, s, p, arg)) end\n"
    "  if what == 'gmatch' then return show(pcall(all, s, p, arg)) end\n"
    "  if what == 'gsub' then return show(pcall(string.gsub, s, p, arg)) end\n"
    "  if what == 'table' then return show(pcall(string.gsub, s, p, map, arg)) end\n"
    "  return show(pcall(string.gsub, s, p, swap, arg))\n"
    "end\n";

static lua_State *stock;
static struct script *ours;

static int setup(void **state)
{
    (void)state;
    struct err err;
    struct script_limits limits = {60000000, 60000000, 64u << 20};
    stock = luaL_newstate();
    luaL_openlibs(stock);
    assert_int_equal(luaL_dostring(stock, ask), LUA_OK);
    ours = script_new(&(struct script_options){.limits = &limits});
    if (!script_run(ours, "ask", str_from(ask), &err))
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lua_close(stock);
    script_free(ours);
    return 0;
}

struct question {
    const char *what;
    struct str subject, pattern;
    bool has_text, has_number;
    struct str text;       /* the replacement of gsub */
    lua_Integer number;    /* init, or how many */
};

static void push_question(lua_State *L, const struct question *q)
{
    lua_pushvalue(L, 1);
    lua_pushstring(L, q->what);
    lua_pushlstring(L, q->subject.ptr, q->subject.len);
    lua_pushlstring(L, q->pattern.ptr, q->pattern.len);
    if (q->has_text)
        lua_pushlstring(L, q->text.ptr, q->text.len);
    else if (q->has_number)
        lua_pushinteger(L, q->number);
    else
        lua_pushnil(L);
}

static bool failed; /* the last answer was an error */

static void compare(const struct question *q)
{
    struct err err;
    push_question(stock, q);
    assert_int_equal(lua_pcall(stock, 4, 1, 0), LUA_OK);
    push_question(script_state(ours), q);
    if (!script_call(ours, 4, 1, &err))
        fail_msg("%s", err.text);
    size_t a_len, b_len;
    const char *a = lua_tolstring(stock, -1, &a_len), *b = lua_tolstring(script_state(ours), -1, &b_len);
    if (a_len != b_len || memcmp(a, b, a_len) != 0)
        fail_msg("%s of \"%.*s\" with \"%.*s\" (%lld):\n  stock: %s\n  ours:  %s", q->what, (int)q->subject.len,
                 q->subject.ptr, (int)q->pattern.len, q->pattern.ptr, (long long)q->number, a, b);
    failed = strcmp(a, "error") == 0;
    lua_pop(stock, 1);
    lua_pop(script_state(ours), 1);
}

/* Pieces are picked by lot; most make sense, some do not. */
static const char *const pieces[] = {
    "a", "b", "c", ".", "%a", "%d", "%s", "%w", "%x", "%p", "%l", "%u", "%c", "%g", "%A", "%D", "%W", "%z", "%Z",
    "[ab]", "[^ab]", "[a-c]", "[^%d]", "[%a_]", "[]]", "[^]]", "[a-]", "[%]]", "[]-a]", "[a%-z]", "[%a-z]", "[",
    "[^", "[a", "[%", "]", "(", ")", "()", "(a)", "(.)", "(.-)", "(%w+)", "((a)b)", "%1", "%2", "%0", "%9",
    "%b()", "%bab", "%b", "%b(", "%f[%w]", "%f[^a]", "%f", "%fa", "%", "%%", "%.", "%(", "^", "$", "%$", "-", "*",
    "+", "?", "a*", "a+", "a-", "a?", ".*", ".-", ".+", "[ab]*", "[^a]-", "%d+", "%s*", "ab", " ", "1", "_", "\xE9",
};
static const char letters[] = "aaabbbccc()()12 _%-.[]\xE9\xFF";
static const char *const replacements[] = {"", "x", "%0", "%1", "%2", "<%0%1>", "%%", "%", "%x", "a%", "%9",
                                           "long text %0"};

static struct str random_pattern(struct rng *r, struct buf *out)
{
    buf_clear(out);
    if (rng_unit(r) < 0.15)
        buf_addc(out, '^');
    for (uint64_t n = rng_next(r) % 6; n > 0; n--) {
        if (rng_unit(r) < 0.03)
            buf_addc(out, '\0');
        else
            buf_adds(out, pieces[rng_next(r) % ARRAY_LEN(pieces)]);
    }
    if (rng_unit(r) < 0.15)
        buf_addc(out, '$');
    return buf_str(out);
}

static struct str random_subject(struct rng *r, struct buf *out)
{
    buf_clear(out);
    for (uint64_t n = rng_next(r) % 14; n > 0; n--)
        buf_addc(out, rng_unit(r) < 0.03 ? '\0' : letters[rng_next(r) % (sizeof letters - 1)]);
    return buf_str(out);
}

static void test_random_patterns(void **state)
{
    (void)state;
    static const char *const whats[] = {"find", "plain", "match", "gmatch", "gsub", "table", "function"};
    struct rng r;
    rng_seed(&r, 20240607);
    struct buf subject, pattern;
    buf_init(&subject, 1000);
    buf_init(&pattern, 1000);
    unsigned errors = 0, rounds = 60000;
    for (unsigned i = 0; i < rounds; i++) {
        struct question q = {.what = whats[rng_next(&r) % ARRAY_LEN(whats)]};
        q.pattern = random_pattern(&r, &pattern);
        q.subject = random_subject(&r, &subject);
        q.has_number = rng_unit(&r) < 0.4;
        q.number = (lua_Integer)(rng_next(&r) % 24) - 8;
        if (strcmp(q.what, "gsub") == 0) {
            q.has_text = true;
            q.text = str_from(replacements[rng_next(&r) % ARRAY_LEN(replacements)]);
        }
        compare(&q);
        errors += failed;
    }
    /* The lots must be such that both kinds are tried. */
    assert_in_range(errors, rounds / 20, rounds * 2 / 3);
    buf_done(&subject);
    buf_done(&pattern);
}

static char *repeat(const char *unit, int count)
{
    char *text = mem_alloc(strlen(unit) * (size_t)count + 1);
    text[0] = '\0';
    for (int i = 0; i < count; i++)
        memcpy(text + strlen(unit) * (size_t)i, unit, strlen(unit) + 1);
    return text;
}

static void test_limits_agree(void **state)
{
    (void)state;
    static const struct { const char *unit; int first, last; } table[] = {
        {"a?", 190, 210}, {"(a)", 28, 36}, {"()", 30, 34}, {"b*", 1, 300}, {"%1", 1, 3}, {"(", 1, 40}, {".-", 195, 205},
        {"(a?)", 28, 36}, {"a+", 1, 6}, {"[ab]?", 190, 210},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int n = table[i].first; n <= table[i].last; n++) {
            char *pattern = repeat(table[i].unit, n), *subject = repeat("a", 40);
            compare(&(struct question){.what = "match", .subject = str_from(subject), .pattern = str_from(pattern)});
            compare(&(struct question){.what = "find", .subject = STR(""), .pattern = str_from(pattern)});
            free(pattern);
            free(subject);
        }
    }
}

static void test_positions_agree(void **state)
{
    (void)state;
    static const char *const patterns[] = {"", "b", "^b", ".", "x", "c$", "()"};
    static const lua_Integer positions[] = {LUA_MININTEGER, -1000, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 1000,
        LUA_MAXINTEGER};
    static const char *const whats[] = {"find", "plain", "match", "gmatch", "table", "function"};
    for (size_t p = 0; p < ARRAY_LEN(patterns); p++)
        for (size_t n = 0; n < ARRAY_LEN(positions); n++)
            for (size_t w = 0; w < ARRAY_LEN(whats); w++)
                compare(&(struct question){.what = whats[w], .subject = STR("abc"), .pattern = str_from(patterns[p]),
                                           .has_number = true, .number = positions[n]});
}

static void test_wrong_arguments_agree(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "string.find()", "string.find('a')", "string.find({}, 'a')", "string.find('a', {})", "string.find('a', 'a',"
        " 'x')",
        "string.find(123, 2)", "string.match(123, '%d', 2)", "string.gsub('a')", "string.gsub('a', 'a')",
        "string.gsub('a', 'a', nil)", "string.gsub('a', 'a', true)", "string.gsub('a', 'a', 5)",
        "string.gsub('a', 'a', function() return {} end)", "string.gsub('a', 'a', {a = {}})",
        "string.gsub('a', 'a', {a = true})", "string.gsub('abc', '%w', '%%%0')", "string.gmatch('a')",
        "string.gmatch('a', 'a', {})", "string.gsub('hello world', 'o', '0', 1)", "string.gsub('abc', '', '-')",
        "string.gsub('abc', 'b', '%1')", "string.find('a.b', '.', 1, true)", "string.find('', '')", "string.find('',"
        " '', 2)",
        "string.find('abc', '', 4)", "string.find('abc', '', 5)", "string.gsub('abc', 'x*', '-')",
        "string.gsub('a', 'a', setmetatable({}, {__index = function(t, k) return k .. k end}))",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char *text = mem_printf("local function show(ok, ...) if not ok then return 'error' end return select('#',"
            " ...) .."
                                " tostring((...)) .. tostring((select(2, ...))) end"
                                " return show(pcall(function() return %s end))", lines[i]);
        struct err err;
        assert_int_equal(luaL_dostring(stock, text), LUA_OK);
        if (!script_run(ours, "ask", str_from(text), &err))
            fail_msg("%s", err.text);
        assert_string_equal(lua_tostring(stock, -1), lua_tostring(script_state(ours), -1));
        lua_settop(stock, 1);
        lua_settop(script_state(ours), 1);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_limits_agree),
        cmocka_unit_test(test_positions_agree),
        cmocka_unit_test(test_wrong_arguments_agree),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
