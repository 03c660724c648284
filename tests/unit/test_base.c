/* Time, random numbers, maps, lists, buffers, arenas, errors and log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/timeutil.h"

/* ---- time ---- */

static void durations_are_one_number_and_one_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us; /* -1: refused */
    } rows[] = {
        {"10m", 600 * SECOND_US}, {"1.5s", 1500000}, {"250ms", 250000}, {"2h", 2 * HOUR_US}, {"1d", 24 * HOUR_US},
        {"0s", 0}, {"0.001ms", 1}, {"0.1s", 100000}, {"3650d", INT64_C(315360000) * SECOND_US},
        {"0.30000000000000000000000001s", 300000}, {"007s", 7 * SECOND_US},
        {"", -1}, {"10", -1}, {"m", -1}, {"-1s", -1}, {"+1s", -1}, {" 1s", -1}, {"1 s", -1}, {"1s ", -1}, {"1h30m", -1},
        {"1.s", -1}, {".5s", -1}, {"1.2.3s", -1}, {"1e3s", -1}, {"0x10s", -1}, {"infs", -1}, {"nand", -1}, {"1us", -1},
        {"1S", -1}, {"3700d", -1}, {"99999999999999999999999999999999999999s", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t us = -7;
        bool good = duration_parse(str_from(rows[i].text), &us);
        if (good != (rows[i].us >= 0) || us != (good ? rows[i].us : -7))
            fail_msg("\"%s\" gave %d, %lld", rows[i].text, good, (long long)us);
    }
    int64_t us;
    assert_false(duration_parse((struct str){"1s\0", 3}, &us));
    assert_true(duration_parse((struct str){"1sx", 2}, &us)); /* no NUL behind the text is needed */
}

static void durations_read_well(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {
        {0, "0 us"}, {350, "350 us"}, {999, "999 us"}, {1000, "1.0 ms"}, {4200, "4.2 ms"}, {999949, "999.9 ms"},
        {999950, "1.0 s"}, {38100000, "38.1 s"}, {59949999, "59.9 s"}, {59950000, "1m 00s"},
        {178 * SECOND_US, "2m 58s"},
        {3599 * SECOND_US, "59m 59s"}, {3599600000, "1h 00m"}, {64 * MINUTE_US, "1h 04m"}, {47 * HOUR_US, "47h 00m"},
        {49 * HOUR_US, "2d 01h"}, {-1500000, "-1.5 s"}, {NEVER_US, "never"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[DURATION_TEXT];
        assert_string_equal(duration_format(rows[i].us, out), rows[i].text);
    }
    char out[DURATION_TEXT];
    duration_format(INT64_MIN, out);
    assert_true(strlen(out) < DURATION_TEXT);
}

static void instants_are_iso_8601(void **state)
{
    (void)state;
    char out[DURATION_TEXT];
    assert_string_equal(unix_format(1759362780.123, out), "2025-10-01T23:53:00.123Z");
    assert_string_equal(unix_format(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(unix_format(0.9996, out), "1970-01-01T00:00:01.000Z");
    assert_string_equal(unix_format(951782400, out), "2000-02-29T00:00:00.000Z");
    assert_string_equal(unix_format(NAN, out), "-");
    assert_string_equal(unix_format(1e300, out), "-");
    assert_string_equal(unix_format(-1, out), "-");
    int64_t before = mono_now_us();
    assert_true(mono_now_us() >= before);
    assert_true(unix_now_s() > 1.7e9);
}

/* ---- random ---- */

static void random_numbers_are_the_published_ones(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1234567); /* the reference implementation's first three */
    assert_true(rng_next(&rng) == UINT64_C(6457827717110365317));
    assert_true(rng_next(&rng) == UINT64_C(3203168211198807973));
    assert_true(rng_next(&rng) == UINT64_C(9817491932198370423));
}

static void random_numbers_have_their_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    struct rng rng;
    rng_seed(&rng, 7);
    double sum = 0, low = 1, high = 0;
    int below_median = 0;
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&rng);
        assert_true(u >= 0 && u < 1);
        low = u < low ? u : low;
        high = u > high ? u : high;
        sum += u;
        double b = rng_between(&rng, 5, 6);
        assert_true(b >= 5 && b < 6);
        double l = rng_lognormal(&rng, 40, 0.5);
        assert_true(l > 0 && isfinite(l));
        below_median += l < 40;
    }
    assert_true(fabs(sum / DRAWS - 0.5) < 0.01 && low < 0.001 && high > 0.999);
    assert_true(abs(below_median - DRAWS / 2) < DRAWS / 100);
    assert_true(rng_hash(1, "us") != rng_hash(1, "eu") && rng_hash(1, "us") != rng_hash(2, "us"));
    assert_true(rng_hash(1, "us") == rng_hash(1, "us"));
    assert_true(rng_entropy() != rng_entropy());
}

