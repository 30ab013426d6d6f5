/* What becomes of events. */
#include "intake_test.h"

static void a_block_is_stored_once(void **state)
{
    struct test *t = *state;
    events(t, 1, "m", 10);
    seal(t, 0, 10);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(send(t, 0), BLOCK_REPEAT);
    struct ledger_counts c = totals(t);
    assert_true(c.blocks == 1 && c.events == 10 && c.stored == 10);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 10);

    /* after a restart as well */
    rig_close(&t->rig);
    rig_open(&t->rig);
    assert_int_equal(send(t, 0), BLOCK_REPEAT);
    c = totals(t);
    assert_true(c.blocks == 1 && c.stored == 10);
}

static void what_is_stored_can_be_read_by_key(void **state)
{
    struct test *t = *state;
    struct vault_sealer *sealer;
    struct store_scan *scan;
    struct pl_span key, value;
    struct vault_key at;
    events(t, 3, "m", 1);
    pl_buf_append_span(&t->other, pl_buf_span(&t->plain));
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    memcpy(at.bytes, key.data, sizeof(at));
    assert_int_equal(vault_open_value(sealer, &at, value, &t->plain), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&t->plain), pl_buf_span(&t->other)));
    store_scan_free(scan);
    vault_sealer_free(sealer);
}

static void retries_by_any_edge_are_found(void **state)
{
    struct test *t = *state;
    events(t, 1, "m", 5);
    events(t, 1, "m", 5); /* again within the block */
    seal(t, 0, 10);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    events(t, 1, "m", 8); /* five of them again, by the other edge */
    events(t, 2, "m", 5); /* another account may use the same ids */
    seal(t, 1, 13);
    assert_int_equal(send(t, 1), BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.events == 23 && c.stored == 13 && c.duplicate == 10);
}

static void without_message_id_every_event_counts(void **state)
{
    struct test *t = *state;
    events(t, 1, NULL, 4);
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    events(t, 1, NULL, 4);
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).stored == 8);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 0);
}

/* All within one millisecond, by one visitor: nothing but their places tells them apart. */
static void an_empty_message_id_is_no_message_id(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < 5; i++)
        put_event(&t->plain, 1, NOON_MS, "visitor", "", "n");
    seal(t, 0, 5);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).stored == 5);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 0);
}

/* Twenty blocks of one chain, all sent twice in one lot and again in another, shuffled. */
static void order_and_repetition_do_not_matter(void **state)
{
    struct test *t = *state;
    struct rig_lot *lots[2];
    size_t at[21] = {0};
    pl_buf_reset(&t->other);
    for (unsigned i = 0; i < 20; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "b%u-", i);
        events(t, 1 + i % 3, prefix, 3);
        seal(t, 0, 3);
        pl_buf_append_span(&t->other, pl_buf_span(&t->block));
        at[i + 1] = t->other.len;
    }
    for (int l = 0; l < 2; l++) {
        lots[l] = calloc(1, sizeof(*lots[l]));
        lots[l]->count = 40;
        for (size_t i = 0; i < 40; i++) {
            size_t pick = (i * 7 + (size_t)l * 3) % 20;
            lots[l]->blocks[i] = pl_span(t->other.data + at[pick], at[pick + 1] - at[pick]);
        }
        rig_lot_send(&t->rig, 0, lots[l]);
    }
    size_t stored = 0, repeats = 0;
    for (int l = 0; l < 2; l++) {
        rig_lot_wait(lots[l]);
        for (size_t i = 0; i < 40; i++) {
            stored += lots[l]->verdicts[i] == BLOCK_STORED;
            repeats += lots[l]->verdicts[i] == BLOCK_REPEAT;
        }
        free(lots[l]);
    }
    assert_int_equal(stored, 20);
    assert_int_equal(repeats, 60);
    struct ledger_counts c = totals(t);
    assert_true(c.blocks == 20 && c.stored == 60);
    struct chain_claim claim = {.incarnation = t->rig.edges[0].header.incarnation};
    struct chain_record record;
    ledger_books(t->rig.ledger, &t->rig.edges[0].id, &claim, 1, &record);
    assert_true(record.contiguous == 20 && record.highest == 20 && record.events == 60 &&
                record.stored == 60);
}

static void accounts_that_do_not_live_are_counted_out(void **state)
{
    struct test *t = *state;
    t->rig.fates[2] = INTAKE_EXPIRED;
    t->rig.fates[3] = INTAKE_DELETED;
    events(t, 1, "a", 1);
    events(t, 2, "b", 2);
    events(t, 3, "c", 3);
    events(t, 99, "d", 4);
    seal(t, 0, 10);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.stored == 1 && c.dropped[DROP_EXPIRED] == 2 && c.dropped[DROP_DELETED] == 3 &&
                c.dropped[DROP_UNKNOWN] == 4);
    struct intake_status s;
    intake_status(t->rig.intake, &s);
    assert_true(s.events == 10 && s.dropped[DROP_UNKNOWN] == 4 && s.ready);
}

