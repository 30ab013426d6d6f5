/*
 * chain: how the two ends of the link name what they talk about. Numbers, hashes and counts;
 * never plaintext.
 */
#ifndef POLDER_REPLICATION_CHAIN_H
#define POLDER_REPLICATION_CHAIN_H

#include "proto/wire/block.h"

/* One incarnation of one edge, as the edge sees it. Blocks [0, next) exist; those below
 * `acked` are at the origin; those in [acked, next) may be acked one by one, in any order. */
struct chain_claim {
    struct pl_id128 incarnation;
    uint64_t acked;        /* all blocks below are acked and trimmed */
    uint64_t next;         /* number the next block of the chain will get */
    uint64_t acked_events; /* events counted into blocks below `acked` when they were built */
    bool closed;           /* an earlier process's chain: it only drains */
};

/* The same chain as the origin sees it. */
struct chain_record {
    struct pl_id128 incarnation;
    uint64_t contiguous; /* every block below has been recorded */
    uint64_t highest;    /* one past the highest recorded number */
    uint64_t events;     /* counted on opening, in blocks below `contiguous` */
    uint64_t stored, duplicate, dropped;
};

enum block_verdict {
    BLOCK_STORED = 1,  /* recorded and durable */
    BLOCK_REPEAT = 2,  /* the same bytes were recorded before: as good as stored */
    BLOCK_FORK = 3,    /* another block was recorded under this number: kept aside, alarmed */
    BLOCK_REFUSED = 4, /* cannot be opened, or does not fit its chain: kept aside, alarmed */
    BLOCK_RETRY = 5,   /* the origin cannot take it now (disk, shutdown): send again later */
};

/* A block that the edge can no longer produce: rot. */
struct block_loss {
    struct pl_id128 incarnation;
    uint64_t number;
    uint8_t hash[BLOCK_HASH_BYTES]; /* zeros when even that is lost */
    uint32_t events;
};

/* A link's health in words, for probes. */
#define LINK_REASON_BYTES 160

#endif
