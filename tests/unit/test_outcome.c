/* The table of rules for asking, row by row, and what must hold for every response there can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "base/random.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "core/outcome.h"
#include "tables.h"

static struct region_table *table;
static struct endpoint_spec *endpoint; /* us/llama3.2-1b */

static const char *const allowed[] = {"https://results.example.net"};

static int setup(void **state)
{
    (void)state;
    table = tables_upstream();
    endpoint = &table->endpoints[0];
    endpoint->origins = allowed;
    endpoint->origins_count = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    region_table_unref(table);
    return 0;
}

#define HERE "https://us.example.com/result?id=fc-1"
#define ALLOWED "https://results.example.net/r/1"
#define AWAY "https://evil.example.org/r/1"
#define NOW 1700000000.0

/* What of an outcome a row can ask for beyond action and class. */
enum { HOP = 1, REFUSED = 2, HOLD = 4, COUNTS = 8, QUOTA = 16 };

struct row {
    const char *what;
    struct response r;
    struct answer a;      /* its wait 0 stands for -1; an ERROR without words has some */
    bool reads;           /* there is an answer */
    bool on_result_url, unknown;
    enum action action;
    enum failure_class class;
    int flags;
    const char *url;      /* NULL: none */
    int64_t wait_us;      /* 0 stands for -1, WAIT_0 for 0 */
    const char *says;     /* part of the error */
};

#define WAIT_0 INT64_MIN
#define HTTP(...) {.wire = WIRE_ANSWERED, .http_status = __VA_ARGS__}
#define WIRE(w) {.wire = (w), .detail = "some detail"}
#define WORDS(text) {text, sizeof text - 1}
#define BODY(text) .body = WORDS(text)
#define TEXT(...) .reads = true, .a = {.kind = ANSWER_TEXT, __VA_ARGS__}
#define ERROR(...) .reads = true, .a = {.kind = ANSWER_ERROR, __VA_ARGS__}
#define POLL(...) .reads = true, .a = {.kind = ANSWER_POLL, __VA_ARGS__}
#define MUDDLE .reads = true, .a = {.kind = ANSWER_UNREADABLE}
#define RESULT .on_result_url = true

static void check(const struct row *row)
{
    struct outcome o;
    struct answer a = row->a;
    if (a.wait_us == 0)
        a.wait_us = -1;
    if (a.kind == ANSWER_ERROR && !a.error.ptr)
        a.error = STR("CUDA out of memory");
    endpoint->retry.unknown = row->unknown;
    outcome_decide(table, endpoint, row->on_result_url, &row->r, row->reads ? &a : NULL, NOW, &o);
    int flags = (o.next_hop ? HOP : 0) | (o.refused ? REFUSED : 0) | (o.hold_endpoint ? HOLD : 0) |
                (o.counts_as_failure ? COUNTS : 0) | (o.quota ? QUOTA : 0);
    int64_t wait_us = row->wait_us == 0 ? -1 : row->wait_us == WAIT_0 ? 0 : row->wait_us;
    bool said = row->says ? strstr(o.error, row->says) != NULL : o.error[0] == '\0';
    if (o.action != row->action || o.class != row->class || flags != row->flags || o.wait_us != wait_us || !said ||
        strcmp(o.url ? o.url : "", row->url ? row->url : "") != 0)
        fail_msg("%s: action %d, class \"%s\", flags %d, url %s, wait %lld, \"%s\"", row->what, o.action,
                 class_name(o.class), flags, o.url ? o.url : "none", (long long)o.wait_us, o.error);
}

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&rows[i]);
}

#define S(n) ((n) * SECOND_US)

