/*
 * spool: sealed blocks on this edge's disk from the moment they are durable until the origin has
 * them.
 *
 * Promise: what spool_commit returned PL_OK for survives power loss, and is offered to the origin
 * until it gives its verdict, or declared lost with number, hash and count when the disk has
 * spoiled it or fails to give it back time and again. A start of the process, and every failed
 * write, opens a new chain: a number is never used for two different blocks. Pending bytes are
 * bounded.
 *
 * Threads: the committer calls spool_room/next/append/commit/recover; the uplink's sender calls
 * what spool_source hands out; anybody may ask for status.
 */
#ifndef POLDER_EDGE_SPOOL_H
#define POLDER_EDGE_SPOOL_H

#include "proto/base/histogram.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/store/store.h"
#include "replication/uplink.h"

struct spool;

struct spool_config {
    struct store *store; /* with edge_family's families; outlives the spool */
    const char *data_dir;
    uint64_t max_bytes;        /* of blocks that wait for the origin */
    uint64_t disk_spare_bytes; /* the file system keeps this much free */
    /* On the sender's thread: everything from before the cut is acked. Must not block; NULL: nobody
     * asks. */
    void (*past_cut)(void *ctx);
    void *ctx;
    const struct pl_random *random;
    const struct pl_clock *clock;
    const struct pl_log *log;
};

/* Takes up the chains of earlier processes and opens this one's. Blocks. */
enum pl_err spool_new(struct spool **out, const struct spool_config *config, struct pl_why *why);
/* Notes on disk where the live chain ends, and frees. No other thread may be inside. */
void spool_free(struct spool *spool);

/* ---- the committer */

/* May `bytes` more be written? PL_ENOSPC says which limit is in the way. */
enum pl_err spool_room(struct spool *spool, uint64_t bytes, struct pl_why *why);
/* Fills incarnation, number and previous_hash for the next block to be sealed. */
void spool_next(struct spool *spool, struct block_header *header);
/* Writes a block, not yet durable. After an error from here or from spool_commit nothing more is
 * taken until spool_recover. */
enum pl_err spool_append(struct spool *spool, const struct block_header *header,
                         struct pl_span block, const uint8_t hash[BLOCK_HASH_BYTES],
                         struct pl_why *why);
/* What else is to be durable with the next commit, or not at all. */
struct store_batch *spool_batch(struct spool *spool);
/* Makes everything appended durable. Blocks for one fsync. */
enum pl_err spool_commit(struct spool *spool, struct pl_why *why);
/* What was appended since the last commit will not be committed: the chain ends here, as after a
 * failed write. Nothing happens when there is none. */
void spool_abandon(struct spool *spool);
/* After a failure: gets the store going, closes the chain, opens a new one. To be tried again
 * until it works. */
enum pl_err spool_recover(struct spool *spool, struct pl_why *why);

/* Drops what the origin refused 45 days ago, at most once an hour; to be called now and then. */
void spool_tidy(struct spool *spool);

/* ---- cut-offs: spool_cut.c */

/* The committer, or nobody yet: what is durable now is before the cut, which replaces any earlier
 * one. False after a failed write, until spool_recover. */
bool spool_cut(struct spool *spool);
/* Any thread: whether all from before the cut is acked and deleted, what is kept aside left out. */
bool spool_is_past_cut(struct spool *spool);
/* Any thread, once past the cut: deletes what is kept aside from before it. Blocks. */
enum pl_err spool_drop_kept(struct spool *spool, struct pl_why *why);
/* Any thread: everything from before the cut is physically gone, which was made at that place of
 * the feed. It is told to the origin from now on, after a restart as well. Blocks. */
enum pl_err spool_settle(struct spool *spool, const struct frame_settled *at, struct pl_why *why);
void spool_settled(struct spool *spool, struct frame_settled *out); /* any thread; memory only */

/* ---- the sender */
struct uplink_source spool_source(struct spool *spool);

/* ---- anybody; cheap, no disk */

enum spool_books {
    SPOOL_BOOKS_UNKNOWN,  /* not heard since this process began */
    SPOOL_BOOKS_SETTLING, /* under way: too early to compare */
    SPOOL_BOOKS_BALANCED,
    SPOOL_BOOKS_MISMATCH,
};
const char *spool_books_name(enum spool_books books);

struct spool_chain_status {
    struct pl_id128 incarnation;
    bool closed;
    uint64_t acked, next;
    uint64_t acked_events, total_events;
    enum spool_books books;
    struct chain_record origin; /* as last heard; zeros before */
};

struct spool_status {
    uint64_t pending_blocks, pending_events, pending_bytes;
    int64_t oldest_pending_ms; /* wall clock when the oldest of them was sealed; 0: none */
    uint64_t accepted_events;  /* counted into durable blocks since this edge began */
    uint64_t chains;
    uint64_t quarantined_blocks, quarantined_bytes;
    int64_t quarantined_oldest_ms;     /* wall clock when the oldest of them was sealed; 0: none */
    uint64_t lost_blocks, lost_events; /* declared since this process began */
    uint64_t unread_chains;            /* wait for the disk to give back a block */
    uint64_t trimmed_blocks;           /* since this process began */
    uint64_t mismatches;               /* chains whose books don't balance */
    bool log_rotten; /* the last blocks before this process began may be missing, uncounted */
};
void spool_status(struct spool *spool, struct spool_status *out);
struct spool_measures {
    struct pl_histogram_sums sync_us, block_bytes;
};
void spool_measures(const struct spool *spool, struct spool_measures *out);
/* Oldest first, the live one last; at most max. */
size_t spool_chains(struct spool *spool, struct spool_chain_status *out, size_t max);

#endif
