#include "core/selection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

static const char *const key_names[KEY_COUNT] = {
    [KEY_QUESTION] = "question", [KEY_SAMPLE] = "sample", [KEY_MODEL] = "model",
    [KEY_REGION] = "region",     [KEY_ENDPOINT] = "endpoint",
};

bool key_parse(const char *text, enum key *out)
{
    for (enum key key = 0; key < KEY_COUNT; key++)
        if (text && strcmp(key_names[key], text) == 0) {
            *out = key;
            return true;
        }
    return false;
}

const char *key_name(enum key key)
{
    return key_names[key];
}

/* ---- birth and death ---- */

static uint32_t *identity(uint32_t count)
{
    uint32_t *list = mem_array(NULL, count, sizeof *list);
    for (uint32_t i = 0; i < count; i++)
        list[i] = i;
    return list;
}

struct selection *selection_all(const struct plan *plan)
{
    struct selection *s = mem_zalloc(sizeof *s);
    *s = (struct selection){
        .plan = plan,
        .questions = identity(plan->question_count),
        .samples = identity(plan->sample_count),
        .endpoints = identity(plan->endpoint_count),
        .question_count = plan->question_count,
        .sample_count = plan->sample_count,
        .endpoint_count = plan->endpoint_count,
    };
    return s;
}

struct selection *selection_copy(const struct selection *s)
{
    struct selection *copy = mem_dup(s, sizeof *s);
    copy->questions = mem_dup(s->questions, s->question_count * sizeof *s->questions);
    copy->samples = mem_dup(s->samples, s->sample_count * sizeof *s->samples);
    copy->endpoints = mem_dup(s->endpoints, s->endpoint_count * sizeof *s->endpoints);
    return copy;
}

void selection_free(struct selection *s)
{
    if (!s)
        return;
    free(s->questions);
    free(s->samples);
    free(s->endpoints);
    free(s);
}

/* ---- what is in it, and where ---- */

static bool listed(const uint32_t *list, uint32_t count, uint32_t whole, uint32_t value)
{
    if (count == whole)
        return value < whole; /* nothing stands in a list twice, so a full one has everything */
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == value)
            return true;
    return false;
}

bool selection_contains(const struct selection *s, struct cell c)
{
    return listed(s->endpoints, s->endpoint_count, s->plan->endpoint_count, c.endpoint) &&
           listed(s->samples, s->sample_count, s->plan->sample_count, c.sample) &&
           listed(s->questions, s->question_count, s->plan->question_count, c.question);
}

/* A seed of its own for each of what one seed orders. */
static uint64_t sub_seed(uint64_t seed, uint64_t which)
{
    struct rng rng;
    rng_seed(&rng, seed ^ which * UINT64_C(0xD1342543DE82EF95));
    return rng_next(&rng);
}

struct cell selection_line_at(const struct selection *s, uint32_t endpoint, uint64_t i)
{
    uint64_t count = selection_line_count(s);
    assert(i < count);
    if (s->shuffled)
        i = rng_permute(sub_seed(s->seed, endpoint), count, i);
    uint64_t question = s->sample_outside ? i % s->question_count : i / s->sample_count;
    uint64_t sample = s->sample_outside ? i / s->question_count : i % s->sample_count;
    if (s->rotated)
        question = (question + endpoint) % s->question_count;
    return (struct cell){.question = s->questions[question], .sample = s->samples[sample], .endpoint = endpoint};
}

/* ---- groups of endpoints: by model, region, or each its own ---- */

static const char *group_name(const struct selection *s, enum key key, uint32_t position)
{
    const struct endpoint_spec *e = plan_endpoint(s->plan, position);
    return key == KEY_MODEL ? e->model : key == KEY_REGION ? s->plan->table->regions[e->region].id : e->id;
}

