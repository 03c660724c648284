/* outcome.h -- what one HTTP exchange means: the table of rules for asking, as a pure function. */
#ifndef CORE_OUTCOME_H
#define CORE_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "core/region_table.h"
#include "core/status.h"

/* How the exchange ended on the wire. */
enum wire {
    WIRE_ANSWERED,        /* a whole response */
    WIRE_CONNECT,         /* no connection: name, route, refused, or `connect` ran out */
    WIRE_TLS,             /* handshake or certificate */
    WIRE_NOT_SENT,        /* connected, but closed before the request was sent */
    WIRE_LOST,            /* the request was sent, no whole response came */
    WIRE_TOO_LARGE,       /* the body passed max_body and was cut */
    WIRE_BAD,             /* what came is not HTTP */
};

struct response {
    enum wire wire;
    const char *detail;      /* what the transport says, for WIRE_* but ANSWERED; may be NULL */
    int http_status;         /* 0 when none came */
    struct str body;
    const char *location;    /* absolute; NULL: none */
    const char *retry_after; /* as sent; NULL: none */
    int64_t first_byte_us;   /* engine time; 0 when none came */
    uint64_t bytes_in, bytes_out;
};

/* What the adapter reads in a response. Texts live until the adapter is called again. */
enum answer_kind {
    ANSWER_TEXT,             /* there is an answer; the empty text is one */
    ANSWER_ERROR,            /* the endpoint says it failed */
    ANSWER_POLL,             /* not yet: ask poll_url again */
    ANSWER_UNREADABLE,       /* the adapter cannot make sense of it */
};

struct answer {
    enum answer_kind kind;
    struct str text;
    struct str error;              /* ERROR, UNREADABLE: in the endpoint's words */
    enum failure_class class;      /* ERROR: CLASS_NONE leaves it to the HTTP status */
    bool transient;                /* ERROR on a 2xx: may another try succeed? */
    const char *poll_url;          /* POLL: absolute, or NULL for the same URL again */
    const char *served_model, *served_region; /* NULL: it says nothing */
    int64_t prompt_tokens, completion_tokens; /* -1: it says nothing */
    int64_t wait_us;               /* a wait the body asks for; -1: none */
};

enum action {
    ACTION_SUCCEED,
    ACTION_FAIL,         /* final */
    ACTION_RETRY,        /* a new attempt may be made after wait_us */
    ACTION_FOLLOW,       /* the result URL is `url`: commit it, wait wait_us, GET it */
    ACTION_REPOST,       /* the request was not taken: POST it to `url` (307, 308) */
};

struct outcome {
    enum action action;
    enum failure_class class;
    const char *url;      /* FOLLOW, REPOST: points into the response or the answer, or is the endpoint's own;
                           * FOLLOW on a result URL: NULL is that same URL again */
    int64_t wait_us;      /* FOLLOW, RETRY: what the server asked for; -1: it did not */
    bool next_hop;        /* FOLLOW: the answer gave a URL (303, Location); else the same is polled again (an
                           * adapter's poll_url on a result URL counts as the same) */
    bool refused;         /* 429 or 503: the endpoint's adaptive limit goes down */
    bool hold_endpoint;   /* 429 with Retry-After: nobody asks the endpoint (and its group) before wait_us */
    bool counts_as_failure; /* for the breaker */
    bool quota;           /* the breaker of the whole group opens for good */
    char error[512];      /* for people; empty on success, and on a FOLLOW or REPOST as it should be */
};

/* The rules in order, as in the design, section 5 and 12. `on_result_url`: the exchange was a GET of a
 * result URL, where only the answer, 404/410 and the endpoint's own error end the attempt; all else is asked again by
 * GET. a is NULL when the exchange brought nothing to read (a wire error or a redirect). now_unix_s is for
 * Retry-After dates. */
void outcome_decide(const struct region_table *t, const struct endpoint_spec *e, bool on_result_url,
                    const struct response *r, const struct answer *a, double now_unix_s, struct outcome *out);

/* Is there anything in this response for the adapter to read? */
bool outcome_wants_answer(const struct response *r);

#endif
