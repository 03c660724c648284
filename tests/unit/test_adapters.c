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

static int open_world(void **state)
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

static int close_world(void **state)
{
    struct world *w = *state;
    region_table_unref(w->table);
    buf_done(&w->body);
    free(w);
    return 0;
}

static struct ask ask_of(struct world *w, const char *model)
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

static void read_body(struct world *w, const char *model, int status, struct str body, struct answer *out)
{
    struct ask ask = ask_of(w, model);
    struct response r = {.wire = WIRE_ANSWERED, .http_status = status, .body = body};
    memset(out, 0xa5, sizeof *out);
    w->port.read(w->port.ctx, &ask, &r, out);
}

/* ---- requests ---- */

static void test_requests(void **state)
{
    static const struct { const char *model, *body;
    } rows[] = {
        {"modal", "{\"max_tokens\":500,\"model\":\"modal\",\"prompt\":\"Say \\\"hi\\\"\\n\",\"temperature\":0.1}"},
        {"modal2", "{\"max_tokens\":500,\"model\":\"sent\",\"prompt\":\"Say "
                   "\\\"hi\\\"\\n\",\"region\":\"eu\",\"temperature\":0.1}"},
        {"openai", "{\"max_tokens\":500,\"messages\":[{\"content\":\"Say "
                   "\\\"hi\\\"\\n\",\"role\":\"user\"}],\"model\":\"openai\","
                   "\"temperature\":0.1}"},
        {"openai2", "{\"max_tokens\":500,\"messages\":[{\"content\":\"be brief\",\"role\":\"system\"},"
                    "{\"content\":\"Say \\\"hi\\\"\\n\",\"role\":\"user\"}],\"model\":\"gpt-x\",\"temperature\":0.1}"},
        {"anthropic", "{\"max_tokens\":500,\"messages\":[{\"content\":\"Say \\\"hi\\\"\\n\",\"role\":\"user\"}],"
                      "\"model\":\"anthropic\",\"system\":\"sys\",\"temperature\":0.1}"},
        {"runpod",
         "{\"input\":{\"max_tokens\":500,\"model\":\"runpod\",\"prompt\":\"Say \\\"hi\\\"\\n\",\"temperature\":0.1}}"},
        {"runpod2", "error: adapter runpod cannot ask eu/runpod2: the url does not end in /run or /runsync: write "
                    "https://api.runpod.ai/v2/ENDPOINT/run"},
        {"http", "{\"inputs\":\"Q: Say \\\"hi\\\"\\n\",\"list\":[1,\"eu\"],\"meta\":\"c\",\"n\":1,\"none\":{},"
                 "\"raw\":\"Say \\\"hi\\\"\\n\",\"t\":0.1}"},
        {"http2", "{\"q\": \"<Say \\\"hi\\\"\\n>\", \"t\": 0.1, \"m\": \"Sent\"}"},
        {"http3",
         "error: adapter http cannot ask eu/http3: {{parameters.missing}} has no value for this question: set it in "
         "the job, or make it the whole value"},
    };
    struct world *w = *state;
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            assert_string_equal(request(w, rows[i].model), rows[i].body);
}

static void test_jobs_parameters(void **state)
{
    struct world *w = *state;
    w->job.parameters = "{}";
    assert_string_equal(request(w, "modal"), "{\"model\":\"modal\",\"prompt\":\"Say \\\"hi\\\"\\n\"}");
    assert_non_null(strstr(request(w, "anthropic"), "\"max_tokens\":64"));
    assert_non_null(strstr(request(w, "anthropic2"),
                           "error: adapter anthropic cannot ask eu/anthropic2: max_tokens is not set: put"));
    assert_non_null(strstr(request(w, "http2"), "\"t\": null"));
    /* Another job may lie at the same address: its parameters count, not what was kept. */
    char parameters[] = "{\"seed\":1}";
    w->job.parameters = parameters;
    assert_non_null(strstr(request(w, "modal"), "\"seed\":1"));
    parameters[8] = '2';
    assert_non_null(strstr(request(w, "modal"), "\"seed\":2"));
    w->job.parameters = "{\"model\":\"evil\",\"prompt\":\"evil\",\"stop\":[],\"x\":{\"y\":null}}";
    assert_string_equal(request(w, "modal"),
                        "{\"model\":\"modal\",\"prompt\":\"Say \\\"hi\\\"\\n\",\"stop\":[],\"x\":{\"y\":null}}");
    w->job.parameters = "{\"stream\":true}";
    assert_non_null(
        strstr(request(w, "openai"), "error: adapter openai cannot ask eu/openai: parameters.stream is set"));
    w->job.parameters = "{\"n\":3}";
    assert_non_null(strstr(request(w, "openai"), "parameters.n is set: use `samples`"));
    w->job.parameters = "{\"system\":\"mine\"}";
    assert_non_null(strstr(request(w, "openai2"), "{\"content\":\"mine\",\"role\":\"system\"}"));
    assert_null(strstr(request(w, "openai2"), "\"system\":\"mine\""));
}

