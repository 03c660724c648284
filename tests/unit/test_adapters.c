/* What the adapters that come along send, and what they read of an answer. */
#include "adapters_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
