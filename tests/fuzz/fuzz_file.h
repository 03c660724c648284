/* fuzz_file.h -- for what is read from a file only: the input in a folder of its own, in memory. */
#ifndef TESTS_FUZZ_FILE_H
#define TESTS_FUZZ_FILE_H

#include <fcntl.h>
#include <unistd.h>

#include "fuzz.h"

static char fuzz_folder[64];

static inline void fuzz_folder_done(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder);
    if (system(command) != 0)
        fprintf(stderr, "left behind: %s\n", fuzz_folder);
}

/* Writes the file and gives its path, which lives until the next call. */
static inline const char *fuzz_file(const char *name, struct str text)
{
    static char path[128];
    if (!fuzz_folder[0]) {
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/canvass-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        PROMISE(mkdtemp(fuzz_folder), "no folder");
        atexit(fuzz_folder_done);
    }
    snprintf(path, sizeof path, "%s/%s", fuzz_folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    PROMISE(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len && close(fd) == 0, "cannot write %s", path);
    return path;
}

#endif
