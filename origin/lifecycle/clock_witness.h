/*
 * clock_witness: the clocks of the edges that are linked, for clock_watch.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CLOCK_WITNESS_H
#define POLDER_ORIGIN_LIFECYCLE_CLOCK_WITNESS_H

#include "origin/lifecycle/clock_watch.h"
#include "origin/parts.h"

/* A clock_witnesses_fn; parts is a struct origin_parts with its receiver and clock. Memory only. */
size_t clock_witness_all(void *parts, struct clock_witness *out, size_t max);
/* For erasures_config.edge_ahead_ms. */
int64_t clock_witness_ahead_ms(void *parts, const struct pl_id128 *edge);

#endif
