/* The vault: takes frames, at once or by a thread of its own, in any order. */
#ifndef POLDER_TESTS_REPLICATION_SCRIPTED_VAULT_H
#define POLDER_TESTS_REPLICATION_SCRIPTED_VAULT_H

#include "tests/unit/replication/scripted_spool.h"

#include "replication/receiver.h"

enum vault_mode {
    VAULT_AT_ONCE,
    VAULT_REVERSED, /* a thread answers what has gathered, last first */
    VAULT_HELD,     /* until let go */
};

struct vault {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    enum vault_mode mode;
    struct receiver_frame *held[4096];
    size_t held_count, held_peak;
    size_t held_bytes, held_bytes_peak;

    struct pl_id128 id[64]; /* chains met */
    uint8_t *seen[64];      /* 1: stored; one slot per number */
    uint64_t cap[64];
    size_t chains;
    uint64_t stored, repeats, losses, bad_bytes;
    uint64_t fork_number, retry_every, retried; /* 0: off */
    size_t block_bytes;

    struct pl_id128 epoch;
    uint64_t feed_items, feed_calls, books_calls;
    size_t feed_item_bytes;
    bool feed_broken; /* what it gives fits into no page */
    int64_t books_take_ms;
    int sessions_up, sessions_down;
    char region[16];
    struct frame_settled cutoff;

    struct pl_id128 edge; /* the one enrolled */
    bool any_edge;        /* or all of them, with its key */
    struct pl_buf edge_spki;
    bool revoked;
};

static inline uint8_t *vault_slot(struct vault *v, const struct pl_id128 *incarnation,
                                  uint64_t number)
{
    size_t i = 0;
    while (i < v->chains && !pl_id128_eq(&v->id[i], incarnation))
        i++;
    if (i == v->chains)
        v->id[v->chains++] = *incarnation;
    if (number >= v->cap[i]) {
        uint64_t cap = (number + 1) * 2;
        v->seen[i] = realloc(v->seen[i], cap);
        memset(v->seen[i] + v->cap[i], 0, cap - v->cap[i]);
        v->cap[i] = cap;
    }
    return &v->seen[i][number];
}

static inline enum block_verdict vault_judge(struct vault *v, struct pl_span block,
                                             const struct block_loss *loss)
{
    struct pl_id128 incarnation = loss->incarnation;
    uint64_t number = loss->number;
    if (block.len > 0) {
        memcpy(incarnation.bytes, block.data, 16);
        number = pl_load_u64(block.data + 16);
        for (size_t i = 24; i < block.len; i++)
            v->bad_bytes += block.data[i] != (uint8_t)(number * 31 + i);
    }
    uint8_t *slot = vault_slot(v, &incarnation, number);
    if (v->fork_number != 0 && number == v->fork_number)
        return BLOCK_FORK;
    if (v->retry_every != 0 && number % v->retry_every == 0 && *slot == 0) {
        *slot = 2; /* the next time it is taken */
        v->retried++;
        return BLOCK_RETRY;
    }
    if (*slot == 1) {
        v->repeats++;
        return BLOCK_REPEAT;
    }
    *slot = 1;
    v->losses += block.len == 0;
    v->stored += block.len > 0;
    return BLOCK_STORED;
}

static inline void vault_answer(struct vault *v, struct receiver_frame *frame)
{
    enum block_verdict verdicts[FRAME_ENTRIES_MAX];
    size_t count = receiver_frame_count(frame);
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < count; i++) {
        struct pl_span block;
        struct block_loss loss;
        assert_true(receiver_frame_entry(frame, i, &block, &loss));
        verdicts[i] = vault_judge(v, block, &loss);
    }
    pthread_mutex_unlock(&v->lock);
    receiver_frame_done(frame, verdicts);
}

static inline size_t frame_size(const struct receiver_frame *frame)
{
    size_t bytes = 0;
    for (size_t i = 0; i < receiver_frame_count(frame); i++) {
        struct pl_span block;
        struct block_loss loss;
        receiver_frame_entry(frame, i, &block, &loss);
        bytes += block.len;
    }
    return bytes;
}

