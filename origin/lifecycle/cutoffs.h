/*
 * cutoffs: which edges may still hold blocks from before a change of the feed, and the sealing keys
 * that such blocks need.
 *
 * Every position of the changelog is a cut-off. An edge tells with each PING up to where it is
 * settled: it follows the feed that far, and no block that it sealed before it did remains in any
 * file of it. A new sealing key is a change of the feed like any other, so that one idea carries
 * deletions, erasures and the rotation of keys.
 *
 * Promise: an edge counts as confirmed only by its own word, given to this changelog. An edge that
 * cannot give it (lost, or revoked) is closed by destroying every sealing key it could have used
 * before the position: what it holds then opens nowhere, and it counts as written off. A key is
 * destroyed when no edge that may still deliver holds blocks for it, or at the deadline of a
 * deletion, never earlier. Positions are those of this database; a restore keeps their meaning, and
 * what it has forgotten of edges is taken for the worst: that they hold everything.
 *
 * Any thread may call; what blocks on the disk says so.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CUTOFFS_H
#define POLDER_ORIGIN_LIFECYCLE_CUTOFFS_H

#include "origin/accounts/changelog.h"
#include "origin/accounts/edges.h"
#include "origin/journal/audit.h"
#include "origin/keyring/keyring.h"

/* A deletion that waits for edges gets a new sealing key so long before its deadline, so that edges
 * that live have left the old one; and an old key lives at least a day beside the new one. */
#define CUTOFFS_LEAD_DAYS  7
#define CUTOFFS_GRACE_DAYS 1
/* After which a revoked edge is known no more, if its keys are closed: longer than a deletion
 * takes, whose certificate names the edges that it waited for. */
#define CUTOFFS_REVOKED_DAYS 100

struct cutoffs_config {
    struct store *store;
    struct changelog *changelog;
    struct edges *edges;
    struct keyring *keyring;
    struct audit *audit;   /* NULL: there is none */
    int64_t seal_key_days; /* age at which a sealing key gets its successor */
    const struct pl_clock *clock;
    const struct pl_log *log;
};

struct cutoffs;
/* Reads what edges have confirmed. After a restore the changelog has its new epoch. There is a
 * sealing key, and edges were told of it: first_start.h saw to that. Blocks. */
enum pl_err cutoffs_open(struct cutoffs **out, const struct cutoffs_config *config,
                         struct pl_why *why);
void cutoffs_close(struct cutoffs *cutoffs); /* NULL is fine */

/* ---- for whoever deletes */

/* Asks every edge for a cut-off: *position is it. What was written to the changelog, or refused at
 * intake, before this call is before it. Blocks. */
enum pl_err cutoffs_announce(struct cutoffs *cutoffs, uint64_t *position, struct pl_why *why);
/* The newest position that edges make a cut-off at of their own accord. After a tombstone was
 * written: its own or a later one, so there is no need to announce. Memory only. */
uint64_t cutoffs_position(const struct cutoffs *cutoffs);
/* Of which changelog it is. Memory only. */
void cutoffs_epoch(const struct cutoffs *cutoffs, struct pl_id128 *epoch);

enum cutoff_state {
    CUTOFF_WAITING,
    CUTOFF_CONFIRMED,
    CUTOFF_WRITTEN_OFF, /* never confirmed: the keys that its blocks need are destroyed */
};
const char *cutoff_state_name(enum cutoff_state state); /* "waiting" */

struct cutoff_edge {
    struct pl_id128 id;
    char name[64];
    char region[16];
    enum cutoff_state state;
    int64_t at_ms;    /* wall clock: when it was known to be so; 0 while waiting */
    char reason[160]; /* for people; "" when confirmed */
};
/* Every edge that may have held blocks sealed before the position; the caller frees *out. *done:
 * none waits any more. Memory only; relying on it needs a synced write of the caller's own, which
 * makes durable what was confirmed before. */
enum pl_err cutoffs_of(struct cutoffs *cutoffs, uint64_t position, struct cutoff_edge **out,
                       size_t *count, bool *done);

/* For a deletion that waits: near its deadline the sealing key gets a successor, at the deadline
 * all keys from before are destroyed, and edges that have not confirmed are written off. Call it
 * now and then, with a clock that is believed; nothing happens before that is due. Blocks. */
enum pl_err cutoffs_force(struct cutoffs *cutoffs, uint64_t position, int64_t deadline_ms,
                          struct pl_why *why);

/* ---- for operators */

/* A new sealing key now, whatever the age of the old one. Blocks. */
enum pl_err cutoffs_rotate(struct cutoffs *cutoffs, struct pl_why *why);

/* ---- for the link; a thread of the receiver's */

/* An edge has a session, and may learn the sealing key from now on. Blocks the first time. */
void cutoffs_seen(struct cutoffs *cutoffs, const struct pl_id128 *edge);
/* What an edge says, with a FEED or a PING, that it has heard. More than the changelog ever said
 * shows that the machine was put back to where it stood before, all of it: the changelog gets
 * another epoch, and no word of an edge counts that it gave before. Blocks then. */
void cutoffs_heard(struct cutoffs *cutoffs, const struct pl_id128 *epoch, uint64_t position);
/* What an edge says it is settled up to. */
void cutoffs_settled(struct cutoffs *cutoffs, const struct pl_id128 *edge,
                     const struct pl_id128 *epoch, uint64_t position);

/* ---- for the lifecycle's thread */

/* Gives the sealing key its successor when its time has come, and destroys those that no edge needs
 * any more; edges that were revoked long ago go. A step a call at most; once a second will do.
 * Blocks. */
void cutoffs_tick(struct cutoffs *cutoffs);

/* ---- for the probes; memory only */

struct cutoffs_edge {
    bool seen;          /* it has had a session */
    uint64_t settled;   /* 0: nothing yet */
    int64_t settled_ms; /* wall clock when that was heard first; 0: never */
};
void cutoffs_edge(struct cutoffs *cutoffs, const struct pl_id128 *edge, struct cutoffs_edge *out);

struct cutoffs_status {
    uint64_t position; /* as cutoffs_position */
    size_t waiting;    /* edges, not revoked, that have not settled there */
    uint8_t seal_key_id[BLOCK_KEY_ID_BYTES];
    int64_t seal_key_made_ms;
    uint64_t seal_key_position; /* at which edges learn of it */
    size_t old_seal_keys;       /* alive beside it */
    uint64_t heard_too_much; /* changes that an edge had heard and that were not there, since this
                              * process began; 0: none */
    char trouble[200];       /* what hinders the rotation; "" when nothing does */
};
void cutoffs_status(struct cutoffs *cutoffs, struct cutoffs_status *out);

#endif
