#include "cli/progress.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timeutil.h"
#include "cli/frame.h"
#include "cli/output.h"
#include "host/eta.h"
#include "net/loop.h"

enum { CELLS_MAX = 4 << 20, SCREEN_BYTES = 1 << 20 };
#define DRAW_LEAST_US (100 * MS_US)  /* between two frames */
#define DRAW_IDLE_US (500 * MS_US)   /* nothing happened, but clocks go on */
#define HEARTBEAT_US (60 * SECOND_US)

struct progress {
    struct engine *engine;
    const struct engine_job *job;
    bool live, draining;
    int64_t locked_since_us;
    struct loop_timer *timer;
    struct loop_signal *resized;
    int64_t drawn_us;
    struct endpoint_view *endpoints;
    uint32_t *left;                 /* by question and region: executions that have not ended; NULL: too many */
    uint32_t *questions_ended;      /* by region */
    double unix_zero_s;
    bool colors;

    /* The log's sink runs on any thread; the rest of this is guarded by the lock. */
    pthread_mutex_t lock;
    int fd;
    size_t columns, rows;
    struct frame frame;
    size_t on_screen;               /* rows of the frame above the cursor */
    struct buf out;
};

/* ---- the screen, under the lock ---- */

/* Rows that the drawn frame takes now: a terminal made narrower has wrapped the long ones. */
static size_t rows_on_screen(const struct progress *p)
{
    size_t rows = 0;
    for (size_t i = 0; i < p->on_screen; i++) {
        size_t columns = p->frame.row_columns[i];
        rows += columns > p->columns ? (columns + p->columns - 1) / p->columns : 1;
    }
    return rows;
}

static void erase(struct progress *p)
{
    size_t rows = rows_on_screen(p);
    buf_adds(&p->out, "\r");
    /* Never clears from the screen's first cell: tmux would keep a copy of each frame in its history. */
    if (rows)
        buf_addf(&p->out, "\033[%zuA\033[K\033[B\033[J\033[A", rows);
    else
        buf_adds(&p->out, "\033[J");
    p->on_screen = 0;
}

static void put_frame(struct progress *p)
{
    struct str text = buf_str(&p->frame.text);
    buf_add(&p->out, text.ptr, text.len);
    p->on_screen = p->frame.row_count;
}

static void flush_screen(struct progress *p)
{
    if (p->out.len && write(p->fd, p->out.ptr, p->out.len) != (ssize_t)p->out.len)
        p->on_screen = 0; /* the terminal took a part or nothing: begin below it */
    buf_clear(&p->out);
}

static void log_line(void *ctx, const char *line)
{
    struct progress *p = ctx;
    pthread_mutex_lock(&p->lock);
    erase(p);
    buf_adds(&p->out, line);
    buf_adds(&p->out, "\n");
    put_frame(p);
    flush_screen(p);
    pthread_mutex_unlock(&p->lock);
}

static void draw(struct progress *p)
{
    struct job_view view;
    engine_job_view(p->job, &view);
    for (uint32_t i = 0; i < view.plan->endpoint_count; i++)
        engine_endpoint_view(p->engine, view.plan->endpoints[i], &p->endpoints[i]);
    struct frame_input in = {
        .view = &view,
        .endpoints = p->endpoints,
        .questions_ended = p->left ? p->questions_ended : NULL,
        .now_us = mono_now_us(),
        .unix_zero_s = p->unix_zero_s,
        .colors = p->colors,
        .draining = p->draining,
        .locked_since_us = p->locked_since_us,
    };
    pthread_mutex_lock(&p->lock);
    terminal_size(p->fd, &p->columns, &p->rows);
    erase(p);
    in.columns = p->columns > 1 ? p->columns - 1 : 1; /* the last column makes some terminals wrap */
    in.rows = p->rows - 1;
    frame_draw(&p->frame, &in);
    put_frame(p);
    flush_screen(p);
    pthread_mutex_unlock(&p->lock);
    p->drawn_us = in.now_us;
}

/* ---- a log line now and then ---- */

