#include "core/sema.h"

#include <assert.h>

#include "base/timeutil.h"

void sema_init(struct sema *s, const char *name, unsigned limit, double rate_per_minute)
{
    *s = (struct sema){.name = name, .limit = limit};
    rate_set(&s->rate, rate_per_minute);
    list_init(&s->waiters);
}

bool sema_free_at(const struct sema *s, int64_t now_us, int64_t *retry_us)
{
    /* Full first: no time helps then, and the release that does makes the caller look again. */
    if (s->limit && s->used >= s->limit) {
        *retry_us = NEVER_US;
        return false;
    }
    int64_t open_us = rate_next_us(&s->rate, now_us);
    if (open_us < s->closed_until_us)
        open_us = s->closed_until_us;
    if (open_us <= now_us)
        return true;
    *retry_us = open_us;
    return false;
}

void sema_take(struct sema *s, int64_t now_us)
{
    int64_t retry_us;
    bool is_free = sema_free_at(s, now_us, &retry_us);
    assert(is_free);
    rate_take(&s->rate, now_us);
    s->used++;
    if (s->used > s->peak)
        s->peak = s->used;
}

void sema_release(struct sema *s)
{
    assert(s->used > 0);
    s->used--;
}
