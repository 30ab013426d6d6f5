#include "origin/intake/ledger.h"
#include "proto/base/file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

struct test {
    char dir[64], path[80];
    struct pl_log silent;
    struct pl_clock clock;
    int64_t now_ms;
    struct store *store;
    struct store_batch *batch;
    struct ledger *ledger;
    struct ledger_config config;
    struct ledger_block blocks[64]; /* staged ones must live */
    size_t used;
    struct pl_id128 edge, incarnation;
};

static int64_t now(void *ctx)
{
    return ((struct test *)ctx)->now_ms;
}

static void open_all(struct test *t)
{
    struct pl_why why = {.err = PL_OK};
    struct store_config config = {.path = t->path,
                                  .families = origin_families,
                                  .family_count = FAMILY_COUNT,
                                  .cache_bytes = 8u << 20,
                                  .write_buffer_bytes = 8u << 20,
                                  .background_threads = 1,
                                  .log = &t->silent};
    if (store_open(&t->store, &config, &why) != PL_OK)
        fail_msg("%s", why.text);
    t->config.store = t->store;
    assert_int_equal(ledger_new(&t->ledger, &t->config, &why), PL_OK);
}

static void close_all(struct test *t)
{
    ledger_free(t->ledger);
    store_close(t->store);
}

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    snprintf(t->dir, sizeof(t->dir), "/tmp/polder-ledger-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    snprintf(t->path, sizeof(t->path), "%s/store", t->dir);
    t->now_ms = 1000000;
    t->clock = (struct pl_clock){.wall_ms = now, .mono_ms = now, .ctx = t};
    t->silent = (struct pl_log){.fd = -1, .clock = &t->clock};
    t->config =
        (struct ledger_config){.hole_alarm_ms = 30000, .clock = &t->clock, .log = &t->silent};
    memset(t->edge.bytes, 1, 16);
    memset(t->incarnation.bytes, 2, 16);
    open_all(t);
    assert_int_equal(store_batch_new(&t->batch), PL_OK);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    char command[96];
    store_batch_free(t->batch);
    close_all(t);
    snprintf(command, sizeof(command), "rm -rf '%s'", t->dir);
    assert_int_equal(system(command), 0);
    free(t);
    return 0;
}

/* Block `number` of the story in which every block's hash is its number, the first is 100. */
static struct ledger_block *block(struct test *t, uint64_t number)
{
    struct ledger_block *b = &t->blocks[t->used++ % 64];
    *b = (struct ledger_block){.edge = t->edge, .incarnation = t->incarnation, .number = number};
    memset(b->hash, (int)(100 + number), BLOCK_HASH_BYTES);
    if (number > 0)
        memset(b->previous_hash, (int)(99 + number), BLOCK_HASH_BYTES);
    b->counts = (struct ledger_counts){.events = 10, .stored = 7, .duplicate = 2};
    b->counts.dropped[DROP_EXPIRED] = 1;
    return b;
}

static enum block_verdict check(struct test *t, const struct ledger_block *b)
{
    enum block_verdict verdict;
    struct pl_why why;
    assert_int_equal(ledger_check(t->ledger, b, &verdict, &why), PL_OK);
    return verdict;
}

static void commit(struct test *t)
{
    assert_int_equal(ledger_write(t->ledger, t->batch), PL_OK);
    assert_int_equal(store_write(t->store, t->batch, true, NULL), PL_OK);
    store_batch_clear(t->batch);
    ledger_commit(t->ledger);
}

static void record(struct test *t, uint64_t number)
{
    struct ledger_block *b = block(t, number);
    assert_int_equal(check(t, b), BLOCK_STORED);
    assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    commit(t);
}

static struct chain_record books(struct test *t)
{
    struct chain_claim claim = {.incarnation = t->incarnation};
    struct chain_record r;
    ledger_books(t->ledger, &t->edge, &claim, 1, &r);
    return r;
}

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

static size_t rows(struct test *t, unsigned family)
{
    struct store_scan *scan;
    struct pl_span key, value;
    size_t count = 0;
    assert_int_equal(store_scan_new(&scan, t->store, family, pl_span(NULL, 0), pl_span(NULL, 0)),
                     PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        count++;
    store_scan_free(scan);
    return count;
}

static void what_is_kept_aside_is_dropped_in_time(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarm;
    for (uint64_t n = 0; n < 2; n++) {
        assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, n), LEDGER_REFUSED,
                                           PL_SPAN_LIT("personal data"), "refused"),
                         PL_OK);
        commit(t);
        t->now_ms += PL_DAY_MS;
    }
    t->now_ms += (LEDGER_KEEP_DAYS - 2) * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 2); /* not a moment before */
    t->now_ms += 1;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 1);
    assert_int_equal(ledger_alarms(t->ledger, &alarm, 1), 1);
    assert_true(alarm.number == 1);
    t->now_ms += PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 0);
    assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 0);
    struct ledger_kept kept;
    ledger_kept(t->ledger, &kept);
    assert_true(kept.blocks == 0 && kept.bytes == 0 && kept.oldest_ms == 0);
}

