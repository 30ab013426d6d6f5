/*
 * receiver: the origin's end of the link. Takes blocks from any number of edges, each over a
 * connection of its own with mutual TLS (pipe.h), and hands the changelog out.
 *
 * Promise: nothing is handed on from a pipe that has not proved, by signing a fresh nonce with
 * the key enrolled for it, which edge it is; a revoked edge's session ends within a second.
 * Connections without such a proof are bounded apart from sessions, and the newest are kept. A
 * block is acked only with the verdict its taker gives. Memory is bounded: at most
 * max_pending_bytes of blocks wait for verdicts; beyond that, frames are left unread, and when no
 * verdict comes for half a second they are sent back with BLOCK_RETRY, so that PING and FEED go
 * on. Callbacks come from nng's threads and must not block, unless they say so.
 */
#ifndef POLDER_REPLICATION_RECEIVER_H
#define POLDER_REPLICATION_RECEIVER_H

#include "proto/base/crypto.h"
#include "proto/base/log.h"
#include "replication/chain.h"

struct receiver;
struct receiver_frame; /* a frame of blocks that waits for its verdicts */

struct receiver_ops {
    void *ctx;
    /* The ECDSA public key (SPKI DER) enrolled for an edge. PL_ENOTFOUND, PL_EDENIED (revoked).
     * Memory only. */
    enum pl_err (*edge_key)(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der);
    /* A frame with blocks. The taker keeps `frame`, walks it with receiver_frame_entry, and gives
     * it back with receiver_frame_done, from any thread, in any order. */
    void (*blocks)(void *ctx, const struct pl_id128 *edge, struct receiver_frame *frame);
    /* What the ledger says about an edge's chains named in `claims` (count of them): one record
     * each, in order. Called from a thread of the receiver's own; may block on the disk. */
    enum pl_err (*books)(void *ctx, const struct pl_id128 *edge, const struct chain_claim *claims,
                         size_t count, struct chain_record *records);
    /* Up to where an edge says that it is settled (frame.h), with every PING. Called from a thread
     * of the receiver's own; may block on the disk; may be NULL. */
    void (*settled)(void *ctx, const struct pl_id128 *edge, const struct frame_settled *settled);
    /* A page of the changelog after position: appends items (u32 length + bytes each), sets
     * *position, *caught_up; at most max_bytes. *epoch is the one that the edge follows, and is set
     * to the changelog's. PL_ENOTFOUND: nothing after it; *epoch is set then, too, because an edge
     * that follows an earlier epoch learns of the new one by it. Called from a thread of the
     * receiver's own; may block on the disk. */
    enum pl_err (*feed)(void *ctx, struct pl_id128 *epoch, uint64_t *position, size_t max_bytes,
                        struct pl_buf *items, bool *caught_up);
    /* A session began or ended; region and clock as the edge says. Called from a thread of the
     * receiver's own, in order; may be NULL. */
    void (*session)(void *ctx, const struct pl_id128 *edge, const char *region, bool up,
                    int64_t edge_wall_ms);
    /* Somebody was turned away, which nothing else tells of: who says it is an edge that is not
     * enrolled (PL_ENOTFOUND) or is revoked (PL_EDENIED), whose proof does not verify (PL_EAUTH),
     * or, with edge NULL, whose certificate TLS refused (PL_EAUTH). from: the address, 4 or 16
     * bytes; empty: not known. From nng's threads, must not block; may be NULL. */
    void (*refused)(void *ctx, const struct pl_id128 *edge, enum pl_err err, struct pl_span from);
};

struct receiver_config {
    const char *listen_url;                     /* "tls+tcp://0.0.0.0:8090" */
    const char *ca_file, *cert_file, *key_file; /* PEM */
    size_t max_pending_bytes;                   /* 0: 128 MiB */
    unsigned contexts;                          /* 0: 64 frames under way at once */
    size_t strangers_max; /* connections that have not proved whose they are; 0: 1024, or
                           * a quarter of the files that may be open */
    struct receiver_ops ops;
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
};

enum pl_err receiver_new(struct receiver **out, const struct receiver_config *config,
                         struct pl_why *why);
/* Listens. PL_EEXISTS: address in use. */
enum pl_err receiver_start(struct receiver *receiver, struct pl_why *why);
/* Where it listens, when listen_url left that to the system with port 0. */
uint16_t receiver_port(const struct receiver *receiver);
/* Stops taking frames, answers RETRY for those without a verdict, waits for every frame that is
 * out with a taker, closes. */
void receiver_stop(struct receiver *receiver);
void receiver_free(struct receiver *receiver);

/* Number of entries in a frame, and the i-th: a block's bytes (a view until done), or a loss
 * that the edge declares (then *block is empty). */
size_t receiver_frame_count(const struct receiver_frame *frame);
bool receiver_frame_entry(const struct receiver_frame *frame, size_t i, struct pl_span *block,
                          struct block_loss *loss);
/* One verdict per entry; the frame is gone afterwards. Any thread. */
void receiver_frame_done(struct receiver_frame *frame, const enum block_verdict *verdicts);

/* The changelog has grown: wakes parked polls. Any thread; cheap. */
void receiver_feed_changed(struct receiver *receiver);
/* An edge was revoked or re-enrolled: its sessions must prove themselves again. Any thread. */
void receiver_edge_changed(struct receiver *receiver, const struct pl_id128 *edge);

struct receiver_session {
    struct pl_id128 edge;
    char region[16];
    int64_t since_wall_ms, last_heard_mono_ms, clock_skew_ms;
    uint64_t blocks, bytes;
};
/* Wall clock: when our certificate, or the CA's, ends, as read at the start. Any thread. */
int64_t receiver_certificate_ends_ms(const struct receiver *receiver);
/* Live sessions, at most max. Any thread. */
size_t receiver_sessions(const struct receiver *receiver, struct receiver_session *out, size_t max);
/* How far an edge's clock is ahead of ours, as it told last; 0: it is not, or has no session. Any
 * thread. */
int64_t receiver_edge_ahead_ms(const struct receiver *receiver, const struct pl_id128 *edge);

#endif
