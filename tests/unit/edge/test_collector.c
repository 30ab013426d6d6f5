#include "tests/unit/edge/collector_fixture.h"

static void test_everything_arrives_once(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct collector_stats stats;
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 4000, 3, EVENT_BYTES);
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    collector_stats(w.collector, &stats);
    world_stop(&w);
    check_all(&w, true);
    assert_int_equal(stats.requests, LANES * 4000);
    assert_int_equal(stats.events, LANES * 4000 * 3);
    assert_int_equal(stats.failed_rounds, 0);
    assert_true(stats.rounds < LANES * 4000 / 4); /* commits are shared */
    assert_int_equal(atomic_load(&w.told_events), LANES * 4000 * 3);
    world_close(&w);
}

static void test_large_rounds_make_several_blocks(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 8 << 20, UINT64_MAX / 2, f->origin_public);
    /* 60 requests of 20 events of 20 KB that do not compress, in each lane. */
    world_plan(&w, 60, 20, 20000);
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    world_stop(&w);
    const unsigned blocks = check_all(&w, true);
    assert_true(blocks >= LANES * 60 * 20 * 20000 / LIMIT_BLOCK_BYTES);
    world_close(&w);
}

static void test_a_full_lane_says_so(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 64 * 1024, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 3000, 10, 1000); /* six requests fill a lane */
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    world_stop(&w);
    check_all(&w, true);
    assert_true(w.producers[0].busy + w.producers[1].busy > 0);
    world_close(&w);
}

static void wait_for(const atomic_uint *count, unsigned least)
{
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 30000;
    while (atomic_load(count) < least && pl_mono_ms(pl_clock_system()) < end_ms)
        usleep(1000);
    assert_true(atomic_load(count) >= least);
}

static void test_nothing_is_taken_before_the_key_is_known(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct pl_why why;
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, NULL);
    world_plan(&w, 100, 1, EVENT_BYTES);
    assert_int_equal(collector_health(w.collector, &why), PL_ECLOSED);
    world_serve(&w);
    wait_for(&w.producers[0].refused, 1);
    collector_set_origin(w.collector, f->origin_public);
    assert_true(wait_finished(&w, 30000));
    world_stop(&w);
    check_all(&w, true);
    world_close(&w);
}

/* One more request of lane 0; its events are durable on return. */
static void send_another(struct world *w)
{
    struct producer *p = &w->producers[0];
    atomic_store(&p->finished, false);
    p->count++;
    http_loop_post(p->loop, &p->task);
    assert_true(wait_finished(w, 30000));
}

/* The epochs of the live chain's blocks: how many follow one another. */
static unsigned count_epochs(struct world *w)
{
    struct uplink_source source = spool_source(w->spool);
    struct chain_claim claim;
    struct block_header header = {0};
    struct block_loss loss;
    struct pl_buf block;
    struct pl_span body;
    uint8_t enc[HPKE_ENC_BYTES] = {0};
    unsigned epochs = 0;
    size_t count;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    assert_int_equal(source.chains(source.ctx, &claim, 1, &count), PL_OK);
    for (uint64_t number = 0;
         source.read(source.ctx, &claim.incarnation, &number, &block, &loss) == PL_OK; number++) {
        assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
        epochs += memcmp(header.enc, enc, sizeof(enc)) != 0;
        memcpy(enc, header.enc, sizeof(enc));
        pl_buf_reset(&block);
    }
    pl_buf_release(&block);
    return epochs;
}

/* The committer's tick wipes the key of an epoch whose time is up, though nothing is sealed. */
static void test_an_idle_edge_lets_its_epoch_go(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 1, 1, EVENT_BYTES);
    world_serve(&w);
    assert_true(wait_finished(&w, 30000));
    send_another(&w);
    assert_int_equal(count_epochs(&w), 1);

    atomic_store(&w.jump_ms, 10 * PL_MINUTE_MS);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 10000;
    while (atomic_load(&w.reads_after_jump) == 0 && pl_mono_ms(pl_clock_system()) < end_ms)
        usleep(1000);
    assert_true(atomic_load(&w.reads_after_jump) > 0);
    atomic_store(&w.jump_ms, 0); /* so that only the tick can have ended it */
    send_another(&w);
    assert_int_equal(count_epochs(&w), 2);
    world_stop(&w);
    check_all(&w, true);
    world_close(&w);
}

static void test_stopping_hands_everything_back(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 0xffff, 1, EVENT_BYTES);
    world_serve(&w);
    for (unsigned i = 0; i < LANES; i++)
        wait_for(&w.producers[i].sent, 500);
    world_stop(&w); /* in full flow: what is out must come back, durable */
    check_all(&w, true);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_arrives_once),
        TEST(test_large_rounds_make_several_blocks),
        TEST(test_a_full_lane_says_so),
        TEST(test_nothing_is_taken_before_the_key_is_known),
        TEST(test_an_idle_edge_lets_its_epoch_go),
        TEST(test_stopping_hands_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
