#include "sim/fleet_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/defs.h"
#include "base/mem.h"
#include "fleet_fixture.h"
#include "net/loop.h"

/* Simulated seconds per real one: the usual 140 s of a cold call take 14 ms. */
static const double SPEED = 1e4;

struct world {
    struct loop *loop;
    struct fleet_spec *spec;
    struct fleet_server *server;
    unsigned pending;
};

struct client {
    struct world *world;
    struct loop_io *io;
    struct buf got;     /* the whole response */
    int fd;
    bool reset, done;
};

static void client_close(struct client *c)
{
    loop_io_free(c->io);
    c->io = NULL;
    close(c->fd);
    c->done = true;
    c->world->pending--;
}

static void client_done(struct client *c)
{
    client_close(c);
    if (c->world->pending == 0)
        loop_stop(c->world->loop);
}

static void client_readable(void *ctx, int events)
{
    (void)events;
    struct client *c = ctx;
    char bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        assert_true(buf_add(&c->got, bytes, (size_t)n));
        return;
    }
    c->reset = n < 0;
    client_done(c);
}

/* Sends a request on a connection of its own; run() waits for all of them. */
static void send_raw(struct world *w, struct client *c, const char *text)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(fleet_server_port(w->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct client){.world = w, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    buf_init(&c->got, 32 << 20);
    c->io = loop_io_new(w->loop, c->fd, LOOP_READ, client_readable, c);
    w->pending++;
}

static void send_request(struct world *w, struct client *c, const char *method, const char *path, const char *body)
{
    char *text = mem_printf("%s %s HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\nContent-Length: "
                            "%zu\r\n\r\n%s", method,
                            path, (unsigned)fleet_server_port(w->server), strlen(body), body);
    send_raw(w, c, text);
    free(text);
}

static void give_up(void *ctx)
{
    (void)ctx;
    fail_msg("no answer for 20 s");
}

static void run(struct world *w)
{
    struct loop_timer *limit = loop_timer_new(w->loop, give_up, NULL);
    loop_timer_at(limit, loop_now_us(w->loop) + 20 * SECOND_US);
    if (w->pending)
        loop_run(w->loop);
    loop_timer_free(limit);
}

static int status_of(const struct client *c)
{
    int status = 0;
    if (c->got.len)
        sscanf(c->got.ptr, "HTTP/1.1 %d", &status);
    return status;
}

static const char *body_of(const struct client *c)
{
    const char *end = c->got.ptr ? strstr(c->got.ptr, "\r\n\r\n") : NULL;
    return end ? end + 4 : "";
}

/* Borrowed from the client until its next request. */
static const char *header_of(struct client *c, const char *name)
{
    char *found = c->got.ptr ? strcasestr(c->got.ptr, name) : NULL;
    if (!found)
        return NULL;
    found += strlen(name) + strlen(": ");
    found[strcspn(found, "\r\n")] = '\0';
    return found;
}

static int request(struct world *w, struct client *c, const char *method, const char *path, const char *body)
{
    send_request(w, c, method, path, body);
    run(w);
    return status_of(c);
}

static double stat(struct world *w, const char *name)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    fleet_server_stats(w->server, &out);
    cJSON *json = cJSON_Parse(out.ptr);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_non_null(value);
    double number = value->valuedouble;
    cJSON_Delete(json);
    buf_done(&out);
    return number;
}

static void assert_stat(struct world *w, const char *name, unsigned expected)
{
    double is = stat(w, name);
    if (is < expected || is > expected)
        fail_msg("%s is %g, not %u", name, is, expected);
}

/* Until the one request that was sent is there and parked: each round trip is some turns of the loop. */
static void until_open(struct world *w)
{
    struct client c;
    w->pending--;
    while (stat(w, "open") < 1) {
        assert_int_equal(request(w, &c, "GET", "/us/health", ""), 200);
        buf_done(&c.got);
    }
    w->pending++;
}

static void open_world(struct world *w, struct fleet_spec *spec, double speed)
{
    struct err err = {0};
    *w = (struct world){.loop = loop_new(), .spec = spec};
    struct fleet_server_options o = {.address = "127.0.0.1", .port = 0, .speed = speed};
    w->server = fleet_server_new(w->loop, spec, &o, &err);
    if (!w->server)
        fail_msg("%s", err.text);
}

static void close_world(struct world *w)
{
    fleet_server_free(w->server);
    loop_free(w->loop);
    fleet_spec_free(w->spec);
}

static const char question[] = "{\"prompt\":\"capital of France\"}";

