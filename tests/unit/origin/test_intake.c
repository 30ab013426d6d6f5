#include "intake_fixture.h"
#include "origin/intake/dedupe.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct test {
    struct rig rig;
    struct pl_buf plain, block, other;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    rig_open(&t->rig);
    pl_buf_init(&t->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&t->block, 4 * LIMIT_BLOCK_BYTES);
    pl_buf_init(&t->other, 4 * LIMIT_BLOCK_BYTES);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    rig_close(&t->rig);
    rig_release(&t->rig);
    pl_buf_release(&t->plain);
    pl_buf_release(&t->block);
    pl_buf_release(&t->other);
    free(t);
    return 0;
}

/* count events of one account into t->plain, with message ids PREFIX0, PREFIX1 … */
static void events(struct test *t, uint64_t account, const char *prefix, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[64];
        snprintf(id, sizeof(id), "%s%u", prefix == NULL ? "" : prefix, i);
        put_event(&t->plain, account, NOON_MS + i, "visitor", prefix == NULL ? NULL : id, "n");
    }
}

/* Seals what stands in t->plain as the edge's next block, into t->block. */
static void seal(struct test *t, int edge, uint32_t count)
{
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, edge, pl_buf_span(&t->plain), count, &t->block);
    pl_buf_reset(&t->plain);
}

static enum block_verdict send(struct test *t, int edge)
{
    return rig_send(&t->rig, edge, pl_buf_span(&t->block));
}

/* The one equation, from the ledger's side. */
static struct ledger_counts totals(struct test *t)
{
    struct ledger_counts c;
    ledger_totals(t->rig.ledger, &c);
    uint64_t dropped = 0;
    for (int i = 0; i < DROP_COUNT; i++)
        dropped += c.dropped[i];
    assert_true(c.events == c.stored + c.duplicate + dropped);
    assert_true(c.stored == rig_count(&t->rig, FAMILY_VAULT));
    return c;
}

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

static void settling_waits_for_what_was_taken(void **state)
{
    struct test *t = *state;
    struct rig_lot *lot = calloc(1, sizeof(*lot));
    pl_buf_reset(&t->other);
    size_t at[31] = {0};
    for (size_t i = 0; i < 30; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "s%zu-", i);
        events(t, 1, prefix, 200);
        seal(t, 0, 200);
        pl_buf_append_span(&t->other, pl_buf_span(&t->block));
        at[i + 1] = t->other.len;
    }
    lot->count = 30;
    for (size_t i = 0; i < 30; i++)
        lot->blocks[i] = pl_span(t->other.data + at[i], at[i + 1] - at[i]);
    rig_lot_send(&t->rig, 0, lot);
    intake_settle(t->rig.intake);
    pthread_mutex_lock(&lot->lock);
    assert_true(lot->done);
    pthread_mutex_unlock(&lot->lock);
    rig_lot_wait(lot);
    assert_true(totals(t).stored == 6000);
    intake_settle(t->rig.intake); /* with nothing under way */
    free(lot);
}

static void above_the_queue_s_limit_blocks_go_back(void **state)
{
    struct test *t = *state;
    rig_close(&t->rig);
    t->rig.config.queue_bytes = 100;
    rig_open(&t->rig);
    events(t, 1, "m", 1);
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_RETRY);
    rig_close(&t->rig);
    t->rig.config.queue_bytes = 0;
    rig_open(&t->rig);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    intake_stop(t->rig.intake);
    assert_int_equal(send(t, 0), BLOCK_RETRY); /* stopped */
}

static void limit_files(bool none)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = none ? 0 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool ready_within_10_s(struct intake *intake, bool ready)
{
    struct intake_status s = {.ready = !ready};
    for (int i = 0; i < 1000 && s.ready != ready; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        intake_status(intake, &s);
    }
    return s.ready == ready;
}

/* The API's write fails, and no block comes: somebody has to put the store right all the same. */
static void an_idle_origin_recovers(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    limit_files(true);
    assert_int_not_equal(
        store_put(r->store, FAMILY_META, PL_SPAN_LIT("k"), PL_SPAN_LIT("v"), true, NULL), PL_OK);
    bool told = ready_within_10_s(r->intake, false);
    limit_files(false);
    assert_true(told);
    assert_true(ready_within_10_s(r->intake, true));
    assert_int_equal(
        store_put(r->store, FAMILY_META, PL_SPAN_LIT("k"), PL_SPAN_LIT("v"), true, NULL), PL_OK);
}

