#include "host/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum { FILE_BYTES = 64 << 20 };

static bool write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

bool file_replace(const char *path, const char *text, struct err *err)
{
    if (!*text)
        return unlink(path) == 0 || errno == ENOENT ||
               err_set(err, ERR_SYSTEM, "cannot be removed, %s (%s): give this user the right to", strerror(errno),
                       path);
    char *real = realpath(path, NULL); /* a link stays a link */
    char *temporary = mem_printf("%s.tmp-%ld", real ? real : path, (long)getpid());
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 0777 : 0644;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write_all(fd, text);
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    ok = ok && rename(temporary, real ? real : path) == 0;
    if (!ok) {
        err_set(err, ERR_SYSTEM, "cannot be written, %s (%s): give this user the right to", strerror(errno), path);
        unlink(temporary);
    }
    free(temporary);
    free(real);
    return ok;
}

char *file_text(const char *path, struct err *err)
{
    struct buf text;
    char block[16384];
    ssize_t n = 0;
    buf_init(&text, FILE_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return mem_strdup("");
    while (fd >= 0 && (n = read(fd, block, sizeof block)) > 0)
        buf_add(&text, block, (size_t)n);
    bool ok = fd >= 0 && n == 0 && !text.full && !memchr(text.ptr ? text.ptr : "", 0, text.len);
    if (!ok)
        err_set(err, ERR_SYSTEM, "cannot be read, %s (%s): name a text of at most %d bytes",
                fd < 0 || n < 0 ? strerror(errno) : "it is no such file", path, (int)FILE_BYTES);
    if (fd >= 0)
        close(fd);
    char *taken = buf_take(&text);
    if (ok)
        return taken;
    free(taken);
    return NULL;
}
