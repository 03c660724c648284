/* libmicrohttpd, loaded when the first server starts: see http_client_late.c. */
#include <microhttpd.h>
#include <stdarg.h>

#include "base/defs.h"
#include "base/late.h"

#define LIBRARY "libmicrohttpd.so.12" /* the interface of the header; another number is another one */

#define MHD_FUNCTIONS(X)                                                                                             \
    X(MHD_add_response_header) X(MHD_create_response_from_buffer) X(MHD_create_response_from_callback)               \
    X(MHD_destroy_response) X(MHD_get_connection_info) X(MHD_get_daemon_info) X(MHD_get_timeout)                     \
    X(MHD_lookup_connection_value) X(MHD_queue_response) X(MHD_resume_connection) X(MHD_run)                         \
    X(MHD_start_daemon_va) X(MHD_stop_daemon) X(MHD_suspend_connection)

static struct {
    MHD_FUNCTIONS(LATE_MEMBER)
} lib;

static void load(void)
{
#define FUNCTION(name) LATE_FUNCTION(lib, name)
    static const struct late_function functions[] = {MHD_FUNCTIONS(FUNCTION)};
    late_need(LIBRARY, functions, ARRAY_LEN(functions));
}

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept, void *accept_ctx,
                                    MHD_AccessHandlerCallback handler, void *handler_ctx, ...)
{
    va_list options;
    if (!lib.MHD_run)
        load();
    va_start(options, handler_ctx);
    struct MHD_Daemon *d = lib.MHD_start_daemon_va(flags, port, accept, accept_ctx, handler, handler_ctx, options);
    va_end(options);
    return d;
}

void MHD_stop_daemon(struct MHD_Daemon *d) { lib.MHD_stop_daemon(d); }
enum MHD_Result MHD_run(struct MHD_Daemon *d) { return lib.MHD_run(d); }
enum MHD_Result MHD_get_timeout(struct MHD_Daemon *d, MHD_UNSIGNED_LONG_LONG *ms) { return lib.MHD_get_timeout(d, ms); }

const union MHD_DaemonInfo *MHD_get_daemon_info(struct MHD_Daemon *d, enum MHD_DaemonInfoType type, ...)
{
    return lib.MHD_get_daemon_info(d, type);
}

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *c, enum MHD_ConnectionInfoType type, ...)
{
    return lib.MHD_get_connection_info(c, type);
}

void MHD_suspend_connection(struct MHD_Connection *c) { lib.MHD_suspend_connection(c); }
void MHD_resume_connection(struct MHD_Connection *c) { lib.MHD_resume_connection(c); }

const char *MHD_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key)
{
    return lib.MHD_lookup_connection_value(c, kind, key);
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned status, struct MHD_Response *r)
{
    return lib.MHD_queue_response(c, status, r);
}

struct MHD_Response *MHD_create_response_from_buffer(size_t size, void *buffer, enum MHD_ResponseMemoryMode mode)
{
    return lib.MHD_create_response_from_buffer(size, buffer, mode);
}

struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback read,
                                                       void *ctx, MHD_ContentReaderFreeCallback free_ctx)
{
    return lib.MHD_create_response_from_callback(size, block, read, ctx, free_ctx);
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *r, const char *name, const char *value)
{
    return lib.MHD_add_response_header(r, name, value);
}

void MHD_destroy_response(struct MHD_Response *r) { lib.MHD_destroy_response(r); }