/* Nobody can tell of when it is, and a deletion that waits for it would wait for ever. */
static void what_is_kept_aside_and_damaged_is_dropped(void **state)
{
    struct test *t = *state;
    static const uint8_t key[48] = {1}, row[] = {1, 3, 0};
    assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, 0), LEDGER_REFUSED,
                                       PL_SPAN_LIT("personal data"), "refused"),
                     PL_OK);
    commit(t);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_put(t->store, FAMILY_QUARANTINE, pl_span(key, sizeof(key)),
                                   pl_span(row, sizeof(row)), true, NULL),
                         PL_OK);
        if (round == 1) { /* nor does it stop a start */
            close_all(t);
            open_all(t);
        }
        assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
        assert_int_equal(rows(t, FAMILY_QUARANTINE), 1);
        assert_true(ledger_let_go_kept(t->ledger, t->now_ms));
        assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 1);
    }
}

static void old_rows_go_and_their_sums_stay(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    for (uint64_t n = 0; n < 6; n++) {
        record(t, n);
        t->now_ms += PL_DAY_MS;
    }
    record(t, 8); /* above a hole: it is still needed to close it */
    t->now_ms += (LEDGER_KEEP_DAYS - 3) * PL_DAY_MS + 1;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_LEDGER), 3); /* 4, 5 and 8 */
    t->now_ms += 100 * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_LEDGER), 1);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(check(t, block(t, 2)), BLOCK_REPEAT);
        assert_true(books(t).contiguous == 6 && books(t).highest == 9 && books(t).events == 60);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 7 && totals.events == 70);
        close_all(t);
        open_all(t);
    }
    record(t, 6);
    record(t, 7);
    assert_true(books(t).contiguous == 9);
}

static void tell(struct test *t, const struct pl_id128 *named)
{
    struct chain_claim claim = {.incarnation = *named};
    struct chain_record record;
    ledger_books(t->ledger, &t->edge, &claim, 1, &record);
}

/* A start of an edge is a chain: those of long ago must not stay for ever. */
static void chains_that_their_edge_has_let_go_of_are_dropped_in_time(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    struct ledger_chain chains[3];
    const struct pl_id128 old = t->incarnation, live = {{7}};
    for (uint64_t n = 0; n < 3; n++)
        record(t, n);
    t->incarnation = live;
    record(t, 0);
    t->now_ms += LEDGER_KEEP_DAYS * PL_DAY_MS;
    record(t, 1);
    t->now_ms += PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* the edge was not heard */
    tell(t, &old);
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* it still has the old one */
    tell(t, &live);
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    t->incarnation = old;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* the live one and the sum of the others */
        assert_int_equal(ledger_chains(t->ledger, chains, 3), 2);
        assert_int_equal(books(t).contiguous, 0);
        assert_int_equal(chains[0].record.events + chains[1].record.events, 50);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 5 && totals.events == 50);
        close_all(t);
        open_all(t);
    }
    t->incarnation = live;
    tell(t, &live);
    t->now_ms += 100 * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_true(books(t).contiguous == 2); /* named: however old */
    record(t, 2);
}

static void lose(struct test *t, uint64_t acked, uint64_t events)
{
    const struct chain_claim claim = {
        .incarnation = t->incarnation, .acked = acked, .next = acked, .acked_events = events};
    ledger_lose(t->ledger, &t->edge, &claim);
    assert_int_equal(ledger_book_losses(t->ledger, NULL), PL_OK);
}

static struct ledger_loss loss(struct test *t, const struct pl_id128 *incarnation)
{
    struct ledger_chain chains[4];
    size_t count = ledger_chains(t->ledger, chains, 4);
    for (size_t i = 0; i < count && i < 4; i++)
        if (pl_id128_eq(&chains[i].record.incarnation, incarnation))
            return chains[i].loss;
    return (struct ledger_loss){.blocks = 0};
}

static void assert_balanced(struct test *t)
{
    struct ledger_counts totals;
    struct chain_record r = books(t);
    ledger_totals(t->ledger, &totals);
    assert_int_equal(totals.stored + totals.duplicate + ledger_counts_dropped(&totals),
                     totals.events);
    assert_int_equal(r.stored + r.duplicate + r.dropped, r.events);
    assert_true(r.contiguous <= r.highest);
}

