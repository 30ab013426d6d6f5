#include "ledger_test.h"

static void blocks_in_order(void **state)
{
    struct test *t = *state;
    for (uint64_t n = 0; n < 5; n++)
        record(t, n);
    for (int round = 0; round < 2; round++) {
        struct chain_record r = books(t);
        assert_true(r.contiguous == 5 && r.highest == 5 && r.events == 50 && r.stored == 35 &&
                    r.duplicate == 10 && r.dropped == 5);
        for (uint64_t n = 0; n < 5; n++)
            assert_int_equal(check(t, block(t, n)), BLOCK_REPEAT);
        close_all(t);
        open_all(t);
    }
    struct ledger_counts totals;
    ledger_totals(t->ledger, &totals);
    assert_true(totals.blocks == 5 && totals.events == 50 && totals.dropped[DROP_EXPIRED] == 5);
}

static void blocks_in_any_order_within_a_group(void **state)
{
    struct test *t = *state;
    static const uint64_t order[] = {3, 1, 4, 0, 2};
    for (size_t i = 0; i < 5; i++) {
        struct ledger_block *b = block(t, order[i]);
        assert_int_equal(check(t, b), BLOCK_STORED);
        assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
        assert_int_equal(check(t, block(t, order[i])), BLOCK_REPEAT); /* twice in one group */
    }
    assert_true(books(t).contiguous == 0); /* nothing is told before it is durable */
    commit(t);
    assert_true(books(t).contiguous == 5 && books(t).events == 50);
}

static void a_hole_is_an_alarm_once_it_lasts(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarms[4];
    record(t, 0);
    record(t, 3);
    record(t, 6);
    assert_true(books(t).contiguous == 1 && books(t).highest == 7 && books(t).events == 10);
    assert_int_equal(ledger_alarms(t->ledger, alarms, 4), 0);
    t->now_ms += 29999;
    assert_int_equal(ledger_alarms(t->ledger, alarms, 4), 0);
    t->now_ms += 1;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(ledger_alarms(t->ledger, alarms, 4), 2);
        assert_int_equal(alarms[0].kind, LEDGER_HOLE);
        assert_true(alarms[0].number == 1 && alarms[0].count == 2);
        assert_true(alarms[1].number == 4 && alarms[1].count == 2);
        assert_true(alarms[0].since_ms == 1000000);
        close_all(t); /* a restart does not make a hole younger */
        open_all(t);
    }
    record(t, 2);
    record(t, 1);
    assert_int_equal(ledger_alarms(t->ledger, alarms, 4), 1);
    record(t, 5);
    record(t, 4);
    assert_int_equal(ledger_alarms(t->ledger, alarms, 4), 0);
    assert_true(books(t).contiguous == 7 && books(t).events == 70);
}

static void forks_are_told_from_repeats(void **state)
{
    struct test *t = *state;
    record(t, 0);
    record(t, 2);
    for (uint64_t n = 0; n <= 2; n += 2) {
        struct ledger_block *b = block(t, n);
        b->hash[5] ^= 1;
        assert_int_equal(check(t, b), BLOCK_FORK);
        assert_int_equal(check(t, block(t, n)), BLOCK_REPEAT);
    }
    struct ledger_block *b = block(t, 0);
    b->hash[5] ^= 1;
    assert_int_equal(ledger_quarantine(t->ledger, t->batch, b, LEDGER_FORK,
                                       PL_SPAN_LIT("bytes of it"), "two blocks, one number"),
                     PL_OK);
    commit(t);
    for (int round = 0; round < 2; round++) {
        struct ledger_alarm alarm;
        assert_int_equal(ledger_alarms(t->ledger, &alarm, 1), 1);
        assert_int_equal(alarm.kind, LEDGER_FORK);
        assert_string_equal(alarm.text, "two blocks, one number");
        assert_true(alarm.since_ms == 1000000 && alarm.number == 0);
        close_all(t);
        open_all(t);
    }
}

static void neighbours_must_fit(void **state)
{
    struct test *t = *state;
    struct ledger_block *b = block(t, 0);
    memset(b->previous_hash, 9, BLOCK_HASH_BYTES); /* a first block that follows something */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    record(t, 0);
    b = block(t, 1);
    b->previous_hash[0] ^= 1; /* does not follow block 0 */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    record(t, 3);
    b = block(t, 2);
    b->hash[0] ^= 1; /* block 3 does not follow it */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    b = block(t, 4);
    b->previous_hash[31] ^= 1; /* does not follow block 3, beyond the hole */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    close_all(t);
    open_all(t);
    b = block(t, 1);
    b->previous_hash[0] ^= 1;
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    b = block(t, 4);
    b->previous_hash[31] ^= 1;
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    record(t, 4);
    record(t, 1);
    record(t, 2);
    assert_true(books(t).contiguous == 5);
}

