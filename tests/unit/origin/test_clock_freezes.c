/* Freezes of the clock as they are kept. */
#include "origin/lifecycle/clock_freezes.h"
#include "records_fixture.h"

static int setup(void **state)
{
    struct records *r = malloc(sizeof(*r));
    records_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    records_release(*state);
    free(*state);
    return 0;
}

static struct clock_freeze freeze(struct records *r, int64_t from_ms, int64_t until_ms)
{
    struct clock_freeze f;
    must(clock_freeze_begin(r->store, from_ms, "it jumped", &f, &r->why), &r->why);
    if (until_ms != 0)
        must(clock_freeze_end(r->store, &f, until_ms, "an operator confirmed it", &r->why),
             &r->why);
    return f;
}

static size_t between(struct records *r, int64_t from_ms, int64_t until_ms,
                      struct clock_freeze out[4])
{
    size_t count = 99;
    assert_int_equal(clock_freezes_between(r->store, from_ms, until_ms, out, 4, &count), PL_OK);
    return count;
}

static void a_freeze_is_found_by_when_it_was(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4];
    freeze(r, 10 * PL_DAY_MS, 12 * PL_DAY_MS);
    freeze(r, 20 * PL_DAY_MS, 21 * PL_DAY_MS);
    assert_int_equal(between(r, 0, 9 * PL_DAY_MS, out), 0);
    assert_int_equal(between(r, 13 * PL_DAY_MS, 19 * PL_DAY_MS, out), 0);
    assert_int_equal(between(r, 11 * PL_DAY_MS, 11 * PL_DAY_MS, out), 1);
    assert_int_equal(out[0].from_ms, 10 * PL_DAY_MS);
    assert_int_equal(out[0].until_ms, 12 * PL_DAY_MS);
    assert_string_equal(out[0].reason, "it jumped; an operator confirmed it");
    assert_int_equal(between(r, 12 * PL_DAY_MS, 20 * PL_DAY_MS, out), 2);
    assert_int_equal(out[1].from_ms, 20 * PL_DAY_MS);
}

static void a_restart_goes_on_with_the_open_one(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4], open;
    assert_int_equal(clock_freeze_open(r->store, &open), PL_ENOTFOUND);
    freeze(r, 10 * PL_DAY_MS, 0);
    records_close(r);
    records_open(r);
    assert_int_equal(clock_freeze_open(r->store, &open), PL_OK);
    assert_int_equal(open.from_ms, 10 * PL_DAY_MS);
    /* what lasts touches everything later */
    assert_int_equal(between(r, 50 * PL_DAY_MS, 60 * PL_DAY_MS, out), 1);
    assert_int_equal(out[0].until_ms, 0);
    freeze(r, 11 * PL_DAY_MS, 12 * PL_DAY_MS);
    assert_int_equal(between(r, 0, 100 * PL_DAY_MS, out), 1);
    assert_int_equal(out[0].from_ms, 10 * PL_DAY_MS);
    assert_int_equal(out[0].until_ms, 12 * PL_DAY_MS);
    assert_int_equal(clock_freeze_open(r->store, &open), PL_ENOTFOUND);
}

/* A clock that flaps must not fill the database. */
static void freezes_that_follow_each_other_are_one(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4];
    int64_t at_ms = 10 * PL_DAY_MS;
    for (int i = 0; i < 100; i++, at_ms += PL_HOUR_MS)
        freeze(r, at_ms, at_ms + PL_MINUTE_MS);
    assert_int_equal(between(r, 0, 100 * PL_DAY_MS, out), 1);
    assert_int_equal(out[0].from_ms, 10 * PL_DAY_MS);
    assert_string_equal(out[0].reason, "it jumped; an operator confirmed it");
    freeze(r, at_ms + PL_DAY_MS, at_ms + 2 * PL_DAY_MS);
    assert_int_equal(between(r, 0, 100 * PL_DAY_MS, out), 2);
}

static void old_ones_go(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4];
    freeze(r, 10 * PL_DAY_MS, 11 * PL_DAY_MS);
    freeze(r, 20 * PL_DAY_MS, 21 * PL_DAY_MS);
    freeze(r, 750 * PL_DAY_MS, 751 * PL_DAY_MS - 1);
    assert_int_equal(between(r, 0, 1000 * PL_DAY_MS, out), 2);
    assert_int_equal(out[0].from_ms, 20 * PL_DAY_MS);
}

/* A clock that had been a year ahead, was set right, and confirmed. */
static void one_that_ends_before_it_began_is_found_as_well(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4];
    freeze(r, 400 * PL_DAY_MS, 35 * PL_DAY_MS);
    assert_int_equal(between(r, 100 * PL_DAY_MS, 101 * PL_DAY_MS, out), 1);
    assert_int_equal(between(r, 401 * PL_DAY_MS, 402 * PL_DAY_MS, out), 0);
    freeze(r, 50 * PL_DAY_MS, 51 * PL_DAY_MS);
    assert_int_equal(between(r, 45 * PL_DAY_MS, 60 * PL_DAY_MS, out), 2);
}

/* The one of a clock that was ahead stands behind all that follow it. */
static void an_open_one_is_found_wherever_it_stands(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4], open;
    freeze(r, 400 * PL_DAY_MS, 35 * PL_DAY_MS);
    freeze(r, 50 * PL_DAY_MS, 0);
    records_close(r);
    records_open(r);
    must(clock_freeze_open(r->store, &open), &r->why);
    assert_int_equal(open.from_ms, 50 * PL_DAY_MS);
    freeze(r, 51 * PL_DAY_MS, 52 * PL_DAY_MS); /* it goes on with that one, and ends it */
    assert_int_equal(clock_freeze_open(r->store, &open), PL_ENOTFOUND);
    assert_int_equal(between(r, 45 * PL_DAY_MS, 60 * PL_DAY_MS, out), 2);
    assert_int_equal(out[0].from_ms, 50 * PL_DAY_MS);
    assert_int_equal(out[0].until_ms, 52 * PL_DAY_MS);
    freeze(r, 52 * PL_DAY_MS + PL_MINUTE_MS, 53 * PL_DAY_MS); /* nor does it hide one to join */
    assert_int_equal(between(r, 45 * PL_DAY_MS, 60 * PL_DAY_MS, out), 2);
    assert_int_equal(out[0].until_ms, 53 * PL_DAY_MS);
}

static void more_than_fit_are_counted(void **state)
{
    struct records *r = *state;
    struct clock_freeze out[4] = {{.from_ms = 0}};
    for (int i = 0; i < 6; i++)
        freeze(r, i * 10 * PL_DAY_MS, (i * 10 + 1) * PL_DAY_MS);
    assert_int_equal(between(r, 0, 100 * PL_DAY_MS, out), 6);
    assert_int_equal(out[3].from_ms, 30 * PL_DAY_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_freeze_is_found_by_when_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_with_the_open_one, setup, teardown),
        cmocka_unit_test_setup_teardown(freezes_that_follow_each_other_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(old_ones_go, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_ends_before_it_began_is_found_as_well, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_open_one_is_found_wherever_it_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_fit_are_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
