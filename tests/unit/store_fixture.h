/* store_fixture.h -- a store in a folder of its own, a small plan, and waiting without sleeping. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/internal.h"
#include "store/store.h"

#define UNUSED __attribute__((unused))

enum { PATIENCE_MS = 60 * 1000 }; /* a hang, not a pace */

struct fixture {
    char folder[64], path[96];
    int wake_fd;
    struct store *store;
    struct recorder_port recorder;
    uint64_t durable;
    int failures;
    struct err failure;
    int64_t locked_since_us;
    int locked_calls;
    bool answered;
    bool accept_failed;
    struct accepted accepted;
    struct err accept_error;
};

static void fixture_wake(void *ctx)
{
    struct fixture *f = ctx;
    uint64_t one = 1;
    if (write(f->wake_fd, &one, sizeof one) != sizeof one)
        abort();
}

static void fixture_durable(void *ctx, uint64_t number)
{
    struct fixture *f = ctx;
    assert_true(number > f->durable);
    f->durable = number;
}

static void fixture_failed(void *ctx, const struct err *err)
{
    struct fixture *f = ctx;
    f->failures++;
    f->failure = *err;
}

static void fixture_locked(void *ctx, int64_t since_us)
{
    struct fixture *f = ctx;
    f->locked_since_us = since_us;
    f->locked_calls++;
}

static void fixture_accepted(void *ctx, const struct accepted *a, const struct err *error)
{
    struct fixture *f = ctx;
    assert_true((a == NULL) != (error == NULL));
    f->answered = true;
    f->accept_failed = error != NULL;
    if (a)
        f->accepted = *a;
    else
        f->accept_error = *error;
}

static UNUSED void fixture_folder(struct fixture *f)
{
    *f = (struct fixture){0};
    snprintf(f->folder, sizeof f->folder, "/tmp/canvass-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/canvass.db", f->folder);
    f->wake_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(f->wake_fd >= 0);
}

static UNUSED bool fixture_try_open(struct fixture *f, const char *path, int busy_ms, struct err *err)
{
    struct store_options o = {.ctx = f, .wake = fixture_wake, .durable = fixture_durable, .failed = fixture_failed,
                              .locked = fixture_locked};
    f->durable = 0;
    f->store = store_open_with(path, &o, busy_ms, err);
    if (f->store)
        store_recorder(f->store, &f->recorder);
    return f->store != NULL;
}

static UNUSED void fixture_open(struct fixture *f)
{
    struct err err = {0};
    if (!fixture_try_open(f, f->path, 30000, &err))
        fail_msg("%s", err.text);
}

static UNUSED void fixture_turn(struct fixture *f)
{
    struct pollfd p = {.fd = f->wake_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, PATIENCE_MS) != 1)
        fail_msg("the store did not wake its host");
    assert_int_equal(read(f->wake_fd, &count, sizeof count), sizeof count);
    store_poll(f->store);
}

static UNUSED void fixture_wait(struct fixture *f, uint64_t number)
{
    store_flush(f->store);
    while (f->durable < number && f->failures == 0)
        fixture_turn(f);
}

static UNUSED void fixture_close(struct fixture *f)
{
    struct err err = {0};
    if (f->store && !store_close(f->store, &err))
        fail_msg("%s", err.text);
    f->store = NULL;
}

static UNUSED void fixture_remove(struct fixture *f)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    fixture_close(f);
    close(f->wake_fd);
    chmod(f->folder, 0700);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
        unlink(path);
    }
    rmdir(f->folder);
}

/* ---- a plan: questions x samples x (regions x models) ---- */

struct small_plan {
    struct job_spec job;
    struct question questions[16];
    char question_ids[16][16];
    struct region_table table;
    struct region_spec regions[3];
    struct endpoint_spec endpoints[6];
    char endpoint_ids[6][32];
    uint32_t positions[6];
    struct plan plan;
    struct source_file files[2];
};

