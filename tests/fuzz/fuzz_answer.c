/* What an endpoint answers, through the built-in adapters and the rules: whatever it says, no adapter fails, nothing is
 * followed to another origin, and what is shown of it is harmless. The first byte chooses the endpoint, the second the
 * status, the third what is read. */
#include "fuzz.h"

#include "core/url.h"
#include "script/adapters_state.h"
#include "script/table_file.h"

enum { LUA_LINES = 1 << 14 };

/* libFuzzer sees which lines of Lua ran, as it sees the branches of C. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lines[LUA_LINES];

static const char table_text[] =
    "local function at(adapter, options, path)\n"
    "    return { adapter = adapter, options = options, url = 'https://host.example/v1' .. (path or '') }\n"
    "end\n"
    "return { regions = { eu = { aliases = { 'eu-west' }, models = {\n"
    "    a = at('modal'), b = at('openai'), c = at('anthropic', { max_tokens = 64 }), d = at('runpod', nil, '/run'),\n"
    "    e = at('http', { body = { p = '{{prompt}}' }, answer = 'a[0].b', error = 'error', model = 'm[\"n.o\"]',\n"
    "                     region = 'r', prompt_tokens = 'u.i', completion_tokens = 'u.o', poll = 'next' }),\n"
    "    f = at('http', { body = '{\"q\": {{prompt}}}', answer = 'a' }),\n"
    "} } } }\n";

static const int statuses[] = {200, 202, 400, 404, 408, 429, 500, 503, 299, 410, 599};

static struct region_table *table;
static struct adapter_port port;
static const struct job_spec job = {.parameters = "{\"temperature\":0.1}"};
static const struct question question = {.id = "q", .prompt = {"What?", 5}, .metadata = "{\"category\":\"c\"}"};

static lua_Hook real_hook;

static void count_line(lua_State *L, lua_Debug *ar)
{
    if (ar->event == LUA_HOOKCOUNT) {
        real_hook(L, ar);
        return;
    }
    lua_getinfo(L, "Sl", ar);
    uint32_t hash = 2166136261u;
    for (const char *c = ar->short_src; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    lines[(hash + (uint32_t)ar->currentline) % LUA_LINES]++;
}

static void open_table(void)
{
    struct err err = {0};
    table = table_load_text("regions.lua", str_from(table_text), NULL, &err);
    PROMISE(table, "%s", err.text);
    adapters_port(&port);
    const struct adapters *a = table->adapters;
    for (size_t i = 0; i < a->count; i++) {
        lua_State *L = script_state(a->list[i]->script);
        real_hook = lua_gethook(L);
        lua_sethook(L, count_line, LUA_MASKCOUNT | LUA_MASKLINE, lua_gethookcount(L));
    }
}

static void check_state(const struct endpoint_spec *e)
{
    const struct adapters *a = table->adapters;
    const struct adapter *ad = a->list[e->adapter_slot];
    PROMISE(ad->script && ad->strikes == 0, "adapter %s was stopped", e->adapter);
    PROMISE(lua_gettop(script_state(ad->script)) == 0, "adapter %s leaves something on the stack", e->adapter);
}

/* The adapter itself is at fault only in notes that name it; the endpoint's words cannot pass for them here. */
static void check_answer(const struct endpoint_spec *e, const struct answer *a)
{
    const struct adapters *all = table->adapters;
    const struct buf *note = &all->list[e->adapter_slot]->note;
    PROMISE(a->kind != ANSWER_ERROR || a->error.ptr != note->ptr, "adapter %s: %s", e->adapter, note->ptr);
    PROMISE(a->kind == ANSWER_TEXT ? a->text.ptr != NULL : a->kind == ANSWER_POLL || a->error.ptr, "nothing is said");
    PROMISE(a->prompt_tokens >= -1 && a->completion_tokens >= -1 && a->wait_us >= -1, "a negative number");
    PROMISE(!a->poll_url || url_check(a->poll_url, "poll", NULL), "%s", a->poll_url);
}

static void check_outcome(const struct endpoint_spec *e, bool on_result_url, const struct response *r,
                          const struct answer *a)
{
    struct outcome out;
    outcome_decide(table, e, on_result_url, r, a, 1e9, &out);
    fuzz_plain(str_from(out.error), true);
    bool followed = out.action == ACTION_FOLLOW && out.url;
    PROMISE(!followed || url_same_origin(out.url, e->url), "followed to %s", out.url);
    PROMISE(out.action != ACTION_REPOST, "posted a second time to %s", out.url);
    PROMISE(out.action != ACTION_SUCCEED || (a->kind == ANSWER_TEXT && r->http_status < 300),
            "an answer out of nothing");
    PROMISE((out.action != ACTION_FAIL && out.action != ACTION_RETRY) || (out.class && out.error[0]),
            "failed without a reason");
    PROMISE(out.wait_us >= -1, "%lld us", (long long)out.wait_us);
}

static void read_health(const struct endpoint_spec *e, const struct response *r)
{
    struct health health;
    struct err err = {0};
    PROMISE(adapter_health(table, e, r, &health, &err), "%s", err.text);
    PROMISE(health.model_count <= ARRAY_LEN(health.models), "%zu models", health.model_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    if (!table)
        open_table();
    const struct endpoint_spec *e = &table->endpoints[fuzz_byte(&input) % table->endpoint_count];
    struct response r = {.wire = WIRE_ANSWERED, .http_status = statuses[fuzz_byte(&input) % ARRAY_LEN(statuses)]};
    uint8_t what = fuzz_byte(&input) % 3;
    r.body = input;
    if (what == 2) {
        read_health(e, &r);
    } else {
        struct ask ask = {.job = &job, .question = &question, .table = table, .endpoint = e, .sample = 1};
        struct answer a;
        port.read(port.ctx, &ask, &r, &a);
        check_answer(e, &a);
        check_outcome(e, what == 1, &r, &a);
    }
    check_state(e);
    return 0;
}
