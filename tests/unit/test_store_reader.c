/* Reading: only reading, filters against the plan, summaries against a count by hand. */
#include "store_fixture.h"

#include "base/random.h"

static bool count_row(void *ctx, int columns, const char *const *names, const struct value *values)
{
    (void)columns, (void)names, (void)values;
    ++*(int *)ctx;
    return true;
}

static struct reader *open_reader(const char *path)
{
    struct err err = {0};
    struct reader *r = reader_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static void only_reading_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        bool allowed;
        const char *mentions;
    } cases[] = {
        {"SELECT 1", true, NULL},
        {"SELECT count(*) FROM executions;", true, NULL},
        {"  -- first\n SELECT 1 ; -- last\n /* really */ ;", true, NULL},
        {"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i) FROM n", true,
         NULL},
        {"VALUES (1), (2)", true, NULL},
        {"PRAGMA table_info(jobs)", true, NULL},
        {"SELECT name FROM pragma_table_info('jobs')", true, NULL},
        {"SELECT key FROM jobs, json_each(spec)", true, NULL},
        {"EXPLAIN QUERY PLAN SELECT * FROM jobs", true, NULL},
        {"SELECT json_extract(spec, '$.name') FROM jobs", true, NULL},
        {"", false, "no statement"},
        {" -- nothing\n", false, "no statement"},
        {"SELECT 1; SELECT 2", false, "more than one"},
        {"SELECT 1; DROP TABLE jobs", false, "more than one"},
        {"INSERT INTO jobs DEFAULT VALUES", false, "SELECT"},
        {"UPDATE sqlite_master SET sql = ''", false, ""},
        {"UPDATE executions SET status = 'failed'", false, "SELECT"},
        {"DELETE FROM executions", false, "SELECT"},
        {"DROP TABLE executions", false, "SELECT"},
        {"CREATE TABLE t(a)", false, "SELECT"},
        {"CREATE TEMP TABLE t(a)", false, "SELECT"},
        {"CREATE TEMP VIEW v AS SELECT 1", false, "SELECT"},
        {"ATTACH '/tmp/other.db' AS other", false, "SELECT"},
        {"DETACH main", false, "SELECT"},
        {"VACUUM", false, "SELECT"},
        {"VACUUM INTO '/tmp/copy.db'", false, "SELECT"},
        {"REINDEX", false, "SELECT"},
        {"BEGIN", false, "SELECT"},
        {"PRAGMA query_only = 0", false, "SELECT"},
        {"PRAGMA journal_mode = DELETE", false, "SELECT"},
        {"PRAGMA user_version = 9", false, "SELECT"},
        {"PRAGMA wal_checkpoint", false, "SELECT"},
        {"SELECT load_extension('x')", false, ""},
        {"SELECT nonesuch FROM jobs", false, "no such column"},
        {"SELEKT 1", false, "syntax error"},
    };
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 2);
    fixture_accept(&f, &p);
    struct reader *r = open_reader(f.path);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        int rows = 0;
        bool ok = reader_sql(r, cases[i].sql, NULL, 0, 0, count_row, &rows, &err);
        if (ok != cases[i].allowed)
            fail_msg("%s: %s", cases[i].sql, ok ? "was allowed" : err.text);
        if (ok)
            assert_true(rows > 0);
        else
            assert_mentions(err.text, cases[i].mentions);
        if (!ok)
            assert_int_equal(err.code, ERR_USAGE);
    }
    reader_close(r);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE status = 'pending'"), 2);
    fixture_remove(&f);
}

static bool stop_at_three(void *ctx, int columns, const char *const *names, const struct value *values)
{
    int *rows = ctx;
    assert_int_equal(columns, 2);
    assert_string_equal(names[0], "i");
    assert_string_equal(names[1], "twice");
    assert_int_equal(values[0].type, VALUE_INTEGER);
    assert_int_equal(values[1].integer, 2 * values[0].integer);
    return ++*rows < 3;
}

