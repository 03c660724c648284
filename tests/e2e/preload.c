/* preload.c -- a process that dies, and a disk that fails, at an instant that was chosen: for LD_PRELOAD.
 *
 * DIE_AT="KINDS N HOW" is a SIGKILL at the N-th call of those KINDS; HOW is `before` it, `after` it, or `half` way
 * through what it writes. Kinds: w a write to a file, s a sync, P a POST sent, G a GET sent, r something received,
 * E the log's "job ended", o a print on standard output.
 * FULL_AT=N: from the N-th write on the disk has no room. EIO_AT=N: from the N-th on syncs fail. SYNC_MS=N: each takes
 * so long. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

enum how { PASSES, BEFORE, AFTER, HALF };

static char kinds[8];
static long die_at, full_at, eio_at, sync_ms;
static enum how how;
static atomic_long calls, writes, syncs;

static long number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void read_environment(void)
{
    char word[8] = "";
    const char *text = getenv("DIE_AT");
    if (text && sscanf(text, "%7s %ld %7s", kinds, &die_at, word) != 3)
        abort();
    how = word[0] == 'b' ? BEFORE : word[0] == 'a' ? AFTER : HALF;
    full_at = number("FULL_AT");
    eio_at = number("EIO_AT");
    sync_ms = number("SYNC_MS");
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* What shall happen at this call; before it, it has. */
static enum how at(char kind)
{
    if (!kind || !die_at || !strchr(kinds, kind) || atomic_fetch_add(&calls, 1) + 1 != die_at)
        return PASSES;
    if (how == BEFORE)
        die();
    return how;
}

static size_t part(enum how instant, size_t size)
{
    return instant == HALF ? size / 2 : size;
}

static ssize_t done(enum how instant, ssize_t result)
{
    if (instant != PASSES)
        die();
    return result;
}

static int counted(atomic_long *count, long from, int error)
{
    if (!from || atomic_fetch_add(count, 1) + 1 < from)
        return 0;
    errno = error;
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    if (counted(&writes, full_at, ENOSPC))
        return -1;
    enum how instant = at('w');
    return done(instant, REAL(pwrite64)(fd, data, part(instant, size), offset));
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct stat st;
    int to_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (to_file && counted(&writes, full_at, ENOSPC))
        return -1;
    enum how instant = at(to_file ? 'w' : fd == 2 && memmem(data, size, "job ended", 9) ? 'E' : 0);
    return done(instant, REAL(write)(fd, data, part(instant, size)));
}

int fdatasync(int fd)
{
    struct timespec wait = {.tv_sec = sync_ms / 1000, .tv_nsec = sync_ms % 1000 * 1000000};
    if (counted(&syncs, eio_at, EIO))
        return -1;
    enum how instant = at('s');
    if (sync_ms)
        nanosleep(&wait, NULL);
    return (int)done(instant, REAL(fdatasync)(fd));
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    char first = size >= 4 ? *(const char *)data : 0;
    enum how instant = at(first == 'P' || first == 'G' ? first : 0);
    return done(instant, REAL(send)(fd, data, part(instant, size), flags));
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    enum how instant = at('r');
    return done(instant, REAL(recv)(fd, data, size, flags));
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *to)
{
    enum how instant = at(to == stdout ? 'o' : 0);
    size_t written = REAL(fwrite)(data, size, part(instant, count), to);
    if (instant != PASSES)
        fflush(to);
    return (size_t)done(instant, (ssize_t)written);
}
