/* A ledger that may be closed and opened again, blocks that follow each other, and a clock that
 * the test sets. */
#ifndef POLDER_TESTS_ORIGIN_LEDGER_TEST_H
#define POLDER_TESTS_ORIGIN_LEDGER_TEST_H

#include "origin/intake/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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

static inline int64_t now(void *ctx)
{
    return ((struct test *)ctx)->now_ms;
}

static inline void open_all(struct test *t)
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

static inline void close_all(struct test *t)
{
    ledger_free(t->ledger);
    store_close(t->store);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
static inline struct ledger_block *block(struct test *t, uint64_t number)
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

static inline enum block_verdict check(struct test *t, const struct ledger_block *b)
{
    enum block_verdict verdict;
    struct pl_why why;
    assert_int_equal(ledger_check(t->ledger, b, &verdict, &why), PL_OK);
    return verdict;
}

static inline void commit(struct test *t)
{
    assert_int_equal(ledger_write(t->ledger, t->batch), PL_OK);
    assert_int_equal(store_write(t->store, t->batch, true, NULL), PL_OK);
    store_batch_clear(t->batch);
    ledger_commit(t->ledger);
}

static inline void record(struct test *t, uint64_t number)
{
    struct ledger_block *b = block(t, number);
    assert_int_equal(check(t, b), BLOCK_STORED);
    assert_int_equal(ledger_stage(t->ledger, b), PL_OK);
    commit(t);
}

static inline struct chain_record books(struct test *t)
{
    struct chain_claim claim = {.incarnation = t->incarnation};
    struct chain_record r;
    ledger_books(t->ledger, &t->edge, &claim, 1, &r);
    return r;
}

static inline void lose(struct test *t, uint64_t acked, uint64_t events)
{
    const struct chain_claim claim = {
        .incarnation = t->incarnation, .acked = acked, .next = acked, .acked_events = events};
    ledger_lose(t->ledger, &t->edge, &claim);
    assert_int_equal(ledger_book_losses(t->ledger, NULL), PL_OK);
}

static inline void tell(struct test *t, const struct pl_id128 *named)
{
    struct chain_claim claim = {.incarnation = *named};
    struct chain_record record;
    ledger_books(t->ledger, &t->edge, &claim, 1, &record);
}

static inline size_t rows(struct test *t, unsigned family)
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
