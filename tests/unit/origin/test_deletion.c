/* A deletion goes on where a crash left it, leaves neighbours alone, and leaves nothing behind. */
#include "deletion_fixture.h"

static void put_record(struct house *house, uint64_t account, const struct pl_buf *record)
{
    uint8_t key[16] = {0};
    struct store_batch *batch;
    pl_store_u64(key, account);
    must(store_batch_new(&batch), &house->why);
    if (record->len == 0)
        store_batch_delete(batch, house->store, FAMILY_RECORDS, pl_span(key, sizeof(key)));
    else
        store_batch_put(batch, house->store, FAMILY_RECORDS, pl_span(key, sizeof(key)),
                        pl_buf_span(record));
    must(store_write(house->store, batch, true, &house->why), &house->why);
    store_batch_free(batch);
}

/* ---- crashes */

/* Between any two steps. */
static void a_crash_after_each_step_changes_nothing(void **state)
{
    struct house *house = *state;
    struct account neighbour = make_full(house, "neighbour"), account = make_full(house, "leaver");
    struct pl_id128 edge = enroll(house, 1);
    struct pl_buf before = picture_of(house, neighbour.id);
    delete_now(house, account.id);
    int steps = 0;
    for (; steps < 30 && state_of(house, account.id) != ACCOUNT_DELETED; steps++) {
        reopen_house(house);
        lifecycle_tick(house->lifecycle);
        edge_settles(house, &edge);
        if (steps > 0)
            assert_false(has_key(house, account.id));
    }
    assert_in_range(steps, DELETION_STEPS - 1, 12);
    assert_int_equal(rows_left(house, account.id), 0);
    assert_certified(house, account.id, "\"events\"");
    assert_true(has_key(house, neighbour.id));
    struct pl_buf after = picture_of(house, neighbour.id);
    assert_same(&before, &after);
}

/* Between a step and its record: the step is done a second time. */
static void every_step_may_be_done_twice(void **state)
{
    struct house *house = *state;
    struct account neighbour = make_full(house, "neighbour"), account = make_full(house, "leaver");
    struct pl_buf before = picture_of(house, neighbour.id);
    struct pl_buf certificate = {0};
    pl_buf_init(&certificate, CERTIFICATE_BYTES_MAX);
    delete_now(house, account.id);
    for (int step = 0; step < 30 && state_of(house, account.id) != ACCOUNT_DELETED; step++) {
        struct pl_buf record = record_of(house, account.id);
        lifecycle_tick(house->lifecycle);
        if (state_of(house, account.id) == ACCOUNT_DELETED) {
            pl_buf_release(&record);
            break;
        }
        if (has_certificate(house, account.id) && certificate.len == 0) {
            pl_buf_release(&certificate);
            certificate = certificate_of(house, account.id);
        }
        close_house(house);
        open_house(house, false);
        put_record(house, account.id, &record);
        pl_buf_release(&record);
        reopen_house(house);
        house->now_ms += 1000; /* time has passed */
        house->mono_ms += 1000;
        lifecycle_tick(house->lifecycle);
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(rows_left(house, account.id), 0);
    /* What was certified first stays so. */
    struct pl_buf again = certificate_of(house, account.id);
    assert_same(&certificate, &again);
    assert_certified(house, account.id, "\"dedupe_entries\"");
    struct pl_buf after = picture_of(house, neighbour.id);
    assert_same(&before, &after);
}

/* ---- what is left */

static void no_file_holds_a_byte_of_it(void **state)
{
    struct house *house = *state;
    struct account neighbour = make_full(house, "neighbour"), account = make_full(house, "leaver");
    must(store_flush(house->store, &house->why), &house->why);
    reopen_house(house);
    put_row(house, FAMILY_CONFIGS, account.id, 16, "leaver again, in the log");
    assert_true(disk_has(house, "leaver"));
    assert_true(disk_has(house, "name-of-leaver"));
    assert_true(disk_has(house, "https://leaver.example"));
    delete_now(house, account.id);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_false(disk_has(house, "leaver"));
    assert_true(disk_has(house, "https://neighbour.example"));
    assert_true(disk_has(house, "name-of-neighbour"));
    assert_int_equal(state_of(house, neighbour.id), ACCOUNT_ACTIVE);
}

/* Rows that name it outside of what has to stay: its record, what was done to it, its certificate,
 * and the tombstone that edges learn of. */
static size_t rows_naming(struct house *house, uint64_t account)
{
    uint8_t binary[8];
    char text[17];
    size_t rows = 0;
    pl_store_u64(binary, account);
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)account);
    for (unsigned family = 0; family < FAMILY_COUNT; family++) {
        struct store_scan *scan;
        struct pl_span row[2];
        const bool stays = family == FAMILY_ACCOUNTS || family == FAMILY_RECORDS ||
                           family == FAMILY_CERTIFICATES || family == FAMILY_CHANGES;
        size_t found = 0;
        must(store_scan_new(&scan, house->store, family, pl_span(NULL, 0), pl_span(NULL, 0)),
             &house->why);
        while (store_scan_next(scan, &row[0], &row[1]) == PL_OK)
            for (int i = 0; i < 2; i++)
                found += row[i].len > 0 && (memmem(row[i].data, row[i].len, binary, 8) != NULL ||
                                            memmem(row[i].data, row[i].len, text, 16) != NULL);
        store_scan_free(scan);
        rows += stays ? 0 : found;
    }
    return rows;
}

