/* What is recorded is what is read back, in the order it was recorded, and not before it is on the disk. */
#include "store_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "base/timeutil.h"

static void accept_writes_every_table(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "bias-detection", 2, 2, 4);
    fixture_accept(&f, &p);
    assert_string_equal(f.accepted.job_id, "bias-detection-1");
    assert_int_equal(f.accepted.first_row, 1);
    assert_int_equal(f.accepted.revision, 1);

    expect_query(f.path,
                 "SELECT id, name, state, policy, timeout_s, revision, submitted_by, started_at, ended_at, planned,"
                 " json_extract(spec, '$.samples'), json_extract(spec, '$.parameters.temperature'),"
                 " json_extract(spec, '$.on_missing'), owner_pid > 0 FROM jobs",
                 "bias-detection-1|bias-detection|queued|sequential|600|1|ada|-|-|16|2|0.1|wait|1");
    expect_query(f.path, "SELECT job_id, id, position, prompt, expected, metadata FROM questions ORDER BY position",
                 "bias-detection-1|q2|1|What is 2 + 2?|\"4\"|{\"topic\":\"arithmetic\"}\n"
                 "bias-detection-1|q1|2|What is 2 + 2?|-|-");
    expect_query(f.path, "SELECT name, text FROM job_files ORDER BY position",
                 "job.lua|return {}\nquestions.lua|return { 'a' }");
    expect_query(f.path, "SELECT revision, hash, source, author, reason FROM region_revisions",
                 "1|0123|return { regions = {} }|operator|job bias-detection-1");
    expect_query(f.path,
                 "SELECT id, question_id, model_id, region, sample, endpoint, status, class, attempts, posts, hops,"
                 " cold, revision, queued_at, answer FROM executions WHERE number IN (1, 4, 5, 16) ORDER BY number",
                 "bias-detection-1.1|q2|llama3.2-1b|us|1|us/llama3.2-1b|pending|-|0|0|0|-|-|-|-\n"
                 "bias-detection-1.4|q2|org/mistral-7b|us|1|us/org/mistral-7b|pending|-|0|0|0|-|-|-|-\n"
                 "bias-detection-1.5|q2|llama3.2-1b|us|2|us/llama3.2-1b|pending|-|0|0|0|-|-|-|-\n"
                 "bias-detection-1.16|q1|org/mistral-7b|us|2|us/org/mistral-7b|pending|-|0|0|0|-|-|-|-");
    fixture_remove(&f);
}

/* The smallest number that the name has free; rows go on; a revision only for a new hash. */
static void job_ids_rows_and_revisions(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan a, b;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&a, "a", 1, 1, 3);
    small_plan_init(&b, "a-1", 1, 1, 3);
    static const struct {
        bool second_name;
        const char *hash, *id;
        int64_t first_row, revision;
    } steps[] = {
        {false, "h1", "a-1", 1, 1},
        {false, "h1", "a-2", 7, 1}, /* three executions, and a warm-up for each endpoint */
        {true, "h2", "a-1-1", 13, 2},
        {false, "h1", "a-3", 19, 3}, /* an older hash again is a new revision */
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct small_plan *p = steps[i].second_name ? &b : &a;
        snprintf(p->table.hash, sizeof p->table.hash, "%s", steps[i].hash);
        fixture_accept(&f, p);
        assert_string_equal(f.accepted.job_id, steps[i].id);
        assert_int_equal(f.accepted.first_row, steps[i].first_row);
        assert_int_equal(f.accepted.revision, steps[i].revision);
    }
    fixture_remove(&f);
}

static void a_refused_job_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "twice", 2, 1, 1);
    p.questions[1].id = p.questions[0].id;
    store_accept(f.store, &p.plan, &(struct submission){.author = "operator"}, fixture_accepted, &f);
    while (!f.answered)
        fixture_turn(&f);
    assert_true(f.accept_failed);
    assert_mentions(f.accept_error.text, f.path);
    assert_int_equal(query_int(f.path, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM executions)"), 0);

    small_plan_init(&p, "once", 2, 1, 1); /* and the store goes on */
    fixture_accept(&f, &p);
    assert_int_equal(f.failures, 0);
    fixture_remove(&f);
}

