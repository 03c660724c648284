/* libcurl, loaded when it is first called: with the thirty libraries that it brings along it is two thirds of the time
 * that a start takes, and most commands open no connection. Each function that the client uses is defined here, and
 * calls the library's. */
#include <curl/curl.h>
#include <stdarg.h>

#include "base/defs.h"
#include "base/late.h"

#define LIBRARY "libcurl.so.4" /* the interface of the header; another number is another one */

#define CURL_FUNCTIONS(X)                                                                                            \
    X(curl_easy_cleanup) X(curl_easy_getinfo) X(curl_easy_init) X(curl_easy_pause) X(curl_easy_setopt)               \
    X(curl_easy_strerror) X(curl_free) X(curl_global_cleanup) X(curl_global_init_mem) X(curl_multi_add_handle)       \
    X(curl_multi_assign) X(curl_multi_cleanup) X(curl_multi_info_read) X(curl_multi_init)                            \
    X(curl_multi_remove_handle) X(curl_multi_setopt) X(curl_multi_socket_action) X(curl_share_cleanup)               \
    X(curl_share_init) X(curl_share_setopt) X(curl_url) X(curl_url_cleanup) X(curl_url_get) X(curl_url_set)          \
    X(curl_url_strerror) X(curl_version_info)

static struct {
    CURL_FUNCTIONS(LATE_MEMBER)
} lib;

static void load(void)
{
#define FUNCTION(name) LATE_FUNCTION(lib, name)
    static const struct late_function functions[] = {CURL_FUNCTIONS(FUNCTION)};
    late_need(LIBRARY, functions, ARRAY_LEN(functions));
}

/* A client begins and ends with these; what parses URLs needs no client. */
#define LOAD() (lib.curl_url ? (void)0 : load())

CURLcode curl_global_init_mem(long flags, curl_malloc_callback m, curl_free_callback f, curl_realloc_callback r,
                              curl_strdup_callback s, curl_calloc_callback c)
{
    LOAD();
    return lib.curl_global_init_mem(flags, m, f, r, s, c);
}

void curl_global_cleanup(void) { lib.curl_global_cleanup(); }

CURLU *curl_url(void)
{
    LOAD();
    return lib.curl_url();
}

const char *curl_easy_strerror(CURLcode code)
{
    LOAD();
    return lib.curl_easy_strerror(code);
}

const char *curl_url_strerror(CURLUcode code)
{
    LOAD();
    return lib.curl_url_strerror(code);
}

curl_version_info_data *curl_version_info(CURLversion age)
{
    LOAD();
    return lib.curl_version_info(age);
}

/* Of what comes after the option there is one, a long, a curl_off_t or a pointer: all of the same size, and passed in
 * the same way, where this program runs. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "one way to pass them all");
#define FORWARD(name, handle, option)                   \
    va_list args;                                       \
    va_start(args, option);                             \
    void *value = va_arg(args, void *);                 \
    va_end(args);                                       \
    return lib.name(handle, option, value)

#undef curl_easy_setopt
CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) { FORWARD(curl_easy_setopt, easy, option); }
#undef curl_easy_getinfo
CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...) { FORWARD(curl_easy_getinfo, easy, info); }
#undef curl_multi_setopt
CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...) { FORWARD(curl_multi_setopt, multi, option); }
#undef curl_share_setopt
CURLSHcode curl_share_setopt(CURLSH *share, CURLSHoption option, ...) { FORWARD(curl_share_setopt, share, option); }

CURL *curl_easy_init(void) { return lib.curl_easy_init(); }
void curl_easy_cleanup(CURL *easy) { lib.curl_easy_cleanup(easy); }
CURLcode curl_easy_pause(CURL *easy, int bits) { return lib.curl_easy_pause(easy, bits); }
void curl_free(void *ptr) { lib.curl_free(ptr); }

CURLM *curl_multi_init(void) { return lib.curl_multi_init(); }
CURLMcode curl_multi_cleanup(CURLM *multi) { return lib.curl_multi_cleanup(multi); }
CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy) { return lib.curl_multi_add_handle(multi, easy); }
CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy) { return lib.curl_multi_remove_handle(multi, easy); }
CURLMsg *curl_multi_info_read(CURLM *multi, int *left) { return lib.curl_multi_info_read(multi, left); }

CURLMcode curl_multi_assign(CURLM *multi, curl_socket_t fd, void *data)
{
    return lib.curl_multi_assign(multi, fd, data);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int events, int *running)
{
    return lib.curl_multi_socket_action(multi, fd, events, running);
}

CURLSH *curl_share_init(void) { return lib.curl_share_init(); }
CURLSHcode curl_share_cleanup(CURLSH *share) { return lib.curl_share_cleanup(share); }

void curl_url_cleanup(CURLU *url) { lib.curl_url_cleanup(url); }

/* Headers differ in whether the first is const. */
CURLUcode late_url_get(CURLU *url, CURLUPart part, char **out, unsigned flags) __asm__("curl_url_get");
CURLUcode late_url_get(CURLU *url, CURLUPart part, char **out, unsigned flags)
{
    return lib.curl_url_get(url, part, out, flags);
}

CURLUcode curl_url_set(CURLU *url, CURLUPart part, const char *text, unsigned flags)
{
    return lib.curl_url_set(url, part, text, flags);
}