static void test_hostile_prompts(void **state)
{
    struct world *w = *state;
    w->question.prompt = STR("a\0b\xff\"\\{{model}}\x01");
    assert_non_null(strstr(request(w, "modal"), "\"prompt\":\"a\\u0000b\xef\xbf\xbd\\\"\\\\{{model}}\\u0001\""));
    assert_non_null(strstr(request(w, "http2"), "\"q\": \"<a\\u0000b\xef\xbf\xbd\\\"\\\\{{model}}\\u0001>\""));

    size_t len = 1 << 20;
    char *big = mem_alloc(len);
    memset(big, 'x', len);
    w->question.prompt = (struct str){big, len};
    assert_true(strlen(request(w, "modal")) > len);
    buf_done(&w->body);
    buf_init(&w->body, 1000);
    assert_non_null(strstr(request(w, "modal"), "error: adapter modal makes no request for eu/modal"));
    free(big);
}

/* ---- answers ---- */

#define NONE (-1)

/* The bodies are written with ' for ". */
static const struct row {
    const char *model;
    int status;
    const char *body;
    enum answer_kind kind;
    const char *words; /* the text, or a part of the error; the poll URL */
    enum failure_class class;
    bool transient;
    const char *served_model, *served_region;
    int64_t prompt_tokens, completion_tokens;
} rows[] = {
#define TEXT(model, body, text, served_model, served_region, prompt_tokens, completion_tokens) \
    {model, 200, body, ANSWER_TEXT, text, 0, false, served_model, served_region, prompt_tokens, completion_tokens}
#define PLAIN(model, body, text) TEXT(model, body, text, NULL, NULL, NONE, NONE)
#define POLL(model, body, url) {model, 200, body, ANSWER_POLL, url, 0, false, NULL, NULL, NONE, NONE}
#define UNREADABLE(model, status, body, words) \
    {model, status, body, ANSWER_UNREADABLE, words, 0, false, NULL, NULL, NONE, NONE}
#define STATUS(model, status, body, words) {model, status, body, ANSWER_ERROR, words, 0, false, NULL, NULL, NONE, NONE}
#define PASSING(model, body, class, words) {model, 200, body, ANSWER_ERROR, words, class, true, NULL, NULL, NONE, NONE}
#define FINAL(model, status, body, class, words) \
    {model, status, body, ANSWER_ERROR, words, class, false, NULL, NULL, NONE, NONE}
    /* modal, both schemas */
    TEXT("modal",
     "{'status':'success','response':'Paris.','model':'llama3.2-1b','inference_time':2.1,'region':'us-east',"
     "'tokens_generated':3,'gpu_memory_used':1.5}", "Paris.", "llama3.2-1b", "us-east", NONE, 3),
    TEXT("modal", "{'success':true,'response':'','model':'m','region':'eu-west'}", "", "m", "eu-west", NONE, NONE),
    TEXT("modal",
     "{'success':true,'output':'o','receipt':{'execution_details':{'region':'eu','model':'mm'},"
     "'output':{'tokens_generated':7}}}", "o", "mm", "eu", NONE, 7),
    PLAIN("modal", "{'status':'success','text':'t'}", "t"),
    PLAIN("modal", "{'success':true,'response':null,'text':'t','model':null,'region':5,'tokens_generated':'x'}", "t"),
    PLAIN("modal", "{'success':true,'error':null,'response':'x','tokens_generated':1e300}", "x"),
    PLAIN("modal", "{'success':true,'response':'x','tokens_generated':-4}", "x"),
    TEXT("modal", "{'success':true,'response':'x','tokens_generated':4.0}", "x", NULL, NULL, NONE, 4),
    FINAL("modal", 200, "{'success':true}", CLASS_BAD_RESPONSE, "success without a text"),
    FINAL("modal", 200, "{'success':true,'response':{'a':1}}", CLASS_BAD_RESPONSE, "success without a text"),
    FINAL("modal", 200, "{'response':'x'}", CLASS_BAD_RESPONSE, "neither success nor error"),
    FINAL("modal", 200,
     "{'status':'error','error':'Unknown model: x','region':'us'}", CLASS_CONFIG, "Unknown model: x"),
    FINAL("modal", 200, "{'success':false,'error':'Prompt is required'}", CLASS_CONFIG, "Prompt is required"),
    PASSING("modal", "{'success':false,'error':'CUDA out of memory'}", CLASS_BAD_RESPONSE, "CUDA out of memory"),
    PASSING("modal", "{'success':false}", CLASS_BAD_RESPONSE, "gives no reason"),
    PASSING("modal", "{'success':false,'error':{'a':[1]}}", CLASS_BAD_RESPONSE, "{\"a\":[1]}"),
    UNREADABLE("modal", 200, "<html>oops</html>", "not the expected JSON (adapter modal): <html>oops"),
    UNREADABLE("modal", 200, "", "not the expected JSON"),
    FINAL("modal", 200, "[]", CLASS_BAD_RESPONSE, "neither"),
    UNREADABLE("modal", 200, "'text'", "no answer in the body"),
    UNREADABLE("modal", 200, "null", "no answer in the body"),
    STATUS("modal", 404, "modal-http: invalid function call", "modal-http: invalid function call"),
    STATUS("modal", 429,
     "{'detail':'workspace billing cycle spend limit reached'}", "workspace billing cycle spend limit reached"),
    STATUS("modal", 422, "{'detail':[{'loc':['body'],'msg':'field required'}]}", "field required"),
    STATUS("modal", 500, "", ""),
    /* openai and its many servers */
    TEXT("openai",
     "{'id':'c','object':'chat.completion','model':'gpt-4o-2024-08-06','choices':[{'index':0,"
     "'message':{'role':'assistant','content':'Paris.','refusal':null},'finish_reason':'stop'}],"
     "'usage':{'prompt_tokens':9,'completion_tokens':2,'total_tokens':11}}", "Paris.", "gpt-4o-2024-08-06", NULL, 9, 2),
    PLAIN("openai", "{'choices':[{'message':{'content':''}}]}", ""),
    PLAIN("openai", "{'choices':[{'message':{'content':null,'refusal':'I cannot.'}}]}", "I cannot."),
    PLAIN("openai",
     "{'choices':[{'message':{'content':[{'type':'text','text':'a'},{'type':'image'},{'type':'text',"
     "'text':'b'}],'reasoning_content':'hm'}}],'usage':null}", "ab"),
    PLAIN("openai", "{'choices':[{'text':'legacy'}]}", "legacy"),
    FINAL("openai", 200,
     "{'choices':[{'message':{'content':null,'tool_calls':[{'id':'t'}]},'finish_reason':'tool_calls'}]}",
     CLASS_BAD_RESPONSE, "called a tool"),
    FINAL("openai", 200,
     "{'choices':[{'message':{'content':null},'finish_reason':'content_filter'}]}",
     CLASS_BAD_RESPONSE, "content filter"),
    FINAL("openai", 200,
     "{'choices':[{'message':{'content':null,'reasoning_content':'...'},'finish_reason':'length'}]}",
     CLASS_BAD_RESPONSE, "raise max_tokens"),
    FINAL("openai", 200, "{'choices':[{'message':{}}]}", CLASS_BAD_RESPONSE, "no content"),
    FINAL("openai", 200, "{'choices':[]}", CLASS_BAD_RESPONSE, "no choices"),
    FINAL("openai", 200, "{'choices':'x'}", CLASS_BAD_RESPONSE, "no choices"),
    FINAL("openai", 200, "{'choices':[null]}", CLASS_BAD_RESPONSE, "no choices"),
    FINAL("openai", 200,
     "{'choices':[{'message':'x','finish_reason':7}],'usage':[],'model':{}}", CLASS_BAD_RESPONSE, "no content"),
    PASSING("openai", "{'error':{'message':'slow down','code':429}}", CLASS_RATE_LIMITED, "slow down"),
    PASSING("openai", "{'error':{'message':'down','code':503}}", CLASS_HTTP_SERVER, "down"),
    FINAL("openai", 200, "{'error':'model not loaded'}", CLASS_BAD_RESPONSE, "model not loaded"),
    PASSING("openai", "{'choices':[{'error':{'message':'upstream','code':502}}]}", CLASS_HTTP_SERVER, "upstream"),
    FINAL("openai", 429,
     "{'error':{'message':'You exceeded your current quota','type':'insufficient_quota',"
     "'code':'insufficient_quota'}}", CLASS_QUOTA_EXHAUSTED, "You exceeded your current quota"),
    STATUS("openai", 429,
     "{'error':{'message':'Rate limit','type':'tokens','code':'rate_limit_exceeded'}}", "Rate limit"),
    STATUS("openai", 401, "{'error':{'message':'Incorrect API key','code':'invalid_api_key'}}", "Incorrect API key"),
    STATUS("openai", 502, "<html>Bad Gateway</html>", "Bad Gateway"),
    UNREADABLE("openai", 200, "data: {'x':1}\n\n", "data: {"),
    /* anthropic */
    TEXT("anthropic",
     "{'id':'m','type':'message','role':'assistant','model':'claude-x','content':[{'type':'thinking',"
     "'thinking':'hm'},{'type':'text','text':'Par'},{'type':'text','text':'is'}],'stop_reason':'end_turn',"
     "'usage':{'input_tokens':10,'cache_creation_input_tokens':null,'cache_read_input_tokens':5,"
     "'output_tokens':2}}", "Paris", "claude-x", NULL, 15, 2),
    PLAIN("anthropic", "{'type':'message','content':[],'stop_reason':'end_turn'}", ""),
    PLAIN("anthropic", "{'type':'message','content':[],'stop_reason':'refusal'}", ""),
    FINAL("anthropic", 200,
     "{'type':'message','content':[{'type':'tool_use'}],'stop_reason':'tool_use'}",
     CLASS_BAD_RESPONSE, "stop_reason tool_use"),
    FINAL("anthropic", 200, "{'type':'message','content':'x'}", CLASS_BAD_RESPONSE, "no content"),
    FINAL("anthropic", 200, "{'content':[{'type':'text','text':5}],'stop_reason':null}", CLASS_BAD_RESPONSE, "no text"),
    PASSING("anthropic",
     "{'type':'error','error':{'type':'overloaded_error','message':'Overloaded'}}", CLASS_HTTP_SERVER, "Overloaded"),
    PASSING("anthropic",
     "{'type':'error','error':{'type':'rate_limit_error','message':'Slow'}}", CLASS_RATE_LIMITED, "Slow"),
    STATUS("anthropic", 529,
     "{'type':'error','error':{'type':'overloaded_error','message':'Overloaded'}}", "Overloaded"),
    FINAL("anthropic", 400,
     "{'type':'error','error':{'type':'invalid_request_error','message':'Your credit balance is too low'}}",
     CLASS_QUOTA_EXHAUSTED, "credit balance"),
    /* runpod */
    POLL("runpod", "{'id':'a-1','status':'IN_QUEUE'}", "https://api.host.example/v2/abc/status/a-1"),
    POLL("runpod", "{'id':'a-1','status':'IN_PROGRESS'}", "https://api.host.example/v2/abc/status/a-1"),
    FINAL("runpod", 200, "{'id':'../../x','status':'IN_QUEUE'}", CLASS_BAD_RESPONSE, "no usable id"),
    FINAL("runpod", 200, "{'status':'IN_QUEUE'}", CLASS_BAD_RESPONSE, "no usable id"),
    PLAIN("runpod", "{'id':'a','status':'COMPLETED','output':'Paris'}", "Paris"),
    PLAIN("runpod", "{'status':'COMPLETED','output':{'text':'t'}}", "t"),
    TEXT("runpod",
     "{'status':'COMPLETED','output':[{'choices':[{'tokens':['a','b']}],'usage':{'input':3,'output':2}}]}",
     "ab", NULL, NULL, 3, 2),
    PLAIN("runpod", "{'status':'COMPLETED','output':['a',{'text':'b'}]}", "ab"),
    TEXT("runpod",
     "{'status':'COMPLETED','output':{'choices':[{'message':{'content':'c'}}],'model':'m'}}",
     "c", "m", NULL, NONE, NONE),
    TEXT("runpod",
     "{'status':'COMPLETED','output':{'success':true,'response':'r','region':'eu'}}", "r", NULL, "eu", NONE, NONE),
    FINAL("runpod", 200,
     "{'status':'COMPLETED','output':{'success':false,'error':'Unknown model: q'}}", CLASS_CONFIG, "Unknown model: q"),
    FINAL("runpod", 200,
     "{'status':'COMPLETED','output':{'error':'worker says no'}}", CLASS_BAD_RESPONSE, "worker says no"),
    FINAL("runpod", 200, "{'status':'COMPLETED'}", CLASS_BAD_RESPONSE, "holds no text"),
    FINAL("runpod", 200, "{'status':'COMPLETED','output':[null,[[]]]}", CLASS_BAD_RESPONSE, "holds no text"),
    PASSING("runpod", "{'status':'FAILED','error':'boom'}", CLASS_BAD_RESPONSE, "boom"),
    FINAL("runpod", 200, "{'status':'CANCELLED'}", CLASS_BAD_RESPONSE, "cancelled at the provider"),
    FINAL("runpod", 200, "{'status':'TIMED_OUT'}", CLASS_TIMEOUT, "timeout"),
    FINAL("runpod", 200, "{'status':{'a':1}}", CLASS_BAD_RESPONSE, "no job status"),
    STATUS("runpod", 401, "{'error':'unauthorized'}", "unauthorized"),
    /* http */
    TEXT("http",
     "{'data':[{'text':'t'}],'meta':{'served.by':'mm'},'region':'eu','use':{'in':1,'out':2}}", "t", "mm", "eu", 1, 2),
    PLAIN("http", "{'data':[{'text':4.5}],'problem':null}", "4.5"),
    PLAIN("http", "{'data':[{'text':false}],'problem':''}", "false"),
    FINAL("http", 200, "{'data':[{'text':null}]}", CLASS_BAD_RESPONSE, "nothing at data[0].text"),
    FINAL("http", 200, "{'data':{'text':'x'}}", CLASS_BAD_RESPONSE, "nothing at data[0].text"),
    FINAL("http", 200, "{'data':[{'text':{}}]}", CLASS_BAD_RESPONSE, "stands a table"),
    FINAL("http", 200, "{'problem':{'message':'no'}}", CLASS_BAD_RESPONSE, "no"),
    FINAL("http", 200, "{'problem':[1,2]}", CLASS_BAD_RESPONSE, "[1,2]"),
    POLL("http", "{'next':'/poll/1'}", "https://host.example/poll/1"),
    POLL("http", "{'next':'https://other.example/1'}", "https://other.example/1"),
    UNREADABLE("http", 200, "{'next':'//evil.example/1'}", "gives \"//evil.example/1\" to ask for"),
    UNREADABLE("http", 200, "{'next':'file:///etc/passwd'}", "which is no URL"),
    STATUS("http", 500, "{'problem':'boom'}", "boom"),
    STATUS("http", 503, "{'message':'busy'}", "busy"),
    UNREADABLE("http", 202, "{'state':'later'}", "no answer in the body"),
};

