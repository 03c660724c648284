#include "net/http_client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "net/http_client_location.h"

static bool is_tls_failure(CURLcode code)
{
    switch (code) {
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_USE_SSL_FAILED:
        return true;
    default:
        return false;
    }
}

/* HTTP/2 servers that answer before they have read the body may end the stream with an error after
 * a complete answer. */
static bool has_whole_answer(struct http_request *q, long status)
{
    curl_off_t promised = -1;
    curl_easy_getinfo(q->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
    return status >= 200 && promised >= 0 && (curl_off_t)q->answer.len == promised && !q->answer.full;
}

/* Our bound on all of them, or libcurl's on one line, which it calls a want of memory. */
static bool headers_too_large(const struct http_request *q)
{
    return q->headers_too_large || (q->began && q->code == CURLE_OUT_OF_MEMORY);
}

static enum wire classify(struct http_request *q, long status, long sent_bytes)
{
    if (q->code == CURLE_OK) /* libcurl is content with half of the headers, too */
        return q->headers_complete && status >= 200 ? WIRE_ANSWERED : WIRE_LOST;
    if (q->answer.full || q->code == CURLE_FILESIZE_EXCEEDED)
        return WIRE_TOO_LARGE;
    if (headers_too_large(q) || q->fold_refused)
        return WIRE_BAD;
    if (!q->began)
        return is_tls_failure(q->code) ? WIRE_TLS : WIRE_CONNECT;
    if (sent_bytes == 0)
        return WIRE_NOT_SENT;
    if (q->repeat_refused)
        return WIRE_LOST;
    if (q->code == CURLE_WEIRD_SERVER_REPLY || q->code == CURLE_UNSUPPORTED_PROTOCOL)
        return WIRE_BAD; /* the second is how libcurl calls an answer without a status line */
    return has_whole_answer(q, status) ? WIRE_ANSWERED : WIRE_LOST;
}

static const char *describe(struct http_request *q, enum wire wire)
{
    char took[DURATION_TEXT];
    const char *said = q->error[0] ? q->error : curl_easy_strerror(q->code);
    long os_errno = 0;
    curl_easy_getinfo(q->easy, CURLINFO_OS_ERRNO, &os_errno);
    int64_t limit_us = q->target->connect_us;
    if (q->timeout_us && (q->began || q->timeout_us < limit_us))
        limit_us = q->timeout_us;

    if (headers_too_large(q))
        return "the headers of the answer are too large";
    if (q->fold_refused)
        return "the headers of the answer begin with a line that continues another";
    if (q->repeat_refused)
        return "the connection was closed after the request was sent";
    if (q->code == CURLE_OK)
        return "the connection was closed inside the headers of the answer";
    if (wire == WIRE_TOO_LARGE)
        snprintf(q->detail, sizeof q->detail, "the answer passes %zu bytes", q->target->max_body_bytes);
    else if (q->code == CURLE_OPERATION_TIMEDOUT)
        snprintf(q->detail, sizeof q->detail, "%s timed out after %s", q->began ? "the exchange" : "connect",
                 duration_format(limit_us, took));
    else if (wire == WIRE_CONNECT && os_errno)
        snprintf(q->detail, sizeof q->detail, "%s: %s", said, strerror((int)os_errno));
    else
        return said;
    return q->detail;
}

static void make_location_absolute(struct http_request *q)
{
    const char *asked = NULL;
    curl_easy_getinfo(q->easy, CURLINFO_EFFECTIVE_URL, &asked);
    char *absolute = asked ? http_location_absolute(asked, q->location) : NULL;
    free(q->location);
    q->location = absolute;
}

void http_request_result(struct http_request *q, struct response *out)
{
    long status = 0, header_bytes = 0, request_bytes = 0;
    curl_off_t body_in = 0, body_out = 0, first_byte_us = 0;
    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(q->easy, CURLINFO_HEADER_SIZE, &header_bytes);
    curl_easy_getinfo(q->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(q->easy, CURLINFO_SIZE_DOWNLOAD_T, &body_in);
    curl_easy_getinfo(q->easy, CURLINFO_SIZE_UPLOAD_T, &body_out);
    curl_easy_getinfo(q->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us);
    if (status < 200)
        status = 0; /* only an interim answer came */
    if (q->location)
        make_location_absolute(q);
    /* In HTTP/1.1 a small body leaves together with the headers, and libcurl counts it with them too. */
    uint64_t bytes_out = (uint64_t)request_bytes + (request_bytes > body_out ? 0 : (uint64_t)body_out);

    enum wire wire = classify(q, status, request_bytes);
    *out = (struct response){
        .wire = wire,
        .detail = wire == WIRE_ANSWERED ? NULL : describe(q, wire),
        .http_status = (int)status,
        .body = buf_str(&q->answer),
        .location = q->location,
        .retry_after = q->retry_after,
        .first_byte_us = status ? q->sent_us + first_byte_us : 0,
        .bytes_in = (uint64_t)header_bytes + (uint64_t)body_in,
        .bytes_out = bytes_out,
    };
}
