/*
 * keyring: the wrapped keys, in a small append-only file kept on two or more paths, outside the
 * database and its backups. SPEC.md, "Keyring file", gives every byte.
 *
 * Promise: a key is durable on every path before its first use. Records are hash-chained; the
 * chain covers the hash of each wrapped key instead of its bytes, so a file stays verifiable
 * after a key in it was destroyed. Destroying needs the origin's signature; a key that is gone
 * without one is an alarm, never a deletion. On open a path that is behind or damaged is restored
 * from the longest whole one; paths that tell different stories are refused. Unwrapped keys live
 * in locked memory until they are destroyed or the keyring closes.
 *
 * What destroying cannot promise: each path's bytes are overwritten in place before their file is
 * removed, but a copy-on-write file system, a flash controller or somebody's own backup may keep
 * old blocks. What they keep is wrapped, so the key-encryption key's rotation ends that too.
 *
 * Any thread may call. Lookups touch memory only; calls that say so block on the disk.
 */
#ifndef POLDER_ORIGIN_KEYRING_KEYRING_H
#define POLDER_ORIGIN_KEYRING_KEYRING_H

#include "origin/alarms.h"
#include "proto/base/clock.h"
#include "proto/base/crypto.h"
#include "proto/base/log.h"
#include "proto/wire/block.h"

#define KEYRING_DATA_KEY_BYTES 32
#define KEYRING_REASON_BYTES   128 /* with the NUL */
#define KEYRING_KEK_TEXT_LIMIT 4096
#define KEYRING_KEK_LIMIT      16
#define KEYRING_PATH_LIMIT     8
#define KEYRING_FILE_BYTES_MAX (256u << 20)

struct keyring;

struct keyring_config {
    const char *const *paths; /* files; two or more, best on different disks */
    size_t path_count;
    /* Make new files when no path holds one. Set it only for a new database: a keyring that went
     * missing must not be replaced by an empty one. */
    bool create;
    struct pl_span kek_text;   /* as keyring_kek_load gives it */
    struct pl_span signer_pem; /* the origin's ECDSA key; signs destructions */
    /* SubjectPublicKeyInfo DER of earlier signing keys, whose destructions still count. */
    const struct pl_span *earlier_signers;
    size_t earlier_signer_count;
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
};

/* The text with key-encryption keys: lines of 64 hex digits, the last one current, earlier ones
 * still unwrap. From a 0600 file, or from a command's output; exactly one of the two is given.
 * out's limit should be KEYRING_KEK_TEXT_LIMIT; the caller wipes it. Blocks. */
enum pl_err keyring_kek_load(const char *file, const char *command, struct pl_buf *out,
                             struct pl_why *why);

/* PL_ENOTFOUND: no file on any path and create is not set. PL_EFORK: the paths diverge.
 * PL_ECORRUPT: no path is whole, or one holds something else. PL_EAUTH: a destruction's signature
 * does not verify, or kek_text unwraps no key at all. PL_EEXISTS: another process has the first
 * path: that is the one that is locked, so two origins must not share any of the others. A path
 * that cannot be restored is an error too. Blocks. */
enum pl_err keyring_open(struct keyring **out, const struct keyring_config *config,
                         struct pl_why *why);
void keyring_close(struct keyring *keyring); /* wipes; NULL is fine */

/* ---- data keys, one per account */

/* Makes the account's data key. PL_EEXISTS when it has (or had) one. PL_EIO, PL_ENOSPC: a path
 * could not be written; nothing changed. Blocks. */
enum pl_err keyring_new_key(struct keyring *keyring, uint64_t account, struct pl_why *why);
/* PL_ENOTFOUND: never had one. PL_EEXPIRED: destroyed. PL_ECORRUPT: missing without a signed
 * destruction (the alarm). The caller wipes key. Memory only. */
enum pl_err keyring_key(struct keyring *keyring, uint64_t account,
                        uint8_t key[KEYRING_DATA_KEY_BYTES]);

