#include "base/timeutil.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

static const double LONGEST_S = 10 * 365.25 * 86400;

int64_t mono_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
}

double unix_now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with an optional fraction, by hand: strtod() also takes signs, spaces, hex, "inf" and exponents. */
static size_t read_number(struct str text, double *value)
{
    size_t i = 0;
    double whole = 0, part = 0, scale = 1;
    for (; i < text.len && is_digit(text.ptr[i]); i++)
        whole = whole * 10 + (text.ptr[i] - '0');
    if (i > 0 && i + 1 < text.len && text.ptr[i] == '.' && is_digit(text.ptr[i + 1]))
        for (i++; i < text.len && is_digit(text.ptr[i]); i++) {
            /* Digits beyond the ninth are below a microsecond in every unit but the day; a day has 14 of them. */
            if (scale < 1e15) {
                part = part * 10 + (text.ptr[i] - '0');
                scale *= 10;
            }
        }
    *value = whole + part / scale;
    return i;
}

bool duration_parse(struct str text, int64_t *us)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};

    double number;
    size_t used = read_number(text, &number);
    if (used == 0)
        return false;
    struct str rest = {text.ptr + used, text.len - used};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_is(rest, units[i].name))
            continue;
        double seconds = number * units[i].seconds;
        if (!(seconds <= LONGEST_S))
            return false;
        *us = llround(seconds * 1e6);
        return true;
    }
    return false;
}

/* Each unit is chosen after rounding, so that 59.96 s reads "1m 00s" and never "60.0 s". */
static void format_positive(uint64_t us, const char *sign, char out[DURATION_TEXT])
{
    const uint64_t second = SECOND_US;
    uint64_t tenth_ms = (us + 50) / 100, tenth_s = (us + second / 20) / (second / 10);
    uint64_t s = (us + second / 2) / second, m = (us + 30 * second) / (60 * second);
    uint64_t h = (us + 1800 * second) / (3600 * second);

    if (us < 1000)
        snprintf(out, DURATION_TEXT, "%s%u us", sign, (unsigned)us);
    else if (tenth_ms < 10000)
        snprintf(out, DURATION_TEXT, "%s%u.%u ms", sign, (unsigned)(tenth_ms / 10), (unsigned)(tenth_ms % 10));
    else if (tenth_s < 600)
        snprintf(out, DURATION_TEXT, "%s%u.%u s", sign, (unsigned)(tenth_s / 10), (unsigned)(tenth_s % 10));
    else if (s < 3600)
        snprintf(out, DURATION_TEXT, "%s%um %02us", sign, (unsigned)(s / 60), (unsigned)(s % 60));
    else if (m < 48 * 60)
        snprintf(out, DURATION_TEXT, "%s%uh %02um", sign, (unsigned)(m / 60), (unsigned)(m % 60));
    else
        snprintf(out, DURATION_TEXT, "%s%ud %02uh", sign, (unsigned)(h / 24), (unsigned)(h % 24));
}

char *duration_format(int64_t us, char out[DURATION_TEXT])
{
    if (us == NEVER_US)
        snprintf(out, DURATION_TEXT, "never");
    else if (us < 0)
        format_positive(-(uint64_t)us, "-", out);
    else
        format_positive((uint64_t)us, "", out);
    return out;
}

char *unix_format(double unix_s, char out[DURATION_TEXT])
{
    static const double last_ms = 253402300799999.0; /* the end of the year 9999 */
    double ms = floor(unix_s * 1000 + 0.5);
    if (!(ms >= 0 && ms <= last_ms)) {
        snprintf(out, DURATION_TEXT, "-");
        return out;
    }
    time_t seconds = (time_t)((int64_t)ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t used = strftime(out, DURATION_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + used, DURATION_TEXT - used, ".%03uZ", (unsigned)((int64_t)ms % 1000));
    return out;
}
