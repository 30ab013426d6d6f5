#include "records_fixture.h"

#include "origin/intake/books.h"

static struct records r;
static struct ledger *ledger;
static struct books *books;
static const struct pl_id128 EDGE = {{1}}, CHAIN = {{2}}, OTHER_CHAIN = {{3}};

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    struct ledger_config config = {.store = r.store, .clock = &r.clock, .log = &r.f.silent};
    must(ledger_new(&ledger, &config, &r.why), &r.why);
    must(books_new(&books, ledger, NULL, &r.clock, &r.f.silent, &r.why), &r.why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    books_free(books);
    ledger_free(ledger);
    records_release(&r);
    return 0;
}

static void hash_of_block(uint64_t number, uint8_t hash[BLOCK_HASH_BYTES])
{
    memset(hash, 0, BLOCK_HASH_BYTES);
    pl_store_u64(hash, number + 1);
}

/* Block n of CHAIN holds n + 1 events, all stored. */
static void record(uint64_t number)
{
    enum block_verdict verdict;
    struct store_batch *batch;
    struct ledger_block block = {.edge = EDGE, .incarnation = CHAIN, .number = number};
    hash_of_block(number, block.hash);
    if (number > 0)
        hash_of_block(number - 1, block.previous_hash);
    block.events_header = (uint32_t)number + 1;
    block.counts = (struct ledger_counts){.blocks = 1, .events = number + 1, .stored = number + 1};
    must(ledger_check(ledger, &block, &verdict, &r.why), &r.why);
    assert_int_equal(verdict, BLOCK_STORED);
    must(ledger_stage(ledger, &block), &r.why);
    must(store_batch_new(&batch), &r.why);
    must(ledger_write(ledger, batch), &r.why);
    must(store_write(r.store, batch, true, &r.why), &r.why);
    ledger_commit(ledger);
    store_batch_free(batch);
}

static uint64_t events_below(uint64_t number)
{
    return number * (number + 1) / 2;
}

static struct books_edge claim(uint64_t acked, uint64_t acked_events, uint64_t next)
{
    struct chain_claim claims[] = {
        {.incarnation = CHAIN, .acked = acked, .acked_events = acked_events, .next = next}};
    struct chain_record records[1];
    struct books_edge edge;
    assert_int_equal(books_answer(books, &EDGE, claims, 1, records), PL_OK);
    books_edge(books, &EDGE, &edge);
    return edge;
}

static void test_books_that_agree_balance(void **state)
{
    (void)state;
    struct books_edge edge = claim(0, 0, 3);
    assert_true(edge.balanced);
    assert_int_equal(edge.pending_blocks, 3);
    for (uint64_t n = 0; n < 10; n++)
        record(n);
    /* Acks that the edge has not heard of yet are not held against it. */
    for (uint64_t acked = 0; acked <= 10; acked++) {
        edge = claim(acked, events_below(acked), 12);
        assert_true(edge.balanced);
        assert_int_equal(edge.pending_blocks, 2);
    }
}

static void test_a_wrong_count_is_found_wherever_the_edge_stands(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 10; n++)
        record(n);
    for (uint64_t acked = 1; acked <= 10; acked++) {
        assert_false(claim(acked, events_below(acked) + 1, 10).balanced);
        assert_true(claim(acked, events_below(acked), 10).balanced);
        assert_false(claim(acked, events_below(acked) - 1, 10).balanced);
        assert_true(claim(acked, events_below(acked), 10).balanced);
    }
}

static void test_an_origin_that_forgot_is_told(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 4; n++)
        record(n);
    struct books_edge edge = claim(6, events_below(6), 6);
    assert_false(edge.balanced);
    assert_non_null(strstr(edge.reason, "restored"));
    assert_non_null(
        strstr(edge.reason, "of which 2 (4 to 5) with 11 events are not recorded here"));
    assert_int_equal(edge.loss_count, 1);
    assert_true(pl_id128_eq(&edge.losses[0].incarnation, &CHAIN));
    assert_int_equal(edge.losses[0].first, 4);
    assert_int_equal(edge.losses[0].last, 5);
    assert_int_equal(edge.losses[0].events, 11);
    /* They are not on their way, and what comes behind them is. */
    assert_int_equal(edge.pending_blocks, 0);
    assert_int_equal(claim(6, events_below(6), 9).pending_blocks, 3);
    record(6);
    record(7);
    edge = claim(8, events_below(8), 8);
    assert_int_equal(edge.losses[0].first, 4);
    assert_int_equal(edge.losses[0].last, 5);
    assert_int_equal(edge.losses[0].blocks, 2);
    assert_int_equal(edge.losses[0].events, 11);
    record(4);
    record(5);
    edge = claim(8, events_below(8), 8);
    assert_true(edge.balanced);
    assert_int_equal(edge.loss_count, 0);
}

static struct ledger_chain booked(void)
{
    struct ledger_chain chain = {.last_ms = 0};
    must(ledger_book_losses(ledger, &r.why), &r.why);
    ledger_chains(ledger, &chain, 1);
    return chain;
}

