/* http_client_location.h -- where a Location leads. */
#ifndef NET_HTTP_CLIENT_LOCATION_H
#define NET_HTTP_CLIENT_LOCATION_H

/* Relative to the URL that was asked (RFC 9110, 10.2.2), without its fragment. The caller frees it; NULL: nowhere. */
char *http_location_absolute(const char *asked, const char *location);

#endif
