#include "sim/fleet_table.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "base/timeutil.h"

/* What upstream reckons with, per second of a container. */
static const double PRICE_PER_SECOND = 0.0003;

/* The loopback is not faster because the fleet's clock is: an exchange gets at least this much real
 * time beyond the moment at which the fleet sends it away. */
static const int64_t HOP_SLACK_US = SECOND_US;

/* The largest that a region table takes. */
enum { IN_FLIGHT_MAX = 1000000, SLOTS_MAX = 100000 };

static void add_quoted(struct buf *out, const char *text)
{
    buf_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_addf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            buf_addf(out, "\\%03d", *text);
        else
            buf_addc(out, *text);
    }
    buf_addc(out, '"');
}

static void add_key(struct buf *out, const char *text)
{
    buf_addc(out, '[');
    add_quoted(out, text);
    buf_adds(out, "] = ");
}

/* A table's durations are no shorter than a millisecond. */
static int64_t scaled(int64_t us, double speed)
{
    int64_t real_us = llround((double)us / speed);
    return real_us > MS_US ? real_us : MS_US;
}

static void add_duration(struct buf *out, const char *name, int64_t us)
{
    if (us % SECOND_US == 0)
        buf_addf(out, "%s = \"%llds\"", name, (long long)(us / SECOND_US));
    else
        buf_addf(out, "%s = \"%.10gms\"", name, (double)us / (double)MS_US);
}

static void add_scaled(struct buf *out, const char *name, int64_t us, double speed)
{
    add_duration(out, name, scaled(us, speed));
}

/* Longer than the fleet holds an exchange, by the usual 30 s or by the slack. */
static int64_t hop_us(const struct fleet_spec *spec, double speed)
{
    int64_t hop = scaled(3 * MINUTE_US, speed);
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        int64_t held = scaled(spec->endpoints[i].redirect_after_us, speed) + HOP_SLACK_US;
        if (held > hop)
            hop = held;
    }
    return hop;
}

static const char *adapter_of(enum fleet_schema schema)
{
    switch (schema) {
    case SCHEMA_MODAL: case SCHEMA_MODAL_OLD:
        return "modal";
    case SCHEMA_OPENAI:
        return "openai";
    case SCHEMA_ANTHROPIC:
        return "anthropic";
    case SCHEMA_RUNPOD:
        return "runpod";
    case SCHEMA_PLAIN:
        break; /* is never served */
    }
    return "modal";
}

void fleet_path_write(const struct fleet_endpoint *e, struct buf *out)
{
    buf_addc(out, '/');
    text_add_percent(out, str_from(e->region));
    buf_addc(out, '/');
    text_add_percent(out, str_from(e->model));
}

/* A container runs one call at a time; one more would only wait in the endpoint's line. */
static unsigned slots_of(const struct fleet_endpoint *e)
{
    return e->containers < SLOTS_MAX ? e->containers : SLOTS_MAX;
}

static uint64_t all_slots(const struct fleet_spec *spec)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < spec->endpoint_count; i++)
        sum += slots_of(&spec->endpoints[i]);
    return sum < IN_FLIGHT_MAX ? sum : IN_FLIGHT_MAX;
}

