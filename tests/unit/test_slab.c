/* Blocks hold what was put into them, and the pieces they are cut from have a maximum. */
#include "base/defs.h"
#include "base/random.h"
#include "held.h"

#define SLAB_CUTS true
#include "base/slab.c"

enum { SLOTS = 300, STEPS = 200000, PLENTY = 64 << 20 };

static size_t random_size(struct rng *rng)
{
    static const size_t scales[] = {40, SLAB_BLOCK_MAX, 2 * SLAB_BLOCK_MAX, 5000};
    return 1 + (size_t)(rng_next(rng) % scales[rng_next(rng) % ARRAY_LEN(scales)]);
}

static void blocks_keep_their_bytes(void **state)
{
    (void)state;
    struct held held[SLOTS] = {0};
    struct slab slab;
    struct rng rng;
    rng_seed(&rng, 7);
    slab_init(&slab, PLENTY);
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
    struct slab slab;
    slab_init(&slab, PLENTY);
    void *first = slab_malloc(&slab, 100);
    slab_free(&slab, first, 100);
    assert_ptr_not_equal(slab_malloc(&slab, 113), first);
    assert_ptr_equal(slab_malloc(&slab, 112), first);
    slab_done(&slab);
}

/* Small blocks, all freed, and then larger ones: what the small ones took is spent. */
static void pieces_have_a_maximum(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    static void *small[MOST / 16];
    struct slab slab;
    size_t count = 0;
    slab_init(&slab, MOST);
    while ((small[count] = slab_malloc(&slab, 16)))
        count++;
    assert_true(slab.piece_bytes <= MOST && count * 16 > MOST / 2);
    for (size_t i = 0; i < count; i++)
        slab_free(&slab, small[i], 16);
    assert_non_null(slab_malloc(&slab, 16));
    assert_null(slab_malloc(&slab, SLAB_BLOCK_MAX));
    slab_done(&slab);
}

/* Lua has no answer to a shrinking that fails. */
static void less_can_always_be_had(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, 0);
    unsigned char *large = slab_malloc(&slab, 3000);
    assert_non_null(large);
    assert_null(slab_malloc(&slab, 100));
    memset(large, 7, 3000);
    large = slab_realloc(&slab, large, 3000, 200);
    assert_non_null(large);
    large = slab_realloc(&slab, large, 200, 20);
    assert_non_null(large);
    held_check(&(struct held){large, 7, 20}, 20);
    slab_free(&slab, large, 20);
    slab_done(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes),
        cmocka_unit_test(a_freed_block_is_the_next_of_its_size),
        cmocka_unit_test(pieces_have_a_maximum),
        cmocka_unit_test(less_can_always_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
