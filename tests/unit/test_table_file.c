/* Region tables: what is wrong with bad ones, and what good ones mean. */
#include "table_fixture.h"

/* ---- bad tables ---- */

static const struct bad {
    const char *text, *place, *what, *cure;
} bad[] = {
    /* the file */
    {"", "regions.lua", "returns 0 values", "return { ... }"},
    {"return", "regions.lua", "returns 0 values", "return {"},
    {"return 1, 2", "regions.lua", "returns 2 values", "return {"},
    {"return 7", "regions.lua", "the number 7 is not a table", "give a table"},
    {"return {\n regions = {\n us = \n}", "regions.lua:4", "unexpected symbol", ""},
    {"return { regions = { us = { models = { m = { url = 'https://h/' } } } }", "regions.lua:1", "'}' expected", ""},
    {"local x = nil\nlocal y = x.y\nreturn {}", "regions.lua:2", "attempt to index", ""},
    {"error 'no'", "regions.lua:1", "no", ""},
    {"while true do end", "regions.lua", "stopped after", "make it do less"},
    {"return os.getenv 'HOME'", "regions.lua:1", "os", ""},
    {"x = 1 return {}", "regions.lua:1", "cannot set the global \"x\"", "local"},
    {"return { regions = require 'nowhere' }", "regions.lua:1", "no module \"nowhere\"", ""},
    {"\x1bLua", "regions.lua", "precompiled", "source"},
    /* the top */
    {"return {}", "regions.lua: regions", "no regions", "add regions ="},
    {"return { regions = {} }", "regions.lua: regions", "no regions", "add regions ="},
    {"return { regions = 'us' }", "regions.lua: regions", "\"us\" is not a table", "give a table"},
    {"return { regions = { 'us', 'eu' } }", "regions.lua: regions", "a region is named by a number", "[\"NAME\"]"},
    {"return { regions = { us = 1 } }", "regions.lua: regions.us", "is not a table", "give a table"},
    {TOP("region = {}"), "regions.lua: region", "unknown key \"region\"", "did you mean \"regions\""},
    {TOP("timeout = '1m'"), "regions.lua: timeout", "unknown key \"timeout\"", "known keys"},
    {"return { regions = { us = { models = { m = { " URL " } } } }, 5 }", "regions.lua", "a value without a name",
     "NAME"},
    /* limits */
    {TOP("limits = 8"), "regions.lua: limits", "is not a table", "give a table"},
    {TOP("limits = { endpoint = 8 }"), "limits.endpoint", "unknown key", "did you mean \"endpoints\""},
    {TOP("limits = { endpoints = 0 }"), "limits.endpoints", "the number 0", "from 1"},
    {TOP("limits = { endpoints = '8' }"), "limits.endpoints", "\"8\"", "a whole number"},
    {TOP("limits = { in_flight = 2.5 }"), "limits.in_flight", "2.5", "a whole number"},
    {TOP("limits = { in_flight = -1 }"), "limits.in_flight", "-1", "from 1"},
    {"return { limits = { endpoints = 1 }, regions = { us = { models = { a = { " URL " }, b = { " URL " } } }, "
     "eu = { models = { a = { " URL " } } } } }",
     "limits.endpoints", "3 endpoints in 2 regions, and limits.endpoints is 1", "take 2 out"},
    /* groups */
    {TOP("groups = { ['a b'] = {} }"), "groups[\"a b\"]", "not a group name", "letters, digits"},
    {TOP("groups = { g = { rate = -1 } }"), "groups.g.rate", "-1", "from 0"},
    {TOP("groups = { g = { slots = 1 } }"), "groups.g.slots", "unknown key", "in_flight"},
    {TOP("groups = { g = 5 }"), "groups.g", "is not a table", "give a table"},
    {TOP("groups = { 'g' }"), "groups", "a group is named by a number", "NAME"},
    /* regions */
    {"return { regions = { us = {} } }", "regions.us.models", "region us has no models", "add models ="},
    {"return { regions = { us = { models = {} } } }", "regions.us.models", "region us has no models",
     "take the region out"},
    {"return { regions = { us = { models = { 'm' } } } }", "regions.us.models", "a model is named by a number", "NAME"},
    {"return { regions = { us = { models = { m = 'https://h/' } } } }", M, "is not a table", "give a table"},
    {"return { regions = { ['u/s'] = { models = { m = { " URL " } } } } }", "regions[\"u/s\"]", "not a region id",
     "letters"},
    {"return { regions = { ['u s'] = { models = { m = { " URL " } } } } }", "regions[\"u s\"]", "not a region id",
     "letters"},
    {"return { regions = { us = { models = { ['m m'] = { " URL " } } } } }", "models[\"m m\"]", "not a model id",
     "letters"},
    {"return { regions = { us = { models = { ['m\\n'] = { " URL " } } } } }", "regions.us.models", "not a model id",
     "letters"},
    {REGION("alias = { 'na' }"), "regions.us.alias", "unknown key \"alias\"", "did you mean \"aliases\""},
    {REGION("aliases = 'na'"), "regions.us.aliases", "\"na\" is not", "a list of strings"},
    {REGION("aliases = { 'na', 5 }"), "regions.us.aliases", "the number 5", "a string"},
    {REGION("aliases = { 'n a' }"), "regions.us.aliases", "not a region name: \"n a\"", "letters"},
    {REGION("aliases = { 'na', 'na' }"), "regions.us.aliases", "alias \"na\" stands in region us and in region us",
     "one place"},
    {REGION("aliases = { 'us' }"), "regions.us.aliases", "alias \"us\" of region us is the id of region us",
     "take it out"},
    {"return { regions = { us = { aliases = { 'west' }, models = { m = { " URL " } } }, "
     "eu = { aliases = { 'west' }, models = { m = { " URL " } } } } }",
     "regions.us.aliases", "alias \"west\" stands in region eu and in region us", "one place"},
    {"return { regions = { us = { models = { m = { " URL " } } }, eu = { aliases = { 'us' }, models = { m = { " URL
     " } } } } }",
     "regions.eu.aliases", "alias \"us\" of region eu is the id of region us", "rename"},
    {REGION("in_flight = 0"), "regions.us.in_flight", "the number 0", "from 1"},
    {REGION("health = 'host'"), "regions.us.health", "host", "http"},
    {REGION("paused = 7"), "regions.us.paused", "the number 7", "a string"},
    {REGION("paused = ''"), "regions.us.paused", "an empty string", "write something"},
    /* endpoints */
    {"return { regions = { us = { models = { m = {} } } } }", M ".url", "no url", "add url = \"https://...\""},
    {"return { regions = { us = { models = { m = { url = 5 } } } } }", M ".url", "the number 5", "a string"},
    {"return { regions = { us = { models = { m = { url = 'ftp://h/' } } } } }", M ".url", "ftp://h/", "https://"},
    {"return { regions = { us = { models = { m = { url = 'h.example/x' } } } } }", M ".url", "h.example/x", "https://"},
    {"return { regions = { us = { models = { m = { url = 'https://u:p@h/' } } } } }", M ".url", "password", "header"},
    {"return { regions = { us = { models = { m = { url = 'https://h/a b' } } } } }", M ".url", "space", "%20"},
    {"return { regions = { us = { models = { m = { url = 'https://h:99999/' } } } } }", M ".url", "port", "65535"},
    {"return { regions = { us = { url = 'nope', models = { m = {} } } } }", "regions.us.url", "nope", "https://"},
    {ENDPOINT("slot = 2"), M ".slot", "unknown key \"slot\"", "did you mean \"slots\""},
    {ENDPOINT("Deadline = '1m'"), M ".Deadline", "unknown key \"Deadline\"", "did you mean \"deadline\""},
    {ENDPOINT("in_flight = 2"), M ".in_flight", "unknown key", "known keys"},
    {ENDPOINT("slots = 0"), M ".slots", "the number 0", "from 1"},
    {ENDPOINT("slots = 1.5"), M ".slots", "1.5", "a whole number"},
    {ENDPOINT("slots = '2'"), M ".slots", "\"2\"", "a whole number"},
    {ENDPOINT("slots = 1e9"), M ".slots", "1000000000", "100000"},
    {ENDPOINT("rate = -1"), M ".rate", "-1", "from 0"},
    {ENDPOINT("rate = 0/0"), M ".rate", "nan", "a number"},
    {ENDPOINT("deadline = '10 m'"), M ".deadline", "\"10 m\"", "\"90s\""},
    {ENDPOINT("deadline = '1h30m'"), M ".deadline", "\"1h30m\"", "a duration"},
    {ENDPOINT("deadline = true"), M ".deadline", "true", "a duration"},
    {ENDPOINT("deadline = -5"), M ".deadline", "-5", "a duration"},
    {ENDPOINT("deadline = 0"), M ".deadline", "shorter than", "longer"},
    {ENDPOINT("connect = {}"), M ".connect", "a table", "a duration"},
    {ENDPOINT("hop = ''"), M ".hop", "\"\"", "a duration"},
    {ENDPOINT("poll = '0s'"), M ".poll", "shorter than", "longer"},
    {ENDPOINT("max_body = 0"), M ".max_body", "the number 0", "from 1"},
    {ENDPOINT("price_per_second = '1'"), M ".price_per_second", "\"1\"", "a number"},
    {ENDPOINT("price_per_token = -0.1"), M ".price_per_token", "-0.1", "a number"},
    {ENDPOINT("warm = true"), M ".warm", "warm is true", "\"health\", \"ask\" or false"},
    {ENDPOINT("warm = 'yes'"), M ".warm", "warm is \"yes\"", "\"health\", \"ask\" or false"},
    {ENDPOINT("group = true"), M ".group", "group is true", "quotes"},
    {ENDPOINT("group = 'a b'"), M ".group", "not a name: \"a b\"", "letters"},
    {ENDPOINT("serves = 'x'"), M ".serves", "\"x\"", "a list of strings"},
    {ENDPOINT("origins = { 'https://h/path' }"), M ".origins", "not an origin: \"https://h/path\"", "https://host"},
    {ENDPOINT("origins = { 'h.example' }"), M ".origins", "not an origin", "https://host"},
    {ENDPOINT("retry = true"), M ".retry", "retry is true", "attempts = 4"},
    {ENDPOINT("retry = { attempt = 2 }"), M ".retry.attempt", "unknown key", "did you mean \"attempts\""},
    {ENDPOINT("retry = { attempts = 0 }"), M ".retry.attempts", "the number 0", "from 1"},
    {ENDPOINT("retry = { unknown = 1 }"), M ".retry.unknown", "the number 1", "true or false"},
    {ENDPOINT("retry = { base = '2m' }"), M ".retry.cap", "retry.cap is 1m, below retry.base, which is 2m", "larger"},
    {ENDPOINT("breaker = { failures = 0 }"), M ".breaker.failures", "the number 0", "from 1"},
    {ENDPOINT("breaker = { timeout = 1 }"), M ".breaker.timeout", "unknown key", "failures window cooldown"},
    {ENDPOINT("breaker = 'no'"), M ".breaker", "\"no\"", "give a table"},
    {ENDPOINT("adaptive = 4"), M ".adaptive", "the number 4", "give a table"},
    {ENDPOINT("adaptive = { low = 1 }"), M ".adaptive.low", "unknown key", "floor ceiling"},
    {ENDPOINT("slots = 8, adaptive = { floor = 1, ceiling = 4 }"), M ".adaptive", "leaves out slots, which is 8",
     "ceiling below"},
    {ENDPOINT("slots = 2, adaptive = { floor = 3 }"), M ".adaptive", "leaves out slots, which is 2",
     "floor may not be above"},
    {ENDPOINT("adapter = 'modl'"), M ".adapter", "unknown adapter \"modl\"",
     "anthropic, embeddings, http, modal, openai, runpod"},
    {ENDPOINT("adapter = '../../etc/passwd'"), M ".adapter", "not a name", "letters"},
    {"return { defaults = { adapter = 'nope' }, regions = { us = { models = { m = { " URL " } } } } }",
     "defaults.adapter", "unknown adapter \"nope\"", "beside the table"},
    {ENDPOINT("options = 5"), M ".options", "the number 5", "give a table"},
    {ENDPOINT("options = { sendregion = true }"), M ".options.sendregion", "adapter modal has no option sendregion",
     "did you mean send_region?"},
    {ENDPOINT("options = { zzz = 1 }"), M ".options.zzz", "adapter modal has no option zzz", "it has send_"},
    {ENDPOINT("options = { send_region = 'yes' }"), M ".options.send_region", "option send_region is a string",
     "a boolean"},
    {ENDPOINT("options = { send_region = print }"), M ".options.send_region", "function", "write text, numbers"},
    {"return { defaults = { options = { x = 1 } }, regions = { us = { models = { m = { " URL " } } } } }",
     "defaults.options.x", "no option x", "it has"},
    {ENDPOINT("adapter = 'http'"), M ".options.answer", "option answer does not fit", "write a path"},
    {ENDPOINT("adapter = 'http', options = { answer = 'a' }"), M ".options.body", "option body does not fit",
     "give the request"},
    {ENDPOINT("adapter = 'http', options = { body = { p = '{{prompt}}' }, answer = 'a..b' }"), M ".options.answer",
     "option answer does not fit", "write a path"},
    {ENDPOINT("adapter = 'http', options = { body = { p = '{{promt}}' }, answer = 'a' }"), M ".options.body",
     "option body does not fit", "there is no {{promt}}"},
    {ENDPOINT("adapter = 'http', options = { body = '{\"p\": {{prompt}', answer = 'a' }"), M ".options.body",
     "option body does not fit", "{{prompt}}"},
    {ENDPOINT("adapter = 'http', options = { body = '{\"p\": {{prompt}}', answer = 'a' }"), M ".options.body",
     "option body does not fit", "not JSON"},
    /* headers, secrets, proxy */
    {ENDPOINT("headers = { 'x' }"), M ".headers", "a header is named by a number", "NAME"},
    {ENDPOINT("headers = { ['a b'] = 'x' }"), M ".headers[\"a b\"]", "not a header name", "letters"},
    {ENDPOINT("headers = { A = 5 }"), M ".headers.A", "a header cannot be a number", "secret \"NAME\""},
    {ENDPOINT("headers = { A = true }"), M ".headers.A", "a header cannot be a boolean", "or false"},
    {ENDPOINT("headers = { A = 'x\\r\\nB: y' }"), M ".headers.A", "control character", "one line"},
    {ENDPOINT("headers = { A = 'x\\0y' }"), M ".headers.A", "control character", "one line"},
    {ENDPOINT("headers = { ['Content-Length'] = '5' }"), M ".headers.Content-Length", "set by canvass itself",
     "leave it out"},
    {ENDPOINT("headers = { Abc = 'x', abc = 'y' }"), M ".headers.abc", "stands here twice", "keep one"},
    {ENDPOINT("headers = { A = secret 'CANVASS_TEST_NOWHERE' }"), M ".headers.A",
     "secret CANVASS_TEST_NOWHERE is not set",
     "export CANVASS_TEST_NOWHERE=..., or put a line CANVASS_TEST_NOWHERE=... into a file of mode 0600"},
    {ENDPOINT("headers = { A = secret 'CANVASS_TEST_LINES' }"), M ".headers.A",
     "secret CANVASS_TEST_LINES is not one line", "without line breaks"},
    {"return { regions = { us = { models = { m = { url = secret 'CANVASS_TEST_TOKEN' } } } } }", M ".url",
     "secret CANVASS_TEST_TOKEN in a place that is shown and stored", "a header or of proxy"},
    {ENDPOINT("options = { send_model = secret 'CANVASS_TEST_TOKEN' }"), M ".options.send_model",
     "secret CANVASS_TEST_TOKEN in a place", "nothing else"},
    {REGION("paused = secret 'CANVASS_TEST_TOKEN'"), "regions.us.paused", "secret CANVASS_TEST_TOKEN in a place",
     "nothing else"},
    {"return { regions = { us = { models = { m = { " URL ", headers = { A = 'Bearer ' .. secret 'X' } } } } } }",
     "regions.lua:1", "a secret cannot be joined", "Bearer %s"},
    {ENDPOINT("headers = { A = secret 'a-b' }"), "regions.lua:1", "letters, digits and _", ""},
    {ENDPOINT("headers = { A = secret('X', 'Bearer') }"), "regions.lua:1", "must hold %s once", ""},
    {ENDPOINT("headers = { A = secret('X', '%s %s') }"), "regions.lua:1", "must hold %s once", ""},
    {ENDPOINT("headers = { A = secret(5) }"), "regions.lua:1", "name in quotes", ""},
    {ENDPOINT("proxy = 'ftp://h:1'"), M ".proxy", "a proxy of an unknown kind", "socks5"},
    {ENDPOINT("proxy = 'http://u:p@h:1'"), M ".proxy", "a proxy's password in plain text", "secret("},
    {ENDPOINT("proxy = 'http://'"), M ".proxy", "not a proxy's address", "http://host:port"},
    {ENDPOINT("proxy = 5"), M ".proxy", "the number 5", "a string"},
};

