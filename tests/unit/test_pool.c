/* Blocks hold what was put into them, whoever frees them. */
#include <pthread.h>

#include "base/defs.h"
#include "base/random.h"
#include "held.h"

#define POOL_KEEPS true
#include "base/pool.c"

enum { SLOTS = 200, STEPS = 200000 };

static size_t below(struct rng *rng, size_t n)
{
    return (size_t)(rng_next(rng) % n);
}

static size_t random_size(struct rng *rng)
{
    static const size_t scales[] = {32, FINE_MAX + 64, COARSE_MAX + 1024};
    return below(rng, scales[below(rng, ARRAY_LEN(scales))]);
}

static void blocks_keep_their_bytes(void **state)
{
    (void)state;
    struct held held[SLOTS] = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    pool_begin();
    for (int step = 0; step < STEPS; step++) {
        struct held *h = &held[below(&rng, SLOTS)];
        size_t size = random_size(&rng);
        held_check(h, h->size < size ? h->size : 64 < h->size ? 64 : h->size);
        switch (below(&rng, 4)) {
        case 0:
            pool_free(h->ptr);
            held_forget(h);
            continue;
        case 1:
            pool_free(h->ptr);
            h->ptr = pool_calloc(1, size);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(h->ptr[i], 0);
            break;
        default:
            h->ptr = pool_realloc(h->ptr, size);
            held_check(h, h->size < size ? h->size : size);
        }
        assert_int_equal((uintptr_t)h->ptr % alignof(max_align_t), 0);
        held_fill(h, size);
        assert_true(pool.kept_bytes <= KEPT_MAX_BYTES);
    }
    for (int i = 0; i < SLOTS; i++)
        pool_free(held[i].ptr);
    pool_end();
    assert_int_equal(pool.kept_bytes, 0);
}

static void every_size_fits_its_class(void **state)
{
    (void)state;
    for (size_t size = 0; size <= COARSE_MAX; size++) {
        unsigned class = class_of(size);
        assert_true(class < CLASSES && size_of(class) >= size);
        assert_int_equal(class_of(size_of(class)), class);
        assert_true(class == 0 || size_of(class - 1) < size);
    }
}

static void a_freed_block_is_the_next_of_its_size(void **state)
{
    (void)state;
    pool_begin();
    void *first = pool_malloc(100);
    pool_free(first);
    assert_ptr_equal(pool_malloc(112), first);
    pool_free(first);
    void *larger = pool_malloc(113);
    assert_ptr_not_equal(larger, first);
    pool_free(larger);
    pool_end();
}

static void what_is_kept_has_a_maximum(void **state)
{
    (void)state;
    static void *many[KEPT_MAX_BYTES / COARSE_MAX + 100];
    pool_begin();
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = pool_malloc(COARSE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        pool_free(many[i]);
    assert_int_equal(pool.kept_bytes, KEPT_MAX_BYTES);
    pool_end();
}

static void *free_and_allocate(void *ptr)
{
    pool_free(ptr);
    assert_int_equal(pool.kept_bytes, 0);
    return pool_strdup("made elsewhere");
}

static void blocks_may_cross_threads(void **state)
{
    (void)state;
    pthread_t thread;
    void *back;
    pool_begin();
    assert_int_equal(pthread_create(&thread, NULL, free_and_allocate, pool_strdup("made here")), 0);
    assert_int_equal(pthread_join(thread, &back), 0);
    assert_string_equal(back, "made elsewhere");
    pool_free(back);
    assert_true(pool.kept_bytes > 0);
    pool_end();
}

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    volatile size_t huge = SIZE_MAX;
    assert_null(pool_malloc(huge));
    assert_null(pool_malloc(huge / 2 - 4));
    assert_null(pool_calloc(huge / 2, 3));
    void *ptr = pool_malloc(10), *large = pool_malloc(COARSE_MAX * 2);
    assert_null(pool_realloc(ptr, huge));
    assert_null(pool_realloc(large, huge - 8));
    pool_free(ptr);
    pool_free(large);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes),
        cmocka_unit_test(every_size_fits_its_class),
        cmocka_unit_test(a_freed_block_is_the_next_of_its_size),
        cmocka_unit_test(what_is_kept_has_a_maximum),
        cmocka_unit_test(blocks_may_cross_threads),
        cmocka_unit_test(absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
