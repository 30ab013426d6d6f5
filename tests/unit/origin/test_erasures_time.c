/* Up to when a person is erased: by whose clock. */
#include "erasures_fixture.h"

/* The clock shows another time; what was believed goes on. */
static void jump(struct test *t, int64_t ms)
{
    t->belief.clock = &t->rig.clock;
    t->belief.offset_ms = t->rig.now_ms - pl_mono_ms(&t->rig.clock);
    t->rig.now_ms += ms;
    restart(t);
}

static void test_a_clock_that_jumps_erases_no_future(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.user = "ann"});
    jump(t, 365 * PL_DAY_MS);
    const struct pl_id128 id = erase(t, "ann");
    assert_int_equal(held_of(t, "ann"), 0);
    const char *text = receipt(t, &id);
    assert_null(strstr(text, "\"2025-"));
    assert_non_null(strstr(text, "\"state\":\"gone\""));
    put(t, (struct told){.user = "ann", .accepted_ms = -1});
    put(t, (struct told){.user = "ann", .accepted_ms = PL_HOUR_MS});
    store_from(t, 1);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
    assert_int_equal(held_of(t, "ann"), 1);
    /* Nor is the guard lifted a year too early. */
    t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_true(erasures_any(t->erasures, 1));
}

static void test_a_clock_that_jumps_back_lets_no_past_through(void **state)
{
    struct test *t = *state;
    jump(t, -365 * PL_DAY_MS);
    erase(t, "ann");
    put(t, (struct told){.user = "ann", .accepted_ms = -1});
    put(t, (struct told){.user = "ann", .accepted_ms = PL_HOUR_MS});
    store_from(t, 1);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
    assert_int_equal(held_of(t, "ann"), 1);
}

/* Since a restart that took too long nobody knows the time: not what was kept, nor what is shown.
 */
static void test_a_clock_in_doubt_since_a_restart(void **state)
{
    struct test *t = *state;
    struct identities ids = {.list = NULL};
    struct pl_id128 id;
    struct pl_why why = {0};
    jump(t, 2 * PL_DAY_MS);
    t->belief.assumed = true;
    const struct erasures_request request = {.account = 1, .identities = &ids};
    assert_int_equal(erasures_erase(t->erasures, &request, &id, &why), PL_EAGAIN);
    assert_non_null(strstr(why.text, "confirm-clock"));
    assert_int_equal(rig_count(&t->rig, FAMILY_ERASURES), 0);
    assert_int_equal(t->notes, 0);
    t->belief.assumed = false;
    assert_int_equal(erasures_erase(t->erasures, &request, &id, &why), PL_OK);
}

/* Of the only pair. */
static int64_t link_day(struct test *t)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct pl_why why = {0};
    rig_must(store_scan_new(&scan, t->rig.store, FAMILY_LINKS, pl_span(NULL, 0), pl_span(NULL, 0)),
             &why);
    rig_must(store_scan_next(scan, &key, &value), &why);
    const int64_t day = pl_load_u16(value.data + 1);
    store_scan_free(scan);
    return day;
}

/* A pair that is dated too early goes too early, one that is dated too late is passed over. */
static void test_a_clock_that_jumps_dates_no_link(void **state)
{
    struct test *t = *state;
    jump(t, -365 * PL_DAY_MS);
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    assert_int_equal(link_day(t), pl_day_of(NOON_MS));
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    t->rig.now_ms += 2 * 365 * PL_DAY_MS;
    store_one(t, (struct told){.visitor = "phone", .user = "ann", .accepted_ms = PL_HOUR_MS});
    assert_int_equal(link_day(t), pl_day_of(NOON_MS));
}

/* ---- edges' clocks */

static void settle(struct test *t, int edge)
{
    struct pl_id128 epoch;
    changelog_epoch(t->changelog, &epoch);
    cutoffs_settled(t->cutoffs, &t->rig.edges[edge].id, &epoch,
                    t->erasures->open->erasure.position);
}

/* How many of ann's events are taken that an edge accepted so long after the erasure by its clock,
 * and that happened then. */
static uint64_t taken(struct test *t, int edge, int64_t first_ms, int64_t second_ms)
{
    const uint64_t before = totals(t).stored;
    put(t, (struct told){.user = "ann", .accepted_ms = first_ms});
    put(t, (struct told){.user = "ann", .accepted_ms = second_ms});
    store_from(t, edge);
    return totals(t).stored - before;
}

/* What an edge accepted before may bear a later time than the erasure. */
static void test_an_edge_that_is_ahead_lets_no_past_through(void **state)
{
    struct test *t = *state;
    const int64_t minute = PL_MINUTE_MS;
    t->with_edges = true;
    restart(t);
    erase(t, "ann");
    assert_true(t->erasures->open->erasure.position > 0);
    assert_int_equal(taken(t, 0, minute, minute + 1), 1);
    t->ahead_ms = 10 * minute;
    assert_int_equal(taken(t, 0, 11 * minute, 11 * minute + 1), 1);
    t->ahead_ms = PL_DAY_MS;
    assert_int_equal(taken(t, 0, PL_HOUR_MS, PL_HOUR_MS + 1), 1);
    /* Over a restart, too; and each edge for itself. */
    restart(t);
    settle(t, 0);
    assert_int_equal(taken(t, 0, 0, 1), 1);
    assert_int_equal(taken(t, 1, PL_HOUR_MS, PL_HOUR_MS + 1), 1);
    t->ahead_ms = 0;
    assert_int_equal(taken(t, 1, minute, minute + 1), 1);
    settle(t, 1);
    assert_int_equal(taken(t, 1, 1, 2), 2);
    put(t, (struct told){.user = "ann", .accepted_ms = PL_HOUR_MS, .client_ms = -1});
    store_from(t, 1);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1 + 3);
}

/* What they tell is measured by the clock that is shown, and that may be the one that is wrong. */
static void test_a_clock_in_doubt_makes_no_edge_wrong(void **state)
{
    struct test *t = *state;
    t->with_edges = true;
    jump(t, -365 * PL_DAY_MS);
    t->ahead_ms = 365 * PL_DAY_MS;
    erase(t, "ann");
    assert_int_equal(taken(t, 0, PL_MINUTE_MS, 2 * PL_MINUTE_MS), 1);
}

/* A person's event that is stored may be of before, if a crash or a late event has it found late.
 */
static void test_a_minute_of_what_is_stored(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.user = "ann", .accepted_ms = PL_MINUTE_MS});
    put(t, (struct told){.user = "ann", .accepted_ms = PL_MINUTE_MS + PL_SECOND_MS});
    store_all(t);
    erase_only(t, "ann", true);
    restart(t);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_edge_that_is_ahead_lets_no_past_through),
        TEST(test_a_clock_in_doubt_makes_no_edge_wrong),
        TEST(test_a_minute_of_what_is_stored),
        TEST(test_a_clock_that_jumps_erases_no_future),
        TEST(test_a_clock_that_jumps_back_lets_no_past_through),
        TEST(test_a_clock_in_doubt_since_a_restart),
        TEST(test_a_clock_that_jumps_dates_no_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
