/*
 * metrics: what an edge counts, one documented row each, and their text for Prometheus.
 *
 * Promise: a shard belongs to one thread, which adds to it without locks or fences; anybody may
 * sum shards and be one addition behind.
 */
#ifndef POLDER_EDGE_METRICS_H
#define POLDER_EDGE_METRICS_H

#include "proto/base/buf.h"

#include <stdatomic.h>

enum metric {
    METRIC_CONFIG_SERVED,
    METRIC_CONFIG_NOT_MODIFIED,
    METRIC_CONFIG_UNKNOWN,
    METRIC_CONFIG_EXPIRED,
    METRIC_CONFIG_UNAVAILABLE,
    METRIC_SCRIPT_SERVED,
    METRIC_REQUESTS_COLLECTED,
    METRIC_EVENTS_COLLECTED,
    METRIC_REFUSED_MALFORMED,
    METRIC_REFUSED_UNKNOWN_KEY,
    METRIC_REFUSED_EXPIRED,
    METRIC_REFUSED_REGION,
    METRIC_REFUSED_ORIGIN,
    METRIC_REFUSED_CONSENT,
    METRIC_REFUSED_TOO_LARGE,
    METRIC_REFUSED_RATE,
    METRIC_REFUSED_UNAVAILABLE,
    METRIC_EVENTS_REFUSED,
    METRIC_EVENTS_SUPPRESSED,
    METRIC_PII_MASKED,
    METRIC_TALLY_OVERFLOW,
    METRIC_OPTED_OUT,
    METRIC_OPTED_IN,
    METRIC_COUNT
};

struct metrics_shard {
    _Atomic uint64_t count[METRIC_COUNT];
} __attribute__((aligned(64)));

static inline void metrics_add(struct metrics_shard *shard, enum metric metric, uint64_t n)
{
    const uint64_t now = atomic_load_explicit(&shard->count[metric], memory_order_relaxed);
    atomic_store_explicit(&shard->count[metric], now + n, memory_order_relaxed);
}

/* Adds a shard to sums. */
void metrics_sum(const struct metrics_shard *shard, uint64_t sums[METRIC_COUNT]);
/* Appends every row in the text exposition format, version 0.0.4. */
enum pl_err metrics_write(const uint64_t sums[METRIC_COUNT], struct pl_buf *out);
/* Appends one value that is computed when asked for. type: "gauge" or "counter". */
enum pl_err metrics_write_value(struct pl_buf *out, const char *name, const char *type,
                                const char *help, double value);

#endif
