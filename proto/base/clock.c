#include "proto/base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts); /* cannot fail for the two ids used here */
    return (int64_t)ts.tv_sec * PL_SECOND_MS + ts.tv_nsec / 1000000;
}

static int64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono_ms(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_MONOTONIC);
}

int64_t pl_elapsed_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

const struct pl_clock *pl_clock_system(void)
{
    static const struct pl_clock clock = {.wall_ms = system_wall_ms, .mono_ms = system_mono_ms};
    return &clock;
}

/* The proleptic Gregorian calendar counted in eras of 400 years that begin on 1 March, so that
 * the leap day is the last of its year and needs no case of its own. gmtime_r would do, but takes
 * a lock that all loops share. */
#define ERA_DAYS   146097
#define EPOCH_DAYS 719468 /* 0000-03-01 to 1970-01-01 */

struct civil {
    int year, month, day;
};

static int64_t days_from_civil(struct civil c)
{
    int y = c.month <= 2 ? c.year - 1 : c.year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int year_of_era = y - era * 400;
    int month_from_march = (c.month + 9) % 12;
    int day_of_year = (153 * month_from_march + 2) / 5 + c.day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * ERA_DAYS + day_of_era - EPOCH_DAYS;
}

/* days >= 0 (from 1970 on) is all that formatting asks for. */
static struct civil civil_from_days(int64_t days)
{
    int64_t z = days + EPOCH_DAYS;
    int era = (int)(z / ERA_DAYS);
    int doe = (int)(z % ERA_DAYS);
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int march = (5 * doy + 2) / 153;
    struct civil c = {.day = doy - (153 * march + 2) / 5 + 1,
                      .month = march < 10 ? march + 3 : march - 9};
    c.year = yoe + era * 400 + (c.month <= 2 ? 1 : 0);
    return c;
}