static void answers(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"answer", HTTP(200), TEXT(), .action = ACTION_SUCCEED},
        {"empty answer", HTTP(200), TEXT(.text = {"", 0}), .action = ACTION_SUCCEED},
        {"answer in a 201", HTTP(201), TEXT(), .action = ACTION_SUCCEED},
        {"answer in a 202", HTTP(202), TEXT(), .action = ACTION_SUCCEED},
        {"own region by alias", HTTP(200), TEXT(.served_region = "us-east"), .action = ACTION_SUCCEED},
        {"dated model", HTTP(200), TEXT(.served_model = "llama3.2-1b-20240718"), .action = ACTION_SUCCEED},
        {"other region", HTTP(200), TEXT(.served_region = "eu"), .action = ACTION_FAIL,
         .class = CLASS_WRONG_REGION, .says = "answered by region \"eu\", asked was us/llama3.2-1b"},
        {"other model", HTTP(200), TEXT(.served_model = "mistral-7b"), .action = ACTION_FAIL,
         .class = CLASS_WRONG_MODEL, .says = "answered by model \"mistral-7b\""},
        {"answer on a result URL", HTTP(200), TEXT(), RESULT, .action = ACTION_SUCCEED},
        {"other model on a result URL", HTTP(200), TEXT(.served_model = "x"), RESULT, .action = ACTION_FAIL,
         .class = CLASS_WRONG_MODEL, .says = "\"x\""},
        {"own error", HTTP(200), ERROR(), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "HTTP 200, but the endpoint says: CUDA out of memory"},
        {"own error, transient", HTTP(200), ERROR(.transient = true), .action = ACTION_RETRY,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "CUDA"},
        {"own error with a class", HTTP(200), ERROR(.class = CLASS_NOT_FOUND), .action = ACTION_FAIL,
         .class = CLASS_NOT_FOUND, .flags = COUNTS, .says = "CUDA"},
        {"own error, rate", HTTP(200), ERROR(.class = CLASS_RATE_LIMITED, .transient = true, .wait_us = S(3)),
         .action = ACTION_RETRY, .class = CLASS_RATE_LIMITED, .flags = REFUSED, .wait_us = S(3), .says = "CUDA"},
        {"own error, quota", HTTP(200), ERROR(.class = CLASS_QUOTA_EXHAUSTED, .transient = true),
         .action = ACTION_FAIL, .class = CLASS_QUOTA_EXHAUSTED, .flags = QUOTA, .says = "CUDA"},
        {"own error on a result URL", HTTP(200), ERROR(), RESULT, .action = ACTION_FAIL,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "CUDA"},
        {"own transient error on a result URL", HTTP(200), ERROR(.transient = true), RESULT,
         .action = ACTION_RETRY, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "CUDA"},
        {"not JSON", HTTP(200, BODY("<html>busy</html>")), MUDDLE, .action = ACTION_FAIL,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "HTTP 200, not understood (it may have been paid for): <html>busy</html>"},
        {"not JSON, pay again", HTTP(200, BODY("<html>busy</html>")), MUDDLE, .unknown = true,
         .action = ACTION_RETRY, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "<html>busy</html>"},
        {"nothing", HTTP(204), MUDDLE, .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "(no text)"},
        {"nothing to read", HTTP(200), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "(no text)"},
        {"not JSON on a result URL", HTTP(200, BODY("<html>")), MUDDLE, RESULT, .action = ACTION_FOLLOW,
         .class = CLASS_BAD_RESPONSE, .says = "<html>"},
    };
    check_all(rows, ARRAY_LEN(rows));
}

