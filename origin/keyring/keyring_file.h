/*
 * keyring_file: the keyring's bytes in memory: records, their chain, and the keys they describe.
 * Private to the keyring.
 *
 * Promise: scanning never trusts a length; it says how far the bytes are whole and how they end.
 * A record's chain hash covers everything in it but wrapped key bytes, for which their own hash
 * stands in.
 */
#ifndef POLDER_ORIGIN_KEYRING_KEYRING_FILE_H
#define POLDER_ORIGIN_KEYRING_KEYRING_FILE_H

#include "origin/keyring/keyring.h"

#define KEYRING_MAGIC        "POLDERKR"
#define KEYRING_VERSION      1u
#define KEYRING_HEADER_BYTES 32u
#define KEYRING_WRAP_BYTES   60u /* nonce, key, tag */

enum keyring_kind { KEYRING_NEW = 1, KEYRING_REWRAP = 2, KEYRING_DESTROY = 3 };
enum keyring_subject { KEYRING_DATA_KEY = 1, KEYRING_SEAL_KEY = 2 };

/* One record; a view for what it points to. */
struct keyring_record {
    enum keyring_kind kind;
    enum keyring_subject subject;
    uint8_t id[8]; /* the account, big-endian, or the seal key's id */
    int64_t wall_ms;
    /* new, rewrap */
    uint8_t kek_id[8];
    uint8_t public_key[PL_X25519_BYTES]; /* seal keys; zeros otherwise */
    uint8_t wrap_hash[PL_SHA256_BYTES];
    size_t wrap_offset; /* in the file */
    /* destroy */
    struct keyring_destruction destruction;
    /* all */
    uint8_t previous_hash[PL_SHA256_BYTES];
    uint8_t chain_hash[PL_SHA256_BYTES];
    size_t end_offset;
};

/* A new file's header; id is random and seeds the chain. */
void keyring_header(const uint8_t id[16], uint8_t out[KEYRING_HEADER_BYTES]);

/* Walks a file: *record is the next one. PL_ENOTFOUND: a clean end. PL_EAGAIN: the file ends
 * within a record (torn). PL_ECORRUPT: not what was written. PL_EUNSUPPORTED: of a newer build. */
struct keyring_walk {
    struct pl_span file;
    size_t offset; /* everything before it is whole */
    uint8_t chain_hash[PL_SHA256_BYTES];
};
enum pl_err keyring_walk_begin(struct keyring_walk *walk, struct pl_span file);
enum pl_err keyring_walk_next(struct keyring_walk *walk, struct keyring_record *record);
/* Whether the bytes at the walk's offset make up exactly the file's last record. */
bool keyring_walk_at_last(const struct keyring_walk *walk);

/* Append a record whose chain goes on from *chain_hash, which is moved on. wrap: the wrapped key
 * (record->wrap_hash is filled in). record's offsets and hashes are filled in. */
enum pl_err keyring_append_wrap(struct pl_buf *file, uint8_t chain_hash[PL_SHA256_BYTES],
                                struct keyring_record *record,
                                const uint8_t wrap[KEYRING_WRAP_BYTES]);
/* Signs and appends; reads the subject, id, destruction.wall_ms and reason. */
enum pl_err keyring_append_destroy(struct pl_buf *file, uint8_t chain_hash[PL_SHA256_BYTES],
                                   struct keyring_record *record, struct pl_signer *signer);
/* What a destruction's signature is over. */
void keyring_destroy_message(const struct keyring_record *record, struct pl_buf *out);

/* ---- key-encryption keys */

struct keyring_keks {
    size_t count; /* the last is current */
    struct {
        uint8_t id[8];
        uint8_t key[PL_AEAD_KEY_BYTES];
    } items[KEYRING_KEK_LIMIT];
};
/* In locked memory; free with pl_secret_free(keks, sizeof(*keks)). */
enum pl_err keyring_keks_parse(struct keyring_keks **out, struct pl_span text, struct pl_why *why);
enum pl_err keyring_wrap(const struct keyring_keks *keks, const struct pl_random *random,
                         enum keyring_subject subject, const uint8_t id[8], const uint8_t key[32],
                         uint8_t wrap[KEYRING_WRAP_BYTES]);
/* PL_ENOTFOUND: no such key-encryption key; PL_EAUTH: does not unwrap. */
enum pl_err keyring_unwrap(const struct keyring_keks *keks, const uint8_t kek_id[8],
                           enum keyring_subject subject, const uint8_t id[8],
                           const uint8_t wrap[KEYRING_WRAP_BYTES], uint8_t key[32]);

/* ---- one path on disk */

/* One process at a time; closing *fd unlocks. PL_EEXISTS: another one has it. */
enum pl_err keyring_path_lock(const char *path, int *fd, struct pl_why *why);

/* Appends the file's bytes; PL_ENOTFOUND when there is none. Finishes what a crash left of an
 * earlier replacement: old copies are overwritten and removed. */
enum pl_err keyring_path_read(const char *path, struct pl_buf *out, struct pl_why *why);
/* The file is known to hold `before` bytes; adds more. On failure it is cut back as far as
 * possible. */
enum pl_err keyring_path_append(const char *path, size_t before, struct pl_span more,
                                struct pl_why *why);
/* Cuts the file back to `len` bytes, on disk when it returns PL_OK. */
enum pl_err keyring_path_cut(const char *path, size_t len);
/* A whole new file in its place; the old one's bytes are overwritten before it goes. *replaced
 * says whether the new file took its place, also when an error came later. */
enum pl_err keyring_path_replace(const char *path, struct pl_span file, bool *replaced,
                                 struct pl_why *why);

#endif