struct keyring_destruction {
    int64_t wall_ms;
    char reason[KEYRING_REASON_BYTES];
    uint8_t signer_id[8];                /* first 8 bytes of SHA-256 of the signer's SPKI */
    uint8_t chain_hash[PL_SHA256_BYTES]; /* of the record, for certificates */
    uint8_t previous_hash[PL_SHA256_BYTES];
    uint8_t signature[PL_SIGNATURE_MAX_BYTES];
    size_t signature_len;
};
/* Destroys the account's data key on every path. From the first path on it cannot be undone;
 * an error after that means that some path still has to be scrubbed: call again until PL_OK
 * (calling for a destroyed key is fine and gives the first destruction). PL_ENOTFOUND: never had
 * one. out may be NULL. Blocks. */
enum pl_err keyring_destroy(struct keyring *keyring, uint64_t account, const char *reason,
                            struct keyring_destruction *out, struct pl_why *why);
/* The record of an earlier destruction; PL_ENOTFOUND when there is none. Memory only. */
enum pl_err keyring_destruction(struct keyring *keyring, uint64_t account,
                                struct keyring_destruction *out);

/* ---- the origin's sealing keys (X25519), found by the id that blocks carry */

/* Makes a new one; it is current from now on. Blocks. */
enum pl_err keyring_new_seal_key(struct keyring *keyring, uint8_t public_key[PL_X25519_BYTES],
                                 struct pl_why *why);
/* PL_ENOTFOUND: there is none yet. Memory only. */
enum pl_err keyring_current_seal_key(struct keyring *keyring, uint8_t public_key[PL_X25519_BYTES]);
/* For block_opener_keys.seal_secret; ctx is the keyring. Memory only. */
enum pl_err keyring_seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                uint8_t secret[PL_X25519_BYTES]);
/* As keyring_destroy. */
enum pl_err keyring_destroy_seal_key(struct keyring *keyring, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                     const char *reason, struct keyring_destruction *out,
                                     struct pl_why *why);

/* ---- the origin's signature */

/* Signs with the key that signs destructions; as pl_sign. Waits for changes of the keyring under
 * way. */
enum pl_err keyring_sign(struct keyring *keyring, struct pl_span message, uint8_t *signature,
                         size_t *signature_len);
/* Its public half, SubjectPublicKeyInfo DER. Appends. */
enum pl_err keyring_signer(struct keyring *keyring, struct pl_buf *spki_der);

/* ---- care */

/* Takes a new text of key-encryption keys and wraps every live key under its last line, in every
 * path; older wrappings are overwritten. Lookups go on meanwhile. The new text must still hold
 * the lines that current wrappings need (PL_EAUTH). *count (may be NULL) is how many were
 * re-wrapped. Blocks. */
enum pl_err keyring_rewrap(struct keyring *keyring, struct pl_span kek_text, size_t *count,
                           struct pl_why *why);

/* Brings paths that an earlier write failed on up to date; an error: one cannot be. A destruction
 * is not done before. Memory only when none is behind, else it blocks. */
enum pl_err keyring_mend(struct keyring *keyring, struct pl_why *why);

/* Goes up whenever a key is destroyed: whoever caches derived keys compares. Any thread, cheap. */
uint64_t keyring_generation(const struct keyring *keyring);

enum keyring_key_state {
    KEYRING_LIVE,
    KEYRING_DESTROYED,
    KEYRING_MISSING, /* gone or damaged on every path, without a destruction: alarm */
    KEYRING_LOCKED,  /* there, but no key-encryption key at hand unwraps it: alarm */
};
struct keyring_state {
    bool seal_key;    /* else an account's data key */
    uint64_t account; /* data keys */
    uint8_t seal_id[BLOCK_KEY_ID_BYTES];
    enum keyring_key_state state;
    int64_t created_ms;
    int64_t destroyed_ms; /* 0: not */
    uint8_t kek_id[8];
};
/* Calls visit for every key, data keys first, by id. visit must not call the keyring. */
void keyring_states(struct keyring *keyring,
                    void (*visit)(void *ctx, const struct keyring_state *state), void *ctx);

struct keyring_status {
    size_t live, destroyed, missing, locked;
    size_t paths, paths_behind; /* behind: a write failed there; the next change restores it */
    uint8_t kek_id[8];          /* current */
    uint64_t records;
    uint8_t chain_hash[PL_SHA256_BYTES];
    struct alarms alarms;
};
void keyring_status(struct keyring *keyring, struct keyring_status *out);

#endif