static void hops(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"303", HTTP(303, .location = HERE), .action = ACTION_FOLLOW, .url = HERE, .flags = HOP},
        {"302", HTTP(302, .location = HERE), .action = ACTION_FOLLOW, .url = HERE, .flags = HOP},
        {"202", HTTP(202, .location = HERE, .retry_after = "2"), .action = ACTION_FOLLOW, .url = HERE,
         .flags = HOP, .wait_us = S(2)},
        {"303 on", HTTP(303, .location = HERE), RESULT, .action = ACTION_FOLLOW, .url = HERE, .flags = HOP},
        {"303 to a listed origin", HTTP(303, .location = ALLOWED), .action = ACTION_FOLLOW, .url = ALLOWED,
         .flags = HOP},
        {"303 to a listed origin with a secret", HTTP(303, .location = ALLOWED "?k=<secret:KEY>"),
         .action = ACTION_FAIL, .class = CLASS_CONFIG, .flags = COUNTS, .says = "secrets are not sent to other "
                                                                                "origins"},
        {"303 with a secret", HTTP(303, .location = HERE "&k=<secret:KEY>"), .action = ACTION_FOLLOW,
         .url = HERE "&k=<secret:KEY>", .flags = HOP},
        {"303 to the same with its port", HTTP(303, .location = "https://US.example.com:443/x"),
         .action = ACTION_FOLLOW, .url = "https://US.example.com:443/x", .flags = HOP},
        {"303 away", HTTP(303, .location = AWAY), .action = ACTION_FAIL, .class = CLASS_CONFIG, .flags = COUNTS,
         .says = "another origin, https://evil.example.org: if it is to be trusted, add it to `origins` of us/"},
        {"303 away from a result URL", HTTP(303, .location = AWAY), RESULT, .action = ACTION_FAIL,
         .class = CLASS_CONFIG, .flags = COUNTS, .says = "https://evil.example.org"},
        {"303 to plain http", HTTP(303, .location = "http://us.example.com/x"), .action = ACTION_FAIL,
         .class = CLASS_CONFIG, .flags = COUNTS, .says = "http://us.example.com"},
        {"303 to a look-alike", HTTP(303, .location = "https://us.example.com@evil.org/"),
         .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "leads nowhere"},
        {"202 away", HTTP(202, .location = AWAY), .action = ACTION_FAIL, .class = CLASS_CONFIG, .flags = COUNTS,
         .says = "evil"},
        {"303 to nowhere", HTTP(303), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "HTTP 303 without a Location"},
        {"303 to nowhere, pay again", HTTP(303), .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "HTTP 303 without a Location"},
        {"303 to no URL, pay again", HTTP(303, .location = "nonsense"), .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "leads nowhere"},
        {"303 away, pay again: it would lead away again", HTTP(303, .location = AWAY), .unknown = true,
         .action = ACTION_FAIL, .class = CLASS_CONFIG, .flags = COUNTS, .says = "another origin"},
        {"poll at no URL", HTTP(200), POLL(.poll_url = "nonsense"), .action = ACTION_FAIL,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "leads nowhere"},
        {"303 to nowhere on a result URL", HTTP(303), RESULT, .action = ACTION_FOLLOW,
         .class = CLASS_BAD_RESPONSE, .says = "without a Location"},
        {"307", HTTP(307, .location = HERE), .action = ACTION_REPOST, .url = HERE},
        {"308", HTTP(308, .location = ALLOWED), .action = ACTION_REPOST, .url = ALLOWED},
        {"308 away", HTTP(308, .location = AWAY), .action = ACTION_FAIL, .class = CLASS_CONFIG, .flags = COUNTS,
         .says = "evil"},
        {"307 on a result URL", HTTP(307, .location = HERE), RESULT, .action = ACTION_FOLLOW, .url = HERE,
         .flags = HOP},
        {"307 to nowhere", HTTP(307), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "without a Location"},
        {"301", HTTP(301, .location = HERE), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE,
         .flags = COUNTS, .says = "has moved to " HERE},
        {"301 on a result URL", HTTP(301, .location = HERE), RESULT, .action = ACTION_FOLLOW, .url = HERE,
         .flags = HOP},
        {"304", HTTP(304), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "HTTP 304"},
        {"304 on a result URL", HTTP(304), RESULT, .action = ACTION_FOLLOW, .class = CLASS_BAD_RESPONSE,
         .says = "304"},
        {"202 into the void", HTTP(202), MUDDLE, .action = ACTION_FAIL, .class = CLASS_UNKNOWN_OUTCOME,
         .flags = COUNTS, .says = "202 without a Location: it may be running"},
        {"202 into the void, pay again", HTTP(202), MUDDLE, .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_UNKNOWN_OUTCOME, .flags = COUNTS, .says = "202"},
        {"202 not ready", HTTP(202), MUDDLE, RESULT, .action = ACTION_FOLLOW},
        {"202 not ready, later", HTTP(202, .retry_after = "7"), MUDDLE, RESULT, .action = ACTION_FOLLOW,
         .wait_us = S(7)},
        {"poll", HTTP(200), POLL(.poll_url = HERE), .action = ACTION_FOLLOW, .url = HERE, .flags = HOP},
        {"poll in a 202", HTTP(202), POLL(.poll_url = HERE, .wait_us = S(4)), .action = ACTION_FOLLOW,
         .url = HERE, .flags = HOP, .wait_us = S(4)},
        {"poll, the header's wait", HTTP(200, .retry_after = "9"), POLL(.poll_url = HERE),
         .action = ACTION_FOLLOW, .url = HERE, .flags = HOP, .wait_us = S(9)},
        {"poll, the body's wait first", HTTP(200, .retry_after = "9"), POLL(.poll_url = HERE,
         .wait_us = S(1)), .action = ACTION_FOLLOW, .url = HERE, .flags = HOP, .wait_us = S(1)},
        {"poll the endpoint itself", HTTP(200), POLL(), .action = ACTION_FOLLOW,
         .url = "https://us.example.com/llama3.2-1b", .flags = HOP},
        {"poll on", HTTP(200), POLL(), RESULT, .action = ACTION_FOLLOW},
        {"poll on by name", HTTP(200), POLL(.poll_url = HERE), RESULT, .action = ACTION_FOLLOW, .url = HERE},
        {"poll away", HTTP(200), POLL(.poll_url = AWAY), .action = ACTION_FAIL, .class = CLASS_CONFIG,
         .flags = COUNTS, .says = "evil"},
    };
    check_all(rows, ARRAY_LEN(rows));
}

