/* Blocks that an edge has acks for, and that a restored database does not know. */
#include "ledger_test.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_chain_goes_on_behind_what_a_restore_lost),
        CASE(what_is_lost_adds_up),
        CASE(a_lost_block_that_comes_after_all_is_taken),
        CASE(a_late_one_whose_write_fails_leaves_no_trace),
        CASE(only_what_an_edge_can_have_lost_is_booked),
        CASE(what_was_lost_is_summed_when_its_chain_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
