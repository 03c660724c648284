/* Overload manners in virtual time: what an endpoint bears is found, kept to and followed, and nothing is lost. */
#include <math.h>

#include "base/defs.h"
#include "core/adaptive.h"
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
                fail_msg("capacity %u, seed %d: %u in flight after %d answers, then %.1f; refused %.2f %%; %u "
                         "succeeded", n,
                         (int)seed, found.at_settled, SETTLED, found.mean, 100 * found.refused, succeeded(t));
            trial_free(t);
        }
    print_message("worst: %.2f of what is allowed; refused at most %.2f %%\n", worst, 100 * most_refused);
}

/* ---- a capacity that changes, or that several endpoints share: a door before the fleet ---- */

static struct door {
    struct transport_port inside;
    unsigned capacity, open;
    uint64_t posts, refused;
    struct exchange *turned_away[2 * CEILING];
    unsigned turned_away_count;
} door;

static void door_send(void *ctx, struct exchange *x)
{
    (void)ctx;
    door.posts++;
    if (door.open < door.capacity) {
        door.open++;
        door.inside.send(door.inside.ctx, x);
        return;
    }
    door.refused++;
    assert_true(door.turned_away_count < ARRAY_LEN(door.turned_away));
    door.turned_away[door.turned_away_count++] = x;
}

static void door_ended(void *ctx, const struct exchange *x, const struct fleet_ended *e)
{
    door.open--;
    note_end(ctx, x, e);
}

static void put_door(struct trial *t, struct engine_ports *ports)
{
    door.inside = ports->transport;
    ports->transport = (struct transport_port){t, door_send, door.inside.cancel};
}

static struct trial *trial_with_door(const struct fleet_endpoint *endpoints, size_t count, unsigned questions,
                                     unsigned capacity)
{
    struct trial *t = trial_new(make_spec(1, endpoints, count), questions);
    make_adaptive(t);
    door = (struct door){.capacity = capacity};
    t->options.ended = door_ended;
    t->wrap = put_door;
    return t;
}

static void door_step(struct trial *t)
{
    assert_true(virtual_step(t->world));
    while (door.turned_away_count) {
        struct response r = {.wire = WIRE_ANSWERED, .http_status = 429, .body = STR("too many at once"),
                             .first_byte_us = virtual_now_us(t->world)};
        engine_exchange_ended(t->engine, door.turned_away[--door.turned_away_count], &r);
        engine_turn(t->engine);
    }
}

/* Time-weighted, over so many answers. */
static double mean_in_flight(struct trial *t, unsigned answers)
{
    int64_t from_us = virtual_now_us(t->world);
    unsigned until = succeeded(t) + answers;
    double sum = 0;
    while (succeeded(t) < until) {
        int64_t now_us = virtual_now_us(t->world);
        unsigned in_flight = engine_in_flight(t->engine, NULL);
        door_step(t);
        sum += (double)in_flight * (double)(virtual_now_us(t->world) - now_us);
    }
    return sum / (double)(virtual_now_us(t->world) - from_us);
}

static void to_the_end(struct trial *t)
{
    while (!t->over)
        door_step(t);
}

static void test_a_capacity_that_changes_is_followed(void **state)
{
    (void)state;
    static const unsigned changes[][3] = {{32, 16, 32}, {16, 32, 64}, {4, 8, 2}, {64, 32, 16}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct fleet_endpoint e = bearing(CEILING);
        struct trial *t = trial_with_door(&e, 1, 2000, changes[i][0]);
        trial_start(t);
        for (int k = 0; k < 3; k++) {
            unsigned n = door.capacity = changes[i][k];
            mean_in_flight(t, k ? ADAPTIVE_PATIENCE + 64 : SETTLED); /* that long it may take to be noticed */
            double mean = mean_in_flight(t, 200);
            print_message("now %2u: %.1f in flight; ", n, mean);
            assert_true(fabs(mean - n) <= slack(n));
        }
        to_the_end(t);
        print_message("refused %.2f %%\n", 100 * (double)door.refused / (double)door.posts);
        assert_true((double)door.refused < 0.02 * (double)door.posts);
        assert_int_equal(succeeded(t), 2000);
        trial_free(t);
    }
}

