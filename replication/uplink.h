/*
 * uplink: the edge's end of the link. Moves blocks up and the changelog down over one
 * connection with mutual TLS at a time (pipe.h), for as long as the process lives.
 *
 * Promise: every block the source offers is sent until the origin gives its verdict, across any
 * number of reconnects, and acked to the source once; blocks in flight are bounded in bytes, not
 * in number. The feed is followed in order; after a change of epoch it starts from nothing. A cut
 * path shows in uplink_status within 3 s. It is given up, and dialled anew, within 3 s as well, but
 * where blocks were slow: after three times as long as the last ones took to be acked, a minute at
 * most. Losing the origin is not an error: it is retried for ever, with
 * back-off up to 2 s. Two threads of its own, the sender and the follower; callbacks below say
 * which one calls them.
 */
#ifndef POLDER_REPLICATION_UPLINK_H
#define POLDER_REPLICATION_UPLINK_H

#include "proto/base/crypto.h"
#include "proto/base/log.h"
#include "replication/chain.h"

/* Where blocks come from. Called by the sender thread; may block on the disk. */
struct uplink_source {
    void *ctx;
    /* Chains that have blocks to send or books to settle, oldest first, the live one last.
     * Gives at most max; *count is how many. */
    enum pl_err (*chains)(void *ctx, struct chain_claim *out, size_t max, size_t *count);
    /* Appends the first unacked block at or after *number and sets *number to its own.
     * PL_ENOTFOUND: none yet. PL_ECORRUPT: that block is lost; *loss says which (number and all),
     * and the next call may ask for the one after it. */
    enum pl_err (*read)(void *ctx, const struct pl_id128 *incarnation, uint64_t *number,
                        struct pl_buf *out, struct block_loss *loss);
    /* The origin's verdict on a block, or on a declared loss (BLOCK_STORED/BLOCK_REPEAT). Blocks
     * stored or repeated may be trimmed; forked or refused ones must be kept aside and reported. */
    enum pl_err (*verdict)(void *ctx, const struct pl_id128 *incarnation, uint64_t number,
                           enum block_verdict verdict);
    /* What the origin holds of our chains, at every PING: the books. Mismatches are the caller's
     * to alarm. */
    void (*books)(void *ctx, const struct chain_record *records, size_t count);
    /* Up to where this edge is settled (frame.h), for every PING. Memory only; NULL: nowhere. */
    void (*settled)(void *ctx, struct frame_settled *out);
};

/* Where the changelog goes. Called by the follower thread; may block on the disk. */
struct uplink_sink {
    void *ctx;
    /* The position to follow from: *epoch and *position as last given to apply; zeros at first. */
    void (*position)(void *ctx, struct pl_id128 *epoch, uint64_t *position);
    /* A page of items in order. restart: the epoch is new; what is not named until the page with
     * caught_up no longer exists. items are encoded catalog items, each behind a u32 length. */
    enum pl_err (*apply)(void *ctx, const struct pl_id128 *epoch, bool restart, uint64_t position,
                         bool caught_up, struct pl_span items);
    /* The origin was heard: its clock, ours when heard (for "config age" and clock skew). At
     * least once a second while connected. caught_up: nothing newer exists at the origin. */
    void (*heard)(void *ctx, int64_t origin_wall_ms, bool caught_up);
};

struct uplink_config {
    const char *origin_url;  /* "tls+tcp://host:port" */
    const char *server_name; /* name in the origin's certificate */
    const char *ca_file;     /* PEM */
    const char *cert_file;   /* PEM: this edge's certificate */
    const char *key_file;    /* PEM: its ECDSA P-256 key; also signs HELLO */
    struct pl_id128 edge;
    const char *region;
    size_t window_bytes; /* 0: 32 MiB */
    struct uplink_source source;
    struct uplink_sink sink;
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
};

struct uplink;
/* Reads keys and certificates; starts nothing. */
enum pl_err uplink_new(struct uplink **out, const struct uplink_config *config, struct pl_why *why);
/* Starts both threads and dials. */
enum pl_err uplink_start(struct uplink *uplink, struct pl_why *why);
/* A block became durable. Any thread; cheap; never blocks. */
void uplink_wake(struct uplink *uplink);
/* Stops both threads; what is in flight is forgotten and will be sent again by the next process.
 * drain_ms > 0: first waits up to that long for everything the source offers to be acked. */
void uplink_stop(struct uplink *uplink, int64_t drain_ms);
void uplink_free(struct uplink *uplink); /* stopped or never started; NULL is fine */

struct uplink_status {
    bool connected;              /* session accepted, answers within 3 s */
    bool revoked;                /* the origin refuses this edge */
    int64_t last_heard_mono_ms;  /* 0: never */
    int64_t round_trip_us;       /* of the last PING */
    int64_t certificate_ends_ms; /* wall clock: the certificate of this edge, or its CA's */
    int64_t clock_skew_ms;       /* our clock minus the origin's, as last heard */
    uint64_t connects;           /* sessions since start */
    uint64_t blocks_sent, bytes_sent, blocks_acked, repeats, forks, refused, losses;
    size_t in_flight_bytes;
    char reason[LINK_REASON_BYTES]; /* why not connected, for people; "" when connected */
};
void uplink_status(const struct uplink *uplink, struct uplink_status *out); /* any thread */

#endif
