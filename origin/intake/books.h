/*
 * books: compares what each edge claims to have handed over with what the ledger counted, and
 * remembers when each edge was last heard of.
 *
 * Promise: for every chain that an edge still names, the events it counted into the blocks below
 * its mark equal those that the ledger counted in the same blocks; where they do not, or where
 * the edge has seen acks that the ledger knows nothing of, the edge is out of balance until a
 * later claim agrees. Blocks that an edge was acked, and so has let go of, and that the ledger does
 * not know are lost, as after the restore of an older copy of the database: once that stands in the
 * audit log, the ledger is told to book them and to go on behind them. Some chains of an edge at a
 * time, for each is a line there. Memory is bounded: LIMIT_EDGES edges, FRAME_CHAINS_MAX chains
 * each.
 */
#ifndef POLDER_ORIGIN_INTAKE_BOOKS_H
#define POLDER_ORIGIN_INTAKE_BOOKS_H

#include "origin/intake/ledger.h"
#include "origin/journal/audit.h"
#include "proto/base/clock.h"

struct books;
/* audit may be NULL. */
enum pl_err books_new(struct books **out, struct ledger *ledger, struct audit *audit,
                      const struct pl_clock *clock, const struct pl_log *log, struct pl_why *why);
void books_free(struct books *books); /* NULL is fine */

/* For receiver_ops.books: answers from the ledger and remembers the claims. May block on the
 * disk. */
enum pl_err books_answer(struct books *books, const struct pl_id128 *edge,
                         const struct chain_claim *claims, size_t count,
                         struct chain_record *records);
/* For receiver_ops.session. */
void books_session(struct books *books, const struct pl_id128 *edge, bool up);

/* Blocks of a chain that its edge had acks for and that are not in the ledger, nor booked as lost
 * there yet. */
struct books_loss {
    struct pl_id128 incarnation;
    uint64_t first, last;    /* their lowest and highest number */
    uint64_t blocks, events; /* how many, and what the edge had counted into them */
};
#define BOOKS_LOSSES_MAX 8 /* chains, of an edge */

struct books_edge {
    int64_t heard_mono_ms;   /* last sign of life; -1: none since this process began */
    uint64_t pending_blocks; /* known to exist at the edge and not recorded here */
    bool balanced;
    char reason[240]; /* for people; "" when balanced */
    struct books_loss losses[BOOKS_LOSSES_MAX];
    size_t loss_count;
};
/* Any thread; memory only. An edge never heard of is balanced. */
void books_edge(struct books *books, const struct pl_id128 *edge, struct books_edge *out);

#endif