/* "a|b": either will do. */
static bool says(const char *text, const char *words)
{
    char copy[300];
    snprintf(copy, sizeof copy, "%s", words);
    if (!*copy)
        return true;
    for (char *save = NULL, *word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
        if (strstr(text, word))
            return true;
    return false;
}

static void test_bad_tables(void **state)
{
    (void)state;
    const struct script_limits limits = {200000, 200000, 32u << 20};
    const struct table_options options = {.limits = &limits};
    setenv("CANVASS_TEST_TOKEN", "tok-123", 1);
    setenv("CANVASS_TEST_LINES", "tok\r\nX-Evil: 1", 1);
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        struct region_table *t = table_load_text("regions.lua", str_from(bad[i].text), &options, &err);
        if (t) {
            print_error("accepted: %s\n", bad[i].text);
            region_table_unref(t);
            wrong++;
        } else if (err.code != ERR_CONFIG || !strstr(err.text, bad[i].place) || !says(err.text, bad[i].what) ||
            !says(err.text, bad[i].cure)) {
            print_error("%s\ngives code %d: %s\nwanted: %s (%s): %s\n\n", bad[i].text, err.code, err.text, bad[i].what,
                        bad[i].place, bad[i].cure);
            wrong++;
        }
        assert_null(strstr(err.text, "tok-123"));
        assert_null(strstr(err.text, "X-Evil"));
    }
    assert_int_equal(wrong, 0);
}

