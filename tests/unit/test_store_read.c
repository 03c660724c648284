/* Reads on the store's own thread: in order, told on the loop thread, and never lost. */
#include "store_fixture.h"

#include <pthread.h>

struct counted {
    struct fixture *fixture;
    pthread_t loop_thread;
    int worked, done, without;
    int64_t jobs;
};

static bool take_count(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct counted *c = ctx;
    (void)columns, (void)names;
    c->jobs = v[0].integer;
    return true;
}

static void work(void *ctx, struct reader *reader, const struct err *error)
{
    struct counted *c = ctx;
    assert_false(pthread_equal(pthread_self(), c->loop_thread));
    c->worked++;
    if (!reader) {
        assert_true(error->text[0] != '\0');
        c->without++;
        return;
    }
    struct err err;
    assert_true(reader_sql(reader, "SELECT count(*) FROM jobs", NULL, 0, 0, take_count, c, &err));
}

static void done(void *ctx)
{
    struct counted *c = ctx;
    assert_true(pthread_equal(pthread_self(), c->loop_thread));
    c->done++;
    assert_true(c->worked >= c->done);
}

static void reads_see_what_is_durable(void **state)
{
    (void)state;
    struct fixture f;
    struct small_plan p;
    fixture_folder(&f);
    fixture_open(&f);
    struct counted c = {.fixture = &f, .loop_thread = pthread_self()};
    small_plan_init(&p, "j", 1, 1, 3);
    for (int i = 1; i <= 3; i++) {
        fixture_accept(&f, &p);
        assert_true(store_read(f.store, work, done, &c));
        while (c.done < i)
            fixture_turn(&f);
        assert_int_equal(c.jobs, i);
    }
    fixture_close(&f);
    fixture_remove(&f);
    assert_int_equal(c.without, 0);
}

static void there_is_a_limit_and_closing_tells_all(void **state)
{
    (void)state;
    struct fixture f;
    fixture_folder(&f);
    fixture_open(&f);
    struct counted c = {.fixture = &f, .loop_thread = pthread_self()};
    int taken = 0;
    while (taken < 10000 && store_read(f.store, work, done, &c))
        taken++;
    assert_true(taken < 10000);
    assert_int_equal(c.done, 0);
    fixture_close(&f);
    fixture_remove(&f);
    assert_int_equal(c.done, taken);
    assert_int_equal(c.worked, taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_see_what_is_durable),
        cmocka_unit_test(there_is_a_limit_and_closing_tells_all),
    };
    return cmocka_run_group_tests_name("store_read", tests, NULL, NULL);
}
