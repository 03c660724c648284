/* Selections: every execution exactly once whatever the order, squares that balance, parts that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/mem.h"
#include "base/random.h"
#include "core/selection.h"
#include "tables.h"

struct fixture {
    struct job_spec *job;
    struct plan *plan;
};

static struct fixture fixture_make(uint32_t questions, unsigned samples, uint32_t regions, uint32_t models)
{
    struct fixture s = {.job = tables_job(questions, samples)};
    struct region_table *t = tables_grid(regions, models);
    struct err err;
    s.plan = plan_make(s.job, t, &err);
    region_table_unref(t);
    assert_non_null(s.plan);
    return s;
}

static void fixture_done(struct fixture *s)
{
    plan_free(s->plan);
    job_spec_free(s->job);
}

/* Adds one to every execution of the selection, through its lines as the engine walks them. */
static void mark(const struct selection *s, unsigned char *hits)
{
    uint64_t line = selection_line_count(s);
    assert_int_equal(line * s->endpoint_count, selection_count(s));
    for (uint32_t e = 0; e < s->endpoint_count; e++)
        for (uint64_t i = 0; i < line; i++) {
            struct cell c = selection_line_at(s, s->endpoints[e], i);
            assert_int_equal(c.endpoint, s->endpoints[e]);
            assert_true(selection_contains(s, c));
            hits[plan_number(s->plan, c)]++;
        }
}

static void assert_each_once(const struct selection *s)
{
    unsigned char *hits = mem_zalloc(s->plan->count);
    mark(s, hits);
    for (uint64_t n = 0; n < s->plan->count; n++)
        if (hits[n] != selection_contains(s, plan_cell(s->plan, n)))
            fail_msg("execution %llu came %d times", (unsigned long long)n, hits[n]);
    free(hits);
}

/* The parts hold each execution of the whole once, and nothing else. */
static void assert_parts_partition(const struct selection *s, enum key key)
{
    unsigned char *hits = mem_zalloc(s->plan->count);
    uint64_t total = 0;
    char label[256];
    for (uint32_t p = 0; p < selection_part_count(s, key); p++) {
        struct selection *part = selection_part(s, key, p, label);
        mark(part, hits);
        total += selection_count(part);
        struct selection *named = selection_where(s, key, label);
        assert_int_equal(selection_count(named), selection_count(part));
        for (uint64_t n = 0; n < s->plan->count; n++)
            assert_int_equal(selection_contains(named, plan_cell(s->plan, n)),
                             selection_contains(part, plan_cell(s->plan, n)));
        selection_free(named);
        selection_free(part);
    }
    assert_int_equal(total, selection_count(s));
    for (uint64_t n = 0; n < s->plan->count; n++)
        assert_int_equal(hits[n], selection_contains(s, plan_cell(s->plan, n)));
    free(hits);
}

static struct selection *change(struct selection *s, struct rng *rng)
{
    struct selection *next;
    enum key key = (enum key)(rng_next(rng) % KEY_COUNT);
    uint64_t seed = rng_next(rng);
    char label[256];
    switch (rng_next(rng) % 5) {
    case 0:
        next = selection_shuffle(s, seed);
        break;
    case 1:
        next = selection_interleave(s, key);
        break;
    case 2:
        next = selection_rotate(s, key, seed);
        break;
    case 3:
        next = selection_count(s) ? selection_part(s, key, (uint32_t)(seed % selection_part_count(s, key)), label)
                                  : selection_copy(s);
        break;
    default:
        next = selection_where(s, KEY_REGION, seed % 4 ? "r1" : "nowhere");
    }
    selection_free(s);
    return next;
}

static void every_execution_exactly_once(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 42);
    for (int round = 0; round < 400; round++) {
        struct fixture set = fixture_make((uint32_t)(1 + rng_next(&rng) % 7), (unsigned)(1 + rng_next(&rng) % 3),
                                          (uint32_t)(1 + rng_next(&rng) % 4), (uint32_t)(1 + rng_next(&rng) % 4));
        struct selection *s = selection_all(set.plan);
        assert_int_equal(selection_count(s), set.plan->count);
        for (int step = 0; step < 4; step++) {
            assert_each_once(s);
            assert_parts_partition(s, (enum key)(rng_next(&rng) % KEY_COUNT));
            s = change(s, &rng);
        }
        assert_each_once(s);
        selection_free(s);
        fixture_done(&set);
    }
}

static void orders_alone_lose_nothing(void **state)
{
    (void)state;
    struct fixture set = fixture_make(5, 2, 3, 2);
    struct selection *all = selection_all(set.plan);
    for (enum key key = 0; key < KEY_COUNT; key++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct selection *made[] = {selection_shuffle(all, seed), selection_interleave(all, key),
                                        selection_rotate(all, key, seed), selection_copy(all)};
            for (size_t i = 0; i < ARRAY_LEN(made); i++) {
                assert_int_equal(selection_count(made[i]), set.plan->count);
                assert_each_once(made[i]);
                selection_free(made[i]);
            }
        }
    selection_free(all);
    selection_free(NULL);
    fixture_done(&set);
}

