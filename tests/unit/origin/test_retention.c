/* What goes by its day. */
#include "lifecycle_fixture.h"

static void events_older_than_the_retention_go_by_day(void **state)
{
    struct house *house = *state;
    struct account account = make_account(house, "{\"name\":\"a\",\"retention_months\":2}");
    struct account longer = new_account(house, "b"); /* 13 months */
    const int64_t first = pl_day_of(START_MS);
    for (int64_t day = 0; day < 40; day++) {
        put_event_on(house, account.id, first + day, 1);
        put_event_on(house, longer.id, first + day, 1);
    }
    hold(house, account.id, "{\"reason\":\"r\",\"from\":\"2026-01-03\",\"to\":\"2026-01-03\"}");
    pass_to(house, DAY(40));
    /* 5 March: what was taken before 5 January is older than two months. */
    pass_to(house, INT64_C(1772668800000));
    assert_int_equal(pl_day_of(house->now_ms) - first, 63);
    assert_int_equal(events_on(house, account.id, first), 0);
    assert_int_equal(events_on(house, account.id, first + 2), 1); /* held */
    assert_int_equal(events_on(house, account.id, first + 3), 0);
    assert_int_equal(events_on(house, account.id, first + 4), 1);
    assert_int_equal(events_of(house, account.id), 40 - 3);
    assert_int_equal(events_of(house, longer.id), 40);
    assert_int_equal(rows_of(house, FAMILY_VAULT, account.id), 37);
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
}

static void months_are_those_of_the_calendar(void **state)
{
    static const struct {
        const char *now, *first;
        uint64_t months;
    } cases[] = {
        {"2026-03-05", "2026-01-05", 2},  {"2026-05-31", "2025-04-30", 13},
        {"2026-03-31", "2026-02-28", 1},  {"2024-03-31", "2024-02-29", 1},
        {"2026-01-01", "2024-12-01", 13}, {"2026-12-31", "2016-12-31", 120},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t now_ms, first_ms;
        assert_true(pl_time_parse(pl_span_str(cases[i].now), &now_ms));
        assert_true(pl_time_parse(pl_span_str(cases[i].first), &first_ms));
        assert_int_equal(retention_first_day(cases[i].months, now_ms + 5), pl_day_of(first_ms));
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(events_older_than_the_retention_go_by_day),
        cmocka_unit_test(months_are_those_of_the_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
