/* timeutil.h -- instants and durations.
 *
 * Every instant and duration in the program is an int64_t of microseconds and
 * its name ends in _us. Instants are monotonic (their zero means nothing);
 * seconds since 1970 appear only in records and on screens, as double. */
#ifndef BASE_TIMEUTIL_H
#define BASE_TIMEUTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define MS_US     INT64_C(1000)
#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define NEVER_US  INT64_MAX

int64_t mono_now_us(void);  /* CLOCK_MONOTONIC */
double unix_now_s(void);    /* CLOCK_REALTIME */

/* One number with a unit out of ms s m h d: "1.5s", "10m". Nothing else; a bare
 * number, a sign, a space or a second unit is refused. Largest value 10 years. */
bool duration_parse(struct str text, int64_t *us);

enum { DURATION_TEXT = 32 };
/* For people: "350 us", "4.2 ms", "38.1 s", "2m 58s", "1h 04m". Returns out. */
char *duration_format(int64_t us, char out[DURATION_TEXT]);

/* ISO 8601 in UTC with milliseconds: 2025-10-01T23:53:00.000Z. Returns out. */
char *unix_format(double unix_s, char out[DURATION_TEXT]);

#endif
