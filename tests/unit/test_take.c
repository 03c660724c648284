/* A job that was run before changes hands: who may take it, what is opened again, and how far each execution has come.
 * */
#include "store_fixture.h"

#include "store/sqlite.h"

struct taking {
    struct fixture f;
    struct small_plan p;
    struct taken *taken;
    struct err err;
};

static void on_taken(void *ctx, struct taken *taken, const struct err *error)
{
    struct taking *t = ctx;
    assert_true((taken == NULL) == (error != NULL));
    t->f.answered = true;
    t->taken = taken;
    t->err = error ? *error : (struct err){0};
}

static bool take(struct taking *t, const struct execution_filter *failed)
{
    struct take take = {.job_id = "j-1", .plan = &t->p.plan, .failed = failed, .author = "ada"};
    taken_free(t->taken);
    t->f.answered = false;
    store_take(t->f.store, &take, on_taken, t);
    while (!t->f.answered)
        fixture_turn(&t->f);
    return t->taken != NULL;
}

static void taking_init(struct taking *t, unsigned questions)
{
    *t = (struct taking){0};
    fixture_folder(&t->f);
    fixture_open(&t->f);
    small_plan_init(&t->p, "j", questions, 1, 3);
    fixture_accept(&t->f, &t->p);
    t->p.table.revision = 1;
}

/* What a crash leaves: nobody owns the job. */
static void reopen(struct taking *t)
{
    fixture_close(&t->f);
    fixture_open(&t->f);
}

static void taking_done(struct taking *t)
{
    taken_free(t->taken);
    fixture_remove(&t->f);
}

static void begin(struct taking *t, int64_t row, unsigned number)
{
    struct attempt_began r = a_beginning(row, number);
    t->f.recorder.attempt_began(t->f.recorder.ctx, &r);
}

static void hop(struct taking *t, int64_t row, unsigned number, unsigned hops)
{
    t->f.recorder.attempt_hopped(t->f.recorder.ctx,
        &(struct attempt_hopped){.row = row, .number = number, .result_url = hops ? "https://r/2" : "https://r/1",
                                 .hops = hops, .http_status = 303, .dispatched_at = 1001, .first_byte_at = 1151});
}

static void finish(struct taking *t, int64_t row, unsigned number, enum status attempt, enum failure_class class,
                enum status execution)
{
    struct attempt_ended r = an_end(row, number, attempt);
    r.class = r.execution.class = class;
    r.execution.status = execution;
    t->f.recorder.attempt_ended(t->f.recorder.ctx, &r);
}

static void shut(struct taking *t, int64_t row, enum status status)
{
    t->f.recorder.rows_closed(t->f.recorder.ctx,
        &(struct rows_closed){.first_row = row, .count = 1, .status = status, .error = "late", .ended_at = 5000});
}

static void settle(struct taking *t, enum job_state state)
{
    fixture_wait(&t->f, t->f.recorder.job_changed(t->f.recorder.ctx,
                                                  &(struct job_changed){"j-1", state, 1000, (double)NAN}));
}

static void expect_statuses(struct taking *t, const char *expected)
{
    expect_query(t->f.path, "SELECT group_concat(substr(status, 1, 4) || attempts) FROM"
                            " (SELECT * FROM executions ORDER BY row)", expected);
}

static void a_job_has_one_owner(void **state)
{
    (void)state;
    struct taking t;
    char pid[32];
    snprintf(pid, sizeof pid, "process %d runs job j-1", getpid());
    taking_init(&t, 1);
    assert_false(take(&t, NULL));
    assert_int_equal(t.err.code, ERR_USAGE);
    assert_mentions(t.err.text, pid);
    reopen(&t);
    assert_true(take(&t, NULL));
    assert_string_equal(t.taken->accepted.job_id, "j-1");
    assert_int_equal(t.taken->accepted.first_row, 1);
    assert_false(take(&t, NULL)); /* it is ours now */
    assert_mentions(t.err.text, pid);
    expect_query(t.f.path, "SELECT action, target, author, after, control_log.id = control_from FROM control_log, jobs",
                 "resume|j-1|ada|{\"state\":\"running\",\"opened\":0,\"revision\":1}|1");
    taking_done(&t);
}

