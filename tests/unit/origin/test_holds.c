/* What must not be deleted, and until when. */
#include "lifecycle_fixture.h"

static void nothing_is_deleted_under_a_hold(void **state)
{
    struct house *house = *state;
    struct lifecycle_status status;
    struct account account = new_account(house, "held"), asked;
    put_event(house, account.id, 1);
    must(accounts_expire(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    struct hold placed = hold(house, account.id, "{\"reason\":\"HGB 257\"}");
    assert_int_equal(
        accounts_delete_now(house->accounts, house->holds, account.id, "r", &asked, &house->why),
        PL_EEXISTS);
    assert_non_null(strstr(house->why.text, "HGB 257"));
    for (int64_t day = 40; day <= 140; day += 20)
        tick_on_day(house, day);
    reopen_house(house); /* a hold outlives a restart */
    tick_on_day(house, 141);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETABLE);
    assert_int_equal(events_of(house, account.id), 1);
    assert_int_equal(status.held, 1);
    assert_int_equal(status.overdue, 0); /* what the law wants is no breach */
    assert_false(status.past_limit);
    release(house, &placed);
    work(house);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(status.overdue, 0);
    /* The certificate says why it was late. */
    assert_certified(house, account.id, "HGB 257");
    /* Then it is forgotten. */
    assert_int_equal(rows_of(house, FAMILY_HOLDS, account.id), 0);
}

static void a_hold_ends_by_its_date(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "dated"), asked;
    must(accounts_expire(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    hold(house, account.id, "{\"reason\":\"r\",\"until\":\"2026-04-11\"}"); /* day 100 */
    tick_on_day(house, 50);
    pass_to(house, DAY(100) - 1);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETABLE);
    pass_to(house, DAY(100));
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
}

static void a_hold_on_some_days_keeps_those(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "ranged"), asked;
    const int64_t first = pl_day_of(START_MS);
    for (int64_t day = 0; day < 4; day++) {
        put_event_on(house, account.id, first + day, 1);
        put_event_on(house, account.id, first + day, 2);
    }
    pass_to(house, DAY(4));
    must(accounts_expire(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    struct hold placed =
        hold(house, account.id, "{\"reason\":\"r\",\"from\":\"2026-01-02\",\"to\":\"2026-01-03\"}");
    /* Before its own day nothing goes. */
    pass_to(house, account_due_ms(&asked) - 1);
    assert_int_equal(events_of(house, account.id), 8);
    pass_to(house, account_due_ms(&asked) + PL_HOUR_MS);
    assert_int_equal(events_on(house, account.id, first), 0);
    assert_int_equal(events_on(house, account.id, first + 1), 2);
    assert_int_equal(events_on(house, account.id, first + 2), 2);
    assert_int_equal(events_on(house, account.id, first + 3), 0);
    assert_true(has_key(house, account.id));
    tick_on_day(house, 120);
    assert_int_equal(events_of(house, account.id), 4);
    struct day_counts_row sum;
    memset(&sum, 0, sizeof(sum));
    must(day_counts_total(house->day_counts, account.id, 0, VAULT_DAY_MAX, &sum), &house->why);
    assert_int_equal(day_counts_held(&sum), 4);
    /* So its deletion has started: what is left is no account that could come back. */
    reopen_house(house);
    assert_int_equal(accounts_reinstate(house->accounts, account.id, 0, &asked, &house->why),
                     PL_EEXPIRED);
    assert_non_null(strstr(house->why.text, "cannot come back"));
    release(house, &placed);
    assert_int_equal(accounts_reinstate(house->accounts, account.id, 0, &asked, &house->why),
                     PL_EEXPIRED);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(events_of(house, account.id), 0);
    /* Its certificate has both: what stood there last, and what went before. */
    assert_certified(house, account.id, "{\"kind\":\"events\",\"items\":4,");
    assert_certified(house, account.id, "{\"kind\":\"events_cleared\",\"items\":4,");
}

/* Until then it is an account like any other. */
static void a_hold_on_some_days_hinders_no_return_before_its_day(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "ranged"), asked;
    put_event(house, account.id, 1);
    must(accounts_expire(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    hold(house, account.id, "{\"reason\":\"r\",\"from\":\"2026-02-02\",\"to\":\"2026-02-03\"}");
    pass_to(house, account_due_ms(&asked) - 1);
    must(accounts_reinstate(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    tick_on_day(house, 120);
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    assert_int_equal(events_of(house, account.id), 1);
}

/* The lifecycle's list of accounts is as old as its tick. */
static bool always(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx, (void)account, (void)now_ms;
    return true;
}

static void who_is_held_meanwhile_loses_nothing_more(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "late"), asked, *old;
    struct retention *retention;
    size_t count;
    bool more = true;
    put_event(house, account.id, 'x');
    must(accounts_expire(house->accounts, account.id, 0, &asked, &house->why), &house->why);
    hold(house, account.id, "{\"reason\":\"r\",\"from\":\"2026-01-05\",\"to\":\"2026-01-06\"}");
    pass_to(house, asked.expires_at_ms + ACCOUNT_KEEP_DAYS * PL_DAY_MS);
    const int64_t due_ms = account_due_ms(&asked) + 1;
    must(accounts_move(house->accounts, account.id, ACCOUNT_DELETABLE, ACCOUNT_DELETABLE, always,
                       NULL, due_ms, &asked, &house->why),
         &house->why);
    must(accounts_list(house->accounts, &old, &count), &house->why);
    assert_int_equal(old[0].cleared_ms, due_ms);
    assert_int_equal(events_of(house, account.id), 1);
    hold(house, account.id, "{\"reason\":\"all of it\"}");
    const struct lifecycle_config config = {.store = house->store,
                                            .accounts = house->accounts,
                                            .holds = house->holds,
                                            .day_counts = house->day_counts,
                                            .clock = &house->clock,
                                            .log = &house->log};
    must(retention_new(&retention, &config), &house->why);
    for (int i = 0; i < 200 && more; i++) {
        more = false;
        retention_go_on(retention, old, count, due_ms, &more);
    }
    retention_go_on(retention, old, count, due_ms + 2 * PL_HOUR_MS, &more);
    retention_free(retention);
    free(old);
    assert_int_equal(events_of(house, account.id), 1);
}

static void holds_are_checked(void **state)
{
    static const struct {
        const char *request, *field;
    } cases[] = {
        {"{}", "reason"},
        {"{\"reason\":\"r\",\"from\":\"2026-01-01\"}", "to"},
        {"{\"reason\":\"r\",\"to\":\"2026-01-01\"}", "from"},
        {"{\"reason\":\"r\",\"from\":\"2026-01-02\",\"to\":\"2026-01-01\"}", "to"},
        {"{\"reason\":\"r\",\"until\":\"2025-01-01\"}", "until"},
        {"{\"reason\":\"r\",\"from\":\"2026-01-01T12:00:00Z\",\"to\":\"2026-01-02\"}", "from"},
        {"{\"reason\":\"r\",\"from\":\"1969-12-31\",\"to\":\"1969-12-31\"}", "from"},
        {"{\"reason\":\"r\",\"from\":null,\"to\":\"2026-01-01\"}", "from"},
        {"{\"reason\":\"r\",\"days\":3}", "days"},
    };
    struct house *house = *state;
    struct account account = new_account(house, "checked"), asked;
    struct hold out;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(accounts_hold(house->accounts, house->holds, account.id,
                                       parse(house, cases[i].request), "t", &out, &house->why),
                         PL_EINVAL);
        assert_string_equal(house->why.field, cases[i].field);
    }
    assert_int_equal(accounts_hold(house->accounts, house->holds, 4711,
                                   parse(house, "{\"reason\":\"r\"}"), "t", &out, &house->why),
                     PL_ENOTFOUND);
    must(accounts_delete_now(house->accounts, house->holds, account.id, "r", &asked, &house->why),
         &house->why);
    assert_int_equal(accounts_hold(house->accounts, house->holds, account.id,
                                   parse(house, "{\"reason\":\"r\"}"), "t", &out, &house->why),
                     PL_EEXPIRED);
}

/* As clients write that fill in every member. */
static void a_hold_from_null_to_null_is_on_all_of_it(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "held");
    struct hold placed =
        hold(house, account.id, "{\"reason\":\"r\",\"from\":null,\"to\":null,\"until\":null}");
    assert_true(placed.whole);
    assert_int_equal(placed.until_ms, 0);
    reopen_house(house);
    assert_true(holds_stand(house->holds, account.id, true, house->now_ms, NULL));
    assert_true(holds_keep_day(house->holds, account.id, pl_day_of(START_MS), house->now_ms));
}

static void an_account_has_so_many_holds(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "many");
    struct hold out;
    for (int i = 0; i < HOLDS_ACCOUNT_MAX; i++)
        hold(house, account.id, "{\"reason\":\"r\"}");
    assert_int_equal(accounts_hold(house->accounts, house->holds, account.id,
                                   parse(house, "{\"reason\":\"r\"}"), "t", &out, &house->why),
                     PL_ELIMIT);
}

static void a_clock_that_is_ahead_ends_no_hold(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "held"), asked;
    tick_on_day(house, 1);
    hold(house, account.id, "{\"reason\":\"HGB 257\",\"until\":\"2026-03-31\"}");
    house->now_ms += 400 * PL_DAY_MS;
    assert_int_equal(accounts_delete_now(house->accounts, house->holds, account.id, "ticket 3",
                                         &asked, &house->why),
                     PL_EEXISTS);
    house->now_ms -= 400 * PL_DAY_MS;
}

