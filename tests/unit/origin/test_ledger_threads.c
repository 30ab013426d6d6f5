/* What other threads ask of the ledger while its writer is at work. */
#include "records_fixture.h"

#include "origin/intake/ledger.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define BLOCKS           400
#define EVENTS_PER_BLOCK 3

static const struct pl_id128 EDGE = {{1}}, CHAIN = {{2}};

struct asker {
    struct ledger *ledger;
    atomic_bool stop;
    atomic_uint looks, wrong;
};

/* As the books do for each claim of an edge. */
static void *ask(void *arg)
{
    struct asker *a = arg;
    struct ledger_gap last = {.blocks = BLOCKS}, gap;
    while (!atomic_load(&a->stop)) {
        ledger_gap(a->ledger, &EDGE, &CHAIN, 0, BLOCKS, &gap);
        const uint64_t here = BLOCKS - gap.blocks;
        const bool ok = gap.blocks <= last.blocks && gap.events >= last.events &&
                        gap.events <= here * EVENTS_PER_BLOCK && gap.first == 0;
        atomic_fetch_add(&a->wrong, !ok);
        atomic_fetch_add_explicit(&a->looks, 1, memory_order_relaxed);
        last = gap;
    }
    return NULL;
}

/* Until it has looked once more. Relaxed, so that it is the ledger's lock alone that orders what
 * the two threads do, and ThreadSanitizer sees where there is none. */
static void await_look(struct asker *a)
{
    const unsigned before = atomic_load_explicit(&a->looks, memory_order_relaxed);
    while (atomic_load_explicit(&a->looks, memory_order_relaxed) - before < 2)
        sched_yield();
}

static void record(struct records *r, struct asker *asker, uint64_t number)
{
    enum block_verdict verdict;
    struct store_batch *batch;
    struct ledger_block block = {.edge = EDGE,
                                 .incarnation = CHAIN,
                                 .number = number,
                                 .hash = {(uint8_t)number, (uint8_t)(number >> 8), 1},
                                 .events_header = EVENTS_PER_BLOCK};
    if (number > 0)
        memcpy(block.previous_hash,
               (uint8_t[3]){(uint8_t)(number - 1), (uint8_t)((number - 1) >> 8), 1}, 3);
    must(ledger_check(asker->ledger, &block, &verdict, &r->why), &r->why);
    assert_int_equal(verdict, BLOCK_STORED);
    must(ledger_stage(asker->ledger, &block), &r->why);
    await_look(asker);
    block.counts =
        (struct ledger_counts){.blocks = 1, .events = EVENTS_PER_BLOCK, .stored = EVENTS_PER_BLOCK};
    must(store_batch_new(&batch), &r->why);
    must(ledger_write(asker->ledger, batch), &r->why);
    must(store_write(r->store, batch, false, &r->why), &r->why);
    ledger_commit(asker->ledger);
    store_batch_free(batch);
}

/* Above a hole, where each look goes through all that is there. */
static void a_gap_is_told_while_blocks_are_written(void **state)
{
    (void)state;
    struct records r;
    struct asker asker = {.stop = false};
    struct ledger_gap gap;
    pthread_t thread;
    records_init(&r);
    struct ledger_config config = {.store = r.store, .clock = &r.clock, .log = &r.f.silent};
    must(ledger_new(&asker.ledger, &config, &r.why), &r.why);
    assert_int_equal(pthread_create(&thread, NULL, ask, &asker), 0);
    for (uint64_t number = 1; number < BLOCKS; number++)
        record(&r, &asker, number);
    atomic_store(&asker.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&asker.wrong), 0);
    ledger_gap(asker.ledger, &EDGE, &CHAIN, 0, BLOCKS, &gap);
    assert_int_equal(gap.blocks, 1);
    assert_int_equal(gap.events, (BLOCKS - 1) * EVENTS_PER_BLOCK);
    ledger_free(asker.ledger);
    records_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_told_while_blocks_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
