/*
 * rates: how often somebody did something, in memory only: wrong tokens by peer, so that guessing
 * costs time, and audited calls by owner's token, so that nobody but operators can fill the log.
 *
 * Promise: bounded; a table full of busy ones forgets one of a few. Any thread; never blocks for
 * long.
 */
#ifndef POLDER_ORIGIN_API_RATES_H
#define POLDER_ORIGIN_API_RATES_H

#include "proto/base/err.h"
#include "proto/base/span.h"

#define RATES_KEY_BYTES 8

/* So often at once, and once more every every_ms. */
struct rate {
    int64_t burst, every_ms;
};

struct rates;
enum pl_err rates_new(struct rates **out, struct rate rate);
void rates_free(struct rates *rates); /* NULL is fine */
/* Once more at mono_ms. 0: within the rate; else it is over and does not count, and so many
 * milliseconds are left until it would be within. Of longer keys the beginning counts: of IPv6
 * peers their /64, which one host can fill at will. */
int64_t rates_take(struct rates *rates, struct pl_span key, int64_t mono_ms);

#endif
