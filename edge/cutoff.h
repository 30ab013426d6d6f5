/*
 * cutoff: takes care that nothing which this edge sealed before a change of the feed remains in any
 * file of it: blocks that are acked, blocks kept aside, and, where an account is gone, what stood
 * here of the account itself.
 *
 * Promise: spool_settled names a place in the feed only when all of that is physically gone. It
 * costs nothing while the feed brings nothing to settle at, and never more than a fifth of the
 * time; requests, commits and the link don't wait for it. An older place is never given up for a
 * newer one, so a busy feed cannot keep an edge from settling.
 *
 * How: after a page of the feed every loop takes the new snapshot and what it handed in before is
 * committed (collector_fence): the end of the spool is the cut. When all before it is acked and
 * trimmed, what was deleted is compacted away. What earlier processes sealed is from before the
 * place that the feed has reached at the start.
 */
#ifndef POLDER_EDGE_CUTOFF_H
#define POLDER_EDGE_CUTOFF_H

#include "edge/catalog.h"
#include "edge/collector.h"
#include "edge/spool.h"

struct cutoff_config {
    struct store *store; /* with edge_family's families */
    struct spool *spool;
    struct collector *collector;
    struct frame_settled here; /* where the feed is; zeros: it was never followed */
    const struct pl_clock *clock;
    const struct pl_log *log;
};

struct cutoff;
/* Before the collector's thread begins. */
enum pl_err cutoff_new(struct cutoff **out, const struct cutoff_config *config, struct pl_why *why);
/* A thread of its own. */
enum pl_err cutoff_start(struct cutoff *cutoff, struct pl_why *why);
/* What is being compacted is finished first. */
void cutoff_stop(struct cutoff *cutoff);
void cutoff_free(struct cutoff *cutoff); /* stopped or never started; NULL is fine */

/* The follower: be settled there. Never blocks. */
void cutoff_want(struct cutoff *cutoff, const struct catalog_cut *cut);
/* For collector_config.fenced and spool_config.past_cut. Never block. */
void cutoff_fenced(struct cutoff *cutoff);
void cutoff_past(struct cutoff *cutoff);

struct cutoff_status {
    struct frame_settled settled; /* zeros: nowhere yet */
    int64_t pending_ms;           /* for how long one has been under way; 0: none is */
    char trouble[200];            /* why it is not done; "" when nothing is wrong */
};
void cutoff_status(struct cutoff *cutoff, struct cutoff_status *out); /* any thread; no disk */

#endif
