/* What cannot be is found, each kind of it, and nothing else. */
#include "store_fixture.h"

#include "store/sqlite.h"

struct listing {
    struct buf text;
};

static void list_fault(void *ctx, const struct fault *fault)
{
    struct listing *l = ctx;
    buf_addf(&l->text, "%s %s: %s\n", fault->rule, fault->id, fault->text);
}

/* "" when all is well. The caller frees. */
static char *faults(const char *path, const char *job_id)
{
    struct err err = {0};
    struct listing l;
    buf_init(&l.text, 1 << 20);
    struct reader *r = reader_open(path, &err);
    if (!r || !reader_verify(r, job_id, list_fault, &l, &err))
        fail_msg("%s", err.text);
    reader_close(r);
    char *text = mem_strdup(l.text.len ? buf_str(&l.text).ptr : "");
    buf_done(&l.text);
    return text;
}

static void expect_sound(const char *path)
{
    static const char *const ids[] = {"j-1", NULL};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        char *text = faults(path, ids[i]);
        assert_string_equal(text, "");
        free(text);
    }
}

static void begin(struct fixture *f, int64_t row, unsigned number)
{
    struct attempt_began r = a_beginning(row, number);
    r.url = NULL;
    f->recorder.attempt_began(f->recorder.ctx, &r);
}

static void hop(struct fixture *f, int64_t row, unsigned number, unsigned hops)
{
    f->recorder.attempt_hopped(f->recorder.ctx,
        &(struct attempt_hopped){.row = row, .number = number, .result_url = "https://r/1", .hops = hops,
                                 .http_status = 303, .dispatched_at = 1001, .first_byte_at = 1002});
}

static void finish(struct fixture *f, int64_t row, unsigned number, enum status attempt, enum status execution,
                   unsigned hops)
{
    struct attempt_ended r = an_end(row, number, attempt);
    r.execution.status = execution;
    r.hops = r.execution.hops = hops;
    r.dispatched_at += 10 * number;
    r.first_byte_at += 10 * number;
    r.ended_at = r.first_byte_at + 0.5;
    f->recorder.attempt_ended(f->recorder.ctx, &r);
}

static void change(struct fixture *f, enum job_state state)
{
    bool over = job_state_is_final(state);
    fixture_wait(f, f->recorder.job_changed(f->recorder.ctx, &(struct job_changed){
                        "j-1", state, over ? (double)NAN : 2e9, over ? 2e9 + 60 : (double)NAN}));
}

/* Rows 1 to 6: succeeded, failed, succeeded after a retry, collected, skipped, cancelled in its attempt. */
static void make_job(struct fixture *f, enum job_state state)
{
    static struct small_plan p;
    fixture_folder(f);
    fixture_open(f);
    small_plan_init(&p, "j", 2, 1, 3);
    fixture_accept(f, &p);
    begin(f, 1, 1);
    change(f, JOB_RUNNING);
    finish(f, 1, 1, STATUS_SUCCEEDED, STATUS_SUCCEEDED, 0);
    begin(f, 2, 1);
    finish(f, 2, 1, STATUS_FAILED, STATUS_FAILED, 0);
    begin(f, 3, 1);
    finish(f, 3, 1, STATUS_FAILED, STATUS_BACKING_OFF, 0);
    begin(f, 3, 2);
    finish(f, 3, 2, STATUS_SUCCEEDED, STATUS_SUCCEEDED, 0);
    begin(f, 4, 1);
    hop(f, 4, 1, 0);
    hop(f, 4, 1, 1);
    finish(f, 4, 1, STATUS_SUCCEEDED, STATUS_SUCCEEDED, 2);
    f->recorder.rows_closed(f->recorder.ctx, &(struct rows_closed){
        .first_row = 5, .count = 1, .status = STATUS_SKIPPED, .class = CLASS_BREAKER_OPEN, .error = "kept failing",
        .ended_at = 5000});
    begin(f, 6, 1);
    finish(f, 6, 1, STATUS_CANCELLED, STATUS_CANCELLED, 0);
    change(f, state);
}

static void spoil(const char *path, const char *sql)
{
    struct err err = {0};
    struct db *db = db_open(path, DB_EXISTING, 1000, &err);
    if (!db || !db_exec(db, "PRAGMA ignore_check_constraints = ON", &err) || !db_exec(db, sql, &err))
        fail_msg("%s: %s", err.text, sql);
    db_close(db);
}

static void a_sound_job_has_no_fault(void **state)
{
    (void)state;
    struct fixture f;
    make_job(&f, JOB_PARTIAL);
    expect_sound(f.path);
    fixture_close(&f);
    spoil(f.path, "DELETE FROM endings WHERE row % 1024 = 1 AND row / 1024 IN (2, 4, 6);" /* as a crash leaves it */
                  "UPDATE jobs SET state = 'running', ended_at = NULL");
    expect_sound(f.path);
    fixture_remove(&f);
}