/* Cut anywhere, a table is an error and never a crash or half a table. */
static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "return { limits = { endpoints = 8 }, regions = { us = { models = { m = { " URL " } } } } }";
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        struct err err = {0};
        assert_null(table_load_text("regions.lua", (struct str){text, len}, NULL, &err));
        assert_true(strstr(err.text, "regions.lua") != NULL);
    }
    region_table_unref(good(text));
}

static void test_table_that_holds_itself(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(load("local t = { regions = {} } for i = 1, 9 do t['k' .. i] = t end t.regions.us = t return t", &err));
    assert_non_null(strstr(err.text, "regions.us"));
}

/* ---- good tables ---- */

static const char design[] =
    "return {\n"
    "  limits   = { endpoints = 8, in_flight = 8 },\n"
    "  defaults = { adapter = 'modal', slots = 1, deadline = '15m', connect = '10s', hop = '3m', scaledown = '10m' },\n"
    "  regions  = {\n"
    "    us = {\n"
    "      aliases = { 'us-east', 'na' },  in_flight = 2,  health = 'https://us.example/',\n"
    "      models = {\n"
    "        ['llama3.2-1b']  = { url = 'https://us.example/a', price_per_second = 0.0003 },\n"
    "        ['qwen2.5-1.5b'] = { url = 'https://us.example/b' },\n"
    "      },\n"
    "    },\n"
    "    eu   = { models = { ['mistral-7b'] = { url = 'https://eu.example/' }, ['llama3.2-1b'] = { url = "
    "'https://eu.example/' } } },\n"
    "    asia = { paused = 'out of quota until Monday', models = { ['hf/qwen'] = { url = 'https://asia.example/' } } "
    "},\n"
    "  },\n"
    "}\n";