static void test_endpoints_share_a_capacity_and_lose_nothing(void **state)
{
    (void)state;
    static const char *const models[] = {"a", "b", "c", "d"};
    struct fleet_endpoint endpoints[4];
    for (int i = 0; i < 4; i++) {
        endpoints[i] = bearing(CEILING);
        endpoints[i].model = models[i];
    }
    struct trial *t = trial_with_door(endpoints, 4, 300, 24);
    struct group_spec group = {.name = "shared"};
    t->table->groups = &group;
    t->table->group_count = 1;
    for (int i = 0; i < 4; i++)
        t->table->endpoints[i].group = 0;
    trial_start(t);
    mean_in_flight(t, 4 * SETTLED);
    double mean = mean_in_flight(t, 600);
    for (unsigned i = 0; i < 4; i++)
        assert_true(view_of(t).endpoints[i].tally.by_status[STATUS_SUCCEEDED] > 50); /* each gets its share */
    to_the_end(t);
    double refused = (double)door.refused / (double)door.posts;
    print_message("4 endpoints share 24: %.1f in flight, refused %.2f %%\n", mean, 100 * refused);
    assert_true(fabs(mean - 24) <= slack(24) && refused < 0.02);
    assert_int_equal(succeeded(t), 4 * 300);
    trial_free(t);
}

/* ---- no herd ---- */

static struct trial *eight_slots(struct fleet_fault fault, unsigned endpoints)
{
    struct fleet_endpoint e[2] = {bearing(8), bearing(8)};
    e[1].model = "other";
    e[0].cold = e[1].cold = seconds_between(1, 1);
    e[0].retry_after_us = 45 * SECOND_US;
    struct trial *t = trial_new(make_spec(1, e, endpoints), 200);
    fault.from_us = 5 * MINUTE_US;
    fault.to_us = 9 * MINUTE_US;
    fault.model = "m";
    fault.share = 1;
    set_faults(t->fleet, &fault, 1);
    make_adaptive(t);
    for (unsigned i = 0; i < endpoints; i++) {
        t->table->endpoints[i].adaptive = (struct adaptive_rule){0}; /* slots as the operator says */
        t->table->endpoints[i].slots = 8;
        t->table->endpoints[i].retry = (struct retry_rule){.attempts = 100, .base_us = SECOND_US, .cap_us = MINUTE_US};
    }
    return t;
}

/* How many are in flight at most from when the endpoint is asked again until it answers, and until its third answer. */
static void after_the_pause(struct trial *t, int64_t from_us, unsigned *probes, unsigned *then)
{
    const struct fleet_counts *f = fleet_counts(virtual_fleet(t->world), 0);
    uint64_t answers = 0, before;
    *probes = *then = 0;
    while (virtual_next_us(t->world) < from_us)
        assert_true(virtual_step(t->world));
    before = f->answered;
    while (answers < 3) {
        assert_true(virtual_step(t->world));
        answers = f->answered - before;
        unsigned in_flight = endpoint_of(t, 0).in_flight, *most = answers ? then : probes;
        *most = in_flight > *most ? in_flight : *most;
    }
}

static void test_one_goes_ahead_after_a_pause(void **state)
{
    (void)state;
    static const struct { enum fault_what what; const char *name; } pauses[] = {
        {FAULT_429, "429 with Retry-After"}, {FAULT_500, "a breaker"}};
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        struct trial *t = eight_slots((struct fleet_fault){.what = pauses[i].what}, 2);
        unsigned probes, then;
        if (pauses[i].what == FAULT_500) /* three failed probes would be the end of it */
            t->table->endpoints[0].breaker.cooldown_us = 3 * MINUTE_US;
        trial_start(t);
        after_the_pause(t, 8 * MINUTE_US, &probes, &then);
        print_message("after %s: %u in flight until an answer, then at most %u\n", pauses[i].name, probes, then);
        assert_int_equal(probes, 1);
        assert_in_range(then, 2, 4);
        while (!t->over)
            assert_true(virtual_step(t->world));
        assert_int_equal(succeeded(t), 2 * 200);
        const struct fleet_counts *other = fleet_counts(virtual_fleet(t->world), 1);
        assert_int_equal(other->posts, 200); /* none of its attempts was lost for the other's sake */
        assert_int_equal(other->max_open, 8);
        assert_int_equal(fleet_counts(virtual_fleet(t->world), 0)->max_open, 8);
        trial_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hidden_capacity_is_found),
        cmocka_unit_test(test_a_capacity_that_changes_is_followed),
        cmocka_unit_test(test_endpoints_share_a_capacity_and_lose_nothing),
        cmocka_unit_test(test_one_goes_ahead_after_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