static void test_what_is_lost_is_booked_and_balances(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 4; n++)
        record(n);
    record(6);
    assert_false(claim(6, events_below(6), 7).balanced);
    const struct ledger_chain chain = booked();
    assert_true(chain.loss.first == 4 && chain.loss.last == 5 && chain.loss.blocks == 2);
    assert_true(chain.loss.events == 11 && chain.record.contiguous == 7);
    for (uint64_t acked = 6; acked < 8; acked++) {
        struct books_edge edge = claim(acked, events_below(acked), 7);
        assert_true(edge.balanced);
        assert_int_equal(edge.loss_count, 0);
    }
    assert_false(claim(7, events_below(7) - 1, 7).balanced);
    /* One of them comes after all, in place of its share of what was lost. */
    record(4);
    assert_true(claim(7, events_below(7), 7).balanced);
    assert_int_equal(booked().loss.events, 6);
}

/* What is booked is in the audit log, up to the mark that stands there; an edge that loses without
 * end does not fill it. */
static void test_losses_are_audited_and_few(void **state)
{
    struct audit *audit;
    uint64_t lines;
    uint8_t hash[PL_SHA256_BYTES];
    char path[96];
    const char *const paths[] = {path};
    const struct audit_config config = {.paths = paths,
                                        .path_count = 1,
                                        .create = true,
                                        .max_bytes = 1u << 20,
                                        .clock = &r.clock,
                                        .log = &r.f.silent};
    (void)state;
    snprintf(path, sizeof(path), "%s/journal", r.f.dir);
    must(audit_open(&audit, &config, &r.why), &r.why);
    books_free(books);
    must(books_new(&books, ledger, audit, &r.clock, &r.f.silent, &r.why), &r.why);
    uint64_t acked = 0;
    for (int i = 0; i < 30; i++) {
        acked++;
        claim(acked, acked, acked);
        claim(acked + 100, acked + 100, acked + 100); /* not noted: not booked in this round */
        booked();
    }
    audit_head(audit, &lines, hash);
    assert_int_equal(lines, 8);
    assert_int_equal(booked().loss.blocks, 8);
    assert_false(claim(acked, acked, acked).balanced);
    r.now_ms += 10 * 60 * PL_SECOND_MS;
    claim(acked, acked, acked);
    assert_int_equal(booked().loss.blocks, acked);
    assert_true(claim(acked, acked, acked).balanced);
    books_free(books);
    audit_close(audit);
    must(books_new(&books, ledger, NULL, &r.clock, &r.f.silent, &r.why), &r.why);
}

static void test_a_hole_is_not_a_difference(void **state)
{
    (void)state;
    record(0);
    record(2);
    struct books_edge edge = claim(1, 1, 3);
    assert_true(edge.balanced);
    assert_int_equal(edge.pending_blocks, 2);
}

static void test_a_broken_chain_stays_broken_when_it_is_no_longer_named(void **state)
{
    (void)state;
    struct chain_claim other = {.incarnation = OTHER_CHAIN};
    struct chain_record answer;
    struct books_edge edge;
    record(0);
    assert_false(claim(1, 7, 1).balanced);
    assert_int_equal(books_answer(books, &EDGE, &other, 1, &answer), PL_OK);
    books_edge(books, &EDGE, &edge);
    assert_false(edge.balanced);
    assert_non_null(strstr(edge.reason, "7 events"));
}

static void test_a_fork_is_one_alarm_not_two(void **state)
{
    struct store_batch *batch;
    struct ledger_block other = {.edge = EDGE, .incarnation = CHAIN, .number = 1};
    (void)state;
    record(0);
    record(1);
    assert_false(claim(2, 9, 2).balanced);
    must(store_batch_new(&batch), &r.why);
    must(ledger_quarantine(ledger, batch, &other, LEDGER_FORK, pl_span(NULL, 0), "fork"), &r.why);
    store_batch_free(batch);
    assert_true(claim(2, 9, 2).balanced);
}

static void test_an_edge_enrolled_anew_balances(void **state)
{
    static const struct pl_id128 renewed = {{7}};
    struct chain_claim now = {.incarnation = CHAIN, .acked_events = events_below(3), .next = 3};
    struct chain_record answer;
    struct books_edge edge;
    (void)state;
    for (uint64_t n = 0; n < 3; n++)
        record(n);
    for (now.acked = 3; now.acked > 0; now.acked--) {
        now.acked_events = events_below(now.acked);
        assert_int_equal(books_answer(books, &renewed, &now, 1, &answer), PL_OK);
        assert_true(answer.contiguous == 3 && answer.events == events_below(3));
        books_edge(books, &renewed, &edge);
        assert_true(edge.balanced);
        assert_int_equal(edge.pending_blocks, 0);
    }
}

static void test_signs_of_life_are_remembered(void **state)
{
    struct books_edge edge;
    (void)state;
    books_edge(books, &EDGE, &edge);
    assert_int_equal(edge.heard_mono_ms, -1);
    assert_true(edge.balanced);
    books_session(books, &EDGE, true);
    r.now_ms += 1000;
    assert_int_equal(claim(0, 0, 0).heard_mono_ms, DAY_ONE_MS + 1000);
    r.now_ms += 1000;
    books_session(books, &EDGE, false);
    books_edge(books, &EDGE, &edge);
    assert_int_equal(edge.heard_mono_ms, DAY_ONE_MS + 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_books_that_agree_balance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_wrong_count_is_found_wherever_the_edge_stands, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_origin_that_forgot_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_lost_is_booked_and_balances, setup, teardown),
        cmocka_unit_test_setup_teardown(test_losses_are_audited_and_few, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_hole_is_not_a_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_broken_chain_stays_broken_when_it_is_no_longer_named,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fork_is_one_alarm_not_two, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_edge_enrolled_anew_balances, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signs_of_life_are_remembered, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