static UNUSED void small_plan_init(struct small_plan *p, const char *name, unsigned questions, unsigned samples,
                                   unsigned endpoints)
{
    static const char *const regions[] = {"us", "eu", "asia"};
    static const char *const models[] = {"llama3.2-1b", "org/mistral-7b"};
    *p = (struct small_plan){0};
    for (unsigned i = 0; i < questions; i++) {
        snprintf(p->question_ids[i], sizeof p->question_ids[i], "q%u",
                 questions - i); /* not in the order of the text */
        p->questions[i] = (struct question){.id = p->question_ids[i], .prompt = STR("What is 2 + 2?")};
    }
    p->questions[0].expected = "\"4\"";
    p->questions[0].metadata = "{\"topic\":\"arithmetic\"}";
    for (unsigned i = 0; i < ARRAY_LEN(regions); i++)
        p->regions[i].id = regions[i];
    for (unsigned i = 0; i < endpoints; i++) {
        snprintf(p->endpoint_ids[i], sizeof p->endpoint_ids[i], "%s/%s", regions[i % 3], models[i / 3]);
        p->endpoints[i] = (struct endpoint_spec){.index = i, .region = i % 3, .id = p->endpoint_ids[i],
                                                 .model = models[i / 3]};
        p->positions[i] = i;
    }
    p->files[0] = (struct source_file){"job.lua", STR("return {}")};
    p->files[1] = (struct source_file){"questions.lua", STR("return { 'a' }")};
    p->job = (struct job_spec){
        .name = name,
        .questions = p->questions,
        .question_count = questions,
        .samples = samples,
        .policy = "sequential",
        .parameters = "{\"temperature\":0.1}",
        .submitted_by = "ada",
        .timeout_us = 600 * INT64_C(1000000),
        .sources = p->files,
        .source_count = 2,
    };
    p->table = (struct region_table){
        .source = "return { regions = {} }", .hash = "0123", .endpoints = p->endpoints, .endpoint_count = endpoints,
        .regions = p->regions, .region_count = 3,
    };
    p->plan = (struct plan){
        .job = &p->job, .table = &p->table, .question_count = questions, .sample_count = samples,
        .endpoint_count = endpoints, .endpoints = p->positions, .count = (uint64_t)questions * samples * endpoints,
    };
}

static UNUSED void fixture_accept(struct fixture *f, const struct small_plan *p)
{
    f->answered = false;
    store_accept(f->store, &p->plan, &(struct submission){.author = "operator"}, fixture_accepted, f);
    while (!f->answered)
        fixture_turn(f);
    if (f->accept_failed)
        fail_msg("%s", f->accept_error.text);
}

/* ---- records ---- */

static UNUSED struct attempt_began a_beginning(int64_t row, unsigned number)
{
    return (struct attempt_began){.row = row,
                                  .number = number,
                                  .url = "https://host.test/ask",
                                  .request = STR("{\"a\":1}"),
                                  .queued_at = 1000.5,
                                  .in_flight = 3,
                                  .revision = 1,
                                  .first = number == 1};
}

static UNUSED struct attempt_ended an_end(int64_t row, unsigned number, enum status status)
{
    return (struct attempt_ended){
        .row = row,
        .number = number,
        .status = status,
        .class = status == STATUS_FAILED ? CLASS_HTTP_SERVER : CLASS_NONE,
        .error = status == STATUS_FAILED ? "503" : NULL,
        .http_status = status == STATUS_FAILED ? 503 : 200,
        .response = STR("{\"text\":\"4\"}"),
        .dispatched_at = 1001,
        .first_byte_at = 1002,
        .ended_at = 1003,
        .bytes_in = 20,
        .bytes_out = 10,
        .execution =
            {
                .status = status,
                .class = status == STATUS_FAILED ? CLASS_HTTP_SERVER : CLASS_NONE,
                .error = status == STATUS_FAILED ? "503" : NULL,
                .answer = status == STATUS_SUCCEEDED ? STR("4") : (struct str){0},
                .attempts = number,
                .posts = number,
                .revision = 1,
                .ended_at = 1003,
                .prompt_tokens = -1,
                .completion_tokens = -1,
                .cost = (double)NAN,
            },
    };
}

/* ---- reading back: one row as "a|b|c", NULL as "-" ---- */

static bool fixture_append_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    struct buf *out = ctx;
    (void)names;
    if (out->len)
        buf_addc(out, '\n');
    for (int i = 0; i < columns; i++) {
        if (i)
            buf_addc(out, '|');
        if (values[i].type == VALUE_NULL)
            buf_addc(out, '-');
        else if (values[i].type == VALUE_INTEGER)
            buf_addf(out, "%lld", (long long)values[i].integer);
        else if (values[i].type == VALUE_REAL)
            buf_addf(out, "%g", values[i].real);
        else
            buf_add(out, values[i].text.ptr, values[i].text.len);
    }
    return true;
}

static UNUSED void expect_query(const char *path, const char *sql, const char *expected)
{
    struct err err = {0};
    struct reader *r = reader_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    struct buf out;
    buf_init(&out, 1 << 20);
    if (!reader_sql(r, sql, NULL, 0, 0, fixture_append_row, &out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(out.ptr ? out.ptr : "", expected);
    buf_done(&out);
    reader_close(r);
}

static UNUSED int64_t query_int(const char *path, const char *sql)
{
    struct err err = {0};
    struct reader *r = reader_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    struct buf out;
    buf_init(&out, 1024);
    if (!reader_sql(r, sql, NULL, 0, 0, fixture_append_row, &out, &err))
        fail_msg("%s", err.text);
    int64_t n = out.ptr ? strtoll(out.ptr, NULL, 10) : -1;
    buf_done(&out);
    reader_close(r);
    return n;
}

static UNUSED void assert_mentions(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not mention \"%s\"", text, part);
}

#endif
