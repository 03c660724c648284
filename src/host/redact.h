/* redact.h -- what an endpoint says, without the credentials it was asked with.
 *
 * Some repeat them in their errors or in the URL of a result, and what they say is logged, shown and stored. */
#ifndef HOST_REDACT_H
#define HOST_REDACT_H

#include "base/buf.h"
#include "core/region_table.h"

/* The text with each secret of the endpoint's headers, percent-encoded or not, replaced by SECRET_MARK and its name. A
 * view of the text itself where there is none in it, else of scratch, which the caller inits and frees. */
struct str redact(const struct endpoint_spec *e, struct str text, struct buf *scratch);

/* A URL that went through redact(), as it has to be sent: to the endpoint's own origin only. */
struct str restore_secrets(const struct endpoint_spec *e, struct str url, struct buf *scratch);

#endif