static struct str quoted(const char *body, char out[2048])
{
    size_t len = strlen(body);
    assert_true(len < 2048);
    for (size_t i = 0; i < len; i++)
        out[i] = body[i] == '\'' ? '"' : body[i];
    return (struct str){out, len};
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool row_fits(const struct row *r, const struct answer *a)
{
    bool ok = a->kind == r->kind && a->class == r->class && a->transient == r->transient &&
              same(a->served_model, r->served_model) && same(a->served_region, r->served_region) &&
              a->prompt_tokens == r->prompt_tokens && a->completion_tokens == r->completion_tokens && a->wait_us == -1;
    if (a->kind == ANSWER_TEXT)
        return ok && str_is(a->text, r->words);
    if (a->kind == ANSWER_POLL)
        return ok && same(a->poll_url, r->words);
    return ok && (!*r->words || (a->error.ptr && strstr(a->error.ptr, r->words)));
}

static void test_answers(void **state)
{
    struct world *w = *state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer a;
        char body[2048];
        read_body(w, rows[i].model, rows[i].status, quoted(rows[i].body, body), &a);
        if (row_fits(&rows[i], &a))
            continue;
        wrong++;
        print_error("%s %d %s\ngives kind %d class %s transient %d text %.*s error %.*s poll %s model %s region %s "
                    "tokens %lld %lld\n\n",
                    rows[i].model, rows[i].status, rows[i].body, a.kind, class_name(a.class), a.transient,
                    (int)a.text.len, a.text.ptr, (int)a.error.len, a.error.ptr, a.poll_url ? a.poll_url : "-",
                    a.served_model ? a.served_model : "-", a.served_region ? a.served_region : "-",
                    (long long)a.prompt_tokens, (long long)a.completion_tokens);
    }
    assert_int_equal(wrong, 0);
}

