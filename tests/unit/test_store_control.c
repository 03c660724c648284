/* Requests from one process to another: to a living owner, and in place of a dead one. */
#include "store_fixture.h"

#include <sys/wait.h>

#include "store/owner.h"
#include "store/sqlite.h"

struct heard {
    int count;
    char action[32], author[32], reason[64];
};

static void on_request(void *ctx, const char *action, const char *author, const char *reason)
{
    struct heard *h = ctx;
    h->count++;
    snprintf(h->action, sizeof h->action, "%s", action);
    snprintf(h->author, sizeof h->author, "%s", author);
    snprintf(h->reason, sizeof h->reason, "%s", reason);
}

static void request(struct fixture *f, const char *job_id, const char *reason, int expected_pid, bool expected_changed)
{
    struct err err = {0};
    int pid = -1;
    bool changed = !expected_changed;
    if (!store_request_cancel(f->path, job_id, "grace", reason, &pid, &changed, &err))
        fail_msg("%s", err.text);
    assert_int_equal(pid, expected_pid);
    assert_int_equal(changed, expected_changed);
}

static void execute(const char *path, const char *sql)
{
    struct err err = {0};
    struct db *db = db_open(path, DB_EXISTING, 30000, &err);
    if (!db || !db_exec(db, sql, &err))
        fail_msg("%s", err.text);
    db_close(db);
}

static void a_living_owner_hears_and_decides(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct heard first = {0}, second = {0};
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 3);
    fixture_accept(&f, &p);
    store_watch_control(f.store, "j-1", on_request, &first);
    fixture_accept(&f, &p);
    request(&f, "j-2", "before it watched", (int)getpid(), true);
    store_watch_control(f.store, "j-2", on_request, &second);
    while (second.count == 0)
        fixture_turn(&f);
    assert_string_equal(second.action, "cancel");
    assert_string_equal(second.author, "grace");
    assert_string_equal(second.reason, "before it watched");
    assert_int_equal(first.count, 0);

    request(&f, "j-1", "too dear", (int)getpid(), true);
    while (first.count == 0)
        fixture_turn(&f);
    assert_string_equal(first.reason, "too dear");
    assert_int_equal(second.count, 1);
    /* The owner has done nothing yet, so nothing has changed. */
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE status = 'pending'"), 6);
    expect_query(f.path, "SELECT action, target, author, before, after, reason FROM control_log",
                 "cancel|j-2|grace|-|-|before it watched\ncancel|j-1|grace|-|-|too dear");
    fixture_remove(&f);
}

/* Once the owner has recorded the end of a job nobody may reach into it, not even with a request that came before. */
static void the_end_of_a_job_ends_its_watch(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct heard ended = {0}, other = {0};
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 1);
    fixture_accept(&f, &p);
    fixture_accept(&f, &p);
    request(&f, "j-1", "late", (int)getpid(), true);
    store_watch_control(f.store, "j-1", on_request, &ended);
    struct job_changed end = {"j-1", JOB_SUCCEEDED, 1, 2};
    fixture_wait(&f, f.recorder.job_changed(f.recorder.ctx, &end));
    request(&f, "j-1", "later", 0, false);
    request(&f, "j-2", "now", (int)getpid(), true);
    store_watch_control(f.store, "j-2", on_request, &other);
    while (other.count == 0)
        fixture_turn(&f);
    request(&f, "j-2", "again", (int)getpid(), true);
    while (other.count < 2)
        fixture_turn(&f);
    assert_int_equal(ended.count, 0); /* although the watcher has looked twice since */
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM control_log WHERE target = 'j-1'"), 1);
    fixture_remove(&f);
}

static void die_in_the_middle(struct fixture *f)
{
    struct small_plan p;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed check must not go on with the next test in here */
    fixture_open(f);
    small_plan_init(&p, "j", 2, 1, 3);
    fixture_accept(f, &p);
    void *port = f->recorder.ctx;
    struct attempt_ended end = an_end(1, 1, STATUS_SUCCEEDED), failed = an_end(2, 1, STATUS_FAILED);
    struct attempt_hopped hop = {.row = 3,
                                 .number = 1,
                                 .result_url = "https://host.test/r",
                                 .hops = 1,
                                 .http_status = 303,
                                 .dispatched_at = 1,
                                 .first_byte_at = 2};
    for (int64_t row = 1; row <= 4; row++) {
        struct attempt_began began = a_beginning(row, 1);
        f->recorder.attempt_began(port, &began);
    }
    f->recorder.attempt_ended(port, &end);
    f->recorder.attempt_ended(port, &failed);
    f->recorder.attempt_hopped(port, &hop);
    fixture_wait(f, f->recorder.job_changed(port, &(struct job_changed){"j-1", JOB_RUNNING, 1000, (double)NAN}));
    _exit(0); /* as in a crash: nothing is closed */
}