static void put_digits(char *out, int value, int digits)
{
    while (digits-- > 0) {
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void pl_time_format(int64_t wall_ms, char out[PL_TIME_TEXT])
{
    const int64_t last_ms = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */
    if (wall_ms < 0)
        wall_ms = 0;
    if (wall_ms > last_ms)
        wall_ms = last_ms;
    struct civil c = civil_from_days(wall_ms / PL_DAY_MS);
    int ms = (int)(wall_ms % PL_DAY_MS);
    memcpy(out, "0000-00-00T00:00:00.000Z", PL_TIME_TEXT);
    put_digits(out, c.year, 4);
    put_digits(out + 5, c.month, 2);
    put_digits(out + 8, c.day, 2);
    put_digits(out + 11, ms / (int)PL_HOUR_MS, 2);
    put_digits(out + 14, ms / (int)PL_MINUTE_MS % 60, 2);
    put_digits(out + 17, ms / (int)PL_SECOND_MS % 60, 2);
    put_digits(out + 20, ms % 1000, 3);
}

/* Exactly `digits` digits off the front, within [low, high]. */
static bool take_number(struct pl_span *rest, size_t digits, int low, int high, int *out)
{
    int value = 0;
    if (rest->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (rest->data[i] < '0' || rest->data[i] > '9')
            return false;
        value = value * 10 + (rest->data[i] - '0');
    }
    *rest = pl_span_from(*rest, digits);
    *out = value;
    return value >= low && value <= high;
}

static bool take_any(struct pl_span *rest, const char *allowed)
{
    if (rest->len == 0 || rest->data[0] == '\0' || strchr(allowed, rest->data[0]) == NULL)
        return false;
    *rest = pl_span_from(*rest, 1);
    return true;
}

static bool take_date(struct pl_span *rest, int64_t *days)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct civil c;
    if (!take_number(rest, 4, 0, 9999, &c.year) || !take_any(rest, "-") ||
        !take_number(rest, 2, 1, 12, &c.month) || !take_any(rest, "-") ||
        !take_number(rest, 2, 1, month_days[c.month - 1], &c.day))
        return false;
    bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
    if (c.month == 2 && c.day == 29 && !leap)
        return false;
    *days = days_from_civil(c);
    return true;
}

/* ".123456…": at least one digit, cut to milliseconds. */
static bool take_fraction(struct pl_span *rest, int *ms)
{
    *ms = 0;
    if (!take_any(rest, "."))
        return true;
    int digit, weight = 100;
    if (!take_number(rest, 1, 0, 9, &digit))
        return false;
    do {
        *ms += digit * weight;
        weight /= 10;
    } while (take_number(rest, 1, 0, 9, &digit));
    return true;
}

static bool take_offset(struct pl_span *rest, int *minutes)
{
    *minutes = 0;
    if (take_any(rest, "Zz"))
        return true;
    bool west = rest->len > 0 && rest->data[0] == '-';
    int h, m;
    if (!take_any(rest, "+-") || !take_number(rest, 2, 0, 23, &h) || !take_any(rest, ":") ||
        !take_number(rest, 2, 0, 59, &m))
        return false;
    *minutes = west ? -(h * 60 + m) : h * 60 + m;
    return true;
}

/* ---- "2026-11-22T13:03:33.123Z", which is what every JavaScript client writes, at one go */

#define JS_TIME_BYTES 24

/* Eight bytes of the shape: digits come to 0 to 9 each, what stands between them to 0. above lifts
 * what is more than that, byte by byte, over 0x7f; no byte carries into the next one, unless it was
 * over 0x7f itself. */
static inline bool fits_shape(const char *shape, const char *above, const uint8_t *text,
                              uint8_t *out)
{
    uint64_t v, pattern, more;
    memcpy(&v, text, sizeof(v));
    memcpy(&pattern, shape, sizeof(pattern));
    memcpy(&more, above, sizeof(more));
    v ^= pattern;
    memcpy(out, &v, sizeof(v));
    return ((v | (v + more)) & UINT64_C(0x8080808080808080)) == 0;
}

static bool parse_js_time(const uint8_t *text, int64_t *wall_ms)
{
    static const uint8_t month_days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint8_t d[JS_TIME_BYTES];
    if (!fits_shape("0000-00-", "vvvv\x7fvv\x7f", text, d) ||
        !fits_shape("00T00:00", "vv\x7fvv\x7fvv", text + 8, d + 8) ||
        !fits_shape(":00.000Z", "\x7fvv\x7fvvv\x7f", text + 16, d + 16))
        return false;
    const struct civil c = {.year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3],
                            .month = d[5] * 10 + d[6],
                            .day = d[8] * 10 + d[9]};
    const int h = d[11] * 10 + d[12], m = d[14] * 10 + d[15], s = d[17] * 10 + d[18];
    /* 29 February and leap seconds are the general way's. */
    if (c.month < 1 || c.month > 12 || c.day < 1 || c.day > month_days[c.month] || h > 23 ||
        m > 59 || s > 59)
        return false;
    *wall_ms = days_from_civil(c) * PL_DAY_MS + h * PL_HOUR_MS + m * PL_MINUTE_MS +
               s * PL_SECOND_MS + d[20] * 100 + d[21] * 10 + d[22];
    return true;
}

bool pl_time_parse(struct pl_span text, int64_t *wall_ms)
{
    int64_t days;
    if (text.len == JS_TIME_BYTES && parse_js_time(text.data, wall_ms))
        return true;
    if (!take_date(&text, &days))
        return false;
    if (text.len == 0) {
        *wall_ms = days * PL_DAY_MS;
        return true;
    }
    int h, m, s, ms, offset_minutes;
    if (!take_any(&text, "Tt ") || !take_number(&text, 2, 0, 23, &h) || !take_any(&text, ":") ||
        !take_number(&text, 2, 0, 59, &m) || !take_any(&text, ":") ||
        !take_number(&text, 2, 0, 60, &s) || /* 60: a leap second, counted as the next one */
        !take_fraction(&text, &ms) || !take_offset(&text, &offset_minutes) || text.len != 0)
        return false;
    *wall_ms = days * PL_DAY_MS + h * PL_HOUR_MS + (m - offset_minutes) * PL_MINUTE_MS +
               s * PL_SECOND_MS + ms;
    return true;
}