/* Each body of the table with bytes changed, cut and doubled: whatever comes, an outcome and no crash. */
static void test_mutated_answers(void **state)
{
    struct world *w = *state;
    struct rng rng;
    rng_seed(&rng, 1);
    char body[2048];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned round = 0; round < 60; round++) {
            size_t len = quoted(rows[i].body, body).len;
            for (unsigned change = 0; change < 3 && len; change++) {
                body[rng_next(&rng) % len] = "\"{}[]:,0n\xff\\e"[rng_next(&rng) % 12];
            }
            if (round % 4 == 0 && len)
                len = rng_next(&rng) % len;
            struct answer a;
            read_body(w, rows[i].model, rows[i].status, (struct str){body, len}, &a);
            assert_in_range(a.kind, ANSWER_TEXT, ANSWER_UNREADABLE);
            assert_in_range(a.class, CLASS_NONE, CLASS_COUNT - 1);
            assert_true((a.kind == ANSWER_TEXT) == (a.text.ptr != NULL));
        }
    }
}

static const char *const all_models[] = {"modal", "openai", "anthropic", "runpod", "http"};

static void test_hostile_bodies(void **state)
{
    struct world *w = *state;
    size_t big = 1 << 20;
    char *deep = mem_alloc(big), *wide = mem_alloc(big), *text = mem_alloc(big);
    memset(deep, '[', big);
    for (size_t i = 0; i + 1 < big; i += 2)
        memcpy(wide + i, i ? "0," : "[0", 2);
    int head = snprintf(text, 64, "{\"success\":true,\"response\":\"");
    memset(text + head, 'y', big - (size_t)head - 2);
    memcpy(text + big - 2, "\"}", 2);

    static const char bad_utf8[] =
        "{\"success\":true,\"response\":\"a\xff\xc3(\\ud800\",\"choices\":[{\"message\":{\"content\":\"\xfe\"}}]}";
    for (size_t i = 0; i < ARRAY_LEN(all_models); i++) {
        struct answer a;
        read_body(w, all_models[i], 200, (struct str){deep, big}, &a);
        assert_int_equal(a.kind, ANSWER_UNREADABLE);
        read_body(w, all_models[i], 200, (struct str){wide, big}, &a);
        assert_int_not_equal(a.kind, ANSWER_TEXT);
        read_body(w, all_models[i], 500, (struct str){deep, big}, &a);
        assert_int_equal(a.kind, ANSWER_ERROR);
        read_body(w, all_models[i], 200, (struct str){NULL, 0}, &a);
        assert_int_equal(a.kind, ANSWER_UNREADABLE);
        read_body(w, all_models[i], 200, (struct str){bad_utf8, sizeof bad_utf8 - 1}, &a);
        assert_int_equal(a.kind, strcmp(all_models[i], "modal") == 0 || strcmp(all_models[i], "openai") == 0
                                     ? ANSWER_TEXT
                                     : ANSWER_ERROR);
    }
    struct answer a;
    read_body(w, "modal", 200, (struct str){text, big}, &a);
    assert_int_equal(a.kind, ANSWER_TEXT);
    assert_int_equal(a.text.len, big - (size_t)head - 2);
    free(deep);
    free(wide);
    free(text);
}