static void a_dead_owner_is_stood_in_for(void **state)
{
    (void)state;
    struct fixture f;
    fixture_folder(&f);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        die_in_the_middle(&f);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* dead, and not buried: still in /proc */
    assert_int_equal(query_int(f.path, "SELECT owner_pid FROM jobs"), pid);
    request(&f, "j-1", "its process is gone", 0, true);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    expect_query(f.path, "SELECT number, status, class, error, ended_at > 1e9 FROM executions ORDER BY row",
                 "1|succeeded|-|-|0\n2|failed|http_server|503|0\n"
                 "3|cancelled|-|cancelled by grace: its process is gone|1\n"
                 "4|cancelled|-|cancelled by grace: its process is gone|1\n"
                 "5|cancelled|-|cancelled by grace: its process is gone|1\n"
                 "6|cancelled|-|cancelled by grace: its process is gone|1");
    expect_query(f.path, "SELECT status, result_url FROM attempts WHERE execution_id = 'j-1.3'",
                 "waiting_result|https://host.test/r");
    expect_query(f.path, "SELECT state, started_at, ended_at > 1e9 FROM jobs", "cancelled|1000|1");
    expect_query(f.path, "SELECT action, target, author, before, after, reason FROM control_log",
                 "cancel|j-1|grace|{\"state\":\"running\"}|{\"state\":\"cancelled\"}|its process is gone");
    request(&f, "last", "again", 0, false);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM control_log"), 1);
    fixture_remove(&f);
}

/* The same number is not the same process. */
static void who_lives(void **state)
{
    (void)state;
    struct owner self;
    owner_self(&self);
    assert_int_equal(self.pid, getpid());
    assert_true(self.start > 0);
    assert_true(strlen(self.boot) == 36);
    assert_true(owner_alive(&self));
    struct owner recycled = self, rebooted = self, nobody = {0}, init = {.pid = 1, .start = -1};
    recycled.start--;
    rebooted.boot[0] = rebooted.boot[0] == 'a' ? 'b' : 'a';
    snprintf(init.boot, sizeof init.boot, "%s", self.boot);
    assert_false(owner_alive(&recycled));
    assert_false(owner_alive(&rebooted));
    assert_false(owner_alive(&nobody));
    assert_false(owner_alive(&init));
    struct owner nowhere = self; /* its start was never known, and there is no such process */
    nowhere.pid = INT32_MAX;
    nowhere.start = -1;
    assert_false(owner_alive(&nowhere));
}

static void closing_the_store_gives_its_jobs_up(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 3);
    fixture_accept(&f, &p);
    fixture_close(&f);
    request(&f, "j-1", "nobody runs it", 0, true); /* although this process lives on */
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE status = 'cancelled'"), 3);
    fixture_remove(&f);
}

/* What was said to an earlier owner is not said to the next. */
static void old_requests_stay_old(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct heard heard = {0};
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 1, 1, 1);
    fixture_accept(&f, &p);
    request(&f, "j-1", "old", (int)getpid(), true);
    execute(f.path, "UPDATE jobs SET control_from = (SELECT max(id) FROM control_log)");
    request(&f, "j-1", "new", (int)getpid(), true);
    store_watch_control(f.store, "j-1", on_request, &heard);
    while (heard.count == 0)
        fixture_turn(&f);
    assert_int_equal(heard.count, 1);
    assert_string_equal(heard.reason, "new");
    fixture_remove(&f);
}

static void unknown_jobs_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    int pid = 7;
    bool changed = true;
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "survey", 1, 1, 1);
    fixture_accept(&f, &p);
    assert_false(store_request_cancel(f.path, "survay-1", "grace", "", &pid, &changed, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_mentions(err.text, "did you mean survey-1");
    assert_int_equal(pid, 7);
    assert_true(changed);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM control_log"), 0);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_living_owner_hears_and_decides),
        cmocka_unit_test(the_end_of_a_job_ends_its_watch),
        cmocka_unit_test(a_dead_owner_is_stood_in_for),
        cmocka_unit_test(who_lives),
        cmocka_unit_test(closing_the_store_gives_its_jobs_up),
        cmocka_unit_test(old_requests_stay_old),
        cmocka_unit_test(unknown_jobs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