static void permute_is_a_permutation_of_any_size(void **state)
{
    (void)state;
    static bool hit[5000];
    for (uint64_t n = 1; n <= 5000; n = n < 40 ? n + 1 : n * 3 / 2)
        for (uint64_t seed = 0; seed < 5; seed++) {
            memset(hit, 0, sizeof hit);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t image = rng_permute(seed, n, i);
                assert_true(image < n);
                assert_false(hit[image]);
                hit[image] = true;
            }
        }
    uint64_t huge = UINT64_MAX;
    assert_true(rng_permute(1, huge, huge - 1) < huge);
    assert_true(rng_permute(1, huge, 0) != rng_permute(1, huge, 1));
}

/* Over many seeds every element stands in every position about equally often, small sizes included. */
static void permute_favours_no_position(void **state)
{
    (void)state;
    enum { SEEDS = 20000 };
    static const unsigned sizes[] = {2, 3, 4, 5, 8};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        unsigned n = sizes[k], count[8][8] = {{0}};
        for (uint64_t seed = 0; seed < SEEDS; seed++)
            for (unsigned i = 0; i < n; i++)
                count[i][rng_permute(rng_hash(seed, "seed"), n, i)]++;
        double expected = (double)SEEDS / n;
        for (unsigned i = 0; i < n; i++)
            for (unsigned j = 0; j < n; j++)
                if (fabs(count[i][j] - expected) > 0.06 * expected)
                    fail_msg("n %u: %u stood in place %u %u times, not %.0f", n, i, j, count[i][j], expected);
    }
}

/* ---- maps and names ---- */

static void map_agrees_with_a_list(void **state)
{
    (void)state;
    enum { NAMES = 700 };
    static char names[NAMES][16];
    static bool there[NAMES];
    struct map map;
    map_init(&map);
    uint32_t value = 77;
    assert_false(map_get(&map, STR("x"), &value));
    struct rng rng;
    rng_seed(&rng, 3);
    size_t count = 0;
    for (int i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof names[i], "n%d", i);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = (uint32_t)(rng_next(&rng) % NAMES);
        if (rng_unit(&rng) < 0.1) {
            assert_int_equal(map_add(&map, str_from(names[i]), i + 1), !there[i]);
            assert_false(map_add(&map, str_from(names[i]), 0));
            count += !there[i];
            there[i] = true;
        }
        value = 0;
        assert_int_equal(map_get(&map, str_from(names[i]), &value), there[i]);
        assert_int_equal(value, there[i] ? i + 1 : 0);
        assert_int_equal(map.count, count);
    }
    assert_true(count > NAMES / 2);
    assert_true(map_add(&map, STR(""), 5));
    assert_true(map_get(&map, str_from(NULL), &value));
    assert_int_equal(value, 5);
    assert_true(map_add(&map, (struct str){"a\0b", 3}, 6));
    assert_false(map_get(&map, STR("a"), &value));
    map_done(&map);
}

static void a_map_always_finds_that_a_name_is_missing(void **state)
{
    (void)state;
    static char names[130][16];
    struct map map;
    map_init(&map);
    for (uint32_t i = 0; i < 130; i++) {
        uint32_t value = 0;
        snprintf(names[i], sizeof names[i], "n%u", i);
        assert_false(map_get(&map, str_from(names[i]), &value)); /* would not end in a table without a hole */
        assert_true(map_add(&map, str_from(names[i]), i));
    }
    map_done(&map);
}

