/* GET /api/v1/jobs/:job/report: what `canvass report JOB` says as JSON or as a page, by a process of its own. The
 * comparison draws and sorts for seconds, and neither the loop nor the jobs that run wait for it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "serve/internal.h"

enum { REPORTS_AT_ONCE = 2, COMPLAINT_BYTES = 4096 };
#define PATIENCE_US (120 * SECOND_US)

struct pipe_end {
    struct report *report;
    int fd;                          /* -1: it has been read to its end */
    struct loop_io *io;
    struct buf text;
};

struct report {
    struct list link;
    struct parked parked;
    struct daemon *daemon;
    struct http_call *call;          /* NULL: the client has gone */
    bool page;
    pid_t pid;
    struct pipe_end out, err;
    struct loop_timer *patience;
};

static void close_end(struct pipe_end *e)
{
    if (e->fd < 0)
        return;
    loop_io_free(e->io);
    close(e->fd);
    e->fd = -1;
}

static void report_free(struct report *r)
{
    close_end(&r->out);
    close_end(&r->err);
    buf_done(&r->out.text);
    buf_done(&r->err.text);
    loop_timer_free(r->patience);
    list_unlink(&r->link);
    r->daemon->report_count--;
    free(r);
}

static void answer(struct report *r, int status)
{
    static const char prefix[] = "canvass: ", missing[] = "there is no job ";
    const char *said = buf_str(&r->err.text).ptr;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (strncmp(said, prefix, sizeof prefix - 1) == 0)
        said += sizeof prefix - 1;
    if (code == 0 && !r->out.text.full && r->page)
        reply_page(r->call, buf_str(&r->out.text));
    else if (code == 0 && !r->out.text.full)
        reply_text(r->call, 200, "application/json", buf_str(&r->out.text));
    else if (code == 0)
        reply_problem(r->call, 500, "the report is larger than %d MiB", REPLY_MAX_BYTES >> 20);
    else if (code == 2 && strncmp(said, missing, sizeof missing - 1) == 0)
        reply_problem(r->call, 404, "%.*s", (int)strcspn(said, "\n"), said);
    else
        reply_problem(r->call, 503, "no report was made: %.*s", (int)strcspn(said, "\n"),
                      *said ? said : "it took too long, or too much memory");
}

/* Both ends are closed, so it has ended or is about to. */
static void ended(struct report *r)
{
    int status = -1;
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (r->call)
        answer(r, status);
    report_free(r);
}

static void readable(void *ctx, int events)
{
    struct pipe_end *e = ctx;
    struct report *r = e->report;
    char block[65536];
    (void)events;
    ssize_t n = read(e->fd, block, sizeof block);
    if (n > 0)
        buf_add(&e->text, block, (size_t)n);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    close_end(e);
    if (r->out.fd < 0 && r->err.fd < 0)
        ended(r);
}

static void out_of_patience(void *ctx)
{
    struct report *r = ctx;
    kill(r->pid, SIGKILL);
}

static void abandoned(struct parked *p)
{
    struct report *r = container_of(p, struct report, parked);
    r->call = NULL;
    kill(r->pid, SIGKILL);
}

/* The program itself, whatever its file is called by now. */
static bool spawn(struct report *r, char *const *argv)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        for (int i = 0; i < 2 && out[0] >= 0; i++)
            close(out[i]);
        return false;
    }
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    bool ok = posix_spawn(&r->pid, "/proc/self/exe", &actions, &attributes, argv, environ) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    r->out.fd = out[0];
    r->err.fd = err[0];
    return ok;
}

static void watch(struct report *r, struct pipe_end *e, size_t most)
{
    e->report = r;
    buf_init(&e->text, most);
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    e->io = loop_io_new(r->daemon->loop, e->fd, LOOP_READ, readable, e);
}

void api_report(struct request *q)
{
    static const char *const formats[] = {"json", "html", NULL};
    struct daemon *d = q->daemon;
    int64_t seed = 1;
    size_t format;
    char seed_text[32];
    if (!query_integer(q, "seed", 1, INT32_MAX, &seed) || !query_word(q, "format", formats, &format))
        return;
    if (d->report_count == REPORTS_AT_ONCE) {
        reply_problem(q->call, 503, "%d reports are being made already: ask again later", REPORTS_AT_ONCE);
        return;
    }
    snprintf(seed_text, sizeof seed_text, "%lld", (long long)seed);
    const char *argv[] = {"canvass", "report", format ? "--html=-" : "--json", "--seed", seed_text, "--db",
                          d->options->db, "--", q->params[0], NULL};
    struct report *r = mem_zalloc(sizeof *r);
    r->daemon = d;
    r->parked.abandoned = abandoned;
    r->call = q->call;
    r->page = format == 1;
    list_init(&r->link);
    bool ok = spawn(r, (char *const *)(uintptr_t)argv);
    d->report_count++;
    if (!ok) {
        r->out.fd = r->err.fd = -1;
        reply_problem(q->call, 503, "no process can be started, %s", strerror(errno));
        report_free(r);
        return;
    }
    list_push(&d->reports, &r->link);
    http_call_set_user(q->call, &r->parked);
    watch(r, &r->out, REPLY_MAX_BYTES);
    watch(r, &r->err, COMPLAINT_BYTES);
    r->patience = loop_timer_new(d->loop, out_of_patience, r);
    loop_timer_at(r->patience, loop_now_us(d->loop) + PATIENCE_US);
}

void reports_close(struct daemon *d)
{
    while (!list_empty(&d->reports)) {
        struct report *r = container_of(d->reports.next, struct report, link);
        kill(r->pid, SIGKILL);
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        report_free(r);
    }
}