static void test_health(void **state)
{
    static const struct {
        const char *model;
        int status;
        const char *body, *health_status, *region;
        size_t models;
        bool readable;
    } cases[] = {
        {"modal", 200, "{\"status\":\"healthy\",\"models_available\":[\"a\",\"b\",5],\"region\":\"us-east\"}",
         "healthy", "us-east", 2, true},
        {"modal", 200, "{\"models_available\":\"a\",\"status\":1}", "", "", 0, true},
        {"modal", 500, "{}", "", "", 0, false},
        {"modal", 200, "x", "", "", 0, false},
        {"openai", 200, "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-x\"},{\"id\":null},7]}", "", "", 1, true},
        {"openai", 200, "{\"status\":\"ok\"}", "ok", "", 0, true},
        {"anthropic", 200, "{\"data\":[{\"id\":\"claude\"}]}", "", "", 1, true},
        {"runpod", 200, "{\"jobs\":{},\"workers\":{\"idle\":1,\"running\":0}}", "healthy", "", 0, true},
        {"runpod", 200, "{\"workers\":null}", "no workers", "", 0, true},
        {"http", 200, "{}", "", "", 0, false}, /* it has none */
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct health h;
        struct response r = {.http_status = cases[i].status, .body = str_from(cases[i].body)};
        if (!adapter_health(w->table, region_table_endpoint(w->table, 0, cases[i].model), &r, &h, &err))
            fail_msg("%s", err.text);
        assert_int_equal(h.readable, cases[i].readable);
        assert_true(str_is(h.status, cases[i].health_status));
        assert_true(str_is(h.region, cases[i].region));
        assert_int_equal(h.model_count, cases[i].models);
    }
    /* More models than there is room for are left out. */
    struct buf many;
    struct health h;
    buf_init(&many, 1 << 20);
    buf_adds(&many, "{\"models_available\":[\"m\"");
    for (unsigned i = 0; i < 1000; i++)
        buf_adds(&many, ",\"m\"");
    buf_adds(&many, "]}");
    struct response r = {.http_status = 200, .body = buf_str(&many)};
    assert_true(adapter_health(w->table, region_table_endpoint(w->table, 0, "modal"), &r, &h, NULL));
    assert_int_equal(h.model_count, ARRAY_LEN(h.models));
    buf_done(&many);
}

