/* What becomes of blocks and their chains: refused, forked, lost, foreign. */
#include "intake_test.h"

static void a_wrong_count_is_an_alarm(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarm;
    events(t, 1, "m", 3);
    seal(t, 0, 4);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).events == 3);
    assert_int_equal(ledger_alarms(t->rig.ledger, &alarm, 1), 1);
    assert_int_equal(alarm.kind, LEDGER_MISCOUNT);
}

static void altered_and_foreign_blocks_are_kept_aside(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarms[4];
    events(t, 1, "m", 3);
    seal(t, 0, 3);
    /* sent over another edge's link */
    assert_int_equal(send(t, 1), BLOCK_REFUSED);
    /* a byte of the body, the header, the length */
    t->block.data[t->block.len - 20] ^= 1;
    assert_int_equal(send(t, 0), BLOCK_REFUSED);
    assert_int_equal(rig_send(&t->rig, 0, pl_span(t->block.data, 100)), BLOCK_REFUSED);
    t->block.data[t->block.len - 20] ^= 1;
    assert_int_equal(ledger_alarms(t->rig.ledger, alarms, 4), 3);
    assert_int_equal(alarms[0].kind, LEDGER_REFUSED);
    assert_int_equal(rig_count(&t->rig, FAMILY_QUARANTINE), 3);
    /* the places of those that named one are taken, each in a chain of the edge that sent it */
    assert_int_equal(rig_count(&t->rig, FAMILY_LEDGER), 2);
    assert_true(totals(t).dropped[DROP_REFUSED] == 6);
    /* the true one comes too late for its place, but is not lost */
    assert_int_equal(send(t, 0), BLOCK_FORK);
    assert_int_equal(rig_count(&t->rig, FAMILY_QUARANTINE), 4);
    assert_true(totals(t).stored == 0);
}

static struct chain_record books_of(struct test *t, int edge, const struct pl_id128 *incarnation)
{
    struct chain_claim claim = {.incarnation = *incarnation};
    struct chain_record record;
    ledger_books(t->rig.ledger, &t->rig.edges[edge].id, &claim, 1, &record);
    return record;
}

static void a_refused_block_does_not_stop_its_chain(void **state)
{
    struct test *t = *state;
    const struct pl_id128 *chain = &t->rig.edges[0].header.incarnation;
    for (uint32_t i = 0; i < 3; i++) {
        events(t, 1, (const char *[]){"a", "b", "c"}[i], i + 1);
        seal(t, 0, i + 1);
        if (i == 1)
            t->block.data[t->block.len - 20] ^= 1;
        assert_int_equal(send(t, 0), i == 1 ? BLOCK_REFUSED : BLOCK_STORED);
        if (i == 1) /* the edge may ask again */
            assert_int_equal(send(t, 0), BLOCK_REFUSED);
    }
    struct chain_record r = books_of(t, 0, chain);
    assert_true(r.contiguous == 3 && r.events == 6 && r.stored == 4 && r.dropped == 2);
    struct ledger_counts c = totals(t);
    assert_true(c.blocks == 3 && c.events == 6 && c.dropped[DROP_REFUSED] == 2);
    assert_int_equal(ledger_alarms(t->rig.ledger, NULL, 0), 1);
    struct intake_status s;
    intake_status(t->rig.intake, &s);
    assert_true(s.events == 6 && s.stored == 4 && s.dropped[DROP_REFUSED] == 2 && s.refused == 2);
}

/* What an edge sealed under its old identity is refused under the new one, and counted: the chain
 * ends with all its blocks booked. */
static void the_old_chain_of_a_new_identity_is_booked_to_its_end(void **state)
{
    struct test *t = *state;
    const struct pl_id128 *chain = &t->rig.edges[0].header.incarnation;
    for (uint32_t i = 0; i < 3; i++) {
        events(t, 1, (const char *[]){"a", "b", "c"}[i], i + 1);
        seal(t, 0, i + 1);
        assert_int_equal(send(t, 1), BLOCK_REFUSED);
    }
    struct chain_record r = books_of(t, 1, chain);
    assert_true(r.contiguous == 3 && r.events == 6 && r.dropped == 6);
    assert_true(books_of(t, 0, chain).contiguous == 0);
}

static void a_block_that_was_stored_is_a_repeat_without_its_key(void **state)
{
    struct test *t = *state;
    events(t, 1, "m", 2);
    seal(t, 0, 2);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    uint8_t other[32];
    assert_int_equal(pl_x25519_keypair(pl_random_system(), other, t->rig.edges[0].public_key),
                     PL_OK);
    rig_close(&t->rig); /* openers remember what they have opened with */
    rig_open(&t->rig);
    assert_int_equal(send(t, 0), BLOCK_REPEAT);
    assert_int_equal(ledger_alarms(t->rig.ledger, NULL, 0), 0);
}

