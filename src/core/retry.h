/* retry.h -- when to ask again. */
#ifndef CORE_RETRY_H
#define CORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "core/region_table.h"

/* Full jitter: uniform in [0, min(cap, base * 2^(attempt-1))), attempt from 1 (Brooker, "Exponential Backoff
 * and Jitter", AWS Architecture Blog, 2015). */
int64_t retry_delay_us(const struct retry_rule *rule, unsigned attempt, struct rng *rng);

/* Retry-After (RFC 9110, 10.2.3): seconds or an HTTP date in any of its three forms. A date in the past is
 * 0. False for anything else. Decimal seconds are accepted, as providers send them. */
bool retry_after_parse(const char *value, double now_unix_s, int64_t *wait_us);

/* 202 without Retry-After: the first wait is `poll`, each further one grows by half, up to 15 s. */
int64_t poll_delay_us(int64_t poll_us, unsigned polls_so_far);

#endif
