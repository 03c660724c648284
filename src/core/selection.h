/* selection.h -- a part of a plan, in an order: what a policy hands about.
 *
 * A selection is a product too: some questions x some samples x some endpoints,
 * each an ordered list, so it costs nothing per execution. The order inside it
 * decides who goes first; it is applied per endpoint (each endpoint has its own
 * line), and the endpoints' own order decides between lines.
 *
 * Selections are immutable and counted by their owner; each function returns a
 * new one. */
#ifndef CORE_SELECTION_H
#define CORE_SELECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/plan.h"

enum key { KEY_QUESTION, KEY_SAMPLE, KEY_MODEL, KEY_REGION, KEY_ENDPOINT, KEY_COUNT };

struct selection {
    const struct plan *plan;              /* borrowed */
    uint32_t *questions, *samples, *endpoints; /* positions in the plan, in order */
    uint32_t question_count, sample_count, endpoint_count;
    bool sample_outside;  /* samples vary slower than questions (interleave "question") */
    bool shuffled;        /* each line in a random order of its own */
    uint64_t seed;
    bool rotated;         /* each line starts `its position in the plan` questions further on */
    bool endpoints_rotated; /* a part by question starts `its position in the plan` endpoints further on */
};

struct selection *selection_all(const struct plan *plan);
struct selection *selection_copy(const struct selection *s);
void selection_free(struct selection *s); /* NULL is a no-op */

static inline uint64_t selection_count(const struct selection *s)
{
    return (uint64_t)s->question_count * s->sample_count * s->endpoint_count;
}

bool selection_contains(const struct selection *s, struct cell c);

/* How many executions one endpoint's line has: the same for each endpoint. */
static inline uint64_t selection_line_count(const struct selection *s)
{
    return (uint64_t)s->question_count * s->sample_count;
}

/* The i-th execution of endpoint position `endpoint`'s line. */
struct cell selection_line_at(const struct selection *s, uint32_t endpoint, uint64_t i);

/* Parts by key, in order of first appearance. part 0 .. count-1. The label is the
 * question id, sample number from 1, model, region or endpoint id; it is written to `label`. */
uint32_t selection_part_count(const struct selection *s, enum key key);
struct selection *selection_part(const struct selection *s, enum key key, uint32_t part, char label[256]);

/* Keeps only what matches; an unknown name keeps nothing. For `plan:where{...}` and retry. */
struct selection *selection_where(const struct selection *s, enum key key, const char *label);

/* A random order, the same for the same seed: of questions, samples and endpoints, and inside each line. */
struct selection *selection_shuffle(const struct selection *s, uint64_t seed);

/* Values of `key` take turns: for region and model the endpoints' order alternates between
 * them; for question the questions vary fastest; for sample the samples. */
struct selection *selection_interleave(const struct selection *s, enum key key);

/* Blocked Latin square (Fisher 1935; Bailey, Design of Comparative Experiments, 2008, ch. 6): for
 * key question each endpoint walks the questions from another start, so that over the endpoints each
 * question stands in each position as often as can be; for endpoint, region or model the endpoints' order
 * is rotated by the first question's position. The seed picks the square by permuting its symbols. */
struct selection *selection_rotate(const struct selection *s, enum key key, uint64_t seed);

bool key_parse(const char *text, enum key *out);
const char *key_name(enum key key);

#endif