static void losses_are_booked_and_linked_around(void **state)
{
    struct test *t = *state;
    record(t, 0);
    struct ledger_block *b = block(t, 1);
    b->lost = true;
    memset(b->hash, 0, BLOCK_HASH_BYTES); /* even its hash is gone */
    memset(b->previous_hash, 0, BLOCK_HASH_BYTES);
    b->counts = (struct ledger_counts){.events = 4};
    b->counts.dropped[DROP_ROT] = 4;
    assert_int_equal(check(t, b), BLOCK_STORED);
    assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    commit(t);
    record(t, 2); /* whatever it says came before */
    assert_true(books(t).contiguous == 3 && books(t).events == 24 && books(t).dropped == 6);
    assert_int_equal(check(t, b), BLOCK_REPEAT);
    assert_int_equal(check(t, block(t, 1)), BLOCK_FORK); /* found again: not forgotten */
    /* the edge lost a block that is here */
    b = block(t, 0);
    b->lost = true;
    assert_int_equal(check(t, b), BLOCK_REPEAT);
    memset(b->hash, 0, BLOCK_HASH_BYTES);
    assert_int_equal(check(t, b), BLOCK_REPEAT);
    memset(b->hash, 77, BLOCK_HASH_BYTES);
    assert_int_equal(check(t, b), BLOCK_FORK);
}

static void a_loss_with_its_hash_keeps_the_chain(void **state)
{
    struct test *t = *state;
    struct ledger_block *b = block(t, 0);
    b->lost = true;
    assert_int_equal(check(t, b), BLOCK_STORED);
    assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    commit(t);
    b = block(t, 1);
    b->previous_hash[3] ^= 1;
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    record(t, 1);
}

static void a_refused_block_does_not_end_its_chain(void **state)
{
    struct test *t = *state;
    record(t, 0);
    record(t, 3);
    struct ledger_block *bad = block(t, 1);
    bad->previous_hash[0] ^= 1;
    assert_int_equal(check(t, bad), BLOCK_REFUSED);
    assert_false(ledger_holds(t->ledger, bad));
    bad->refused = true;
    bad->counts = (struct ledger_counts){.events = 6};
    bad->counts.dropped[DROP_REFUSED] = 6;
    assert_int_equal(ledger_stage(t->ledger, bad), PL_OK);
    commit(t);
    for (int round = 0; round < 2; round++) {
        assert_true(books(t).contiguous == 2 && books(t).events == 16 && books(t).dropped == 7);
        assert_true(ledger_holds(t->ledger, bad));
        assert_int_equal(check(t, bad), BLOCK_REFUSED); /* never acked as stored */
        assert_int_equal(check(t, block(t, 2)), BLOCK_STORED);
        close_all(t);
        open_all(t);
    }
    /* what it said of itself is not held against the next one */
    struct ledger_block *next = block(t, 2);
    next->previous_hash[7] ^= 1;
    assert_int_equal(check(t, next), BLOCK_STORED);
    record(t, 2);
    assert_true(books(t).contiguous == 4);
}

static void a_failed_write_leaves_no_trace(void **state)
{
    struct test *t = *state;
    record(t, 0);
    struct ledger_block *b = block(t, 1);
    assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    assert_int_equal(ledger_write(t->ledger, t->batch), PL_OK);
    store_batch_clear(t->batch); /* the write did not happen */
    assert_int_equal(ledger_reload(t->ledger, NULL), PL_OK);
    assert_true(books(t).contiguous == 1 && books(t).highest == 1);
    assert_int_equal(check(t, block(t, 1)), BLOCK_STORED);
    record(t, 1);
    struct ledger_counts totals;
    ledger_totals(t->ledger, &totals);
    assert_true(totals.blocks == 2 && totals.events == 20);
}

static void chains_do_not_mix(void **state)
{
    struct test *t = *state;
    struct pl_id128 first = t->incarnation;
    record(t, 0);
    record(t, 1);
    t->incarnation.bytes[0] ^= 0xff;
    assert_true(books(t).contiguous == 0 && books(t).events == 0);
    assert_int_equal(check(t, block(t, 1)), BLOCK_STORED);
    t->now_ms += 5;
    record(t, 0);
    t->edge.bytes[0] ^= 0xff; /* another edge of the same incarnation is another chain, too */
    assert_int_equal(check(t, block(t, 0)), BLOCK_STORED);
    struct ledger_chain chains[2];
    assert_int_equal(ledger_chains(t->ledger, chains, 2), 2);
    assert_true(chains[0].last_ms == 1000005 && chains[0].record.contiguous == 1);
    assert_true(pl_id128_eq(&chains[1].record.incarnation, &first));
    assert_true(chains[1].record.contiguous == 2);
}

/* Blocks 0 to 2 came while the edge had its old identity; of what it held on to and sends under
 * the new one, nothing opens. */
