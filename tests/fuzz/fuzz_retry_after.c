/* Retry-After: seconds, or a date in any of the three forms; a wait is never negative nor beyond all bounds. */
#include "fuzz.h"

#include <time.h>

#include "base/timeutil.h"
#include "core/retry.h"

enum { SPAN_S = 40 * 365 * 86400 }; /* of the dates tried: a two-digit year means the nearest one */

static const double NOW_S = 1760000000;

/* A date that we write is read as the instant it names. */
static void check_date(struct str input)
{
    uint32_t ahead_s = 0;
    for (int i = 0; i < 4; i++)
        ahead_s = ahead_s << 8 | fuzz_byte(&input);
    ahead_s %= SPAN_S;
    time_t at = (time_t)NOW_S + (time_t)ahead_s;
    struct tm tm;
    gmtime_r(&at, &tm);
    char forms[3][64];
    strftime(forms[0], sizeof forms[0], "%a, %d %b %Y %H:%M:%S GMT", &tm);
    size_t used = strftime(forms[1], sizeof forms[1], "%A, %d-%b-", &tm);
    used += (size_t)snprintf(forms[1] + used, sizeof forms[1] - used, "%02d ", tm.tm_year % 100);
    strftime(forms[1] + used, sizeof forms[1] - used, "%H:%M:%S GMT", &tm);
    strftime(forms[2], sizeof forms[2], "%a %b %e %H:%M:%S %Y", &tm);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const char *text = forms[i];
        int64_t wait_us = -1;
        bool read = retry_after_parse(text, NOW_S, &wait_us);
        int64_t longest_s = 10 * 365 * 86400; /* whole years; the bound has a leap day or two more */
        PROMISE(read, "%s is not read", text);
        PROMISE(wait_us == ahead_s * SECOND_US || (ahead_s > longest_s && wait_us >= longest_s * SECOND_US),
                "%s is read as %lld us, not %u s", text, (long long)wait_us, ahead_s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    char *value = fuzz_text(input);
    int64_t wait_us = -1;
    if (retry_after_parse(value, NOW_S, &wait_us))
        PROMISE(wait_us >= 0 && wait_us <= 11 * 365 * 24 * HOUR_US, "%s: %lld us", value, (long long)wait_us);
    else
        PROMISE(wait_us == -1, "%s: a refusal wrote %lld", value, (long long)wait_us);
    free(value);
    check_date(input);
    return 0;
}