static void every_record_kind_round_trips(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 3);
    fixture_accept(&f, &p);
    void *port = f.recorder.ctx;

    double before = unix_now_s();
    struct attempt_began began = a_beginning(1, 1);
    began.cold = true;
    f.recorder.attempt_began(port, &began);
    fixture_wait(&f, f.recorder.job_changed(port, &(struct job_changed){"j-1", JOB_RUNNING, 1001, (double)NAN}));
    expect_query(f.path, "SELECT id, execution_id, number, status, class, http_status, hops, cold, revision, in_flight,"
                         " bytes_in, bytes_out, queued_at, dispatched_at, first_byte_at, ended_at, url, result_url,"
                         " served_model, served_region, error, request, response FROM attempts",
                 "j-1.1.1|j-1.1|1|running|-|-|0|1|1|3|-|-|1000.5|-|-|-|https://host.test/ask|-|-|-|-|{\"a\":1}|-");
    expect_query(f.path,
                 "SELECT status, attempts, posts, cold, revision, queued_at, ended_at FROM executions WHERE row = 1",
                 "running|1|1|1|1|1000.5|-");
    assert_true((double)query_int(f.path, "SELECT CAST(started_at AS INTEGER) + 1 FROM executions WHERE row = 1") >=
                before);
    expect_query(f.path, "SELECT state, started_at, ended_at FROM jobs", "running|1001|-");

    struct attempt_hopped hop = {.row = 1,
                                 .number = 1,
                                 .result_url = "https://host.test/r/1",
                                 .hops = 2,
                                 .http_status = 303,
                                 .dispatched_at = 1000.75,
                                 .first_byte_at = (double)NAN};
    fixture_wait(&f, f.recorder.attempt_hopped(port, &hop));
    expect_query(f.path,
                 "SELECT a.status, result_url, a.hops, http_status, dispatched_at, first_byte_at, e.status, e.hops"
                 " FROM attempts AS a JOIN executions AS e ON e.id = a.execution_id",
                 "waiting_result|https://host.test/r/1|2|303|1000.75|-|waiting_result|2");

    struct attempt_ended end = an_end(1, 1, STATUS_FAILED);
    end.hops = 3;
    end.served_model = "llama3.2-1b-0613";
    end.served_region = "us-east";
    end.first_byte_at = (double)NAN;
    end.execution = (struct execution_now){.status = STATUS_BACKING_OFF, .class = CLASS_HTTP_SERVER, .error = "503",
                                           .attempts = 1, .posts = 1, .hops = 3, .cold = true, .revision = 1,
                                           .ended_at = (double)NAN, .prompt_tokens = -1, .completion_tokens = -1,
                                           .cost = (double)NAN};
    fixture_wait(&f, f.recorder.attempt_ended(port, &end));
    expect_query(f.path, "SELECT status, class, error, http_status, hops, response, served_model, served_region,"
                         " dispatched_at, first_byte_at, ended_at, bytes_in, bytes_out FROM attempts",
                 "failed|http_server|503|503|3|{\"text\":\"4\"}|llama3.2-1b-0613|us-east|1001|-|1003|20|10");
    expect_query(f.path,
                 "SELECT status, class, error, answer, attempts, posts, hops, started_at, ended_at, prompt_tokens,"
                 " completion_tokens, cost FROM executions WHERE row = 1",
                 "backing_off|http_server|503|-|1|1|3|1001|-|-|-|-");

    /* The second try takes the failure off the execution, keeps its first start, and adds a POST. */
    began = a_beginning(1, 2);
    began.queued_at = 2000;
    began.revision = 2;
    fixture_wait(&f, f.recorder.attempt_began(port, &began));
    expect_query(f.path,
                 "SELECT status, class, error, attempts, posts, cold, revision, queued_at, started_at FROM executions"
                 " WHERE row = 1",
                 "running|-|-|2|2|0|2|1000.5|1001");
    end = an_end(1, 2, STATUS_SUCCEEDED);
    end.dispatched_at = 2001;
    end.execution.answer = (struct str){"", 0}; /* the empty text is an answer */
    end.execution.prompt_tokens = 0;
    end.execution.completion_tokens = 7;
    end.execution.cost = 0.25;
    fixture_wait(&f, f.recorder.attempt_ended(port, &end));
    expect_query(f.path, "SELECT status, class, error, answer IS NOT NULL, length(answer), attempts, posts, started_at,"
                         " ended_at, prompt_tokens, completion_tokens, cost FROM executions WHERE row = 1",
                 "succeeded|-|-|1|0|2|2|1001|1003|0|7|0.25");

    fixture_wait(&f, f.recorder.job_changed(port, &(struct job_changed){"j-1", JOB_PARTIAL, (double)NAN, 3000}));
    expect_query(f.path, "SELECT state, started_at, ended_at FROM jobs", "partial|1001|3000");
    fixture_wait(&f, f.recorder.job_changed(port, &(struct job_changed){"j-1", JOB_RUNNING, (double)NAN, (double)NAN}));
    expect_query(f.path, "SELECT state, started_at, ended_at FROM jobs",
                 "running|1001|-"); /* resumed: it has not ended */
    fixture_remove(&f);
}