/* One line as text: question and sample of each execution, "00 01 10 11". */
static void line_text(const struct selection *s, uint32_t endpoint, char out[256])
{
    size_t len = 0;
    for (uint64_t i = 0; i < selection_line_count(s); i++) {
        struct cell c = selection_line_at(s, endpoint, i);
        out[len++] = (char)('0' + c.question);
        out[len++] = (char)('0' + c.sample);
        out[len++] = ' ';
    }
    out[len] = '\0';
}

static void endpoints_text(const struct selection *s, char out[256])
{
    size_t len = 0;
    for (uint32_t i = 0; i < s->endpoint_count; i++)
        out[len++] = (char)('0' + s->endpoints[i]);
    out[len] = '\0';
}

static void lines_read_as_the_header_says(void **state)
{
    (void)state;
    struct fixture set = fixture_make(3, 2, 2, 2);
    struct selection *all = selection_all(set.plan);
    struct selection *by_question = selection_interleave(all, KEY_QUESTION);
    struct selection *back = selection_interleave(by_question, KEY_SAMPLE);
    struct selection *rotated = selection_copy(all);
    rotated->rotated = true;
    char text[256];
    line_text(all, 3, text);
    assert_string_equal(text, "00 01 10 11 20 21 ");
    line_text(by_question, 3, text);
    assert_string_equal(text, "00 10 20 01 11 21 ");
    line_text(back, 3, text);
    assert_string_equal(text, "00 01 10 11 20 21 ");
    line_text(rotated, 0, text);
    assert_string_equal(text, "00 01 10 11 20 21 ");
    line_text(rotated, 1, text);
    assert_string_equal(text, "10 11 20 21 00 01 ");
    line_text(rotated, 3, text);
    assert_string_equal(text, "00 01 10 11 20 21 ");
    selection_free(all);
    selection_free(by_question);
    selection_free(back);
    selection_free(rotated);
    fixture_done(&set);
}

static void regions_and_models_take_turns(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream(); /* us: 0 1, eu: 2 3 4, asia: 5 6 7 */
    struct job_spec *job = tables_job(2, 1);
    struct err err;
    struct plan *plan = plan_make(job, t, &err);
    struct selection *all = selection_all(plan);
    struct selection *regions = selection_interleave(all, KEY_REGION), *models = selection_interleave(all, KEY_MODEL);
    struct selection *again = selection_interleave(models, KEY_REGION);
    char text[256];
    endpoints_text(regions, text);
    assert_string_equal(text, "02513647");
    endpoints_text(models, text); /* llama: 0 2 5, qwen: 1 4 7, mistral: 3 6 */
    assert_string_equal(text, "01324657");
    endpoints_text(again, text); /* us: 0 1, eu: 3 2 4, asia: 6 5 7 */
    assert_string_equal(text, "03612547");
    selection_free(all);
    selection_free(regions);
    selection_free(models);
    selection_free(again);
    plan_free(plan);
    job_spec_free(job);
    region_table_unref(t);
}

/* Over the endpoints each question stands in each position equally often, and in no endpoint twice in one. */
static void rotated_questions_are_a_latin_square(void **state)
{
    (void)state;
    static const struct {
        uint32_t questions, regions, models;
        unsigned samples;
    } rows[] = {{4, 2, 2, 1}, {4, 4, 2, 3}, {3, 3, 3, 2}, {1, 2, 2, 2}, {6, 2, 3, 1}};
    for (size_t k = 0; k < ARRAY_LEN(rows); k++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            struct fixture set = fixture_make(rows[k].questions, rows[k].samples, rows[k].regions, rows[k].models);
            struct selection *all = selection_all(set.plan), *s = selection_rotate(all, KEY_QUESTION, seed);
            uint32_t q_count = rows[k].questions, e_count = set.plan->endpoint_count, count[9][9] = {{0}};
            for (uint32_t e = 0; e < e_count; e++)
                for (uint64_t i = 0; i < selection_line_count(s); i++)
                    count[i / rows[k].samples][selection_line_at(s, e, i).question]++;
            for (uint32_t i = 0; i < q_count; i++)
                for (uint32_t q = 0; q < q_count; q++)
                    assert_int_equal(count[i][q], e_count / q_count * rows[k].samples);
            selection_free(s);
            selection_free(all);
            fixture_done(&set);
        }
}