static void test_the_designs_table(void **state)
{
    (void)state;
    static const char *const order[] = {"asia/hf/qwen", "eu/llama3.2-1b", "eu/mistral-7b", "us/llama3.2-1b",
                                        "us/qwen2.5-1.5b"};
    struct region_table *t = good(design);
    assert_int_equal(t->endpoint_count, ARRAY_LEN(order));
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_string_equal(t->endpoints[i].id, order[i]);
        assert_int_equal(t->endpoints[i].index, i);
    }
    assert_int_equal(t->endpoints_max, 8);
    assert_int_equal(t->in_flight, 8);
    assert_int_equal(t->region_count, 3);
    assert_string_equal(t->regions[2].id, "us");
    assert_int_equal(region_table_region(t, "us-east"), 2);
    assert_int_equal(region_table_region(t, "na"), 2);
    assert_int_equal(region_table_region(t, "eu"), 1);
    assert_int_equal(region_table_region(t, "mars"), NO_INDEX);
    assert_int_equal(t->regions[2].in_flight, 2);
    assert_string_equal(t->regions[2].health, "https://us.example/");
    assert_string_equal(t->endpoints[0].paused, "out of quota until Monday");
    assert_null(t->endpoints[1].paused);
    assert_string_equal(t->source, design);
    assert_string_equal(t->path, "regions.lua");
    assert_int_equal(t->warning_count, 0);

    const struct endpoint_spec *e = &t->endpoints[3];
    assert_string_equal(e->url, "https://us.example/a");
    assert_string_equal(e->adapter, "modal");
    assert_true(e->price_per_second == 0.0003);
    assert_int_equal(e->deadline_us, 15 * MINUTE_US);
    assert_int_equal(e->region, 2);
    assert_int_equal(e->group, NO_INDEX);
    assert_int_equal(e->warm, WARM_HEALTH);
    assert_int_equal(t->endpoints[1].warm, WARM_NO); /* eu has no health url */
    assert_ptr_equal(region_table_endpoint(t, 0, "hf/qwen"), &t->endpoints[0]);
    region_table_unref(t);
}