static void rows_are_closed_as_asked(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool waiting_only;
        const char *expected; /* of us, eu, asia; us is running, eu has succeeded, asia is pending */
    } cases[] = {
        {NULL, false, "skipped,succeeded,skipped"},
        {NULL, true, "running,succeeded,skipped"},
        {"us/llama3.2-1b", false, "skipped,succeeded,pending"},
        {"us/llama3.2-1b", true, "running,succeeded,pending"},
        {"asia/llama3.2-1b", true, "running,succeeded,skipped"},
        {"eu/llama3.2-1b", false, "running,succeeded,pending"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        struct small_plan p;
        fixture_folder(&f);
        fixture_open(&f);
        small_plan_init(&p, "j", 1, 1, 3);
        fixture_accept(&f, &p);
        fixture_accept(&f, &p); /* a neighbour, not to be touched */
        void *port = f.recorder.ctx;
        for (int64_t row = 1; row <= 2; row++) {
            struct attempt_began began = a_beginning(row, 1);
            f.recorder.attempt_began(port, &began);
        }
        struct attempt_ended end = an_end(2, 1, STATUS_SUCCEEDED);
        f.recorder.attempt_ended(port, &end);
        struct rows_closed closed = {.first_row = 1, .count = 3, .endpoint = cases[i].endpoint,
                                     .waiting_only = cases[i].waiting_only, .status = STATUS_SKIPPED,
                                     .class = CLASS_BREAKER_OPEN, .error = "gone", .ended_at = 5000};
        fixture_wait(&f, f.recorder.rows_closed(port, &closed));
        expect_query(f.path, "SELECT group_concat(status) FROM (SELECT status FROM executions WHERE job_id = 'j-1'"
                             " ORDER BY row)", cases[i].expected);
        assert_int_equal(
            query_int(f.path, "SELECT count(*) FROM executions WHERE job_id = 'j-2' AND status = 'pending'"), 3);
        assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE (status = 'skipped') <>"
                                           " (class IS 'breaker_open' AND error IS 'gone' AND ended_at IS 5000)"), 0);
        fixture_remove(&f);
    }
}

/* Closed before it was asked, between two attempts, and while one runs; a dispatch opens each again. */
static void a_dispatch_opens_what_was_closed(void **state)
{
    (void)state;
    static const char sql[] = "SELECT group_concat(status || ':' || attempts || ':' || posts || ':' ||"
                              " coalesce(class || error || ended_at, '')) FROM (SELECT * FROM executions ORDER BY row)";
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 2, 1, 3);
    fixture_accept(&f, &p);
    void *port = f.recorder.ctx;
    for (int64_t row = 3; row <= 4; row++) {
        struct attempt_began began = a_beginning(row, 1);
        f.recorder.attempt_began(port, &began);
    }
    struct attempt_ended end = an_end(3, 1, STATUS_FAILED);
    end.execution.status = STATUS_BACKING_OFF;
    f.recorder.attempt_ended(port, &end);
    struct rows_closed closed = {.first_row = 2, .count = 3, .status = STATUS_CANCELLED, .class = CLASS_TIMEOUT,
                                 .error = "late", .ended_at = 5000};
    f.recorder.rows_closed(port, &closed);
    fixture_wait(&f, f.recorder.rows_closed(port, &closed)); /* a second time changes nothing */
    expect_query(f.path, sql, "pending:0:0:,cancelled:0:0:timeoutlate5000.0,cancelled:1:1:timeoutlate5000.0,"
                              "cancelled:1:1:timeoutlate5000.0,pending:0:0:,pending:0:0:");

    static const unsigned numbers[] = {1, 2, 2};
    for (int64_t i = 0; i < 3; i++) {
        struct attempt_began again = a_beginning(2 + i, numbers[i]);
        f.recorder.attempt_began(port, &again);
    }
    closed = (struct rows_closed){.first_row = 3, .count = 1, .status = STATUS_SKIPPED, .ended_at = 6000};
    fixture_wait(&f, f.recorder.rows_closed(port, &closed));
    expect_query(f.path, sql, "pending:0:0:,running:1:1:,skipped:2:2:,running:2:2:,pending:0:0:,pending:0:0:");

    /* The end that a closed execution's attempt comes to after all is the later word. */
    end = an_end(3, 2, STATUS_SUCCEEDED);
    fixture_wait(&f, f.recorder.attempt_ended(port, &end));
    expect_query(f.path, "SELECT status, error, answer, ended_at FROM executions WHERE row = 3", "succeeded|-|4|1003");
    fixture_remove(&f);
}

