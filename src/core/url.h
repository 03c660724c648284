/* url.h -- the little of RFC 3986 that rules need: is it http(s), and whose is it? */
#ifndef CORE_URL_H
#define CORE_URL_H

#include <stdbool.h>

#include "base/err.h"

enum { ORIGIN_TEXT = 300 };

/* An absolute http or https URL with a host, a valid port, no user:password, no
 * fragment, no space or control character, at most 8000 bytes. The error says what is
 * wrong and what would be right; `where` names the place for the reader. */
bool url_check(const char *url, const char *where, struct err *err);

/* "https://host:port" in lower case with the default port left out (RFC 6454).
 * False when the URL is not one url_check() accepts. */
bool url_origin(const char *url, char out[ORIGIN_TEXT]);
bool url_same_origin(const char *a, const char *b);

#endif
