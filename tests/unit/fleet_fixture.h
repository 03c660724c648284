/* fleet_fixture.h -- fleets built in C, for the tests of sim/. */
#ifndef TESTS_UNIT_FLEET_FIXTURE_H
#define TESTS_UNIT_FLEET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/timeutil.h"
#include "core/fleet_spec.h"
#include "sim/fleet.h"

static inline struct dist seconds_between(double low, double high)
{
    return (struct dist){.kind = DIST_UNIFORM, .a = low * 1e6, .b = high * 1e6};
}

/* One container, room for 2 in line, 100 s cold, 40 s of service: round numbers, easy to reckon with. */
static inline struct fleet_endpoint plain_endpoint(const char *region, const char *model)
{
    return (struct fleet_endpoint){
        .region = region, .model = model, .schema = SCHEMA_MODAL, .containers = 1, .queue = 2, .overflow = OVERFLOW_503,
        .scaledown_us = 10 * MINUTE_US, .redirect_after_us = 150 * SECOND_US, .redirect_status = 303,
        .cold = seconds_between(100, 100), .service = seconds_between(40, 40),
    };
}

/* The endpoints of each region must stand together. */
static inline struct fleet_spec *make_spec(uint64_t seed, const struct fleet_endpoint *endpoints, size_t count)
{
    struct fleet_spec *spec = fleet_spec_new();
    spec->path = "fleet.lua";
    spec->seed = seed;
    spec->endpoints = arena_alloc(&spec->arena, count * sizeof *endpoints);
    memcpy(spec->endpoints, endpoints, count * sizeof *endpoints);
    spec->endpoint_count = count;
    const char **regions = arena_alloc(&spec->arena, count * sizeof *regions);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(endpoints[i].region, endpoints[i - 1].region) != 0)
            regions[spec->region_count++] = endpoints[i].region;
    spec->regions = regions;
    return spec;
}

static inline void set_faults(struct fleet_spec *spec, const struct fleet_fault *faults, size_t count)
{
    spec->faults = arena_alloc(&spec->arena, count * sizeof *faults);
    memcpy(spec->faults, faults, count * sizeof *faults);
    spec->fault_count = count;
}

/* The map of the seed: 2 + 3 + 3. */
static inline struct fleet_spec *eight_endpoints(uint64_t seed)
{
    static const char *const cells[8][2] = {
        {"us", "llama3.2-1b"}, {"us", "qwen2.5-1.5b"}, {"eu", "llama3.2-1b"}, {"eu", "mistral-7b"},
        {"eu", "qwen2.5-1.5b"}, {"asia", "llama3.2-1b"}, {"asia", "mistral-7b"}, {"asia", "qwen2.5-1.5b"},
    };
    struct fleet_endpoint endpoints[8];
    for (size_t i = 0; i < 8; i++)
        endpoints[i] = plain_endpoint(cells[i][0], cells[i][1]);
    return make_spec(seed, endpoints, 8);
}

static inline struct fleet_spec *noisy_spec(uint64_t seed)
{
    struct fleet_spec *spec = eight_endpoints(seed);
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        spec->endpoints[i].service = (struct dist){.kind = DIST_LOGNORMAL, .a = 40e6, .b = 0.5};
        spec->endpoints[i].cold = seconds_between(60, 90);
        spec->endpoints[i].containers = 2;
    }
    return spec;
}

/* ---- a fleet that is asked ---- */

#define S(seconds) ((int64_t)((seconds) * 1e6))

static inline struct fleet_exchange *ask(struct fleet *f, size_t endpoint)
{
    return fleet_post(f, endpoint, STR("what is 2+2?"), NULL);
}

/* Goes from event to event until something is to be taken; false: nothing will ever be. */
static inline bool next_end(struct fleet *f, struct fleet_ended *e)
{
    while (!fleet_take(f, e)) {
        int64_t next_us = fleet_next_us(f);
        if (next_us == NEVER_US)
            return false;
        fleet_advance(f, next_us);
    }
    return true;
}

static inline void expect_end(struct fleet *f, enum fleet_end end, int64_t at_us)
{
    struct fleet_ended e;
    assert_true(next_end(f, &e));
    assert_int_equal(e.end, end);
    assert_int_equal(e.at_us, at_us);
}

static inline struct fleet *one(struct fleet_spec **spec, struct fleet_endpoint endpoint)
{
    *spec = make_spec(1, &endpoint, 1);
    return fleet_new(*spec);
}

static inline void finish(struct fleet *f, struct fleet_spec *spec)
{
    fleet_free(f);
    fleet_spec_free(spec);
}

#endif