static void how_far_each_has_come(void **state)
{
    (void)state;
    struct taking t;
    taking_init(&t, 3);
    finish((begin(&t, 1, 1), &t), 1, 1, STATUS_SUCCEEDED, CLASS_NONE, STATUS_SUCCEEDED);
    finish((begin(&t, 2, 1), &t), 2, 1, STATUS_FAILED, CLASS_HTTP_CLIENT, STATUS_FAILED);
    begin(&t, 3, 1);
    begin(&t, 4, 1);
    hop(&t, 4, 1, 0);
    hop(&t, 4, 1, 1);
    finish((begin(&t, 5, 1), &t), 5, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_BACKING_OFF);
    finish((begin(&t, 6, 1), &t), 6, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_BACKING_OFF);
    begin(&t, 6, 2);
    settle(&t, JOB_RUNNING);
    reopen(&t);
    assert_true(take(&t, NULL));
    const struct job_past *past = &t.taken->past;
    static const uint8_t expected[9] = {STATUS_SUCCEEDED, STATUS_FAILED, STATUS_RUNNING, STATUS_WAITING_RESULT,
                                        STATUS_PENDING, STATUS_RUNNING, STATUS_PENDING, STATUS_PENDING,
                                        STATUS_PENDING};
    assert_memory_equal(past->status, expected, 9);
    assert_int_equal(past->begun_count, 4);
    assert_int_equal(past->posts, 7);
    assert_int_equal(past->attempts, 7);
    assert_int_equal(past->hops, 1);
    static const unsigned numbers[] = {2, 3, 4, 5}, attempts[] = {1, 1, 1, 2};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(past->begun[i].n, numbers[i]);
        assert_int_equal(past->begun[i].attempts, attempts[i]);
        assert_int_equal(past->begun[i].posts, attempts[i]);
        assert_int_equal(past->begun[i].forgiven, 0);
        assert_int_equal(past->begun[i].status, past->status[numbers[i]]);
    }
    assert_string_equal(past->begun[1].result_url, "https://r/2");
    assert_int_equal(past->begun[1].attempt_hops, 1);
    assert_true(past->begun[1].dispatched_at == 1001 && past->begun[1].first_byte_at == 1151);
    taking_done(&t);
}

/* Before an attempt, in one, between two, while a result is waited for; twice over. */
static void cancelled_and_skipped_are_opened_again(void **state)
{
    (void)state;
    struct taking t;
    taking_init(&t, 3);
    for (int round = 0; round < 2; round++) {
        shut(&t, 1, STATUS_SKIPPED);
        if (round == 0) {
            finish((begin(&t, 2, 1), &t), 2, 1, STATUS_CANCELLED, CLASS_NONE, STATUS_CANCELLED);
            finish((begin(&t, 3, 1), &t), 3, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_BACKING_OFF);
            begin(&t, 4, 1);
            hop(&t, 4, 1, 0);
            begin(&t, 5, 1);
            hop(&t, 5, 1, 0);
            begin(&t, 6, 1);
            finish((begin(&t, 7, 1), &t), 7, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_FAILED);
            finish((begin(&t, 8, 1), &t), 8, 1, STATUS_SUCCEEDED, CLASS_NONE, STATUS_SUCCEEDED);
        } else {
            shut(&t, 2, STATUS_CANCELLED);
        }
        shut(&t, 3, STATUS_CANCELLED);
        finish(&t, 4, 1, STATUS_CANCELLED, CLASS_NONE, STATUS_CANCELLED);
        shut(&t, 5, STATUS_CANCELLED);
        shut(&t, 6, STATUS_CANCELLED);
        settle(&t, JOB_CANCELLED);
        expect_statuses(&t, "skip0,canc1,canc1,canc1,canc1,canc1,fail1,succ1,pend0");
        reopen(&t);
        assert_true(take(&t, NULL));
        assert_int_equal(t.taken->opened, 6);
        expect_statuses(&t, "pend0,pend1,pend1,wait1,wait1,runn1,fail1,succ1,pend0");
        assert_int_equal(query_int(t.f.path, "SELECT count(*) FROM executions WHERE status = 'pending' AND"
                                             " (class OR error OR ended_at) IS NOT NULL"), 0);
        assert_int_equal(t.taken->past.begun[0].forgiven, 1);
        assert_int_equal(t.taken->past.begun[1].forgiven, 1);
    }
    begin(&t, 2, 2);
    finish(&t, 4, 1, STATUS_SUCCEEDED, CLASS_NONE, STATUS_SUCCEEDED);
    settle(&t, JOB_PARTIAL);
    expect_statuses(&t, "pend0,runn2,pend1,succ1,wait1,runn1,fail1,succ1,pend0");
    expect_query(t.f.path, "SELECT state, started_at FROM jobs", "partial|1000");
    taking_done(&t);
}

