/* The ordinary life of a block. */
#include "tests/unit/edge/spool_fixture.h"

static void test_offered_until_acked(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claim;
    struct spool_status status;
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.next, 0);
    assert_false(claim.closed);

    for (uint32_t i = 1; i <= 10; i++)
        commit_one(f, spool, i, 300);
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.next, 10);
    spool_status(spool, &status);
    assert_int_equal(status.pending_blocks, 10);
    assert_int_equal(status.pending_events, 55);
    assert_true(status.pending_bytes > 3000);
    assert_int_equal(status.accepted_events, 55);
    assert_in_range(pl_wall_ms(pl_clock_system()) - status.oldest_pending_ms, 0, 60000);

    struct drained d = drain_chain(spool, &claim.incarnation);
    assert_int_equal(d.blocks, 10);
    assert_int_equal(d.events, 55);
    assert_int_equal(d.lost_blocks, 0);
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.acked, 10);
    assert_int_equal(claim.acked_events, 55);
    spool_status(spool, &status);
    assert_int_equal(status.pending_blocks, 0);
    assert_int_equal(status.pending_events, 0);
    assert_int_equal(status.pending_bytes, 0);
    assert_int_equal(status.oldest_pending_ms, 0);
    assert_int_equal(status.accepted_events, 55);
    shut(f, spool);
}

static void test_appended_is_not_offered_before_commit(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct block_header header;
    struct chain_claim claim;
    assert_int_equal(append(f, spool, 3, 300, &header), PL_OK);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.next, 0);
    assert_int_equal(drain_chain(spool, &claim.incarnation).blocks, 0);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
    assert_int_equal(drain_chain(spool, &claim.incarnation).blocks, 1);
    shut(f, spool);
}

static void test_blocks_are_chained(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_claim claim;
    uint8_t previous[BLOCK_HASH_BYTES] = {0};
    /* Two blocks in one commit, then one. */
    struct block_header header;
    append(f, spool, 1, 100, &header);
    append(f, spool, 1, 100, &header);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
    commit_one(f, spool, 1, 100);
    claims_of(spool, &claim, 1);
    for (uint64_t n = 0; n < 3; n++) {
        struct pl_buf block;
        struct pl_span body;
        uint64_t number = n;
        pl_buf_init(&block, LIMIT_BLOCK_BYTES);
        assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL), PL_OK);
        assert_int_equal(number, n);
        assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
        assert_memory_equal(header.previous_hash, previous, sizeof(previous));
        block_hash(pl_buf_span(&block), previous);
        pl_buf_release(&block);
    }
    shut(f, spool);
}

static void test_acks_out_of_order(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_claim claim;
    struct pl_buf block;
    for (int i = 0; i < 200; i++)
        commit_one(f, spool, 1, 50);
    claims_of(spool, &claim, 1);
    for (uint64_t n = 199; n > 0; n--)
        verdict(spool, &claim.incarnation, n, n % 2 ? BLOCK_STORED : BLOCK_REPEAT);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 0);

    uint64_t number = 0;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL), PL_OK);
    assert_int_equal(number, 0);
    number = 1;
    assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL),
                     PL_ENOTFOUND);
    pl_buf_release(&block);
    /* "Try again later" is no ack; neither are numbers that never were. */
    verdict(spool, &claim.incarnation, 0, BLOCK_RETRY);
    verdict(spool, &claim.incarnation, 5000, BLOCK_STORED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 0);
    verdict(spool, &claim.incarnation, 0, BLOCK_STORED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 200);
    assert_int_equal(claim.acked_events, 200);
    shut(f, spool);
}

static void test_refused_blocks_are_kept_aside(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claim;
    struct spool_status status;
    for (int i = 0; i < 3; i++)
        commit_one(f, spool, 1, 500);
    claims_of(spool, &claim, 1);
    verdict(spool, &claim.incarnation, 0, BLOCK_STORED);
    verdict(spool, &claim.incarnation, 1, BLOCK_FORK);
    verdict(spool, &claim.incarnation, 1, BLOCK_FORK);
    verdict(spool, &claim.incarnation, 2, BLOCK_REFUSED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 3);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 2);
    assert_true(status.quarantined_bytes > 1000);
    shut(f, spool);
    spool = reopen(f);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 2);
    shut(f, spool);
}