static void add_head(const struct fleet_spec *spec, const char *base_url, double speed, struct buf *out)
{
    buf_addf(out, "-- The simulated fleet at %s, written by `canvass simulate` %s.\n", base_url, CANVASS_VERSION);
    if (speed < 1 || speed > 1)
        buf_addf(out, "-- Time there runs %.10g times as fast as here: every time below is divided by that,\n"
                      "-- and prices are multiplied by it.\n", speed);
    buf_addf(out, "return {\n  speed    = %.10g,\n", speed);
    buf_addf(out, "  limits   = { endpoints = %zu, in_flight = %llu },\n  defaults = {\n    slots = 1, ",
             spec->endpoint_count, (unsigned long long)all_slots(spec));
    add_scaled(out, "deadline", 15 * MINUTE_US, speed);
    int64_t hop = hop_us(spec, speed); /* connecting is no faster on a fast fleet, but it is part of a hop */
    buf_adds(out, ", ");
    add_duration(out, "connect", hop < 10 * SECOND_US ? hop : 10 * SECOND_US);
    buf_adds(out, ", ");
    add_duration(out, "hop", hop);
    buf_adds(out, ", ");
    add_scaled(out, "scaledown", 10 * MINUTE_US, speed);
    buf_adds(out, ", ");
    add_scaled(out, "poll", SECOND_US, speed);
    buf_adds(out, ",\n    retry = { attempts = 4, ");
    add_scaled(out, "base", SECOND_US, speed);
    buf_adds(out, ", ");
    add_scaled(out, "cap", MINUTE_US, speed);
    buf_adds(out, " },\n    breaker = { failures = 5, ");
    add_scaled(out, "window", MINUTE_US, speed);
    buf_adds(out, ", ");
    add_scaled(out, "cooldown", 30 * SECOND_US, speed);
    buf_addf(out, " },\n    price_per_second = %.10g,\n  },\n  regions = {\n", PRICE_PER_SECOND * speed);
}

static bool names_a_region(const struct fleet_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->region_count; i++)
        if (strcmp(spec->regions[i], name) == 0)
            return true;
    return false;
}

/* The label an endpoint gives its region, where it is another name and the first endpoint to use it. */
static const char *alias_of(const struct fleet_spec *spec, size_t i)
{
    const char *label = spec->endpoints[i].served_region;
    if (!label || names_a_region(spec, label))
        return NULL;
    for (size_t k = 0; k < i; k++)
        if (spec->endpoints[k].served_region && strcmp(spec->endpoints[k].served_region, label) == 0)
            return NULL;
    return label;
}

static void add_aliases(const struct fleet_spec *spec, const char *region, struct buf *out)
{
    const char *before = "      aliases = { ";
    for (size_t i = 0; i < spec->endpoint_count; i++) {
        const char *alias = strcmp(spec->endpoints[i].region, region) == 0 ? alias_of(spec, i) : NULL;
        if (!alias)
            continue;
        buf_adds(out, before);
        add_quoted(out, alias);
        before = ", ";
    }
    if (*before == ',')
        buf_adds(out, " },\n");
}

static void add_model(const struct fleet_endpoint *e, const char *base_url, struct buf *out)
{
    buf_adds(out, "        ");
    add_key(out, e->model);
    buf_addf(out, "{ url = \"%s", base_url);
    fleet_path_write(e, out);
    buf_addf(out, "%s\", adapter = \"%s\"", e->schema == SCHEMA_RUNPOD ? "/run" : "", adapter_of(e->schema));
    if (slots_of(e) != 1)
        buf_addf(out, ", slots = %u", slots_of(e));
    if (e->served_model && strcmp(e->served_model, e->model) != 0) {
        buf_adds(out, ", serves = { ");
        add_quoted(out, e->served_model);
        buf_adds(out, " }");
    }
    buf_adds(out, " },\n");
}

void fleet_table_write(const struct fleet_spec *spec, const char *base_url, double speed, struct buf *out)
{
    add_head(spec, base_url, speed, out);
    for (size_t r = 0; r < spec->region_count; r++) {
        buf_adds(out, "    ");
        add_key(out, spec->regions[r]);
        buf_adds(out, "{\n");
        add_aliases(spec, spec->regions[r], out);
        buf_addf(out, "      health = \"%s/", base_url);
        text_add_percent(out, str_from(spec->regions[r]));
        buf_adds(out, "/health\",\n      models = {\n");
        for (size_t i = 0; i < spec->endpoint_count; i++)
            if (strcmp(spec->endpoints[i].region, spec->regions[r]) == 0)
                add_model(&spec->endpoints[i], base_url, out);
        buf_adds(out, "      },\n    },\n");
    }
    buf_adds(out, "  },\n}\n");
}
