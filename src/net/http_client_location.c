#include "net/http_client_location.h"

#include <curl/curl.h>

#include "base/mem.h"

char *http_location_absolute(const char *asked, const char *location)
{
    char *absolute = NULL;
    CURLU *url = curl_url();
    if (url && *location && curl_url_set(url, CURLUPART_URL, asked, 0) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_ALLOW_SPACE) ==
            CURLUE_OK) {
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0); /* the reader's, not the server's */
        curl_url_get(url, CURLUPART_URL, &absolute, 0);
    }
    curl_url_cleanup(url);
    char *copy = mem_strdup(absolute);
    curl_free(absolute);
    return copy;
}
