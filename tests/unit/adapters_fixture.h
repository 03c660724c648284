/* adapters_fixture.h -- a region table with one endpoint of each kind, loaded, and asked for what it would send. */
#ifndef TESTS_ADAPTERS_FIXTURE_H
#define TESTS_ADAPTERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/timeutil.h"
#include "script/table_file.h"

/* One endpoint for each adapter, all in one table. */
static const char table_text[] =
    "local function at(adapter, options, url) return { url = url or 'https://host.example/v1', adapter = adapter, "
    "options = options } end\n"
    "return { regions = { eu = { models = {\n"
    "  modal = at('modal'), modal2 = at('modal', { send_region = true, send_model = 'sent' }),\n"
    "  openai = at('openai'), openai2 = at('openai', { system = 'be brief', send_model = 'gpt-x' }),\n"
    "  anthropic = at('anthropic', { max_tokens = 64, system = 'sys' }), anthropic2 = at('anthropic'),\n"
    "  runpod = at('runpod', nil, 'https://api.host.example/v2/abc/run'), runpod2 = at('runpod', { sampling_params = "
    "true }),\n"
    "  http = at('http', { body = { inputs = 'Q: {{prompt}}', raw = '{{prompt}}', t = '{{parameters.temperature}}', n "
    "= '{{sample}}',\n"
    "      list = { 1, '{{region}}' }, none = {}, missing = '{{parameters.missing}}', meta = '{{question.category}}' "
    "},\n"
    "    answer = 'data[0].text', error = 'problem', model = 'meta[\"served.by\"]', region = 'region', prompt_tokens = "
    "'use.in',\n"
    "    completion_tokens = 'use.out', poll = 'next' }),\n"
    "  http2 = at('http', { body = '{\"q\": \"<{{prompt}}>\", \"t\": {{parameters.temperature}}, \"m\": {{model}}}', "
    "answer = 'a',\n"
    "    send_model = 'Sent' }),\n"
    "  http3 = at('http', { body = { p = 'x{{parameters.missing}}' }, answer = 'a' }),\n"
    "} } } }\n";

struct world {
    struct region_table *table;
    struct adapter_port port;
    struct job_spec job;
    struct question question;
    struct buf body;
};

static inline int open_world(void **state)
{
    struct err err;
    struct world *w = mem_zalloc(sizeof *w);
    w->table = table_load_text("regions.lua", str_from(table_text), NULL, &err);
    if (!w->table)
        print_error("%s\n", err.text);
    adapters_port(&w->port);
    w->job.parameters = "{\"temperature\":0.1,\"max_tokens\":500}";
    w->question = (struct question){.id = "q1", .prompt = STR("Say \"hi\"\n"), .metadata = "{\"category\":\"c\"}"};
    buf_init(&w->body, 4 << 20);
    *state = w;
    return w->table ? 0 : -1;
}

static inline int close_world(void **state)
{
    struct world *w = *state;
    region_table_unref(w->table);
    buf_done(&w->body);
    free(w);
    return 0;
}

static inline struct ask ask_of(struct world *w, const char *model)
{
    const struct endpoint_spec *e = region_table_endpoint(w->table, 0, model);
    assert_non_null(e);
    return (struct ask){.job = &w->job, .question = &w->question, .table = w->table, .endpoint = e, .sample = 1};
}

/* The body, or "error: ..." */
static const char *request(struct world *w, const char *model)
{
    struct err err = {0};
    struct ask ask = ask_of(w, model);
    buf_clear(&w->body);
    if (!w->port.request(w->port.ctx, &ask, &w->body, &err)) {
        buf_clear(&w->body);
        buf_addf(&w->body, "error: %s", err.text);
    }
    return buf_str(&w->body).ptr;
}

static inline void read_body(struct world *w, const char *model, int status, struct str body, struct answer *out)
{
    struct ask ask = ask_of(w, model);
    struct response r = {.wire = WIRE_ANSWERED, .http_status = status, .body = body};
    memset(out, 0xa5, sizeof *out);
    w->port.read(w->port.ctx, &ask, &r, out);
}

#endif
