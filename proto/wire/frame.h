/*
 * frame: what the two ends of the link say to each other: five requests and seven replies, and
 * the vocabulary of chains they share. Numbers, hashes and counts; a block is opaque bytes here.
 *
 * Promise: parsing never reads past the frame, checks every length, count, flag and limit, names
 * the field that is wrong, and leaves views into the given bytes: nothing is copied. What is
 * parsed encodes to the same bytes again. An encoder appends one whole frame or, when it fails,
 * a part the caller throws away. Layouts are in SPEC.md, "Frames".
 */
#ifndef POLDER_PROTO_WIRE_FRAME_H
#define POLDER_PROTO_WIRE_FRAME_H

#include "proto/wire/block.h"
#include "proto/wire/limits.h"

#define FRAME_VERSION        1
#define FRAME_NONCE_BYTES    32
#define FRAME_REGION_BYTES   15 /* visible ASCII */
#define FRAME_SENTENCE_BYTES 400
#define FRAME_CHAINS_MAX     256  /* claims or records in one frame */
#define FRAME_ENTRIES_MAX    8192 /* blocks and losses in one frame */
#define FRAME_ITEMS_BYTES    LIMIT_BLOCK_BYTES
#define FRAME_WAIT_MAX_MS    60000

enum frame_type {
    FRAME_HELLO = 0x01, /* asks for a challenge */
    FRAME_PROVE = 0x02, /* answers it: which edge this pipe belongs to */
    FRAME_BLOCKS = 0x03,
    FRAME_FEED = 0x04,
    FRAME_PING = 0x05,

    FRAME_CHALLENGE = 0x81,
    FRAME_WELCOME = 0x82,
    FRAME_ACKS = 0x83,
    FRAME_PAGE = 0x84,
    FRAME_PONG = 0x85,
    FRAME_HELLO_FIRST = 0x86, /* this pipe has not proved itself */
    FRAME_REFUSED = 0x87,
};

enum frame_refusal {
    FRAME_REFUSED_MALFORMED = 1,
    FRAME_REFUSED_VERSION = 2,
    FRAME_REFUSED_UNKNOWN = 3,   /* no such edge is enrolled */
    FRAME_REFUSED_REVOKED = 4,   /* it was */
    FRAME_REFUSED_SIGNATURE = 5, /* or the nonce is stale */
    FRAME_REFUSED_BUSY = 6,
};

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

/* Fixed-size elements back to back, checked when the frame was parsed. */
struct frame_list {
    size_t count;
    struct pl_span bytes;
};
/* i < list->count. Of the kind the frame says it holds. */
struct chain_claim frame_claim(const struct frame_list *list, size_t i);
struct chain_record frame_record(const struct frame_list *list, size_t i);
enum block_verdict frame_verdict(const struct frame_list *list, size_t i);

struct frame_prove {
    struct pl_id128 edge;
    uint8_t nonce[FRAME_NONCE_BYTES];
    struct pl_span signature; /* DER, over frame_proof() */
    struct pl_span region;
    int64_t wall_ms;
};
/* Up to where an edge is settled: it follows the feed that far, and no block that it sealed before
 * it did remains in any file of it. Zeros: it cannot say. */
struct frame_settled {
    struct pl_id128 epoch;
    uint64_t position;
};
struct frame_feed {
    struct pl_id128 epoch;
    uint64_t position;
    uint32_t wait_ms;
};
struct frame_page {
    struct pl_id128 epoch;
    bool restart, caught_up;
    uint64_t position;
    int64_t wall_ms;
    struct pl_span items; /* each behind a u32 length */
};

/* Fields are those of the type; the rest is zero. */
struct frame {
    enum frame_type type;
    struct frame_prove prove;
    struct frame_feed feed;
    struct frame_page page;
    struct frame_settled settled;     /* PING */
    uint8_t nonce[FRAME_NONCE_BYTES]; /* CHALLENGE */
    int64_t wall_ms;                  /* PING, PONG, WELCOME */
    bool caught_up;                   /* PONG: the feed has nothing newer for this session */
    struct frame_list list;           /* claims: PROVE, PING; records: WELCOME, PONG; ACKS */
    size_t entries;                   /* BLOCKS */
    struct pl_span entry_bytes;
    enum frame_refusal refusal; /* REFUSED */
    struct pl_span sentence;
};
/* Exactly the whole span; views live as long as it does. PL_EUNSUPPORTED: another version. */
enum pl_err frame_parse(struct pl_span bytes, struct frame *out, struct pl_why *why);

/* One entry of BLOCKS: a block, or (block empty) a loss. */
struct frame_entry {
    struct pl_span block;
    struct block_loss loss;
};
/* Walks entry_bytes of a parsed frame; false at the end. */
bool frame_entry_next(struct pl_span *rest, struct frame_entry *entry);

/* What PROVE's signature covers: purpose, nonce and edge. */
#define FRAME_PROOF_BYTES 64
void frame_proof(const uint8_t nonce[FRAME_NONCE_BYTES], const struct pl_id128 *edge,
                 uint8_t out[FRAME_PROOF_BYTES]);

/* ---- encoders. PL_EINVAL: a field is out of its range; PL_ELIMIT: too many, or out is full. */
enum pl_err frame_put_hello(struct pl_buf *out);
enum pl_err frame_put_prove(struct pl_buf *out, const struct frame_prove *prove,
                            const struct chain_claim *claims, size_t count);
enum pl_err frame_put_feed(struct pl_buf *out, const struct frame_feed *feed);
enum pl_err frame_put_ping(struct pl_buf *out, int64_t wall_ms, const struct frame_settled *settled,
                           const struct chain_claim *claims, size_t count);
/* BLOCKS is built up in place: out must hold this frame alone, from its first byte. */
enum pl_err frame_put_blocks(struct pl_buf *out);
enum pl_err frame_add_block(struct pl_buf *out, struct pl_span block);
enum pl_err frame_add_loss(struct pl_buf *out, const struct block_loss *loss);
#define FRAME_BLOCK_HEAD_BYTES 5 /* beside the block itself */
#define FRAME_LOSS_BYTES       (1 + 16 + 8 + BLOCK_HASH_BYTES + 4)

enum pl_err frame_put_challenge(struct pl_buf *out, const uint8_t nonce[FRAME_NONCE_BYTES]);
enum pl_err frame_put_welcome(struct pl_buf *out, int64_t wall_ms,
                              const struct chain_record *records, size_t count);
enum pl_err frame_put_acks(struct pl_buf *out, const enum block_verdict *verdicts, size_t count);
enum pl_err frame_put_page(struct pl_buf *out, const struct frame_page *page);
enum pl_err frame_put_pong(struct pl_buf *out, int64_t wall_ms, bool caught_up,
                           const struct chain_record *records, size_t count);
enum pl_err frame_put_hello_first(struct pl_buf *out);
/* The sentence is cut at FRAME_SENTENCE_BYTES; bytes that are not printable become '?'. */
enum pl_err frame_put_refused(struct pl_buf *out, enum frame_refusal refusal, const char *sentence);

#endif
