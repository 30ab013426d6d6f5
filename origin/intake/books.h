/*
 * books: compares what each edge claims to have handed over with what the ledger counted, and
 * remembers when each edge was last heard of.
 *
 * Promise: for every chain that an edge still names, the events it counted into the blocks below
 * its mark equal those that the ledger counted in the same blocks; where they do not, or where
 * the edge has seen acks that the ledger knows nothing of, the edge is out of balance until a
 * later claim agrees. Memory is bounded: LIMIT_EDGES edges, FRAME_CHAINS_MAX chains each.
 */
#ifndef POLDER_ORIGIN_INTAKE_BOOKS_H
#define POLDER_ORIGIN_INTAKE_BOOKS_H

#include "origin/intake/ledger.h"
#include "proto/base/clock.h"

struct books;
enum pl_err books_new(struct books **out, struct ledger *ledger, const struct pl_clock *clock,
                      const struct pl_log *log, struct pl_why *why);
void books_free(struct books *books); /* NULL is fine */

/* For receiver_ops.books: answers from the ledger and remembers the claims. May block on the
 * disk. */
enum pl_err books_answer(struct books *books, const struct pl_id128 *edge,
                         const struct chain_claim *claims, size_t count,
                         struct chain_record *records);
/* For receiver_ops.session. */
void books_session(struct books *books, const struct pl_id128 *edge, bool up);

struct books_edge {
    int64_t heard_mono_ms;   /* last sign of life; -1: none since this process began */
    uint64_t pending_blocks; /* known to exist at the edge and not recorded here */
    bool balanced;
    char reason[200]; /* for people; "" when balanced */
};
/* Any thread; memory only. An edge never heard of is balanced. */
void books_edge(struct books *books, const struct pl_id128 *edge, struct books_edge *out);

#endif