static void nearest_is_what_was_meant(void **state)
{
    (void)state;
    static const char *const names[] = {"us", "eu", "asia", "temperature", "llama3.2-1b", "mistral-7b", "qwen2.5-1.5b"};
    static const struct {
        const char *typed, *meant;
    } rows[] = {
        {"temprature", "temperature"}, {"temperatuer", "temperature"}, {"EU", "eu"}, {"aisa", "asia"}, {"usa", "us"},
        {"llama-3.2-1b", "llama3.2-1b"}, {"mistral", "mistral-7b"}, {"qwen2.5", NULL}, {"zz", NULL}, {"", NULL},
        {"completely different", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *found = nearest_name(rows[i].typed, names, ARRAY_LEN(names));
        if (strcmp(found ? found : "-", rows[i].meant ? rows[i].meant : "-") != 0)
            fail_msg("\"%s\" gave %s", rows[i].typed, found ? found : "nothing");
    }
    char long_name[400];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_null(nearest_name(long_name, names, ARRAY_LEN(names)));
    assert_null(nearest_name("us", (const char *const[]){long_name}, 1));
    assert_null(nearest_name("us", names, 0));
}

/* ---- lists, buffers, arenas, errors ---- */

static void lists_keep_their_order(void **state)
{
    (void)state;
    struct list head, other, items[4];
    list_init(&head);
    list_init(&other);
    for (int i = 0; i < 4; i++)
        list_init(&items[i]);
    list_push(&head, &items[1]);
    list_push(&head, &items[2]);
    list_push_front(&head, &items[0]);
    list_push(&other, &items[3]);
    list_append(&head, &other);
    list_append(&head, &other);
    assert_true(list_empty(&other));
    int i = 0;
    LIST_EACH(it, &head) assert_ptr_equal(it, &items[i++]);
    assert_int_equal(i, 4);
    list_unlink(&items[1]);
    list_unlink(&items[1]);
    assert_true(list_empty(&items[1]));
    assert_ptr_equal(list_pop(&head), &items[0]);
    assert_ptr_equal(list_pop(&head), &items[2]);
    assert_ptr_equal(list_pop(&head), &items[3]);
    assert_true(list_empty(&head));
}

static void a_full_buffer_stays_as_it_was(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_str(&b).len, 0);
    assert_true(buf_adds(&b, "abc"));
    assert_false(buf_adds(&b, "def"));
    assert_true(b.full);
    assert_false(buf_addc(&b, 'd')); /* full stays set, so one look at the end is enough */
    assert_string_equal(b.ptr, "abc");
    buf_clear(&b);
    assert_true(buf_addf(&b, "%d%s", 12, "345"));
    assert_string_equal(b.ptr, "12345");
    assert_false(buf_addf(&b, "%d", 6));
    char *taken = buf_take(&b);
    assert_string_equal(taken, "12345");
    assert_int_equal(b.len, 0);
    free(taken);
    taken = buf_take(&b);
    assert_string_equal(taken, "");
    free(taken);
    buf_done(&b);
}

static void arenas_hold_small_and_large(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *texts[200];
    for (int i = 0; i < 200; i++) {
        texts[i] = arena_printf(&a, "text %d", i);
        char *large = arena_alloc(&a, (size_t)i * 331);
        assert_int_equal((uintptr_t)large % 16, 0);
        for (int j = 0; j < i * 331; j += 97)
            assert_int_equal(large[j], 0);
        memset(large, 'x', (size_t)i * 331);
    }
    for (int i = 0; i < 200; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "text %d", i);
        assert_string_equal(texts[i], expected);
    }
    assert_null(arena_strdup(&a, NULL));
    assert_string_equal(arena_str(&a, (struct str){"abcdef", 3}).ptr, "abc");
    arena_done(&a);
}

