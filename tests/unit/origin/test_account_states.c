/* What may become of an account: the table, requests for deletion, clocks that are wrong. */
#include "lifecycle_fixture.h"

/* Every row of the code's table is in ARCHITECTURE.md's, and there is no other. */
static void the_table_is_the_one_that_is_written_down(void **state)
{
    struct pl_buf text;
    struct pl_why why = {0};
    char row[256];
    size_t rows = 0;
    (void)state;
    pl_buf_init(&text, 4 << 20);
    must(pl_file_read(TEST_DATA "/../ARCHITECTURE.md", "architecture", false, &text, &why), &why);
    must(pl_buf_terminate(&text), &why);
    char *table = strstr((char *)text.data, "| from | to | by | when |");
    assert_non_null(table);
    char *end = strstr(table, "\n\n");
    assert_non_null(end);
    *end = '\0';
    for (size_t i = 0; i < account_move_count; i++) {
        const struct account_move *move = &account_moves[i];
        snprintf(row, sizeof(row), "\n| %s | %s | %s | %s |", account_state_name(move->from),
                 account_state_name(move->to), account_mover_name(move->by), move->when);
        if (strstr(table, row) == NULL)
            fail_msg("ARCHITECTURE.md lacks:%s", row);
    }
    for (char *at = table; (at = strchr(at, '\n')) != NULL; at++)
        rows++;
    assert_int_equal(rows, account_move_count + 1); /* the line below the head */
    pl_buf_release(&text);
}

struct wish {
    enum account_state state;
};

static enum pl_err edit_state(void *ctx, struct account *account, struct pl_why *why)
{
    const struct wish *wish = ctx;
    (void)why;
    account->cleared_ms = account->state == wish->state ? START_MS : 0; /* its move to itself */
    account->state = wish->state;
    return PL_OK;
}

static enum pl_err try_move(struct house *house, uint64_t id, enum account_state to,
                            enum account_mover by)
{
    struct wish wish = {to};
    return accounts_change(house->accounts, id, by, edit_state, &wish, NULL, &house->why);
}

static struct account account_in(struct house *house, enum account_state state)
{
    static unsigned n;
    char name[32];
    snprintf(name, sizeof(name), "account %u", n++);
    struct account account = new_account(house, name);
    for (enum account_state next = ACCOUNT_EXPIRED; next <= state; next++)
        must(try_move(house, account.id, next, MOVED_BY_TIME), &house->why);
    assert_int_equal(account_of(house, account.id).state, state);
    return account;
}

/* What the table lacks cannot be done, whoever does it. */
static void an_account_moves_along_the_table_only(void **state)
{
    struct house *house = *state;
    size_t moved = 0;
    for (enum account_state from = ACCOUNT_ACTIVE; from <= ACCOUNT_DELETED; from++)
        for (enum account_state to = ACCOUNT_ACTIVE; to <= ACCOUNT_DELETED; to++)
            for (enum account_mover by = MOVED_BY_TIME; by <= MOVED_BY_RESTORE; by++) {
                struct account account = account_in(house, from);
                const bool may = account_may_move(from, to, by);
                assert_int_equal(try_move(house, account.id, to, by), may ? PL_OK : PL_EEXPIRED);
                const struct account after = account_of(house, account.id);
                assert_int_equal(after.state, may ? to : from);
                assert_int_equal(after.cleared_ms, may && from == to ? START_MS : 0);
                moved += may;
            }
    assert_int_equal(moved, account_move_count);
    /* Nothing leads back from a deletion that has started. */
    for (size_t i = 0; i < account_move_count; i++)
        assert_true(account_moves[i].from < ACCOUNT_DELETING ||
                    account_moves[i].to > account_moves[i].from);
}

/* ---- deletion on request */

static void a_request_deletes_nothing_until_it_is_confirmed(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "asker"), asked;
    put_event(house, account.id, 1);
    must(accounts_request_deletion(house->accounts, house->holds, account.id, "ticket 1", &asked,
                                   &house->why),
         &house->why);
    tick_on_day(house, 1);
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    assert_int_equal(events_of(house, account.id), 1);
    assert_string_equal(asked.request_reason, "ticket 1");

    struct pl_id128 other = asked.request_id;
    other.bytes[0] ^= 1;
    assert_int_equal(accounts_confirm_deletion(house->accounts, house->holds, account.id, &other,
                                               &asked, &house->why),
                     PL_ENOTFOUND);
    tick_on_day(house, 2);
    assert_int_equal(events_of(house, account.id), 1);
    reopen_house(house); /* a request outlives a restart */
    struct account kept = account_of(house, account.id);
    must(accounts_confirm_deletion(house->accounts, house->holds, account.id, &kept.request_id,
                                   &asked, &house->why),
         &house->why);
    assert_int_equal(asked.state, ACCOUNT_DELETING);
    /* Said twice is said once. */
    must(accounts_confirm_deletion(house->accounts, house->holds, account.id, &kept.request_id,
                                   &asked, &house->why),
         &house->why);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(events_of(house, account.id), 0);
    assert_false(has_key(house, account.id));
    assert_true(has_certificate(house, account.id));
}

