/* bare URL IN_FLIGHT COUNT HANDLES -- a libcurl multi + libev loop that asks COUNT times and does nothing else: what
 * the machine and the libraries cost, for the benchmark to compare with. Prints one JSON object. */
#include <curl/curl.h>
#include <ev.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct shard {
    CURLM *multi;
    ev_timer timer;
};

struct sock {
    ev_io io;
    struct shard *shard;
};

struct slot {
    CURL *easy;
    struct shard *shard;
};

static struct ev_loop *loop;
static struct curl_slist *headers;
static CURLU *url;
static long started, ended, count;
static char body[600];
static struct ev_prepare drain_hook;
static struct shard *shards;
static int shard_count;

static size_t ignore(char *data, size_t size, size_t n, void *user)
{
    (void)data;
    (void)user;
    return size * n;
}

static void start(struct slot *s)
{
    started++;
    curl_easy_reset(s->easy);
    curl_easy_setopt(s->easy, CURLOPT_CURLU, url);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, 16384L);
    curl_easy_setopt(s->easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_multi_add_handle(s->shard->multi, s->easy);
}

static void drain(struct ev_loop *l, ev_prepare *w, int events)
{
    (void)w;
    (void)events;
    for (int i = 0; i < shard_count; i++) {
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(shards[i].multi, &left));) {
            struct slot *s;
            CURL *easy = m->easy_handle;
            if (m->data.result != CURLE_OK)
                fprintf(stderr, "bare: %s\n", curl_easy_strerror(m->data.result));
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, &s);
            curl_multi_remove_handle(s->shard->multi, easy);
            ended++;
            if (started < count)
                start(s);
        }
    }
    if (ended >= count)
        ev_break(l, EVBREAK_ALL);
}

static void on_socket(struct ev_loop *l, ev_io *io, int events)
{
    struct sock *s = (struct sock *)io;
    int running, mask = (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    (void)l;
    curl_multi_socket_action(s->shard->multi, io->fd, mask, &running);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *per_socket)
{
    struct sock *s = per_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            ev_io_stop(loop, &s->io);
            free(s);
        }
        return 0;
    }
    if (!s) {
        s = calloc(1, sizeof *s);
        s->shard = user;
        ev_init(&s->io, on_socket);
        curl_multi_assign(s->shard->multi, fd, s);
    }
    ev_io_stop(loop, &s->io);
    ev_io_set(&s->io, fd, (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    ev_io_start(loop, &s->io);
    return 0;
}

static void on_timer(struct ev_loop *l, ev_timer *w, int events)
{
    int running;
    struct shard *s = w->data;
    (void)l;
    (void)events;
    curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static int want_timer(CURLM *multi, long timeout_ms, void *user)
{
    struct shard *s = user;
    (void)multi;
    ev_timer_stop(loop, &s->timer);
    if (timeout_ms >= 0) {
        ev_timer_set(&s->timer, (double)timeout_ms / 1000.0, 0.0);
        ev_timer_start(loop, &s->timer);
    }
    return 0;
}

static double seconds(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int in_flight = atoi(argv[2]);
    count = atol(argv[3]);
    shard_count = atoi(argv[4]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(body, 'x', sizeof body - 1);
    loop = ev_default_loop(0);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    headers = curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    url = curl_url();
    curl_url_set(url, CURLUPART_URL, argv[1], 0);
    shards = calloc((size_t)shard_count, sizeof *shards);
    for (int i = 0; i < shard_count; i++) {
        struct shard *s = &shards[i];
        s->multi = curl_multi_init();
        s->timer.data = s;
        ev_init(&s->timer, on_timer);
        curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
        curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
        curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, want_timer);
        curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
        curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)(in_flight / shard_count + 64));
    }
    ev_prepare_init(&drain_hook, drain);
    ev_prepare_start(loop, &drain_hook);
    struct slot *slots = calloc((size_t)in_flight, sizeof *slots);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < in_flight && started < count; i++) {
        slots[i] = (struct slot){.easy = curl_easy_init(), .shard = &shards[i % shard_count]};
        start(&slots[i]);
    }
    ev_run(loop, 0);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"requests\": %ld, \"wall_s\": %.3f, \"cpu_us_each\": %.2f, \"rate\": %.0f}\n", count, wall,
           cpu * 1e6 / (double)count, (double)count / wall);
    return 0;
}
