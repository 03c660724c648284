/* Fleet files: what is read, what is filled in, what is refused, and answers out of the file's own function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "script/fleet_file.h"

static struct fleet_spec *load(const char *text, struct err *err)
{
    char path[] = "/tmp/canvass-fleet-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct fleet_spec *spec = fleet_load(path, NULL, err);
    unlink(path);
    return spec;
}

static struct fleet_spec *must_load(const char *text)
{
    struct err err = {0};
    struct fleet_spec *spec = load(text, &err);
    if (!spec)
        fail_msg("%s", err.text);
    return spec;
}

static void assert_dist(struct dist d, int kind, double a, double b)
{
    assert_int_equal(d.kind, kind);
    assert_true(d.a == a && d.b == b);
}

static void test_defaults(void **state)
{
    (void)state;
    struct fleet_spec *spec = must_load("return { regions = { us = { ['llama3.2-1b'] = {} } } }");
    assert_int_equal(spec->seed, 1);
    assert_int_equal(spec->endpoint_count, 1);
    const struct fleet_endpoint *e = spec->endpoints;
    assert_string_equal(e->region, "us");
    assert_string_equal(e->model, "llama3.2-1b");
    assert_int_equal(e->schema, SCHEMA_MODAL);
    assert_int_equal(e->containers, 1);
    assert_int_equal(e->queue, 8);
    assert_int_equal(e->overflow, OVERFLOW_503);
    assert_int_equal(e->scaledown_us, 10 * MINUTE_US);
    assert_int_equal(e->redirect_after_us, 150 * SECOND_US);
    assert_int_equal(e->redirect_status, 303);
    assert_dist(e->cold, DIST_UNIFORM, 170e6, 190e6);
    assert_dist(e->service, DIST_UNIFORM, 38e6, 42e6);
    assert_int_equal(e->retry_after_us, 0);
    assert_null(e->served_region);
    assert_null(spec->answers.write);
    assert_null(spec->script);
    assert_int_equal(spec->fault_count, 0);
    fleet_spec_free(spec);
}

static void test_everything(void **state)
{
    (void)state;
    struct fleet_spec *spec = must_load(
        "return { seed = 7, defaults = { schema = 'openai', containers = 3, queue = 0, overflow = 429, scaledown ="
        " '5m',"
        " redirect_after = false, cold = '1m', service = { '500ms', 2 } },"
        " regions = { us = { b = { service = { lognormal = 40, sigma = 0.25 }, retry_after = '3s', refusal_share ="
        " 0.5 },"
        "                    a = { redirect_after = '10s', redirect_status = 202, served_region = 'eu', served_model"
        " = 'x' } },"
        "             eu = { ['org/model'] = { overflow = 'reset', cold = 0 } } },"
        " faults = { { what = 'reset', from = '2m', to = '3m', region = 'eu', share = 0.2 },"
        "            { what = 503, model = 'a', question = 'capital' }, { what = 'slow', factor = 2.5 },"
        "            { what = 'redirect_away', url = 'https://elsewhere/' } } }");
    assert_int_equal(spec->seed, 7);
    assert_int_equal(spec->endpoint_count, 3);
    assert_int_equal(spec->region_count, 2);
    assert_string_equal(spec->regions[0], "eu");
    assert_string_equal(spec->regions[1], "us");
    const struct fleet_endpoint *e = &spec->endpoints[0]; /* in order of region and model */
    assert_string_equal(e->model, "org/model");
    assert_int_equal(e->overflow, OVERFLOW_RESET);
    assert_dist(e->cold, DIST_UNIFORM, 0, 0);
    assert_dist(e->service, DIST_UNIFORM, 5e5, 2e6);
    assert_int_equal(e->containers, 3);
    e = &spec->endpoints[1];
    assert_string_equal(e->model, "a");
    assert_int_equal(e->redirect_after_us, 10 * SECOND_US);
    assert_int_equal(e->redirect_status, 202);
    assert_string_equal(e->served_region, "eu");
    assert_string_equal(e->served_model, "x");
    assert_int_equal(e->schema, SCHEMA_OPENAI);
    assert_int_equal(e->overflow, OVERFLOW_429);
    e = &spec->endpoints[2];
    assert_dist(e->service, DIST_LOGNORMAL, 40e6, 0.25);
    assert_int_equal(e->retry_after_us, 3 * SECOND_US);
    assert_int_equal(e->redirect_after_us, 0);
    assert_true(e->refusal_share == 0.5);
    assert_null(e->served_region);

    assert_int_equal(spec->fault_count, 4);
    const struct fleet_fault *f = spec->faults;
    assert_int_equal(f[0].what, FAULT_RESET);
    assert_int_equal(f[0].from_us, 2 * MINUTE_US);
    assert_int_equal(f[0].to_us, 3 * MINUTE_US);
    assert_string_equal(f[0].region, "eu");
    assert_true(f[0].share == 0.2);
    assert_int_equal(f[1].what, FAULT_503);
    assert_string_equal(f[1].question, "capital");
    assert_true(f[1].share == 1 && f[1].to_us == 0 && !f[1].region);
    assert_true(f[2].factor == 2.5);
    assert_string_equal(f[3].to, "https://elsewhere/");
    fleet_spec_free(spec);
}

