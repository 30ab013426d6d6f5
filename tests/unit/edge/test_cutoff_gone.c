/* What is in no file any more once an edge is settled. */
#include "tests/unit/edge/cutoff_fixture.h"

static void what_was_sealed_before_is_gone(void **state)
{
    struct world w;
    uint8_t before[2][NAME_BYTES], after[NAME_BYTES];
    world_open(&w, *state, 0);
    assert_false(is_pending(&w));
    collect(&w, 0);
    collect(&w, 1);
    name_block(&w, 0, before[0]);
    name_block(&w, 1, before[1]);
    want(&w, 5, 2, false);
    run(&w, 0, 2);
    run(&w, 1, 2);
    UNTIL(spool_is_past_cut(w.spool) == false);
    collect(&w, 0);
    name_block(&w, 2, after);
    assert_true(in_files(w.f, before[0], NAME_BYTES) && in_files(w.f, before[1], NAME_BYTES));
    assert_int_equal(settled(&w), 0);

    struct uplink_source source = spool_source(w.spool);
    struct chain_claim chains[8];
    assert_int_equal(claims(&w, chains), 1);
    source.verdict(source.ctx, &chains[0].incarnation, 0, BLOCK_STORED);
    claims(&w, chains);
    usleep(50000);
    assert_int_equal(settled(&w), 0);
    source.verdict(source.ctx, &chains[0].incarnation, 1, BLOCK_STORED);
    claims(&w, chains);
    UNTIL(settled(&w) == 5);
    assert_false(in_files(w.f, before[0], NAME_BYTES));
    assert_false(in_files(w.f, before[1], NAME_BYTES));
    assert_true(in_files(w.f, after, NAME_BYTES));
    UNTIL(!is_pending(&w));
    world_close(&w);
}

static void what_is_kept_aside_goes_as_well(void **state)
{
    struct world w;
    uint8_t before[NAME_BYTES], after[NAME_BYTES];
    world_open(&w, *state, 0);
    collect(&w, 0);
    name_block(&w, 0, before);
    give_verdicts(&w, BLOCK_REFUSED);
    assert_int_equal(quarantined(&w), 1);
    assert_true(in_files(w.f, before, NAME_BYTES));
    want(&w, 3, 1, false);
    run(&w, 0, 1);
    run(&w, 1, 1);
    UNTIL(settled(&w) == 3);
    assert_int_equal(quarantined(&w), 0);
    assert_false(in_files(w.f, before, NAME_BYTES));

    collect(&w, 0); /* what is refused later stays until the next */
    name_block(&w, 1, after);
    give_verdicts(&w, BLOCK_REFUSED);
    collect(&w, 0);
    assert_int_equal(quarantined(&w), 1);
    world_close(&w);
    world_open(&w, *state, 3);
    assert_int_equal(settled(&w), 3);
    assert_int_equal(quarantined(&w), 1);
    want(&w, 4, 1, false);
    run(&w, 0, 1);
    run(&w, 1, 1);
    give_verdicts(&w, BLOCK_STORED);
    UNTIL(settled(&w) == 4);
    assert_int_equal(quarantined(&w), 0);
    assert_false(in_files(w.f, after, NAME_BYTES));
    world_close(&w);
}

static void put(struct world *w, unsigned family, struct pl_span key, struct pl_span value)
{
    assert_int_equal(store_put(w->f->store, family, key, value, true, NULL), PL_OK);
}

static void drop(struct world *w, unsigned family, struct pl_span key)
{
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_delete(batch, w->f->store, family, key);
    assert_int_equal(store_write(w->f->store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
}

static void an_account_that_is_gone_leaves_nothing(void **state)
{
    struct world w;
    world_open(&w, *state, 0);
    put(&w, EDGE_CATALOG, S("A-gone"), S("the config of an account that goes"));
    put(&w, EDGE_CATALOG, S("A-stays"), S("the config of an account that stays"));
    put(&w, EDGE_SUPPRESSIONS, S("gone"), S("the opt-out of its visitor"));
    assert_int_equal(store_flush(w.f->store, NULL), PL_OK);
    drop(&w, EDGE_CATALOG, S("A-gone"));
    drop(&w, EDGE_SUPPRESSIONS, S("gone"));
    want(&w, 1, 1, true);
    run(&w, 0, 1);
    run(&w, 1, 1);
    UNTIL(settled(&w) == 1);
    assert_false(in_files(w.f, "the opt-out of its visitor", 26));
    struct pl_buf value;
    pl_buf_init(&value, 100);
    assert_int_equal(store_get(w.f->store, EDGE_CATALOG, S("A-stays"), &value), PL_OK);
    pl_buf_release(&value);
    world_close(&w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_sealed_before_is_gone),
        TEST(what_is_kept_aside_goes_as_well),
        TEST(an_account_that_is_gone_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
