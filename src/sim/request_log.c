#include "sim/request_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timeutil.h"

void request_log_init(struct request_log *l)
{
    *l = (struct request_log){.records = mem_array(NULL, REQUEST_LOG_MAX, sizeof *l->records)};
}

void request_log_done(struct request_log *l)
{
    free(l->records);
    *l = (struct request_log){0};
}

/* Cut between characters, not inside one. */
static void copy_head(char head[REQUEST_HEAD_BYTES], struct str prompt)
{
    size_t len = prompt.len < REQUEST_HEAD_BYTES ? prompt.len : REQUEST_HEAD_BYTES - 1;
    while (len < prompt.len && len > 0 && ((unsigned char)prompt.ptr[len] & 0xC0) == 0x80)
        len--;
    if (len)
        memcpy(head, prompt.ptr, len);
    head[len] = '\0';
}

uint64_t request_log_begin(struct request_log *l, size_t endpoint, bool get, struct str prompt, int64_t now_us)
{
    struct request_record *r = &l->records[l->count % REQUEST_LOG_MAX];
    *r = (struct request_record){.endpoint = endpoint, .get = get, .arrived_us = now_us, .ended_us = NEVER_US,
                                 .ended = "open"};
    copy_head(r->head, prompt);
    return l->count++;
}

void request_log_end(struct request_log *l, uint64_t number, const char *how, int64_t now_us)
{
    if (number + REQUEST_LOG_MAX < l->count)
        return;
    struct request_record *r = &l->records[number % REQUEST_LOG_MAX];
    r->ended = how;
    r->ended_us = now_us;
}

const struct request_record *request_log_at(const struct request_log *l, size_t i)
{
    uint64_t first = l->count > REQUEST_LOG_MAX ? l->count - REQUEST_LOG_MAX : 0;
    return first + i < l->count ? &l->records[(first + i) % REQUEST_LOG_MAX] : NULL;
}
