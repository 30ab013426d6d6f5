/* A deletion waits for the edges, and for blocks that were kept aside. */
#include "deletion_fixture.h"

static void one_that_waits_keeps_no_other_from_going_on(void **state)
{
    struct house *house = *state;
    struct account first = make_full(house, "first"), dated = new_account(house, "dated"), out;
    struct pl_id128 edge = enroll(house, 1), other = enroll(house, 2);
    must(accounts_expire(house->accounts, dated.id, START_MS + PL_DAY_MS, &out, &house->why),
         &house->why);
    delete_now(house, first.id);
    work(house);
    assert_int_equal(state_of(house, first.id), ACCOUNT_DELETING);
    assert_int_equal(rows_left(house, first.id), 0); /* here nothing waits */
    assert_false(disk_has(house, "row-of-first"));
    assert_false(disk_has(house, "name-of-first"));
    assert_false(disk_has(house, "https://first.example"));
    assert_false(has_certificate(house, first.id));
    edge_settles(house, &edge);
    work(house);
    assert_int_equal(state_of(house, first.id), ACCOUNT_DELETING); /* for the other edge */

    tick_on_day(house, 2);
    assert_int_equal(account_of(house, dated.id).state, ACCOUNT_EXPIRED);
    struct account second = make_full(house, "second");
    delete_now(house, second.id);
    work(house);
    assert_int_equal(rows_left(house, second.id), 0);
    assert_false(has_key(house, second.id));

    edge_settles(house, &edge);
    edge_settles(house, &other);
    work(house);
    assert_int_equal(state_of(house, first.id), ACCOUNT_DELETED);
    assert_int_equal(state_of(house, second.id), ACCOUNT_DELETED);
    assert_certified(house, first.id, "edge-2");
}