static void test_durations_are_shown_whole(void **state)
{
    (void)state;
    static const struct { int64_t us; const char *text; } rows[] = {
        {0, "0s"}, {1, "0.001ms"}, {1500, "1.5ms"}, {170500000, "170500ms"}, {86400000000, "1d"},
        {486432008640, "486432008.64ms"}, {90000000000001, "90000000000.001ms"}};
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(table_duration(&arena, rows[i].us), rows[i].text);
    arena_done(&arena);
}

static void test_programs_defaults(void **state)
{
    (void)state;
    struct region_table *t = good("return { regions = { us = { models = { m = { " URL " } } } } }");
    const struct endpoint_spec *e = &t->endpoints[0];
    assert_int_equal(e->slots, 1);
    assert_true(e->rate_per_minute == 0);
    assert_int_equal(e->deadline_us, 15 * MINUTE_US);
    assert_int_equal(e->connect_us, 10 * SECOND_US);
    assert_int_equal(e->hop_us, 3 * MINUTE_US);
    assert_int_equal(e->scaledown_us, 10 * MINUTE_US);
    assert_int_equal(e->poll_us, SECOND_US);
    assert_int_equal(e->max_body_bytes, 8 << 20);
    assert_int_equal(e->retry.attempts, 4);
    assert_int_equal(e->retry.base_us, SECOND_US);
    assert_int_equal(e->retry.cap_us, MINUTE_US);
    assert_false(e->retry.unknown);
    assert_int_equal(e->breaker.failures, 5);
    assert_int_equal(e->breaker.window_us, MINUTE_US);
    assert_int_equal(e->breaker.cooldown_us, 30 * SECOND_US);
    assert_int_equal(e->adaptive.ceiling, 0);
    assert_setting(t, "us/m.deadline", "15m", "default");
    assert_setting(t, "us/m.adapter", "modal", "default");
    assert_setting(t, "limits.endpoints", "none", "default");
    region_table_unref(t);
}