/* The group each endpoint of the selection belongs to, numbered in order of first appearance. The caller frees. */
static uint32_t *group_all(const struct selection *s, enum key key, uint32_t *count)
{
    uint32_t *groups = mem_array(NULL, s->endpoint_count, sizeof *groups);
    struct map names;
    map_init(&names);
    *count = 0;
    for (uint32_t i = 0; i < s->endpoint_count; i++) {
        struct str name = str_from(group_name(s, key, s->endpoints[i]));
        if (map_add(&names, name, *count))
            groups[i] = (*count)++;
        else
            map_get(&names, name, &groups[i]);
    }
    map_done(&names);
    return groups;
}

static bool is_endpoint_key(enum key key)
{
    return key == KEY_MODEL || key == KEY_REGION || key == KEY_ENDPOINT;
}

/* ---- parts ---- */

uint32_t selection_part_count(const struct selection *s, enum key key)
{
    if (key == KEY_QUESTION)
        return s->question_count;
    if (key == KEY_SAMPLE)
        return s->sample_count;
    uint32_t count;
    free(group_all(s, key, &count));
    return count;
}

static void rotate_left(uint32_t *list, uint32_t count, uint32_t by)
{
    if (count < 2 || by % count == 0)
        return;
    by %= count;
    uint32_t *head = mem_dup(list, by * sizeof *list);
    memmove(list, list + by, (count - by) * sizeof *list);
    memcpy(list + count - by, head, by * sizeof *list);
    free(head);
}

static void keep_group(struct selection *s, enum key key, uint32_t group)
{
    uint32_t count, kept = 0, *groups = group_all(s, key, &count);
    for (uint32_t i = 0; i < s->endpoint_count; i++)
        if (groups[i] == group)
            s->endpoints[kept++] = s->endpoints[i];
    s->endpoint_count = kept;
    free(groups);
}

/* Only what the part keeps is copied: going through the questions of a large plan must not copy the whole list each
 * time. */
static struct selection *one_question(const struct selection *s, uint32_t index)
{
    struct selection one = *s;
    one.questions = s->questions + index;
    one.question_count = 1;
    one.endpoints_rotated = false; /* its one question has its say now */
    struct selection *out = selection_copy(&one);
    if (s->endpoints_rotated)
        rotate_left(out->endpoints, out->endpoint_count, out->questions[0]);
    return out;
}

static struct selection *one_sample(const struct selection *s, uint32_t index)
{
    struct selection one = *s;
    one.samples = s->samples + index;
    one.sample_count = 1;
    return selection_copy(&one);
}

static struct selection *one_group(const struct selection *s, enum key key, uint32_t group)
{
    struct selection *out = selection_copy(s);
    keep_group(out, key, group);
    return out;
}

struct selection *selection_part(const struct selection *s, enum key key, uint32_t part, char label[256])
{
    assert(part < selection_part_count(s, key));
    struct selection *out;
    if (key == KEY_QUESTION) {
        out = one_question(s, part);
        snprintf(label, 256, "%s", s->plan->job->questions[out->questions[0]].id);
    } else if (key == KEY_SAMPLE) {
        out = one_sample(s, part);
        snprintf(label, 256, "%u", out->samples[0] + 1);
    } else {
        out = one_group(s, key, part);
        snprintf(label, 256, "%s", group_name(out, key, out->endpoints[0]));
    }
    return out;
}

static bool question_is(const struct selection *s, uint32_t position, const char *label)
{
    return strcmp(s->plan->job->questions[position].id, label) == 0;
}

static bool sample_is(const struct selection *s, uint32_t position, const char *label)
{
    (void)s;
    char number[16];
    snprintf(number, sizeof number, "%u", position + 1);
    return strcmp(number, label) == 0;
}

static bool model_is(const struct selection *s, uint32_t position, const char *label)
{
    return strcmp(plan_endpoint(s->plan, position)->model, label) == 0;
}

static bool region_is(const struct selection *s, uint32_t position, const char *label)
{
    return region_table_region(s->plan->table, label) == (int)plan_endpoint(s->plan, position)->region;
}