/* Once an hour, without a restart; and what the chain's counts owe to it stays known. */
static void test_what_is_kept_aside_is_dropped_in_time(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    struct spool_status status;
    for (int i = 0; i < 2; i++)
        commit_one(f, spool, 10, 500);
    claims_of(spool, claims, 1);
    const struct pl_id128 incarnation = claims[0].incarnation;
    verdict(spool, &incarnation, 0, BLOCK_FORK);
    verdict(spool, &incarnation, 1, BLOCK_STORED);
    claims_of(spool, claims, 1);
    days_later = 44;
    spool_tidy(spool);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 1);
    assert_in_range(status.quarantined_oldest_ms, pl_wall_ms(pl_clock_system()) - 60000,
                    pl_wall_ms(pl_clock_system()));
    days_later = 46;
    spool_tidy(spool);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 0);
    assert_int_equal(status.quarantined_bytes, 0);
    assert_int_equal(status.quarantined_oldest_ms, 0);
    uint8_t key[24];
    struct pl_buf value;
    pl_buf_init(&value, LIMIT_BLOCK_BYTES + 1);
    memcpy(key, incarnation.bytes, 16);
    pl_store_u64(key + 16, 0);
    assert_int_equal(store_get(f->store, EDGE_QUARANTINE, pl_span(key, sizeof(key)), &value),
                     PL_OK);
    assert_int_equal(value.len, 1); /* its verdict, nothing of its content */
    pl_buf_release(&value);

    shut(f, spool);
    spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_record forked = {
        .incarnation = incarnation, .contiguous = 2, .events = 25, .stored = 25};
    claims_of(spool, claims, 2);
    source.books(source.ctx, &forked, 1);
    source.books(source.ctx, &forked, 1);
    assert_int_equal(claims_of(spool, claims, 2), 1);
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 0);
    days_later = 0;
    shut(f, spool);
}

static void test_full_spool_says_so(void **state)
{
    struct fixture *f = *state;
    fixture_store_open(f);
    struct spool *spool = open_spool(f, 10000);
    struct chain_claim claim;
    struct pl_why why;
    assert_int_equal(spool_room(spool, 10000, &why), PL_OK);
    assert_int_equal(spool_room(spool, 10001, &why), PL_ENOSPC);
    commit_one(f, spool, 1, 8000);
    assert_int_equal(spool_room(spool, 5000, &why), PL_ENOSPC);
    assert_non_null(strstr(why.text, "spool_max_bytes"));
    claims_of(spool, &claim, 1);
    drain_chain(spool, &claim.incarnation);
    claims_of(spool, &claim, 1);
    assert_int_equal(spool_room(spool, 5000, &why), PL_OK);
    shut(f, spool);
}

static void test_books(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct spool_chain_status chain;
    struct chain_claim claim;
    for (uint32_t i = 1; i <= 6; i++)
        commit_one(f, spool, i, 100);
    claims_of(spool, &claim, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_UNKNOWN);
    for (uint64_t n = 0; n < 3; n++)
        verdict(spool, &claim.incarnation, n, BLOCK_STORED);
    claims_of(spool, &claim, 1);

    /* The origin is ahead of the acks: compared all the same, 1+2+3+4 events. */
    struct chain_record r = {.incarnation = claim.incarnation, .contiguous = 4, .events = 10};
    r.stored = 7;
    r.duplicate = 2;
    r.dropped = 1;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_BALANCED);

    /* Its own sum is wrong. */
    r.dropped = 0;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_MISMATCH);
    r.dropped = 1;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_BALANCED);

    /* It has forgotten what it had acked. */
    r = (struct chain_record){.incarnation = claim.incarnation, .contiguous = 2, .events = 3};
    r.stored = 3;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_MISMATCH);
    struct spool_status status;
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 1);
    shut(f, spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_offered_until_acked),
        TEST(test_appended_is_not_offered_before_commit),
        TEST(test_blocks_are_chained),
        TEST(test_acks_out_of_order),
        TEST(test_refused_blocks_are_kept_aside),
        TEST(test_what_is_kept_aside_is_dropped_in_time),
        TEST(test_full_spool_says_so),
        TEST(test_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
