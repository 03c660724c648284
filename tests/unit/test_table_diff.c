/* Two region tables, told apart for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/table_diff.h"
#include "script/table_file.h"

static struct region_table *table(const char *text)
{
    struct err err = {0};
    struct region_table *t =
        table_load_text("t.lua", str_from(text), &(struct table_options){.secrets_optional = true}, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static void differ(const char *before, const char *after, size_t count, const char *lines)
{
    struct region_table *a = table(before), *b = table(after);
    struct buf out;
    buf_init(&out, 1 << 16);
    assert_int_equal(table_diff(a, b, &out), count);
    assert_string_equal(out.ptr ? out.ptr : "", lines);
    buf_done(&out);
    region_table_unref(a);
    region_table_unref(b);
}

#define MODEL(more) "us = { models = { [\"qwen2.5\"] = { url = \"http://h/q\", adapter = \"modal\"" more " } } }"
#define OTHER "eu = { models = { m = { url = \"http://h/m\", adapter = \"modal\" } } }"
#define TABLE(regions) "return { regions = { " regions " } }"

static void the_same_is_no_difference(void **state)
{
    (void)state;
    differ(TABLE(MODEL("")), "-- a comment\n" TABLE(MODEL("")), 0, "");
}

static void a_setting_is_named_with_both_values(void **state)
{
    (void)state;
    differ(TABLE(MODEL("")), TABLE(MODEL(", slots = 2, retry = { attempts = 7 }")), 2,
           "us/qwen2.5: slots 1 -> 2\nus/qwen2.5: retry.attempts 4 -> 7\n");
    differ(TABLE(MODEL("")), TABLE(MODEL(", paused = \"too dear\"")), 1, "us/qwen2.5: paused false -> too dear\n");
}

static void what_is_new_or_gone_is_said_once(void **state)
{
    (void)state;
    differ(TABLE(MODEL("")), TABLE(MODEL("") ", " OTHER), 2, "eu: added\neu/m: added\n");
    differ(TABLE(MODEL("") ", " OTHER), TABLE(MODEL("")), 2, "eu: removed\neu/m: removed\n");
}

static void a_secret_is_shown_by_its_name(void **state)
{
    (void)state;
    struct region_table *a = table(TABLE(MODEL(", headers = { Authorization = secret \"OLD_TOKEN\" }")));
    struct region_table *b = table(TABLE(MODEL(", headers = { Authorization = secret \"NEW_TOKEN\" }")));
    struct buf out;
    buf_init(&out, 1 << 16);
    assert_int_equal(table_diff(a, b, &out), 1);
    assert_non_null(strstr(out.ptr, "OLD_TOKEN"));
    assert_non_null(strstr(out.ptr, "NEW_TOKEN"));
    assert_null(strstr(out.ptr, "hush"));
    buf_done(&out);
    region_table_unref(a);
    region_table_unref(b);
}

int main(void)
{
    setenv("OLD_TOKEN", "hush-1", 1);
    setenv("NEW_TOKEN", "hush-2", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_no_difference),
        cmocka_unit_test(a_setting_is_named_with_both_values),
        cmocka_unit_test(what_is_new_or_gone_is_said_once),
        cmocka_unit_test(a_secret_is_shown_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