static void test_a_question_is_answered(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[3].model = "org/mistral 7b";
    open_world(&w, spec, SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 200);
    assert_non_null(strstr(body_of(&c), "Paris"));
    buf_done(&c.got);
    assert_int_equal(request(&w, &c, "POST", "/eu/org%2Fmistral%207b", question), 200);
    assert_non_null(strstr(body_of(&c), "\"model\":\"org/mistral 7b\""));
    buf_done(&c.got);
    assert_stat(&w, "posts", 2);
    assert_stat(&w, "answered", 2);
    assert_stat(&w, "max_open", 1);
    assert_stat(&w, "cold_starts", 2);
    assert_true(stat(&w, "last_answer_at") >= 280 && stat(&w, "first_post_at") < stat(&w, "last_answer_at"));
    close_world(&w);
}

static void test_a_303_leads_to_the_answer(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[0].service = seconds_between(600, 600);
    open_world(&w, spec, SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 303);
    char base[64];
    snprintf(base, sizeof base, "http://localhost:%u", (unsigned)fleet_server_port(w.server));
    char *location = mem_strdup(header_of(&c, "Location"));
    buf_done(&c.got);
    assert_memory_equal(location, base, strlen(base)); /* the origin that was asked */
    const char *path = location + strlen(base);
    assert_non_null(strstr(path, "/us/llama3.2-1b?__modal_function_call_id=fc-"));
    const char *id = strstr(path, "fc-");

    unsigned hops = 1;
    while (request(&w, &c, "GET", path, "") == 303) {
        buf_done(&c.got);
        hops++;
    }
    assert_int_equal(status_of(&c), 200);
    assert_non_null(strstr(body_of(&c), "Paris"));
    char *answer = mem_strdup(body_of(&c));
    buf_done(&c.got);
    assert_true(hops >= 3 && hops <= 5);
    assert_stat(&w, "posts", 1);
    assert_stat(&w, "gets", hops);

    char other[128];
    snprintf(other, sizeof other, "/result/%s", id);
    assert_int_equal(request(&w, &c, "GET", other, ""), 200);
    assert_non_null(strstr(answer, "\"response\":\""));
    size_t same = strcspn(answer, "}"); /* up to where the clock comes in */
    assert_memory_equal(body_of(&c), answer, same < 100 ? same : 100);
    buf_done(&c.got);
    free(answer);
    snprintf(other, sizeof other, "/us/qwen2.5-1.5b?__modal_function_call_id=%s", id);
    static const char *const lost[] = {
        "/us/llama3.2-1b?__modal_function_call_id=fc-", "/us/llama3.2-1b?__modal_function_call_id=x", "/result/fc-1",
        "/result/fc-000000000000000000000001", "/result/",
    };
    for (size_t i = 0; i <= ARRAY_LEN(lost); i++) {
        assert_int_equal(request(&w, &c, "GET", i < ARRAY_LEN(lost) ? lost[i] : other, ""), 404);
        buf_done(&c.got);
    }
    assert_stat(&w, "lost_results", ARRAY_LEN(lost) + 1);
    free(location);
    close_world(&w);
}

static void test_the_other_routes(void **state)
{
    (void)state;
    static const struct { const char *method, *path; int status; const char *says; } cases[] = {
        {"GET", "/us/health", 200, "\"models_available\":[\"llama3.2-1b\",\"qwen2.5-1.5b\"]"},
        {"GET", "/mars/health", 404, "invalid function call"},
        {"GET", "/stats", 200, "\"endpoints\":{\"us/llama3.2-1b\":{\"posts\":0"},
        {"GET", "/stats?log=1", 200, "\"requests\":[]"},
        {"POST", "/stats", 405, "not allowed"},
        {"GET", "/reset", 405, "not allowed"},
        {"POST", "/reset", 200, "true"},
        {"GET", "/us/llama3.2-1b", 405, "not allowed"},
        {"POST", "/us/mistral-7b", 404, "invalid function call"},
        {"POST", "/us/llama3.2-1b/run", 404, "invalid function call"},
        {"GET", "/us/llama3.2-1b/status/fc-1", 404, "invalid function call"},
        {"POST", "/us/llama3.2-1b", 200, "Prompt is required"},
        {"GET", "/", 404, ""},
    };
    struct world w;
    open_world(&w, eight_endpoints(1), SPEED);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        int status = request(&w, &c, cases[i].method, cases[i].path, strcmp(cases[i].method, "POST") == 0 ? "{}" : "");
        if (status != cases[i].status || !strstr(body_of(&c), cases[i].says))
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, c.got.ptr);
        buf_done(&c.got);
    }
    assert_stat(&w, "posts", 0);
    assert_stat(&w, "rejected", 1);
    close_world(&w);
}

