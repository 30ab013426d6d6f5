/*
 * changelog: what edges have to learn, in the order in which it became true.
 *
 * Promise: an item is durable together with the change that it tells of, or neither is. Only the
 * newest item of each account, of each opt-out from one, of the sealing key and of a cut-off is
 * kept, so following from nothing costs what is, not what was; a tombstone takes its account's
 * opt-outs along. The epoch is a random id of this changelog; after a restore it is another, and
 * edges start over; so it is when an edge turns out to have heard more than it holds.
 *
 * Any thread may call; writing blocks on the disk.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_CHANGELOG_H
#define POLDER_ORIGIN_ACCOUNTS_CHANGELOG_H

#include "origin/journal/redo.h"
#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/catalog.h"

struct changelog;

/* Reads the epoch and the newest position, or makes the epoch. random outlives it. */
enum pl_err changelog_open(struct changelog **out, struct store *store,
                           const struct pl_random *random, struct pl_why *why);
void changelog_close(struct changelog *changelog); /* NULL is fine */
/* For a database that was restored: another epoch, so that edges start over. Blocks. */
enum pl_err changelog_renew(struct changelog *changelog, struct pl_why *why);
/* Whether what follows this epoch up to the position has heard more than this changelog ever said:
 * then the database stands where it stood before, with all that would have shown it. Not once it
 * was renewed, for nobody can have heard more of a new epoch: who says so is wrong. Blocks. */
bool changelog_is_behind(struct changelog *changelog, const struct pl_id128 *epoch,
                         uint64_t position);
/* Where changes are noted that are the changelog's alone, of the sealing key and cut-offs; whoever
 * writes others has noted them. */
void changelog_note_to(struct changelog *changelog, struct redo *redo);
/* Called after each durable change, and another epoch, from the thread that made it. Set before
 * others may write. */
void changelog_on_change(struct changelog *changelog, void (*fn)(void *ctx), void *ctx);

/* Adds the item to the batch and writes it, synced. On error nothing changed for now: a write that
 * failed may turn up when the store recovers, and is then read like any other before the next is
 * written. The batch is the caller's and may hold more. A sealing key's item and a cut-off's have
 * account 0. */
enum pl_err changelog_write(struct changelog *changelog, struct store_batch *batch,
                            const struct catalog_item *item, struct pl_why *why);

/* After a failed write, once the store has recovered: reads what turned up. Fails as long as the
 * store does. Blocks. */
enum pl_err changelog_refresh(struct changelog *changelog, struct pl_why *why);

/* For receiver_ops.feed; ctx is the changelog. */
enum pl_err changelog_feed(void *ctx, struct pl_id128 *epoch, uint64_t *position, size_t max_bytes,
                           struct pl_buf *items, bool *caught_up);
uint64_t changelog_position(const struct changelog *changelog);
/* Of the newest item that asks edges to settle, and of the newest sealing key; 0: there is none. */
uint64_t changelog_settle_position(const struct changelog *changelog);
uint64_t changelog_seal_key_position(const struct changelog *changelog);
void changelog_epoch(struct changelog *changelog, struct pl_id128 *epoch);

#endif
