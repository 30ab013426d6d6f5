/*
 * collector_parts: what the collector's files share. Nobody else includes it.
 */
#ifndef POLDER_EDGE_COLLECTOR_PARTS_H
#define POLDER_EDGE_COLLECTOR_PARTS_H

#include "edge/collector_lane.h"

#include <stdatomic.h>

/* A block of this much plain text fits LIMIT_BLOCK_BYTES even when nothing in it compresses. */
#define COLLECTOR_BLOCK_BYTES (LIMIT_BLOCK_BYTES - 32 * 1024)

struct collector {
    struct collector_config config;
    struct lane *lanes;
    pthread_t thread;
    bool started;

    /* How the committer is woken: only by whoever finds it without work. */
    atomic_bool pending;
    _Atomic uint64_t fence; /* the snapshot that is waited for; 0: none is */
    atomic_bool refusing;   /* mirrors failure.err != PL_OK for the loops */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t wake;    /* on CLOCK_MONOTONIC */
    bool stop;
    struct pl_why failure;
    bool keyed; /* the origin's key is known */
    bool key_changed;
    uint8_t origin_public[PL_X25519_BYTES];
    struct collector_stats stats;

    /* the committer's */
    struct block_sealer *sealer;
    struct lane_fill *fills; /* one a lane: what this round took */
    bool *took;
    struct pl_buf plain, block;
    struct collector_stats round;
    bool unwoken; /* blocks are durable that config.durable has not been told of */
    int64_t woken_us;
    uint64_t last_requests; /* of the last round */
    uint64_t passed;        /* by every lane, before the last round was taken */
};

/* Makes blocks of what the round took, and makes them durable. The committer only. */
enum pl_err collector_commit(struct collector *c, struct pl_why *why);

#endif
