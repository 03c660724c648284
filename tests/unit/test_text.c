/* Text from outside: harmless on a screen, whole in JSON and CSV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"

#define BAD "\xEF\xBF\xBD"
#define DOTS "\xE2\x80\xA6"

static struct buf out;

static int setup(void **state)
{
    (void)state;
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&out);
    return 0;
}

static const char *text_of(struct buf *b)
{
    return b->ptr ? b->ptr : "";
}

static void utf8_is_the_standards_table(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "abc", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "\xF0\x9F\x98\x80",
    };
    static const char *const bad[] = {
        "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xE2\x82", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "\xFE", "\xFF", "a\xC3(b",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(text_is_utf8(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (text_is_utf8(str_from(bad[i])))
            fail_msg("bad[%zu] was taken", i);
    assert_true(text_is_utf8((struct str){"a\0b", 3}));
    assert_true(text_has_control((struct str){"a\0b", 3}));
    assert_true(text_has_control(STR("\xC2\x9B")));
    assert_true(text_has_control(STR("a\xE2\x80\xAE")));
    assert_false(text_has_control(STR("gr\xC3\xBC\xC3\x9F \xFF")));
    assert_false(text_is_utf8((struct str){"\xE2\x82\xAC", 2})); /* looks no further than its length */
}

static void broken_bytes_are_replaced_one_by_one(void **state)
{
    (void)state;
    text_add_utf8(&out, STR("a\xC3(\xE2\x82z\xFF"));
    assert_string_equal(text_of(&out), "a" BAD "(" BAD BAD "z" BAD);
    buf_clear(&out);
    text_add_utf8(&out, STR("gr\xC3\xBC\xC3\x9F dich"));
    assert_string_equal(text_of(&out), "gr\xC3\xBC\xC3\x9F dich");
}

static void plain_text_cannot_move_the_cursor(void **state)
{
    (void)state;
    static const struct {
        const char *in, *expected;
        bool one_line;
    } rows[] = {
        {"\x1b[2J\x1b]0;title\x07", BAD "[2J" BAD "]0;title" BAD, true},
        {"a\nb", "a b", true}, {"a\nb", "a\nb", false}, {"a\r\nb", "a\nb", false}, {"a\r\nb", "a b", true},
        {"a\rb", "a" BAD "b", false}, {"a\tb", "a b", false}, {"\x7f", BAD, false},
        {"\xC2\x9B" "31m", BAD "31m", false},
        {"\xE2\x80\xAE" "abc", BAD "abc", true}, {"\xE2\x81\xA6", BAD, true}, {"\xE2\x81\xA9", BAD, true},
        {"\xE2\x80\x8F", BAD, true}, {"\xE2\x80\x8E", BAD, true}, {"\xD8\x9C", BAD, true}, {"\xE2\x80\xA8", BAD, false},
        {"\xE2\x80\xA9", BAD, false}, {"\x9B" "31m", BAD "31m", true},
        {"\xE4\xBD\xA0\xE5\xA5\xBD", "\xE4\xBD\xA0\xE5\xA5\xBD", true},
        {"\xE2\x80\x93", "\xE2\x80\x93", true}, {"", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        text_add_plain(&out, str_from(rows[i].in), 0, rows[i].one_line);
        if (strcmp(text_of(&out), rows[i].expected) != 0)
            fail_msg("row %zu gave \"%s\"", i, text_of(&out));
    }
    buf_clear(&out);
    text_add_plain(&out, (struct str){"a\0b", 3}, 0, true);
    assert_string_equal(text_of(&out), "a" BAD "b");
}

static void plain_text_is_cut_at_columns(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t columns;
        const char *expected;
        size_t used;
    } rows[] = {
        {"abcdef", 6, "abcdef", 6}, {"abcdef", 5, "abcd" DOTS, 5}, {"abcdef", 1, DOTS, 1}, {"a", 1, "a", 1},
        {"\xE4\xBD\xA0\xE5\xA5\xBD", 4, "\xE4\xBD\xA0\xE5\xA5\xBD", 4},
        {"\xE4\xBD\xA0\xE5\xA5\xBD", 3, "\xE4\xBD\xA0" DOTS, 3},
        {"\xE4\xBD\xA0\xE5\xA5\xBD", 2, DOTS, 1}, {"\xE4\xBD\xA0", 1, DOTS, 1},
        {"a\xE4\xBD\xA0\xE5\xA5\xBD", 4, "a\xE4\xBD\xA0" DOTS, 4},
        {"e\xCC\x81" "e\xCC\x81", 2, "e\xCC\x81" "e\xCC\x81", 2}, {"e\xCC\x81xyz", 2, "e\xCC\x81" DOTS, 2},
        {"", 3, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        size_t used = text_add_plain(&out, str_from(rows[i].in), rows[i].columns, true);
        if (used != rows[i].used || strcmp(text_of(&out), rows[i].expected) != 0)
            fail_msg("row %zu gave \"%s\", %zu", i, text_of(&out), used);
    }
    buf_clear(&out);
    buf_adds(&out, "head ");
    text_add_plain(&out, STR("abcdef"), 3, true); /* what was there before is not cut */
    assert_string_equal(text_of(&out), "head ab" DOTS);
}

static void accents_cannot_flood_a_cell(void **state)
{
    (void)state;
    struct buf zalgo;
    buf_init(&zalgo, 1 << 20);
    buf_addc(&zalgo, 'e');
    for (int i = 0; i < 10000; i++)
        buf_adds(&zalgo, "\xCC\x81");
    buf_addc(&zalgo, 'x');
    assert_int_equal(text_add_plain(&out, buf_str(&zalgo), 10, true), 2);
    assert_true(out.len < 40);
    assert_int_equal(out.ptr[out.len - 1], 'x');
    buf_done(&zalgo);
}

static void a_full_buffer_is_never_left_inside_a_character(void **state)
{
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        struct buf small;
        buf_init(&small, max);
        text_add_plain(&small, STR("\xE4\xBD\xA0\xE5\xA5\xBD\xF0\x9F\x98\x80\xFF"), 6, true);
        assert_true(small.len <= max);
        assert_true(text_is_utf8(buf_str(&small)));
        buf_done(&small);
    }
}

