/*
 * ledger: what became of every block of every chain: the books on which promises 2 and 3 stand.
 *
 * Promise: a block is recorded once, in the same batch as its events. Blocks come in any order;
 * where neighbours meet, the hash chain between them is verified. A repeat is told from a fork
 * by its hash. Holes are dated and alarmed when they last. What a chain's blocks held is counted
 * here independently of the edge: events = stored + duplicate + dropped, per reason. Blocks that an
 * edge was acked and that a restored database lacks are booked as lost, at the edge's word as to
 * its own chain, and their chain goes on behind them; one that comes after all is taken.
 *
 * The writer stages and commits; any thread may ask for books, alarms and totals.
 */
#ifndef POLDER_ORIGIN_INTAKE_LEDGER_H
#define POLDER_ORIGIN_INTAKE_LEDGER_H

#include "origin/families.h"
#include "replication/chain.h"

enum drop_reason {
    DROP_MALFORMED, /* not an event, inside an authentic block */
    DROP_EXPIRED,   /* the account had expired */
    DROP_DELETED,   /* its key is destroyed, or about to be */
    DROP_UNKNOWN,   /* no such account */
    DROP_ROT,       /* the edge lost the block and said so */
    DROP_REFUSED,   /* in a block that was refused; kept aside with it, as counted by its header */
    DROP_OPTED_OUT, /* of somebody who had said no when it was accepted */
    DROP_ERASED,    /* of before its visitor's erasure */
    DROP_KEY_DESTROYED, /* in a block whose sealing key is destroyed, as counted by its header */
    DROP_RESTORED,      /* acked, and lost with the copy that was restored; as the edge counted */
    DROP_KEY_LOST, /* in a block whose sealing key was lost and given up, as counted by its header
                    */
    DROP_COUNT
};
const char *drop_reason_name(enum drop_reason reason); /* "malformed" */

struct ledger_counts {
    uint64_t blocks; /* in totals only */
    uint64_t events, stored, duplicate;
    uint64_t dropped[DROP_COUNT];
    uint64_t lost_blocks; /* behind dropped[DROP_RESTORED], and not in blocks; of chains, totals */
};

uint64_t ledger_counts_dropped(const struct ledger_counts *counts); /* for whatever reason */

/* One block (or declared loss), as the writer found it. */
struct ledger_block {
    struct pl_id128 edge, incarnation;
    uint64_t number;
    uint8_t hash[BLOCK_HASH_BYTES];
    uint8_t previous_hash[BLOCK_HASH_BYTES];
    bool lost;              /* declared by the edge: previous_hash unknown, hash maybe zeros */
    bool refused;           /* kept aside: only its place in the chain is recorded */
    uint32_t events_header; /* the edge's count */
    struct ledger_counts counts;
};

enum ledger_alarm_kind {
    LEDGER_HOLE = 1, /* blocks [number, number + count) are missing before later ones */
    LEDGER_FORK,     /* two blocks claim one number */
    LEDGER_REFUSED,  /* a block that does not open or does not fit its chain */
    LEDGER_MISCOUNT  /* a block held another number of events than its header says */
};

struct ledger;
struct ledger_config {
    struct store *store;
    int64_t hole_alarm_ms;       /* a hole older than this is an alarm; 0: 30 s */
    size_t quarantine_bytes_max; /* blocks kept aside; 0: 64 MiB */
    size_t ahead_max;            /* of one chain above a hole; 0: 128 Ki, a window of tiny ones */
    size_t chains_max;           /* of one edge; 0: 64 Ki, a start a minute for 45 days */
    const struct pl_clock *clock;
    const struct pl_log *log;
};
/* Reads all chains. Blocks. */
enum pl_err ledger_new(struct ledger **out, const struct ledger_config *config, struct pl_why *why);
void ledger_free(struct ledger *ledger);

/* ---- the writer's */

/* What a block is to its chain, staged blocks included: BLOCK_STORED (new: may be staged),
 * BLOCK_REPEAT, BLOCK_FORK, BLOCK_REFUSED (its hash chain does not meet its neighbours'), or
 * BLOCK_RETRY (above a hole, with as many there as may be). A refused block that was recorded is
 * BLOCK_REFUSED again. PL_ELIMIT: its edge has too many chains. Blocks on the disk for old numbers.
 */
enum pl_err ledger_check(struct ledger *ledger, const struct ledger_block *block,
                         enum block_verdict *verdict, struct pl_why *why);
/* Whether something is recorded, or staged, under the block's number. Memory only. */
bool ledger_holds(struct ledger *ledger, const struct ledger_block *block);
/* Takes a block that was just checked BLOCK_STORED, or a refused one under a number that is free
 * and below UINT64_MAX: its chain goes on behind it. Before its counts are known: they are read
 * from *block, which must live until commit or abort, by ledger_write. */
