/* Chains of processes that are gone. */
#include "tests/unit/edge/spool_fixture.h"

static struct chain_record record_of(const struct chain_claim *claim)
{
    return (struct chain_record){
        .incarnation = claim->incarnation,
        .contiguous = claim->acked,
        .highest = claim->acked,
        .events = claim->acked_events,
        .stored = claim->acked_events,
    };
}

/* All has its verdict and what was refused is kept: counts that differ for its sake are no reason
 * to name the chain for ever. Unless the origin balances, one that is all acked stays. */
static void test_a_chain_with_quarantined_blocks_settles(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    struct spool_status status;
    for (int i = 0; i < 3; i++)
        commit_one(f, spool, 10, 200);
    claims_of(spool, claims, 1);
    shut(f, spool);
    spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_record forked = {
        .incarnation = claims[0].incarnation, .contiguous = 3, .events = 25, .stored = 25};
    verdict(spool, &claims[0].incarnation, 0, BLOCK_STORED);
    verdict(spool, &claims[0].incarnation, 1, BLOCK_FORK);
    claims_of(spool, claims, 2);
    source.books(source.ctx, &forked, 1); /* block 2 is under way */
    assert_int_equal(claims_of(spool, claims, 2), 2);
    verdict(spool, &claims[0].incarnation, 2, BLOCK_STORED);
    source.books(source.ctx, &forked, 1);
    assert_int_equal(claims_of(spool, claims, 2), 1);
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 0);
    assert_int_equal(status.quarantined_blocks, 1);
    shut(f, spool);
}

static void test_earlier_chains_drain_and_settle(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[4], first;
    for (uint32_t i = 0; i < 5; i++)
        commit_one(f, spool, 10, 200);
    claims_of(spool, &first, 1);
    verdict(spool, &first.incarnation, 0, BLOCK_STORED);
    shut(f, spool);

    spool = reopen(f);
    commit_one(f, spool, 1, 200);
    assert_int_equal(claims_of(spool, claims, 4), 2);
    assert_true(pl_id128_eq(&claims[0].incarnation, &first.incarnation));
    assert_true(claims[0].closed);
    assert_int_equal(claims[0].next, 5);
    assert_false(claims[1].closed);
    assert_int_equal(claims[1].next, 1);
    /* With room for one, the live chain is the one that counts. */
    assert_int_equal(claims_of(spool, claims, 1), 1);
    assert_false(claims[0].closed);

    drain_chain(spool, &first.incarnation);
    claims_of(spool, claims, 4);
    assert_int_equal(claims[0].acked, 5);
    assert_int_equal(claims[0].acked_events, 50);

    /* Drained, but the row stays until the origin's books agree. */
    struct uplink_source source = spool_source(spool);
    struct spool_chain_status chains[4];
    struct chain_record wrong = record_of(&claims[0]);
    wrong.events = 49;
    wrong.stored = 49;
    source.books(source.ctx, &wrong, 1);
    assert_int_equal(spool_chains(spool, chains, 4), 2);
    assert_int_equal(chains[0].books, SPOOL_BOOKS_MISMATCH);
    struct chain_record right = record_of(&claims[0]);
    source.books(source.ctx, &right, 1);
    assert_int_equal(spool_chains(spool, chains, 4), 1);
    assert_false(chains[0].closed);
    shut(f, spool);

    crashed_chain(f, 0, 0); /* one that ended before it had taken anything */
    spool = reopen(f);
    assert_int_equal(claims_of(spool, claims, 4), 2);
    assert_false(pl_id128_eq(&claims[0].incarnation, &first.incarnation));
    /* What settled chains had accepted is not forgotten with them. */
    struct spool_status status;
    spool_status(spool, &status);
    assert_int_equal(status.accepted_events, 51);
    assert_true(status.oldest_pending_ms > 0);
    shut(f, spool);
}

static void test_a_process_that_collected_nothing_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct chain_claim claims[4];
    for (int i = 0; i < 5; i++) {
        struct spool *spool = reopen(f);
        assert_int_equal(claims_of(spool, claims, 4), 1);
        shut(f, spool);
    }
}

static void test_killed_during_commits(void **state)
{
    struct fixture *f = *state;
    uint64_t told = 0;
    for (int round = 0; round < 5; round++) {
        int fds[2];
        uint64_t events = 0, last = 0;
        assert_int_equal(pipe(fds), 0);
        char fd[16];
        snprintf(fd, sizeof(fd), "%d", fds[1]);
        fcntl(fds[0], F_SETFD, FD_CLOEXEC);
        pid_t pid = run_child(f, "for-ever", fd, "");
        close(fds[1]);
        for (int i = 0; i < 20 + 13 * round; i++)
            assert_int_equal(read(fds[0], &last, sizeof(last)), sizeof(last));
        kill(pid, SIGKILL);
        while (read(fds[0], &events, sizeof(events)) == sizeof(events))
            last = events;
        close(fds[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        told += last;
    }
    struct spool *spool = reopen(f);
    struct chain_claim claims[8];
    uint64_t found = 0;
    size_t count = claims_of(spool, claims, 8);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        struct drained d = drain_chain(spool, &claims[i].incarnation);
        assert_int_equal(d.lost_blocks, 0);
        found += d.events;
    }
    assert_true(found >= told);
    assert_true(found <= told + 5 * 7); /* what was committed but not told of any more */
    struct spool_status status;
    claims_of(spool, claims, 8);
    spool_status(spool, &status);
    assert_int_equal(status.pending_events, 0);
    shut(f, spool);
}

static void test_lost_row_is_pieced_together(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    for (uint32_t i = 0; i < 8; i++)
        commit_one(f, spool, 5, 100);
    claims_of(spool, claims, 1);
    struct pl_id128 incarnation = claims[0].incarnation;
    for (uint64_t n = 0; n < 3; n++)
        verdict(spool, &incarnation, n, BLOCK_STORED);
    claims_of(spool, claims, 1);
    spool_free(spool);
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_delete(batch, f->store, EDGE_CHAINS, pl_span(incarnation.bytes, 16));
    assert_int_equal(store_write(f->store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
    fixture_store_close(f);

    spool = reopen(f);
    assert_int_equal(claims_of(spool, claims, 2), 2);
    assert_true(pl_id128_eq(&claims[0].incarnation, &incarnation));
    assert_int_equal(claims[0].acked, 3);
    assert_int_equal(claims[0].acked_events, 15);
    assert_int_equal(claims[0].next, 8);
    assert_int_equal(drain_chain(spool, &incarnation).events, 25);
    shut(f, spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc == 5)
        return be_child(argv);
    const struct CMUnitTest tests[] = {
        TEST(test_a_chain_with_quarantined_blocks_settles),
        TEST(test_earlier_chains_drain_and_settle),
        TEST(test_a_process_that_collected_nothing_leaves_nothing),
        TEST(test_killed_during_commits),
        TEST(test_lost_row_is_pieced_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
