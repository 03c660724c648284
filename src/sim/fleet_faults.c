#include "sim/fleet_state.h"

#include <assert.h>
#include <string.h>

#include "base/defs.h"

const char *fault_name(enum fault_what what)
{
    static const char *const names[FAULT_KINDS] = {
        [FAULT_RESET] = "reset", [FAULT_HANG] = "hang", [FAULT_500] = "500", [FAULT_503] = "503", [FAULT_429] = "429",
        [FAULT_404] = "404", [FAULT_401] = "401", [FAULT_QUOTA] = "quota", [FAULT_MALFORMED] = "malformed",
        [FAULT_TRUNCATED] = "truncated", [FAULT_EMPTY] = "empty", [FAULT_ERROR] = "error",
        [FAULT_WRONG_REGION] = "wrong_region", [FAULT_WRONG_MODEL] = "wrong_model", [FAULT_REFUSAL] = "refusal",
        [FAULT_TOO_LARGE] = "too_large", [FAULT_SLOW] = "slow", [FAULT_REDIRECT_AWAY] = "redirect_away",
    };
    assert((size_t)what < ARRAY_LEN(names));
    return names[what];
}

static bool says(struct str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* An outage hits whoever comes; what is wrong with a question or its answer was settled when it was asked. */
static bool fault_hits_gets(enum fault_what what)
{
    return what == FAULT_RESET || what == FAULT_HANG || what == FAULT_500 || what == FAULT_503;
}

const struct fleet_fault *fault_draw(struct site *s, struct str prompt, bool get)
{
    const struct fleet_spec *spec = s->fleet->spec;
    int64_t at_us = s->fleet->now_us - s->fleet->first_post_us;
    for (size_t i = 0; i < spec->fault_count; i++) {
        const struct fleet_fault *t = &spec->faults[i];
        if (at_us < t->from_us || (t->to_us && at_us >= t->to_us) || (get && !fault_hits_gets(t->what)))
            continue;
        if ((t->region && strcmp(t->region, s->spec->region) != 0) ||
            (t->model && strcmp(t->model, s->spec->model) != 0))
            continue;
        if (t->question && !says(prompt, t->question))
            continue;
        if (rng_unit(&s->faults) < t->share) {
            COUNT(s, faults[t->what], 1);
            return t;
        }
    }
    return NULL;
}

bool fault_at_the_door(enum fault_what what)
{
    switch (what) {
    case FAULT_RESET: case FAULT_HANG: case FAULT_500: case FAULT_503: case FAULT_429: case FAULT_404: case FAULT_401:
    case FAULT_QUOTA: case FAULT_REDIRECT_AWAY:
        return true;
    case FAULT_MALFORMED: case FAULT_TRUNCATED: case FAULT_EMPTY: case FAULT_ERROR: case FAULT_WRONG_REGION:
    case FAULT_WRONG_MODEL: case FAULT_REFUSAL: case FAULT_TOO_LARGE: case FAULT_SLOW:
        return false;
    }
    return false;
}
