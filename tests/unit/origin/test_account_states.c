/* What may become of an account: the table, requests for deletion, holds. */
#include "lifecycle_fixture.h"

#define DAY(n) (START_MS + (n)*PL_DAY_MS)

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

static void assert_shown(struct house *house, const struct account *account, const char *words)
{
    struct json_writer *w;
    struct pl_buf text;
    pl_buf_init(&text, 65536);
    must(json_writer_new(&w, false), &house->why);
    json_writer_begin(w, &text);
    const struct account_standing standing =
        lifecycle_standing(house->lifecycle, account, house->now_ms);
    account_write_json(account, house->now_ms, &standing, w);
    must(json_writer_end(w), &house->why);
    must(pl_buf_terminate(&text), &house->why);
    assert_non_null(strstr((char *)text.data, words));
    json_writer_free(w);
    pl_buf_release(&text);
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

/* ---- holds */

static struct hold hold(struct house *house, uint64_t account, const char *request)
{
    struct hold hold;
    must(accounts_hold(house->accounts, house->holds, account, parse(house, request), "tester",
                       &hold, &house->why),
         &house->why);
    return hold;
}

static void release(struct house *house, const struct hold *hold)
{
    struct hold released;
    must(holds_release(house->holds, hold->account, &hold->id,
                       parse(house, "{\"reason\":\"over\"}"), "tester", &released, &house->why),
         &house->why);
    assert_int_equal(released.released_ms, house->now_ms);
}

static void assert_certified(struct house *house, uint64_t account, const char *words)
{
    struct pl_buf certificate;
    pl_buf_init(&certificate, CERTIFICATE_BYTES_MAX);
    must(certificate_get(house->store, account, &certificate, &house->why), &house->why);
    must(pl_buf_terminate(&certificate), &house->why);
    if (strstr((char *)certificate.data, words) == NULL)
        fail_msg("no %s in %s", words, (char *)certificate.data);
    pl_buf_release(&certificate);
}

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

/* ---- retention and imports */

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
        T(nothing_is_deleted_under_a_hold),
        T(a_hold_ends_by_its_date),
        T(a_hold_on_some_days_keeps_those),
        T(a_hold_on_some_days_hinders_no_return_before_its_day),
        T(who_is_held_meanwhile_loses_nothing_more),
        T(holds_are_checked),
        T(a_hold_from_null_to_null_is_on_all_of_it),
        T(an_account_has_so_many_holds),
        T(events_older_than_the_retention_go_by_day),
        T(an_account_that_ends_while_the_clock_is_behind_is_kept_its_time),
        T(what_begins_while_the_clock_is_ahead_begins_now),
        T(a_clock_that_is_ahead_ends_no_hold),
        cmocka_unit_test(months_are_those_of_the_calendar),
        T(what_is_held_is_shown_and_not_overdue),
        T(an_account_that_ended_long_ago_is_deleted_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
