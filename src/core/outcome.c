#include "core/outcome.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "core/retry.h"
#include "core/url.h"

static const int64_t LONGEST_WAIT_US = 24 * HOUR_US;
static const int64_t QUOTA_WAIT_US = HOUR_US; /* nobody who means a minute's limit asks for an hour */

enum { WORDS_COLUMNS = 300, SEARCHED_BYTES = 4096 };

/* What is being decided, so that the rules below need not hand six things about. */
struct exchange_end {
    const struct region_table *table;
    const struct endpoint_spec *endpoint;
    bool on_result_url;
    const struct response *response;
    const struct answer *answer; /* never NULL: nothing to read is UNREADABLE */
    int64_t asked_wait_us;       /* the body's wait, else Retry-After, at most LONGEST_WAIT_US; -1: none */
};

/* ---- words for people ---- */

static void say(struct outcome *out, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* All of it is cleaned: the format is ours, its arguments are an endpoint's words. */
static void say(struct outcome *out, const char *fmt, ...)
{
    char raw[2048];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    size_t used = len < 0 ? 0 : len < (int)sizeof raw ? (size_t)len : sizeof raw - 1;

    struct buf clean;
    buf_init(&clean, sizeof out->error - 1);
    text_add_plain(&clean, (struct str){raw, used}, WORDS_COLUMNS, true);
    memcpy(out->error, buf_str(&clean).ptr, clean.len + 1);
    buf_done(&clean);
}

static struct str trimmed(struct str s)
{
    for (; s.len && strchr(" \t\r\n", s.ptr[0]); s.len--)
        s.ptr++;
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* The endpoint's own words: what the adapter found, else the body as it came. */
static struct str words_of(const struct exchange_end *x)
{
    struct str words = trimmed(x->answer->error);
    if (!words.len)
        words = trimmed(x->response->body);
    if (words.len > SEARCHED_BYTES)
        words.len = SEARCHED_BYTES;
    return words.len ? words : STR("(no text)");
}

static void say_status(const struct exchange_end *x, struct outcome *out, const char *note)
{
    struct str words = words_of(x);
    say(out, "HTTP %d%s: %.*s", x->response->http_status, note, (int)words.len, words.ptr);
}

static bool contains(struct str text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp(text.ptr + i, word, len) == 0)
            return true;
    return false;
}

static bool says_any(const struct exchange_end *x, const char *const *words, size_t count)
{
    struct str body = x->response->body;
    if (body.len > SEARCHED_BYTES)
        body.len = SEARCHED_BYTES;
    for (size_t i = 0; i < count; i++)
        if (contains(body, words[i]) || contains(x->answer->error, words[i]))
            return true;
    return false;
}

/* ---- the ends of the rules ---- */

/* What tells about the endpoint and not about this question, its answer or its owner's account. */
static bool is_endpoints_fault(enum failure_class class)
{
    switch (class) {
    case CLASS_CONNECT:
    case CLASS_TLS:
    case CLASS_UNKNOWN_OUTCOME:
    case CLASS_HTTP_CLIENT:
    case CLASS_HTTP_SERVER:
    case CLASS_NOT_FOUND:
    case CLASS_BAD_RESPONSE:
    case CLASS_CONFIG:
        return true;
    default:
        return false;
    }
}

static void end(struct outcome *out, enum action action, enum failure_class class)
{
    out->action = action;
    out->class = class;
    out->quota = class == CLASS_QUOTA_EXHAUSTED;
    out->counts_as_failure = is_endpoints_fault(class);
}

/* The first may have run and been paid for: asked again only where the operator says so. */
static void end_unknown(const struct exchange_end *x, struct outcome *out, enum failure_class class)
{
    end(out, x->endpoint->retry.unknown ? ACTION_RETRY : ACTION_FAIL, class);
}

/* The result URL is alive as far as anyone knows, and asking it costs nothing. Class and text are for the
 * deadline that may end this; the breaker hears of it only then. */
static void ask_again(const struct exchange_end *x, struct outcome *out, enum failure_class class)
{
    out->action = ACTION_FOLLOW;
    out->class = class;
    out->wait_us = x->asked_wait_us;
}

/* A URL the endpoint names. Credentials and answers go to its own origin, or to one the operator lists. */
static bool goes_astray(const struct exchange_end *x, const char *url, struct outcome *out)
{
    char origin[ORIGIN_TEXT];
    if (!url_origin(url, origin)) {
        struct err err;
        url_check(url, x->endpoint->id, &err);
        say(out, "HTTP %d leads nowhere: %s", x->response->http_status, err.text);
        end_unknown(x, out, CLASS_BAD_RESPONSE);
        return true;
    }
    if (url_same_origin(url, x->endpoint->url))
        return false;
    bool listed = false;
    for (size_t i = 0; i < x->endpoint->origins_count; i++)
        listed = listed || url_same_origin(url, x->endpoint->origins[i]);
    if (listed && !strstr(url, SECRET_MARK))
        return false;
    if (listed) {
        say(out, "HTTP %d leads to %s with a secret of %s in the URL: secrets are not sent to other origins",
            x->response->http_status, origin, x->endpoint->id);
        end(out, ACTION_FAIL, CLASS_CONFIG);
        return true;
    }
    say(out, "HTTP %d leads to another origin, %s: if it is to be trusted, add it to `origins` of %s",
        x->response->http_status, origin, x->endpoint->id);
    end(out, ACTION_FAIL, CLASS_CONFIG);
    return true;
}

/* ---- the rules ---- */

static void decide_wire(const struct exchange_end *x, struct outcome *out)
{
    static const struct {
        enum failure_class class;
        bool sent; /* it may have run and been paid for */
        const char *text;
    } rules[] = {
        [WIRE_CONNECT] = {CLASS_CONNECT, false, "could not connect"},
        [WIRE_TLS] = {CLASS_TLS, false, "no secure connection"},
        [WIRE_NOT_SENT] = {CLASS_CONNECT, false, "the connection closed before the request was sent"},
        [WIRE_LOST] = {CLASS_UNKNOWN_OUTCOME, true, "the request was sent and no whole answer came back"},
        [WIRE_TOO_LARGE] = {CLASS_TOO_LARGE, true, "the answer is larger than max_body and was cut off"},
        [WIRE_BAD] = {CLASS_BAD_RESPONSE, true, "what came back is not HTTP"},
    };
    const struct response *r = x->response;
    assert(r->wire > WIRE_ANSWERED && r->wire < ARRAY_LEN(rules));
    enum failure_class class = rules[r->wire].class;
    bool detailed = r->detail && *r->detail;
    say(out, "%s%s%s%s%s", rules[r->wire].text, detailed ? " (" : "", detailed ? r->detail : "", detailed ? ")" : "",
        rules[r->wire].sent && r->wire != WIRE_TOO_LARGE && !x->on_result_url
            ? ": it may have run and been paid for" : "");
    if (r->wire == WIRE_TOO_LARGE)
        end(out, ACTION_FAIL, class);
    else if (x->on_result_url)
        ask_again(x, out, class);
    else if (rules[r->wire].sent)
        end_unknown(x, out, class);
    else
        end(out, ACTION_RETRY, class);
}

static void follow(const struct exchange_end *x, const char *url, bool next_hop, struct outcome *out)
{
    out->action = ACTION_FOLLOW;
    out->url = url;
    out->next_hop = next_hop;
    out->wait_us = x->asked_wait_us;
}

static void decide_redirect(const struct exchange_end *x, struct outcome *out)
{
    const struct response *r = x->response;
    int status = r->http_status;
    bool result = status == 303 || status == 302 || status == 202, repeat = status == 307 || status == 308;
    bool known = result || repeat || (status == 301 && x->on_result_url);
    if (known && r->location) {
        if (goes_astray(x, r->location, out))
            return;
        follow(x, r->location, true, out);
        if (repeat && !x->on_result_url) {
            out->action = ACTION_REPOST;
            out->next_hop = false;
        }
        return;
    }
    if (known)
        say(out, "HTTP %d without a Location that can be used", status);
    else if (r->location)
        say(out, "HTTP %d: the endpoint has moved to %s: put its right URL into the region table", status, r->location);
    else
        say_status(x, out, "");
    if (x->on_result_url)
        ask_again(x, out, CLASS_BAD_RESPONSE);
    else if (result)
        end_unknown(x, out, CLASS_BAD_RESPONSE);
    else
        end(out, ACTION_FAIL, CLASS_BAD_RESPONSE);
}

static void decide_text(const struct exchange_end *x, struct outcome *out)
{
    const struct answer *a = x->answer;
    if (!endpoint_served_region_ok(x->table, x->endpoint, a->served_region)) {
        say(out, "answered by region \"%s\", asked was %s", a->served_region, x->endpoint->id);
        end(out, ACTION_FAIL, CLASS_WRONG_REGION);
    } else if (!endpoint_served_model_ok(x->endpoint, a->served_model)) {
        say(out, "answered by model \"%s\", asked was %s", a->served_model, x->endpoint->id);
        end(out, ACTION_FAIL, CLASS_WRONG_MODEL);
    } else {
        out->action = ACTION_SUCCEED;
    }
}

static void decide_poll(const struct exchange_end *x, struct outcome *out)
{
    const char *url = x->answer->poll_url;
    if (!url && !x->on_result_url)
        url = x->endpoint->url;
    if (url && goes_astray(x, url, out))
        return;
    /* On a result URL the adapter builds the same address each time: polled again, not one hop further. */
    follow(x, url, !x->on_result_url, out);
}

/* On a 2xx the server says that it did its work, whatever the body looks like. */
static void decide_unreadable(const struct exchange_end *x, struct outcome *out)
{
    bool accepted = x->response->http_status == 202;
    if (x->on_result_url && accepted) {
        ask_again(x, out, CLASS_NONE);
    } else if (x->on_result_url) {
        say_status(x, out, ", not understood");
        ask_again(x, out, CLASS_BAD_RESPONSE);
    } else if (accepted) {
        say(out, "HTTP 202 without a Location: it may be running and be paid for, and there is nowhere to fetch the "
                 "answer from");
        end_unknown(x, out, CLASS_UNKNOWN_OUTCOME);
    } else {
        say_status(x, out, ", not understood (it may have been paid for)");
        end_unknown(x, out, CLASS_BAD_RESPONSE);
    }
}

/* The endpoint says that it failed, and the status does not: on 2xx, or with a class of the adapter's own. */
static void decide_own_error(const struct exchange_end *x, bool try_again, struct outcome *out)
{
    enum failure_class class = x->answer->class ? x->answer->class : CLASS_BAD_RESPONSE;
    bool ok_status = x->response->http_status < 300;
    say_status(x, out, ok_status ? ", but the endpoint says" : "");
    out->refused = out->refused || class == CLASS_RATE_LIMITED;
    out->wait_us = x->asked_wait_us;
    end(out, try_again && class != CLASS_QUOTA_EXHAUSTED ? ACTION_RETRY : ACTION_FAIL, class);
}

static void decide_success(const struct exchange_end *x, struct outcome *out)
{
    switch (x->answer->kind) {
    case ANSWER_TEXT:
        decide_text(x, out);
        break;
    case ANSWER_ERROR:
        decide_own_error(x, x->answer->transient, out);
        break;
    case ANSWER_POLL:
        decide_poll(x, out);
        break;
    case ANSWER_UNREADABLE:
        decide_unreadable(x, out);
        break;
    }
}

static bool is_transient_status(int status)
{
    return status == 408 || status == 429 || status >= 500;
}

static enum failure_class class_of_status(int status)
{
    switch (status) {
    case 402:
        return CLASS_QUOTA_EXHAUSTED;
    case 404:
        return CLASS_NOT_FOUND;
    case 408:
        return CLASS_TIMEOUT;
    case 429:
        return CLASS_RATE_LIMITED;
    default:
        return status >= 500 ? CLASS_HTTP_SERVER : CLASS_HTTP_CLIENT;
    }
}

/* A 429 that no backoff outlasts: somebody has to pay first, or a day has to pass. */
static bool is_long_quota(const struct exchange_end *x)
{
    static const char *const words[] = {
        "billing cycle", "spend limit", "spending limit", "insufficient_quota", "insufficient quota",
        "quota exhausted", "quota_exhausted",
    };
    return x->response->http_status == 429 &&
           (x->asked_wait_us >= QUOTA_WAIT_US || says_any(x, words, ARRAY_LEN(words)));
}

/* Modal says so of an app that is being deployed anew. */
static bool is_stopped_app(const struct exchange_end *x)
{
    static const char *const words[] = {"app for invoked web endpoint is stopped"};
    return x->response->http_status == 404 && says_any(x, words, ARRAY_LEN(words));
}

/* A class of the adapter's that no second try mends. */
static bool is_lasting(enum failure_class class)
{
    return class == CLASS_HTTP_CLIENT || class == CLASS_NOT_FOUND || class == CLASS_CONFIG ||
           class == CLASS_QUOTA_EXHAUSTED;
}

/* A class of the adapter's that speaks of this moment, not of the execution. */
static bool is_passing(enum failure_class class)
{
    return class == CLASS_RATE_LIMITED || class == CLASS_HTTP_SERVER || class == CLASS_TIMEOUT;
}

static void decide_error_on_result_url(const struct exchange_end *x, enum failure_class own, struct outcome *out)
{
    int status = x->response->http_status;
    bool gone = status == 404 || status == 410;
    if (own && (gone || !is_transient_status(status) || !is_passing(own))) {
        decide_own_error(x, x->answer->transient, out);
        return;
    }
    say_status(x, out, " on the result URL");
    if (gone)
        end_unknown(x, out, CLASS_NOT_FOUND);
    else
        ask_again(x, out, own ? own : class_of_status(status));
}

static void decide_error(const struct exchange_end *x, struct outcome *out)
{
    int status = x->response->http_status;
    bool try_again = is_transient_status(status);
    enum failure_class own = x->answer->kind == ANSWER_ERROR ? x->answer->class : CLASS_NONE;
    out->refused = status == 429 || status == 503;
    out->hold_endpoint = status == 429 && x->asked_wait_us >= 0;
    if (x->on_result_url) {
        decide_error_on_result_url(x, own, out);
    } else if (own) {
        decide_own_error(x, x->answer->transient || (try_again && !is_lasting(own)), out);
    } else {
        say_status(x, out, "");
        out->wait_us = x->asked_wait_us;
        if (is_long_quota(x))
            end(out, ACTION_FAIL, CLASS_QUOTA_EXHAUSTED);
        else
            end(out, try_again || is_stopped_app(x) ? ACTION_RETRY : ACTION_FAIL, class_of_status(status));
    }
}

static int64_t asked_wait_us(const struct response *r, const struct answer *a, double now_unix_s)
{
    int64_t wait_us = a->wait_us;
    if (wait_us < 0 && (!r->retry_after || !retry_after_parse(r->retry_after, now_unix_s, &wait_us)))
        return -1;
    return wait_us < LONGEST_WAIT_US ? wait_us : LONGEST_WAIT_US;
}

static bool is_redirect(const struct response *r)
{
    return (r->http_status >= 300 && r->http_status < 400) || (r->http_status == 202 && r->location);
}

bool outcome_wants_answer(const struct response *r)
{
    return r->wire == WIRE_ANSWERED && r->http_status >= 200 && r->http_status < 600 && !is_redirect(r);
}

void outcome_decide(const struct region_table *t, const struct endpoint_spec *e, bool on_result_url,
                    const struct response *r, const struct answer *a, double now_unix_s, struct outcome *out)
{
    static const struct answer nothing = {.kind = ANSWER_UNREADABLE, .wait_us = -1};
    struct exchange_end x = {
        .table = t, .endpoint = e, .on_result_url = on_result_url, .response = r, .answer = a ? a : &nothing,
    };
    x.asked_wait_us = r->wire == WIRE_ANSWERED ? asked_wait_us(r, x.answer, now_unix_s) : -1;
    *out = (struct outcome){.wait_us = -1};

    if (r->wire != WIRE_ANSWERED) {
        decide_wire(&x, out);
    } else if (is_redirect(r)) {
        decide_redirect(&x, out);
    } else if (r->http_status >= 200 && r->http_status < 300) {
        decide_success(&x, out);
    } else if (r->http_status >= 400 && r->http_status < 600) {
        decide_error(&x, out);
    } else {
        say(out, "HTTP %d is no status an answer can have", r->http_status);
        if (on_result_url)
            ask_again(&x, out, CLASS_BAD_RESPONSE);
        else
            end(out, ACTION_FAIL, CLASS_BAD_RESPONSE);
    }
}
