/* What the store does beside other processes, when it is killed, and when the disk is full. */
#include "store_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/random.h"
#include "base/timeutil.h"
#include "store/sqlite.h"

static pid_t run_child(int (*run)(struct fixture *f, int out), struct fixture *f, int *read_end)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed check must not go on with the next test in here */
        close(ends[0]);
        _exit(run(f, ends[1]));
    }
    close(ends[1]);
    *read_end = ends[0];
    return pid;
}

static void expect_exit(pid_t pid, int code)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

/* Attempt i of the plan's rows, walked round and round. */
static uint64_t record_nth(struct fixture *f, uint64_t i, uint64_t rows)
{
    struct attempt_began began = a_beginning(f->accepted.first_row + (int64_t)(i % rows), (unsigned)(i / rows) + 1);
    return f->recorder.attempt_began(f->recorder.ctx, &began);
}

enum { JOBS_EACH = 8, CREATIONS = 25, RECORDS_EACH = 40, WRITERS = 4 };

/* In a child: waits until the parent says so, over what becomes the wake descriptor. */
static void open_with_others(struct fixture *f)
{
    char go;
    if (read(f->wake_fd, &go, 1) < 0)
        _exit(1);
    f->wake_fd = eventfd(0, EFD_CLOEXEC);
    fixture_open(f);
}

static int only_create(struct fixture *f, int out)
{
    (void)out;
    open_with_others(f);
    fixture_close(f);
    return f->failures;
}

static int write_beside_others(struct fixture *f, int out)
{
    struct small_plan p;
    (void)out;
    open_with_others(f);
    small_plan_init(&p, "shared", 2, 1, 6);
    for (int i = 0; i < JOBS_EACH; i++) {
        fixture_accept(f, &p);
        for (uint64_t n = 0; n < RECORDS_EACH; n++) {
            uint64_t number = record_nth(f, n, p.plan.count);
            if (n % 10 == 0)
                fixture_wait(f, number);
        }
    }
    fixture_close(f);
    return f->failures;
}

static void run_at_once(struct fixture *f, int (*run)(struct fixture *f, int out))
{
    int go[2], ends[WRITERS];
    pid_t pids[WRITERS];
    assert_int_equal(pipe(go), 0);
    struct fixture child = *f;
    child.wake_fd = go[0];
    for (int i = 0; i < WRITERS; i++)
        pids[i] = run_child(run, &child, &ends[i]);
    assert_int_equal(write(go[1], "1234", WRITERS), WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        expect_exit(pids[i], 0);
        close(ends[i]);
    }
    close(go[0]);
    close(go[1]);
}

/* On a file that does not exist yet. One of them makes the tables, and none takes the file for something else. */
static void processes_create_a_file_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < CREATIONS; i++) {
        struct fixture f;
        fixture_folder(&f);
        run_at_once(&f, only_create);
        assert_int_equal(query_int(f.path, "SELECT count(*) FROM jobs"), 0);
        fixture_remove(&f);
    }
}

/* None loses anything, and no id is given twice. */
static void processes_share_a_file(void **state)
{
    (void)state;
    struct fixture f;
    fixture_folder(&f);
    run_at_once(&f, write_beside_others);
    assert_int_equal(query_int(f.path, "SELECT count(DISTINCT id) FROM jobs"), WRITERS * JOBS_EACH);
    assert_int_equal(query_int(f.path, "SELECT max(number) FROM jobs"), WRITERS * JOBS_EACH);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions"), WRITERS * JOBS_EACH * 12);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts JOIN executions ON executions.id = execution_id"),
                     WRITERS * JOBS_EACH * RECORDS_EACH);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM region_revisions"), 1);
    expect_query(f.path, "PRAGMA integrity_check", "ok");
    fixture_remove(&f);
}

static int write_until_killed(struct fixture *f, int out)
{
    struct small_plan p;
    fixture_open(f);
    small_plan_init(&p, "doomed", 16, 4, 6);
    fixture_accept(f, &p);
    uint64_t told = 0;
    for (uint64_t i = 0; i < 384 * 1000; i++) {
        uint64_t number = record_nth(f, i, p.plan.count);
        if (i % 5 == 0)
            store_flush(f->store);
        store_poll(f->store);
        if (number - f->durable > 2000)
            fixture_wait(f, number - 1000); /* as the loop would: only so much is in flight */
        if (f->durable == told)
            continue;
        told = f->durable;
        if (write(out, &told, sizeof told) != sizeof told)
            return 1;
    }
    return 2;
}

