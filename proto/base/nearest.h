/*
 * nearest: which of the words that are known a mistyped one may have been meant to be.
 *
 * Promise: only what is at most two slips away is suggested: a far guess misleads. Pure; never
 * blocks; any thread.
 */
#ifndef POLDER_PROTO_BASE_NEAREST_H
#define POLDER_PROTO_BASE_NEAREST_H

#include "proto/base/span.h"

/* Keeps in *best the word if the typed one may have been meant to be it, rather than what stands
 * there. Start with NULL and SIZE_MAX. */
void pl_nearest_consider(struct pl_span typed, const char *word, const char **best,
                         size_t *best_at);

#endif
