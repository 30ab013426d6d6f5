/*
 * recent: which message ids this edge has taken lately, so that a client can be told that it
 * repeats itself.
 *
 * Promise: a hint and nothing more: what is stored once is the origin's word, by its dedupe index.
 * A fixed table; the oldest of a slot's neighbours makes room.
 */
#ifndef POLDER_EDGE_RECENT_H
#define POLDER_EDGE_RECENT_H

#include "proto/base/span.h"

struct recent;
struct recent *recent_new(void); /* NULL: no memory */
void recent_free(struct recent *recent);
/* Whether account and id were noted before; notes them. *mark, never 0, stands for them from then
 * on. Any thread. */
bool recent_note(struct recent *recent, uint64_t account, struct pl_span id, uint64_t *mark);
/* Takes a note back: the event was not taken after all. Any thread. */
void recent_forget(struct recent *recent, uint64_t mark);

#endif
