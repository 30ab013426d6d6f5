#include "cutoffs_test.h"

static void test_waits_for_those_that_may_hold_something(void **state)
{
    bool done;
    (void)state;
    uint64_t first = announce();
    assert_int_equal(look(first, &done), 0); /* nobody has had a session: nobody has the key */
    assert_true(done);

    cutoffs_seen(cutoffs, &a);
    assert_int_equal(look(first, &done), 0); /* it came later: it holds nothing from before */
    uint64_t second = announce();
    assert_true(second > first);
    cutoffs_seen(cutoffs, &b);
    assert_int_equal(look(second, &done), 1);
    assert_false(done);
    assert_true(pl_id128_eq(&list[0].id, &a));
    assert_string_equal(list[0].name, "first");
    assert_string_equal(list[0].region, "eu");
    assert_int_equal(list[0].state, CUTOFF_WAITING);
    assert_true(list[0].reason[0] != '\0' && list[0].at_ms == 0);

    r.now_ms += 5000;
    settle(&a, second);
    assert_int_equal(look(second, &done), 1);
    assert_true(done);
    assert_int_equal(list[0].state, CUTOFF_CONFIRMED);
    assert_int_equal(list[0].at_ms, r.now_ms);
    assert_string_equal(list[0].reason, "");

    reopen();
    assert_true(is_done(second));
    uint64_t third = announce();
    assert_int_equal(look(third, &done), 2);
    assert_false(done);
    settle(&a, third);
    assert_false(is_done(third));
    settle(&b, third);
    assert_true(is_done(third));
}

static void test_believes_only_what_can_be(void **state)
{
    struct pl_id128 other = {{1}};
    (void)state;
    cutoffs_seen(cutoffs, &a);
    uint64_t position = announce();
    cutoffs_settled(cutoffs, &a, &other, position);
    assert_false(is_done(position));
    settle(&a, position + 1); /* nothing stands there */
    assert_false(is_done(position));
    settle(&a, position - 1);
    assert_false(is_done(position));
    settle(&b, position); /* never seen */
    assert_false(is_done(position));
    settle(&a, position);
    assert_true(is_done(position));
    settle(&a, position - 1); /* a disk that was restored holds again what it had let go of */
    assert_false(is_done(position));
}

static void test_a_restore_forgets_no_edge(void **state)
{
    bool done;
    (void)state;
    cutoffs_seen(cutoffs, &a);
    uint64_t position = announce();
    settle(&a, position);
    assert_int_equal(look(position, &done), 1);
    /* The other one may have come after the copy was made. */
    must(changelog_renew(changelog, &r.why), &r.why);
    reopen();
    assert_int_equal(look(position, &done), 2);
    assert_false(done);
    assert_int_equal(list[0].state, CUTOFF_CONFIRMED); /* what the copy knew is still so */
    assert_int_equal(list[1].state, CUTOFF_WAITING);
    cutoffs_seen(cutoffs, &b);
    reopen();
    assert_false(is_done(position));
    settle(&b, position);
    assert_true(is_done(position));
}

static uint64_t heard_too_much(void)
{
    struct cutoffs_status status;
    cutoffs_status(cutoffs, &status);
    return status.heard_too_much;
}

/* The whole machine was put back, the redo log with the database: only edges can tell. */
static void test_an_edge_that_has_heard_more_ends_the_epoch(void **state)
{
    struct pl_id128 before, after;
    bool done;
    for (int by_settling = 0; by_settling < 2; by_settling++) {
        cutoffs_seen(cutoffs, &a);
        uint64_t position = announce();
        settle(&a, position);
        settle(&b, position);
        assert_true(is_done(position));
        reopen();
        before = epoch;
        if (by_settling)
            settle(&a, position + 5);
        else
            cutoffs_heard(cutoffs, &epoch, position + 5);
        assert_int_equal(heard_too_much(), 5);
        changelog_epoch(changelog, &epoch);
        assert_false(pl_id128_eq(&before, &epoch));
        /* What edges said may have been of other changes, and any of them may hold something. */
        assert_int_equal(look(position, &done), 2);
        assert_false(done);
        cutoffs_settled(cutoffs, &a, &before, position);
        cutoffs_settled(cutoffs, &b, &before, position);
        assert_false(is_done(position));
        /* Nobody can have heard more of the new one. */
        settle(&a, position + 5);
        cutoffs_heard(cutoffs, &epoch, position + 5);
        changelog_epoch(changelog, &after);
        assert_true(pl_id128_eq(&after, &epoch));
        reopen();
        assert_true(pl_id128_eq(&after, &epoch));
        assert_int_equal(look(position, &done), 2);
        assert_false(done);
        settle(&a, position);
        settle(&b, position);
        assert_true(is_done(position));
        assert_int_equal(heard_too_much(), 0);
    }
    (void)state;
}

static void test_a_tombstone_is_a_cut_off(void **state)
{
    struct store_batch *batch;
    const struct catalog_item item = {.kind = CATALOG_TOMBSTONE, .account = 9};
    (void)state;
    uint64_t before = cutoffs_position(cutoffs);
    must(store_batch_new(&batch), &r.why);
    must(changelog_write(changelog, batch, &item, &r.why), &r.why);
    store_batch_free(batch);
    assert_int_equal(cutoffs_position(cutoffs), before + 1);
    reopen();
    assert_int_equal(cutoffs_position(cutoffs), before + 1);
    /* Of cut-offs only the newest is kept. */
    announce();
    size_t rows = count_rows(&r, FAMILY_CHANGES);
    announce();
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), rows);
    assert_int_equal(cutoffs_position(cutoffs), before + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_waits_for_those_that_may_hold_something),
        CASE(test_believes_only_what_can_be),
        CASE(test_a_restore_forgets_no_edge),
        CASE(test_an_edge_that_has_heard_more_ends_the_epoch),
        CASE(test_a_tombstone_is_a_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
