#include "core/retry.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "base/timeutil.h"

static const int64_t POLL_CAP_US = 15 * SECOND_US;
static const double LONGEST_WAIT_S = 10 * 365.25 * 86400; /* so that no arithmetic with it overflows */

int64_t retry_delay_us(const struct retry_rule *rule, unsigned attempt, struct rng *rng)
{
    assert(attempt >= 1);
    int64_t limit_us = rule->base_us;
    for (unsigned i = 1; i < attempt && limit_us < rule->cap_us; i++)
        limit_us = limit_us > rule->cap_us / 2 ? rule->cap_us : limit_us * 2;
    if (limit_us > rule->cap_us)
        limit_us = rule->cap_us;
    return (int64_t)(rng_unit(rng) * (double)limit_us);
}

int64_t poll_delay_us(int64_t poll_us, unsigned polls_so_far)
{
    if (poll_us >= POLL_CAP_US)
        return poll_us; /* the operator's wish */
    double delay_us = (double)poll_us * pow(1.5, polls_so_far);
    return delay_us < (double)POLL_CAP_US ? (int64_t)delay_us : POLL_CAP_US;
}

/* ---- Retry-After ---- */

/* Days from 1970-01-01 in the Gregorian calendar. March starts the year, so that the leap day is its last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2), m = (month + 9) % 12;
    int64_t era = y / 400, in_era = y % 400;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

static int month_of(const char *name)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int i = 0; i < 12; i++)
        if (strcmp(name, names[i]) == 0)
            return i + 1;
    return 0;
}

/* The century nearest to now: more than 50 years ahead is the past (RFC 9110, 5.6.7). */
static int full_year(int two_digits, double now_unix_s)
{
    int now_year = 1970 + (int)(now_unix_s / (365.2425 * 86400));
    int year = now_year / 100 * 100 + two_digits;
    return year > now_year + 50 ? year - 100 : year < now_year - 50 ? year + 100 : year;
}

static bool parse_date(const char *text, double now_unix_s, double *unix_s)
{
    char month_name[4] = "", zone[4] = "";
    int year, day, hour, minute, second, end = 0;
    bool found = sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s%n", &day, month_name, &year, &hour,
                        &minute, &second, zone, &end) == 7 && strcmp(zone, "GMT") == 0;
    if (!found && sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d %3s%n", &day, month_name, &year, &hour,
                         &minute, &second, zone, &end) == 7 && strcmp(zone, "GMT") == 0) {
        found = true;
        year = full_year(year, now_unix_s);
    }
    if (!found)
        found = sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month_name, &day, &hour, &minute, &second,
                       &year, &end) == 6;
    int month = month_of(month_name);
    if (!found || text[end] || !month || year < 0 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return false;
    *unix_s = (double)(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second);
    return true;
}

static bool parse_seconds(const char *text, double *seconds)
{
    size_t whole = strspn(text, "0123456789"), part = 0;
    bool point = text[whole] == '.';
    if (point)
        part = strspn(text + whole + 1, "0123456789");
    if (!whole || (point && !part) || text[whole + point + part])
        return false;
    *seconds = 0;
    for (size_t i = 0; i < whole; i++)
        *seconds = *seconds * 10 + (text[i] - '0');
    double scale = 0.1;
    for (size_t i = 0; i < part; i++, scale /= 10)
        *seconds += (text[whole + 1 + i] - '0') * scale;
    return true;
}

bool retry_after_parse(const char *value, double now_unix_s, int64_t *wait_us)
{
    char text[64];
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, value, len);
    text[len] = '\0';

    double seconds;
    if (!parse_seconds(text, &seconds)) {
        double unix_s;
        if (!parse_date(text, now_unix_s, &unix_s))
            return false;
        seconds = unix_s > now_unix_s ? unix_s - now_unix_s : 0;
    }
    *wait_us = seconds < LONGEST_WAIT_S ? llround(seconds * 1e6) : (int64_t)(LONGEST_WAIT_S * 1e6);
    return true;
}
