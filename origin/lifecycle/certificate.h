/*
 * certificate: the proof that an account's data is gone, signed with the origin's key, so that
 * others can verify it without us. SPEC.md, "Certificate of deletion", gives every byte and the
 * openssl commands.
 *
 * Promise: an account has one certificate. It is made once, from what happened, and is kept for
 * good; whoever asks again, and whatever a restore replays, gets the same bytes. The account stands
 * in it by its id, which is random; no name, no address, nothing of a visitor.
 *
 * Any thread may call; everything but the inits blocks on the disk.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CERTIFICATE_H
#define POLDER_ORIGIN_LIFECYCLE_CERTIFICATE_H

#include "origin/keyring/keyring.h"
#include "proto/base/id.h"
#include "proto/store/store.h"

#define CERTIFICATE_BYTES_MAX    (1u << 20)
#define CERTIFICATE_KINDS_MAX    16
#define CERTIFICATE_DELAYS_MAX   64
#define CERTIFICATE_SEALS_MAX    64
#define CERTIFICATE_REASON_BYTES 160

/* How much of one kind stood there when the deletion began. */
struct certificate_count {
    const char *kind; /* "events", "dedupe_entries", "configs", "opt_outs", "links" … */
    bool counted;     /* false: the disk did not let it be counted; the others are then 0 */
    uint64_t items;
    uint64_t bytes; /* of keys and values */
};

/* An edge that could have held blocks from before. Exactly one of the times is set. */
struct certificate_edge {
    struct pl_id128 id;
    char name[64], region[16];
    int64_t confirmed_ms;   /* no block from before the cut-off is in any file of it */
    int64_t written_off_ms; /* it never said so: its blocks cannot be opened any more */
    char reason[CERTIFICATE_REASON_BYTES]; /* why it was written off */
};

/* A sealing key of the origin that blocks of the account may have been sealed to, and that is
 * destroyed. */
struct certificate_seal {
    uint8_t id[BLOCK_KEY_ID_BYTES];
    struct keyring_destruction destruction;
};

/* Why an account that was due was not deleted then. */
struct certificate_delay {
    const char *kind; /* "hold", "import"; freezes of the clock need not be told */
    int64_t from_ms, until_ms;
    char reason[CERTIFICATE_REASON_BYTES];
};

/* What happened, as the deletion found and did it. Zero it, fill it; nothing in it is owned. Times
 * are wall-clock milliseconds; 0: there is none. */
struct certificate_facts {
    uint64_t account;
    bool on_request; /* else because it had expired */
    int64_t created_ms;
    int64_t expired_ms;   /* 0: it had not, when it was deleted on request */
    int64_t requested_ms; /* on_request only */
    int64_t limit_ms;     /* by when the deletion was promised to be done */
    int64_t cleared_ms;   /* days that no hold kept went from then on */
    int64_t started_ms;   /* state deleting synced */
    int64_t dropped_ms;   /* no reader could find anything any more */
    int64_t gone_ms;      /* no file of the database held a byte of it */
    int64_t edges_ms;     /* the last edge confirmed or was written off */
    int64_t ended_ms;     /* now: also the time of the certificate */

    /* The point of no return: the data key's destruction on every path of the keyring. */
    struct keyring_destruction key;
    size_t keyring_paths;
    int64_t backup_days; /* that copies of the keyring are kept at most */

    struct certificate_count counts[CERTIFICATE_KINDS_MAX];
    size_t count_count;

    struct pl_id128 cutoff_epoch; /* the cut-off that edges confirmed */
    uint64_t cutoff_position;
    const struct certificate_edge *edges;
    size_t edge_count;
    struct certificate_seal seals[CERTIFICATE_SEALS_MAX];
    size_t seal_count;

    struct certificate_delay delays[CERTIFICATE_DELAYS_MAX];
    size_t delay_count;

    uint64_t audit_sequence; /* head of the audit log; 0: there is none */
    uint8_t audit_hash[PL_SHA256_BYTES];
};

/* Makes, signs and keeps (synced) the certificate; out gets its bytes. Where the account has one
 * already, nothing is made and out gets that one. Freezes of the clock between expiry (or request)
 * and end are added to the delays. facts is large: keep it off small stacks. out may be NULL. */
enum pl_err certificate_issue(struct store *store, struct keyring *keyring,
                              const struct certificate_facts *facts, struct pl_buf *out,
                              struct pl_why *why);
/* Appends the account's certificate as it was issued. PL_ENOTFOUND: it has none. */
enum pl_err certificate_get(struct store *store, uint64_t account, struct pl_buf *out,
                            struct pl_why *why);
/* Keeps one that was issued before a restore. PL_OK where it is there already; PL_EEXISTS where
 * another one is. */
enum pl_err certificate_put(struct store *store, uint64_t account, struct pl_span certificate,
                            struct pl_why *why);
/* Every certificate, by account. visit's error ends the walk and is given back. */
enum pl_err certificate_each(struct store *store,
                             enum pl_err (*visit)(void *ctx, uint64_t account,
                                                  struct pl_span certificate),
                             void *ctx, struct pl_why *why);

#endif
