/*
 * backlog: what the sender has to send next, and what it has sent without a verdict yet.
 *
 * Promise: blocks are offered in chain order, oldest chain first; a block is out at most once at
 * a time, and its source hears at most one verdict for it. A RETRY comes back after a back-off,
 * before anything newer, and keeps its share of the window meanwhile. After a loss everything
 * without a verdict is offered again, once nothing is out any more: that keeps "out at most
 * once" true without asking who has what. Single-owner (the sender); may block on the disk.
 */
#ifndef POLDER_REPLICATION_BACKLOG_H
#define POLDER_REPLICATION_BACKLOG_H

#include "replication/uplink.h"

/* Memory that a block in flight takes beside its bytes, on both ends. */
#define BACKLOG_ENTRY_BYTES 64

/* A block or declared loss that is out. */
struct backlog_entry {
    uint64_t number;
    int64_t due_ms; /* when it may go out again; for those waiting after a RETRY */
    uint32_t bytes; /* its share of the window */
    uint16_t chain;
    bool loss;
};

struct backlog_chain {
    struct chain_claim claim;
    uint64_t cursor; /* the next number to ask the source for */
    size_t out;      /* entries that refer to this chain */
    bool used, listed, drained;
};

/* Twice what one frame claims: a chain no longer listed stays while something of it is out. */
#define BACKLOG_CHAINS (2 * FRAME_CHAINS_MAX)

struct backlog {
    const struct uplink_source *source;
    const struct pl_log *log;
    struct backlog_chain chains[BACKLOG_CHAINS];
    uint16_t order[FRAME_CHAINS_MAX]; /* as the source listed them */
    size_t listed;

    struct backlog_entry *again; /* FIFO: told to retry; [again_head, again_head + again_count) */
    size_t again_head, again_count, again_cap;
    int64_t back_off_ms;

    struct pl_buf block; /* the one on offer */
    struct block_loss loss;
    struct backlog_entry offer;
    bool offered, offer_is_again;

    size_t out_count;       /* with the sender's frames, the waiting ones not counted */
    size_t out_bytes;       /* those and the waiting ones */
    bool lost;              /* something went out and will have no verdict: start over */
    bool dry;               /* every chain was read to its end since the last wake */
    int64_t pause_until_ms; /* the source failed */

    uint64_t acked, repeats, forks, refused, losses;
};

void backlog_init(struct backlog *b, const struct uplink_source *source, const struct pl_log *log);
void backlog_release(struct backlog *b);

/* Asks the source for its chains anew. */
enum pl_err backlog_refresh(struct backlog *b);
/* The chains as last listed; at most FRAME_CHAINS_MAX. */
size_t backlog_claims(const struct backlog *b, struct chain_claim *out);

/* There may be something new. */
void backlog_wake(struct backlog *b);
/* The next block or loss, if any: false when there is nothing to send now. The same one again
 * until it is taken. */
bool backlog_offer(struct backlog *b, int64_t now_ms);
/* Adds what is on offer to a BLOCKS frame and counts it as out. PL_ELIMIT: it does not fit in. */
enum pl_err backlog_take(struct backlog *b, struct pl_buf *frame, struct backlog_entry *entry);
/* The verdict on an entry that is out. */
void backlog_settle(struct backlog *b, const struct backlog_entry *entry,
                    enum block_verdict verdict, int64_t now_ms);
/* It will have none: the pipe is gone. */
void backlog_lose(struct backlog *b, const struct backlog_entry *entry);

/* When backlog_offer should be asked again without a wake; -1: never. */
int64_t backlog_due_ms(const struct backlog *b);
/* Nothing is out, waiting, or left to read. */
bool backlog_settled(const struct backlog *b);

#endif
