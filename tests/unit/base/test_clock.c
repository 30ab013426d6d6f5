#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void the_system_clock_tells_the_time(void **state)
{
    (void)state;
    const struct pl_clock *clock = pl_clock_system();
    assert_true(llabs((long long)(pl_wall_ms(clock) - (int64_t)time(NULL) * 1000)) < 2000);
    int64_t last = pl_mono_ms(clock);
    for (int i = 0; i < 1000; i++) {
        int64_t now = pl_mono_ms(clock);
        assert_true(now >= last);
        last = now;
    }
}

static void days_round_towards_the_past(void **state)
{
    (void)state;
    assert_int_equal(pl_day_of(0), 0);
    assert_int_equal(pl_day_of(PL_DAY_MS - 1), 0);
    assert_int_equal(pl_day_of(PL_DAY_MS), 1);
    assert_int_equal(pl_day_of(-1), -1);
    assert_int_equal(pl_day_of(-PL_DAY_MS), -1);
    assert_int_equal(pl_day_of(-PL_DAY_MS - 1), -2);
}

static const char *format(int64_t ms)
{
    static char text[PL_TIME_TEXT];
    pl_time_format(ms, text);
    return text;
}

static void times_print_as_rfc_3339(void **state)
{
    (void)state;
    assert_string_equal(format(0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(format(951782399999), "2000-02-28T23:59:59.999Z");
    assert_string_equal(format(951782400000), "2000-02-29T00:00:00.000Z");
    assert_string_equal(format(1795352613123), "2026-11-22T13:03:33.123Z");
    assert_string_equal(format(253402300799999), "9999-12-31T23:59:59.999Z");
    assert_string_equal(format(INT64_MAX), "9999-12-31T23:59:59.999Z");
    assert_string_equal(format(-1), "1970-01-01T00:00:00.000Z");
}

static void every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 2932897; day += 13) { /* to the end of 9999 */
        int64_t ms = day * PL_DAY_MS + (day * 7919) % PL_DAY_MS;
        time_t seconds = (time_t)(ms / 1000);
        struct tm tm;
        char expected[64], text[PL_TIME_TEXT];
        gmtime_r(&seconds, &tm);
        size_t used = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.", &tm);
        expected[used] = (char)('0' + ms % 1000 / 100);
        expected[used + 1] = (char)('0' + ms % 100 / 10);
        expected[used + 2] = (char)('0' + ms % 10);
        memcpy(expected + used + 3, "Z", 2);
        pl_time_format(ms, text);
        assert_string_equal(text, expected);
        int64_t back = 0;
        assert_true(pl_time_parse(pl_span_str(text), &back));
        assert_true(back == ms);
    }
}

static void clients_times_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"2026-11-22T13:03:33.123Z", 1795352613123},
        {"2026-11-22T13:03:33Z", 1795352613000},
        {"2026-11-22t13:03:33.1z", 1795352613100},
        {"2026-11-22 13:03:33.123456789Z", 1795352613123},
        {"2026-11-22T14:03:33.123+01:00", 1795352613123},
        {"2026-11-22T07:33:33.123-05:30", 1795352613123},
        {"2026-11-23T00:03:33.123+11:00", 1795352613123},
        {"2026-11-22", 1795305600000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2016-12-31T23:59:60Z", 1483228800000}, /* a leap second */
        {"2000-02-29", 951782400000},
        {"2024-02-29", 1709164800000},
        {"0000-01-01", -62167219200000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 0;
        if (!pl_time_parse(pl_span_str(cases[i].text), &ms) || ms != cases[i].ms)
            fail_msg("%s gave %lld", cases[i].text, (long long)ms);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-01-32",
        "2026-04-31",
        "2023-02-29",
        "1900-02-29", /* a century is no leap year … */
        "2026-02-30",
        "26-11-22",
        "2026-11-22T",
        "2026-11-22T13:03:33", /* no offset: whose time? */
        "2026-11-22T13:03Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T13:60:00Z",
        "2026-11-22T13:03:61Z",
        "2026-11-22T13:03:33.Z",
        "2026-11-22T13:03:33,5Z",
        "2026-11-22T13:03:33+24:00",
        "2026-11-22T13:03:33+01:60",
        "2026-11-22T13:03:33+0100",
        "2026-11-22T13:03:33Zjunk",
        "2026-11-22T13:03:33.123Z ",
        " 2026-11-22",
        "2026-11-2\xc2\xb2",
        "+2026-11-22",
    };
    int64_t ms = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (pl_time_parse(pl_span_str(bad[i]), &ms))
            fail_msg("accepted %s", bad[i]);
    assert_false(pl_time_parse(pl_span("2026-11-22\0", 11), &ms));
    assert_int_equal(ms, 42);
}

/* "….123Z", which has a way of its own, against "….123+00:00", which has not: every byte damaged.
 */
static void the_short_way_agrees_with_the_long_one(void **state)
{
    (void)state;
    static const char *const good[] = {"1970-01-01T00:00:00.000Z", "2026-11-22T13:03:33.123Z",
                                       "2024-02-29T23:59:59.999Z", "9999-12-31T23:59:60.001Z"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        for (size_t at = 0; at < 23; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                char near[32], far[32];
                int64_t near_ms = 0, far_ms = 0;
                strcpy(near, good[i]);
                near[at] = (char)byte;
                memcpy(far, near, 23);
                memcpy(far + 23, "+00:00", 6);
                const bool parsed = pl_time_parse(pl_span(near, 24), &near_ms);
                if (parsed != pl_time_parse(pl_span(far, 29), &far_ms) || near_ms != far_ms)
                    fail_msg("%.24s", near);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_tells_the_time),
        cmocka_unit_test(days_round_towards_the_past),
        cmocka_unit_test(times_print_as_rfc_3339),
        cmocka_unit_test(every_day_agrees_with_the_c_library),
        cmocka_unit_test(clients_times_parse),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(the_short_way_agrees_with_the_long_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
