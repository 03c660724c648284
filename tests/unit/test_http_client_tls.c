/* The HTTP client over TLS: a certificate authority made for the occasion, a server on a thread, and
 * nghttpd, where it is installed, for HTTP/2. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "net/http_client.h"
#include "net/loop.h"

enum { MAX_BODY = 100000, STREAMS = 300 };

/* ---- certificates ---- */

static char folder[] = "/tmp/canvass-tls-XXXXXX";
static char ca_file[64], cert_file[64], key_file[64];

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

static X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    add_extension(cert, issuer ? issuer : cert, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (issuer)
        add_extension(cert, issuer, NID_subject_alt_name, "IP:127.0.0.1");
    assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

static void write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (cert)
        PEM_write_X509(f, cert);
    if (key)
        PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static int make_certificates(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", folder);
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = make_certificate("canvass test authority", ca_key, NULL, ca_key);
    X509 *cert = make_certificate("canvass test server", key, ca, ca_key);
    write_pem(ca_file, ca, NULL);
    write_pem(cert_file, cert, NULL);
    write_pem(key_file, NULL, key);
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    unlink(ca_file);
    unlink(cert_file);
    unlink(key_file);
    return rmdir(folder);
}

/* ---- a server on a thread: one connection after another, one answer to each request ---- */

struct tls_server {
    pthread_t thread;
    int fd;
    uint16_t port;
    SSL_CTX *ctx;
    atomic_uint connections, requests;
    char last[4096];
};

static int listen_somewhere(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void serve_connection(struct tls_server *s, SSL *ssl)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    for (;;) {
        int len = SSL_read(ssl, s->last, sizeof s->last - 1);
        if (len <= 0)
            return;
        s->last[len] = '\0';
        s->requests++;
        SSL_write(ssl, reply, sizeof reply - 1);
    }
}

static void *serve(void *arg)
{
    struct tls_server *s = arg;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        SSL *ssl = SSL_new(s->ctx);
        SSL_set_fd(ssl, fd);
        s->connections++;
        if (SSL_accept(ssl) == 1)
            serve_connection(s, ssl);
        SSL_free(ssl);
        close(fd);
    }
}

static void server_start(struct tls_server *s)
{
    memset(s, 0, sizeof *s);
    s->fd = listen_somewhere(&s->port);
    s->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_file(s->ctx, cert_file, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(s->ctx, key_file, SSL_FILETYPE_PEM), 1);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct tls_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->ctx);
}

/* ---- the client's side ---- */

struct scene {
    struct loop *loop;
    struct http_client *client;
    struct http_target *target;
    unsigned answered, awaited, by_wire[WIRE_BAD + 1];
    struct buf body, detail;
    int most_sockets;
};

static void scene_open(struct scene *sc, const char *ca, const char *host, uint16_t port, int64_t connect_us,
                       bool http2)
{
    struct err err;
    char url[64];
    memset(sc, 0, sizeof *sc);
    sc->loop = loop_new();
    struct http_client_options o = {.ca_file = ca, .in_flight_hint = 1000, .http2 = http2};
    sc->client = http_client_new(sc->loop, &o, &err);
    assert_non_null(sc->client);
    snprintf(url, sizeof url, "https://%s:%u/", host, (unsigned)port);
    sc->target = http_target_new(sc->client, &(struct http_target_options){.url = url, .connect_us = connect_us,
                                 .max_body_bytes = MAX_BODY}, &err);
    assert_non_null(sc->target);
    buf_init(&sc->body, MAX_BODY);
    buf_init(&sc->detail, 4096);
}

static void scene_close(struct scene *sc)
{
    http_target_free(sc->target);
    http_client_free(sc->client);
    loop_free(sc->loop);
    buf_done(&sc->body);
    buf_done(&sc->detail);
}

static int count_sockets(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[64], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%.20s", e->d_name);
        count += readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "socket:", 7) == 0;
    }
    if (d)
        closedir(d);
    return count;
}

static void keep(void *ctx, const struct response *r)
{
    struct scene *sc = ctx;
    sc->by_wire[r->wire]++;
    buf_clear(&sc->body);
    buf_add(&sc->body, r->body.ptr, r->body.len);
    buf_clear(&sc->detail);
    buf_adds(&sc->detail, r->detail ? r->detail : "");
    if (sc->answered++ == 0)
        sc->most_sockets = count_sockets();
    if (sc->answered == sc->awaited)
        loop_stop(sc->loop);
}

