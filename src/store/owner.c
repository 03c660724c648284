#include "store/owner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_boot(char boot[40])
{
    boot[0] = '\0';
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f)
        return;
    if (!fgets(boot, 40, f))
        boot[0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    fclose(f);
}

/* The start time of a process; -1 when there is none, or only what a dead one leaves to its parent. */
static int64_t process_start(int64_t pid)
{
    char path[48], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t len = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[len] = '\0';

    /* The second field is the program's name and may hold blanks and parentheses: count from its last ')'. */
    char *at = strrchr(line, ')');
    if (!at || strlen(at) < 3 || at[2] == 'Z' || at[2] == 'X')
        return -1;
    char *rest = at + 2, *field = NULL;
    for (int number = 3; number <= 22; number++)
        field = strsep(&rest, " ");
    return field ? strtoll(field, NULL, 10) : -1;
}

void owner_self(struct owner *o)
{
    o->pid = getpid();
    o->start = process_start(o->pid);
    read_boot(o->boot);
}

bool owner_alive(const struct owner *o)
{
    char boot[40];
    read_boot(boot);
    if (o->pid <= 0 || o->pid > INT32_MAX || strcmp(boot, o->boot) != 0 || process_start(o->pid) != o->start)
        return false;
    /* Unknown both times: it has gone, or there is no /proc to tell. */
    return o->start >= 0 || kill((pid_t)o->pid, 0) == 0 || errno == EPERM;
}

void owner_text(const struct owner *o, char out[128])
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    snprintf(out, 128, "process %lld on %s", (long long)o->pid, host);
}
