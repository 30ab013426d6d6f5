/* A deletion goes on where a crash left it, leaves neighbours alone, and leaves nothing behind. */
#include "deletion_fixture.h"

#include <dirent.h>

static bool disk_has(struct house *house, const char *needle)
{
    char path[512];
    bool found = false;
    snprintf(path, sizeof(path), "%s/data", house->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL && !found;) {
        struct pl_buf bytes;
        snprintf(path, sizeof(path), "%s/data/%s", house->dir, e->d_name);
        pl_buf_init(&bytes, 256 << 20);
        if (e->d_name[0] != '.' && pl_file_read(path, "file", false, &bytes, NULL) == PL_OK)
            found = bytes.len > 0 && memmem(bytes.data, bytes.len, needle, strlen(needle)) != NULL;
        pl_buf_release(&bytes);
    }
    closedir(dir);
    return found;
}

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

static void assert_certified(struct house *house, uint64_t account, const char *words)
{
    struct pl_buf certificate = certificate_of(house, account);
    must(pl_buf_terminate(&certificate), &house->why);
    if (strstr((char *)certificate.data, words) == NULL)
        fail_msg("no %s in %s", words, (char *)certificate.data);
    pl_buf_release(&certificate);
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

/* ---- edges */

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
        T(one_that_waits_keeps_no_other_from_going_on),
        T(an_edge_that_never_says_so_is_written_off),
        T(an_edge_that_is_written_off_stays_so),
        T(an_edge_whose_disk_is_put_back_speaks_again),
        T(blocks_that_are_kept_aside_all_the_time_hinder_nothing),
        T(what_was_certified_waits_for_them_as_well),
        T(a_doubtful_clock_writes_nobody_off),
        T(one_whose_key_is_lost_can_end),
        T(one_without_an_end_is_in_time),
        T(one_that_a_restore_starts_again_was_asked_for_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