static void heartbeat(struct progress *p)
{
    struct job_view view;
    engine_job_view(p->job, &view);
    if (job_state_is_final(view.state))
        return;
    int64_t oldest_us = 0, now_us = mono_now_us();
    const char *oldest = NULL;
    for (uint32_t i = 0; i < view.plan->endpoint_count; i++) {
        struct endpoint_view *e = &p->endpoints[i];
        engine_endpoint_view(p->engine, view.plan->endpoints[i], e);
        if (e->oldest_dispatch_us && (!oldest || e->oldest_dispatch_us < oldest_us)) {
            oldest_us = e->oldest_dispatch_us;
            oldest = e->spec->id;
        }
    }
    char eta[DURATION_TEXT], waited[DURATION_TEXT];
    int64_t eta_us = eta_left_us(&view, p->endpoints, now_us);
    log_event(LOG_INFO, "progress", LOG_S("job_id", view.id),
              LOG_I("succeeded", view.tally.by_status[STATUS_SUCCEEDED]),
              LOG_I("failed", view.tally.by_status[STATUS_FAILED]), LOG_I("executions", view.tally.planned),
              LOG_I("in_flight", view.in_flight), LOG_S("eta", eta_us < 0 ? NULL : duration_format(eta_us, eta)),
              LOG_S("oldest_in_flight", oldest),
              LOG_S("for", oldest ? duration_format(now_us - oldest_us, waited) : NULL));
}

/* ---- time ---- */

static void tick(void *ctx)
{
    struct progress *p = ctx;
    if (p->live)
        draw(p);
    else
        heartbeat(p);
    loop_timer_at(p->timer, mono_now_us() + (p->live ? DRAW_IDLE_US : HEARTBEAT_US));
}

static void draw_soon(struct progress *p)
{
    if (p->live)
        loop_timer_at(p->timer, p->drawn_us + DRAW_LEAST_US);
}

static void resized(void *ctx, int signum)
{
    (void)signum;
    draw_soon(ctx);
}

/* An open file of our own, so that making it non-blocking does not touch what other programs share. */
static int open_terminal(void)
{
    char name[256];
    int fd = -1;
    if (ttyname_r(STDERR_FILENO, name, sizeof name) == 0)
        fd = open(name, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 ? fd : STDERR_FILENO;
}

static void count_regions(struct progress *p, const struct plan *plan)
{
    size_t regions = plan->table->region_count, cells = (size_t)plan->question_count * regions;
    if (cells > CELLS_MAX)
        return;
    p->left = mem_zalloc(cells * sizeof *p->left);
    p->questions_ended = mem_zalloc(regions * sizeof *p->questions_ended);
    for (uint32_t e = 0; e < plan->endpoint_count; e++)
        for (uint32_t q = 0; q < plan->question_count; q++)
            p->left[q * regions + plan_endpoint(plan, e)->region] += plan->sample_count;
}

struct progress *progress_new(struct loop *loop, struct engine *engine, const struct engine_job *job, bool live)
{
    struct job_view view;
    engine_job_view(job, &view);
    struct progress *p = mem_zalloc(sizeof *p);
    *p = (struct progress){.engine = engine, .job = job, .live = live, .fd = STDERR_FILENO, .columns = 80, .rows = 24};
    p->endpoints = mem_zalloc(view.plan->endpoint_count * sizeof *p->endpoints);
    p->unix_zero_s = unix_now_s() - (double)mono_now_us() / SECOND_US;
    p->timer = loop_timer_new(loop, tick, p);
    loop_timer_at(p->timer, mono_now_us() + (live ? DRAW_LEAST_US : HEARTBEAT_US));
    pthread_mutex_init(&p->lock, NULL);
    frame_init(&p->frame);
    buf_init(&p->out, SCREEN_BYTES);
    if (live) {
        count_regions(p, view.plan);
        p->fd = open_terminal();
        p->colors = terminal_colors(STDERR_FILENO);
        p->resized = loop_signal_new(loop, SIGWINCH, resized, p);
        log_sink(log_line, p);
    }
    return p;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    if (p->live) {
        draw(p);
        log_sink(NULL, NULL);
        buf_adds(&p->out, "\n");
        flush_screen(p);
        loop_signal_free(p->resized);
        if (p->fd != STDERR_FILENO)
            close(p->fd);
    }
    loop_timer_free(p->timer);
    frame_done(&p->frame);
    buf_done(&p->out);
    pthread_mutex_destroy(&p->lock);
    free(p->endpoints);
    free(p->left);
    free(p->questions_ended);
    free(p);
}

void progress_event(struct progress *p, const struct event *event)
{
    if (p->left && event->kind == EVENT_EXECUTION_ENDED && !event->warm) {
        struct job_view view;
        engine_job_view(p->job, &view);
        unsigned region = event->endpoint->region;
        uint32_t *left = &p->left[event->cell.question * view.plan->table->region_count + region];
        if (*left && --*left == 0)
            p->questions_ended[region]++;
    }
    draw_soon(p);
}

void progress_draining(struct progress *p)
{
    p->draining = true;
    draw_soon(p);
}

void progress_locked(struct progress *p, int64_t since_us)
{
    p->locked_since_us = since_us;
    draw_soon(p);
}
