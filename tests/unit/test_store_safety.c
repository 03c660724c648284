/* What the store does when the world is against it: wrong files, locks, kills, full disks. */
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

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void write_database(const char *path, const char *sql)
{
    struct err err = {0};
    struct db *db = db_open(path, DB_CREATE, 1000, &err);
    if (!db || !db_exec(db, sql, &err))
        fail_msg("%s", err.text);
    db_close(db);
}

static void make_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_text(const char *path)
{
    static const char text[] = "These are notes about the questions, and no database at all. They go on for a while, "
                               "so that the file is longer than any header it could be taken for.\n";
    write_file(path, text, sizeof text - 1);
}

static void make_foreign(const char *path)
{
    write_database(path, "CREATE TABLE notes(text)");
}

static void make_foreign_with_version(const char *path)
{
    write_database(path, "PRAGMA application_id = 77; PRAGMA user_version = 1");
}

static void make_newer(const char *path)
{
    struct fixture f;
    fixture_folder(&f);
    fixture_open(&f);
    fixture_close(&f);
    assert_int_equal(rename(f.path, path), 0);
    fixture_remove(&f);
    write_database(path, "PRAGMA user_version = 99");
}

static void make_truncated(const char *path)
{
    struct fixture f;
    fixture_folder(&f);
    fixture_open(&f);
    fixture_close(&f);
    assert_int_equal(truncate(f.path, 40), 0);
    assert_int_equal(rename(f.path, path), 0);
    fixture_remove(&f);
}

static void make_pipe(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void wrong_files_are_refused_and_left_alone(void **state)
{
    (void)state;
    static const struct {
        void (*make)(const char *path);
        const char *mentions;
    } cases[] = {
        {make_folder, "is a folder"},
        {make_text, "not a canvass database"},
        {make_foreign, "another program"},
        {make_foreign_with_version, "another program"},
        {make_newer, "newer canvass"},
        {make_truncated, "damaged"},
        {make_pipe, "not a regular file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        struct err err = {0};
        struct stat before, after;
        int pid;
        bool changed;
        fixture_folder(&f);
        cases[i].make(f.path);
        assert_int_equal(stat(f.path, &before), 0);
        assert_false(fixture_try_open(&f, f.path, 1000, &err));
        assert_int_equal(err.code, ERR_STORE);
        assert_mentions(err.text, cases[i].mentions);
        assert_mentions(err.text, f.path);
        assert_null(reader_open(f.path, &err));
        assert_mentions(err.text, cases[i].mentions);
        assert_false(store_request_cancel(f.path, "j-1", "me", "why", &pid, &changed, &err));
        assert_mentions(err.text, cases[i].mentions);
        assert_int_equal(stat(f.path, &after), 0);
        assert_int_equal(before.st_size, after.st_size);
        assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
        rmdir(f.path);
        fixture_remove(&f);
    }
}

static void missing_things_are_named(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    char path[160];
    int pid;
    bool changed;
    fixture_folder(&f);
    snprintf(path, sizeof path, "%s/none/canvass.db", f.folder);
    assert_false(fixture_try_open(&f, path, 1000, &err));
    assert_mentions(err.text, "no folder");
    assert_false(fixture_try_open(&f, "", 1000, &err));
    assert_mentions(err.text, "no name");
    assert_null(reader_open(f.path, &err));
    assert_mentions(err.text, "no database");
    assert_false(store_request_cancel(f.path, "j-1", "me", "why", &pid, &changed, &err));
    assert_mentions(err.text, "no database");
    assert_int_equal(access(f.path, F_OK), -1); /* looking for a file does not make it */

    write_file(f.path, "", 0); /* an empty file holds nothing that could be lost */
    assert_null(reader_open(f.path, &err));
    fixture_open(&f);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM jobs"), 0);
    fixture_remove(&f);
}

static void a_read_only_place_is_refused(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip(); /* nothing is read-only to root */
    struct fixture f;
    struct err err = {0};
    fixture_folder(&f);
    assert_int_equal(chmod(f.folder, 0500), 0);
    assert_false(fixture_try_open(&f, f.path, 1000, &err));
    assert_mentions(err.text, "cannot be written to");
    assert_int_equal(chmod(f.folder, 0700), 0);
    fixture_open(&f);
    fixture_close(&f);
    assert_int_equal(chmod(f.path, 0400), 0);
    assert_false(fixture_try_open(&f, f.path, 1000, &err));
    assert_mentions(err.text, "cannot be written to");
    fixture_remove(&f);
}

/* Bytes in the middle are overwritten while nobody has the file open. */
static void damage_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    fixture_folder(&f);
    fixture_open(&f);
    small_plan_init(&p, "j", 16, 4, 6);
    fixture_accept(&f, &p);
    fixture_close(&f);
    int fd = open(f.path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char junk[16384];
    memset(junk, 0xa5, sizeof junk);
    for (off_t page = 2; page < 12; page++)
        assert_int_equal(pwrite(fd, junk, sizeof junk, page * (off_t)sizeof junk), sizeof junk);
    close(fd);

    bool told = false;
    struct reader *r = reader_open(f.path, &err);
    struct job_summary s;
    told = !r || !reader_job(r, "last", &s, &err);
    assert_true(told);
    assert_int_equal(err.code, ERR_STORE);
    assert_mentions(err.text, "damaged");
    reader_close(r);
    fixture_remove(&f);
}

static void a_lock_held_too_long_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    fixture_folder(&f);
    fixture_open(&f);
    fixture_close(&f);
    struct db *other = db_open(f.path, DB_EXISTING, 1000, &err);
    assert_non_null(other);
    assert_true(db_begin(other, &err));
    assert_false(fixture_try_open(&f, f.path, 20, &err));
    assert_mentions(err.text, "locked");
    db_rollback(other);

    assert_true(fixture_try_open(&f, f.path, 20, &err)); /* and in the middle of a job whose host wants to end */
    small_plan_init(&p, "j", 1, 1, 1);
    fixture_accept(&f, &p);
    assert_true(db_begin(other, &err));
    struct attempt_began began = a_beginning(1, 1);
    uint64_t number = f.recorder.attempt_began(f.recorder.ctx, &began);
    store_flush(f.store);
    store_hurry(f.store);
    fixture_wait(&f, number);
    assert_int_equal(f.failures, 1);
    assert_mentions(f.failure.text, "locked");
    db_rollback(other);
    db_close(other);

    /* The lock is gone, and still nothing is written: a hole in the record would be worse. */
    began = a_beginning(1, 2);
    f.recorder.attempt_began(f.recorder.ctx, &began);
    store_flush(f.store);
    f.answered = false;
    store_accept(f.store, &p.plan, &(struct submission){.author = "me"}, fixture_accepted, &f);
    while (!f.answered)
        fixture_turn(&f);
    assert_true(f.accept_failed);
    assert_int_equal(f.failures, 1);
    assert_true(f.durable < number);
    assert_false(store_close(f.store, &err));
    f.store = NULL;
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts"), 0);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM jobs"), 1);
    fixture_remove(&f);
}