#define US " regions = { us = { a = {} } }"

static void test_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *error; } table[] = {
        {"return 5", "the number 5 is not a table"},
        {"return {", "expected"},
        {"return {}", ": regions): give regions ="},
        {"return { regions = {} }", "no endpoints ("},
        {"return { regions = { us = {} } }", "a region without models ("},
        {"return { regions = { us = 5 } }", ": regions.us): give a table"},
        {"return { regions = { {} } }", "a region is named by a number ("},
        {"return { regions = { us = { {} } } }", "a model is named by a number ("},
        {"return { regions = { us = { a = true } } }", ": regions.us.a): give a table"},
        {"return { region = { } }", "no regions ("},
        {"return { seeds = 1," US " }", ": seeds): did you mean \"seed\"?"},
        {"return { seed = -1," US " }", ": seed): give a whole number"},
        {"return { regions = { us = { a = { servise = 1 } } } }", ": regions.us.a.servise): did you mean \"service\"?"},
        {"return { regions = { us = { ['a/b'] = { queue = -1 } } } }", ": regions.us[\"a/b\"].queue): give a whole"
         " number"},
        {"return { defaults = { schema = 'modl' }," US " }", ": defaults.schema): did you mean \"modal\"? one of:"
         " modal"},
        {"return { defaults = { overflow = 500 }," US " }", "unknown overflow \"500\""},
        {"return { defaults = { containers = 0 }," US " }", ": defaults.containers)"},
        {"return { defaults = { redirect_status = 300 }," US " }", ": defaults.redirect_status)"},
        {"return { defaults = { redirect_status = 203 }," US " }", "203 gives no result URL"},
        {"return { defaults = { redirect_after = true }," US " }", "true says no time"},
        {"return { defaults = { service = 'soon' }," US " }", ": defaults.service): give one duration"},
        {"return { defaults = { service = { 1 } }," US " }", "is not a distribution of times"},
        {"return { defaults = { service = { 1, 2, 3 } }," US " }", "is not a distribution of times"},
        {"return { defaults = { service = { 1, 'x' } }," US " }", "is not a distribution of times"},
        {"return { defaults = { service = { 3, 2 } }," US " }", "its low is above its high"},
        {"return { defaults = { service = {} }," US " }", "is not a distribution of times"},
        {"return { defaults = { service = { lognormal = 1, sigma = -1 } }," US " }", ": defaults.service.sigma)"},
        {"return { defaults = { service = { lognorm = 1 } }," US " }", "is not a distribution of times"},
        {"return { defaults = { service = { lognormal = 1, mean = 1 } }," US " }", ": defaults.service.mean)"},
        {"return { answers = 'yes'," US " }", ": answers): give function("},
        {"return { faults = { { what = 'rest' } }," US " }", ": faults[1].what): did you mean \"reset\"?"},
        {"return { faults = { { share = 1 } }," US " }", "no kind of fault ("},
        {"return { faults = { { what = 'reset' }, { what = 'hang', share = 2 } }," US " }", ": faults[2].share)"},
        {"return { faults = { what = 'reset' }," US " }", "is not a list of at most"},
        {"return { faults = { 'reset' }," US " }", ": faults[1]): give a table"},
        {"return { faults = { { what = 'reset', region = 'eu' } }," US " }", "unknown region \"eu\""},
        {"return { faults = { { what = 'reset', model = 'b' } }," US " }", "unknown model \"b\""},
        {"return { faults = { { what = 'reset', from = 5, to = 5 } }," US " }", "ends before it begins"},
        {"return { faults = { { what = 'reset', factor = 5 } }," US " }", "only a slow fault has a factor"},
        {"return { faults = { { what = 'reset', url = 'x' } }," US " }", "only a redirect_away fault has a URL"},
        {"return { faults = { { what = 'redirect_away' } }," US " }", "no URL to redirect to"},
        {"return { faults = { { what = 'reset', when = 5 } }," US " }", ": faults[1].when)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = {0};
        struct fleet_spec *spec = load(table[i].text, &err);
        if (spec)
            fail_msg("loaded: %s", table[i].text);
        if (!strstr(err.text, table[i].error) || !strstr(err.text, "canvass-fleet-"))
            fail_msg("%s\n  expected \"%s\" in: %s", table[i].text, table[i].error, err.text);
        assert_int_equal(err.code, ERR_CONFIG);
    }
    struct err err;
    assert_null(fleet_load("/nowhere/fleet.lua", NULL, &err));
    assert_non_null(strstr(err.text, "/nowhere/fleet.lua"));
}