/* ---- an operator's own adapters ---- */

struct own {
    struct world world;
    char folder[64];
};

static const char *const own_names[] = {"one", "two"};

static int close_own(void **state)
{
    struct own *o = *state;
    char path[200];
    for (size_t i = 0; i < ARRAY_LEN(own_names); i++) {
        snprintf(path, sizeof path, "%s/%s.lua", o->folder, own_names[i]);
        remove(path);
    }
    snprintf(path, sizeof path, "%s/part.lua", o->folder);
    remove(path);
    rmdir(o->folder);
    region_table_unref(o->world.table);
    buf_done(&o->world.body);
    free(o);
    return 0;
}

static int open_own(void **state)
{
    struct own *o = mem_zalloc(sizeof *o);
    strcpy(o->folder, "/tmp/canvass-adapters-XXXXXX");
    adapters_port(&o->world.port);
    o->world.job.parameters = "{}";
    o->world.question =
        (struct question){.id = "q", .prompt = STR("p"), .expected = "42", .metadata = "{\"k\":[1,{}]}"};
    buf_init(&o->world.body, 1 << 20);
    *state = o;
    return mkdtemp(o->folder) ? 0 : -1;
}

static void write_own(struct own *o, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s.lua", o->folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A machine that is busy with others counts their time as the script's: what must be within a limit gets plenty. */
enum { LOAD_US = 2000000, CALL_US = 300000, PATIENT_CALL_US = 20000000 };

static struct world *own_world_within(struct own *o, int64_t call_us, const char *one, const char *two)
{
    const struct script_limits limits = {LOAD_US, call_us, 4u << 20};
    struct table_options options = {.limits = &limits};
    struct err err = {0};
    char path[200];
    write_own(o, "one", one);
    write_own(o, "two", two);
    snprintf(path, sizeof path, "%s/regions.lua", o->folder);
    region_table_unref(o->world.table);
    o->world.table = table_load_text(path,
                                     STR("return { regions = { eu = { url = 'https://h.example/', models = {\n"
                                         "one = { adapter = 'one' }, two = { adapter = 'two' } } } } }"),
                                     &options, &err);
    if (!o->world.table)
        fail_msg("%s", err.text);
    return &o->world;
}

/* Loads a table with the adapters "one" and "two" in front of endpoints of the same names. */
static struct world *own_world(struct own *o, const char *one, const char *two)
{
    return own_world_within(o, CALL_US, one, two);
}

#define ADAPTER(request, answer) \
    "return { request = function(ask) " request " end, answer = function(response, ask) " answer " end }"

static const char harmless[] = ADAPTER("return ask.model", "return { text = response.body }");

static void test_what_a_script_sees(void **state)
{
    struct world *w =
        own_world(*state,
                  ADAPTER("local q = ask.question\n"
                          "return table.concat({ ask.prompt, ask.model, ask.region, ask.endpoint, ask.url, "
                          "tostring(ask.sample), q.id, q.prompt,\n"
                          "  tostring(q.expected), tostring(q.k[1]), tostring(ask.nothing), "
                          "tostring(next(ask.options)), type(ask.parameters) }, ' ')",
                          "return { text = response.status .. ' ' .. response.body .. ' ' .. tostring(response.json == "
                          "nil) .. ' ' ..\n"
                          "  tostring(response.nothing) .. ' ' .. ask.question.id .. ' ' .. ask.prompt, wait = 1.5 }"),
                  harmless);
    struct answer a;
    assert_string_equal(request(w, "one"), "p one eu eu/one https://h.example/ 1 q p 42 1 nil nil table");
    read_body(w, "one", 201, STR("body"), &a);
    assert_true(str_is(a.text, "201 body true nil q p"));
    assert_int_equal(a.wait_us, 1500000);
    w->question.metadata = w->question.expected = NULL;
    w->question.prompt = STR("other");
    read_body(w, "one", 200, STR("[1]"), &a);
    assert_true(str_is(a.text, "200 [1] false nil q other"));
}

static void test_adapters_faults(void **state)
{
    /* The adapter's own faults are final, for the next POST would be paid for too; those of the body are not. */
    static const struct { const char *answer, *words; bool readable; } faults[] = {
        {"error 'broken here'", "one.lua:1: broken here", false},
        {"error({})", "adapter one", false},
        {"return nil .. 'x'", "attempt to concatenate", false},
        {"return 5", "answer() returns a number (adapter one)", false},
        {"return {}", "answer() returns no outcome (adapter one)", false},
        {"return { text = 'a', error = 'b' }", "more than one outcome", false},
        {"return { text = 'a', tokens = 5 }", "unknown \"tokens\" (adapter one)", false},
        {"return { 'a' }", "unknown \"number\"", false},
        {"return { text = 5 }", "a number in \"text\" that cannot be one", false},
        {"return { error = true }", "a boolean in \"error\"", false},
        {"return { error = 'x', class = 'no_such' }", "a string in \"class\"", false},
        {"return { error = 'x', transient = 1 }", "in \"transient\"", false},
        {"return { poll = 'not a url' }", "gives \"not a url\" to ask for", true},
        {"return { poll = 5 }", "a number in \"poll\"", false},
        {"return { poll = false }", "in \"poll\"", false},
        {"return { poll = true, wait = -1 }", "in \"wait\"", false},
        {"return { poll = true, wait = 0/0 }", "in \"wait\"", false},
        {"return { text = 'x', prompt_tokens = 1e18 }", "in \"prompt_tokens\"", false},
        {"return { text = 'x', completion_tokens = '5' }", "in \"completion_tokens\"", false},
        {"return { text = 'x', model = {} }", "in \"model\"", false},
        {"return { text = 'x', region = 7 }", "in \"region\"", false},
        {"ask.model = 'x'", "cannot be changed", false},
        {"response.status = 200", "cannot be changed", false},
        {"return coroutine.wrap(function() return response.json end)()", "not the expected JSON", true},
        {"return setmetatable({}, { __index = function() return 'x' end })", "no outcome", false},
        {"local function f() return f() .. '' end return f()", "one.lua:1", false},
        {"return nil", "not the expected JSON", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char text[400];
        struct answer a;
        snprintf(text, sizeof text,
                 "return { request = function() return '' end, answer = function(response, ask) %s end }",
                 faults[i].answer);
        struct world *w = own_world(*state, text, harmless);
        for (unsigned round = 0; round < 2; round++) {
            read_body(w, "one", 200, STR("x"), &a);
            enum answer_kind kind = faults[i].readable ? ANSWER_UNREADABLE : ANSWER_ERROR;
            if (a.kind != kind || a.class != (faults[i].readable ? CLASS_NONE : CLASS_CONFIG) || a.transient ||
                !strstr(a.error.ptr, faults[i].words))
                fail_msg("%s gives %d %s %s", faults[i].answer, a.kind, class_name(a.class), a.error.ptr);
        }
        read_body(w, "two", 200, STR("fine"), &a);
        assert_true(str_is(a.text, "fine"));
    }
    struct world *w = own_world(*state, ADAPTER("return 5", "return { poll = true }"), ADAPTER("error 'no'", ""));
    struct answer a;
    assert_non_null(strstr(request(w, "one"), "error: request() returns a number (adapter one)"));
    assert_non_null(strstr(request(w, "two"), "error: adapter two: two.lua:1: no"));
    read_body(w, "one", 200, STR("x"), &a);
    assert_int_equal(a.kind, ANSWER_POLL);
    assert_null(a.poll_url);
    w = own_world(*state, ADAPTER("return { f = print }", ""), ADAPTER("local t = {} t.t = t return t", ""));
    assert_non_null(strstr(request(w, "one"),
                           "error: adapter one makes no request for eu/one: a function cannot be written as JSON"));
    assert_non_null(strstr(request(w, "two"), "error: adapter two makes no request"));
}

#define PREPARING(prepare) \
    "return { prepare = function(ask) " prepare " end, request = function(ask) return 'asked ' .. ask.prompt end, " \
    "answer = function() end }"

/* prepare() is called once for a job's parameters; the prompts then go into what it made. */
static void test_prepared_bodies(void **state)
{
    static const char counted[] =
        "local calls = 0\n" PREPARING("calls = calls + 1\n"
                                      "return { n = calls, p = ask.prompt, deep = { { ask.prompt } }, "
                                      "seed = ask.parameters.seed, model = ask.model }");
    struct world *w = own_world(*state, counted, PREPARING("return nil"));
    w->question.prompt = STR("a\"b");
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"a\\\"b\"]],\"model\":\"one\",\"n\":1,\"p\":\"a\\\"b\"}");
    w->question.prompt = STR("");
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"\"]],\"model\":\"one\",\"n\":1,\"p\":\"\"}");
    w->job.parameters = "{\"seed\":1}";
    assert_string_equal(request(w, "one"), "{\"deep\":[[\"\"]],\"model\":\"one\",\"n\":2,\"p\":\"\",\"seed\":1}");
    /* Reading an answer of another job in between: its parameters are not this one's. */
    struct answer a;
    w->job.parameters = "{}";
    read_body(w, "one", 200, STR("x"), &a);
    assert_non_null(strstr(request(w, "one"), "\"n\":3,\"p\":\"\"}"));
    w->job.parameters = "{\"seed\":1}";
    assert_non_null(strstr(request(w, "one"), "\"n\":4,\"p\":\"\",\"seed\":1}"));
    assert_string_equal(request(w, "two"), "asked ");
    w->question.prompt = STR("again");
    assert_string_equal(request(w, "two"), "asked again");

    static const struct { const char *prepare, *words; } faults[] = {
        {PREPARING("return { p = 'Q: ' .. ask.prompt }"), "error: adapter one: one.lua:1: attempt to concatenate"},
        {PREPARING("return { p = ask.question.id }"), "error: adapter one: one.lua:1: there is no ask.question in"},
        {PREPARING("return { p = ask.sample }"), "there is no ask.sample in prepare()"},
        {PREPARING("return 'text'"), "error: prepare() returns a string (adapter one): return the body as"},
        {PREPARING("return { f = print }"), "error: adapter one makes no request for eu/one: a function cannot"},
        {PREPARING("return { [ask.prompt] = 1 }"), "a table with a key that is neither"},
        {PREPARING("local t = {} for i = 1, 9 do t[i] = ask.prompt end return t"), "more than 8 places"},
        {PREPARING("while true do end"), "stopped after"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        w = own_world(*state, faults[i].prepare, harmless);
        for (unsigned round = 0; round < 2; round++)
            if (!strstr(request(w, "one"), faults[i].words))
                fail_msg("%s: %s", faults[i].prepare, request(w, "one"));
    }
    w = own_world(*state, ADAPTER("return { p = require('json').encode { ask.prompt } }", ""), harmless);
    assert_string_equal(request(w, "one"), "{\"p\":\"[\\\"again\\\"]\"}");
}

/* One that never ends, or eats its memory, is stopped and made anew; the other does not notice. */
static void test_runaway_adapters(void **state)
{
    static const struct { const char *answer, *words; } runaways[] = {
        {"while true do end", "stopped after"},
        {"while true do pcall(error) end", "stopped after"},
        {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", "memory"},
        {"local s = 'x' while true do s = s .. s end", "memory"},
    };
    struct answer a;
    for (size_t i = 0; i < ARRAY_LEN(runaways); i++) {
        char text[400];
        snprintf(text, sizeof text, "return { request = function() return 'r' end, answer = function(response)\n"
                 "if response.body == 'good' then return { text = 'ok' } end %s end }", runaways[i].answer);
        bool eats_memory = strcmp(runaways[i].words, "memory") == 0;
        struct world *w = own_world_within(*state, eats_memory ? PATIENT_CALL_US : CALL_US, text, harmless);
        for (unsigned round = 0; round < 4; round++) { /* a good call in between: never given up */
            read_body(w, "one", round % 2 ? 200 : 503, STR("bad"), &a);
            assert_int_equal(a.kind, ANSWER_ERROR);
            assert_int_equal(a.class, CLASS_CONFIG);
            assert_false(a.transient);
            if (!strstr(a.error.ptr, runaways[i].words))
                fail_msg("%s", a.error.ptr);
            read_body(w, "two", 200, STR("fine"), &a);
            assert_true(str_is(a.text, "fine"));
            assert_string_equal(request(w, "one"), "r");
            read_body(w, "one", 200, STR("good"), &a);
            assert_true(str_is(a.text, "ok"));
        }
    }
    struct world *w = own_world(*state, ADAPTER("return 'r'", "while true do end"), harmless);
    for (unsigned round = 0; round < 3; round++)
        read_body(w, "one", 200, STR("bad"), &a);
    read_body(w, "one", 200, STR("bad"), &a);
    assert_non_null(strstr(a.error.ptr, "stopped 3 times in a row"));
    assert_int_equal(a.kind, ANSWER_ERROR);
    assert_int_equal(a.class, CLASS_CONFIG);
    assert_non_null(strstr(request(w, "one"), "error: adapter one was stopped 3 times in a row"));
    assert_string_equal(request(w, "two"), "two");
}

/* A stopped adapter is made again from what was loaded, never from what the files say by now. */
static void test_files_that_changed(void **state)
{
    struct own *o = *state;
    struct answer a;
    write_own(o, "part", "return 'old'");
    struct world *w =
        own_world(o, "local part = require 'part' " ADAPTER("return part", "while true do end"), harmless);
    write_own(o, "one", "return 'changed'");
    read_body(w, "one", 200, STR("x"), &a);
    assert_string_equal(request(w, "one"), "old");
    read_body(w, "one", 200, STR("x"), &a);
    write_own(o, "part", "return 'new'");
    assert_string_equal(request(w, "one"), "old");
    assert_string_equal(request(w, "two"), "two");
}

/* Texts of an answer stay until the next call, whatever the collector does. */
static void test_texts_stay(void **state)
{
    struct world *w = own_world(
        *state, ADAPTER("return ''", "return { text = ('t'):rep(100) .. response.body, model = 'm' .. response.body }"),
        ADAPTER("local t = {} for i = 1, 20000 do t[i] = 'x' .. i end return ''", ""));
    struct answer a;
    read_body(w, "one", 200, STR("1"), &a);
    for (unsigned i = 0; i < 20; i++)
        request(w, "two");
    assert_int_equal(a.text.len, 101);
    assert_int_equal(a.text.ptr[100], '1');
    assert_string_equal(a.served_model, "m1");
}

static void test_other_tables_live_on(void **state)
{
    struct own *o = *state;
    struct answer a;
    struct world first = *own_world(o, harmless, harmless);
    first.table = region_table_ref(first.table);
    struct world *second = own_world(o, ADAPTER("return 'second'", "return { text = 'second' }"), harmless);
    assert_string_equal(request(second, "one"), "second");
    buf_init(&first.body, 100);
    assert_string_equal(request(&first, "one"), "one");
    read_body(&first, "one", 200, STR("mine"), &a);
    assert_true(str_is(a.text, "mine"));
    buf_done(&first.body);
    region_table_unref(first.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_jobs_parameters, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_hostile_prompts, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_answers, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_mutated_answers, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_hostile_bodies, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_health, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_what_a_script_sees, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_adapters_faults, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_prepared_bodies, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_runaway_adapters, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_files_that_changed, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_texts_stay, open_own, close_own),
        cmocka_unit_test_setup_teardown(test_other_tables_live_on, open_own, close_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
