/*
 * block: the unit of durability and of replication: a run of events, compressed, sealed to the
 * origin and linked to the block before it.
 *
 * Promise: a block is a 144-byte header and a sealed body; the header is authenticated with the
 * body, and the block's hash covers both. Only the origin can open it, and opening proves which
 * edge sealed it. A sealer's epoch ends after epoch_ms or epoch_seals; its key is wiped then.
 */
#ifndef POLDER_PROTO_WIRE_BLOCK_H
#define POLDER_PROTO_WIRE_BLOCK_H

#include "proto/base/clock.h"
#include "proto/base/id.h"
#include "proto/wire/hpke.h"

#define BLOCK_HEADER_BYTES 144
#define BLOCK_HASH_BYTES   32
#define BLOCK_KEY_ID_BYTES 8

struct block_header {
    struct pl_id128 edge;
    struct pl_id128 incarnation;             /* of the chain */
    uint64_t number;                         /* from 0 */
    uint8_t previous_hash[BLOCK_HASH_BYTES]; /* zeros in block 0 */
    uint32_t events;
    uint32_t plain_bytes;                    /* of the events before compression */
    int64_t sealed_ms;                       /* the edge's wall clock */
    uint8_t seal_key_id[BLOCK_KEY_ID_BYTES]; /* which key of the origin opens it */
    uint8_t enc[HPKE_ENC_BYTES];             /* the epoch */
    uint64_t sequence;                       /* in the epoch */
    uint32_t sealed_bytes;                   /* of the body */
};

/* First 8 bytes of SHA-256 of the public key. */
void block_key_id(const uint8_t seal_public[PL_X25519_BYTES], uint8_t id[BLOCK_KEY_ID_BYTES]);

/* Splits one block (exactly the whole span). Checks magic, version, lengths and limits, not the
 * seal. *body views block. */
enum pl_err block_parse(struct pl_span block, struct block_header *header, struct pl_span *body,
                        struct pl_why *why);
void block_hash(struct pl_span block, uint8_t hash[BLOCK_HASH_BYTES]);

/* ---- the edge's side; single-owner */
struct block_sealer;
struct block_sealer_config {
    struct pl_id128 edge;
    const uint8_t *edge_secret;   /* X25519, 32 bytes; copied into locked memory */
    const uint8_t *origin_public; /* X25519, 32 bytes */
    int64_t epoch_ms;             /* 0: ten minutes */
    uint64_t epoch_seals;         /* 0: 2^20 */
    const struct pl_random *random;
    const struct pl_clock *clock;
};
enum pl_err block_sealer_new(struct block_sealer **out, const struct block_sealer_config *config);
void block_sealer_free(struct block_sealer *sealer);
/* A new key of the origin: the next seal starts an epoch for it. */
enum pl_err block_sealer_set_origin(struct block_sealer *sealer,
                                    const uint8_t origin_public[PL_X25519_BYTES]);
/* Ends an epoch whose time is up. Sealing does so by itself; an idle owner calls this now and
 * then, so that no key outlives its epoch. */
void block_sealer_tick(struct block_sealer *sealer);
/* Compresses and seals plain (encoded events, back to back); appends the block to out. The
 * caller fills edge-independent header fields: incarnation, number, previous_hash, events; the
 * rest is filled in here. PL_ELIMIT: plain over LIMIT_BLOCK_PLAIN_BYTES, more events than
 * LIMIT_BLOCK_EVENTS, or the block over LIMIT_BLOCK_BYTES. PL_EINVAL: no events. Milliseconds
 * when an epoch begins, else microseconds. */
enum pl_err block_seal(struct block_sealer *sealer, struct block_header *header,
                       struct pl_span plain, struct pl_buf *out, uint8_t hash[BLOCK_HASH_BYTES]);

/* ---- the origin's side; single-owner (one per opener thread) */
struct block_opener;
struct block_opener_keys {
    /* Copies the X25519 secret that belongs to a seal key id. PL_ENOTFOUND: unknown;
     * PL_EEXPIRED: destroyed. Any thread. */
    enum pl_err (*seal_secret)(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                               uint8_t secret[PL_X25519_BYTES]);
    /* Copies an edge's X25519 public key. PL_ENOTFOUND: not enrolled; PL_EDENIED: revoked. */
    enum pl_err (*edge_public)(void *ctx, const struct pl_id128 *edge,
                               uint8_t public_key[PL_X25519_BYTES]);
    void *ctx;
};
enum pl_err block_opener_new(struct block_opener **out, const struct block_opener_keys *keys);
void block_opener_free(struct block_opener *opener);
/* Wipes every context it keeps: keys have been destroyed, and with what was derived from them
 * blocks would still open. */
void block_opener_forget(struct block_opener *opener);
/* Appends the plain events to out (at most header->plain_bytes; any other size is PL_ECORRUPT).
 * Keeps the last 16 epochs' contexts. PL_EAUTH: not sealed by that edge for this origin. A
 * revoked edge is refused even when its epoch is cached. */
enum pl_err block_open(struct block_opener *opener, const struct block_header *header,
                       struct pl_span block, struct pl_buf *out, struct pl_why *why);

#endif
