/* URLs from outside. Two parsers that disagree on whose a URL is would send credentials to a stranger: ours decides,
 * libcurl's connects. Of three lines, the first is what was asked, the second the Location that came back, the third
 * any URL. */
#include "fuzz.h"

#include <ctype.h>
#include <curl/curl.h>
#include <strings.h>

#include "core/outcome.h"
#include "core/url.h"
#include "net/http_client_location.h"

/* libcurl writes an IPv4 address of any form as four numbers. */
static bool is_numeric(const char *host)
{
    return strspn(host, "0123456789abcdefABCDEFxX.") == strlen(host);
}

static void check_part(const char *url, CURLU *parsed, CURLUPart part, const char *ours, size_t len)
{
    char *theirs = NULL;
    PROMISE(curl_url_get(parsed, part, &theirs, CURLU_DEFAULT_PORT) == CURLUE_OK, "%s", url);
    bool same = strlen(theirs) == len && strncasecmp(theirs, ours, len) == 0;
    PROMISE(same || (part == CURLUPART_HOST && (is_numeric(theirs) || *theirs == '[')),
            "%s is of %.*s for us, of %s for libcurl",
            url, (int)len, ours, theirs);
    curl_free(theirs);
}

/* What we take for a URL, libcurl takes for one of the same scheme, host and port. */
static void check_url(const char *url)
{
    struct err err = {0};
    char origin[ORIGIN_TEXT];
    bool good = url_check(url, "fuzz", &err);
    PROMISE(good == url_origin(url, origin), "%s is a URL and has no origin, or the other way round", url);
    if (!good) {
        fuzz_refusal(&err);
        fuzz_plain(str_from(err.text), true);
        return;
    }
    char again[ORIGIN_TEXT];
    PROMISE(url_origin(origin, again) && strcmp(origin, again) == 0, "%s", origin);
    fuzz_plain(str_from(origin), true);
    CURLU *parsed = curl_url();
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK) {
        const char *host = strstr(origin, "://") + 3, *port = strrchr(host, ':');
        bool https = origin[4] == 's', has_port = port && !strchr(port, ']');
        check_part(url, parsed, CURLUPART_SCHEME, origin, https ? 5 : 4);
        check_part(url, parsed, CURLUPART_HOST, host, has_port ? (size_t)(port - host) : strlen(host));
        const char *number = has_port ? port + 1 : https ? "443" : "80";
        check_part(url, parsed, CURLUPART_PORT, number, strlen(number));
        char *user = NULL;
        PROMISE(curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_NO_USER, "%s has a user for libcurl: %s", url,
                user);
    }
    curl_url_cleanup(parsed);
}

static bool starts_absolute(const char *location)
{
    location += strspn(location, " ");
    size_t scheme = 0;
    while (isalnum((unsigned char)location[scheme]) || strchr("+-.", location[scheme] ? location[scheme] : ' '))
        scheme++;
    return location[scheme] == ':' || strncmp(location, "//", 2) == 0;
}

/* A 303 there is followed to the endpoint's own origin or not at all. */
static void check_outcome(const char *asked, const char *location)
{
    struct region_spec region = {.id = "eu"};
    struct region_table table = {.regions = &region, .region_count = 1};
    struct endpoint_spec endpoint = {.id = "eu/m", .model = "m", .url = asked, .hop_us = 1};
    struct response response = {.http_status = 303, .location = location};
    struct outcome out;
    outcome_decide(&table, &endpoint, false, &response, NULL, 1e9, &out);
    PROMISE(out.action != ACTION_FOLLOW || url_same_origin(out.url, asked), "%s leads from %s to %s", location, asked,
            out.url);
    PROMISE(out.action == ACTION_FOLLOW || out.error[0], "%s: no reason", location);
    fuzz_plain(str_from(out.error), true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    char *asked = fuzz_text(fuzz_piece(&input, '\n')), *location = fuzz_text(fuzz_piece(&input, '\n'));
    char *other = fuzz_text(input);
    check_url(asked);
    check_url(other);
    PROMISE(!url_same_origin(asked, other) || url_same_origin(other, asked), "%s %s", asked, other);
    if (url_check(asked, "fuzz", NULL)) {
        char *absolute = http_location_absolute(asked, location);
        if (absolute) {
            check_url(absolute);
            PROMISE(starts_absolute(location) || url_same_origin(asked, absolute), "%s at %s is %s", location, asked,
                    absolute);
            char *again = http_location_absolute(asked, absolute);
            PROMISE(again && strcmp(again, absolute) == 0, "%s, then %s", absolute, again);
            free(again);
            check_outcome(asked, absolute);
        }
        free(absolute);
    }
    free(asked);
    free(location);
    free(other);
    return 0;
}