static void refusals(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"503", HTTP(503, BODY("busy\n")), MUDDLE, .action = ACTION_RETRY, .class = CLASS_HTTP_SERVER,
         .flags = COUNTS | REFUSED, .says = "HTTP 503: busy"},
        {"503 later", HTTP(503, .retry_after = "30"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_HTTP_SERVER, .flags = COUNTS | REFUSED, .wait_us = S(30), .says = "HTTP 503: (no text)"},
        {"500", HTTP(500), ERROR(), .action = ACTION_RETRY, .class = CLASS_HTTP_SERVER, .flags = COUNTS,
         .says = "HTTP 500: CUDA out of memory"},
        {"529", HTTP(529), MUDDLE, .action = ACTION_RETRY, .class = CLASS_HTTP_SERVER, .flags = COUNTS,
         .says = "529"},
        {"408", HTTP(408), MUDDLE, .action = ACTION_RETRY, .class = CLASS_TIMEOUT, .says = "408"},
        {"429", HTTP(429), MUDDLE, .action = ACTION_RETRY, .class = CLASS_RATE_LIMITED, .flags = REFUSED,
         .says = "429"},
        {"429 later", HTTP(429, .retry_after = "20"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = S(20), .says = "429"},
        {"429 at once", HTTP(429, .retry_after = "0"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = WAIT_0, .says = "429"},
        {"429 until a date", HTTP(429, .retry_after = "Tue, 14 Nov 2023 22:14:00 GMT"), MUDDLE,
         .action = ACTION_RETRY, .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = S(40),
         .says = "429"},
        {"429 with nonsense", HTTP(429, .retry_after = "soon"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_RATE_LIMITED, .flags = REFUSED, .says = "429"},
        {"429 just under the hour", HTTP(429, .retry_after = "3599"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = S(3599), .says = "429"},
        {"429 for an hour", HTTP(429, .retry_after = "3600"), MUDDLE, .action = ACTION_FAIL,
         .class = CLASS_QUOTA_EXHAUSTED, .flags = REFUSED | HOLD | QUOTA, .wait_us = S(3600), .says = "429"},
        {"429 for weeks", HTTP(429, .retry_after = "9999999"), MUDDLE, .action = ACTION_FAIL,
         .class = CLASS_QUOTA_EXHAUSTED, .flags = REFUSED | HOLD | QUOTA, .wait_us = 24 * HOUR_US, .says = "429"},
        {"429 billing cycle", HTTP(429, BODY("Workspace Billing Cycle spend limit reached")), MUDDLE,
         .action = ACTION_FAIL, .class = CLASS_QUOTA_EXHAUSTED, .flags = REFUSED | QUOTA, .says = "Billing Cycle"},
        {"429 in the adapter's words", HTTP(429), ERROR(.error = WORDS("insufficient_quota")),
         .action = ACTION_FAIL, .class = CLASS_QUOTA_EXHAUSTED, .flags = REFUSED | QUOTA,
         .says = "insufficient_quota"},
        {"429 by the adapter's class", HTTP(429), ERROR(.class = CLASS_QUOTA_EXHAUSTED), .action = ACTION_FAIL,
         .class = CLASS_QUOTA_EXHAUSTED, .flags = REFUSED | QUOTA, .says = "CUDA"},
        {"503 for weeks is no quota", HTTP(503, .retry_after = "9999999"), MUDDLE, .action = ACTION_RETRY,
         .class = CLASS_HTTP_SERVER, .flags = COUNTS | REFUSED, .wait_us = 24 * HOUR_US, .says = "503"},
        {"402", HTTP(402), MUDDLE, .action = ACTION_FAIL, .class = CLASS_QUOTA_EXHAUSTED, .flags = QUOTA,
         .says = "402"},
        {"404", HTTP(404, BODY("modal-http: invalid function call")), MUDDLE, .action = ACTION_FAIL,
         .class = CLASS_NOT_FOUND, .flags = COUNTS, .says = "HTTP 404: modal-http: invalid function call"},
        {"404 stopped", HTTP(404, BODY("modal-http: app for invoked web endpoint is stopped")), MUDDLE,
         .action = ACTION_RETRY, .class = CLASS_NOT_FOUND, .flags = COUNTS, .says = "stopped"},
        {"401", HTTP(401, BODY("missing credentials for proxy authorization")), MUDDLE, .action = ACTION_FAIL,
         .class = CLASS_HTTP_CLIENT, .flags = COUNTS, .says = "HTTP 401: missing credentials"},
        {"403", HTTP(403), MUDDLE, .action = ACTION_FAIL, .class = CLASS_HTTP_CLIENT, .flags = COUNTS, .says = "403"},
        {"400", HTTP(400), ERROR(), .action = ACTION_FAIL, .class = CLASS_HTTP_CLIENT, .flags = COUNTS,
         .says = "CUDA"},
        {"410", HTTP(410), MUDDLE, .action = ACTION_FAIL, .class = CLASS_HTTP_CLIENT, .flags = COUNTS, .says = "410"},
        {"400, transient says the adapter", HTTP(400), ERROR(.class = CLASS_HTTP_CLIENT, .transient = true),
         .action = ACTION_RETRY, .class = CLASS_HTTP_CLIENT, .flags = COUNTS, .says = "CUDA"},
        {"500, lasting says the adapter", HTTP(500), ERROR(.class = CLASS_CONFIG), .action = ACTION_FAIL,
         .class = CLASS_CONFIG, .flags = COUNTS, .says = "CUDA"},
        {"500, passing says the adapter", HTTP(500, .retry_after = "5"), ERROR(.class = CLASS_RATE_LIMITED),
         .action = ACTION_RETRY, .class = CLASS_RATE_LIMITED, .flags = REFUSED, .wait_us = S(5), .says = "CUDA"},
        {"an answer in a 500 is none", HTTP(500), TEXT(), .action = ACTION_RETRY, .class = CLASS_HTTP_SERVER,
         .flags = COUNTS, .says = "500"},
        {"100", HTTP(100), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "HTTP 100"},
        {"600", HTTP(600), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "HTTP 600"},
    };
    check_all(rows, ARRAY_LEN(rows));
}

static void refusals_on_a_result_url(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"503", HTTP(503, .retry_after = "3"), MUDDLE, RESULT, .action = ACTION_FOLLOW,
         .class = CLASS_HTTP_SERVER, .flags = REFUSED, .wait_us = S(3), .says = "HTTP 503 on the result URL"},
        {"500", HTTP(500), ERROR(), RESULT, .action = ACTION_FOLLOW, .class = CLASS_HTTP_SERVER, .says = "CUDA"},
        {"500 with a passing class", HTTP(500), ERROR(.class = CLASS_HTTP_SERVER), RESULT,
         .action = ACTION_FOLLOW, .class = CLASS_HTTP_SERVER, .says = "CUDA"},
        {"500 with a lasting class", HTTP(500), ERROR(.class = CLASS_BAD_RESPONSE), RESULT,
         .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "CUDA"},
        {"429", HTTP(429, .retry_after = "8"), MUDDLE, RESULT, .action = ACTION_FOLLOW,
         .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = S(8), .says = "429"},
        {"429 for hours: what is paid for is still fetched", HTTP(429, .retry_after = "7200"), MUDDLE, RESULT,
         .action = ACTION_FOLLOW, .class = CLASS_RATE_LIMITED, .flags = REFUSED | HOLD, .wait_us = S(7200),
         .says = "429"},
        {"408", HTTP(408), MUDDLE, RESULT, .action = ACTION_FOLLOW, .class = CLASS_TIMEOUT, .says = "408"},
        {"401", HTTP(401), MUDDLE, RESULT, .action = ACTION_FOLLOW, .class = CLASS_HTTP_CLIENT, .says = "401"},
        {"404", HTTP(404), MUDDLE, RESULT, .action = ACTION_FAIL, .class = CLASS_NOT_FOUND, .flags = COUNTS,
         .says = "HTTP 404 on the result URL"},
        {"410", HTTP(410), MUDDLE, RESULT, .action = ACTION_FAIL, .class = CLASS_NOT_FOUND, .flags = COUNTS,
         .says = "HTTP 410 on the result URL"},
        {"404, pay again", HTTP(404), MUDDLE, RESULT, .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_NOT_FOUND, .flags = COUNTS, .says = "404"},
        {"404 stopped", HTTP(404, BODY("app for invoked web endpoint is stopped")), MUDDLE, RESULT,
         .action = ACTION_FAIL, .class = CLASS_NOT_FOUND, .flags = COUNTS, .says = "stopped"},
        {"600", HTTP(600), RESULT, .action = ACTION_FOLLOW, .class = CLASS_BAD_RESPONSE, .says = "600"},
    };
    check_all(rows, ARRAY_LEN(rows));
}

static void the_wire(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"connect", WIRE(WIRE_CONNECT), .action = ACTION_RETRY, .class = CLASS_CONNECT, .flags = COUNTS,
         .says = "could not connect (some detail)"},
        {"tls", WIRE(WIRE_TLS), .action = ACTION_RETRY, .class = CLASS_TLS, .flags = COUNTS, .says = "(some detail)"},
        {"not sent", WIRE(WIRE_NOT_SENT), .action = ACTION_RETRY, .class = CLASS_CONNECT, .flags = COUNTS,
         .says = "before the request was sent"},
        {"lost", WIRE(WIRE_LOST), .action = ACTION_FAIL, .class = CLASS_UNKNOWN_OUTCOME, .flags = COUNTS,
         .says = "(some detail): it may have run and been paid for"},
        {"lost, pay again", WIRE(WIRE_LOST), .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_UNKNOWN_OUTCOME, .flags = COUNTS, .says = "may have run"},
        {"no HTTP", WIRE(WIRE_BAD), .action = ACTION_FAIL, .class = CLASS_BAD_RESPONSE, .flags = COUNTS,
         .says = "not HTTP (some detail): it may have run"},
        {"no HTTP, pay again", WIRE(WIRE_BAD), .unknown = true, .action = ACTION_RETRY,
         .class = CLASS_BAD_RESPONSE, .flags = COUNTS, .says = "not HTTP"},
        {"too large", WIRE(WIRE_TOO_LARGE), .unknown = true, .action = ACTION_FAIL, .class = CLASS_TOO_LARGE,
         .says = "max_body"},
        {"no detail", {.wire = WIRE_CONNECT}, .action = ACTION_RETRY, .class = CLASS_CONNECT, .flags = COUNTS,
         .says = "could not connect"},
        {"result: connect", WIRE(WIRE_CONNECT), RESULT, .action = ACTION_FOLLOW, .class = CLASS_CONNECT,
         .says = "some"},
        {"result: tls", WIRE(WIRE_TLS), RESULT, .action = ACTION_FOLLOW, .class = CLASS_TLS, .says = "some"},
        {"result: not sent", WIRE(WIRE_NOT_SENT), RESULT, .action = ACTION_FOLLOW, .class = CLASS_CONNECT,
         .says = "some"},
        {"result: lost", WIRE(WIRE_LOST), RESULT, .action = ACTION_FOLLOW, .class = CLASS_UNKNOWN_OUTCOME,
         .says = "some"},
        {"result: no HTTP", WIRE(WIRE_BAD), RESULT, .action = ACTION_FOLLOW, .class = CLASS_BAD_RESPONSE,
         .says = "some"},
        {"result: too large", WIRE(WIRE_TOO_LARGE), RESULT, .action = ACTION_FAIL, .class = CLASS_TOO_LARGE,
         .says = "max_body"},
    };
    check_all(rows, ARRAY_LEN(rows));
}

