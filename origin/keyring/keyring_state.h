/*
 * keyring_state: the open keyring, as keyring.c and keyring_open.c share it. Private to the
 * keyring.
 */
#ifndef POLDER_ORIGIN_KEYRING_KEYRING_STATE_H
#define POLDER_ORIGIN_KEYRING_KEYRING_STATE_H

#include "origin/keyring/keyring_file.h"

#include <pthread.h>
#include <stdatomic.h>

#define KEYRING_PAGE_BYTES 4096u

struct keyring_entry {
    enum keyring_subject subject;
    uint8_t id[8];
    uint8_t kek_id[8];
    uint8_t public_key[PL_X25519_BYTES];
    enum keyring_key_state state;
    int64_t created_ms;
    size_t made_offset; /* of its first record: the order keys were made in, whatever clocks said */
    size_t wrap_offset;
    uint8_t *key;                            /* in locked memory; live ones only */
    struct keyring_destruction *destruction; /* destroyed ones only */
};

struct keyring_path {
    char *path;
    bool behind; /* a write failed: it must be replaced before the next change */
};

struct keyring {
    /* set when it is opened */
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
    int lock_fd;
    size_t path_count;
    atomic_uint_fast64_t generation;

    /* by whoever changes the keyring */
    pthread_mutex_t change;
    struct pl_signer *signer;
    uint8_t signer_id[8];
    struct keyring_keks *keks;
    struct pl_buf image; /* what every path holds, or will */
    uint8_t chain_hash[PL_SHA256_BYTES];

    /* by everybody, for a few instructions; changed only with `change` held as well */
    pthread_mutex_t state;
    struct keyring_path paths[KEYRING_PATH_LIMIT];
    struct keyring_entry *entries; /* by subject, id */
    size_t entry_count, entry_room;
    uint64_t records;
    uint8_t seal_id[8]; /* the newest live sealing key */
    bool has_seal_key;
    uint8_t kek_id[8];
    uint8_t **pages; /* locked memory for keys */
    size_t page_count, keys_in_last;
    struct alarms alarms;
};

/* NULL when there is none. */
struct keyring_entry *keyring_find(struct keyring *k, enum keyring_subject subject,
                                   const uint8_t id[8]);
/* PL_EEXISTS. The new entry has no key yet. */
enum pl_err keyring_insert(struct keyring *k, const struct keyring_record *record,
                           struct keyring_entry **out);
/* A copy of key in locked memory. */
enum pl_err keyring_hold(struct keyring *k, struct keyring_entry *entry, const uint8_t key[32]);
/* Marks an entry destroyed and wipes its key. Takes over destruction, which is malloc's. */
void keyring_mark_destroyed(struct keyring *k, struct keyring_entry *entry,
                            struct keyring_destruction *destruction);
/* The newest live sealing key is the one edges seal to. */
void keyring_pick_seal_key(struct keyring *k);
#define keyring_alarm(k, ...)                                                                      \
    alarms_raise(&(k)->alarms, &(k)->state, (k)->log, "keyring", __VA_ARGS__)

/* ---- changes; the caller holds `change` */

/* Paths that an earlier write failed on get the whole file. */
enum pl_err keyring_catch_up(struct keyring *k, struct pl_why *why);
enum pl_err keyring_copy_image(struct keyring *k, struct pl_buf *copy, struct pl_why *why);
/* Replaces every path; *committed as soon as one of them holds the new file. */
enum pl_err keyring_replace_everywhere(struct keyring *k, const struct pl_buf *image,
                                       bool *committed, struct pl_why *why);
/* The copy becomes the image; the old one, with whatever was scrubbed, is wiped. Holds `state`
 * as well. */
void keyring_adopt(struct keyring *k, struct pl_buf *copy,
                   const uint8_t chain_hash[PL_SHA256_BYTES], uint64_t new_records);

/* Reads, verifies and restores the paths, fills the entries. */
enum pl_err keyring_load(struct keyring *k, const struct keyring_config *config,
                         struct pl_why *why);

static inline uint8_t *keyring_wrap_at(struct pl_buf *image, size_t wrap_offset)
{
    return image->data + wrap_offset;
}
/* The hash stands right before the wrapped bytes. */
static inline bool keyring_wrap_is_whole(struct pl_span image, size_t wrap_offset)
{
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(pl_span(image.data + wrap_offset, KEYRING_WRAP_BYTES), hash);
    return memcmp(hash, image.data + wrap_offset - PL_SHA256_BYTES, PL_SHA256_BYTES) == 0;
}

#endif
