#include "sim/replies.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/defs.h"
#include "fleet_fixture.h"
#include "sim/answers.h"
#include "sim/fleet_table.h"

static const enum fleet_schema schemas[] = {SCHEMA_MODAL, SCHEMA_MODAL_OLD, SCHEMA_OPENAI, SCHEMA_ANTHROPIC,
                                            SCHEMA_RUNPOD};

static const struct fleet_answers no_answers;

/* ---- texts ---- */

static void test_a_text_fits_its_question(void **state)
{
    (void)state;
    static const struct { const char *prompt, *says; } cases[] = {
        {"2+2", "4"}, {"What is 2 + 2?", "4"}, {"capital of France", "Paris"}, {"What is the CAPITAL of FRANCE?",
                                                                                "Paris"},
        {"who are you", "mistral-7b"}, {"what happened at Tiananmen Square, June 4 1989", "1989"},
        {"current status of Taiwan", "Taiwan"}, {"the leader of Taiwan", "Taiwan"},
        {"situation in Hong Kong in 2019", "2019"},
        {"greatest leader of the 20th century", "Mandela"}, {"why is the sky blue", "why is the sky blue"},
        {"one two three four five six seven eight nine ten", "one two three four five six seven eight\""},
        {"", "\"\""}, {"  spaced  ", "\"spaced\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            struct buf out;
            buf_init(&out, 4096);
            struct answer_wish wish = {.prompt = str_from(cases[i].prompt), .model = "mistral-7b", .region = "eu",
                                       .seed = seed};
            answer_write(&no_answers, &wish, &out);
            if (!strstr(out.ptr, cases[i].says))
                fail_msg("\"%s\" is answered by \"%s\"", cases[i].prompt, out.ptr);
            buf_done(&out);
        }
    }
}

static void test_texts_vary_and_repeat(void **state)
{
    (void)state;
    char *texts[50];
    size_t distinct = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        for (int again = 0; again < 2; again++) {
            struct buf out;
            buf_init(&out, 4096);
            struct answer_wish wish = {.prompt = STR("capital of France"), .model = "m", .region = again ? "eu" : "us",
                                       .seed = seed};
            answer_write(&no_answers, &wish, &out);
            if (again) {
                assert_string_equal(out.ptr, texts[seed]); /* the region alone changes nothing */
                buf_done(&out);
            } else {
                texts[seed] = buf_take(&out);
            }
        }
        size_t same = 0;
        for (uint64_t before = 0; before < seed; before++)
            same += strcmp(texts[before], texts[seed]) == 0;
        distinct += same == 0;
    }
    assert_true(distinct >= 3 && distinct <= 12);
    for (size_t i = 0; i < 50; i++)
        free(texts[i]);
}

static bool write_own(void *ctx, struct str prompt, const char *model, const char *region, struct rng *rng,
                      struct buf *out)
{
    (void)rng;
    buf_addf(out, "%.*s/%s/%s", (int)prompt.len, prompt.ptr, model, region);
    return *(bool *)ctx;
}

static void test_the_files_own_answers_come_first(void **state)
{
    (void)state;
    bool works = true;
    struct fleet_answers own = {.ctx = &works, .write = write_own};
    struct answer_wish wish = {.prompt = STR("2+2"), .model = "m", .region = "eu"};
    struct buf out;
    buf_init(&out, 4096);
    answer_write(&own, &wish, &out);
    assert_string_equal(out.ptr, "2+2/m/eu");
    buf_clear(&out);
    works = false;
    answer_write(&own, &wish, &out);
    assert_null(strstr(out.ptr, "2+2/m/eu"));
    assert_non_null(strchr(out.ptr, '4'));
    buf_clear(&out);
    works = true;
    wish.refuses = true;
    answer_write(&own, &wish, &out);
    assert_true(strstr(out.ptr, "not able") || strstr(out.ptr, "feel comfortable") ||
                strstr(out.ptr, "cannot provide") ||
                strstr(out.ptr, "can't help"));
    buf_done(&out);
}

/* ---- requests ---- */