static void a_request_ends_after_a_week(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "late"), asked;
    must(accounts_request_deletion(house->accounts, house->holds, account.id, "r", &asked,
                                   &house->why),
         &house->why);
    pass_to(house, DAY(ACCOUNT_CONFIRM_DAYS) + 1);
    assert_int_equal(accounts_confirm_deletion(house->accounts, house->holds, account.id,
                                               &asked.request_id, &asked, &house->why),
                     PL_ENOTFOUND);
    /* So does one that is taken back, or that another one took the place of. */
    struct pl_id128 first;
    must(accounts_request_deletion(house->accounts, house->holds, account.id, "r", &asked,
                                   &house->why),
         &house->why);
    first = asked.request_id;
    must(accounts_request_deletion(house->accounts, house->holds, account.id, "r2", &asked,
                                   &house->why),
         &house->why);
    assert_int_equal(accounts_confirm_deletion(house->accounts, house->holds, account.id, &first,
                                               &asked, &house->why),
                     PL_ENOTFOUND);
    must(accounts_withdraw_deletion(house->accounts, account.id, &asked, &house->why), &house->why);
    assert_false(asked.was_so);
    must(accounts_withdraw_deletion(house->accounts, account.id, &asked, &house->why), &house->why);
    assert_true(asked.was_so);
    tick_on_day(house, 20);
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    assert_true(has_key(house, account.id));
}

static void deleting_at_once_needs_a_reason_and_cannot_be_undone(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "now"), asked;
    assert_int_equal(
        accounts_delete_now(house->accounts, house->holds, account.id, "", &asked, &house->why),
        PL_EINVAL);
    assert_string_equal(house->why.field, "reason");
    must(accounts_delete_now(house->accounts, house->holds, account.id, "ticket 2", &asked,
                             &house->why),
         &house->why);
    assert_int_equal(accounts_reinstate(house->accounts, account.id, 0, &asked, &house->why),
                     PL_EEXPIRED);
    assert_int_equal(accounts_withdraw_deletion(house->accounts, account.id, &asked, &house->why),
                     PL_EEXPIRED);
    int64_t expired_ms;
    assert_int_equal(accounts_fate(house->accounts, account.id, house->now_ms, &expired_ms),
                     INTAKE_DELETED);
    work(house);
    struct account gone = account_of(house, account.id);
    assert_int_equal(gone.state, ACCOUNT_DELETED);
    assert_string_equal(gone.name, "");
    assert_int_equal(gone.created_ms, account.created_ms);
}

/* What is asked for twice, as after an answer that got lost, is done once and refused never. */
static void what_is_so_already_is_no_error(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "twice"), first, again;
    const int64_t end_ms = START_MS + PL_DAY_MS;
    must(accounts_expire(house->accounts, account.id, end_ms, &first, &house->why), &house->why);
    assert_false(first.was_so);
    must(accounts_expire(house->accounts, account.id, end_ms, &again, &house->why), &house->why);
    assert_true(again.was_so);
    must(accounts_reinstate(house->accounts, account.id, 0, &again, &house->why), &house->why);
    assert_false(again.was_so);
    must(accounts_reinstate(house->accounts, account.id, 0, &again, &house->why), &house->why);
    assert_true(again.was_so);
    must(accounts_expire(house->accounts, account.id, 0, &first, &house->why), &house->why);
    house->now_ms += PL_MINUTE_MS;
    house->mono_ms += PL_MINUTE_MS;
    const uint64_t position = changelog_position(house->changelog);
    must(accounts_expire(house->accounts, account.id, 0, &again, &house->why), &house->why);
    assert_true(again.was_so);
    assert_int_equal(again.expires_at_ms, first.expires_at_ms);
    assert_int_equal(changelog_position(house->changelog), position); /* edges learn nothing new */
    assert_shown(house, &again, "\"already\":true");
    must(accounts_delete_now(house->accounts, house->holds, account.id, "r", &first, &house->why),
         &house->why);
    assert_false(first.was_so);
    must(accounts_delete_now(house->accounts, house->holds, account.id, "r", &again, &house->why),
         &house->why);
    assert_true(again.was_so);
    assert_int_equal(again.deletion_started_ms, first.deletion_started_ms);
    reopen_house(house);
    again = account_of(house, account.id);
    assert_false(again.was_so);
    assert_int_equal(accounts_expire(house->accounts, account.id, 0, &again, &house->why),
                     PL_EEXPIRED);
}

/* ---- a clock that is wrong */