static bool ask(struct fleet_spec *spec, uint64_t seed, const char *prompt, struct buf *out)
{
    struct rng r;
    rng_seed(&r, seed);
    buf_clear(out);
    return spec->answers.write(spec->answers.ctx, str_from(prompt), "llama", "eu", &r, out);
}

static void test_answers(void **state)
{
    (void)state;
    struct fleet_spec *spec = must_load(
        "local kept return {" US ", answers = function(question, model, region, random)"
        " if question == 'nil' then return nil end if question == 'bad' then return {} end"
        " if question == 'raise' then error 'as asked' end if question == 'number' then return 5 end"
        " if question == 'keep' then kept = random return 'kept' end if question == 'stale' then return kept() end"
        " if question == 'die' then for i = 1, 1000 do local n = random(6) assert(n >= 1 and n <= 6) n = random(-1, 1)"
        " assert(n >= -1 and n <= 1) n = random() assert(n >= 0 and n < 1) end return 'fair' end"
        " return question .. '/' .. model .. '/' .. region .. '/' .. random(1000000) end }");
    assert_non_null(spec->script);
    struct buf out, again;
    buf_init(&out, 1000);
    buf_init(&again, 1000);
    assert_true(ask(spec, 1, "why", &out));
    assert_memory_equal(out.ptr, "why/llama/eu/", 13);
    assert_true(ask(spec, 1, "why", &again));
    assert_string_equal(out.ptr, again.ptr);
    assert_true(ask(spec, 2, "why", &again));
    assert_string_not_equal(out.ptr, again.ptr);
    assert_true(ask(spec, 1, "number", &out));
    assert_string_equal(out.ptr, "5");
    assert_true(ask(spec, 1, "die", &out));
    assert_string_equal(out.ptr, "fair");
    assert_false(ask(spec, 1, "nil", &out));
    assert_null(spec->answers.error);
    assert_false(ask(spec, 1, "raise", &out));
    assert_non_null(strstr(spec->answers.error, "as asked"));
    assert_false(ask(spec, 1, "bad", &out));
    assert_non_null(strstr(spec->answers.error, "as asked")); /* the first one stays */
    assert_true(ask(spec, 1, "keep", &out));
    assert_true(ask(spec, 3, "stale", &out)); /* draws for the answer of now */
    assert_true(ask(spec, 3, "stale", &again));
    assert_string_equal(out.ptr, again.ptr);
    buf_done(&out);
    buf_done(&again);
    fleet_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