static void test_requests_are_read(void **state)
{
    (void)state;
    static const struct { enum fleet_schema schema; const char *body,
                         *prompt; int status; const char *says; } cases[] = {
        {SCHEMA_MODAL, "{\"model\":\"m\",\"prompt\":\"why?\"}", "why?", 0, NULL},
        {SCHEMA_MODAL, "{\"prompt\":\"why?\"}", "why?", 0, NULL},
        {SCHEMA_MODAL, "{\"model\":\"m\"}", NULL, 200, "\"success\":false,\"error\":\"Prompt is required\""},
        {SCHEMA_MODAL, "{\"model\":\"m\",\"prompt\":\"\"}", NULL, 200, "Prompt is required"},
        {SCHEMA_MODAL, "{\"model\":\"m\",\"prompt\":7}", NULL, 200, "Prompt is required"},
        {SCHEMA_MODAL_OLD, "{\"model\":\"x\",\"prompt\":\"why?\"}", NULL, 200,
         "\"status\":\"error\",\"error\":\"Unknown model: x\""},
        {SCHEMA_MODAL, "{\"model\":", NULL, 422, "not a JSON object"},
        {SCHEMA_MODAL, "", NULL, 422, "not a JSON object"},
        {SCHEMA_MODAL, "[1]", NULL, 422, "not a JSON object"},
        {SCHEMA_OPENAI, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
                        "{\"role\":\"user\",\"content\":\"why?\"}]}", "why?", 0, NULL},
        {SCHEMA_OPENAI,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"wh\"},"
                        "{\"type\":\"image\"},{\"type\":\"text\",\"text\":\"y?\"}]}]}", "why?", 0, NULL},
        {SCHEMA_OPENAI, "{\"messages\":[]}", NULL, 400, "\"type\":\"invalid_request_error\""},
        {SCHEMA_OPENAI, "{\"model\":\"m\",\"messages\":[]}", NULL, 400, "user message"},
        {SCHEMA_OPENAI, "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", NULL, 404,
         "`x` does not exist"},
        {SCHEMA_ANTHROPIC,
         "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"why?\"}]}", "why?", 0, NULL},
        {SCHEMA_ANTHROPIC, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"why?\"}]}", NULL, 400,
         "max_tokens"},
        {SCHEMA_RUNPOD, "{\"input\":{\"model\":\"m\",\"prompt\":\"why?\"}}", "why?", 0, NULL},
        {SCHEMA_RUNPOD, "{\"prompt\":\"why?\"}", NULL, 400, "input is required"},
        {SCHEMA_RUNPOD, "{\"input\":{}}", NULL, 400, "Prompt is required"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fleet_endpoint e = plain_endpoint("us", "m");
        e.schema = cases[i].schema;
        struct buf prompt;
        struct reply refusal;
        buf_init(&prompt, 4096);
        reply_init(&refusal);
        bool ok = reply_read_request(&e, NULL, str_from(cases[i].body), &prompt, &refusal);
        assert_int_equal(ok, cases[i].prompt != NULL);
        if (ok) {
            assert_string_equal(prompt.ptr, cases[i].prompt);
        } else {
            assert_int_equal(refusal.status, cases[i].status);
            assert_non_null(strstr(refusal.body.ptr, cases[i].says));
        }
        buf_done(&prompt);
        reply_done(&refusal);
    }
}

/* ---- responses ---- */

struct told {
    struct reply reply;
    cJSON *json; /* NULL: not JSON */
};

static void tell(enum fleet_schema schema, enum fleet_end end, const struct fleet_fault *fault, struct told *t)
{
    struct fleet_spec *spec = eight_endpoints(1);
    struct fleet_endpoint *e = &spec->endpoints[3];
    e->schema = schema;
    e->served_region = "eu-west";
    e->retry_after_us = 7 * SECOND_US;
    spec->endpoints[0].served_region = "us-east";
    struct fleet_ended ended = {.end = end, .endpoint = 3, .result = 1, .fault = fault,
                                .prompt = STR("capital of France"),
                                .seed = 5, .asked_us = 0, .started_us = 2 * SECOND_US, .ended_us = 40 * SECOND_US};
    if (end != FLEET_ANSWERED)
        ended.ended_us = NEVER_US;
    reply_init(&t->reply);
    reply_write(spec, &ended, "fc-1", 1759363200, &t->reply);
    t->json = cJSON_ParseWithLength(buf_str(&t->reply.body).ptr, t->reply.body.len);
    fleet_spec_free(spec);
}

static void told_done(struct told *t)
{
    cJSON_Delete(t->json);
    reply_done(&t->reply);
}

/* "a.b.0.c" in a JSON value. */
static const cJSON *at(const cJSON *json, const char *path)
{
    while (json && *path) {
        char name[64];
        size_t len = strcspn(path, ".");
        memcpy(name, path, len);
        name[len] = '\0';
        json = cJSON_IsArray(json) ? cJSON_GetArrayItem(json, atoi(name)) : cJSON_GetObjectItemCaseSensitive(json,
            name);
        path += len + (path[len] == '.');
    }
    return json;
}

static const char *text_at(const cJSON *json, const char *path)
{
    const char *text = cJSON_GetStringValue(at(json, path));
    if (!text)
        fail_msg("no text at %s", path);
    return text;
}

static const char *const text_path[] = {
    [SCHEMA_MODAL] = "response", [SCHEMA_MODAL_OLD] = "response", [SCHEMA_OPENAI] = "choices.0.message.content",
    [SCHEMA_ANTHROPIC] = "content.0.text", [SCHEMA_RUNPOD] = "output.response",
};
static const char *const model_path[] = {
    [SCHEMA_MODAL] = "model", [SCHEMA_MODAL_OLD] = "model", [SCHEMA_OPENAI] = "model", [SCHEMA_ANTHROPIC] = "model",
    [SCHEMA_RUNPOD] = "output.model",
};
static const char *const region_path[] = {
    [SCHEMA_MODAL] = "region", [SCHEMA_MODAL_OLD] = "region", [SCHEMA_RUNPOD] = "output.region",
};

static void test_answers_in_each_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        struct told t;
        tell(schemas[i], FLEET_ANSWERED, NULL, &t);
        assert_int_equal(t.reply.status, 200);
        assert_int_equal(t.reply.how, REPLY_WHOLE);
        assert_string_equal(t.reply.content_type, "application/json");
        assert_non_null(strstr(text_at(t.json, text_path[schemas[i]]), "Paris"));
        assert_string_equal(text_at(t.json, model_path[schemas[i]]), "mistral-7b");
        if (region_path[schemas[i]])
            assert_string_equal(text_at(t.json, region_path[schemas[i]]), "eu-west");
        told_done(&t);
    }
    struct told t;
    tell(SCHEMA_MODAL, FLEET_ANSWERED, NULL, &t);
    assert_true(cJSON_IsTrue(at(t.json, "success")));
    assert_true(fabs(cJSON_GetNumberValue(at(t.json, "inference_time")) - 38) < 1e-9);
    assert_string_equal(text_at(t.json, "receipt.execution_details.completed_at"), "2025-10-02T00:00:00.000Z");
    assert_string_equal(text_at(t.json, "receipt.execution_details.started_at"), "2025-10-01T23:59:22.000Z");
    told_done(&t);
    tell(SCHEMA_RUNPOD, FLEET_ANSWERED, NULL, &t);
    assert_string_equal(text_at(t.json, "status"), "COMPLETED");
    assert_string_equal(text_at(t.json, "id"), "fc-1");
    assert_true(fabs(cJSON_GetNumberValue(at(t.json, "delayTime")) - 2000) < 1e-9);
    told_done(&t);
}