static void an_edge_that_never_says_so_is_written_off(void **state)
{
    struct house *house = *state;
    struct lifecycle_status status;
    struct account account = make_full(house, "leaver"), out;
    struct pl_id128 edge = enroll(house, 1);
    (void)enroll(house, 2); /* lost */
    must(accounts_expire(house->accounts, account.id, 0, &out, &house->why), &house->why);
    for (int64_t day = 1; day < DELETION_SEAL_DAYS; day++) {
        tick_on_day(house, day);
        edge_settles(house, &edge);
        work(house);
        if (day >= LIFECYCLE_WARN_DAYS) {
            lifecycle_status(house->lifecycle, &status);
            assert_int_equal(status.overdue, 1);
            assert_false(status.past_limit);
            assert_non_null(strstr(status.reason, "edge"));
        }
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    for (int64_t day = DELETION_SEAL_DAYS; day < DELETION_SEAL_DAYS + 2; day++) {
        tick_on_day(house, day);
        edge_settles(house, &edge);
        work(house);
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_certified(house, account.id, "written_off");
    lifecycle_status(house->lifecycle, &status);
    assert_int_equal(status.overdue, 0);
}

static bool is_at(struct house *house, uint64_t account, enum deletion_step step)
{
    char word[64];
    struct pl_buf record = record_of(house, account);
    snprintf(word, sizeof(word), "\"step\":\"%s\"", deletion_step_name(step));
    const bool found =
        record.len > 0 && memmem(record.data, record.len, word, strlen(word)) != NULL;
    pl_buf_release(&record);
    return found;
}

/* Once nothing of the deletion waits for edges any more. */
static void tick_to_edges(struct house *house, uint64_t account)
{
    for (int i = 0; i < 30 && !is_at(house, account, DELETION_EDGES); i++)
        lifecycle_tick(house->lifecycle);
    assert_true(is_at(house, account, DELETION_EDGES));
}

/* Whoever makes a new key before the certificate is written. */
static void an_edge_that_is_written_off_stays_so(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    struct pl_id128 edge = enroll(house, 1);
    (void)enroll(house, 2); /* lost */
    delete_now(house, account.id);
    for (int64_t day = 0; day < DELETION_REQUEST_SEAL_DAYS; day++) {
        tick_on_day(house, day);
        edge_settles(house, &edge);
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    house->now_ms += PL_DAY_MS;
    house->mono_ms += PL_DAY_MS;
    const int64_t written_off_ms = house->now_ms;
    tick_to_edges(house, account.id);
    must(cutoffs_rotate(house->cutoffs, &house->why), &house->why);
    house->now_ms += PL_SECOND_MS;
    house->mono_ms += PL_SECOND_MS;
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    char words[96], when[PL_TIME_TEXT];
    pl_time_format(written_off_ms, when);
    snprintf(words, sizeof(words), "\"written_off_at\":\"%s\"", when);
    assert_certified(house, account.id, words);
}

/* Its word is not worth anything until it gives it again. */
static void an_edge_whose_disk_is_put_back_speaks_again(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    struct pl_id128 edge = enroll(house, 1), epoch;
    struct lifecycle_status status;
    delete_now(house, account.id);
    edge_settles(house, &edge);
    tick_to_edges(house, account.id);
    changelog_epoch(house->changelog, &epoch);
    cutoffs_settled(house->cutoffs, &edge, &epoch, 1);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    tick_on_day(house, LIFECYCLE_REQUEST_WARN_DAYS + 1);
    lifecycle_status(house->lifecycle, &status);
    assert_non_null(strstr(status.reason, "waits for 1 edge"));
    edge_settles(house, &edge);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
}

/* Who cannot trust the clock destroys no key by its date. */
static void a_doubtful_clock_writes_nobody_off(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    struct lifecycle_status status;
    (void)enroll(house, 1);
    tick_on_day(house, 1);
    delete_now(house, account.id);
    work(house);
    house->now_ms += 60 * PL_DAY_MS; /* and the monotonic clock knows nothing of it */
    work(house);
    lifecycle_status(house->lifecycle, &status);
    assert_string_not_equal(status.clock, "");
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    struct cutoffs_status seals;
    cutoffs_status(house->cutoffs, &seals);
    assert_int_equal(seals.old_seal_keys, 0);
}

/* ---- blocks that were kept aside */

static void keep_aside(struct house *house, uint64_t number)
{
    const struct ledger_block block = {
        .edge = {{1}}, .incarnation = {{2}}, .number = number, .hash = {(uint8_t)number}};
    struct store_batch *batch;
    must(store_batch_new(&batch), &house->why);
    must(ledger_quarantine(house->ledger, batch, &block, LEDGER_REFUSED, PL_SPAN_LIT("events"),
                           "refused"),
         &house->why);
    must(store_write(house->store, batch, true, &house->why), &house->why);
    store_batch_free(batch);
}

static uint64_t kept_aside(struct house *house)
{
    struct ledger_kept kept;
    ledger_kept(house->ledger, &kept);
    return kept.blocks;
}

/* An edge that errs all day must not keep everybody's data. */
static void blocks_that_are_kept_aside_all_the_time_hinder_nothing(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    struct pl_id128 edge = enroll(house, 1);
    uint64_t number = 0;
    keep_aside(house, ++number);
    delete_now(house, account.id);
    for (int second = 0; second < 40; second++) {
        house->now_ms += PL_SECOND_MS;
        house->mono_ms += PL_SECOND_MS;
        keep_aside(house, ++number); /* and a second goes by until the next tick */
        if (second == 20)
            edge_settles(house, &edge);
        if (second == 23)
            reopen_house(house);
        if (second == 25)
            must(ledger_tidy(house->ledger, &house->why), &house->why);
        house->now_ms += PL_SECOND_MS;
        house->mono_ms += PL_SECOND_MS;
        lifecycle_tick(house->lifecycle);
        if (second < 25)
            assert_false(is_at(house, account.id, DELETION_EDGES));
    }
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    /* Those of before the edge's word are gone, and no other. */
    assert_int_equal(kept_aside(house), number - 22);
}

/* A restore brings them back, too. */
static void what_was_certified_waits_for_them_as_well(void **state)
{
    struct house *house = *state;
    struct account account = make_full(house, "leaver");
    must(certificate_put(house->store, account.id, PL_SPAN_LIT("as it was"), &house->why),
         &house->why);
    keep_aside(house, 1);
    delete_now(house, account.id);
    house->now_ms += PL_SECOND_MS;
    house->mono_ms += PL_SECOND_MS;
    for (int i = 0; i < 20; i++)
        lifecycle_tick(house->lifecycle);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETING);
    must(ledger_tidy(house->ledger, &house->why), &house->why);
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_int_equal(kept_aside(house), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_that_waits_keeps_no_other_from_going_on),
        T(an_edge_that_never_says_so_is_written_off),
        T(an_edge_that_is_written_off_stays_so),
        T(an_edge_whose_disk_is_put_back_speaks_again),
        T(a_doubtful_clock_writes_nobody_off),
        T(blocks_that_are_kept_aside_all_the_time_hinder_nothing),
        T(what_was_certified_waits_for_them_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