static void ask(struct scene *sc, unsigned count, struct str body)
{
    struct http_send s = {.target = sc->target, .post = true, .body = body, .ended = keep, .ctx = sc};
    sc->answered = 0;
    sc->awaited = count;
    memset(sc->by_wire, 0, sizeof sc->by_wire);
    for (unsigned i = 0; i < count; i++)
        http_send(sc->client, &s);
    loop_run(sc->loop);
}

static void test_trusted(void **state)
{
    (void)state;
    static struct tls_server server;
    struct scene sc;
    server_start(&server);
    scene_open(&sc, ca_file, "127.0.0.1", server.port, 10 * SECOND_US, false);
    for (int i = 0; i < 3; i++) {
        ask(&sc, 1, STR("question"));
        assert_int_equal(sc.by_wire[WIRE_ANSWERED], 1);
        assert_string_equal(sc.body.ptr, "secret");
    }
    assert_int_equal(server.requests, 3);
    assert_int_equal(server.connections, 1);
    scene_close(&sc);
    server_stop(&server);
}

static void test_untrusted(void **state)
{
    (void)state;
    static struct tls_server server;
    static const struct {
        const char *name, *host;
        bool own_ca;
    } cases[] = {
        {"an authority nobody knows", "127.0.0.1", false},
        {"a certificate for another name", "localhost", true},
    };
    server_start(&server);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene sc;
        print_message("%s\n", cases[i].name);
        scene_open(&sc, cases[i].own_ca ? ca_file : NULL, cases[i].host, server.port, 10 * SECOND_US, false);
        ask(&sc, 1, STR("question"));
        assert_int_equal(sc.by_wire[WIRE_TLS], 1);
        assert_non_null(strstr(sc.detail.ptr, "certificate"));
        scene_close(&sc);
    }
    assert_int_equal(server.requests, 0);
    server_stop(&server);
}

/* A server that accepts and then says nothing: every request, also those that wait to share the first one's
 * connection, ends when the connect deadline says so. */
static void test_silent_server(void **state)
{
    (void)state;
    struct scene sc;
    uint16_t port;
    int fd = listen_somewhere(&port);
    for (int http2 = 0; http2 < 2; http2++) {
        scene_open(&sc, ca_file, "127.0.0.1", port, 100 * MS_US, http2);
        int64_t start_us = mono_now_us();
        ask(&sc, 50, STR("question"));
        assert_int_equal(sc.by_wire[WIRE_CONNECT], 50);
        assert_string_equal(sc.detail.ptr, "connect timed out after 100.0 ms");
        assert_true(mono_now_us() - start_us < 50 * 100 * MS_US); /* not one after the other */
        scene_close(&sc);
    }
    close(fd);
}

/* ---- HTTP/2 ---- */

static bool can_connect(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return ok;
}

/* Its process id; 0: it is not installed. */
static pid_t start_nghttpd(uint16_t *port)
{
    static const char *const places[] = {"/usr/sbin/nghttpd", "/usr/bin/nghttpd", "/usr/local/bin/nghttpd"};
    const char *program = NULL;
    for (size_t i = 0; i < ARRAY_LEN(places) && !program; i++)
        program = access(places[i], X_OK) == 0 ? places[i] : NULL;
    if (!program)
        return 0;
    close(listen_somewhere(port));
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)*port);
    char *const args[] = {"nghttpd", "-a", "127.0.0.1", "--echo-upload", number, key_file, cert_file, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, args);
        _exit(127);
    }
    assert_true(pid > 0);
    while (!can_connect(*port))
        sched_yield();
    return pid;
}

