/* Overload manners in virtual time: what an endpoint bears is found, kept to and followed, and nothing is lost. */
#include <math.h>

#include "base/defs.h"
#include "trial.h"

enum { QUESTIONS = 400, FLOOR = 1, CEILING = 128, SETTLED = 20 };

static double slack(unsigned n)
{
    return n < 10 ? 1 : n * 0.1;
}

static struct fleet_endpoint bearing(unsigned n)
{
    struct fleet_endpoint e = plain_endpoint("us", "m");
    e.containers = n;
    e.queue = 0;
    e.service = (struct dist){.kind = DIST_LOGNORMAL, .a = 40e6, .b = 0.5};
    e.redirect_after_us = 0;
    e.scaledown_us = HOUR_US;
    return e;
}

static void make_adaptive(struct trial *t)
{
    for (size_t i = 0; i < t->table->endpoint_count; i++) {
        struct endpoint_spec *e = &t->table->endpoints[i];
        e->slots = 1;
        e->hop_us = e->deadline_us = HOUR_US;
        e->adaptive = (struct adaptive_rule){FLOOR, CEILING};
        e->breaker = (struct breaker_rule){.failures = 5, .window_us = MINUTE_US, .cooldown_us = 30 * SECOND_US};
    }
}

static struct endpoint_view endpoint_of(const struct trial *t, unsigned index)
{
    struct endpoint_view view;
    engine_endpoint_view(t->engine, index, &view);
    return view;
}

/* ---- a capacity that nobody tells ---- */

struct found {
    unsigned at_settled;  /* in flight when so many were answered */
    double mean;          /* in flight from then until nothing waits any more */
    double refused;       /* of the posts, while there was something waiting */
};

static struct found find(struct trial *t)
{
    struct found found = {0};
    int64_t from_us = 0, last_us = 0;
    double sum = 0;
    trial_start(t);
    while (!t->over) {
        struct endpoint_view view = endpoint_of(t, 0);
        if (succeeded(t) >= SETTLED && view.waiting) {
            found.at_settled = from_us ? found.at_settled : view.in_flight;
            from_us = from_us ? from_us : virtual_now_us(t->world);
            last_us = virtual_next_us(t->world);
            sum += (double)view.in_flight * (double)(last_us - virtual_now_us(t->world));
        }
        assert_true(virtual_step(t->world));
    }
    const struct fleet_counts *f = fleet_totals(virtual_fleet(t->world));
    found.mean = sum / (double)(last_us - from_us);
    found.refused = (double)f->overflows / (double)f->posts;
    return found;
}

static void test_a_hidden_capacity_is_found(void **state)
{
    (void)state;
    double worst = 0, most_refused = 0;
    for (unsigned n = 1; n <= 64; n++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            struct fleet_endpoint e = bearing(n);
            e.overflow = seed % 2 ? OVERFLOW_429 : OVERFLOW_503;
            e.retry_after_us = seed == 3 ? 5 * SECOND_US : 0;
            struct trial *t = trial_new(make_spec(seed, &e, 1), QUESTIONS);
            make_adaptive(t);
            struct found found = find(t);
            double off = fabs(found.mean - n);
            worst = off / slack(n) > worst ? off / slack(n) : worst;
            most_refused = found.refused > most_refused ? found.refused : most_refused;
            if (off > slack(n) || fabs((double)found.at_settled - n) > slack(n) || found.refused >= 0.02 ||
                succeeded(t) != QUESTIONS)
                fail_msg("capacity %u, seed %d: %u in flight after %d answers, then %.1f; refused %.2f %%; %u succeeded", n,
                         (int)seed, found.at_settled, SETTLED, found.mean, 100 * found.refused, succeeded(t));
            trial_free(t);
        }
    print_message("worst: %.2f of what is allowed; refused at most %.2f %%\n", worst, 100 * most_refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hidden_capacity_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
