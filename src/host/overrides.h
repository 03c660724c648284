/* overrides.h -- the document of what stands over the operator's file, and changes to it.
 *
 * It lies beside the region table (PATH.overrides.json), so that every program that loads the table holds to it. */
#ifndef HOST_OVERRIDES_H
#define HOST_OVERRIDES_H

#include "base/err.h"

struct cJSON;

/* An empty document when text is NULL or empty. NULL when it is not an object; err names file. */
MUST_USE struct cJSON *overrides_parse(const char *text, const char *file, struct err *err);
/* kind: "endpoints" or "regions". Takes value; NULL removes the key, and what is empty then. */
void overrides_set(struct cJSON *doc, const char *kind, const char *name, const char *key, struct cJSON *value);
const struct cJSON *overrides_get(const struct cJSON *doc, const char *kind, const char *name, const char *key);
/* Who changed it last, and why. NULL removes. */
void overrides_sign(struct cJSON *doc, const char *author, const char *reason);
/* The text to write, for free(); "" when it says nothing. */
char *overrides_text(const struct cJSON *doc);

/* A pause with a reason (NULL: "paused by AUTHOR"), or its end: the pause that stands in the document goes, and one
 * that stands in the file is overridden. */
void overrides_pause(struct cJSON *doc, const char *kind, const char *name, const char *author, const char *reason);
void overrides_resume(struct cJSON *doc, const char *kind, const char *name);

#endif
