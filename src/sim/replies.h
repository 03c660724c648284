/* replies.h -- requests and responses of a simulated endpoint, in the words of its schema.
 *
 *   modal, modal_old   {model, prompt, ...} -> {success, response, region, receipt, ...}; errors come with 200
 *   openai             chat completions
 *   anthropic          messages
 *   runpod             POST .../run, then GET .../status/ID
 *   plain              the body is the prompt, the answer its lines: see plain.h
 *
 * What a fault does: malformed sends HTML, truncated half a body under a Content-Length that promises all of
 * it, empty an empty text, error the schema's own error, too_large 9 MiB of text. openai and anthropic say
 * nothing of a region, so wrong_region leaves them as they are. */
#ifndef SIM_REPLIES_H
#define SIM_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/fleet_spec.h"
#include "sim/fleet.h"

enum reply_how { REPLY_WHOLE, REPLY_RESET, REPLY_TRUNCATED };

struct reply {
    enum reply_how how;
    int status;
    const char *content_type;
    const char *location;       /* of another origin; NULL: none */
    bool result_url;            /* the sender adds a Location: where its result can be fetched */
    int64_t retry_after_us;     /* simulated; 0: not sent */
    size_t promised_bytes;      /* TRUNCATED */
    struct buf body;
};

void reply_init(struct reply *r);
void reply_done(struct reply *r);

/* What the exchange gets. result is the text the sender knows the call by; unix_s the wall clock. */
void reply_write(const struct fleet_spec *spec, const struct fleet_ended *ended, const char *result, double unix_s,
                 struct reply *r);

/* The prompt in a request body. False: *refusal is what the schema answers to such a request.
 * called: another name the client may know the model by; NULL: none. */
bool reply_read_request(const struct fleet_endpoint *e, const char *called, struct str body, struct buf *prompt,
                        struct reply *refusal);

/* The parameter of a result URL that holds the result's id. */
#define RESULT_QUERY "__modal_function_call_id"

/* A result that is not there (any more). e NULL: whose it was is not known either. */
void reply_lost_result(const struct fleet_endpoint *e, enum fleet_result_state state, struct reply *r);

enum { RETRY_AFTER_BYTES = 32 };
/* The header's value for a client whose clock the fleet's outruns by speed; NULL: not sent. */
const char *reply_retry_after(const struct reply *r, double speed, char out[RETRY_AFTER_BYTES]);

/* An error in the schema's form. */
void reply_error(enum fleet_schema schema, int status, const char *message, struct reply *r);

/* What a region's health URL answers. */
void reply_health(const struct fleet_spec *spec, const char *region, double unix_s, struct reply *r);

/* The function itself says that it failed, as modal's do: with status 200. */
void reply_function_failed(const struct fleet_endpoint *e, const char *error, double seconds, struct reply *r);

#endif