static inline void vault_blocks(void *ctx, const struct pl_id128 *edge,
                                struct receiver_frame *frame)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    pthread_mutex_lock(&v->lock);
    bool at_once = v->mode == VAULT_AT_ONCE;
    if (!at_once) {
        v->held[v->held_count++] = frame;
        v->held_bytes += frame_size(frame);
        if (v->held_count > v->held_peak)
            v->held_peak = v->held_count;
        if (v->held_bytes > v->held_bytes_peak)
            v->held_bytes_peak = v->held_bytes;
        pthread_cond_signal(&v->changed);
    }
    pthread_mutex_unlock(&v->lock);
    if (at_once)
        vault_answer(v, frame);
}

static inline void *vault_run(void *arg)
{
    struct vault *v = arg;
    struct receiver_frame *mine[4096];
    pthread_mutex_lock(&v->lock);
    while (v->running || v->held_count > 0) {
        if (v->held_count == 0 || (v->mode == VAULT_HELD && v->running)) {
            pthread_cond_wait(&v->changed, &v->lock);
            continue;
        }
        size_t count = v->held_count;
        memcpy(mine, v->held, count * sizeof(mine[0]));
        v->held_count = v->held_bytes = 0;
        pthread_mutex_unlock(&v->lock);
        for (size_t i = count; i-- > 0;)
            vault_answer(v, mine[i]);
        pthread_mutex_lock(&v->lock);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static inline void vault_mode(struct vault *v, enum vault_mode mode)
{
    pthread_mutex_lock(&v->lock);
    v->mode = mode;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

static inline enum pl_err vault_edge_key(void *ctx, const struct pl_id128 *edge,
                                         struct pl_buf *spki)
{
    struct vault *v = ctx;
    if (!v->any_edge && !pl_id128_eq(edge, &v->edge))
        return PL_ENOTFOUND;
    pthread_mutex_lock(&v->lock);
    bool revoked = v->revoked;
    pthread_mutex_unlock(&v->lock);
    return revoked ? PL_EDENIED : pl_buf_append_span(spki, pl_buf_span(&v->edge_spki));
}

static inline enum pl_err vault_books(void *ctx, const struct pl_id128 *edge,
                                      const struct chain_claim *claims, size_t count,
                                      struct chain_record *records)
{
    struct vault *v = ctx;
    (void)edge;
    pthread_mutex_lock(&v->lock);
    int64_t take_ms = v->books_take_ms;
    v->books_calls++;
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct chain_record){.incarnation = claims[i].incarnation,
                                           .contiguous = claims[i].acked,
                                           .highest = claims[i].next,
                                           .events = claims[i].acked_events,
                                           .stored = claims[i].acked_events};
    }
    pthread_mutex_unlock(&v->lock);
    if (take_ms > 0)
        pass_ms((long)take_ms); /* a slow disk */
    return PL_OK;
}

/* Item n is position n. */
static inline enum pl_err vault_feed(void *ctx, struct pl_id128 *epoch, uint64_t *position,
                                     size_t max_bytes, struct pl_buf *items, bool *caught_up)
{
    struct vault *v = ctx;
    pthread_mutex_lock(&v->lock);
    v->feed_calls++;
    *epoch = v->epoch;
    enum pl_err err = *position < v->feed_items ? PL_OK : PL_ENOTFOUND;
    while (err == PL_OK && *position < v->feed_items &&
           items->len + 4 + v->feed_item_bytes <= max_bytes) {
        pl_buf_put_u32(items, (uint32_t)v->feed_item_bytes + v->feed_broken);
        for (size_t i = 0; i < v->feed_item_bytes; i++)
            pl_buf_put_u8(items, 'i');
        ++*position;
    }
    if (err == PL_OK)
        *caught_up = *position == v->feed_items;
    pthread_mutex_unlock(&v->lock);
    return err;
}

static inline void vault_session(void *ctx, const struct pl_id128 *edge, const char *region,
                                 bool up, int64_t edge_wall_ms)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    assert_true(edge_wall_ms > 0);
    pthread_mutex_lock(&v->lock);
    if (up)
        v->sessions_up++;
    else
        v->sessions_down++;
    snprintf(v->region, sizeof(v->region), "%s", region);
    pthread_mutex_unlock(&v->lock);
}

static inline void vault_cutoff(void *ctx, const struct pl_id128 *edge,
                                const struct frame_settled *settled)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    SET(v, cutoff, *settled);
}

#endif