/* A URL that the cell has is not kept again; the last hop's is the attempt's result URL, before and after its end. */
static void urls_and_hops_follow_the_attempt(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 2, 2, 3);
    for (int i = 0; i < 3; i++)
        p.endpoints[i].url = i == 1 ? "https://eu.test/ask" : "https://host.test/ask";
    fixture_accept(&f, &p);
    for (int64_t row = 7; row <= 9; row++) {
        struct attempt_began began = a_beginning(row, 1);
        f.recorder.attempt_began(f.recorder.ctx, &began);
    }
    static const unsigned hops[] = {0, 1, 1, 11}; /* a number that comes again takes the earlier one's place */
    struct attempt_hopped hop = {.row = 8, .number = 1, .http_status = 303, .dispatched_at = 1000};
    uint64_t number = 0;
    for (size_t i = 0; i < ARRAY_LEN(hops); i++) {
        char url[32];
        snprintf(url, sizeof url, "https://eu.test/r/%zu", i);
        hop.result_url = url;
        hop.hops = hops[i];
        number = f.recorder.attempt_hopped(f.recorder.ctx, &hop);
    }
    fixture_wait(&f, number);
    static const char sql[] = "SELECT id, url, result_url, hops, status FROM attempts ORDER BY row";
    expect_query(f.path, sql,
                 "j-1.7.1|https://host.test/ask|-|0|running\n"
                 "j-1.8.1|https://host.test/ask|https://eu.test/r/3|11|waiting_result\n"
                 "j-1.9.1|https://host.test/ask|-|0|running");
    assert_int_equal(query_int(f.path, "SELECT sum(url IS NULL) * 100 + count(url) FROM dispatches"), 201);
    struct attempt_ended end = an_end(8, 1, STATUS_SUCCEEDED);
    end.hops = 12;
    fixture_wait(&f, f.recorder.attempt_ended(f.recorder.ctx, &end));
    expect_query(f.path, "SELECT result_url, hops, http_status FROM attempts WHERE execution_id = 'j-1.8'",
                 "https://eu.test/r/3|12|200");
    fixture_remove(&f);
}

static void bytes_that_are_not_text_become_text(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 1);
    fixture_accept(&f, &p);
    struct attempt_began began = a_beginning(1, 1);
    f.recorder.attempt_began(f.recorder.ctx, &began);
    struct attempt_ended end = an_end(1, 1, STATUS_SUCCEEDED);
    end.response = STR("ok \xff\xfe caf\xc3\xa9");
    end.execution.answer = STR("\xe4\xbd\xa0 \xc3(");
    end.error = "\x80";
    fixture_wait(&f, f.recorder.attempt_ended(f.recorder.ctx, &end));
    expect_query(f.path, "SELECT response, error FROM attempts",
                 "ok \xef\xbf\xbd\xef\xbf\xbd caf\xc3\xa9|\xef\xbf\xbd");
    expect_query(f.path, "SELECT answer FROM executions", "\xe4\xbd\xa0 \xef\xbf\xbd(");
    fixture_remove(&f);
}

/* Texts far larger than a chunk, and thousands of small ones, through the same queue. */
static void any_size_passes_the_queue(void **state)
{
    (void)state;
    enum { LARGE = 3 * 1024 * 1024, ROUNDS = 60 };
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, 4, 6);
    fixture_accept(&f, &p);
    char *large = mem_alloc(LARGE);
    memset(large, 'x', LARGE);
    uint64_t number = 0;
    size_t total = 0;
    for (int64_t i = 0; i < ROUNDS; i++) {
        size_t len = i % 20 == 7 ? LARGE : (size_t)(i * 977 % 9000);
        struct attempt_began began = a_beginning(1 + i, 1);
        f.recorder.attempt_began(f.recorder.ctx, &began);
        struct attempt_ended end = an_end(1 + i, 1, STATUS_SUCCEEDED);
        end.execution.answer = (struct str){large, len};
        total += len;
        number = f.recorder.attempt_ended(f.recorder.ctx, &end);
        if (i % 3 == 0)
            store_flush(f.store);
    }
    fixture_wait(&f, number);
    assert_int_equal(query_int(f.path, "SELECT sum(length(answer)) FROM executions"), total);
    free(large);
    fixture_remove(&f);
}

