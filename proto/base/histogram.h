/*
 * histogram: how often something took how long, or was how large, in fixed buckets, and its text
 * for Prometheus.
 *
 * Promise: one thread notes, without locks or fences; anybody may sum and be one note behind. A
 * scrape costs as many loads as there are buckets.
 */
#ifndef POLDER_PROTO_BASE_HISTOGRAM_H
#define POLDER_PROTO_BASE_HISTOGRAM_H

#include "proto/base/buf.h"

#include <stdatomic.h>

#define PL_HISTOGRAM_BOUNDS 15

/* What is measured: upper bounds in the unit that is noted, ascending, and how many of these make
 * one of the base unit that is told. */
struct pl_histogram_kind {
    uint64_t bounds[PL_HISTOGRAM_BOUNDS];
    double per_unit;
};
extern const struct pl_histogram_kind pl_histogram_times; /* noted in µs, told in seconds */
extern const struct pl_histogram_kind pl_histogram_sizes; /* bytes */

struct pl_histogram {
    _Atomic uint64_t counts[PL_HISTOGRAM_BOUNDS + 1]; /* each bucket's own; the last: above all */
    _Atomic uint64_t sum;
};

/* The owner's thread. Below zero counts as zero. */
void pl_histogram_note(struct pl_histogram *h, const struct pl_histogram_kind *kind, int64_t value);

struct pl_histogram_sums {
    uint64_t counts[PL_HISTOGRAM_BOUNDS + 1];
    uint64_t sum;
};
/* Adds h to sums. Any thread. */
void pl_histogram_sum(const struct pl_histogram *h, struct pl_histogram_sums *sums);
/* Appends it in the text exposition format, version 0.0.4. */
enum pl_err pl_histogram_write(struct pl_buf *out, const char *name, const char *help,
                               const struct pl_histogram_kind *kind,
                               const struct pl_histogram_sums *sums);

#endif
