#include "replication/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BLOCKS 300000

/* Two chains, an earlier one and the live one, with blocks that say their chain and number. */
struct store {
    struct pl_id128 id[2];
    uint64_t next[2];
    bool listed[2];
    bool *settled[2];
    uint64_t rotten; /* of chain 0; UINT64_MAX: none */
    enum pl_err read_fails, verdict_fails;
    size_t verdicts, reads, lists, block_bytes;
    enum block_verdict last;
};

static enum pl_err list_chains(void *ctx, struct chain_claim *out, size_t max, size_t *count)
{
    struct store *s = ctx;
    s->lists++;
    *count = 0;
    for (size_t i = 0; i < 2 && *count < max; i++)
        if (s->listed[i])
            out[(*count)++] =
                (struct chain_claim){.incarnation = s->id[i], .next = s->next[i], .closed = i == 0};
    return PL_OK;
}

static enum pl_err read_block(void *ctx, const struct pl_id128 *incarnation, uint64_t *number,
                              struct pl_buf *out, struct block_loss *loss)
{
    struct store *s = ctx;
    size_t c = pl_id128_eq(incarnation, &s->id[1]);
    s->reads++;
    if (s->read_fails != PL_OK)
        return s->read_fails;
    while (*number < s->next[c] && s->settled[c][*number])
        ++*number;
    if (*number >= s->next[c])
        return PL_ENOTFOUND;
    if (c == 0 && *number == s->rotten) {
        *loss = (struct block_loss){.number = *number, .events = 9};
        return PL_ECORRUPT;
    }
    assert_int_equal(pl_buf_reserve(out, s->block_bytes), PL_OK);
    memset(out->data, 0, s->block_bytes);
    out->len = s->block_bytes;
    out->data[0] = (uint8_t)c;
    pl_store_u64(out->data + 1, *number);
    return PL_OK;
}

static enum pl_err give_verdict(void *ctx, const struct pl_id128 *incarnation, uint64_t number,
                                enum block_verdict verdict)
{
    struct store *s = ctx;
    size_t c = pl_id128_eq(incarnation, &s->id[1]);
    if (s->verdict_fails != PL_OK)
        return s->verdict_fails;
    assert_false(s->settled[c][number]); /* each block once */
    s->settled[c][number] = true;
    s->verdicts++;
    s->last = verdict;
    return PL_OK;
}

struct rig {
    struct store store;
    struct uplink_source source;
    struct pl_log log;
    struct backlog *b;
    struct pl_buf frame;
};

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    r->store = (struct store){.id = {{{1}}, {{2}}},
                              .next = {4, 3},
                              .listed = {true, true},
                              .rotten = UINT64_MAX,
                              .block_bytes = 100};
    for (size_t i = 0; i < 2; i++)
        r->store.settled[i] = calloc(BLOCKS, sizeof(bool));
    r->source = (struct uplink_source){
        .ctx = &r->store, .chains = list_chains, .read = read_block, .verdict = give_verdict};
    r->log.fd = -1;
    r->b = calloc(1, sizeof(*r->b));
    backlog_init(r->b, &r->source, &r->log);
    pl_buf_init(&r->frame, LIMIT_FRAME_BYTES);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    backlog_release(r->b);
    pl_buf_release(&r->frame);
    free(r->b);
    free(r->store.settled[0]);
    free(r->store.settled[1]);
    free(r);
    return 0;
}

/* Takes what is on offer and says which it was: chain * 1000000 + number; -1: nothing. */
static long take(struct rig *r, int64_t now_ms, struct backlog_entry *entry)
{
    if (!backlog_offer(r->b, now_ms))
        return -1;
    pl_buf_reset(&r->frame);
    assert_int_equal(frame_put_blocks(&r->frame), PL_OK);
    assert_int_equal(backlog_take(r->b, &r->frame, entry), PL_OK);
    struct frame f;
    assert_int_equal(frame_parse(pl_buf_span(&r->frame), &f, NULL), PL_OK);
    struct frame_entry e;
    assert_true(frame_entry_next(&f.entry_bytes, &e));
    assert_int_equal(entry->loss, e.block.len == 0);
    if (e.block.len == 0) {
        assert_int_equal(e.loss.number, entry->number);
        assert_memory_equal(&e.loss.incarnation, &r->store.id[0], 16);
        return (long)e.loss.number;
    }
    return e.block.data[0] * 1000000L + (long)pl_load_u64(e.block.data + 1);
}

