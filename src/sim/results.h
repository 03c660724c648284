/* results.h -- numbers for things to be asked about later: never used twice, so that a stale one is known for stale. */
#ifndef SIM_RESULTS_H
#define SIM_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

enum { RESULT_ID_BYTES = 32 };

struct results {
    struct results_slot *slots;
    uint32_t count, cap, first_free; /* first_free: index + 1, 0: none */
};

void results_done(struct results *r); /* a zeroed struct is an empty one */
uint64_t results_issue(struct results *r, void *what); /* never 0 */
void results_release(struct results *r, uint64_t id);  /* 0 is a no-op */
void *results_find(const struct results *r, uint64_t id); /* NULL: not there (any more) */
bool results_issued(const struct results *r, uint64_t id); /* it is, or was, somebody's */

/* The text a client knows a result by. instance: those of another fleet are nobody's here. */
void result_id_write(uint32_t instance, uint64_t id, char out[RESULT_ID_BYTES]);
uint64_t result_id_read(uint32_t instance, const char *text); /* 0: not one of ours */

#endif
