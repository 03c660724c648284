#include "base/random.h"

#include <assert.h>
#include <math.h>
#include <sys/random.h>

static const uint64_t GOLDEN = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t rng_next(struct rng *r)
{
    return mix(r->state += GOLDEN);
}

double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

double rng_between(struct rng *r, double low, double high)
{
    return low + (high - low) * rng_unit(r);
}

double rng_lognormal(struct rng *r, double median, double sigma)
{
    static const double two_pi = 6.283185307179586;
    /* Box and Muller; one of the two normals is thrown away so that a draw never depends on the one before it. */
    double radius = sqrt(-2 * log(1 - rng_unit(r)));
    return median * exp(sigma * radius * cos(two_pi * rng_unit(r)));
}

uint64_t rng_hash(uint64_t seed, const char *text)
{
    uint64_t h = mix(seed + GOLDEN) ^ UINT64_C(0xCBF29CE484222325); /* FNV-1a from a start of the seed's own */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001B3);
    return mix(h);
}

uint64_t rng_entropy(void)
{
    uint64_t value;
    int failed = getentropy(&value, sizeof value);
    assert(!failed);
    return value;
}

/* One pass over pairs of `half` bits each. Eight rounds: the halves may be one bit wide, where a round mixes little. */
static uint64_t feistel(uint64_t seed, unsigned half, uint64_t x)
{
    uint64_t mask = (UINT64_C(1) << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 1; round <= 8; round++) {
        uint64_t next = left ^ (mix(mix(seed + round * GOLDEN) ^ right) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t rng_permute(uint64_t seed, uint64_t n, uint64_t i)
{
    assert(i < n);
    unsigned half = 1;
    while (half < 32 && (n - 1) >> (2 * half))
        half++;
    /* What lands outside [0, n) is sent on: the walk stays on i's own cycle and so comes back inside. */
    do
        i = feistel(seed, half, i);
    while (i >= n);
    return i;
}
