/* Tables of text: aligned by what is seen, and never wider than the screen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <string.h>

#include "base/text.h"
#include "cli/table.h"

static struct table *sample(const char *answer)
{
    struct table *t = table_new();
    table_column(t, "region", TABLE_LEFT);
    table_column(t, "n", TABLE_RIGHT);
    table_column(t, "answer", TABLE_FLEX);
    table_text(t, "us");
    table_cellf(t, "%d", 7);
    table_text(t, answer);
    table_text(t, "asia-southeast");
    table_cellf(t, "%d", 1234);
    table_text(t, "no");
    return t;
}

static void columns_are_aligned(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct table *t = sample("yes");
    table_print(t, 0, &out);
    assert_string_equal(out.ptr, "region             n  answer\n"
                                 "us                 7  yes\n"
                                 "asia-southeast  1234  no\n");
    table_free(t);
    buf_done(&out);
}

static void what_endpoints_say_is_made_harmless(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct table *t = sample("two\nlines \033[31mred");
    table_print(t, 0, &out);
    assert_null(strchr(out.ptr, '\033'));
    size_t lines = 0;
    for (const char *c = out.ptr; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 3);
    table_free(t);
    buf_done(&out);
}

static void a_screen_is_never_passed(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "a rather long answer, as answers are, that goes on for much longer than the screen is wide",
        "\xE5\xA4\xA9\xE5\xAE\x89\xE9\x97\xA8\xE5\xB9\xBF\xE5\x9C\xBA\xE4\xBD\x8D\xE4\xBA\x8E\xE5\x8C\x97\xE4\xBA\xAC"
        "\xE5\xB8\x82\xE4\xB8\xAD\xE5\xBF\x83 and on", /* wide characters */
    };
    for (size_t i = 0; i < 2; i++)
        for (size_t columns = 40; columns < 130; columns++) {
            struct buf out;
            buf_init(&out, 4096);
            struct table *t = sample(answers[i]);
            table_print(t, columns, &out);
            bool cut = false;
            for (char *line = strtok(out.ptr, "\n"); line; line = strtok(NULL, "\n")) {
                assert_true(text_columns(str_from(line)) <= columns);
                cut |= strstr(line, "\xE2\x80\xA6") != NULL;
            }
            assert_int_equal(cut, 22 + text_columns(str_from(answers[i])) > columns);
            table_free(t);
            buf_done(&out);
        }
}

static void the_widest_column_gives_first(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct table *t = table_new();
    table_column(t, "a", TABLE_FLEX);
    table_column(t, "b", TABLE_FLEX);
    table_text(t, "0123456789");
    table_text(t, "01234567890123456789012345678901234567890123456789");
    table_print(t, 40, &out);
    assert_non_null(strstr(out.ptr, "0123456789  "));
    table_free(t);
    buf_done(&out);
}

static void no_rows_no_table(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct table *t = table_new();
    table_column(t, "a", TABLE_LEFT);
    table_print(t, 80, &out);
    assert_int_equal(out.len, 0);
    table_free(t);
    buf_done(&out);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(what_endpoints_say_is_made_harmless),
        cmocka_unit_test(a_screen_is_never_passed),
        cmocka_unit_test(the_widest_column_gives_first),
        cmocka_unit_test(no_rows_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