/* However long it takes, nothing of what was recorded is lost, and the host hears what is waited for. */
static void a_lock_in_mid_run_is_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    fixture_folder(&f);
    assert_true(fixture_try_open(&f, f.path, 20, &err));
    small_plan_init(&p, "j", 1, 1, 1);
    fixture_accept(&f, &p);
    struct db *other = db_open(f.path, DB_EXISTING, 1000, &err);
    assert_true(db_begin(other, &err));
    struct attempt_began began = a_beginning(1, 1);
    struct attempt_ended end = an_end(1, 1, STATUS_SUCCEEDED);
    int64_t before_us = mono_now_us();
    f.recorder.attempt_began(f.recorder.ctx, &began);
    store_flush(f.store);
    uint64_t number = f.recorder.attempt_ended(f.recorder.ctx, &end);
    store_flush(f.store);
    while (!f.locked_calls)
        fixture_turn(&f);
    assert_true(f.locked_since_us >= before_us && f.locked_since_us <= mono_now_us());
    assert_int_equal(f.durable, 0);
    db_rollback(other);
    db_close(other);
    fixture_wait(&f, number);
    assert_int_equal(f.failures, 0);
    assert_int_equal(f.locked_calls, 2);
    assert_int_equal(f.locked_since_us, 0);
    fixture_close(&f);
    expect_query(f.path, "SELECT status FROM executions", "succeeded");
    fixture_remove(&f);
}

/* What is written to a file without a name is never found again, so nothing more is reported as kept. */
static void a_database_that_is_taken_away_is_an_error(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        struct small_plan p;
        struct err err = {0};
        char away[128];
        fixture_folder(&f);
        fixture_open(&f);
        small_plan_init(&p, "j", 1, 1, 1);
        fixture_accept(&f, &p);
        struct attempt_began began = a_beginning(1, 1);
        fixture_wait(&f, f.recorder.attempt_began(f.recorder.ctx, &began));
        assert_int_equal(f.failures, 0);

        snprintf(away, sizeof away, "%s.away", f.path);
        assert_int_equal(how == 0 ? unlink(f.path) : rename(f.path, away), 0);
        if (how == 2)
            write_file(f.path, "", 0);
        struct attempt_ended end = an_end(1, 1, STATUS_SUCCEEDED);
        uint64_t number = f.recorder.attempt_ended(f.recorder.ctx, &end);
        fixture_wait(&f, number);
        assert_int_equal(f.failures, 1);
        assert_true(f.durable < number);
        assert_mentions(f.failure.text, "removed, renamed or replaced");
        assert_mentions(f.failure.text, f.path);
        assert_false(store_close(f.store, &err));
        f.store = NULL;
        if (how > 0)
            unlink(away);
        fixture_remove(&f);
    }
}