static void binding_stopping_and_time(void **state)
{
    (void)state;
    static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                  " SELECT i, i * 2 AS twice FROM n WHERE i > 0";
    struct fixture f;
    struct err err = {0};
    fixture_folder(&f);
    fixture_open(&f);
    struct reader *r = open_reader(f.path);
    int rows = 0;
    assert_true(reader_sql(r, endless, NULL, 0, 0, stop_at_three, &rows, &err));
    assert_int_equal(rows, 3);

    static const char never[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                " SELECT i FROM n WHERE i < 0";
    rows = 0;
    assert_false(reader_sql(r, never, NULL, 0, 1000, count_row, &rows, &err));
    assert_mentions(err.text, "too long");
    assert_int_equal(rows, 0);

    struct buf out;
    buf_init(&out, 1000);
    const char *const values[] = {"it's; --", NULL, "7"};
    assert_true(reader_sql(r, "SELECT ?1, ?2, ?3, typeof(?3)", values, 3, 0, fixture_append_row, &out, &err));
    assert_string_equal(out.ptr, "it's; --|-|7|text");
    buf_done(&out);
    assert_false(reader_sql(r, "SELECT ?1", values, 3, 0, count_row, &rows, &err)); /* more values than places */
    reader_close(r);
    fixture_remove(&f);
}

/* A job of every status, three attempts at most, each field drawn at random. Kept beside as a model. */
struct model_row {
    int question, endpoint;
    enum status status;
    enum failure_class class;
    int64_t attempts, hops;
    double cost;
};

struct model {
    struct model_row rows[16 * 2 * 6];
    int64_t max_in_flight;
    double first[16], last[16];
    int count;
};

static void record_random_attempt(struct fixture *f, struct rng *rng, struct model *m, int i, unsigned number,
                                  bool last)
{
    struct model_row *row = &m->rows[i];
    struct attempt_began began = a_beginning(f->accepted.first_row + i, number);
    began.in_flight = 1 + (unsigned)(rng_next(rng) % 90);
    if (began.in_flight > m->max_in_flight)
        m->max_in_flight = began.in_flight;
    f->recorder.attempt_began(f->recorder.ctx, &began);
    row->attempts++;
    row->status = STATUS_RUNNING;
    if (last && rng_next(rng) % 5 == 0)
        return; /* still running */

    static const enum status ends[] = {STATUS_SUCCEEDED, STATUS_FAILED, STATUS_CANCELLED};
    row->status = last ? ends[rng_next(rng) % 3] : STATUS_BACKING_OFF;
    row->class =
        row->status == STATUS_FAILED ? (enum failure_class)(1 + rng_next(rng) % (CLASS_COUNT - 1)) : CLASS_NONE;
    row->hops += (int64_t)(rng_next(rng) % 3);
    row->cost = rng_next(rng) % 4 == 0 ? (double)NAN : (double)(rng_next(rng) % 1000) / 64;
    struct attempt_ended end = an_end(f->accepted.first_row + i, number, STATUS_FAILED);
    end.dispatched_at = 1000 + row->question * 40 + (double)(rng_next(rng) % 20);
    end.ended_at = end.dispatched_at + (double)(rng_next(rng) % 30);
    end.execution.status = row->status;
    end.execution.class = row->class;
    end.execution.hops = (unsigned)row->hops;
    end.execution.cost = row->cost;
    if (!(m->first[row->question] <= end.dispatched_at))
        m->first[row->question] = end.dispatched_at;
    if (!(m->last[row->question] >= end.ended_at))
        m->last[row->question] = end.ended_at;
    f->recorder.attempt_ended(f->recorder.ctx, &end);
}

static void run_random_job(struct fixture *f, const struct small_plan *p, struct rng *rng, struct model *m)
{
    *m = (struct model){.count = (int)p->plan.count};
    for (int q = 0; q < 16; q++)
        m->first[q] = m->last[q] = (double)NAN;
    for (int i = 0; i < m->count; i++) {
        struct cell c = plan_cell(&p->plan, (uint64_t)i);
        m->rows[i] = (struct model_row){.question = (int)c.question, .endpoint = (int)c.endpoint, .cost = (double)NAN};
        unsigned attempts = (unsigned)(rng_next(rng) % 4);
        if (c.question % 4 == 3)
            attempts = 0; /* a question that never ran stands between two that did */
        for (unsigned number = 1; number <= attempts; number++)
            record_random_attempt(f, rng, m, i, number, number == attempts);
    }
    struct job_changed change = {f->accepted.job_id, JOB_PARTIAL, 1000, 2000};
    fixture_wait(f, f->recorder.job_changed(f->recorder.ctx, &change));
}

static void expect_summary(struct reader *r, const char *job_id, const struct model *m)
{
    struct err err = {0};
    struct job_summary s, expected = {.cost = (double)NAN, .max_batch_gap_s = (double)NAN};
    if (!reader_job(r, job_id, &s, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < m->count; i++) {
        const struct model_row *row = &m->rows[i];
        expected.by_status[row->status]++;
        expected.attempts += row->attempts;
        expected.posts += row->attempts;
        expected.hops += row->hops;
        if (!isnan(row->cost))
            expected.cost = isnan(expected.cost) ? row->cost : expected.cost + row->cost;
    }
    double before = (double)NAN;
    for (int q = 0; q < 16; q++) {
        double gap = m->first[q] - before;
        if (gap >= 0 && (isnan(expected.max_batch_gap_s) || gap > expected.max_batch_gap_s))
            expected.max_batch_gap_s = gap;
        if (!isnan(m->first[q]))
            before = m->last[q];
    }
    assert_string_equal(s.id, job_id);
    assert_int_equal(s.state, JOB_PARTIAL);
    assert_int_equal(s.planned, m->count);
    for (int i = 0; i < STATUS_COUNT; i++)
        assert_int_equal(s.by_status[i], expected.by_status[i]);
    assert_int_equal(s.attempts, expected.attempts);
    assert_int_equal(s.posts, expected.posts);
    assert_int_equal(s.hops, expected.hops);
    assert_int_equal(s.max_in_flight, m->max_in_flight);
    assert_true(isnan(s.cost) ? isnan(expected.cost) : s.cost == expected.cost);
    assert_true(isnan(s.max_batch_gap_s) ? isnan(expected.max_batch_gap_s)
                                         : fabs(s.max_batch_gap_s - expected.max_batch_gap_s) < 1e-6);
    assert_true(s.created_at > 1e9 && s.started_at == 1000 && s.ended_at == 2000 && s.timeout_s == 600);
    assert_string_equal(s.name, "j");
    assert_string_equal(s.policy, "sequential");
    assert_string_equal(s.submitted_by, "ada");
    assert_int_equal(s.revision, 1);
}

struct found {
    const struct small_plan *plan;
    char last_id[128];
    int rows;
    bool with_prompt;
};

static int64_t number_of(const char *execution_id)
{
    return strtoll(strrchr(execution_id, '.') + 1, NULL, 10);
}

static bool in_order(void *ctx, int columns, const char *const *names, const struct value *values)
{
    static const char *const schema[] = {
        "id", "job_id", "question_id", "model_id", "region", "sample", "endpoint", "status", "class", "error", "answer",
        "attempts", "posts", "hops", "cold", "revision", "queued_at", "started_at", "ended_at", "prompt_tokens",
        "completion_tokens", "cost", "prompt"};
    struct found *f = ctx;
    assert_int_equal(columns, (int)ARRAY_LEN(schema) - !f->with_prompt);
    for (int i = 0; i < columns; i++)
        assert_string_equal(names[i], schema[i]);
    if (f->with_prompt)
        assert_true(str_is(values[columns - 1].text, "What is 2 + 2?"));
    if (f->rows++)
        assert_true(number_of(values[0].text.ptr) > number_of(f->last_id));
    snprintf(f->last_id, sizeof f->last_id, "%s", values[0].text.ptr);
    return true;
}

/* Every combination of present and absent filters, with values that draw some rows, against the model. */
static void expect_filters(struct reader *r, const struct small_plan *p, const char *job_id, const struct model *m)
{
    for (unsigned mask = 0; mask < 64; mask++) {
        struct execution_filter f = {
            .job_id = job_id,
            .question_id = mask & 1 ? p->question_ids[2] : NULL,
            .model_id = mask & 2 ? "org/mistral-7b" : NULL,
            .region = mask & 4 ? "eu" : NULL,
            .status = mask & 8 ? "failed" : NULL,
            .class = mask & 16 ? "timeout" : NULL,
            .with_prompt = mask & 32,
        };
        int expected = 0;
        for (int i = 0; i < m->count; i++) {
            const struct model_row *row = &m->rows[i];
            expected += (!(mask & 1) || row->question == 2) && (!(mask & 2) || row->endpoint >= 3) &&
                        (!(mask & 4) || row->endpoint % 3 == 1) && (!(mask & 8) || row->status == STATUS_FAILED) &&
                        (!(mask & 16) || row->class == CLASS_TIMEOUT);
        }
        struct err err = {0};
        struct found found = {.plan = p, .with_prompt = f.with_prompt};
        if (!reader_executions(r, &f, in_order, &found, &err))
            fail_msg("%s", err.text);
        assert_int_equal(found.rows, expected);
        if (expected < 2)
            continue;
        f.limit = 2;
        f.offset = expected - 1;
        found.rows = 0;
        assert_true(reader_executions(r, &f, in_order, &found, &err));
        assert_int_equal(found.rows, 1);
    }
}

/* A page may start anywhere: in the middle of a question, at its edge, behind the end. */
static void expect_pages(struct reader *r, const struct small_plan *p, const char *job_id, const struct model *m)
{
    for (int offset = 0; offset <= m->count + 1; offset++) {
        struct execution_filter f = {.job_id = job_id, .limit = 5, .offset = offset};
        struct found found = {.plan = p};
        struct err err = {0};
        int left = m->count > offset ? m->count - offset : 0;
        assert_true(reader_executions(r, &f, in_order, &found, &err));
        assert_int_equal(found.rows, left < 5 ? left : 5);
        if (found.rows)
            assert_int_equal(number_of(found.last_id), offset + found.rows);
    }
}

struct listing {
    char ids[8][128];
    int count, stop_after;
};

static bool list_job(void *ctx, const struct job_summary *job)
{
    struct listing *l = ctx;
    snprintf(l->ids[l->count++], sizeof l->ids[0], "%s", job->id);
    return l->count != l->stop_after;
}

static void summaries_and_filters_agree_with_a_count_by_hand(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct rng rng;
    static struct model models[4];
    char ids[4][128];
    rng_seed(&rng, 7);
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, 2, 6);
    for (int i = 0; i < 4; i++) {
        fixture_accept(&f, &p);
        snprintf(ids[i], sizeof ids[i], "%s", f.accepted.job_id);
        run_random_job(&f, &p, &rng, &models[i]);
    }
    struct reader *r = open_reader(f.path);
    struct err err = {0};
    for (int i = 0; i < 4; i++) {
        expect_summary(r, ids[i], &models[i]);
        expect_filters(r, &p, ids[i], &models[i]);
        expect_pages(r, &p, ids[i], &models[i]);
    }
    struct job_summary last;
    assert_true(reader_job(r, "last", &last, &err));
    assert_string_equal(last.id, ids[3]);

    struct listing all = {0}, two = {.stop_after = 2};
    assert_true(reader_jobs(r, list_job, &all, &err));
    assert_int_equal(all.count, 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(all.ids[i], ids[3 - i]);
    assert_true(reader_jobs(r, list_job, &two, &err));
    assert_int_equal(two.count, 2);

    struct execution_filter everything = {0}, one_question = {.question_id = "q3"};
    struct found found = {.plan = &p};
    int rows = 0;
    assert_true(reader_executions(r, &everything, count_row, &rows, &err));
    assert_int_equal(rows, 4 * 192);
    found.rows = 0;
    assert_true(reader_executions(r, &one_question, count_row, &found.rows, &err));
    assert_int_equal(found.rows, 4 * 12);
    reader_close(r);
    fixture_remove(&f);
}

static void an_unknown_job_is_told_with_its_neighbours(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    struct job_summary s = {.planned = 77};
    fixture_folder(&f);
    fixture_open(&f);
    struct reader *r = open_reader(f.path);
    assert_false(reader_job(r, "last", &s, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_mentions(err.text, "no job");

    small_plan_init(&p, "bias-detection", 1, 1, 1);
    fixture_accept(&f, &p);
    assert_false(reader_job(r, "bias-detektion-1", &s, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_mentions(err.text, "did you mean bias-detection-1");
    assert_false(reader_job(r, "x", &s, &err));
    assert_mentions(err.text, "bias-detection-1");
    assert_int_equal(s.planned, 77); /* untouched on failure */
    reader_close(r);
    fixture_remove(&f);
}

static bool stop_after_300(void *ctx, int columns, const char *const *names, const struct value *values)
{
    (void)columns, (void)names, (void)values;
    return ++*(int *)ctx < 300;
}

/* More than the reading thread may have ready: it waits for the caller, or is stopped while it waits. */
static void rows_that_are_read_ahead_are_the_same(void **state)
{
    (void)state;
    enum { SAMPLES = 64, BYTES = 4 << 20 };
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    struct buf plain, ahead;
    int rows = 0;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, SAMPLES, 6);
    fixture_accept(&f, &p);
    struct reader *r = open_reader(f.path);
    struct execution_filter filter = {.job_id = f.accepted.job_id};
    buf_init(&plain, BYTES);
    buf_init(&ahead, BYTES);
    assert_true(reader_executions(r, &filter, fixture_append_row, &plain, &err));
    assert_true(reader_executions_ahead(r, &filter, fixture_append_row, &ahead, &err));
    assert_false(plain.full);
    assert_string_equal(ahead.ptr, plain.ptr);
    assert_true(reader_executions_ahead(r, &filter, stop_after_300, &rows, &err));
    assert_int_equal(rows, 300);

    filter.question_id = "none";
    if (!reader_executions_ahead(r, &filter, count_row, &rows, &err))
        fail_msg("%s", err.text);
    assert_int_equal(rows, 300);
    char aside[sizeof f.path + 8];
    snprintf(aside, sizeof aside, "%s.aside", f.path);
    assert_int_equal(rename(f.path, aside), 0);
    assert_false(reader_executions_ahead(r, &filter, count_row, &rows, &err));
    assert_mentions(err.text, f.path);
    assert_int_equal(rename(aside, f.path), 0);
    buf_done(&plain);
    buf_done(&ahead);
    reader_close(r);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_reading_is_allowed),
        cmocka_unit_test(binding_stopping_and_time),
        cmocka_unit_test(summaries_and_filters_agree_with_a_count_by_hand),
        cmocka_unit_test(an_unknown_job_is_told_with_its_neighbours),
        cmocka_unit_test(rows_that_are_read_ahead_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
