/* A hundred days on a clock of our own, with real keyring, store and accounts. */
#include "lifecycle_fixture.h"

static int64_t expired_ms; /* out, of accounts_fate */

static void an_expired_account_is_gone_within_its_window(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    struct account neighbour = new_account(house, "neighbour");
    struct account account = new_account(house, "leaver");
    put_event(house, account.id, 1);
    put_event(house, account.id, 2);
    put_event(house, neighbour.id, 1);
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    assert_int_equal(state_of(house, account.id), ACCOUNT_EXPIRED);
    assert_int_equal(accounts_fate(house->accounts, account.id, house->now_ms, &expired_ms),
                     INTAKE_EXPIRED);

    int64_t gone_on = -1;
    for (int64_t day = 0; day <= 100; day++) {
        tick_on_day(house, day);
        struct lifecycle_status status;
        lifecycle_status(house->lifecycle, &status);
        assert_int_equal(status.overdue, 0);
        if (day < ACCOUNT_KEEP_DAYS) {
            assert_int_equal(events_of(house, account.id), 2);
            assert_int_equal(keyring_key(house->keyring, account.id, key), PL_OK);
        }
        if (gone_on < 0 && state_of(house, account.id) == ACCOUNT_DELETED) {
            gone_on = day;
        }
        assert_int_equal(events_of(house, neighbour.id), 1);
    }
    assert_in_range(gone_on, ACCOUNT_KEEP_DAYS, LIFECYCLE_WARN_DAYS);
    assert_int_equal(events_of(house, account.id), 0);
    assert_int_equal(keyring_key(house->keyring, account.id, key), PL_EEXPIRED);
    assert_int_equal(accounts_fate(house->accounts, account.id, house->now_ms, &expired_ms),
                     INTAKE_DELETED);
    assert_int_equal(state_of(house, neighbour.id), ACCOUNT_ACTIVE);
    assert_int_equal(accounts_reinstate(house->accounts, account.id, 0, &account, &why),
                     PL_EEXPIRED);
}

static void deletions_are_spread(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    bool seen[ACCOUNT_SPREAD_DAYS] = {false};
    size_t days = 0;
    for (int i = 0; i < 60; i++) {
        struct account account = new_account(house, "many");
        must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
        int64_t day = (account_due_ms(&account) - START_MS) / PL_DAY_MS;
        assert_in_range(day, ACCOUNT_KEEP_DAYS, LIFECYCLE_WARN_DAYS);
        days += !seen[day - ACCOUNT_KEEP_DAYS];
        seen[day - ACCOUNT_KEEP_DAYS] = true;
    }
    assert_true(days > 15);
}

