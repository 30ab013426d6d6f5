/*
 * eraser_slice: what of an erasure is deleted together, with its record. Private to erasures.
 *
 * The eraser thread's. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_ERASER_SLICE_H
#define POLDER_ORIGIN_SUBJECTS_ERASER_SLICE_H

#include "origin/subjects/erasures_state.h"

struct slice;
/* until_ms: of what happened later nothing is erased. */
enum pl_err slice_new(struct slice **out, struct erasures *erasures, struct open_erasure *open,
                      int64_t until_ms);
void slice_free(struct slice *slice); /* NULL is fine */

/* Before the first of the calls below, and when one was PL_EAGAIN: which holds stand by now. */
void slice_ask_holds(struct slice *slice);
struct slice_held {
    uint64_t by; /* holds_standing, when it was asked */
    uint64_t events, links;
};
/* What was left alone since, because a hold covers its day. */
struct slice_held slice_held(const struct slice *slice);

/* Deletes the pairs that link those ids; intake's table of links is emptied. */
enum pl_err slice_erase_links(struct slice *slice, const struct identities *ids,
                              struct pl_why *why);
/* Deletes the events of those ids. Both: PL_ECLOSED: the thread is to stop, or the account is being
 * deleted; PL_EAGAIN: other holds stand than before. */
enum pl_err slice_erase_events(struct slice *slice, const struct identities *ids,
                               struct pl_why *why);

#endif