static void cut(const char *path, off_t bytes)
{
    assert_int_equal(truncate(path, bytes), 0);
}

static void put_anew(const char *path, off_t bytes)
{
    (void)bytes;
    unlink(path);
    write_file(path, "", 0);
}

/* A job of many pages whose log has been copied into the file, and something in the log again. */
static void open_in_mid_run(struct fixture *f, struct small_plan *p)
{
    struct err err = {0};
    fixture_folder(f);
    fixture_open(f);
    small_plan_init(p, "j", 16, 4, 6);
    fixture_accept(f, p);
    struct db *other = db_open(f->path, DB_EXISTING, 1000, &err);
    assert_true(db_exec(other, "PRAGMA wal_checkpoint(PASSIVE)", &err));
    db_close(other);
    struct attempt_began began = a_beginning(1, 1);
    fixture_wait(f, f->recorder.attempt_began(f->recorder.ctx, &began));
    assert_int_equal(f->failures, 0);
}

/* Whatever is done to the files behind the writer's back is noticed at the next record, or without one. */
static void files_that_are_spoiled_in_mid_run_are_noticed(void **state)
{
    (void)state;
    static const struct {
        const char *suffix;
        void (*spoil)(const char *path, off_t bytes);
        off_t bytes;
        bool idle;
        const char *words;
    } rows[] = {
        {"", cut, 0, false, "database was cut short"},
        {"", cut, 40000, false, "database was cut short"},
        {"-wal", cut, 0, false, "-wal file was cut short"},
        {"-wal", cut, 5000, false, "-wal file was cut short"},
        {"-wal", put_anew, 0, false, "-wal file was removed, renamed or replaced"},
        {"", cut, 0, true, "database was cut short"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct small_plan p;
        struct err err = {0};
        char path[128];
        open_in_mid_run(&f, &p);
        uint64_t durable = f.durable;
        snprintf(path, sizeof path, "%s%s", f.path, rows[i].suffix);
        rows[i].spoil(path, rows[i].bytes);
        struct attempt_began began = a_beginning(2, 1);
        if (!rows[i].idle)
            f.recorder.attempt_began(f.recorder.ctx, &began);
        store_flush(f.store);
        while (f.failures == 0)
            fixture_turn(&f);
        assert_int_equal(f.durable, durable);
        assert_mentions(f.failure.text, rows[i].words);
        assert_mentions(f.failure.text, f.path);
        assert_false(store_close(f.store, &err));
        f.store = NULL;
        fixture_remove(&f);
    }
}

/* Files become shorter for good reasons, too. */
static void a_database_that_is_tidied_up_is_no_error(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    struct err err = {0};
    open_in_mid_run(&f, &p);
    struct db *other = db_open(f.path, DB_EXISTING, 1000, &err);
    struct stat before, after;
    assert_true(db_exec(other, "CREATE TABLE big(x); INSERT INTO big VALUES (zeroblob(3000000)); DROP TABLE big;"
                               "PRAGMA wal_checkpoint(TRUNCATE)", &err));
    struct attempt_began began = a_beginning(2, 1);
    fixture_wait(&f, f.recorder.attempt_began(f.recorder.ctx, &began));
    assert_int_equal(stat(f.path, &before), 0);
    assert_true(db_exec(other, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", &err));
    assert_int_equal(stat(f.path, &after), 0);
    assert_true(after.st_size < before.st_size - 2000000);
    db_close(other);
    for (int row = 3; row < 6; row++) {
        began = a_beginning(row, 1);
        fixture_wait(&f, f.recorder.attempt_began(f.recorder.ctx, &began));
    }
    assert_int_equal(f.failures, 0);
    fixture_close(&f);
    assert_int_equal(query_int(f.path, "SELECT count(*) FROM attempts"), 5);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_files_are_refused_and_left_alone),
        cmocka_unit_test(missing_things_are_named),
        cmocka_unit_test(a_read_only_place_is_refused),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(a_lock_held_too_long_is_an_error),
        cmocka_unit_test(a_lock_in_mid_run_is_waited_for),
        cmocka_unit_test(a_database_that_is_taken_away_is_an_error),
        cmocka_unit_test(files_that_are_spoiled_in_mid_run_are_noticed),
        cmocka_unit_test(a_database_that_is_tidied_up_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