static void reinstating_on_day_44_loses_nothing(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    struct account account = new_account(house, "returner");
    put_event(house, account.id, 7);
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    for (int64_t day = 0; day <= 44; day++) {
        tick_on_day(house, day);
    }
    must(accounts_reinstate(house->accounts, account.id, 0, &account, &why), &why);
    for (int64_t day = 45; day <= 100; day++) {
        tick_on_day(house, day);
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    assert_int_equal(events_of(house, account.id), 1);
    assert_int_equal(keyring_key(house->keyring, account.id, key), PL_OK);
    assert_int_equal(accounts_fate(house->accounts, account.id, house->now_ms, &expired_ms),
                     INTAKE_ALIVE);
}

static void a_date_in_the_future_expires_by_itself(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct account account = new_account(house, "dated");
    must(accounts_expire(house->accounts, account.id, START_MS + 3 * PL_DAY_MS, &account, &why),
         &why);
    tick_on_day(house, 2);
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    house->mono_ms += START_MS + 3 * PL_DAY_MS - house->now_ms;
    house->now_ms = START_MS + 3 * PL_DAY_MS;
    /* Nobody has ticked yet: the date counts all the same. */
    assert_int_equal(accounts_fate(house->accounts, account.id, house->now_ms, &expired_ms),
                     INTAKE_EXPIRED);
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    assert_true(account.was_so);
    assert_int_equal(
        accounts_expire(house->accounts, account.id, house->now_ms + PL_DAY_MS, &account, &why),
        PL_EEXPIRED);
}

static void assert_records_hold(struct house *house, uint64_t account, const char *one,
                                const char *other)
{
    struct pl_why why = {0};
    struct json_writer *w;
    struct pl_buf records;
    pl_buf_init(&records, 65536);
    must(json_writer_new(&w, false), &why);
    json_writer_begin(w, &records);
    must(lifecycle_records(house->lifecycle, account, w), &why);
    must(json_writer_end(w), &why);
    must(pl_buf_terminate(&records), &why);
    assert_non_null(strstr((char *)records.data, one));
    assert_non_null(strstr((char *)records.data, other));
    json_writer_free(w);
    pl_buf_release(&records);
}

static bool always(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
    return true;
}

static void an_interrupted_deletion_is_resumed(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct account account = new_account(house, "crashed");
    put_event(house, account.id, 1);
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    lifecycle_tick(house->lifecycle);
    house->mono_ms += account_due_ms(&account) + 1 - house->now_ms;
    house->now_ms = account_due_ms(&account) + 1;
    must(accounts_move(house->accounts, account.id, ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, always,
                       NULL, house->now_ms, &account, &why),
         &why);
    must(accounts_move(house->accounts, account.id, ACCOUNT_DELETABLE, ACCOUNT_DELETING, always,
                       NULL, house->now_ms, &account, &why),
         &why);
    must(keyring_destroy(house->keyring, account.id, "as before the crash", NULL, &why), &why);
    reopen_house(house);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(events_of(house, account.id), 0);
    assert_records_hold(house, account.id, "\"what\":\"deleted\"",
                        "{\"kind\":\"events\",\"counted\":true,\"items\":1,");
}

/* Flips a byte of every block in the store's largest table. */
static void rot_store(struct house *house)
{
    char path[160], command[200];
    snprintf(command, sizeof(command), "ls -S '%s/data'/*.sst | head -1", house->dir);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof(path), list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    for (long at = 100; at < size - size / 4; at += 1000) { /* the rest is index and footer */
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(byte ^ 0x55, file);
    }
    fclose(file);
}

static void a_damaged_disk_does_not_save_the_key(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    char noise[4000];
    struct account account = new_account(house, "rotten");
    for (int i = 0; i < 256; i++) {
        struct vault_key at;
        vault_key_first(account.id, pl_day_of(house->now_ms), &at);
        at.bytes[VAULT_KEY_BYTES - 1] = (unsigned char)i;
        assert_int_equal(pl_random_fill(pl_random_system(), noise, sizeof(noise)), PL_OK);
        must(store_put(house->store, FAMILY_VAULT, vault_key_span(&at),
                       pl_span(noise, sizeof(noise)), true, &why),
             &why);
    }
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    must(store_flush(house->store, &why), &why);
    close_house(house);
    rot_store(house);
    open_house(house, false);
    assert_true(events_of(house, account.id) < 256);
    tick_on_day(house, 85);
    assert_int_equal(keyring_key(house->keyring, account.id, key), PL_EEXPIRED);
    assert_records_hold(house, account.id, "\"kind\":\"events\",\"counted\":false",
                        "\"key_destroyed_at\"");
}

static const char *clock_reason(struct house *house)
{
    static struct lifecycle_status status;
    lifecycle_status(house->lifecycle, &status);
    return status.clock;
}

static void a_jump_of_the_clock_deletes_nothing(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    struct account account = new_account(house, "jumped");
    put_event(house, account.id, 1);
    must(accounts_expire(house->accounts, account.id, START_MS + PL_DAY_MS, &account, &why), &why);
    tick_on_day(house, 0);
    assert_string_equal(clock_reason(house), "");
    house->now_ms += 400 * PL_DAY_MS; /* the monotonic clock knows nothing of it */
    for (int i = 0; i < 8; i++) {
        lifecycle_tick(house->lifecycle);
    }
    assert_non_null(strstr(clock_reason(house), "confirm-clock"));
    struct lifecycle_status status;
    lifecycle_status(house->lifecycle, &status);
    assert_false(status.past_limit); /* who does not know the day cannot say so */
    /* A restart does not make it right. */
    close_house(house);
    open_house(house, false);
    for (int i = 0; i < 8; i++) {
        lifecycle_tick(house->lifecycle);
    }
    assert_int_equal(keyring_key(house->keyring, account.id, key), PL_OK);
    assert_int_equal(events_of(house, account.id), 1);
    assert_non_null(strstr(clock_reason(house), "confirm-clock"));
    /* Setting it right does, and all is as it was. */
    house->now_ms -= 400 * PL_DAY_MS;
    lifecycle_tick(house->lifecycle);
    assert_string_equal(clock_reason(house), "");
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
    tick_on_day(house, 90);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
}

/* Whatever a start begins goes by it before the first tick. */
static void the_first_look_doubts_a_clock_already(void **state)
{
    struct house *house = *state;
    int64_t earliest_ms, latest_ms;
    tick_on_day(house, 1);
    close_house(house);
    const int64_t before_ms = house->now_ms;
    house->now_ms += 400 * PL_DAY_MS;
    house->belief = (struct clock_belief){.clock = &house->clock};
    open_house(house, false);
    lifecycle_first_look(house->lifecycle);
    clock_belief_range(&house->belief, &earliest_ms, &latest_ms);
    assert_int_equal(earliest_ms, before_ms);
    assert_non_null(strstr(clock_reason(house), "confirm-clock"));
}

/* Between the look that believes the clock and what is done by it. */
static void a_jump_within_a_tick_deletes_nothing(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct account account = new_account(house, "jumped");
    must(accounts_expire(house->accounts, account.id, START_MS + PL_DAY_MS, &account, &why), &why);
    tick_on_day(house, 0);
    house->jump_ms = 400 * PL_DAY_MS;
    house->reads_before_jump = 1;
    lifecycle_tick(house->lifecycle);
    assert_int_equal(house->reads_before_jump, 0);
    house->now_ms -= house->jump_ms;
    lifecycle_tick(house->lifecycle);
    assert_string_equal(clock_reason(house), "");
    assert_int_equal(state_of(house, account.id), ACCOUNT_ACTIVE);
}

static void a_confirmed_clock_goes_on(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct account account = new_account(house, "away");
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    tick_on_day(house, 1);
    close_house(house);
    house->now_ms += 100 * PL_DAY_MS; /* switched off for as long */
    open_house(house, false);
    lifecycle_tick(house->lifecycle);
    assert_int_equal(state_of(house, account.id), ACCOUNT_EXPIRED);
    lifecycle_confirm_clock(house->lifecycle);
    lifecycle_tick(house->lifecycle);
    assert_string_equal(clock_reason(house), "");
    /* A step a tick: whoever watches sees each. */
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETABLE);
    lifecycle_tick(house->lifecycle);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    assert_true(has_key(house, account.id));
    lifecycle_tick(house->lifecycle);
    assert_false(has_key(house, account.id));
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
}

