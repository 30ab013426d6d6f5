/*
 * suppressions: the opt-outs this edge knows of: those it heard itself, at once, and those of all
 * edges, as the origin's feed tells them.
 *
 * Promise: what is known here is on disk here: an edge that restarts with no origin in sight
 * collects no more of a visitor than before. Ids stand here as keyed hashes only.
 */
#ifndef POLDER_EDGE_SUPPRESSIONS_H
#define POLDER_EDGE_SUPPRESSIONS_H

#include "edge/catalog.h"
#include "proto/store/store.h"
#include "proto/wire/event.h"
#include "proto/wire/suppression.h"

struct suppressions;
/* Reads the family. What is damaged there is left out and logged: the feed has it. Blocks. */
enum pl_err suppressions_open(struct suppressions **out, struct store *store, unsigned family,
                              const struct pl_log *log, struct pl_why *why);
void suppressions_close(struct suppressions *suppressions); /* NULL is fine */

/* Learns of one, in memory only. Any thread. */
enum pl_err suppressions_learn(struct suppressions *suppressions, struct suppression said);
/* Adds its row to a batch that somebody writes. Any thread. */
void suppressions_put(struct suppressions *suppressions, struct store_batch *batch,
                      const struct suppression *said);
/* The follower: an item of the feed, its row into the batch; an account that is gone. */
enum pl_err suppressions_apply(struct suppressions *suppressions, struct store_batch *batch,
                               const struct catalog_item *item);
void suppressions_forget(struct suppressions *suppressions, struct store_batch *batch,
                         uint64_t account);

/* Whether an event has the id of somebody who said no to the account. Any thread, memory only. */
bool suppressions_concern(const struct suppressions *suppressions,
                          const struct catalog_entry *entry, const struct event *event);
/* Whether just that is known: the opt-out, whom it is about, and that it was not taken back. */
bool suppressions_know(const struct suppressions *suppressions, const struct suppression *said);
/* Whether the opt-out of that id is known to be taken back, whoever it was about. Any thread. */
bool suppressions_undone(const struct suppressions *suppressions, const struct suppression *said);
/* Whether the account may have more: at most `most` in force, and four times that with those that
 * were taken back, which are remembered in case their no comes late. Any thread. */
bool suppressions_have_room(const struct suppressions *suppressions, uint64_t account, size_t most);
/* Of the account with the most in force. Any thread. */
void suppressions_fullest(const struct suppressions *suppressions, struct suppression_counts *out);
size_t suppressions_count(const struct suppressions *suppressions); /* any thread */

#endif