/* Numbers grow by one and are told in order; what was told is on the disk, and what was not yet flushed is not told. */
static void durable_means_on_the_disk(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, 4, 6);
    fixture_accept(&f, &p);
    uint64_t last = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        struct attempt_began began = a_beginning(1 + i, 1);
        uint64_t number = f.recorder.attempt_began(f.recorder.ctx, &began);
        assert_true(number > last);
        last = number;
        store_poll(f.store);
        assert_true(f.durable < number); /* it has not been handed over */
        store_flush(f.store);
        if (i % 7 != 0)
            continue;
        fixture_wait(&f, number);
        assert_int_equal(f.durable, number);
        assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts"), i + 1);
    }
    fixture_remove(&f);
}

static void closing_writes_what_is_queued(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, 1, 6);
    fixture_accept(&f, &p);
    for (int64_t row = 1; row <= 96; row++) {
        struct attempt_began began = a_beginning(row, 1);
        f.recorder.attempt_began(f.recorder.ctx, &began);
    }
    fixture_close(&f);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts"), 96);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE status = 'running'"), 96);
    fixture_remove(&f);
}

/* A row that is not there, or is there already, is never passed over in silence. */
static void a_lost_row_is_a_failure(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        struct fixture f;
        struct small_plan p;
        struct err err = {0};
        fixture_folder(&f);
        fixture_open(&f);
        small_plan_init(&p, "j", 1, 1, 2);
        fixture_accept(&f, &p);
        struct attempt_began began = a_beginning(1, 1);
        fixture_wait(&f, f.recorder.attempt_began(f.recorder.ctx, &began));

        struct attempt_began nowhere = a_beginning(5, 1), again = a_beginning(1, 1);
        struct attempt_ended unbegun = an_end(2, 1, STATUS_SUCCEEDED);
        struct job_changed unknown = {"j-9", JOB_RUNNING, 1, (double)NAN};
        uint64_t number = which == 0   ? f.recorder.attempt_began(f.recorder.ctx, &nowhere)
                          : which == 1 ? f.recorder.attempt_began(f.recorder.ctx, &again)
                          : which == 2 ? f.recorder.attempt_ended(f.recorder.ctx, &unbegun)
                                       : f.recorder.job_changed(f.recorder.ctx, &unknown);
        fixture_wait(&f, number);
        assert_int_equal(f.failures, 1);
        assert_true(f.durable < number);
        assert_int_equal(f.failure.code, ERR_STORE);
        assert_mentions(f.failure.text, f.path);
        assert_false(store_close(f.store, &err));
        assert_string_equal(err.text, f.failure.text);
        f.store = NULL;
        fixture_remove(&f);
    }
}

static uint64_t begin_many(struct fixture *f, int64_t first, int count, unsigned in_flight)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++) {
        struct attempt_began began = a_beginning(first + i, 1);
        began.in_flight = in_flight;
        number = f->recorder.attempt_began(f->recorder.ctx, &began);
    }
    store_flush(f->store);
    return number;
}

static void await_gathering(struct store *s)
{
    for (bool gathering = false; !gathering; sched_yield()) {
        pthread_mutex_lock(&s->lock);
        gathering = s->gathering;
        pthread_mutex_unlock(&s->lock);
    }
}

/* Two thirds as many records as requests are in flight make a commit begin; fewer wait, here for an hour. */
static void a_commit_waits_for_enough(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    pthread_mutex_lock(&f.store->lock);
    f.store->commit_every_us = 3600 * SECOND_US;
    pthread_mutex_unlock(&f.store->lock);
    small_plan_init(&p, "j", 16, 4, 3);
    fixture_accept(&f, &p);
    fixture_wait(&f, begin_many(&f, 1, 40, 40)); /* so that there is a load */
    uint64_t last = begin_many(&f, 41, 10, 60);
    await_gathering(f.store);
    store_poll(f.store);
    assert_true(f.durable < last);
    begin_many(&f, 51, 29, 60);
    store_poll(f.store);
    assert_true(f.durable < last);
    fixture_wait(&f, begin_many(&f, 80, 1, 60));
    begin_many(&f, 81, 1, 60);
    fixture_remove(&f); /* which waits for nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_writes_every_table),
        cmocka_unit_test(job_ids_rows_and_revisions),
        cmocka_unit_test(a_refused_job_leaves_nothing),
        cmocka_unit_test(every_record_kind_round_trips),
        cmocka_unit_test(rows_are_closed_as_asked),
        cmocka_unit_test(a_dispatch_opens_what_was_closed),
        cmocka_unit_test(urls_and_hops_follow_the_attempt),
        cmocka_unit_test(bytes_that_are_not_text_become_text),
        cmocka_unit_test(any_size_passes_the_queue),
        cmocka_unit_test(durable_means_on_the_disk),
        cmocka_unit_test(closing_writes_what_is_queued),
        cmocka_unit_test(a_commit_waits_for_enough),
        cmocka_unit_test(a_lost_row_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
