/*
 * collector: group commit. Loops hand in the events of whole requests; one committer thread makes
 * blocks of whatever has come in while the last fsync ran, and gives the requests back when their
 * events are on disk.
 *
 * Promise: a ticket that was taken comes back exactly once, on its own loop, after its events are
 * durable (PL_OK) or have been given up (any other error; parts of the round may be on disk all
 * the same). What waits is bounded per lane. A quiet edge commits at once, a busy one in
 * batches.
 */
#ifndef POLDER_EDGE_COLLECTOR_H
#define POLDER_EDGE_COLLECTOR_H

#include "edge/spool.h"
#include "edge/suppressions.h"
#include "proto/http/http.h"

struct collector;

/* The loop's, intrusive; the collector's between submit and done. */
struct collector_ticket {
    struct collector_ticket *next;
    enum pl_err err;
};

struct collector_config {
    struct spool *spool;
    /* What its pointers point at is copied. origin_public may be NULL: nothing is taken until
     * collector_set_origin. */
    struct block_sealer_config sealer;
    unsigned lanes;    /* one a loop */
    size_t lane_bytes; /* events that may wait in each */
    /* On the lane's loop: a list of tickets, linked by next. */
    void (*done)(struct http_loop *loop, struct collector_ticket *tickets);
    /* On the committer: more blocks are durable; said at most every few milliseconds. Must not
     * block. */
    void (*durable)(void *ctx);
    /* On the committer: what collector_fence asked for. May be NULL. Must not block. */
    void (*fenced)(void *ctx);
    void *durable_ctx;                 /* of both */
    struct suppressions *suppressions; /* may be NULL: nobody says no */
    const struct pl_clock *clock;
    const struct pl_log *log;
};

enum pl_err collector_new(struct collector **out, const struct collector_config *config,
                          struct pl_why *why);
enum pl_err collector_start(struct collector *collector, struct pl_why *why);
/* Commits what waits, ends the committer. Every lane must be closed. */
void collector_stop(struct collector *collector);
void collector_free(struct collector *collector); /* stopped or never started; NULL is fine */

/* On the loop's thread, at its start and end. Closing waits for the tickets that are out and
 * hands them to done. */
void collector_lane_open(struct collector *collector, unsigned lane, struct http_loop *loop);
void collector_lane_close(struct collector *collector, unsigned lane);

/* Encoded events, back to back; ends[i] is the offset behind event i. */
struct collector_events {
    struct pl_span bytes;
    const uint32_t *ends;
    unsigned count; /* > 0 */
    /* Opt-outs that the events tell of: on this edge's disk with them or not at all. */
    const struct suppression *said;
    unsigned said_count;
};
/* On the loop's thread; copies. PL_OK: the ticket is out. PL_EAGAIN: the lane is full. PL_EIO,
 * PL_ENOSPC …: not collecting, see collector_health. */
enum pl_err collector_submit(struct collector *collector, unsigned lane,
                             const struct collector_events *events,
                             struct collector_ticket *ticket);

/* On the loop's thread: it works with that snapshot of the catalog from now on. */
void collector_pass(struct collector *collector, unsigned lane, uint64_t serial);
/* Any thread: once every loop has passed that snapshot, what they handed in before is durable or
 * given up, and the sealing key set last is in use, the spool is cut (spool_cut) and fenced is
 * called. One at a time. */
void collector_fence(struct collector *collector, uint64_t serial);

/* Any thread: seal for this key of the origin from the next block on. */
void collector_set_origin(struct collector *collector,
                          const uint8_t origin_public[PL_X25519_BYTES]);

/* PL_OK while events are being taken; else why not. Any thread, cheap. */
enum pl_err collector_health(struct collector *collector, struct pl_why *why);

struct collector_stats {
    uint64_t rounds, failed_rounds;
    uint64_t requests, events, blocks, plain_bytes, block_bytes; /* durable */
    uint64_t commit_us; /* spent writing and syncing, over all rounds */
    uint64_t recoveries;
};
void collector_stats(struct collector *collector, struct collector_stats *out); /* any thread */

#endif