/* As after a battery died: who is ended meanwhile did not end a year ago. */
static void an_account_that_ends_while_the_clock_is_behind_is_kept_its_time(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "unlucky"), ended;
    tick_on_day(house, 1);
    const int64_t now_ms = house->now_ms;
    house->now_ms -= 400 * PL_DAY_MS;
    must(accounts_expire(house->accounts, account.id, 0, &ended, &house->why), &house->why);
    assert_true(ended.expires_at_ms >= now_ms);
    house->now_ms = now_ms;
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_EXPIRED);
    assert_true(has_key(house, account.id));
}

/* Nor will they end in a year. */
static void what_begins_while_the_clock_is_ahead_begins_now(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "ended"), gone = new_account(house, "gone"), out;
    tick_on_day(house, 1);
    const int64_t now_ms = house->now_ms;
    house->now_ms += 400 * PL_DAY_MS;
    must(accounts_expire(house->accounts, account.id, 0, &out, &house->why), &house->why);
    assert_int_equal(out.expires_at_ms, now_ms);
    assert_int_equal(out.state, ACCOUNT_EXPIRED);
    must(accounts_delete_now(house->accounts, house->holds, gone.id, "ticket 4", &out, &house->why),
         &house->why);
    assert_int_equal(out.requested_ms, now_ms);
    assert_int_equal(out.deletion_started_ms, now_ms);
    assert_int_equal(new_account(house, "new").created_ms, now_ms);

    /* Since a restart it may be right: who ends now is not to have ended long ago. */
    struct account later = new_account(house, "later");
    reopen_house(house);
    lifecycle_first_look(house->lifecycle);
    must(accounts_expire(house->accounts, later.id, 0, &out, &house->why), &house->why);
    assert_int_equal(out.expires_at_ms, house->now_ms);
}

/* ---- imports */

static void an_account_that_ended_long_ago_is_deleted_at_once(void **state)
{
    struct house *house = *state;
    struct account out;
    struct lifecycle_status status;
    assert_int_equal(accounts_create(house->accounts,
                                     parse(house, "{\"name\":\"x\",\"expires_at\":\"2024-06-30\"}"),
                                     &out, &house->why),
                     PL_EINVAL); /* a slip must not cost an account */
    assert_string_equal(house->why.field, "expires_at");
    assert_int_equal(accounts_create(house->accounts,
                                     parse(house, "{\"name\":\"x\",\"expires_at\":\"2027-06-30\","
                                                  "\"imported\":true}"),
                                     &out, &house->why),
                     PL_EINVAL);
    struct account old =
        make_account(house, "{\"name\":\"old\",\"expires_at\":\"2024-06-30\",\"imported\":true}");
    struct account fresh =
        make_account(house, "{\"name\":\"fresh\",\"expires_at\":\"2025-12-20\",\"imported\":true}");
    assert_int_equal(state_of(house, old.id), ACCOUNT_EXPIRED);
    assert_shown(house, &old, "\"overdue\":true");
    assert_shown(house, &fresh, "\"overdue\":false");
    struct pl_id128 edge = enroll(house, 1); /* which says nothing for now */
    tick_on_day(house, 0);
    assert_int_equal(state_of(house, old.id), ACCOUNT_DELETING);
    assert_false(has_key(house, old.id));
    assert_int_equal(state_of(house, fresh.id), ACCOUNT_EXPIRED);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(status.overdue, 1);
    assert_false(status.past_limit); /* we have had it for a moment only */
    edge_settles(house, &edge);
    work(house);
    assert_int_equal(state_of(house, old.id), ACCOUNT_DELETED);
    /* Its certificate says why it is late, and which cut-off its edges have passed. */
    assert_certified(house, old.id,
                     "\"delays\":[{\"kind\":\"import\",\"from\":\"2024-06-30T00:00:00.000Z\","
                     "\"until\":\"2026-01-01T00:00:00.000Z\","
                     "\"reason\":\"imported after its end\"}]");
    struct pl_id128 epoch;
    char text[PL_ID128_TEXT], words[80];
    changelog_epoch(house->changelog, &epoch);
    pl_id128_format(&epoch, text);
    snprintf(words, sizeof(words), "\"cutoff\":{\"epoch\":\"%s\"", text);
    assert_certified(house, old.id, words);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_the_one_that_is_written_down),
        T(an_account_moves_along_the_table_only),
        T(a_request_deletes_nothing_until_it_is_confirmed),
        T(a_request_ends_after_a_week),
        T(deleting_at_once_needs_a_reason_and_cannot_be_undone),
        T(what_is_so_already_is_no_error),
        T(an_account_that_ends_while_the_clock_is_behind_is_kept_its_time),
        T(what_begins_while_the_clock_is_ahead_begins_now),
        T(an_account_that_ended_long_ago_is_deleted_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
