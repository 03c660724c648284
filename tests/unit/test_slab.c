/* Blocks hold what was put into them, cut from pieces or not. */
#include "base/defs.h"
#include "base/random.h"
#include "held.h"

#define SLAB_CUTS true
#include "base/slab.c"

enum { SLOTS = 300, STEPS = 200000 };

static size_t random_size(struct rng *rng)
{
    static const size_t scales[] = {40, SLAB_BLOCK_MAX, 2 * SLAB_BLOCK_MAX, 5000};
    return 1 + (size_t)(rng_next(rng) % scales[rng_next(rng) % ARRAY_LEN(scales)]);
}

static void blocks_keep_their_bytes(void **state)
{
    (void)state;
    struct held held[SLOTS] = {0};
    struct slab slab = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    for (int step = 0; step < STEPS; step++) {
        struct held *h = &held[rng_next(&rng) % SLOTS];
        size_t size = random_size(&rng), kept = h->size < size ? h->size : size;
        held_check(h, h->size);
        if (rng_next(&rng) % 3 == 0) {
            slab_free(&slab, h->ptr, h->size);
            held_forget(h);
            continue;
        }
        h->ptr = slab_realloc(&slab, h->ptr, h->size, size);
        assert_non_null(h->ptr);
        assert_int_equal((uintptr_t)h->ptr % alignof(max_align_t), 0);
        held_check(h, kept);
        held_fill(h, size);
    }
    for (int i = 0; i < SLOTS; i++)
        slab_free(&slab, held[i].ptr, held[i].size);
    slab_done(&slab);
    assert_null(slab.pieces);
}

static void a_freed_block_is_the_next_of_its_size(void **state)
{
    (void)state;
    struct slab slab = {0};
    void *first = slab_malloc(&slab, 100);
    slab_free(&slab, first, 100);
    assert_ptr_not_equal(slab_malloc(&slab, 113), first);
    assert_ptr_equal(slab_malloc(&slab, 112), first);
    slab_done(&slab);
}

static void an_empty_slab_can_be_used_again(void **state)
{
    (void)state;
    struct slab slab = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size <= 2 * SLAB_BLOCK_MAX; size++)
            slab_free(&slab, slab_malloc(&slab, size), size);
        assert_non_null(slab.pieces);
        slab_done(&slab);
        assert_null(slab.pieces);
        assert_int_equal(slab.piece_bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes),
        cmocka_unit_test(a_freed_block_is_the_next_of_its_size),
        cmocka_unit_test(an_empty_slab_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
