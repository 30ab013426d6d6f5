/*
 * intake: takes blocks from the link to the vault: opens, decodes, asks after the account,
 * seals per account, finds duplicates, and writes everything of a group of blocks in one synced
 * batch.
 *
 * Promise: a verdict of BLOCK_STORED is given after the fsync that covers the block's events,
 * their dedupe entries and its ledger row, never before. Each event of an authentic block ends
 * up stored, duplicate or dropped with a reason: the three add up. A block that cannot be opened
 * is kept aside, not lost. An event is filed at the time its edge accepted it, held between
 * INTAKE_PAST_DAYS before and one day after it came. A disk that fails makes BLOCK_RETRY until it
 * is well again.
 *
 * Threads of its own: openers (parallel) and one writer. Memory is bounded: above queue_bytes
 * blocks are sent back with BLOCK_RETRY.
 */
#ifndef POLDER_ORIGIN_INTAKE_INTAKE_H
#define POLDER_ORIGIN_INTAKE_INTAKE_H

#include "origin/accounts/day_counts.h"
#include "origin/accounts/suppressions.h"
#include "origin/clock_belief.h"
#include "origin/intake/ledger.h"
#include "origin/intake/lost_keys.h"
#include "origin/keyring/keyring.h"
#include "origin/subjects/erasures.h"
#include "proto/base/histogram.h"
#include "proto/store/store.h"
#include "replication/receiver.h"

#define INTAKE_PAST_DAYS 30

enum intake_fate {
    INTAKE_ALIVE,
    INTAKE_EXPIRED, /* what was accepted since then: dropped{expired}; what was before is taken, and
                       so are opt-outs and opt-ins */
    INTAKE_DELETED, /* dropped{deleted}: deletion has begun or is done */
    INTAKE_UNKNOWN, /* dropped{unknown} */
};

struct intake_config {
    struct store *store;
    struct keyring *keyring;
    struct ledger *ledger;
    /* An edge's X25519 public key: PL_ENOTFOUND not enrolled, PL_EDENIED revoked. Opener threads;
     * memory only. */
    enum pl_err (*edge_public)(void *ctx, const struct pl_id128 *edge,
                               uint8_t public_key[PL_X25519_BYTES]);
    void *edge_ctx;
    /* Whether an account's events are still taken. Opener threads; memory only; asked about once
     * per account and block. INTAKE_EXPIRED: *expired_ms is when. */
    enum intake_fate (*account)(void *ctx, uint64_t account, int64_t now_ms, int64_t *expired_ms);
    void *account_ctx;
    struct suppressions *suppressions; /* NULL: nobody says no */
    struct erasures *erasures;         /* NULL: nobody is erased */
    struct links *links;               /* NULL: ids are not linked */
    struct day_counts *day_counts;     /* NULL: nobody counts */
    struct lost_keys *lost_keys;       /* NULL: no key is given up */
    unsigned openers;                  /* 0: 2 */
    size_t queue_bytes;                /* blocks on their way; 0: 192 MiB */
    size_t group_bytes;                /* sealed events in one synced write; 0: 8 MiB */
    const struct pl_clock *clock;
    /* While the clock is in doubt, nothing is dropped or dated anew by it alone. NULL: it never is.
     */
    const struct clock_belief *belief;
    const struct pl_log *log;
};

struct intake;
enum pl_err intake_new(struct intake **out, const struct intake_config *config, struct pl_why *why);
/* Starts the threads. */
enum pl_err intake_start(struct intake *intake, struct pl_why *why);
/* Finishes what was taken (RETRY where the disk refuses), stops the threads. Call it after
 * receiver_stop, which waits for the verdicts of this room; lots that still come are answered
 * with BLOCK_RETRY at once. */
void intake_stop(struct intake *intake);
void intake_free(struct intake *intake); /* stopped or never started; NULL is fine */

/* Waits until every block taken before the call has its verdict. Whoever deletes an account lets
 * config.account say so first, calls this, and then destroys and purges: nothing that was opened
 * while the account lived can be written after that. Blocks for as long as a few writes take. */
void intake_settle(struct intake *intake);

/* A handful of blocks that arrived together and get their verdicts together. */
struct intake_lot {
    struct pl_id128 edge; /* whom the link says it talks to */
    size_t count;
    /* As receiver_frame_entry; views live until done. Any opener thread, and the caller's. */
    bool (*entry)(void *ctx, size_t i, struct pl_span *block, struct block_loss *loss);
    /* Once, from the writer's thread (or from intake_take when there is no room). */
    void (*done)(void *ctx, const enum block_verdict *verdicts);
    void *ctx;
};
/* Any thread; never blocks. */
void intake_take(struct intake *intake, const struct intake_lot *lot);

/* For receiver_ops.blocks; ctx is the intake. */
void intake_blocks(void *ctx, const struct pl_id128 *edge, struct receiver_frame *frame);

struct intake_status {
    bool ready;       /* the store takes writes */
    char reason[200]; /* why not, for people; "" when ready */
    size_t queued_bytes;
    uint64_t blocks, repeats, forks, refused, retries, losses; /* since start */
    uint64_t redated; /* events dated anew: their edge's clock was wrong */
    uint64_t events, stored, duplicate;
    uint64_t dropped[DROP_COUNT];
    uint64_t groups; /* synced writes */
};
void intake_status(const struct intake *intake, struct intake_status *out); /* any thread */

struct intake_measures {
    struct pl_histogram_sums block_us; /* from its arrival to its verdict, RETRY left out */
    struct pl_histogram_sums sync_us;  /* of one synced write */
};
void intake_measures(const struct intake *intake, struct intake_measures *out); /* any thread */

#endif