static void test_inheritance(void **state)
{
    (void)state;
    struct region_table *t = good(
        "return { defaults = { slots = 2, hop = '200s', retry = { attempts = 7, base = 2 }, breaker = false, group = "
        "'acct',\n"
        "                      headers = { A = '1', B = '1', C = '1' }, paused = 'all', adaptive = true, proxy = "
        "'http://p:1' },\n"
        "  groups = { acct = { in_flight = 5, rate = 60 } },\n"
        "  regions = { us = { slots = 3, url = 'https://us.example/', retry = { cap = '90s' }, headers = { b = '2' }, "
        "paused = false,\n"
        "    models = { a = {}, b = { slots = 4, hop = 170.5, retry = { unknown = true }, breaker = { failures = 9 }, "
        "group = 'other',\n"
        "                             headers = { C = false, D = '3' }, adaptive = { ceiling = 16 }, proxy = false,\n"
        "                             url = 'https://b.example/', serves = { 'B-7b' }, origins = { "
        "'HTTPS://X.example:443' } } } } } }");
    const struct endpoint_spec *a = &t->endpoints[0], *b = &t->endpoints[1];
    assert_int_equal(a->slots, 3);
    assert_int_equal(b->slots, 4);
    assert_int_equal(a->hop_us, 200 * SECOND_US);
    assert_int_equal(b->hop_us, 170500000);
    assert_int_equal(b->retry.attempts, 7);
    assert_int_equal(b->retry.base_us, 2 * SECOND_US);
    assert_int_equal(b->retry.cap_us, 90 * SECOND_US);
    assert_true(b->retry.unknown);
    assert_false(a->retry.unknown);
    assert_int_equal(a->breaker.failures, 0);
    assert_int_equal(b->breaker.failures, 9);
    assert_int_equal(b->breaker.window_us, MINUTE_US);
    assert_int_equal(a->adaptive.floor, 1);
    assert_int_equal(a->adaptive.ceiling, 3);
    assert_int_equal(b->adaptive.ceiling, 16);
    assert_string_equal(a->proxy, "http://p:1");
    assert_null(b->proxy);
    assert_null(a->paused);
    assert_string_equal(a->url, "https://us.example/");
    assert_string_equal(b->url, "https://b.example/");
    assert_string_equal(b->serves[0], "B-7b");
    assert_string_equal(b->origins[0], "https://x.example");
    assert_int_equal(t->group_count, 2);
    assert_string_equal(t->groups[a->group].name, "acct");
    assert_int_equal(t->groups[a->group].in_flight, 5);
    assert_string_equal(t->groups[b->group].name, "other");
    assert_int_equal(a->header_count, 3);
    assert_int_equal(b->header_count, 3);
    assert_string_equal(b->headers[1].name, "b");
    assert_string_equal(b->headers[1].value, "2");
    assert_string_equal(b->headers[2].name, "D");

    assert_setting(t, "us/a.slots", "3", "region us");
    assert_setting(t, "us/b.slots", "4", "endpoint");
    assert_setting(t, "us/a.hop", "200s", "defaults");
    assert_setting(t, "us/b.hop", "170500ms", "endpoint");
    assert_setting(t, "us/b.retry.cap", "90s", "region us");
    assert_setting(t, "us/b.retry.attempts", "7", "defaults");
    assert_setting(t, "us/b.poll", "1s", "default");
    assert_setting(t, "us/a.breaker", "false", "defaults");
    assert_setting(t, "us/b.breaker.window", "1m", "endpoint");
    assert_setting(t, "us/a.adaptive", "{ floor = 1, ceiling = 3 }", "defaults");
    assert_setting(t, "us/b.headers.D", "3", "endpoint");
    assert_setting(t, "us/b.proxy", "false", "endpoint");
    assert_setting(t, "groups.acct.in_flight", "5", "group acct");
    region_table_unref(t);
}