static void oldest_chain_first_and_nothing_twice(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e[8];
    static const long expected[] = {0, 1, 2, 3, 1000000, 1000001, 1000002, -1};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(take(r, 0, &e[i]), expected[i]);
    assert_int_equal(r->b->out_count, 7);
    assert_int_equal(r->b->out_bytes, 7 * (100 + FRAME_BLOCK_HEAD_BYTES + BACKLOG_ENTRY_BYTES));
    assert_false(backlog_settled(r->b));
    for (size_t i = 7; i-- > 0;) /* in any order */
        backlog_settle(r->b, &e[i], i == 3 ? BLOCK_REPEAT : BLOCK_STORED, 0);
    assert_int_equal(r->store.verdicts, 7);
    assert_int_equal(r->b->acked, 7);
    assert_int_equal(r->b->repeats, 1);
    assert_int_equal(r->b->out_bytes, 0);
    assert_true(backlog_settled(r->b));
}

static void an_idle_source_is_left_alone_until_woken(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e;
    while (take(r, 0, &e) >= 0)
        backlog_settle(r->b, &e, BLOCK_STORED, 0);
    size_t reads = r->store.reads;
    assert_int_equal(take(r, 0, &e), -1);
    assert_int_equal(take(r, 10000, &e), -1);
    assert_int_equal(r->store.reads, reads);
    assert_int_equal(backlog_due_ms(r->b), -1);
    r->store.next[1]++;
    backlog_wake(r->b);
    assert_int_equal(take(r, 0, &e), 1000003);
}

static void a_chain_opened_later_is_found(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e;
    r->store.listed[1] = false;
    while (take(r, 0, &e) >= 0)
        backlog_settle(r->b, &e, BLOCK_STORED, 0);
    assert_int_equal(r->b->acked, 4);
    r->store.listed[1] = true;
    backlog_wake(r->b);
    assert_int_equal(take(r, 0, &e), 1000000);
}

static void a_retry_waits_goes_first_and_keeps_its_share(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e, f;
    assert_int_equal(take(r, 0, &e), 0);
    size_t bytes = r->b->out_bytes;
    backlog_settle(r->b, &e, BLOCK_RETRY, 1000);
    assert_int_equal(r->b->out_bytes, bytes);
    assert_int_equal(r->store.verdicts, 0);
    assert_int_equal(take(r, 1000, &f), 1); /* others go on meanwhile */
    int64_t due_ms = backlog_due_ms(r->b);
    assert_in_range(due_ms, 1001, 2000);
    assert_int_equal(take(r, due_ms, &e), 0);
    assert_int_equal(r->b->out_bytes, 2 * bytes);

    backlog_settle(r->b, &e, BLOCK_RETRY, due_ms); /* the second time takes longer */
    int64_t second_ms = backlog_due_ms(r->b) - due_ms;
    assert_true(second_ms > due_ms - 1000);
    assert_int_equal(take(r, due_ms + second_ms, &e), 0);
    backlog_settle(r->b, &e, BLOCK_STORED, due_ms);
    backlog_settle(r->b, &f, BLOCK_STORED, due_ms);
    assert_int_equal(r->b->out_bytes, 0);
}

static void a_retry_settled_otherwise_is_forgotten(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e;
    assert_int_equal(take(r, 0, &e), 0);
    backlog_settle(r->b, &e, BLOCK_RETRY, 0);
    r->store.settled[0][0] = true;
    assert_int_equal(take(r, 100000, &e), 1);
    backlog_settle(r->b, &e, BLOCK_STORED, 0);
    assert_int_equal(r->b->out_bytes, 0);
}