static void nothing_else_names_it(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    struct token_record token;
    struct hold hold;
    char text[TOKEN_TEXT_BYTES], request[160];
    uint8_t unsettled[20 + 8] = "retention-unsettled-";
    uint64_t version;
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)account.id);
    must(tokens_create(house->tokens, parse(house, request), &token, text, &house->why),
         &house->why);
    must(accounts_publish(house->accounts, account.id, PL_SPAN_LIT("{\"campaigns\":[]}"), &version,
                          &house->why),
         &house->why);
    must(accounts_hold(house->accounts, house->holds, account.id,
                       parse(house, "{\"reason\":\"r\"}"), "t", &hold, &house->why),
         &house->why);
    must(holds_release(house->holds, account.id, &hold.id, parse(house, "{\"reason\":\"over\"}"),
                       "t", &hold, &house->why),
         &house->why);
    /* As retention leaves it until the days that it dropped are compacted (SPEC.md). */
    pl_store_u64(unsettled + 20, account.id);
    must(store_put(house->store, FAMILY_META, pl_span(unsettled, sizeof(unsettled)),
                   PL_SPAN_LIT("\0\1\0\2"), true, &house->why),
         &house->why);
    assert_true(rows_naming(house, account.id) > PLACES + 4);
    delete_now(house, account.id);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(rows_naming(house, account.id), 0);
}

static void owners_and_readers_of_it_are_let_go(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver"), other = new_account(house, "other");
    struct token_record token;
    char text[TOKEN_TEXT_BYTES], request[160], stays[TOKEN_TEXT_BYTES];
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)account.id);
    must(tokens_create(house->tokens, parse(house, request), &token, text, &house->why),
         &house->why);
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)other.id);
    must(tokens_create(house->tokens, parse(house, request), &token, stays, &house->why),
         &house->why);
    struct exports_ticket ticket = {.account = account.id}, others = {.account = other.id};
    exports_open(house->exports, &ticket);
    exports_open(house->exports, &others);
    delete_now(house, account.id);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(exports_enter(house->exports, &ticket, NULL), PL_EEXPIRED);
    assert_int_equal(exports_enter(house->exports, &others, NULL), PL_OK);
    exports_leave(house->exports, &others);
    exports_close(house->exports, &ticket);
    exports_close(house->exports, &others);
    assert_int_equal(tokens_check(house->tokens, pl_span_str(text), &token), PL_EAUTH);
    assert_int_equal(tokens_check(house->tokens, pl_span_str(stays), &token), PL_OK);
}

/* ---- restores */

/* The keyring was put back from a copy of before it was made, and there is no newer one. */
static void one_whose_key_is_lost_can_end(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    close_house(house);
    assert_int_equal(unlink(house->ring_a) | unlink(house->ring_b), 0);
    open_house(house, true);
    assert_int_equal(keyring_key(house->keyring, account.id, key), PL_ENOTFOUND);
    delete_now(house, account.id);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(rows_left(house, account.id), 0);
    assert_certified(house, account.id, "\"events\"");
    assert_false(has_key(house, account.id));
    assert_int_equal(keyring_new_key(house->keyring, account.id, NULL), PL_EEXISTS);
}

/* As a restore finds it whose key is destroyed: no date of its own says that it had to end. */
static void one_without_an_end_is_in_time(void **state)
{
    struct house *house = *state;
    struct lifecycle_status status;
    struct account account = make_full(house, "leaver");
    struct pl_id128 edge = enroll(house, 1);
    must(accounts_delete_again(house->accounts, account.id, 0, house->now_ms, NULL, &house->why),
         &house->why);
    tick_on_day(house, 1);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    assert_int_equal(status.overdue, 0);
    tick_on_day(house, LIFECYCLE_REQUEST_WARN_DAYS + 1);
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(status.overdue, 1);
    assert_false(status.past_limit);
    edge_settles(house, &edge);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
}

/* Nor does it forget when somebody asked for it. */
static void one_that_a_restore_starts_again_was_asked_for_then(void **state)
{
    struct house *house = *state;
    struct keyring_destruction key;
    struct account account = make_full(house, "leaver");
    tick_on_day(house, 1);
    must(accounts_delete_again(house->accounts, account.id, START_MS + PL_HOUR_MS, house->now_ms,
                               NULL, &house->why),
         &house->why);
    work(house);
    must(keyring_destruction(house->keyring, account.id, &key), &house->why);
    assert_string_equal(key.reason, "deletion requested 2026-01-01T01:00:00.000Z");
    assert_certified(house, account.id, "\"cause\":\"request\"");
    assert_certified(house, account.id, "\"requested\":\"2026-01-01T01:00:00.000Z\"");
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_crash_after_each_step_changes_nothing),
        T(every_step_may_be_done_twice),
        T(no_file_holds_a_byte_of_it),
        T(nothing_else_names_it),
        T(owners_and_readers_of_it_are_let_go),
        T(one_whose_key_is_lost_can_end),
        T(one_without_an_end_is_in_time),
        T(one_that_a_restore_starts_again_was_asked_for_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