/* The same for who goes first: over the questions each endpoint, region or model leads and trails equally often. */
static void rotated_endpoints_are_a_latin_square(void **state)
{
    (void)state;
    static const enum key keys[] = {KEY_ENDPOINT, KEY_REGION, KEY_MODEL};
    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            struct fixture set = fixture_make(12, 1, 3, 2);
            struct selection *all = selection_all(set.plan), *s = selection_rotate(all, keys[k], seed);
            uint32_t groups = selection_part_count(s, keys[k]), count[6][6] = {{0}};
            char label[256];
            for (uint32_t p = 0; p < 12; p++) {
                struct selection *part = selection_part(s, KEY_QUESTION, p, label);
                assert_false(part->endpoints_rotated);
                for (uint32_t i = 0; i < part->endpoint_count; i++) {
                    uint32_t e = part->endpoints[i];
                    count[i][keys[k] == KEY_ENDPOINT ? e : keys[k] == KEY_REGION ? e / 2 : e % 2]++;
                }
                selection_free(part);
            }
            for (uint32_t i = 0; i < 6; i++)
                for (uint32_t g = 0; g < groups; g++)
                    assert_int_equal(count[i][g], 12 / groups);
            selection_free(s);
            selection_free(all);
            fixture_done(&set);
        }
}

/* By where the question stands in the plan, not in the selection: a part that is run alone, or again, is in the
 * order it had. And the order asked for last is the one that holds. */
static void a_question_rotates_by_its_place_in_the_plan(void **state)
{
    (void)state;
    struct fixture set = fixture_make(4, 1, 2, 2);
    struct selection *all = selection_all(set.plan), *s = selection_rotate(all, KEY_ENDPOINT, 1);
    char label[256];
    for (uint32_t q = 0; q < 4; q++) {
        char id[] = {'q', (char)('0' + q), '\0'};
        struct selection *alone = selection_where(s, KEY_QUESTION, id);
        struct selection *part = selection_part(alone, KEY_QUESTION, 0, label);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(part->endpoints[i], s->endpoints[(i + q) % 4]);
        selection_free(part);
        selection_free(alone);
    }
    struct selection *questions = selection_rotate(s, KEY_QUESTION, 1), *random = selection_shuffle(questions, 1);
    assert_true(questions->rotated && questions->endpoints_rotated && !questions->shuffled);
    assert_true(!random->rotated && !random->endpoints_rotated && random->shuffled);
    struct selection *square = selection_rotate(random, KEY_QUESTION, 1);
    assert_true(square->rotated && !square->shuffled);
    selection_free(square);
    selection_free(random);
    selection_free(questions);
    selection_free(s);
    selection_free(all);
    fixture_done(&set);
}

static void seeds_pick_different_squares(void **state)
{
    (void)state;
    struct fixture set = fixture_make(6, 1, 3, 3);
    struct selection *all = selection_all(set.plan);
    for (enum key key = 0; key < KEY_COUNT; key++) {
        unsigned different = 0;
        struct selection *first = selection_rotate(all, key, 0);
        for (uint64_t seed = 1; seed < 30; seed++) {
            struct selection *other = selection_rotate(all, key, seed);
            different += memcmp(first->questions, other->questions, 6 * sizeof *first->questions) != 0 ||
                         memcmp(first->endpoints, other->endpoints, 9 * sizeof *first->endpoints) != 0;
            selection_free(other);
        }
        assert_true(key == KEY_SAMPLE ? different == 0 : different > 15);
        selection_free(first);
    }
    selection_free(all);
    fixture_done(&set);
}

static void the_same_seed_is_the_same_order(void **state)
{
    (void)state;
    struct fixture set = fixture_make(8, 2, 2, 2);
    struct selection *all = selection_all(set.plan);
    struct selection *a = selection_shuffle(all, 7), *b = selection_shuffle(all, 7), *c = selection_shuffle(all, 8);
    char text_a[256], text_b[256], other[256];
    endpoints_text(a, text_a);
    endpoints_text(b, text_b);
    assert_string_equal(text_a, text_b);
    for (uint32_t e = 0; e < 4; e++) {
        line_text(a, e, text_a);
        line_text(b, e, text_b);
        assert_string_equal(text_a, text_b);
        line_text(c, e, other);
        assert_string_not_equal(text_a, other);
        line_text(a, (e + 1) % 4, other); /* each line has an order of its own */
        assert_string_not_equal(text_a, other);
    }
    selection_free(all);
    selection_free(a);
    selection_free(b);
    selection_free(c);
    fixture_done(&set);
}