static void a_lost_pipe_replays_what_has_no_verdict(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e[7], f;
    for (size_t i = 0; i < 7; i++)
        take(r, 0, &e[i]);
    backlog_settle(r->b, &e[1], BLOCK_STORED, 0);
    backlog_settle(r->b, &e[2], BLOCK_RETRY, 0);
    for (size_t i = 0; i < 7; i++) {
        if (i == 1 || i == 2)
            continue;
        if (i == 6)
            backlog_settle(r->b, &e[i], BLOCK_STORED, 0); /* a verdict may still come through */
        else
            backlog_lose(r->b, &e[i]);
        if (i < 6)
            assert_int_equal(take(r, 100000, &f), -1); /* not while any is out */
    }
    static const long expected[] = {0, 2, 3, 1000000, 1000001, -1};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(take(r, 1, &e[i]), expected[i]);
    for (size_t i = 0; i < 5; i++)
        backlog_settle(r->b, &e[i], BLOCK_STORED, 1);
    assert_int_equal(r->store.verdicts, 7);
    assert_true(backlog_settled(r->b));
    assert_int_equal(r->b->out_bytes, 0);
}

static void rot_is_declared_and_the_rest_flows(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e;
    r->store.rotten = 1;
    assert_int_equal(take(r, 0, &e), 0);
    assert_int_equal(take(r, 0, &e), 1);
    assert_true(e.loss);
    backlog_settle(r->b, &e, BLOCK_STORED, 0);
    assert_int_equal(r->b->losses, 1);
    assert_int_equal(r->b->acked, 0);
    assert_int_equal(take(r, 0, &e), 2);
    assert_false(e.loss);
}

static void a_failing_source_is_asked_again_later(void **state)
{
    struct rig *r = *state;
    struct backlog_entry e;
    r->store.read_fails = PL_EIO;
    assert_int_equal(take(r, 1000, &e), -1);
    size_t reads = r->store.reads;
    assert_int_equal(take(r, 1001, &e), -1);
    assert_int_equal(r->store.reads, reads);
    assert_false(backlog_settled(r->b));
    int64_t due_ms = backlog_due_ms(r->b);
    assert_in_range(due_ms, 1001, 10000);
    r->store.read_fails = PL_OK;
    assert_int_equal(take(r, due_ms, &e), 0);

    r->store.verdict_fails = PL_ENOSPC; /* it was stored, but we could not note that */
    backlog_settle(r->b, &e, BLOCK_STORED, due_ms);
    r->store.verdict_fails = PL_OK;
    assert_int_equal(take(r, due_ms + 10000, &e), 0);
    backlog_settle(r->b, &e, BLOCK_REPEAT, due_ms);
    assert_int_equal(r->store.last, BLOCK_REPEAT);
}

/* Many small blocks told to retry in many rounds: order kept, accounts even, time linear. */
static void many_retries(void **state)
{
    struct rig *r = *state;
    enum { N = BLOCKS };
    struct backlog_entry *e = calloc(N, sizeof(*e));
    r->store.next[0] = 0;
    r->store.next[1] = N;
    r->store.block_bytes = 9;
    int64_t now_ms = 0;
    for (size_t i = 0; i < N; i++)
        assert_int_equal(take(r, now_ms, &e[i]), 1000000 + (long)i);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++)
            backlog_settle(r->b, &e[i], BLOCK_RETRY, now_ms);
        now_ms += 100000;
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(take(r, now_ms, &e[i]), 1000000 + (long)i);
            if (i % 3 == 0) /* mixed with new ones that come and go */
                backlog_settle(r->b, &e[i], BLOCK_RETRY, now_ms);
        }
        now_ms += 100000;
        for (size_t i = 0; i < N; i += 3)
            assert_int_equal(take(r, now_ms, &e[i]), 1000000 + (long)i);
    }
    for (size_t i = 0; i < N; i++)
        backlog_settle(r->b, &e[i], BLOCK_STORED, now_ms);
    assert_int_equal(r->b->out_bytes, 0);
    assert_int_equal(r->store.verdicts, N);
    free(e);
}

#define WITH_RIG(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(oldest_chain_first_and_nothing_twice),
        WITH_RIG(an_idle_source_is_left_alone_until_woken),
        WITH_RIG(a_chain_opened_later_is_found),
        WITH_RIG(a_retry_waits_goes_first_and_keeps_its_share),
        WITH_RIG(a_retry_settled_otherwise_is_forgotten),
        WITH_RIG(a_lost_pipe_replays_what_has_no_verdict),
        WITH_RIG(rot_is_declared_and_the_rest_flows),
        WITH_RIG(a_failing_source_is_asked_again_later),
        WITH_RIG(many_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
