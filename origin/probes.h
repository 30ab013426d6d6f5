/*
 * probes: what the origin says of itself: whether it can keep its promises, whether the books
 * balance, and what it has counted.
 *
 * Promise: every verdict but the good one names its reasons, in sentences that say what is wrong
 * and with which edge or account. Nothing here waits for the disk for long, but it may wait for a
 * writer: not for loop threads.
 */
#ifndef POLDER_ORIGIN_PROBES_H
#define POLDER_ORIGIN_PROBES_H

#include "origin/parts.h"

struct api_stats;

enum probes_verdict { PROBES_HEALTHY, PROBES_DEGRADED, PROBES_DOWN };

/* {"ready", "reasons", "warnings"}; HEALTHY or DOWN. */
enum pl_err probes_ready(const struct origin_parts *parts, struct json_writer *w,
                         enum probes_verdict *verdict);
/* {"status", "reasons", "edges", "totals", "alarms"}: every edge with its newest chains and the
 * sums of all, which with what is pending at the edge make what it accepted. */
enum pl_err probes_replication(const struct origin_parts *parts, struct json_writer *w,
                               enum probes_verdict *verdict);
/* Prometheus text format 0.0.4. Appends. */
enum pl_err probes_metrics(const struct origin_parts *parts, const struct api_stats *api,
                           struct pl_buf *out);

#endif