static void a_destroyed_sealing_key_drops_what_was_sealed_for_it(void **state)
{
    struct test *t = *state;
    struct rig_edge *edge = &t->rig.edges[0];
    uint8_t old[BLOCK_KEY_ID_BYTES], fresh[32];
    for (uint32_t i = 0; i < 4; i++) {
        events(t, 1, (const char *[]){"a", "b", "c", "d"}[i], i + 1);
        seal(t, 0, i + 1);
        if (i == 1) { /* the openers have opened one of this epoch */
            memcpy(old, edge->header.seal_key_id, sizeof(old));
            assert_int_equal(keyring_new_seal_key(t->rig.keyring, fresh, NULL), PL_OK);
            assert_int_equal(keyring_destroy_seal_key(t->rig.keyring, old, "test", NULL, NULL),
                             PL_OK);
        }
        assert_int_equal(send(t, 0), BLOCK_STORED);
        if (i == 2)
            assert_int_equal(block_sealer_set_origin(edge->sealer, fresh), PL_OK);
    }
    struct ledger_counts c = totals(t);
    assert_true(c.events == 10 && c.stored == 5 && c.dropped[DROP_KEY_DESTROYED] == 5);
    struct chain_record r = books_of(t, 0, &edge->header.incarnation);
    assert_true(r.contiguous == 4 && r.events == 10 && r.stored == 5 && r.dropped == 5);
    assert_int_equal(ledger_alarms(t->rig.ledger, NULL, 0), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_QUARANTINE), 0);
}

static void a_fork_is_never_acked(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarm;
    struct rig_edge before = t->rig.edges[0];
    events(t, 1, "a", 1);
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    t->rig.edges[0].header = before.header; /* the same number again, with something else */
    events(t, 1, "b", 1);
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_FORK);
    assert_int_equal(send(t, 0), BLOCK_FORK);
    assert_true(totals(t).stored == 1);
    assert_int_equal(ledger_alarms(t->rig.ledger, &alarm, 1), 1);
    assert_int_equal(alarm.kind, LEDGER_FORK);
    assert_int_equal(rig_count(&t->rig, FAMILY_QUARANTINE), 1);
}

static void a_revoked_edge_waits_and_is_not_stored(void **state)
{
    struct test *t = *state;
    events(t, 1, "m", 1);
    seal(t, 0, 1);
    t->rig.edges[0].revoked = true;
    assert_int_equal(send(t, 0), BLOCK_RETRY);
    assert_int_equal(rig_count(&t->rig, FAMILY_QUARANTINE), 0);
    assert_true(totals(t).events == 0);
    t->rig.edges[0].revoked = false;
    assert_int_equal(send(t, 0), BLOCK_STORED);
}

static void a_missing_data_key_holds_the_block_up(void **state)
{
    struct test *t = *state;
    /* alive, says the registry; the keyring never heard of it */
    t->rig.keyless = 1000;
    put_event(&t->plain, 1000, NOON_MS, "v", "m", "n");
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_RETRY);
    assert_true(totals(t).events == 0);
    assert_int_equal(keyring_new_key(t->rig.keyring, 1000, NULL), PL_OK);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).stored == 1);
}

static void a_lost_block_is_booked(void **state)
{
    struct test *t = *state;
    struct rig_lot *lot = calloc(1, sizeof(*lot));
    events(t, 1, "a", 2);
    seal(t, 0, 2); /* lost on the edge's disk */
    struct pl_id128 incarnation = t->rig.edges[0].header.incarnation;
    lot->count = 2;
    lot->losses[0] = (struct block_loss){.incarnation = incarnation, .number = 0, .events = 2};
    block_hash(pl_buf_span(&t->block), lot->losses[0].hash);
    pl_buf_append_span(&t->other, pl_buf_span(&t->block));
    events(t, 1, "b", 3);
    seal(t, 0, 3);
    lot->blocks[1] = pl_buf_span(&t->block);
    rig_lot_send(&t->rig, 0, lot);
    rig_lot_wait(lot);
    assert_int_equal(lot->verdicts[0], BLOCK_STORED);
    assert_int_equal(lot->verdicts[1], BLOCK_STORED);
    struct ledger_counts c = totals(t);
    assert_true(c.events == 5 && c.dropped[DROP_ROT] == 2 && c.stored == 3 && c.blocks == 2);
    rig_lot_send(&t->rig, 0, lot);
    rig_lot_wait(lot);
    assert_int_equal(lot->verdicts[0], BLOCK_REPEAT);
    assert_int_equal(lot->verdicts[1], BLOCK_REPEAT);
    /* and should it turn up after all, it is not lost a second time */
    assert_int_equal(rig_send(&t->rig, 0, pl_buf_span(&t->other)), BLOCK_FORK);
    struct chain_claim claim = {.incarnation = incarnation};
    struct chain_record record;
    ledger_books(t->rig.ledger, &t->rig.edges[0].id, &claim, 1, &record);
    assert_true(record.contiguous == 2 && record.events == 5 && record.dropped == 2);
    free(lot);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_wrong_count_is_an_alarm),
        CASE(altered_and_foreign_blocks_are_kept_aside),
        CASE(a_refused_block_does_not_stop_its_chain),
        CASE(the_old_chain_of_a_new_identity_is_booked_to_its_end),
        CASE(a_block_that_was_stored_is_a_repeat_without_its_key),
        CASE(a_destroyed_sealing_key_drops_what_was_sealed_for_it),
        CASE(a_fork_is_never_acked),
        CASE(a_revoked_edge_waits_and_is_not_stored),
        CASE(a_missing_data_key_holds_the_block_up),
        CASE(a_lost_block_is_booked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
