/* When an edge is settled: in which order what has to have happened. */
#include "tests/unit/edge/cutoff_fixture.h"

static void a_cut_waits_for_every_loop(void **state)
{
    struct world w;
    uint8_t late[NAME_BYTES];
    world_open(&w, *state, 0);
    want(&w, 9, 4, false);
    run(&w, 0, 4);
    run(&w, 1, 3);
    usleep(50000);
    assert_int_equal(settled(&w), 0); /* this loop still works with an older snapshot */
    collect(&w, 1);
    name_block(&w, 0, late);
    run(&w, 1, 4);
    usleep(50000);
    assert_int_equal(settled(&w), 0); /* and what it took by it has not left yet */
    assert_true(in_files(w.f, late, NAME_BYTES));
    give_verdicts(&w, BLOCK_STORED);
    UNTIL(settled(&w) == 9);
    assert_false(in_files(w.f, late, NAME_BYTES));
    world_close(&w);
}

/* Nothing is sealed for a key after the cut that a newer one had replaced before it. */
static void a_new_key_is_in_use_after_the_cut(void **state)
{
    struct world w;
    uint8_t secret[PL_X25519_BYTES], fresh[PL_X25519_BYTES], id[BLOCK_KEY_ID_BYTES];
    struct chain_claim chains[8];
    struct block_header header;
    struct pl_buf block;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    world_open(&w, *state, 0);
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, fresh), PL_OK);
        block_key_id(fresh, id);
        collector_set_origin(w.collector, fresh);
        want(&w, i + 1, i + 1, false);
        run(&w, 0, i + 1);
        run(&w, 1, i + 1);
        give_verdicts(&w, BLOCK_STORED);
        UNTIL(settled(&w) == i + 1);
        collect(&w, 0);
        assert_int_equal(claims(&w, chains), 1);
        assert_true(read_block(&w, &chains[0].incarnation, i, &block, &header));
        assert_memory_equal(header.seal_key_id, id, sizeof(id));
        give_verdicts(&w, BLOCK_STORED);
    }
    pl_buf_release(&block);
    world_close(&w);
}

static void what_an_earlier_process_sealed_is_before(void **state)
{
    struct world w;
    uint8_t before[NAME_BYTES];
    world_open(&w, *state, 0);
    collect(&w, 0);
    name_block(&w, 0, before);
    world_close(&w);

    world_open(&w, *state, 11);
    assert_true(is_pending(&w));
    collect(&w, 0); /* of this process, which knows the feed up to there */
    usleep(50000);
    assert_int_equal(settled(&w), 0);
    struct uplink_source source = spool_source(w.spool);
    struct chain_claim chains[8];
    assert_int_equal(claims(&w, chains), 2);
    source.verdict(source.ctx, &chains[0].incarnation, 0, BLOCK_STORED);
    claims(&w, chains);
    UNTIL(settled(&w) == 11);
    assert_false(in_files(w.f, before, NAME_BYTES));
    give_verdicts(&w, BLOCK_STORED);
    world_close(&w);

    world_open(&w, *state, 11); /* nothing has happened since */
    assert_int_equal(settled(&w), 11);
    assert_false(is_pending(&w));
    world_close(&w);
}

/* One after the other, and the last one in any case. */
static void many_in_a_row_all_settle(void **state)
{
    struct world w;
    world_open(&w, *state, 0);
    for (uint64_t i = 1; i <= 50; i++) {
        collect(&w, i % LANES);
        want(&w, i, i, i % 3 == 0);
        run(&w, 0, i);
        run(&w, 1, i);
        if (i % 5 == 0)
            give_verdicts(&w, BLOCK_STORED);
    }
    UNTIL(settled(&w) == 50);
    world_close(&w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_cut_waits_for_every_loop),
        TEST(a_new_key_is_in_use_after_the_cut),
        TEST(what_an_earlier_process_sealed_is_before),
        TEST(many_in_a_row_all_settle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