static void test_a_full_line_says_so(void **state)
{
    (void)state;
    struct world w;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[0].retry_after_us = 15000 * SECOND_US; /* 1.5 s here: told as 2 */
    open_world(&w, spec, SPEED);
    struct client c[8];
    for (size_t i = 0; i < 8; i++)
        send_request(&w, &c[i], "POST", "/us/llama3.2-1b", question);
    run(&w);
    unsigned refused = 0;
    for (size_t i = 0; i < 8; i++) {
        if (status_of(&c[i]) == 503) {
            refused++;
            assert_string_equal(header_of(&c[i], "Retry-After"), "2");
        }
        buf_done(&c[i].got);
    }
    assert_int_equal(refused, 5);
    assert_stat(&w, "overflows", 5);
    assert_stat(&w, "open", 0);
    close_world(&w);
}

static void test_a_closed_connection_frees_the_place(void **state)
{
    (void)state;
    struct world w;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[0].service = seconds_between(1e9, 1e9);
    spec->endpoints[0].redirect_after_us = 0;
    open_world(&w, spec, SPEED);
    struct client gone, c;
    send_request(&w, &gone, "POST", "/us/llama3.2-1b", question);
    until_open(&w);
    client_close(&gone);
    while (stat(&w, "aborted") < 1) {
        assert_int_equal(request(&w, &c, "GET", "/us/health", ""), 200);
        buf_done(&c.got);
    }
    assert_stat(&w, "calls_cancelled", 1);
    assert_stat(&w, "open", 0);
    buf_done(&gone.got);
    close_world(&w);
}

static void test_runpod_is_polled(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct fleet_spec *spec = eight_endpoints(1);
    spec->endpoints[0].schema = SCHEMA_RUNPOD;
    open_world(&w, spec, SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b/run", "{\"input\":{\"prompt\":\"capital of France\"}}"),
                     200);
    cJSON *json = cJSON_Parse(body_of(&c));
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "status")), "IN_QUEUE");
    char path[128];
    snprintf(path, sizeof path, "/us/llama3.2-1b/status/%s", cJSON_GetStringValue(cJSON_GetObjectItem(json, "id")));
    cJSON_Delete(json);
    buf_done(&c.got);
    bool completed = false;
    while (!completed) {
        assert_int_equal(request(&w, &c, "GET", path, ""), 200);
        completed = strstr(body_of(&c), "COMPLETED") != NULL;
        if (completed)
            assert_non_null(strstr(body_of(&c), "Paris"));
        buf_done(&c.got);
    }
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 404);
    buf_done(&c.got);
    close_world(&w);
}

static void test_faults_on_the_wire(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct fleet_spec *spec = eight_endpoints(1);
    static const struct fleet_fault faults[] = {
        {.what = FAULT_RESET, .region = "us", .model = "llama3.2-1b", .share = 1},
        {.what = FAULT_TRUNCATED, .region = "us", .model = "qwen2.5-1.5b", .share = 1},
        {.what = FAULT_REDIRECT_AWAY, .region = "eu", .share = 1, .to = "http://127.0.0.1:9/away"},
        {.what = FAULT_TOO_LARGE, .region = "asia", .share = 1},
    };
    set_faults(spec, faults, ARRAY_LEN(faults));
    open_world(&w, spec, SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 0);
    assert_true(c.reset);
    assert_int_equal(c.got.len, 0);
    buf_done(&c.got);

    assert_int_equal(request(&w, &c, "POST", "/us/qwen2.5-1.5b", question), 200);
    size_t body_bytes = strlen(body_of(&c));
    assert_true(body_bytes > 0);
    assert_true(strtoul(header_of(&c, "Content-Length"), NULL, 10) > body_bytes);
    buf_done(&c.got);

    assert_int_equal(request(&w, &c, "POST", "/eu/mistral-7b", question), 303);
    assert_string_equal(header_of(&c, "Location"), faults[2].to);
    buf_done(&c.got);

    assert_int_equal(request(&w, &c, "POST", "/asia/mistral-7b", question), 200);
    assert_true(strlen(body_of(&c)) > 8 << 20);
    buf_done(&c.got);
    close_world(&w);
}

