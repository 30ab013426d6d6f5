/* The spool: chains of blocks that say their chain and number. */
#ifndef POLDER_TESTS_REPLICATION_SCRIPTED_SPOOL_H
#define POLDER_TESTS_REPLICATION_SCRIPTED_SPOOL_H

#include "tests/unit/replication/waiting.h"

#include "replication/uplink.h"

#include <stdlib.h>

#define CHAINS 3

struct spool {
    pthread_mutex_t lock;
    struct pl_id128 id[CHAINS];
    size_t chains;
    uint64_t next[CHAINS], cap[CHAINS];
    uint8_t *verdict[CHAINS]; /* 0: none yet */
    size_t block_bytes;
    uint64_t settled, twice, books_calls;
    struct chain_record books[FRAME_CHAINS_MAX];
    size_t books_count;
    uint64_t rotten; /* of chain 0 */
    struct frame_settled cutoff;
};

static inline void spool_init(struct spool *s, size_t chains, size_t block_bytes)
{
    *s = (struct spool){.chains = chains, .block_bytes = block_bytes, .rotten = UINT64_MAX};
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < chains; i++)
        assert_int_equal(pl_id128_random(pl_random_system(), &s->id[i]), PL_OK);
}

static inline void spool_release(struct spool *s)
{
    for (size_t i = 0; i < CHAINS; i++)
        free(s->verdict[i]);
    pthread_mutex_destroy(&s->lock);
}

static inline void spool_add(struct spool *s, size_t chain, uint64_t blocks)
{
    pthread_mutex_lock(&s->lock);
    uint64_t next = s->next[chain] + blocks;
    if (next > s->cap[chain]) {
        uint64_t cap = next * 2;
        s->verdict[chain] = realloc(s->verdict[chain], cap);
        memset(s->verdict[chain] + s->cap[chain], 0, cap - s->cap[chain]);
        s->cap[chain] = cap;
    }
    s->next[chain] = next;
    pthread_mutex_unlock(&s->lock);
}

static inline size_t spool_chain(const struct spool *s, const struct pl_id128 *incarnation)
{
    for (size_t i = 0; i < s->chains; i++)
        if (pl_id128_eq(&s->id[i], incarnation))
            return i;
    return CHAINS;
}

static inline enum pl_err spool_chains(void *ctx, struct chain_claim *out, size_t max,
                                       size_t *count)
{
    struct spool *s = ctx;
    pthread_mutex_lock(&s->lock);
    for (*count = 0; *count < s->chains && *count < max; ++*count) {
        size_t i = *count;
        uint64_t acked = 0;
        while (acked < s->next[i] && s->verdict[i][acked] != 0)
            acked++;
        out[i] = (struct chain_claim){.incarnation = s->id[i],
                                      .acked = acked,
                                      .next = s->next[i],
                                      .acked_events = acked * 3,
                                      .closed = i + 1 < s->chains};
    }
    pthread_mutex_unlock(&s->lock);
    return PL_OK;
}

static inline enum pl_err spool_read(void *ctx, const struct pl_id128 *incarnation,
                                     uint64_t *number, struct pl_buf *out, struct block_loss *loss)
{
    struct spool *s = ctx;
    size_t c = spool_chain(s, incarnation);
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&s->lock);
    while (*number < s->next[c] && s->verdict[c][*number] != 0)
        ++*number;
    if (*number >= s->next[c]) {
        err = PL_ENOTFOUND;
    } else if (c == 0 && *number == s->rotten) {
        *loss = (struct block_loss){.number = *number, .events = 3};
        err = PL_ECORRUPT;
    } else {
        err = pl_buf_reserve(out, s->block_bytes);
        if (err == PL_OK) {
            uint8_t *at = out->data + out->len;
            memcpy(at, incarnation->bytes, 16);
            pl_store_u64(at + 16, *number);
            for (size_t i = 24; i < s->block_bytes; i++)
                at[i] = (uint8_t)(*number * 31 + i);
            out->len += s->block_bytes;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

static inline enum pl_err spool_verdict(void *ctx, const struct pl_id128 *incarnation,
                                        uint64_t number, enum block_verdict verdict)
{
    struct spool *s = ctx;
    size_t c = spool_chain(s, incarnation);
    pthread_mutex_lock(&s->lock);
    s->twice += s->verdict[c][number] != 0;
    s->verdict[c][number] = (uint8_t)verdict;
    s->settled++;
    pthread_mutex_unlock(&s->lock);
    return PL_OK;
}

static inline void spool_books(void *ctx, const struct chain_record *records, size_t count)
{
    struct spool *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->books_calls++;
    s->books_count = count;
    memcpy(s->books, records, count * sizeof(*records));
    pthread_mutex_unlock(&s->lock);
}

static inline void spool_cutoff(void *ctx, struct frame_settled *out)
{
    struct spool *s = ctx;
    *out = READ(s, cutoff);
}

static inline uint64_t spool_settled(struct spool *s)
{
    return READ(s, settled);
}

#endif