/* Whatever comes in: what goes out is UTF-8, has no control, and is as wide as was said and allowed. */
static void random_bytes_come_out_harmless(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "\xC3\xBC", "\xE4\xBD\xA0", "\xF0\x9F\x98\x80", "\x1b",
        "\xE2\x80\xAE", "\xFF", "\n", "\xCC\x81", "\xE2\x82"};
    struct rng rng;
    rng_seed(&rng, 11);
    for (int round = 0; round < 3000; round++) {
        char in[64];
        size_t len = 0, columns = (size_t)(rng_next(&rng) % 12);
        while (len < 50 && rng_next(&rng) % 16) {
            const char *piece = pieces[rng_next(&rng) % ARRAY_LEN(pieces)];
            memcpy(in + len, piece, strlen(piece));
            len += strlen(piece);
        }
        buf_clear(&out);
        size_t used = text_add_plain(&out, (struct str){in, len}, columns, true);
        assert_true(text_is_utf8(buf_str(&out)));
        assert_int_equal(text_columns(buf_str(&out)), used);
        assert_true(!columns || used <= columns);
        assert_null(strpbrk(text_of(&out), "\x1b\n\x7f"));
        assert_null(strstr(text_of(&out), "\xE2\x80\xAE"));
        buf_clear(&out);
        text_add_json(&out, (struct str){in, len});
        assert_true(text_is_utf8(buf_str(&out)));
        assert_null(strpbrk(text_of(&out), "\x1b\n"));
    }
}

static void columns_are_what_is_seen(void **state)
{
    (void)state;
    assert_int_equal(text_columns(STR("abc")), 3);
    assert_int_equal(text_columns(STR("\xE4\xBD\xA0\xE5\xA5\xBD")), 4);
    assert_int_equal(text_columns(STR("e\xCC\x81")), 1);
    assert_int_equal(text_columns(STR("a\x1b\n\x07" "b")), 2);
    assert_int_equal(text_columns(STR("\xFF\xFF")), 2);
    assert_int_equal(text_columns(STR("")), 0);
}

static void csv_fields_come_back_whole(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"plain", "plain"}, {"", ""}, {"a,b", "\"a,b\""}, {"say \"hi\"", "\"say \"\"hi\"\"\""}, {"a\nb", "\"a\nb\""},
        {"a\rb", "\"a\rb\""}, {"=1+1", "'=1+1"}, {"@SUM(A1)", "'@SUM(A1)"},
        {"+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"},
        {"-3", "-3"}, {"+1.5e-7", "+1.5e-7"}, {"-.5", "-.5"}, {"-", "'-"}, {"-1-1", "'-1-1"}, {"-1e", "'-1e"},
        {"-1,5", "\"'-1,5\""},
        {"\tx", "'\tx"}, {"=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""}, {"1=1", "1=1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        text_add_csv(&out, str_from(rows[i][0]));
        assert_string_equal(text_of(&out), rows[i][1]);
    }
}

static void json_strings_are_safe_everywhere(void **state)
{
    (void)state;
    text_add_json(&out, STR("a\"\\\n\r\t\b\f\x01\x7f\xC2\x9B\xE2\x80\xA8\xE2\x80\xAE\xFF\xC3\xBC/"));
    assert_string_equal(text_of(&out),
        "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u007f\\u009b\\u2028\\u202e" BAD "\xC3\xBC/\"");
    buf_clear(&out);
    text_add_json(&out, (struct str){"\0", 1});
    assert_string_equal(text_of(&out), "\"\\u0000\"");
}

static void percent_keeps_what_is_unreserved(void **state)
{
    (void)state;
    text_add_percent(&out, STR("meta-llama/Llama 3.2_1B~x%?#\xC3\xBC"));
    assert_string_equal(text_of(&out), "meta-llama%2FLlama%203.2_1B~x%25%3F%23%C3%BC");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(utf8_is_the_standards_table),
        TEST(broken_bytes_are_replaced_one_by_one),
        TEST(plain_text_cannot_move_the_cursor),
        TEST(plain_text_is_cut_at_columns),
        TEST(accents_cannot_flood_a_cell),
        TEST(a_full_buffer_is_never_left_inside_a_character),
        TEST(random_bytes_come_out_harmless),
        TEST(columns_are_what_is_seen),
        TEST(csv_fields_come_back_whole),
        TEST(json_strings_are_safe_everywhere),
        TEST(percent_keeps_what_is_unreserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
