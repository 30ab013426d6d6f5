/*
 * chain: how the two ends of the link name what they talk about. Numbers, hashes and counts;
 * never plaintext. The claims, records, losses and verdicts themselves travel in frames, so they
 * are defined there.
 */
#ifndef POLDER_REPLICATION_CHAIN_H
#define POLDER_REPLICATION_CHAIN_H

#include "proto/wire/frame.h"

/* By how much the clocks of the two ends may differ before somebody should look: events are filed
 * at the time their edge says. */
#define LINK_SKEW_MAX_MS (5 * INT64_C(60000))

/* So long before a certificate of the link ends, somebody should renew it. */
#define LINK_RENEW_MS (30 * INT64_C(24) * 3600000)

/* A link's health in words, for probes. */
#define LINK_REASON_BYTES 160

#endif
