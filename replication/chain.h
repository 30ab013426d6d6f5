/*
 * chain: how the two ends of the link name what they talk about. Numbers, hashes and counts;
 * never plaintext. The claims, records, losses and verdicts themselves travel in frames, so they
 * are defined there.
 */
#ifndef POLDER_REPLICATION_CHAIN_H
#define POLDER_REPLICATION_CHAIN_H

#include "proto/wire/frame.h"

/* A link's health in words, for probes. */
#define LINK_REASON_BYTES 160

#endif
