/* owner.h -- which process runs a job, told so that a recycled process number is not mistaken for it. */
#ifndef STORE_OWNER_H
#define STORE_OWNER_H

#include <stdbool.h>
#include <stdint.h>

struct owner {
    int64_t pid;        /* 0: nobody */
    int64_t start;      /* clock ticks from the machine's start to the process's */
    char boot[40];      /* of this run of the machine */
};

void owner_self(struct owner *o);
bool owner_alive(const struct owner *o);
void owner_text(const struct owner *o, char out[128]); /* for people */

#endif
