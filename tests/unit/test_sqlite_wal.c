/* The VFS that gathers what goes into the log: whatever is read back is what was written, by whomever. */
#include "store_fixture.h"

#include "store/sqlite.h"

enum { ROWS = 4000 };

static struct db *open_db(const struct fixture *f, enum db_mode mode)
{
    struct err err;
    struct db *db = db_open(f->path, mode, DB_BUSY_MS, &err);
    if (!db)
        fail_msg("%s", err.text);
    return db;
}

static void run(struct db *db, const char *sql)
{
    struct err err;
    if (!db_exec(db, sql, &err))
        fail_msg("%s", err.text);
}

static int64_t number(struct db *db, const char *sql)
{
    struct err err;
    int64_t n = 0;
    if (!db_int(db, sql, &n, &err))
        fail_msg("%s", err.text);
    return n;
}

/* Rows all over a table that is far larger than the cache: pages are written to the log in mid-transaction, and wanted
 * again while they are still being gathered. */
static void fill(struct db *db)
{
    struct err err;
    struct stmt *st = db_prepare(db, "INSERT INTO t(id, text) VALUES (?1, hex(zeroblob(300)) || ?1)", &err);
    assert_non_null(st);
    for (int i = 1; i <= ROWS; i++) {
        stmt_int(st, 1, i * 7919 % 10007);
        assert_true(stmt_run(st, &err));
    }
    stmt_free(st);
}

static struct db *small_cache(const struct fixture *f)
{
    struct err err;
    struct db *db = open_db(f, DB_CREATE);
    assert_true(db_use_wal(db, &err));
    run(db, "PRAGMA cache_size = 10; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT UNIQUE)");
    return db;
}

static const char whole[] = "SELECT count(*) FROM t WHERE text = hex(zeroblob(300)) || id";

static void what_is_spilled_is_read_back(void **state)
{
    (void)state;
    struct err err;
    struct fixture f;
    fixture_folder(&f);
    struct db *db = small_cache(&f), *reader = open_db(&f, DB_READ);
    assert_true(db_begin(db, &err));
    fill(db);
    assert_int_equal(number(db, whole), ROWS);
    assert_int_equal(number(reader, "SELECT count(*) FROM t"), 0); /* not committed */
    assert_true(db_commit(db, &err));
    assert_int_equal(number(reader, whole), ROWS);                 /* as soon as the commit has returned */
    assert_int_equal(number(reader, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    db_close(reader);
    db_close(db);
    fixture_remove(&f);
}

static void what_is_rolled_back_leaves_nothing(void **state)
{
    (void)state;
    struct err err;
    struct fixture f;
    fixture_folder(&f);
    struct db *db = small_cache(&f);
    for (int i = 0; i < 2; i++) {
        assert_true(db_begin(db, &err));
        fill(db);
        db_rollback(db);
        assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    }
    assert_true(db_begin(db, &err));
    fill(db);
    assert_true(db_commit(db, &err));
    db_close(db);
    db = open_db(&f, DB_READ);
    assert_int_equal(number(db, whole), ROWS);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    db_close(db);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_spilled_is_read_back),
        cmocka_unit_test(what_is_rolled_back_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