/* A store on a file system of 40 MiB. */
static void a_full_disk_sends_blocks_back(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    char command[160];
    rig_close(r);
    snprintf(command, sizeof(command), "%s/small", r->store_dir);
    assert_int_equal(pl_dir_make(command, 0700, NULL), PL_OK);
    char original[96];
    memcpy(original, r->store_path, sizeof(original));
    if (mount("none", command, "tmpfs", 0, "size=40m") != 0) {
        rig_open(r);
        skip(); /* needs the right to mount */
    }
    snprintf(r->store_path, sizeof(r->store_path), "%s/small/store", r->store_dir);
    rig_open(r);
    /* fill it up from outside, but for a little */
    snprintf(command, sizeof(command),
             "head -c 38m /dev/zero > '%s/small/filler' 2>/dev/null || true", r->store_dir);
    assert_int_equal(system(command), 0);
    enum block_verdict verdict = BLOCK_STORED;
    uint64_t stored = 0;
    for (int i = 0; i < 200 && verdict == BLOCK_STORED; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "f%d-", i);
        events(t, 1, prefix, 100);
        seal(t, 0, 100);
        verdict = send(t, 0);
        stored += verdict == BLOCK_STORED ? 100 : 0;
    }
    assert_int_equal(verdict, BLOCK_RETRY);
    struct intake_status s;
    intake_status(r->intake, &s);
    assert_false(s.ready);
    assert_true(strlen(s.reason) > 10);
    assert_int_equal(send(t, 0), BLOCK_RETRY);

    snprintf(command, sizeof(command), "%s/small/filler", r->store_dir);
    assert_int_equal(unlink(command), 0);
    /* it finds out by itself */
    for (int i = 0; i < 100 && verdict == BLOCK_RETRY; i++) {
        usleep(100000);
        verdict = send(t, 0);
    }
    intake_status(r->intake, &s);
    if (verdict != BLOCK_STORED)
        fail_msg("%s", s.reason);
    assert_true(s.ready);
    assert_true(totals(t).stored == stored + 100);
    struct day_counts_row days;
    assert_int_equal(day_counts_total(r->day_counts, 0, 0, VAULT_DAY_MAX, &days), PL_OK);
    assert_int_equal(days.stored.events, stored + 100);
    rig_close(r);
    snprintf(command, sizeof(command), "%s/small", r->store_dir);
    assert_int_equal(umount(command), 0);
    memcpy(r->store_path, original, sizeof(original));
    rig_open(r);
}

/* ---- the dedupe index by itself */

static void a_hash_collision_swallows_nothing(void **state)
{
    struct test *t = *state;
    struct dedupe *d;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event = calloc(1, sizeof(*event));
    struct dedupe_entry entries[3], *list[3];
    struct pl_buf values[3];
    struct vault_place place = {.index = 0};
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    assert_int_equal(dedupe_new(&d, t->rig.store, sealer), PL_OK);
    assert_int_equal(event_reader_new(&reader), PL_OK);
    static const char *const ids[] = {"one", "two", "three"};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++) {
        pl_buf_reset(&t->plain);
        pl_buf_init(&values[i], 1 << 16);
        put_event(&t->plain, 1, NOON_MS + i, "v", ids[i], "n");
        struct pl_span rest = pl_buf_span(&t->plain);
        assert_int_equal(event_read(reader, &rest, event, NULL, NULL), PL_OK);
        entries[i] = (struct dedupe_entry){.message_id = pl_span_str(ids[i])};
        assert_int_equal(vault_key_of(sealer, event, &place, &entries[i].key), PL_OK);
        if (i == 0)
            hash = vault_key_event_hash(&entries[0].key);
        vault_key_set_event_hash(&entries[i].key, hash); /* as if all three hashed alike */
        assert_int_equal(vault_seal(sealer, &entries[i].key, pl_buf_span(&t->plain), &values[i]),
                         PL_OK);
        entries[i].value = pl_buf_span(&values[i]);
        list[i] = &entries[i];
    }
    struct vault_key originals[3] = {entries[0].key, entries[1].key, entries[2].key};
    /* two at once, the third against what is stored */
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    for (int round = 0; round < 2; round++) {
        size_t from = round == 0 ? 0 : 2, count = round == 0 ? 2 : 1;
        assert_int_equal(dedupe_check(d, list + from, count, NULL), PL_OK);
        for (size_t i = from; i < from + count; i++) {
            assert_false(entries[i].duplicate);
            assert_true(vault_key_event_hash(&entries[i].key) == hash + i);
            uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES];
            dedupe_key_of(&entries[i].key, key);
            dedupe_value_of(&entries[i].key, value);
            store_batch_put(batch, t->rig.store, FAMILY_VAULT, vault_key_span(&entries[i].key),
                            entries[i].value);
            store_batch_put(batch, t->rig.store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                            pl_span(value, sizeof(value)));
        }
        assert_int_equal(store_write(t->rig.store, batch, true, NULL), PL_OK);
        store_batch_clear(batch);
    }
    /* each opens where it went, and each is found again from where it started */
    for (int i = 0; i < 3; i++) {
        pl_buf_reset(&t->plain);
        pl_buf_reset(&t->other);
        assert_int_equal(
            store_get(t->rig.store, FAMILY_VAULT, vault_key_span(&entries[i].key), &t->other),
            PL_OK);
        assert_int_equal(
            vault_open_value(sealer, &entries[i].key, pl_buf_span(&t->other), &t->plain), PL_OK);
        entries[i].key = originals[i];
        entries[i].value = pl_buf_span(&values[i]);
    }
    assert_int_equal(dedupe_check(d, list, 3, NULL), PL_OK);
    assert_true(entries[0].duplicate && entries[1].duplicate && entries[2].duplicate);
    store_batch_free(batch);
    dedupe_free(d);
    vault_sealer_free(sealer);
    event_reader_free(reader);
    free(event);
    for (int i = 0; i < 3; i++)
        pl_buf_release(&values[i]);
}