static void test_reset_begins_anew(void **state)
{
    (void)state;
    struct world w;
    struct client c, parked;
    struct fleet_spec *spec = eight_endpoints(1);
    set_faults(spec, &(struct fleet_fault){.what = FAULT_HANG, .region = "eu", .share = 1}, 1);
    open_world(&w, spec, SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 200);
    char *before = mem_strdup(body_of(&c));
    buf_done(&c.got);
    send_request(&w, &parked, "POST", "/eu/mistral-7b", question);
    until_open(&w);
    assert_int_equal(request(&w, &c, "POST", "/reset", ""), 200);
    buf_done(&c.got);
    assert_true(parked.done && parked.reset);
    buf_done(&parked.got);
    assert_stat(&w, "posts", 0);
    assert_stat(&w, "open", 0);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 200);
    assert_memory_equal(body_of(&c), before, 60); /* the same call gets the same answer */
    assert_stat(&w, "cold_starts", 1);
    buf_done(&c.got);
    free(before);
    close_world(&w);
}

static void test_credentials_are_noticed(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, eight_endpoints(1), SPEED);
    static const char *const requests[] = {
        ("POST /us/llama3.2-1b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer s\r\n"
         "Content-Length: 2\r\n\r\n{}"),
        "GET /away HTTP/1.1\r\nHost: x\r\nConnection: close\r\nModal-Key: k\r\n\r\n",
        "GET /us/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        send_raw(&w, &c, requests[i]);
        run(&w);
        assert_true(status_of(&c) > 0);
        buf_done(&c.got);
    }
    assert_int_equal(request(&w, &c, "GET", "/stats", ""), 200);
    cJSON *json = cJSON_Parse(body_of(&c));
    assert_int_equal(cJSON_GetObjectItem(json, "credentials_seen")->valueint, 2);
    const cJSON *paths = cJSON_GetObjectItem(json, "credentials_paths");
    assert_int_equal(cJSON_GetArraySize(paths), 2);
    assert_int_equal(cJSON_GetObjectItem(paths, "/away")->valueint, 1);
    const cJSON *endpoint = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "endpoints"), "us/llama3.2-1b");
    assert_int_equal(cJSON_GetObjectItem(endpoint, "credentials_seen")->valueint, 1);
    cJSON_Delete(json);
    buf_done(&c.got);
    close_world(&w);
}

static void test_the_log_tells_the_order(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, eight_endpoints(1), SPEED);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 200);
    buf_done(&c.got);
    assert_int_equal(request(&w, &c, "POST", "/us/llama3.2-1b", question), 200);
    buf_done(&c.got);
    assert_int_equal(request(&w, &c, "GET", "/stats?log=1", ""), 200);
    cJSON *json = cJSON_Parse(body_of(&c));
    const cJSON *log = cJSON_GetObjectItem(json, "requests");
    assert_int_equal(cJSON_GetArraySize(log), 2);
    const cJSON *first = cJSON_GetArrayItem(log, 0), *second = cJSON_GetArrayItem(log, 1);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(first, "endpoint")), "us/llama3.2-1b");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(first, "question")), "capital of France");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(first, "ended")), "answered");
    double arrived = cJSON_GetObjectItem(first, "arrived_s")->valuedouble;
    double ended = cJSON_GetObjectItem(first, "ended_s")->valuedouble;
    assert_true(ended - arrived > 139.99 && ended - arrived < 140.01); /* the model's time, not the timer's */
    assert_true(cJSON_GetObjectItem(second, "arrived_s")->valuedouble >= ended);
    cJSON_Delete(json);
    buf_done(&c.got);
    close_world(&w);
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct fleet_spec *spec = eight_endpoints(1);
    static const struct fleet_server_options cases[] = {
        {.address = "127.0.0.1", .speed = 0}, {.address = "127.0.0.1", .speed = -1},
        {.address = "127.0.0.1", .speed = 1e9},
        {.address = "no address", .speed = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_null(fleet_server_new(loop, spec, &cases[i], &err));
        assert_true(strlen(err.text) > 10);
    }
    fleet_spec_free(spec);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_question_is_answered),
        cmocka_unit_test(test_a_303_leads_to_the_answer),
        cmocka_unit_test(test_the_other_routes),
        cmocka_unit_test(test_a_full_line_says_so),
        cmocka_unit_test(test_a_closed_connection_frees_the_place),
        cmocka_unit_test(test_runpod_is_polled),
        cmocka_unit_test(test_faults_on_the_wire),
        cmocka_unit_test(test_reset_begins_anew),
        cmocka_unit_test(test_credentials_are_noticed),
        cmocka_unit_test(test_the_log_tells_the_order),
        cmocka_unit_test(test_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
