/* random.h -- a small seeded generator: the same seed gives the same numbers everywhere. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline void rng_seed(struct rng *r, uint64_t seed)
{
    r->state = seed;
}

uint64_t rng_next(struct rng *r);                        /* SplitMix64 (Steele, Lea, Flood 2014) */
double rng_unit(struct rng *r);                          /* [0, 1) */
double rng_between(struct rng *r, double low, double high);
double rng_lognormal(struct rng *r, double median, double sigma);
uint64_t rng_hash(uint64_t seed, const char *text);      /* a seed of its own for each name */
uint64_t rng_entropy(void);                              /* from the kernel, not reproducible */

/* A pseudo-random permutation of [0, n): the image of i. O(1) memory; a Feistel
 * network with cycle walking (Black and Rogaway 2002). */
uint64_t rng_permute(uint64_t seed, uint64_t n, uint64_t i);

#endif