/* Row N's first attempt has row N * 1024 + 1. */
static const struct {
    const char *sql, *rule, *id;
} cases[] = {
    {"UPDATE jobs SET planned = 7", "plan", "j-1"},
    {"UPDATE jobs SET width = 2", "plan", "j-1"},
    {"DELETE FROM questions WHERE position = 2", "plan", "j-1"},
    {"UPDATE questions SET position = 9 WHERE position = 2", "plan", "j-1"},
    {"DELETE FROM job_cells WHERE position = 1", "plan", "j-1"},
    {"UPDATE job_cells SET position = 7 WHERE position = 1", "plan", "j-1"},
    {"INSERT INTO jobs SELECT 9, 'j-9', name, 9, state, policy, created_at, started_at, ended_at, timeout_s, revision,"
     " submitted_by, 4, planned, width, owner, owner_pid, owner_start, owner_boot, control_from, spec, NULL, NULL"
     " FROM jobs", "plan", "j-1"},
    {"DELETE FROM job_files", "plan", "j-1"},
    {"DELETE FROM dispatches WHERE row = 3 * 1024 + 1", "attempts", "j-1.3.2"},
    {"UPDATE dispatches SET row = 2 * 1024 + 3 WHERE row = 2 * 1024 + 1", "attempts", "j-1.2.3"},
    {"INSERT INTO dispatches SELECT 2 * 1024 + 3, job_row, cold, revision, in_flight, queued_at, recorded_at, url,"
     " request FROM dispatches WHERE row = 2 * 1024 + 1", "rows", "j-1.2"},
    {"UPDATE dispatches SET job_row = 5 WHERE row = 1024 + 1", "attempts", "j-1.1.1"},
    {"INSERT INTO dispatches SELECT 99 * 1024 + 1, job_row, cold, revision, in_flight, queued_at, recorded_at, url,"
     " request FROM dispatches WHERE row = 1024 + 1", "attempts", "j-1"},
    {"DELETE FROM dispatches WHERE row = 1024 + 1", "attempts", "j-1.1.1"},
    {"INSERT INTO hops VALUES (5 * 1024 + 1, 0, 303, 1, 1, 'https://r/')", "attempts", "j-1.5.1"},
    {"UPDATE closed SET row = row + 3", "attempts", "j-1.5"},
    {"DELETE FROM closings", "attempts", "j-1.5"},
    {"UPDATE endings SET status = 'succeeded', became = NULL, class = NULL, error = NULL, answer = 'x' WHERE row ="
     " 3 * 1024 + 1", "order", "j-1.3.2"},
    {"DELETE FROM endings WHERE row = 3 * 1024 + 1", "order", "j-1.3.2"},
    {"UPDATE endings SET became = NULL WHERE row = 3 * 1024 + 1", "order", "j-1.3.2"},
    {"INSERT INTO hops VALUES (3 * 1024 + 1, 0, 303, 1, 1, 'https://r/'); UPDATE endings SET class = 'timeout' WHERE"
     " row = 3 * 1024 + 1", "paid_twice", "j-1.3.2"},
    {"UPDATE dispatches SET request = 'other' WHERE row = 3 * 1024 + 2", "body", "j-1.3.2"},
    {"UPDATE endings SET status = 'running' WHERE row = 1024 + 1", "status", "j-1.1.1"},
    {"UPDATE endings SET became = 'skipped' WHERE row = 2 * 1024 + 1", "status", "j-1.2.1"},
    {"UPDATE endings SET became = 'backing_off' WHERE row = 1024 + 1", "status", "j-1.1.1"},
    {"UPDATE endings SET class = 'timeout' WHERE row = 1024 + 1", "status", "j-1.1.1"},
    {"UPDATE endings SET class = NULL WHERE row = 2 * 1024 + 1", "status", "j-1.2.1"},
    {"UPDATE endings SET error = NULL WHERE row = 2 * 1024 + 1", "status", "j-1.2.1"},
    {"UPDATE endings SET class = 'tls' WHERE row = 6 * 1024 + 1", "status", "j-1.6.1"},
    {"UPDATE endings SET answer = NULL WHERE row = 1024 + 1", "status", "j-1.1.1"},
    {"UPDATE endings SET answer = '' WHERE row = 2 * 1024 + 1", "status", "j-1.2.1"},
    {"UPDATE closings SET status = 'succeeded'", "status", "j-1.5"},
    {"UPDATE closings SET status = 'running'", "status", "j-1.5"},
    {"UPDATE closings SET status = 'cancelled'", "status", "j-1.5"},
    {"UPDATE closings SET status = 'failed', class = NULL", "status", "j-1.5"},
    {"UPDATE closings SET ended_at = NULL", "status", "j-1.5"},
    {"INSERT INTO closed VALUES (1024 + 1, 1)", "status", "j-1.1.1"},
    {"DELETE FROM closed", "state", "j-1.5"},
    {"DELETE FROM endings WHERE row = 6 * 1024 + 1", "state", "j-1.6"},
    {"UPDATE jobs SET state = 'succeeded'", "state", "j-1"},
    {"UPDATE jobs SET state = 'queued'", "state", "j-1"},
    {"UPDATE endings SET status = 'failed', class = 'tls', error = 'x', answer = NULL WHERE status = 'succeeded'",
     "state", "j-1"},
    {"UPDATE endings SET posts = 0 WHERE row = 1024 + 1", "posts", "j-1.1.1"},
    {"UPDATE endings SET posts = 1 WHERE row = 3 * 1024 + 2", "posts", "j-1.3.2"},
    {"UPDATE endings SET posts = 9 WHERE row = 1024 + 1", "posts", "j-1.1.1"},
    {"UPDATE endings SET all_hops = 3 WHERE row = 4 * 1024 + 1", "hops", "j-1.4.1"},
    {"UPDATE endings SET all_hops = 0, hops = 0 WHERE row = 4 * 1024 + 1", "hops", "j-1.4.1"},
    {"UPDATE endings SET all_hops = 1, hops = 1 WHERE row = 1024 + 1", "hops", "j-1.1.1"},
    {"DELETE FROM hops WHERE number = 0", "hops", "j-1.4.1"},
    {"UPDATE hops SET result_url = NULL WHERE number = 1", "hops", "j-1.4.1"},
    {"UPDATE dispatches SET in_flight = 0 WHERE row = 1024 + 1", "counts", "j-1.1.1"},
    {"UPDATE dispatches SET queued_at = 1011.5 WHERE row = 1024 + 1", "times", "j-1.1.1"},
    {"UPDATE endings SET first_byte_at = 1001 WHERE row = 1024 + 1", "times", "j-1.1.1"},
    {"UPDATE endings SET ended_at = 1001 WHERE row = 1024 + 1", "times", "j-1.1.1"},
    {"UPDATE endings SET ended_at = NULL WHERE row = 1024 + 1", "times", "j-1.1.1"},
    {"UPDATE endings SET ended_at = 1022 WHERE row = 3 * 1024 + 1", "times", "j-1.3.2"},
    {"UPDATE jobs SET created_at = 3e9", "times", "j-1"},
    {"UPDATE jobs SET started_at = 3e9", "times", "j-1"},
    {"UPDATE jobs SET ended_at = NULL", "times", "j-1"},
    {"UPDATE jobs SET state = 'running'", "times", "j-1"},
    {"UPDATE jobs SET started_at = NULL", "times", "j-1"},
    {"UPDATE endings SET ended_at = 2e9 + 62 WHERE row = 1024 + 1", "times", "j-1.1.1"},
    {"UPDATE jobs SET revision = 7", "revision", "j-1"},
    {"UPDATE dispatches SET revision = 7 WHERE row = 1024 + 1", "revision", "j-1.1.1"},
};