/* The copy that was restored has blocks 0 and 1; the edge has acks up to 4, and goes on. */
static void a_chain_goes_on_behind_what_a_restore_lost(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    close_all(t);
    t->config.ahead_max = 4;
    open_all(t);
    record(t, 0);
    record(t, 1);
    for (uint64_t n = 5; n < 9; n++)
        record(t, n);
    assert_int_equal(check(t, block(t, 9)), BLOCK_RETRY);
    lose(t, 5, 53);
    assert_int_equal(check(t, block(t, 9)), BLOCK_STORED);
    for (int round = 0; round < 2; round++) {
        struct chain_record r = books(t);
        assert_true(r.contiguous == 9 && r.highest == 9 && r.events == 93 && r.stored == 42);
        assert_int_equal(r.dropped, 6 + 33);
        struct ledger_loss lost = loss(t, &t->incarnation);
        assert_true(lost.first == 2 && lost.last == 4 && lost.blocks == 3 && lost.events == 33);
        assert_int_equal(lost.since_ms, 1000000);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 6 && totals.lost_blocks == 3);
        assert_int_equal(totals.dropped[DROP_RESTORED], 33);
        assert_balanced(t);
        t->now_ms += 60000;
        assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 0);
        t->now_ms -= 60000;
        close_all(t);
        open_all(t);
    }
    for (uint64_t n = 9; n < 20; n++)
        record(t, n);
    lose(t, 5, 53); /* said again */
    assert_int_equal(loss(t, &t->incarnation).blocks, 3);
    assert_int_equal(books(t).contiguous, 20);
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

/* A second restore, of a copy in which the first loss is known, and blocks between the lost ones.
 */
static void what_is_lost_adds_up(void **state)
{
    struct test *t = *state;
    record(t, 0);
    lose(t, 2, 20);
    record(t, 2);
    record(t, 4);
    lose(t, 6, 60);
    struct ledger_loss lost = loss(t, &t->incarnation);
    assert_true(lost.first == 1 && lost.last == 5 && lost.blocks == 3 && lost.events == 30);
    assert_true(books(t).contiguous == 6 && books(t).highest == 6 && books(t).events == 60);
    assert_balanced(t);
    for (uint64_t n = 0; n < 6; n += 2)
        assert_int_equal(check(t, block(t, n)), BLOCK_REPEAT);
    /* nothing of the chain is known: its edge began it after the copy was made */
    t->incarnation.bytes[0] ^= 0xff;
    lose(t, 3, 5);
    assert_true(books(t).contiguous == 3 && books(t).events == 5 && books(t).dropped == 5);
    record(t, 3);
    assert_balanced(t);
}

static void a_lost_block_that_comes_after_all_is_taken(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    record(t, 0);
    record(t, 5);
    lose(t, 5, 50);
    struct ledger_block *b = block(t, 1);
    b->previous_hash[0] ^= 1; /* does not follow block 0 */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    b = block(t, 4);
    b->hash[0] ^= 1; /* block 5 does not follow it */
    assert_int_equal(check(t, b), BLOCK_REFUSED);
    for (uint64_t n = 4; n > 0; n -= 2) {
        b = block(t, n);
        assert_int_equal(check(t, b), BLOCK_STORED);
        assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
        assert_int_equal(check(t, block(t, n)), BLOCK_REPEAT); /* twice in one group */
    }
    record(t, 6); /* a group of its own in between */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(check(t, block(t, 4)), BLOCK_REPEAT);
        b = block(t, 4);
        b->hash[0] ^= 1;
        assert_int_equal(check(t, b), BLOCK_FORK);
        assert_true(books(t).contiguous == 7 && books(t).events == 70 && books(t).stored == 35);
        assert_true(loss(t, &t->incarnation).blocks == 2);
        assert_true(loss(t, &t->incarnation).events == 20);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 5 && totals.lost_blocks == 2 && totals.events == 70);
        assert_balanced(t);
        close_all(t);
        open_all(t);
    }
    record(t, 1);
    record(t, 3);
    assert_int_equal(loss(t, &t->incarnation).blocks, 0);
    assert_true(books(t).events == 70 && books(t).stored == 49);
    assert_balanced(t);
}

static void a_late_one_whose_write_fails_leaves_no_trace(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    record(t, 0);
    lose(t, 3, 30);
    assert_int_equal(ledger_stage(t->ledger, block(t, 1)), PL_OK);
    assert_int_equal(ledger_write(t->ledger, t->batch), PL_OK);
    store_batch_clear(t->batch); /* the write did not happen */
    assert_int_equal(ledger_reload(t->ledger, NULL), PL_OK);
    assert_int_equal(check(t, block(t, 1)), BLOCK_STORED);
    record(t, 3);
    ledger_totals(t->ledger, &totals);
    assert_true(totals.lost_blocks == 2 && totals.events == 40);
    assert_balanced(t);
}