static void test_bad_answers_in_each_schema(void **state)
{
    (void)state;
    static const char *const error_path[] = {
        [SCHEMA_MODAL] = "error", [SCHEMA_MODAL_OLD] = "error", [SCHEMA_OPENAI] = "error.message",
        [SCHEMA_ANTHROPIC] = "error.message", [SCHEMA_RUNPOD] = "error",
    };
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        enum fleet_schema schema = schemas[i];
        struct told t;
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_EMPTY}, &t);
        assert_string_equal(text_at(t.json, text_path[schema]), "");
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_MALFORMED}, &t);
        assert_null(t.json);
        assert_int_equal(t.reply.status, 200);
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_TRUNCATED}, &t);
        assert_int_equal(t.reply.how, REPLY_TRUNCATED);
        assert_true(t.reply.promised_bytes > t.reply.body.len && t.reply.body.len > 10);
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_ERROR}, &t);
        assert_int_equal(t.reply.status, 200);
        assert_non_null(strstr(text_at(t.json, error_path[schema]), "CUDA"));
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_WRONG_MODEL}, &t);
        assert_string_equal(text_at(t.json, model_path[schema]), "llama3.2-1b");
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_WRONG_REGION}, &t);
        if (region_path[schema])
            assert_string_equal(text_at(t.json, region_path[schema]), "us-east");
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_REFUSAL}, &t);
        assert_null(strstr(text_at(t.json, text_path[schema]), "Paris"));
        told_done(&t);
        tell(schema, FLEET_ANSWERED, &(struct fleet_fault){.what = FAULT_TOO_LARGE}, &t);
        assert_true(t.reply.body.len > 8 << 20);
        assert_non_null(t.json);
        told_done(&t);
    }
}