static void what_came_in_before_the_expiry_is_stored(void **state)
{
    struct test *t = *state;
    t->rig.fates[2] = INTAKE_EXPIRED;
    t->rig.expired_ms = NOON_MS + 3;
    events(t, 2, "late", 5); /* a millisecond apart, from noon on */
    seal(t, 0, 5);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.stored == 3 && c.dropped[DROP_EXPIRED] == 2);
}

static void a_destroyed_key_drops_what_still_comes(void **state)
{
    struct test *t = *state;
    assert_int_equal(keyring_destroy(t->rig.keyring, 1, "test", NULL, NULL), PL_OK);
    events(t, 1, "m", 2);
    events(t, 2, "m", 1);
    seal(t, 0, 3);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.stored == 1 && c.dropped[DROP_DELETED] == 2);
}

static void malformed_events_are_counted_never_silent(void **state)
{
    struct test *t = *state;
    /* no account */
    events(t, 1, "good", 2);
    put_event(&t->plain, 0, NOON_MS, "v", "zero", "n");
    put_event(&t->plain, 0, NOON_MS, NULL, NULL, NULL);
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).dropped[DROP_MALFORMED] == 2);
    /* not an event from the second on: the header says there were five */
    events(t, 1, "more", 1);
    pl_buf_append_str(&t->plain, "\xc1 this is not msgpack");
    seal(t, 0, 5);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.stored == 3 && c.dropped[DROP_MALFORMED] == 6 && c.events == 9);
    /* one that cannot be read, between two that can: not UTF-8; not a map */
    events(t, 1, "x", 1);
    pl_buf_append_str(&t->plain, "\x82\x01\x01\x0f\xa1\xff");
    pl_buf_append_str(&t->plain, "\x93\x01\x02\x03");
    events(t, 1, "y", 1);
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    c = totals(t);
    assert_true(c.stored == 5 && c.dropped[DROP_MALFORMED] == 8 && c.events == 13);
    assert_int_equal(ledger_alarms(t->rig.ledger, NULL, 0), 0);
}

/* The dates of what is in the vault, in its order, against those wanted. */
static void assert_dates(struct test *t, const int64_t *wanted, size_t count)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event = calloc(1, sizeof(*event));
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    assert_int_equal(event_reader_new(&reader), PL_OK);
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    for (size_t i = 0; i < count; i++) {
        struct vault_key at;
        struct pl_span rest;
        assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
        memcpy(at.bytes, key.data, sizeof(at));
        assert_true(vault_key_time_ms(&at) == wanted[i]);
        pl_buf_reset(&t->other);
        assert_int_equal(vault_open_value(sealer, &at, value, &t->other), PL_OK);
        rest = pl_buf_span(&t->other);
        assert_int_equal(event_read(reader, &rest, event, NULL, NULL), PL_OK);
        assert_true(event_i64(event, EVENT_ACCEPTED_MS) == wanted[i]);
    }
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
    event_reader_free(reader);
    vault_sealer_free(sealer);
    free(event);
}

static void a_wrong_clock_files_nothing_where_nobody_looks(void **state)
{
    struct test *t = *state;
    static const int64_t wanted[] = {NOON_MS - 30 * PL_DAY_MS, NOON_MS - 30 * PL_DAY_MS + 1,
                                     NOON_MS, NOON_MS + PL_DAY_MS};
    put_event(&t->plain, 1, 1000, "v", "1970", "n");
    put_event(&t->plain, 1, wanted[1], "v", "old", "n");
    put_event(&t->plain, 1, NOON_MS, "v", "now", "n");
    put_event(&t->plain, 1, NOON_MS + 5000 * PL_DAY_MS, "v", "2038", "n");
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).stored == 4);
    assert_dates(t, wanted, 4);
    struct intake_status s;
    intake_status(t->rig.intake, &s);
    assert_true(s.redated == 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_block_is_stored_once),
        CASE(what_is_stored_can_be_read_by_key),
        CASE(retries_by_any_edge_are_found),
        CASE(without_message_id_every_event_counts),
        CASE(an_empty_message_id_is_no_message_id),
        CASE(order_and_repetition_do_not_matter),
        CASE(accounts_that_do_not_live_are_counted_out),
        CASE(what_came_in_before_the_expiry_is_stored),
        CASE(a_destroyed_key_drops_what_still_comes),
        CASE(malformed_events_are_counted_never_silent),
        CASE(a_wrong_clock_files_nothing_where_nobody_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