static void a_new_identity_goes_on_with_the_old_chain(void **state)
{
    struct test *t = *state;
    for (uint64_t n = 0; n < 3; n++)
        record(t, n);
    t->edge.bytes[0] ^= 0xff;
    assert_true(books(t).contiguous == 3 && books(t).events == 30);
    for (uint64_t n = 2; n < 5; n++) { /* block 2's ack was lost */
        struct ledger_block *b = block(t, n);
        b->refused = true;
        b->counts = (struct ledger_counts){.events = 10};
        b->counts.dropped[DROP_REFUSED] = 10;
        assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    }
    commit(t);
    t->now_ms += 60000;
    for (int round = 0; round < 2; round++) {
        struct chain_record r = books(t);
        assert_true(r.contiguous == 5 && r.highest == 5 && r.events == 50);
        assert_true(r.stored + r.duplicate + r.dropped == r.events);
        assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 0); /* no hole */
        struct ledger_counts totals;
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 6); /* what is told twice is counted once */
        close_all(t);
        open_all(t);
    }
    uint64_t events;
    assert_int_equal(ledger_events_between(t->ledger, &t->edge, &t->incarnation, 3, 5, &events),
                     PL_OK);
    assert_true(events == 20);
    assert_int_equal(ledger_events_between(t->ledger, &t->edge, &t->incarnation, 0, 5, &events),
                     PL_ENOTFOUND);
}

/* However far ahead a block names itself: what is held in memory has an end, and what closes the
 * hole is taken. */
static void a_hole_holds_so_many_blocks(void **state)
{
    struct test *t = *state;
    static const uint64_t above[] = {4, 5, 6, 8};
    close_all(t);
    t->config.ahead_max = 4;
    open_all(t);
    record(t, 0);
    for (size_t i = 0; i < 4; i++)
        record(t, above[i]);
    assert_int_equal(check(t, block(t, 9)), BLOCK_RETRY);
    assert_int_equal(check(t, block(t, 7)), BLOCK_RETRY);
    assert_int_equal(check(t, block(t, 2)), BLOCK_RETRY);
    assert_int_equal(check(t, block(t, 8)), BLOCK_REPEAT);
    for (uint64_t n = 1; n < 4; n++) { /* in one group */
        struct ledger_block *b = block(t, n);
        assert_int_equal(check(t, b), BLOCK_STORED);
        assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    }
    assert_int_equal(check(t, block(t, 10)), BLOCK_RETRY);
    commit(t);
    assert_int_equal(books(t).contiguous, 7);
    record(t, 10);
    record(t, 7);
    assert_int_equal(books(t).contiguous, 9);
}

static void an_edge_has_so_many_chains(void **state)
{
    struct test *t = *state;
    struct pl_why why = {.err = PL_OK};
    enum block_verdict verdict;
    close_all(t);
    t->config.chains_max = 2;
    open_all(t);
    record(t, 0);
    t->incarnation.bytes[0] ^= 0xff;
    record(t, 0);
    t->incarnation.bytes[1] ^= 0xff;
    assert_int_equal(ledger_check(t->ledger, block(t, 0), &verdict, &why), PL_ELIMIT);
    assert_non_null(strstr(why.text, "2 chains"));
    lose(t, 3, 5);
    assert_int_equal(books(t).contiguous, 0);
    t->edge.bytes[0] ^= 0xff; /* each for itself */
    record(t, 0);
    t->edge.bytes[0] ^= 0xff;
    t->incarnation.bytes[1] ^= 0xff;
    record(t, 1);
}

static void a_far_future_number_does_not_eat_memory(void **state)
{
    struct test *t = *state;
    struct ledger_block *b = block(t, 0);
    b->number = UINT64_MAX;
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    b->number = UINT64_MAX - 1;
    assert_int_equal(check(t, b), BLOCK_STORED);
}

static void damaged_rows_are_refused(void **state)
{
    struct test *t = *state;
    struct ledger *other;
    struct pl_why why = {.err = PL_OK};
    uint8_t key[32] = {1};
    record(t, 0);
    assert_int_equal(
        store_put(t->store, FAMILY_CHAINS, pl_span(key, 32), PL_SPAN_LIT("\x01junk"), true, NULL),
        PL_OK);
    assert_int_equal(ledger_new(&other, &t->config, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, "ledger"));
}

static void reasons_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < DROP_COUNT; i++)
        assert_true(strlen(drop_reason_name((enum drop_reason)i)) > 2);
    assert_string_equal(drop_reason_name(DROP_ROT), "rot");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(blocks_in_order),
        CASE(blocks_in_any_order_within_a_group),
        CASE(a_hole_is_an_alarm_once_it_lasts),
        CASE(forks_are_told_from_repeats),
        CASE(neighbours_must_fit),
        CASE(losses_are_booked_and_linked_around),
        CASE(a_loss_with_its_hash_keeps_the_chain),
        CASE(a_refused_block_does_not_end_its_chain),
        CASE(a_failed_write_leaves_no_trace),
        CASE(chains_do_not_mix),
        CASE(a_new_identity_goes_on_with_the_old_chain),
        CASE(a_hole_holds_so_many_blocks),
        CASE(an_edge_has_so_many_chains),
        CASE(a_far_future_number_does_not_eat_memory),
        CASE(damaged_rows_are_refused),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