static void a_kill_loses_nothing_that_was_reported(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 11);
    for (int round = 0; round < 6; round++) {
        struct fixture f;
        struct err err = {0};
        int end;
        fixture_folder(&f);
        uint64_t enough = 1 + rng_next(&rng) % 4000, reported = 0, next;
        pid_t pid = run_child(write_until_killed, &f, &end);
        while (reported < enough && read(end, &next, sizeof next) == sizeof next)
            reported = next;
        assert_true(reported >= enough);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(end, &next, sizeof next) == sizeof next)
            reported = next;
        close(end);

        fixture_open(&f); /* by a writer, as resume does */
        expect_query(f.path, "PRAGMA integrity_check", "ok");
        int64_t kept = query_int(f.path, "SELECT count(*) FROM attempts");
        assert_true(kept >= (int64_t)reported);
        /* Nothing of what is there came after something that is missing. */
        assert_int_equal(query_int(f.path, "SELECT max((row / 1024 - 1) + (row % 1024 - 1) * 384) + 1 FROM attempts"),
                         kept);
        assert_int_equal(query_int(f.path, "SELECT sum(attempts) FROM (SELECT attempts FROM executions)"), kept);
        if (!store_close(f.store, &err))
            fail_msg("%s", err.text);
        f.store = NULL;
        fixture_remove(&f);
    }
}

/* Records large texts until the disk gives out; tells the number that was reported durable. */
static int fill_the_disk(struct fixture *f, int out)
{
    enum { TEXT = 20000 };
    struct small_plan p;
    struct err err = {0};
    char *text = mem_alloc(TEXT);
    memset(text, 'x', TEXT);
    fixture_open(f);
    small_plan_init(&p, "large", 16, 4, 6);
    fixture_accept(f, &p);
    for (int64_t i = 0; i < 384 && f->failures == 0; i++) {
        struct attempt_began began = a_beginning(f->accepted.first_row + i, 1);
        began.request = (struct str){text, TEXT};
        fixture_wait(f, f->recorder.attempt_began(f->recorder.ctx, &began));
    }
    uint64_t durable = f->durable;
    bool once = f->failures == 1;
    bool told = strstr(f->failure.text, f->path) && strstr(f->failure.text, "safe");
    record_nth(f, 0, 384); /* refused in silence: the host knows already */
    store_flush(f->store);
    store_poll(f->store);
    bool closed = store_close(f->store, &err);
    free(text);
    if (write(out, &durable, sizeof durable) != sizeof durable)
        return 1;
    return !once || !told || closed || f->failures != 1 ? 2 : 0;
}

static int fill_a_limited_file(struct fixture *f, int out)
{
    struct rlimit limit = {1500 * 1000, 1500 * 1000};
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) == 0 ? fill_the_disk(f, out) : 3;
}

enum { NO_MOUNT = 77 };

/* A small disk that only this process sees. When it has grown, what was reported is there. */
static int fill_a_small_disk(struct fixture *f, int out)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", f->folder, "tmpfs", 0, "size=2m") != 0)
        return NO_MOUNT;
    int ends[2];
    uint64_t durable;
    if (pipe(ends) != 0)
        return 1;
    int code = fill_the_disk(f, ends[1]);
    if (code != 0 || !strstr(f->failure.text, "disk is full"))
        return 10 + code;
    if (read(ends[0], &durable, sizeof durable) != sizeof durable ||
        mount("none", f->folder, "tmpfs", MS_REMOUNT, "size=64m") != 0)
        return 4;
    (void)out;
    return query_int(f->path, "SELECT count(*) FROM attempts") == (int64_t)durable && durable > 5 ? 0 : 5;
}

static void a_full_disk_is_told_once_and_leaves_no_half(void **state)
{
    (void)state;
    struct fixture f;
    int end;
    uint64_t durable;
    fixture_folder(&f);
    pid_t pid = run_child(fill_a_limited_file, &f, &end);
    expect_exit(pid, 0);
    assert_int_equal(read(end, &durable, sizeof durable), sizeof durable);
    close(end);
    assert_true(durable > 5 && durable < 384);
    expect_query(f.path, "PRAGMA integrity_check", "ok");
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts"), durable);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM executions WHERE status = 'running'"), durable);
    fixture_remove(&f);

    fixture_folder(&f);
    pid = run_child(fill_a_small_disk, &f, &end);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != NO_MOUNT)
        assert_int_equal(WEXITSTATUS(status), 0);
    close(end);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_create_a_file_at_once),
        cmocka_unit_test(processes_share_a_file),
        cmocka_unit_test(a_kill_loses_nothing_that_was_reported),
        cmocka_unit_test(a_full_disk_is_told_once_and_leaves_no_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