enum pl_err ledger_stage(struct ledger *ledger, const struct ledger_block *block);
/* Puts the rows of all staged blocks, and of the chains they belong to, into the batch. */
enum pl_err ledger_write(struct ledger *ledger, struct store_batch *batch);
/* The batch is durable: what was staged counts from now on. */
void ledger_commit(struct ledger *ledger);
/* The batch failed: everything is read from the store again (call after store_recover). */
enum pl_err ledger_reload(struct ledger *ledger, struct pl_why *why);
/* Raises an alarm about a block, kept in the store with the block's bytes (empty for a miscount;
 * left out when the quarantine is full). reason is for people. A block that did not open is taken
 * at its header's word as to its place, but only in chains of the edge that the link vouches for.
 */
enum pl_err ledger_quarantine(struct ledger *ledger, struct store_batch *batch,
                              const struct ledger_block *block, enum ledger_alarm_kind kind,
                              struct pl_span bytes, const char *reason);

/* Books what was handed to ledger_lose, each chain in a write of its own. Blocks on the disk. */
enum pl_err ledger_book_losses(struct ledger *ledger, struct pl_why *why);

/* Accounts live on for so long after their expiry, and what is kept aside may be theirs. */
#define LEDGER_KEEP_DAYS 45
/* Drops what was kept aside, and rows of blocks below their chain's contiguous mark,
 * LEDGER_KEEP_DAYS ago or earlier; chains keep their sums. Chains as old that their edge has let go
 * of are dropped whole: the edge's sums stay, under an incarnation of zeros. Some of it a call:
 * make one every few minutes. Blocks on the disk. */
enum pl_err ledger_tidy(struct ledger *ledger, struct pl_why *why);

/* ---- any thread; memory only */

/* For receiver_ops.books: one record per claim, zeros for chains never heard of. An edge enrolled
 * anew sends on what it held, and is told what was recorded under its earlier identity as well. */
void ledger_books(struct ledger *ledger, const struct pl_id128 *edge,
                  const struct chain_claim *claims, size_t count, struct chain_record *records);
/* Events in the blocks [from, to) of a chain. PL_ENOTFOUND: not all of their rows are here. Blocks
 * on the disk. */
enum pl_err ledger_events_between(struct ledger *ledger, const struct pl_id128 *edge,
                                  const struct pl_id128 *incarnation, uint64_t from, uint64_t to,
                                  uint64_t *events);
/* Which blocks of [from, to) are not recorded, from being the chain's contiguous mark, and how many
 * events are in those that are. Memory only. */
struct ledger_gap {
    uint64_t blocks, first, last; /* blocks 0: none is missing */
    uint64_t events;
};
void ledger_gap(struct ledger *ledger, const struct pl_id128 *edge,
                const struct pl_id128 *incarnation, uint64_t from, uint64_t to,
                struct ledger_gap *out);
/* The edge has acks for all blocks below claim->acked, and has let go of them: those that are not
 * recorded are lost, and the writer is to book them. Until LEDGER_KEEP_DAYS later one of them is
 * new when it comes all the same. Nothing is done for more blocks or events than an edge can have
 * made, for one more chain than are kept of an edge, or for a chain that stands on an earlier
 * identity's; some at a time: say it again until the chain's record shows it. Any thread; memory
 * only. */
void ledger_lose(struct ledger *ledger, const struct pl_id128 *edge,
                 const struct chain_claim *claim);
/* Everything recorded since the store was made. */
void ledger_totals(struct ledger *ledger, struct ledger_counts *out);

/* Blocks of a chain that are booked as lost with a restored copy. */
struct ledger_loss {
    uint64_t blocks, events; /* blocks 0: none */
    uint64_t first, last;    /* both 0 in the sum of chains that were dropped */
    int64_t since_ms;        /* wall clock, of the latest; 0 in that sum */
};
struct ledger_chain {
    struct pl_id128 edge;
    struct chain_record record;
    int64_t last_ms; /* when its last block was recorded */
    struct ledger_loss loss;
};
/* Newest first, at most max; returns how many there are. */
size_t ledger_chains(struct ledger *ledger, struct ledger_chain *out, size_t max);

/* What the store keeps aside. */
struct ledger_kept {
    uint64_t blocks, bytes;
    int64_t oldest_ms; /* wall clock; 0: there is none */
};
void ledger_kept(struct ledger *ledger, struct ledger_kept *out);
/* What was kept aside before then may hold events of an account that is being deleted: the next
 * ledger_tidy drops it. True: there is none of it any more. Any thread. */
bool ledger_let_go_kept(struct ledger *ledger, int64_t before_ms);

/* Whether a block of the chain was kept aside as a fork: what the edge and this side counted under
 * that number is not the same block. As far as alarms are held in memory. */
bool ledger_forked(struct ledger *ledger, const struct pl_id128 *edge,
                   const struct pl_id128 *incarnation);

struct ledger_alarm {
    enum ledger_alarm_kind kind;
    struct pl_id128 edge, incarnation;
    uint64_t number, count;
    int64_t since_ms; /* wall clock */
    char text[200];   /* for people */
};
#define LEDGER_ALARMS_MAX 64
/* At most max; returns how many there are. Holes first, the newest of the rest after them. */
size_t ledger_alarms(struct ledger *ledger, struct ledger_alarm *out, size_t max);

#endif
