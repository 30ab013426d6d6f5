/*
 * attempts: counts wrong tokens per peer, in memory only, so that guessing costs time.
 *
 * Promise: bounded; a table full of busy peers forgets the longest known of a few. IPv6 peers
 * count by their /64, which one host can fill at will. Any thread; never blocks for long.
 */
#ifndef POLDER_ORIGIN_API_ATTEMPTS_H
#define POLDER_ORIGIN_API_ATTEMPTS_H

#include "proto/base/err.h"
#include "proto/base/span.h"

#define ATTEMPTS_MAX       20
#define ATTEMPTS_WINDOW_MS INT64_C(60000)

struct attempts;
enum pl_err attempts_new(struct attempts **out);
void attempts_free(struct attempts *attempts); /* NULL is fine */
/* Counts one more failure at mono_ms. 0: within the limit; else the peer is over it, and how many
 * milliseconds are left of its window. address: 4 or 16 bytes. */
int64_t attempts_failed(struct attempts *attempts, struct pl_span address, int64_t mono_ms);

#endif