static void a_clock_behind_the_last_run_is_not_believed(void **state)
{
    struct house *house = *state;
    tick_on_day(house, 30);
    close_house(house);
    house->now_ms -= 29 * PL_DAY_MS;
    open_house(house, false);
    lifecycle_tick(house->lifecycle);
    assert_non_null(strstr(clock_reason(house), "2026-01-02"));
    close_house(house);
    house->now_ms += 29 * PL_DAY_MS + PL_DAY_MS / 2; /* half a day for an upgrade is fine */
    open_house(house, false);
    lifecycle_tick(house->lifecycle);
    assert_string_equal(clock_reason(house), "");
}

/* An event may wait a week at its edge and still be a copy of one that did not. */
static void dedupe_entries_outlive_the_latest_retry(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "shop");
    struct vault_key event;
    struct pl_buf out;
    uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES];
    put_event(house, account.id, 1);
    vault_key_first(account.id, pl_day_of(house->now_ms), &event);
    event.bytes[VAULT_KEY_BYTES - 1] = 1;
    dedupe_key_of(&event, key);
    memset(value, 0, sizeof(value)); /* as put_event has it: nobody's, at no time */
    assert_int_equal(store_put(house->store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                               pl_span(value, sizeof(value)), true, NULL),
                     PL_OK);
    pl_buf_init(&out, 1 << 10);
    for (int64_t day = 0; day <= DEDUPE_DAYS + 7; day++) {
        tick_on_day(house, day);
        assert_int_equal(store_get(house->store, FAMILY_DEDUPE, pl_span(key, sizeof(key)), &out),
                         PL_OK);
    }
    tick_on_day(house, DEDUPE_DAYS + 8);
    assert_int_equal(store_get(house->store, FAMILY_DEDUPE, pl_span(key, sizeof(key)), &out),
                     PL_ENOTFOUND);
    pl_buf_release(&out);
}

static void what_hinders_a_deletion_is_named(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct lifecycle_status status;
    struct store_scan *scan;
    struct pl_span key, value;
    struct account account = new_account(house, "pinned");
    put_event(house, account.id, 1);
    must(store_flush(house->store, &why), &why);
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    /* Somebody keeps reading: the bytes cannot go. */
    assert_int_equal(
        store_scan_new(&scan, house->store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    tick_on_day(house, 91);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    assert_int_equal(status.overdue, 1);
    assert_true(status.past_limit);
    char id[PL_ACCOUNT_TEXT];
    pl_account_format(account.id, id);
    assert_non_null(strstr(status.reason, id));
    store_scan_free(scan);
    work(house);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_false(status.past_limit);
    /* The first run had emptied the range: its count is the one that is kept. */
    assert_records_hold(house, account.id, "\"what\":\"deleted\"",
                        "{\"kind\":\"events\",\"counted\":true,\"items\":1,");
}

static void what_hinders_is_told_in_whole_characters(void **state)
{
    struct house *house = *state;
    struct pl_why why = {0};
    struct lifecycle_status status;
    char name[64] = "";
    for (size_t at = 0; at + 3 < sizeof(name); at += 3)
        memcpy(name + at, "\xe5\x8c\x97", 4);
    (void)enroll_as(house, 1, name); /* lost */
    struct account account = new_account(house, "shop");
    must(accounts_expire(house->accounts, account.id, 0, &account, &why), &why);
    tick_on_day(house, LIFECYCLE_WARN_DAYS + 1);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(status.overdue, 1);
    assert_non_null(strstr(status.reason, "among them \xe5\x8c\x97"));
    assert_null(strstr(status.reason, name)); /* it was cut */
    assert_true(pl_span_is_utf8(pl_span_str(status.reason)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_expired_account_is_gone_within_its_window, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(deletions_are_spread, setup, teardown),
        cmocka_unit_test_setup_teardown(reinstating_on_day_44_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_date_in_the_future_expires_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_deletion_is_resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_disk_does_not_save_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_jump_of_the_clock_deletes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_look_doubts_a_clock_already, setup, teardown),
        cmocka_unit_test_setup_teardown(a_jump_within_a_tick_deletes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_confirmed_clock_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_behind_the_last_run_is_not_believed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(dedupe_entries_outlive_the_latest_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hinders_a_deletion_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hinders_is_told_in_whole_characters, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
