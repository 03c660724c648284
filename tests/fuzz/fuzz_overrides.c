/* What stands over a region table: laid over it whole or refused with a reason, and never more than limits and pauses.
 * And edits of the document leave one that says what was edited, and nothing else new. */
#include "fuzz.h"

#include <cjson/cJSON.h>

#include "host/overrides.h"
#include "script/table_file.h"

static const char table[] =
    "return { limits = { in_flight = 8 }, regions = {\n"
    "  us = { aliases = { 'na' }, in_flight = 4, models = { m = { url = 'https://a.example/', slots = 2,\n"
    "         headers = { Authorization = 'Bearer x' } } } },\n"
    "  eu = { paused = 'no quota', models = { ['o/m'] = { url = 'https://b.example/' } } } } }";

static struct region_table *load(const char *overrides, struct err *err)
{
    static const struct script_limits limits = {50000, 50000, 8u << 20};
    return table_load_text("fuzz/regions.lua", str_from(table),
                           &(struct table_options){.limits = &limits, .overrides = overrides}, err);
}

static void check_table(const struct region_table *t)
{
    static const char *const urls[] = {"https://b.example/", "https://a.example/"};
    PROMISE(t->endpoint_count == 2 && t->region_count == 2, "%zu endpoints", t->endpoint_count);
    for (size_t i = 0; i < t->endpoint_count; i++) {
        const struct endpoint_spec *e = &t->endpoints[i];
        PROMISE(strcmp(e->url, urls[i]) == 0 && e->header_count <= 1 && !e->proxy, "%s", e->id);
        PROMISE(e->slots >= 1 && e->deadline_us > 0 && e->hop_us > 0 && e->connect_us > 0 && e->poll_us > 0, "%s",
                e->id);
        PROMISE(!e->paused || *e->paused, "%s is paused for no reason", e->id);
    }
}

static void check_edits(const char *text)
{
    struct err err = {0};
    cJSON *doc = overrides_parse(text, "fuzz", &err);
    if (!doc) {
        fuzz_refusal(&err);
        return;
    }
    overrides_pause(doc, "endpoints", "us/m", "ann", "fuzzed");
    const cJSON *paused = overrides_get(doc, "endpoints", "us/m", "paused");
    bool took = cJSON_IsString(paused) && strcmp(paused->valuestring, "fuzzed") == 0;
    char *edited = overrides_text(doc);
    struct region_table *t = load(edited, &err);
    if (t && took)
        PROMISE(strcmp(t->endpoints[1].paused, "fuzzed") == 0, "%s", edited);
    region_table_unref(t);
    overrides_resume(doc, "endpoints", "us/m");
    PROMISE(!overrides_get(doc, "endpoints", "us/m", "paused") || !took, "%s", edited);
    free(edited);
    cJSON_Delete(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    struct region_table *t = load(text, &err);
    if (t)
        check_table(t);
    else
        fuzz_refusal(&err);
    region_table_unref(t);
    check_edits(text);
    free(text);
    return 0;
}