/* A line is in the same order in the whole and in a part: pausing a region changes nothing. */
static void a_part_keeps_its_lines(void **state)
{
    (void)state;
    struct fixture set = fixture_make(5, 2, 3, 2);
    struct selection *all = selection_all(set.plan);
    struct selection *orders[] = {selection_shuffle(all, 3), selection_rotate(all, KEY_QUESTION, 3)};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        char label[256], whole[256], line[256];
        for (uint32_t p = 0; p < 3; p++) {
            struct selection *part = selection_part(orders[i], KEY_REGION, p, label);
            for (uint32_t e = 0; e < part->endpoint_count; e++) {
                line_text(orders[i], part->endpoints[e], whole);
                line_text(part, part->endpoints[e], line);
                assert_string_equal(whole, line);
            }
            selection_free(part);
        }
        selection_free(orders[i]);
    }
    selection_free(all);
    fixture_done(&set);
}

static void labels_name_the_parts(void **state)
{
    (void)state;
    struct region_table *t = tables_upstream();
    struct job_spec *job = tables_job(3, 2);
    struct err err;
    struct plan *plan = plan_make(job, t, &err);
    struct selection *all = selection_all(plan);
    static const struct {
        enum key key;
        uint32_t parts;
        const char *first, *last;
        uint64_t last_count;
    } rows[] = {
        {KEY_QUESTION, 3, "q0", "q2", 16}, {KEY_SAMPLE, 2, "1", "2", 24},
        {KEY_MODEL, 3, "llama3.2-1b", "mistral-7b", 12},
        {KEY_REGION, 3, "us", "asia", 18}, {KEY_ENDPOINT, 8, "us/llama3.2-1b", "asia/qwen2.5-1.5b", 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char label[256];
        assert_int_equal(selection_part_count(all, rows[i].key), rows[i].parts);
        selection_free(selection_part(all, rows[i].key, 0, label));
        assert_string_equal(label, rows[i].first);
        struct selection *last = selection_part(all, rows[i].key, rows[i].parts - 1, label);
        assert_string_equal(label, rows[i].last);
        assert_int_equal(selection_count(last), rows[i].last_count);
        struct selection *nothing = selection_where(last, rows[i].key, "no such name");
        assert_int_equal(selection_count(nothing), 0);
        assert_int_equal(selection_part_count(nothing, rows[i].key), 0);
        selection_free(nothing);
        selection_free(last);
    }
    struct selection *alias = selection_where(all, KEY_REGION, "eu-west");
    assert_int_equal(selection_count(alias), 18);
    selection_free(alias);
    selection_free(all);
    plan_free(plan);
    job_spec_free(job);
    region_table_unref(t);
}

/* by_region(sequential) and its like: parts of parts still partition, in any nesting. */
static void parts_of_parts_partition(void **state)
{
    (void)state;
    struct fixture set = fixture_make(4, 2, 3, 2);
    struct selection *all = selection_all(set.plan), *mixed = selection_shuffle(all, 1);
    for (enum key outer = 0; outer < KEY_COUNT; outer++)
        for (enum key inner = 0; inner < KEY_COUNT; inner++) {
            unsigned char *hits = mem_zalloc(set.plan->count);
            char label[256];
            for (uint32_t p = 0; p < selection_part_count(mixed, outer); p++) {
                struct selection *part = selection_part(mixed, outer, p, label);
                for (uint32_t q = 0; q < selection_part_count(part, inner); q++) {
                    struct selection *nested = selection_part(part, inner, q, label);
                    mark(nested, hits);
                    selection_free(nested);
                }
                selection_free(part);
            }
            for (uint64_t n = 0; n < set.plan->count; n++)
                assert_int_equal(hits[n], 1);
            free(hits);
        }
    selection_free(mixed);
    selection_free(all);
    fixture_done(&set);
}

static void keys_have_names(void **state)
{
    (void)state;
    for (enum key key = 0; key < KEY_COUNT; key++) {
        enum key parsed = KEY_COUNT;
        assert_true(key_parse(key_name(key), &parsed));
        assert_int_equal(parsed, key);
    }
    enum key untouched = KEY_MODEL;
    assert_false(key_parse("Model", &untouched));
    assert_false(key_parse(NULL, &untouched));
    assert_int_equal(untouched, KEY_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_execution_exactly_once),
        cmocka_unit_test(orders_alone_lose_nothing),
        cmocka_unit_test(lines_read_as_the_header_says),
        cmocka_unit_test(regions_and_models_take_turns),
        cmocka_unit_test(rotated_questions_are_a_latin_square),
        cmocka_unit_test(rotated_endpoints_are_a_latin_square),
        cmocka_unit_test(a_question_rotates_by_its_place_in_the_plan),
        cmocka_unit_test(seeds_pick_different_squares),
        cmocka_unit_test(the_same_seed_is_the_same_order),
        cmocka_unit_test(a_part_keeps_its_lines),
        cmocka_unit_test(labels_name_the_parts),
        cmocka_unit_test(parts_of_parts_partition),
        cmocka_unit_test(keys_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