static void test_a_regions_pause_holds(void **state)
{
    (void)state;
    struct region_table *t =
        good("return { regions = { us = { paused = true, models = { a = { " URL ", paused = false }, "
             "b = { " URL ", paused = 'mine' } } } } }");
    assert_string_equal(t->endpoints[0].paused, "paused in the region table");
    assert_string_equal(t->endpoints[1].paused, "mine");
    assert_string_equal(t->regions[0].paused, "paused in the region table");
    region_table_unref(t);
}

static void test_warnings(void **state)
{
    static const struct { const char *text, *words;
    } rows[] = {
        {ENDPOINT("hop = '100s'"), "hop is 100s, below the 150s"},
        {ENDPOINT("deadline = '1m'"), "deadline is 1m, below hop, which is 3m (regions.lua: " M ".deadline)"},
        {ENDPOINT("connect = '4m'"), "connect is 4m, above hop"},
        {ENDPOINT("warm = 'health'"), "region us has no health url"},
        {REGION("in_flight = 1, slots = 4"),
         "slots is 4, above the region's in_flight, which is 1 (regions.lua: regions.us.slots)"},
        {TOP("groups = { g = { in_flight = 1 } }"), "no endpoint is in group g"},
        {ENDPOINT("headers = { Authorization = 'Bearer abc' }"), "a credential in plain text"},
        {"return { regions = { us = { models = { m = { url = 'http://far.example/', headers = { A = secret "
         "'CANVASS_TEST_TOKEN' } } } } } }",
         "not https"},
    };
    (void)state;
    setenv("CANVASS_TEST_TOKEN", "tok-123", 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct region_table *t = good(rows[i].text);
        if (t->warning_count != 1 || !warned(t, rows[i].words))
            fail_msg("%s: %zu warnings: %s", rows[i].text, t->warning_count, t->warning_count ? t->warnings[0] : "");
        region_table_unref(t);
    }
    struct region_table *t = good("return { defaults = { hop = '100s' }, regions = { us = { models = { a = { " URL
                                  " }, b = { " URL " } } } } }");
    assert_int_equal(t->warning_count, 1); /* said once, where it was set */
    assert_true(warned(t, "defaults.hop"));
    region_table_unref(t);
}