static void errors_are_one_text(void **state)
{
    (void)state;
    struct err err;
    assert_false(err_set(&err, ERR_CONFIG, "%s (%s): %s", "bad key", "a.lua:3", "remove it"));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_false(err_prefix(&err, "regions: "));
    assert_string_equal(err.text, "regions: bad key (a.lua:3): remove it");
    char long_text[4000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    err_set(&err, ERR_USAGE, "%s", long_text);
    assert_string_equal(err.text + strlen(err.text) - 4, "x...");
    assert_false(err_set(NULL, ERR_USAGE, "nobody listens"));
    assert_false(err_prefix(NULL, "x"));
}

/* ---- log ---- */

static char logged[2 * 1024 * 1024];

static void keep_line(void *ctx, const char *line)
{
    assert_ptr_equal(ctx, logged);
    snprintf(logged, sizeof logged, "%s", line);
}

static void text_lines_can_be_taken_apart(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_TEXT);
    log_sink(keep_line, logged);
    log_event(LOG_WARN, "starting question batch", LOG_S("job_id", "b-1"), LOG_I("executions", -8), LOG_R("gap", 1.5),
              LOG_S("absent", NULL), LOG_S("error", "a \"b\"\x1b[31m\nc"), LOG_S("empty", ""), LOG_R("odd", NAN));
    assert_string_equal(logged + strlen("2025-10-01T23:53:00.123Z"),
                        " WARN  starting question batch job_id=b-1 executions=-8 gap=1.5 "
                        "error=\"a \\\"b\\\"\xEF\xBF\xBD[31m c\" empty=\"\" odd=-");
    assert_int_equal(logged[10], 'T');
    logged[0] = '\0';
    log_event(LOG_DEBUG, "not asked for", LOG_I("n", 1));
    assert_string_equal(logged, "");
    log_sink(NULL, NULL);
}

static void json_lines_are_json_however_long(void **state)
{
    (void)state;
    log_setup(LOG_DEBUG, LOG_JSON);
    log_sink(keep_line, logged);
    log_event(LOG_DEBUG, "hop\n", LOG_S("url", "https://x/\"y\""), LOG_I("n", INT64_MAX), LOG_R("odd", INFINITY));
    assert_non_null(strstr(logged, "\",\"level\":\"debug\",\"message\":\"hop\\n\",\"url\":\"https://x/\\\"y\\\"\","
                                   "\"n\":9223372036854775807,\"odd\":null}"));
    assert_memory_equal(logged, "{\"time\":\"2", 10);

    char *controls = mem_alloc(100001);
    memset(controls, 1, 100000);
    controls[100000] = '\0';
    struct log_field fields[33];
    for (int i = 0; i < 32; i++)
        fields[i] = (struct log_field)LOG_S("field", controls);
    fields[32] = (struct log_field){.name = NULL};
    log_fields(LOG_ERROR, controls, fields);
    assert_int_equal(logged[strlen(logged) - 1], '}');
    assert_true(strlen(logged) > 32 * 6 * 4096);

    /* 4096 falls inside the two bytes of an accented letter: that letter is left out whole. */
    for (int i = 0; i < 50000; i++)
        memcpy(controls + 1 + 2 * i - (i == 49999), "\xC3\xA9", 2);
    controls[99999] = '\0';
    log_event(LOG_INFO, "cut", LOG_S("field", controls + 0));
    assert_null(strstr(logged, "\xEF\xBF\xBD"));
    free(controls);
    log_sink(NULL, NULL);
    log_setup(LOG_INFO, LOG_TEXT);
}

static void a_line_is_one_write_to_stderr(void **state)
{
    (void)state;
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_event(LOG_INFO, "hello", LOG_I("n", 1));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char line[200];
    ssize_t len = read(ends[0], line, sizeof line - 1);
    assert_true(len > 0);
    line[len] = '\0';
    assert_string_equal(line + strlen("2025-10-01T23:53:00.123Z"), " INFO  hello n=1\n");
    assert_int_equal(read(ends[0], line, 1), 0);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_one_number_and_one_unit),
        cmocka_unit_test(durations_read_well),
        cmocka_unit_test(instants_are_iso_8601),
        cmocka_unit_test(random_numbers_are_the_published_ones),
        cmocka_unit_test(random_numbers_have_their_distribution),
        cmocka_unit_test(permute_is_a_permutation_of_any_size),
        cmocka_unit_test(permute_favours_no_position),
        cmocka_unit_test(map_agrees_with_a_list),
        cmocka_unit_test(a_map_always_finds_that_a_name_is_missing),
        cmocka_unit_test(nearest_is_what_was_meant),
        cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(a_full_buffer_stays_as_it_was),
        cmocka_unit_test(arenas_hold_small_and_large),
        cmocka_unit_test(errors_are_one_text),
        cmocka_unit_test(text_lines_can_be_taken_apart),
        cmocka_unit_test(json_lines_are_json_however_long),
        cmocka_unit_test(a_line_is_one_write_to_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
