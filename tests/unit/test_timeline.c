#include "cli/timeline.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/timeutil.h"

/* Endpoints "m0" and on; the chart needs no more of a plan than their names. */
struct chart {
    struct plan plan;
    struct region_table table;
    struct endpoint_spec endpoints[30];
    uint32_t positions[30];
    char names[30][16];
    struct timeline timeline;
    struct buf out;
};

static void chart_init(struct chart *c, uint32_t endpoints)
{
    *c = (struct chart){.table = {.endpoints = c->endpoints}};
    for (uint32_t i = 0; i < endpoints; i++) {
        snprintf(c->names[i], sizeof c->names[i], "m%u", i);
        c->endpoints[i] = (struct endpoint_spec){.id = c->names[i]};
        c->positions[i] = i;
    }
    c->plan = (struct plan){.table = &c->table, .question_count = 4, .sample_count = 1, .endpoint_count = endpoints,
                            .endpoints = c->positions, .count = 4 * (uint64_t)endpoints};
    timeline_init(&c->timeline, &c->plan);
    buf_init(&c->out, 1 << 20);
}

static void chart_done(struct chart *c)
{
    timeline_done(&c->timeline);
    buf_done(&c->out);
}

/* An attempt as the engine and the fleet tell of it; the first request of all was at second 1. */
static void attempt(struct chart *c, uint32_t endpoint, double from_s, double serves_from_s, double to_s,
                    enum status status)
{
    struct event e = {.kind = EVENT_ATTEMPT_STARTED, .cell = {.endpoint = endpoint},
                      .at_us = (int64_t)((1 + from_s) * 1e6)};
    timeline_event(&c->timeline, &e, SECOND_US, 1);
    e.kind = EVENT_EXECUTION_ENDED;
    e.at_us = (int64_t)((1 + to_s) * 1e6);
    e.status = status;
    timeline_event(&c->timeline, &e, SECOND_US, 1);
    if (status == STATUS_SUCCEEDED)
        timeline_add(&c->timeline, endpoint, SPAN_ANSWERING, serves_from_s, to_s);
}

static void test_what_each_endpoint_did(void **state)
{
    (void)state;
    struct chart c;
    chart_init(&c, 3);
    attempt(&c, 0, 0, 20, 40, STATUS_SUCCEEDED);
    attempt(&c, 0, 60, 60, 100, STATUS_SUCCEEDED);
    attempt(&c, 1, 0, 0, 100, STATUS_FAILED);
    attempt(&c, 2, 30, 30, 31, STATUS_SUCCEEDED);
    timeline_draw(&c.timeline, 6 + 10, false, &c.out);
    assert_string_equal(buf_str(&c.out).ptr, "  m0  ▒▒██··████\n"
                                             "  m1  ▒▒▒▒▒▒▒▒▒x\n"
                                             "  m2  ···▁······\n"
                                             "      0   1m 40s\n");
    chart_done(&c);
}

static void test_no_row_is_wider_than_the_screen(void **state)
{
    (void)state;
    struct chart c;
    chart_init(&c, 30);
    for (uint32_t i = 0; i < 30; i++)
        attempt(&c, i, i, i + 10, 1000, i % 2 ? STATUS_SUCCEEDED : STATUS_FAILED);
    for (size_t columns = 0; columns < 300; columns++) {
        unsigned rows = 0;
        timeline_draw(&c.timeline, columns, false, &c.out);
        char *rest = NULL;
        for (char *line = c.out.len ? strtok_r(c.out.ptr, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest),
            rows++)
            if (!strstr(line, "6 endpoints more"))
                assert_true(strlen(line) <= columns * 3 && mbstowcs(NULL, line, 0) <= columns);
        assert_int_equal(rows, columns < 17 ? 0 : TIMELINE_ROWS_MAX + 2);
        buf_clear(&c.out);
    }
    chart_done(&c);
}

static void test_nothing_to_draw(void **state)
{
    (void)state;
    struct chart c;
    chart_init(&c, 2);
    timeline_draw(&c.timeline, 80, true, &c.out);
    assert_int_equal(c.out.len, 0);
    chart_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_each_endpoint_did),
        cmocka_unit_test(test_no_row_is_wider_than_the_screen),
        cmocka_unit_test(test_nothing_to_draw),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