static bool line_begins(const char *text, const char *rule, const char *id)
{
    char start[128];
    snprintf(start, sizeof start, "%s %s: ", rule, id);
    size_t len = strlen(start);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, start, len) == 0)
            return true;
    return false;
}

static void each_fault_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        make_job(&f, JOB_PARTIAL);
        fixture_close(&f);
        spoil(f.path, cases[i].sql);
        char *text = faults(f.path, "j-1");
        if (!line_begins(text, cases[i].rule, cases[i].id))
            fail_msg("%s: %s is not told in:\n%s", cases[i].sql, cases[i].rule, text);
        free(text);
        fixture_remove(&f);
    }
}

static void rows_without_a_job_are_found(void **state)
{
    (void)state;
    struct fixture f;
    make_job(&f, JOB_PARTIAL);
    fixture_close(&f);
    spoil(f.path, "DELETE FROM jobs");
    char *text = faults(f.path, NULL);
    assert_true(line_begins(text, "orphan", "attempt row 1025"));
    assert_true(line_begins(text, "orphan", "attempt row 4097"));
    assert_true(line_begins(text, "orphan", "execution row 5"));
    assert_true(line_begins(text, "orphan", "j-1"));
    free(text);
    fixture_remove(&f);
}

static void an_unknown_job(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    make_job(&f, JOB_PARTIAL);
    struct reader *r = reader_open(f.path, &err);
    assert_false(reader_verify(r, "k-1", list_fault, NULL, &err));
    assert_mentions(err.text, "j-1");
    reader_close(r);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_job_has_no_fault),
        cmocka_unit_test(each_fault_is_found),
        cmocka_unit_test(rows_without_a_job_are_found),
        cmocka_unit_test(an_unknown_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