static void what_the_adapter_reads(void **state)
{
    (void)state;
    static const struct {
        struct response r;
        bool wants;
    } rows[] = {
        {HTTP(200), true}, {HTTP(202), true}, {HTTP(202, .location = HERE), false}, {HTTP(204), true},
        {HTTP(201, .location = HERE), true}, {HTTP(303, .location = HERE), false}, {HTTP(307), false},
        {HTTP(304), false},
        {HTTP(400), true}, {HTTP(429), true}, {HTTP(503), true}, {HTTP(100), false}, {HTTP(600), false},
        {WIRE(WIRE_LOST), false}, {{.wire = WIRE_TOO_LARGE, .http_status = 200}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(outcome_wants_answer(&rows[i].r), rows[i].wants);
}

static void words_are_cut_and_harmless(void **state)
{
    (void)state;
    static char body[100000];
    struct outcome o;
    struct response r = {.wire = WIRE_ANSWERED, .http_status = 500, .body = {body, sizeof body}};
    for (size_t i = 0; i + 3 <= sizeof body; i += 3)
        memcpy(body + i, "\xE4\xBD\xA0", 3);
    memcpy(body, "  \x1b[2J\n", 7);
    outcome_decide(table, endpoint, false, &r, NULL, NOW, &o);
    assert_true(strlen(o.error) > 400);
    assert_true(text_is_utf8(str_from(o.error)));
    assert_null(strpbrk(o.error, "\x1b\n"));
    struct str middle = {"x\0y", 3};
    r.body = middle;
    outcome_decide(table, endpoint, false, &r, NULL, NOW, &o);
    assert_string_equal(o.error, "HTTP 500: x");
}

/* Whatever comes in: what the engine relies on holds. */
static void invariants_hold_for_any_response(void **state)
{
    (void)state;
    static const int statuses[] = {0,   100, 200, 201, 202, 204, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401,
                                   402, 404, 408, 410, 425, 429, 499, 500, 502, 503, 504, 529, 599, 600, 999};
    static const char *const urls[] = {NULL, NULL, HERE, ALLOWED, AWAY, "", "nonsense", "http://us.example.com/"};
    static const char *const waits[] = {NULL, NULL, "0", "5", "4000", "99999999999", "-3", "x"};
    static const char *const bodies[] = {"", "busy", "spend limit", "app for invoked web endpoint is stopped",
                                         "\xff\x1b"};
    struct rng rng;
    rng_seed(&rng, 6);
#define PICK(list) (list)[rng_next(&rng) % ARRAY_LEN(list)]
    unsigned seen[5] = {0};
    for (int i = 0; i < 200000; i++) {
        struct response r = {.wire = rng_next(&rng) % 4 ? WIRE_ANSWERED : (enum wire)(rng_next(&rng) % 7),
                             .http_status = PICK(statuses), .body = str_from(PICK(bodies)), .location = PICK(urls),
                             .retry_after = PICK(waits)};
        enum failure_class own = rng_next(&rng) % 2 ? CLASS_NONE : (enum failure_class)(rng_next(&rng) % CLASS_COUNT);
        struct answer a = {.kind = (enum answer_kind)(rng_next(&rng) % 4), .error = str_from(PICK(bodies)),
                           .class = own, .transient = rng_next(&rng) % 2, .poll_url = PICK(urls),
                           .wait_us = (int64_t)(rng_next(&rng) % 3) - 1};
        bool on_result = rng_next(&rng) % 2, wants = outcome_wants_answer(&r);
        struct outcome o;
        endpoint->retry.unknown = rng_next(&rng) % 2;
        outcome_decide(table, endpoint, on_result, &r, wants ? &a : NULL, NOW, &o);
        seen[o.action]++;
        bool ends = o.action == ACTION_FAIL || o.action == ACTION_RETRY;
        assert_true(!ends || (o.class != CLASS_NONE && o.error[0]));
        assert_true(o.action != ACTION_SUCCEED || (o.class == CLASS_NONE && !o.error[0] && !o.counts_as_failure));
        assert_true(o.wait_us >= -1 && o.wait_us <= 24 * HOUR_US);
        assert_true(!o.hold_endpoint || (o.wait_us >= 0 && r.http_status == 429));
        assert_true(o.quota == (o.class == CLASS_QUOTA_EXHAUSTED && o.action == ACTION_FAIL));
        assert_true(!o.next_hop || (o.action == ACTION_FOLLOW && o.url));
        assert_true(o.action != ACTION_REPOST || (o.url && !on_result));
        assert_true(o.action != ACTION_FOLLOW || o.url || on_result);
        assert_true(!o.url || o.action == ACTION_FOLLOW || o.action == ACTION_REPOST);
        assert_true(!o.url || strcmp(o.url, HERE) == 0 || strcmp(o.url, ALLOWED) == 0 ||
                    strcmp(o.url, endpoint->url) == 0);
        assert_true(ends || !o.counts_as_failure);
        /* Never pay twice by itself: after the request left and no answer came of it, only the operator's word
         * repeats it, unless the endpoint itself says that it failed. */
        bool done = r.wire == WIRE_ANSWERED && r.http_status >= 200 && r.http_status < 400;
        bool may_have_run = r.wire == WIRE_LOST || r.wire == WIRE_BAD || (done && !(wants && a.kind == ANSWER_ERROR));
        assert_true(!may_have_run || o.action != ACTION_RETRY || endpoint->retry.unknown);
    }
#undef PICK
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_true(seen[i] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(hops),
        cmocka_unit_test(refusals),
        cmocka_unit_test(refusals_on_a_result_url),
        cmocka_unit_test(the_wire),
        cmocka_unit_test(what_the_adapter_reads),
        cmocka_unit_test(words_are_cut_and_harmless),
        cmocka_unit_test(invariants_hold_for_any_response),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
