/* The redo log and a database that refuses: what was not made is not made by a restore, either. */
#include "redo_fixture.h"

static const char *const rows[] = {"", "one", "two", "three"};

/* Puts row i of the tokens by redo_make, or fails to. */
static enum pl_err make(struct fixture *f, uint8_t i, enum redo_kind kind,
                        enum pl_err (*write)(void *ctx, struct pl_why *why))
{
    uint8_t key[1] = {i};
    const struct redo_change change = {
        .record = {.kind = kind, .id = {.bytes = {i}}, .row = pl_span_str(rows[i])},
        .store = f->r.store,
        .family = FAMILY_TOKENS,
        .key = pl_span(key, sizeof(key)),
        .row = pl_span_str(rows[i]),
        .write = write,
        .ctx = f,
    };
    return redo_make(f->redo, &change, &f->r.why);
}

static bool is_there(struct fixture *f, uint8_t i)
{
    uint8_t key[1] = {i};
    struct pl_buf row;
    pl_buf_init(&row, 64);
    const bool there =
        store_get(f->r.store, FAMILY_TOKENS, pl_span(key, sizeof(key)), &row) == PL_OK &&
        pl_span_eq_str(pl_buf_span(&row), rows[i]);
    pl_buf_release(&row);
    return there;
}

static enum pl_err fail_write(void *ctx, struct pl_why *why)
{
    (void)ctx;
    return pl_fail(why, PL_EIO, "the disk");
}

/* The database fails for good, until it is recovered, in the middle of a write. */
static enum pl_err fail_store(void *ctx, struct pl_why *why)
{
    struct fixture *f = ctx;
    records_disk(false);
    enum pl_err err =
        store_put(f->r.store, FAMILY_TOKENS, PL_SPAN_LIT("\1"), PL_SPAN_LIT("one"), true, why);
    records_disk(true);
    return err;
}

/* As a write that RocksDB has kept although it said that it failed. */
static enum pl_err fail_but_write(void *ctx, struct pl_why *why)
{
    struct fixture *f = ctx;
    must(store_put(f->r.store, FAMILY_TOKENS, PL_SPAN_LIT("\1"), PL_SPAN_LIT("one"), true, why),
         why);
    return pl_fail(why, PL_EIO, "the disk");
}

static uint64_t lines(struct fixture *f)
{
    struct redo_status status;
    redo_status(f->redo, &status);
    return status.journal.lines;
}

static void assert_replayed(struct fixture *f, size_t count, uint8_t first)
{
    restore_store(f);
    assert_true(start(f));
    assert_int_equal(f->seen_count, count);
    if (count > 0)
        assert_int_equal(f->seen[0].id.bytes[0], first);
}

/* ---- */

static void a_change_is_noted_and_made(void **state)
{
    struct fixture *f = *state;
    start(f);
    copy_store(f);
    must(make(f, 1, REDO_TOKEN, NULL), &f->r.why);
    assert_true(is_there(f, 1));
    stop(f);
    assert_replayed(f, 1, 1);
}

static void what_was_refused_is_not_made_by_a_restore(void **state)
{
    struct fixture *f = *state;
    start(f);
    copy_store(f);
    assert_int_equal(make(f, 1, REDO_HOLD, fail_write), PL_EIO);
    must(make(f, 2, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, 1, 2);
}

/* Refused by a database that takes nothing more: it is withdrawn when it does again, and nothing is
 * noted before that. */
static void it_is_withdrawn_once_the_database_can_be_asked(void **state)
{
    struct fixture *f = *state;
    start(f);
    copy_store(f);
    assert_int_not_equal(make(f, 1, REDO_HOLD, fail_store), PL_OK);
    const uint64_t before = lines(f);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(make(f, 2, REDO_HOLD, NULL), PL_OK);
        f->r.now_ms += REDO_PULSE_MS;
        redo_pulse(f->redo, 0, 0);
    }
    assert_int_equal(lines(f), before);
    records_recover(&f->r);
    redo_pulse(f->redo, 0, 0);
    assert_in_range(lines(f), before + 1, before + 2);
    must(make(f, 3, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, is_there(f, 1) ? 2 : 1, is_there(f, 1) ? 1 : 3);
}

static void what_turned_up_after_all_stays(void **state)
{
    struct fixture *f = *state;
    start(f);
    copy_store(f);
    assert_int_equal(make(f, 1, REDO_HOLD, fail_but_write), PL_EIO);
    assert_true(is_there(f, 1));
    must(make(f, 2, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, 2, 1);
}

/* The log takes no withdrawal: nothing else is noted or made before it does. */
static void a_withdrawal_that_fails_is_tried_again_first(void **state)
{
    struct fixture *f = *state;
    char aside[128];
    start(f);
    copy_store(f);
    snprintf(aside, sizeof(aside), "%s.aside", f->paths[1]);
    /* between note and withdrawal the second path goes away */
    assert_int_not_equal(make(f, 1, REDO_HOLD, fail_store), PL_OK);
    records_recover(&f->r);
    if (is_there(f, 1))
        skip();
    assert_int_equal(rename(f->paths[1], aside), 0);
    assert_int_not_equal(make(f, 2, REDO_HOLD, NULL), PL_OK);
    assert_false(is_there(f, 2));
    assert_int_equal(rename(aside, f->paths[1]), 0);
    must(make(f, 2, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, 1, 2);
}

/* Its mark is put right, so that a crash soon after is not taken for a restore. */
static void a_database_that_recovered_is_not_taken_for_a_restored_one(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_not_equal(make(f, 1, REDO_HOLD, fail_store), PL_OK);
    records_recover(&f->r);
    redo_pulse(f->redo, 0, 0);
    crash(f);
    restart_store(f);
    assert_false(start(f));
}

static void an_erasure_that_was_refused_is_withdrawn_too(void **state)
{
    struct fixture *f = *state;
    uint8_t key[24] = {0, 0, 0, 0, 0, 0, 0, 9, 5};
    start(f);
    copy_store(f);
    assert_int_equal(redo_make_erasure(f->redo, pl_span(key, sizeof(key)), PL_SPAN_LIT("whom"),
                                       fail_write, NULL, &f->r.why),
                     PL_EIO);
    must(make(f, 2, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, 1, 2);
}

static void many_are_withdrawn(void **state)
{
    struct fixture *f = *state;
    start(f);
    copy_store(f);
    for (int i = 0; i < 200; i++)
        assert_int_equal(make(f, 1, REDO_HOLD, fail_write), PL_EIO);
    must(make(f, 2, REDO_HOLD, NULL), &f->r.why);
    stop(f);
    assert_replayed(f, 1, 2);
}

/* As when the disk is full, and somebody stops the origin to make room. */
static void a_pulse_that_the_database_would_not_learn_of_is_left_out(void **state)
{
    struct fixture *f = *state;
    start(f);
    (void)fail_store(f, &f->r.why);
    const uint64_t before = lines(f);
    f->r.now_ms += REDO_PULSE_MS;
    redo_pulse(f->redo, 1, 0);
    assert_int_equal(lines(f), before);
    stop(f);
    restart_store(f);
    assert_false(start(f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_is_noted_and_made, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_refused_is_not_made_by_a_restore, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_withdrawn_once_the_database_can_be_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_turned_up_after_all_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_withdrawal_that_fails_is_tried_again_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_database_that_recovered_is_not_taken_for_a_restored_one,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_pulse_that_the_database_would_not_learn_of_is_left_out,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_erasure_that_was_refused_is_withdrawn_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(many_are_withdrawn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
