/*
 * clock: wall and monotonic time in milliseconds. Injectable: nothing that promises days may read
 * the system clock behind the caller's back.
 *
 * Promise: wall_ms is Unix time in UTC and may jump; mono_ms never goes back while the process
 * lives. Any thread may call; neither blocks.
 */
#ifndef POLDER_PROTO_BASE_CLOCK_H
#define POLDER_PROTO_BASE_CLOCK_H

#include "proto/base/span.h"

#include <stdint.h>

struct pl_clock {
    int64_t (*wall_ms)(void *ctx);
    int64_t (*mono_ms)(void *ctx);
    void *ctx;
};

/* Static storage; never NULL. */
const struct pl_clock *pl_clock_system(void);

static inline int64_t pl_wall_ms(const struct pl_clock *clock)
{
    return clock->wall_ms(clock->ctx);
}
static inline int64_t pl_mono_ms(const struct pl_clock *clock)
{
    return clock->mono_ms(clock->ctx);
}

/* Microseconds since some moment, the machine's own: for measuring how long something took. */
int64_t pl_elapsed_us(void);

#define PL_SECOND_MS INT64_C(1000)
#define PL_MINUTE_MS (60 * PL_SECOND_MS)
#define PL_HOUR_MS   (60 * PL_MINUTE_MS)
#define PL_DAY_MS    (24 * PL_HOUR_MS)

/* Days since 1970-01-01 UTC, rounding towards the past. */
static inline int64_t pl_day_of(int64_t wall_ms)
{
    return (wall_ms >= 0 ? wall_ms : wall_ms - (PL_DAY_MS - 1)) / PL_DAY_MS;
}

#define PL_TIME_TEXT 25 /* "2026-11-22T13:03:33.123Z" and the NUL */
/* RFC 3339, UTC, milliseconds. Times outside the years 1970–9999 are clamped. */
void pl_time_format(int64_t wall_ms, char out[PL_TIME_TEXT]);
/* RFC 3339 date-time with any offset, or ISO 8601 date only ("2026-11-22"). */
bool pl_time_parse(struct pl_span text, int64_t *wall_ms);

#endif