static void stop_nghttpd(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_http2_streams_share_connections(void **state)
{
    (void)state;
    struct scene sc;
    uint16_t port;
    pid_t pid = start_nghttpd(&port);
    if (!pid) {
        print_message("nghttpd is not installed\n");
        skip();
    }
    char *body = mem_alloc(60000);
    memset(body, 'b', 60000);
    scene_open(&sc, ca_file, "127.0.0.1", port, 10 * SECOND_US, true);
    for (int wave = 0; wave < 8; wave++) { /* answers far longer than the read buffer, too: none gets stuck */
        struct str sent = {body, wave < 2 ? 500 : wave % 2 ? 60000 : 9000};
        ask(&sc, STREAMS, sent);
        assert_int_equal(sc.by_wire[WIRE_ANSWERED], STREAMS);
        assert_true(str_equal(buf_str(&sc.body), sent));
        assert_true(sc.most_sockets < STREAMS / 10);
    }
    scene_close(&sc);
    free(body);
    stop_nghttpd(pid);
}

static void test_http1_unless_asked(void **state)
{
    (void)state;
    struct scene sc;
    uint16_t port;
    pid_t pid = start_nghttpd(&port);
    if (!pid) {
        print_message("nghttpd is not installed\n");
        skip();
    }
    scene_open(&sc, ca_file, "127.0.0.1", port, 10 * SECOND_US, false);
    ask(&sc, 1, STR("x"));
    assert_int_equal(sc.by_wire[WIRE_ANSWERED], 0); /* nghttpd speaks nothing else */
    scene_close(&sc);
    stop_nghttpd(pid);
}

static void never(void *ctx, const struct response *r)
{
    (void)ctx, (void)r;
    fail_msg("a cancelled request has ended");
}

static void test_http2_cancel_leaves_the_others(void **state)
{
    (void)state;
    struct scene sc;
    uint16_t port;
    pid_t pid = start_nghttpd(&port);
    if (!pid) {
        print_message("nghttpd is not installed\n");
        skip();
    }
    scene_open(&sc, ca_file, "127.0.0.1", port, 10 * SECOND_US, true);
    struct http_send doomed = {.target = sc.target, .post = true, .body = STR("x"), .ended = never};
    for (int round = 0; round < 20; round++) {
        struct http_request *q[20];
        for (size_t i = 0; i < ARRAY_LEN(q); i++)
            q[i] = http_send(sc.client, &doomed);
        if (round % 2) {
            for (size_t i = 0; i < ARRAY_LEN(q); i++) /* all but the first wait for its connection, or ride on it */
                http_cancel(q[i]);
            ask(&sc, 10, STR("kept"));
        } else {
            struct http_send s = {.target = sc.target, .post = true, .body = STR("kept"), .ended = keep, .ctx = &sc};
            sc.answered = 0;
            sc.awaited = 10;
            memset(sc.by_wire, 0, sizeof sc.by_wire);
            for (int i = 0; i < 10; i++)
                http_send(sc.client, &s);
            for (size_t i = ARRAY_LEN(q); i-- > 0;)
                http_cancel(q[i]);
            loop_run(sc.loop);
        }
        assert_int_equal(sc.by_wire[WIRE_ANSWERED], 10);
        assert_string_equal(sc.body.ptr, "kept");
    }
    scene_close(&sc);
    stop_nghttpd(pid);
}

/* The server dies under many streams of a shared connection: each is lost, none is sent again. */
static void test_http2_server_dies(void **state)
{
    (void)state;
    struct scene sc;
    uint16_t port;
    pid_t pid = start_nghttpd(&port);
    if (!pid) {
        print_message("nghttpd is not installed\n");
        skip();
    }
    scene_open(&sc, ca_file, "127.0.0.1", port, 10 * SECOND_US, true);
    ask(&sc, 1, STR("first"));
    assert_int_equal(sc.by_wire[WIRE_ANSWERED], 1);
    kill(pid, SIGSTOP); /* it holds what comes, and never answers */
    struct http_send s = {.target = sc.target, .post = true, .body = STR("x"), .ended = keep, .ctx = &sc};
    sc.answered = 0;
    sc.awaited = 50;
    for (int i = 0; i < 50; i++)
        http_send(sc.client, &s);
    struct loop_timer *later = loop_timer_new(sc.loop, (void (*)(void *))loop_stop, sc.loop);
    loop_timer_at(later, mono_now_us() + 50 * MS_US);
    loop_run(sc.loop); /* the requests leave */
    assert_int_equal(sc.answered, 0);
    stop_nghttpd(pid);
    loop_run(sc.loop);
    loop_timer_free(later);
    assert_int_equal(sc.by_wire[WIRE_LOST], 50);
    scene_close(&sc);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(120); /* a hang is a failure */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_untrusted),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_http1_unless_asked),
        cmocka_unit_test(test_http2_streams_share_connections),
        cmocka_unit_test(test_http2_cancel_leaves_the_others),
        cmocka_unit_test(test_http2_server_dies),
    };
    return cmocka_run_group_tests_name("http_client_tls", tests, make_certificates, remove_certificates);
}