static void only_what_failed_and_matches_is_asked_again(void **state)
{
    (void)state;
    static const struct {
        struct execution_filter filter;
        const char *expected;
    } cases[] = {
        {{0}, "succ1,pend1,wait1,pend1,pend2,canc0"},
        {{.region = "eu"}, "succ1,pend1,fail1,fail1,pend2,canc0"},
        {{.question_id = "q2"}, "succ1,pend1,wait1,fail1,fail2,canc0"},
        {{.class = "http_server"}, "succ1,pend1,fail1,pend1,pend2,canc0"},
        {{.class = "timeout", .region = "asia"}, "succ1,fail1,wait1,fail1,fail2,canc0"},
        {{.execution_id = "j-1.4"}, "succ1,fail1,fail1,pend1,fail2,canc0"},
        {{.execution_id = "j-1.1"}, "succ1,fail1,fail1,fail1,fail2,canc0"},
        {{.model_id = "none"}, "succ1,fail1,fail1,fail1,fail2,canc0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct taking t;
        taking_init(&t, 2);
        finish((begin(&t, 1, 1), &t), 1, 1, STATUS_SUCCEEDED, CLASS_NONE, STATUS_SUCCEEDED);
        finish((begin(&t, 2, 1), &t), 2, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_FAILED);
        hop((begin(&t, 3, 1), &t), 3, 1, 0);
        finish(&t, 3, 1, STATUS_FAILED, CLASS_TIMEOUT, STATUS_FAILED);
        hop((begin(&t, 4, 1), &t), 4, 1, 0); /* its URL was not found any more */
        finish(&t, 4, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_FAILED);
        finish((begin(&t, 5, 1), &t), 5, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_BACKING_OFF);
        finish((begin(&t, 5, 2), &t), 5, 2, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_FAILED);
        shut(&t, 6, STATUS_CANCELLED);
        settle(&t, JOB_PARTIAL);
        reopen(&t);
        assert_true(take(&t, &cases[i].filter));
        expect_statuses(&t, cases[i].expected);
        taking_done(&t);
    }
}

static void an_interrupted_job_is_not_retried(void **state)
{
    (void)state;
    struct taking t;
    struct execution_filter all = {0};
    taking_init(&t, 1);
    finish((begin(&t, 1, 1), &t), 1, 1, STATUS_FAILED, CLASS_HTTP_SERVER, STATUS_FAILED);
    settle(&t, JOB_RUNNING);
    reopen(&t);
    assert_false(take(&t, &all));
    assert_mentions(t.err.text, "canvass resume j-1");
    assert_int_equal(query_int(t.f.path, "SELECT count(*) FROM control_log"), 0);
    taking_done(&t);
}

static void a_new_table_is_recorded(void **state)
{
    (void)state;
    struct taking t;
    const struct source_file files[] = {{"mine.lua", STR("return 1")}};
    taking_init(&t, 1);
    settle(&t, JOB_CANCELLED);
    reopen(&t);
    t.p.table.revision = 0;
    t.p.table.source = "return { other = true }";
    t.p.table.hash[0] = 'f';
    t.p.table.files = files;
    t.p.table.file_count = 1;
    assert_true(take(&t, NULL));
    assert_int_equal(t.taken->accepted.revision, 2);
    expect_query(t.f.path, "SELECT revision, source, author, reason, name, text FROM region_revisions LEFT JOIN"
                           " region_files USING (revision)",
                 "1|return { regions = {} }|operator|job j-1|-|-\n"
                 "2|return { other = true }|ada|resume of j-1|mine.lua|return 1");
    assert_int_equal(query_int(t.f.path, "SELECT revision FROM jobs"), 2);
    taking_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_has_one_owner),
        cmocka_unit_test(how_far_each_has_come),
        cmocka_unit_test(cancelled_and_skipped_are_opened_again),
        cmocka_unit_test(only_what_failed_and_matches_is_asked_again),
        cmocka_unit_test(an_interrupted_job_is_not_retried),
        cmocka_unit_test(a_new_table_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