static void test_sent_name_is_served(void **state)
{
    (void)state;
    struct region_table *t = good(ENDPOINT("serves = { 'x' }, options = { send_model = 'meta/Llama' }"));
    assert_int_equal(t->endpoints[0].serves_count, 1);
    assert_string_equal(t->endpoints[0].sent_as, "meta/Llama");
    assert_true(endpoint_served_model_ok(&t->endpoints[0], "meta/Llama"));
    assert_true(endpoint_served_model_ok(&t->endpoints[0], "x"));
    assert_false(endpoint_served_model_ok(&t->endpoints[0], "meta/Other"));
    region_table_unref(t);
}

static void test_many_endpoints(void **state)
{
    (void)state;
    struct region_table *t = good("local models = {} for i = 1, 500 do models[('m%03d'):format(i)] = { " URL " } end\n"
                                  "local regions = {} for i = 1, 4 do regions['r' .. i] = { models = models } end\n"
                                  "return { regions = regions }");
    assert_int_equal(t->endpoint_count, 2000);
    assert_string_equal(t->endpoints[1999].id, "r4/m500");
    region_table_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_table_that_holds_itself),
        cmocka_unit_test(test_the_designs_table),
        cmocka_unit_test(test_durations_are_shown_whole),
        cmocka_unit_test(test_programs_defaults),
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_a_regions_pause_holds),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_sent_name_is_served),
        cmocka_unit_test(test_many_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