static void only_what_an_edge_can_have_lost_is_booked(void **state)
{
    struct test *t = *state;
    record(t, 0);
    record(t, 3);
    lose(t, UINT64_C(1) << 40, 30); /* nobody made so many blocks */
    lose(t, UINT64_MAX, UINT64_MAX);
    lose(t, 3, 10 + 2 * 65535 + 1); /* nor so many events in them */
    assert_true(books(t).contiguous == 1);
    assert_int_equal(loss(t, &t->incarnation).blocks, 0);
    /* What another edge says is of no chain but its own, nor is a new identity's of its old one's.
     */
    t->edge.bytes[0] ^= 0xff;
    lose(t, 3, 30);
    assert_true(books(t).contiguous == 1 && books(t).dropped == 1);
    t->edge.bytes[0] ^= 0xff;
    assert_true(books(t).contiguous == 1);
    assert_int_equal(loss(t, &t->incarnation).blocks, 0);
    struct ledger_counts totals;
    ledger_totals(t->ledger, &totals);
    assert_true(totals.blocks == 2 && totals.lost_blocks == 0);
    lose(t, 3, 10 + 2 * 65535);
    assert_int_equal(loss(t, &t->incarnation).blocks, 2);
}

static void what_was_lost_is_summed_when_its_chain_is_gone(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    const struct pl_id128 live = {{7}}, none = {{0}};
    record(t, 0);
    record(t, 2);
    t->now_ms += PL_DAY_MS;
    record(t, 4);
    lose(t, 4, 40);
    t->now_ms += (LEDGER_KEEP_DAYS - 1) * PL_DAY_MS + 1;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(check(t, block(t, 2)), BLOCK_REPEAT); /* between lost ones, and old */
    t->now_ms += PL_DAY_MS - 1;
    record(t, 1); /* not a moment before */
    t->now_ms += 1;
    assert_int_equal(check(t, block(t, 3)), BLOCK_REPEAT);
    t->now_ms += PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_LEDGER), 3); /* up to the late one: 1, 2 and 4 */
    for (uint64_t n = 0; n < 5; n++)
        assert_int_equal(check(t, block(t, n)), BLOCK_REPEAT);
    t->now_ms += (LEDGER_KEEP_DAYS + 1) * PL_DAY_MS;
    const struct pl_id128 old = t->incarnation;
    t->incarnation = live;
    record(t, 0);
    tell(t, &live);
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(loss(t, &old).blocks, 0);
        struct ledger_loss sum = loss(t, &none);
        assert_true(sum.blocks == 1 && sum.events == 10 && sum.since_ms == 0);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.lost_blocks == 1 && totals.dropped[DROP_RESTORED] == 10);
        assert_balanced(t);
        close_all(t);
        open_all(t);
    }
}

static void the_quarantine_is_bounded(void **state)
{
    struct test *t = *state;
    close_all(t);
    t->config.quarantine_bytes_max = 4096;
    open_all(t);
    char *bytes = calloc(1, 1500);
    struct pl_buf out;
    pl_buf_init(&out, 1 << 20);
    for (uint64_t n = 0; n < 100; n++)
        assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, n), LEDGER_REFUSED,
                                           pl_span(bytes, 1500), "refused"),
                         PL_OK);
    commit(t);
    size_t total = 0;
    struct store_scan *scan;
    struct pl_span key, value;
    assert_int_equal(
        store_scan_new(&scan, t->store, FAMILY_QUARANTINE, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        total += key.len + value.len;
    store_scan_free(scan);
    assert_true(total > 3000 && total <= 4096);
    assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 100); /* told all the same */
    struct ledger_kept kept;
    for (int round = 0; round < 2; round++) {
        ledger_kept(t->ledger, &kept);
        assert_int_equal(kept.bytes, total);
        assert_int_equal(kept.blocks, rows(t, FAMILY_QUARANTINE));
        assert_true(kept.oldest_ms == t->now_ms);
        assert_int_equal(ledger_reload(t->ledger, NULL), PL_OK);
    }
    free(bytes);
    pl_buf_release(&out);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        CASE(what_is_kept_aside_is_dropped_in_time),
        CASE(what_is_kept_aside_and_damaged_is_dropped),
        CASE(old_rows_go_and_their_sums_stay),
        CASE(chains_that_their_edge_has_let_go_of_are_dropped_in_time),
        CASE(a_chain_goes_on_behind_what_a_restore_lost),
        CASE(a_hole_holds_so_many_blocks),
        CASE(an_edge_has_so_many_chains),
        CASE(what_is_lost_adds_up),
        CASE(a_lost_block_that_comes_after_all_is_taken),
        CASE(a_late_one_whose_write_fails_leaves_no_trace),
        CASE(only_what_an_edge_can_have_lost_is_booked),
        CASE(what_was_lost_is_summed_when_its_chain_is_gone),
        CASE(the_quarantine_is_bounded),
        CASE(a_far_future_number_does_not_eat_memory),
        CASE(damaged_rows_are_refused),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
