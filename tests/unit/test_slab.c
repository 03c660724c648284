/* Blocks hold what was put into them, in the room and out of it. */
#include "base/defs.h"
#include "base/random.h"
#include "held.h"

#define SLAB_CUTS true
#include "base/slab.c"

enum { SLOTS = 300, STEPS = 100000, PLENTY = 64 << 20 };

static size_t random_size(struct rng *rng)
{
    static const size_t scales[] = {40, SLAB_BLOCK_MAX, 2 * SLAB_BLOCK_MAX, 5000};
    return 1 + (size_t)(rng_next(rng) % scales[rng_next(rng) % ARRAY_LEN(scales)]);
}

static void walk(struct slab *slab)
{
    struct held held[SLOTS] = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    for (int step = 0; step < STEPS; step++) {
        struct held *h = &held[rng_next(&rng) % SLOTS];
        size_t size = random_size(&rng), kept = h->size < size ? h->size : size;
        held_check(h, h->size);
        if (rng_next(&rng) % 3 == 0) {
            slab_free(slab, h->ptr, h->size);
            held_forget(h);
            continue;
        }
        h->ptr = slab_realloc(slab, h->ptr, h->size, size);
        assert_non_null(h->ptr);
        assert_int_equal((uintptr_t)h->ptr % alignof(max_align_t), 0);
        held_check(h, kept);
        held_fill(h, size);
    }
    for (int i = 0; i < SLOTS; i++)
        slab_free(slab, held[i].ptr, held[i].size);
}

/* With room for all, for some, and without. */
static void blocks_keep_their_bytes(void **state)
{
    (void)state;
    static const size_t rooms[] = {PLENTY, 16 << 10, 0};
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct slab slab;
        slab_init(&slab, rooms[i]);
        assert_int_equal(slab.room != NULL, rooms[i] > 0);
        walk(&slab);
        assert_int_equal(slab.at == slab.end, rooms[i] < PLENTY);
        slab_done(&slab);
    }
}

static void a_freed_block_is_the_next_of_its_size(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, PLENTY);
    void *first = slab_malloc(&slab, 100);
    slab_free(&slab, first, 100);
    assert_ptr_not_equal(slab_malloc(&slab, 113), first);
    assert_ptr_equal(slab_malloc(&slab, 112), first);
    slab_done(&slab);
}

/* Lua goes on with a block that could not be made smaller, and frees it as the smaller one. */
static void a_block_may_be_larger_than_it_is_freed_as(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, PLENTY);
    void *large = slab_malloc(&slab, 3000), *cut = slab_malloc(&slab, 500);
    slab_free(&slab, large, 20);
    slab_free(&slab, cut, 20);
    assert_ptr_equal(slab_malloc(&slab, 20), cut);
    slab_done(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes),
        cmocka_unit_test(a_freed_block_is_the_next_of_its_size),
        cmocka_unit_test(a_block_may_be_larger_than_it_is_freed_as),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
