#include "serve/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_server.h"
#include "serve/daemon.h"

enum { TOKEN_BYTES = 24, TOKEN_LEAST = 16, TOKEN_MOST = 512 };

/* ---- the token ---- */

static bool check_token(const char *token, const char *where, struct err *err)
{
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return err_set(err, ERR_CONFIG, "the token holds a space or a sign that is not ASCII (%s): use letters and "
                           "digits", where);
    return (len >= TOKEN_LEAST && len <= TOKEN_MOST) ||
           err_set(err, ERR_CONFIG, "the token has %zu characters (%s): use %d to %d, such as those of openssl rand "
                   "-hex 24", len, where, TOKEN_LEAST, TOKEN_MOST);
}

/* NULL with err. */
static char *read_token(const char *path, struct err *err)
{
    char text[TOKEN_MOST + 3] = "";
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_SYSTEM, "the token cannot be read, %s (%s): write it there, mode 0600", strerror(errno), path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (st.st_mode & 077) {
        err_set(err, ERR_CONFIG, "others may read the token (%s): chmod 600 %s", path, path);
        return NULL;
    }
    while (n > 0 && strchr(" \t\r\n", text[n - 1]))
        text[--n] = '\0';
    return check_token(text, path, err) ? mem_strdup(text) : NULL;
}

/* Beside the database, and the next start takes the same. */
static char *make_token(const char *path, bool *made, struct err *err)
{
    unsigned char bytes[TOKEN_BYTES];
    char text[2 * TOKEN_BYTES + 2];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return read_token(path, err);
    bool ok = fd >= 0 && getrandom(bytes, sizeof bytes, 0) == sizeof bytes;
    for (size_t i = 0; ok && i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[2 * TOKEN_BYTES] = '\n';
    ok = ok && write(fd, text, 2 * TOKEN_BYTES + 1) == 2 * TOKEN_BYTES + 1;
    text[2 * TOKEN_BYTES] = '\0';
    if (!ok)
        err_set(err, ERR_SYSTEM, "no token can be written, %s (%s): name a file with --token-file, or set "
                "CANVASS_TOKEN", strerror(errno), path);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !ok)
        unlink(path);
    *made = ok;
    return ok ? mem_strdup(text) : NULL;
}

static bool is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool guard_init(struct guard *g, const struct daemon_options *o, struct err *err)
{
    *g = (struct guard){.options = o, .loopback = is_loopback(o->address)};
    if (o->token) {
        g->token = check_token(o->token, "CANVASS_TOKEN", err) ? mem_strdup(o->token) : NULL;
        return g->token;
    }
    g->token_path = o->token_file ? mem_strdup(o->token_file) : mem_printf("%s.token", o->db);
    g->token = o->token_file ? read_token(g->token_path, err) : make_token(g->token_path, &g->token_made, err);
    return g->token;
}

void guard_done(struct guard *g)
{
    free(g->token);
    free(g->token_path);
}

/* As long for a wrong token as for the right one. */
static bool same_token(const char *token, const char *given)
{
    size_t len = strlen(token), given_len = strlen(given);
    unsigned differs = len != given_len;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned)(token[i] ^ given[given_len ? i % given_len : 0]);
    return differs == 0;
}

static bool has_token(const struct guard *g, const struct http_call *c)
{
    static const char scheme[] = "Bearer ";
    const char *given = http_call_header(c, "Authorization");
    return given && strncasecmp(given, scheme, sizeof scheme - 1) == 0 &&
           same_token(g->token, given + sizeof scheme - 1);
}

/* ---- names ---- */

/* The name in "name:port", "[::1]:port" or either without a port. */
static struct str host_name(const char *host)
{
    if (*host == '[') {
        const char *end = strchr(host, ']');
        return (struct str){host + 1, end ? (size_t)(end - host - 1) : 0};
    }
    return (struct str){host, strcspn(host, ":")};
}

static bool same_name(struct str a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static bool host_is_ours(const struct guard *g, const char *host)
{
    const struct daemon_options *o = g->options;
    struct str name = host_name(host);
    bool ours = same_name(name, o->address);
    if (g->loopback)
        ours = ours || same_name(name, "localhost") || same_name(name, "127.0.0.1") || same_name(name, "::1");
    for (size_t i = 0; i < o->host_count && !ours; i++)
        ours = same_name(name, o->hosts[i]);
    return ours;
}

static bool origin_is_ours(const char *origin, const char *host)
{
    size_t scheme = strncmp(origin, "http://", 7) == 0 ? 7 : strncmp(origin, "https://", 8) == 0 ? 8 : 0;
    return scheme && strcasecmp(origin + scheme, host) == 0;
}

int guard_check(const struct guard *g, const struct http_call *c, enum access access, const char **why)
{
    const char *host = http_call_header(c, "Host"), *origin = http_call_header(c, "Origin");
    bool changes = access == ACCESS_CHANGE;
    const char *site = http_call_header(c, "Sec-Fetch-Site");
    if (!host || !host_is_ours(g, host)) {
        *why = "the Host header is not a name of this server: use its address, or start it with --host NAME";
        return 403;
    }
    if ((origin && !origin_is_ours(origin, host)) || (changes && site && strcmp(site, "cross-site") == 0)) {
        *why = "the request comes from a page of another site";
        return 403;
    }
    if ((changes || (access == ACCESS_READ && !g->loopback)) && !has_token(g, c)) {
        *why = changes ? "a change needs the token: send Authorization: Bearer TOKEN"
                       : "this address needs the token: send Authorization: Bearer TOKEN";
        return 401;
    }
    return 0;
}