static bool endpoint_is(const struct selection *s, uint32_t position, const char *label)
{
    return strcmp(plan_endpoint(s->plan, position)->id, label) == 0;
}

struct selection *selection_where(const struct selection *s, enum key key, const char *label)
{
    static bool (*const matches[KEY_COUNT])(const struct selection *, uint32_t, const char *) = {
        [KEY_QUESTION] = question_is, [KEY_SAMPLE] = sample_is,     [KEY_MODEL] = model_is,
        [KEY_REGION] = region_is,     [KEY_ENDPOINT] = endpoint_is,
    };
    struct selection *out = selection_copy(s);
    uint32_t *list = key == KEY_QUESTION ? out->questions : key == KEY_SAMPLE ? out->samples : out->endpoints;
    uint32_t *count = key == KEY_QUESTION ? &out->question_count
                      : key == KEY_SAMPLE ? &out->sample_count : &out->endpoint_count;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++)
        if (matches[key](s, list[i], label))
            list[kept++] = list[i];
    *count = kept;
    return out;
}

/* ---- orders ---- */

/* Fisher and Yates. */
static void shuffle(uint32_t *list, uint32_t count, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)(rng_unit(&rng) * i), held = list[i - 1];
        list[i - 1] = list[j];
        list[j] = held;
    }
}

/* The order asked for last holds: a random one has no square left in it, and a square nothing random. */
struct selection *selection_shuffle(const struct selection *s, uint64_t seed)
{
    struct selection *out = selection_copy(s);
    shuffle(out->questions, out->question_count, rng_hash(seed, "questions"));
    shuffle(out->samples, out->sample_count, rng_hash(seed, "samples"));
    shuffle(out->endpoints, out->endpoint_count, rng_hash(seed, "endpoints"));
    out->shuffled = true;
    out->rotated = out->endpoints_rotated = false;
    out->seed = seed;
    return out;
}

struct turn {
    uint32_t round, rank, endpoint; /* round: how many of its group come before it */
};

static int compare_turns(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->round != y->round)
        return x->round < y->round ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* One endpoint of each group in turn: the first of each, then the second of each. Groups go in order of first
 * appearance, or in an order of the seed's when it is not NULL. */
static void take_turns(struct selection *s, enum key key, const uint64_t *seed)
{
    uint32_t group_count, *groups = group_all(s, key, &group_count);
    uint32_t *ranks = identity(group_count), *seen = mem_zalloc(group_count * sizeof *seen);
    struct turn *turns = mem_array(NULL, s->endpoint_count, sizeof *turns);
    if (seed)
        shuffle(ranks, group_count, rng_hash(*seed, "groups"));
    for (uint32_t i = 0; i < s->endpoint_count; i++)
        turns[i] = (struct turn){seen[groups[i]]++, ranks[groups[i]], s->endpoints[i]};
    if (s->endpoint_count)
        qsort(turns, s->endpoint_count, sizeof *turns, compare_turns);
    for (uint32_t i = 0; i < s->endpoint_count; i++)
        s->endpoints[i] = turns[i].endpoint;
    free(turns);
    free(seen);
    free(ranks);
    free(groups);
}

struct selection *selection_interleave(const struct selection *s, enum key key)
{
    struct selection *out = selection_copy(s);
    if (is_endpoint_key(key))
        take_turns(out, key, NULL);
    else
        out->sample_outside = key == KEY_QUESTION;
    return out;
}

/* Endpoints of a model or region take turns before they are rotated, so that one endpoint further on is also one
 * model or region further on. Samples have no order worth a square: for them this is a copy. */
struct selection *selection_rotate(const struct selection *s, enum key key, uint64_t seed)
{
    struct selection *out = selection_copy(s);
    if (key == KEY_QUESTION) {
        shuffle(out->questions, out->question_count, rng_hash(seed, "questions"));
        out->rotated = true;
        out->shuffled = false;
    } else if (is_endpoint_key(key)) {
        take_turns(out, key, &seed);
        out->endpoints_rotated = true;
    }
    return out;
}
