/* Durations as people write them: in range, and what canvass shows of one is read as the same one. */
#include "fuzz.h"

#include "base/timeutil.h"
#include "script/table_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t us = -1, again = -1;
    char shown[DURATION_TEXT];
    if (!duration_parse((struct str){(const char *)data, size}, &us)) {
        PROMISE(us == -1, "a refusal wrote %lld", (long long)us);
        return 0;
    }
    PROMISE(us >= 0 && us <= 10 * 366 * 24 * HOUR_US, "%lld us", (long long)us);
    duration_format(us, shown);
    PROMISE(strlen(shown) < DURATION_TEXT - 1, "%s", shown);

    struct arena arena;
    arena_init(&arena);
    const char *text = table_duration(&arena, us);
    PROMISE(duration_parse(str_from(text), &again), "shown as %s", text);
    PROMISE(again == us, "%lld us are shown as %s", (long long)us, text);
    arena_done(&arena);
    return 0;
}