static void the_window_is_thirty_days(void **state)
{
    struct test *t = *state;
    static const int64_t days[] = {0, 30, 61};
    static const uint64_t stored[] = {1, 1, 2};
    for (int i = 0; i < 3; i++) {
        put_event(&t->plain, 1, NOON_MS + days[i] * PL_DAY_MS, "v", "m", "n");
        __atomic_store_n(&t->rig.now_ms, NOON_MS + days[i] * PL_DAY_MS, __ATOMIC_RELAXED);
        seal(t, 0, 1);
        assert_int_equal(send(t, 0), BLOCK_STORED);
        assert_true(totals(t).stored == stored[i]);
    }
    /* the sweep of the first day leaves the entry that the third event took over */
    struct vault_key cursor = {{0}};
    enum pl_err err;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS), &cursor, 2, NULL)) == PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 1);
}

static void the_sweep_takes_one_day_of_every_account(void **state)
{
    struct test *t = *state;
    for (uint64_t account = 1; account < RIG_ACCOUNTS; account++)
        for (int64_t day = 0; day < 3; day++)
            for (int i = 0; i < 100; i++) {
                char id[32];
                snprintf(id, sizeof(id), "%d-%d", (int)day, i);
                put_event(&t->plain, account, NOON_MS + day * PL_DAY_MS, "v", id, "n");
            }
    uint32_t count = (RIG_ACCOUNTS - 1) * 300;
    __atomic_store_n(&t->rig.now_ms, NOON_MS + 2 * PL_DAY_MS, __ATOMIC_RELAXED);
    seal(t, 0, count);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), count);
    struct vault_key cursor = {{0}};
    enum pl_err err;
    int calls = 0;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS) + 1, &cursor, 150, NULL)) ==
           PL_EAGAIN)
        calls++;
    assert_int_equal(err, PL_OK);
    assert_true(calls > 1 && calls < 30);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), count / 3 * 2);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), count);
}

/* Flips a byte in the middle of every table that is large enough to lose only a part. */
static void rot(struct test *t)
{
    char path[160], command[200];
    snprintf(command, sizeof(command), "find '%s' -name '*.sst' -size +40k", t->rig.store_path);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    while (fgets(path, sizeof(path), list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        long at = ftell(file) / 2;
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(byte ^ 0x55, file);
        fclose(file);
    }
    pclose(list);
}

static void rot_does_not_stop_the_sweep(void **state)
{
    struct test *t = *state;
    enum { EACH = 800, ALL = EACH * (RIG_ACCOUNTS - 1) };
    for (uint64_t account = 1; account < RIG_ACCOUNTS; account++)
        events(t, account, "id", EACH);
    seal(t, 0, ALL);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(store_flush(t->rig.store, NULL), PL_OK);
    rig_close(&t->rig);
    rot(t);
    rig_open(&t->rig);
    struct vault_key cursor = {{0}};
    enum pl_err err;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS), &cursor, 150, NULL)) == PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    /* of the accounts behind the rot nothing is left; what the scan of the rotten index meets first
     * is an error, so ask for each */
    struct vault_sealer *sealer;
    struct pl_buf value;
    size_t left = 0;
    pl_buf_init(&value, 1 << 20);
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    for (uint32_t i = 0; i < EACH; i++) {
        char id[32];
        uint8_t key[DEDUPE_KEY_BYTES];
        struct vault_key at;
        struct vault_place place = {.number = 0};
        struct event *e = calloc(1, sizeof(*e));
        snprintf(id, sizeof(id), "id%u", i);
        event_set_u64(e, EVENT_ACCOUNT, RIG_ACCOUNTS - 1);
        event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS);
        event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(id));
        assert_int_equal(vault_key_of(sealer, e, &place, &at), PL_OK);
        dedupe_key_of(&at, key);
        left += store_get(t->rig.store, FAMILY_DEDUPE, pl_span(key, sizeof(key)), &value) == PL_OK;
        free(e);
    }
    assert_int_equal(left, 0);
    vault_sealer_free(sealer);
    pl_buf_release(&value);
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
        CASE(settling_waits_for_what_was_taken),
        CASE(above_the_queue_s_limit_blocks_go_back),
        CASE(an_idle_origin_recovers),
        CASE(a_full_disk_sends_blocks_back),
        CASE(a_hash_collision_swallows_nothing),
        CASE(the_window_is_thirty_days),
        CASE(the_sweep_takes_one_day_of_every_account),
        CASE(rot_does_not_stop_the_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