/* As readiness counts it. */
static void what_is_held_is_shown_and_not_overdue(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "held"), ended;
    must(accounts_expire(house->accounts, account.id, 0, &ended, &house->why), &house->why);
    assert_shown(house, &ended, "\"held\":null,\"overdue\":false");
    struct hold placed = hold(house, account.id, "{\"reason\":\"HGB 257\"}");
    pass_to(house, ended.expires_at_ms + 100 * PL_DAY_MS);
    assert_shown(house, &ended, "\"held\":\"all\",\"overdue\":false");
    release(house, &placed);
    assert_shown(house, &ended, "\"held\":null,\"overdue\":false");
    pass_to(house, ended.expires_at_ms + 120 * PL_DAY_MS);
    assert_shown(house, &ended, "\"held\":null,\"overdue\":true");
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nothing_is_deleted_under_a_hold),
        T(a_hold_ends_by_its_date),
        T(a_hold_on_some_days_keeps_those),
        T(a_hold_on_some_days_hinders_no_return_before_its_day),
        T(who_is_held_meanwhile_loses_nothing_more),
        T(holds_are_checked),
        T(a_hold_from_null_to_null_is_on_all_of_it),
        T(an_account_has_so_many_holds),
        T(a_clock_that_is_ahead_ends_no_hold),
        T(what_is_held_is_shown_and_not_overdue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