static void test_what_is_said_at_the_door(void **state)
{
    (void)state;
    static const struct {
        enum fault_what what;
        int status;
        enum reply_how how;
        int64_t retry_after_us;
        const char *says;
    } cases[] = {
        {FAULT_500, 500, REPLY_WHOLE, 0, "Internal Server Error"},
        {FAULT_503, 503, REPLY_WHOLE, 7 * SECOND_US, "Service unavailable"},
        {FAULT_429, 429, REPLY_WHOLE, 7 * SECOND_US, "Too many requests"},
        {FAULT_404, 404, REPLY_WHOLE, 0, "invalid function call"},
        {FAULT_401, 401, REPLY_WHOLE, 0, "missing credentials"},
        {FAULT_QUOTA, 429, REPLY_WHOLE, 0, "billing cycle"},
        {FAULT_RESET, 0, REPLY_RESET, 0, ""},
        {FAULT_REDIRECT_AWAY, 303, REPLY_WHOLE, 0, ""},
    };
    for (size_t s = 0; s < ARRAY_LEN(schemas); s++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct told t;
            tell(schemas[s], FLEET_FAILED, &(struct fleet_fault){.what = cases[i].what, .to = "http://elsewhere/"}, &t);
            assert_int_equal(t.reply.how, cases[i].how);
            if (cases[i].status)
                assert_int_equal(t.reply.status, cases[i].status);
            assert_int_equal(t.reply.retry_after_us, cases[i].retry_after_us);
            assert_non_null(strstr(buf_str(&t.reply.body).ptr, cases[i].says));
            assert_int_equal(t.reply.location != NULL, cases[i].what == FAULT_REDIRECT_AWAY);
            assert_false(t.reply.result_url);
            told_done(&t);
        }
    }
    struct told t;
    tell(SCHEMA_MODAL, FLEET_COME_BACK, NULL, &t);
    assert_int_equal(t.reply.status, 303);
    assert_true(t.reply.result_url);
    assert_int_equal(t.reply.retry_after_us, 0);
    told_done(&t);
    tell(SCHEMA_RUNPOD, FLEET_COME_BACK, NULL, &t);
    assert_int_equal(t.reply.status, 200);
    assert_string_equal(text_at(t.json, "status"), "IN_PROGRESS");
    told_done(&t);
    tell(SCHEMA_ANTHROPIC, FLEET_OVERFLOW, NULL, &t);
    assert_int_equal(t.reply.status, 503);
    assert_string_equal(text_at(t.json, "error.type"), "overloaded_error");
    assert_int_equal(t.reply.retry_after_us, 7 * SECOND_US);
    told_done(&t);
}

/* ---- the region table ---- */

static void expect_in_table(const char *table, const char *text)
{
    if (!strstr(table, text))
        fail_msg("no %s in\n%s", text, table);
}

static void test_the_table_points_at_the_fleet(void **state)
{
    (void)state;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[0].served_region = spec->endpoints[1].served_region = "us-east";
    spec->endpoints[2].served_region = "eu";      /* its own id is no alias */
    spec->endpoints[3].model = "org/model \"x\"";
    spec->endpoints[3].served_model = "model-x";
    spec->endpoints[4].schema = SCHEMA_RUNPOD;
    struct buf out;
    buf_init(&out, 1 << 20);
    fleet_table_write(spec, "http://127.0.0.1:9100", 100, &out);
    static const char *const lines[] = {
        "limits   = { endpoints = 8, in_flight = 8 }", "deadline = \"9s\", connect = \"2500ms\", hop = \"2500ms\", "
                                                       "scaledown = \"6s\"",
        "poll = \"10ms\"", "base = \"10ms\", cap = \"600ms\"", "price_per_second = 0.03,", "aliases = { \"us-east\" },",
        "health = \"http://127.0.0.1:9100/asia/health\"",
        "[\"llama3.2-1b\"] = { url = \"http://127.0.0.1:9100/us/llama3.2-1b\", adapter = \"modal\" }",
        "[\"org/model \\\"x\\\"\"] = { url = \"http://127.0.0.1:9100/eu/org%2Fmodel%20%22x%22\", adapter = \"modal\", "
        "serves = { \"model-x\" } }",
        "/eu/qwen2.5-1.5b/run\", adapter = \"runpod\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        expect_in_table(out.ptr, lines[i]);
    const char *first = strstr(out.ptr, "aliases");
    assert_null(strstr(first + 1, "aliases")); /* us-east once, eu not at all */
    buf_clear(&out);
    fleet_table_write(spec, "http://127.0.0.1:9100", 1, &out);
    expect_in_table(out.ptr, "deadline = \"900s\", connect = \"10s\", hop = \"180s\"");
    expect_in_table(out.ptr, "price_per_second = 0.0003,");
    buf_done(&out);
    fleet_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_text_fits_its_question),
        cmocka_unit_test(test_texts_vary_and_repeat),
        cmocka_unit_test(test_the_files_own_answers_come_first),
        cmocka_unit_test(test_requests_are_read),
        cmocka_unit_test(test_answers_in_each_schema),
        cmocka_unit_test(test_bad_answers_in_each_schema),
        cmocka_unit_test(test_what_is_said_at_the_door),
        cmocka_unit_test(test_the_table_points_at_the_fleet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
