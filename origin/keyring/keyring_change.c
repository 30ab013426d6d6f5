/* Changes: made on a copy, brought to every path, and only then true in memory. */
#include "origin/keyring/keyring_state.h"

#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- writing: with `change` held */

static void set_behind(struct keyring *k, size_t i, bool behind)
{
    pthread_mutex_lock(&k->state);
    k->paths[i].behind = behind;
    pthread_mutex_unlock(&k->state);
}

/* Paths that an earlier write failed on get the whole file. */
enum pl_err keyring_catch_up(struct keyring *k, struct pl_why *why)
{
    enum pl_err first = PL_OK;
    for (size_t i = 0; i < k->path_count; i++) {
        bool replaced;
        if (!k->paths[i].behind)
            continue;
        enum pl_err err = keyring_path_replace(k->paths[i].path, pl_buf_span(&k->image), &replaced,
                                               first == PL_OK ? why : NULL);
        if (err == PL_OK)
            set_behind(k, i, false);
        else if (first == PL_OK)
            first = err;
    }
    return first;
}

enum pl_err keyring_mend(struct keyring *k, struct pl_why *why)
{
    pthread_mutex_lock(&k->change);
    enum pl_err err = keyring_catch_up(k, why);
    pthread_mutex_unlock(&k->change);
    return err;
}

/* What was appended before an append failed goes at once: a path that still had it, and failed when
 * others go on without it, would tell another story. */
static void cut_back(struct keyring *k, size_t count)
{
    for (size_t i = 0; i < count; i++)
        set_behind(k, i, keyring_path_cut(k->paths[i].path, k->image.len) != PL_OK);
}

/* Adds what `more` holds past k->image to every path, or to none. */
static enum pl_err append_everywhere(struct keyring *k, const struct pl_buf *more,
                                     struct pl_why *why)
{
    for (size_t i = 0; i < k->path_count; i++) {
        enum pl_err err = keyring_path_append(k->paths[i].path, k->image.len,
                                              pl_span_from(pl_buf_span(more), k->image.len), why);
        if (err == PL_OK)
            continue;
        /* A record that cannot be cut off was never used: found on open it is kept, which is
         * harmless. */
        cut_back(k, i);
        set_behind(k, i, true);
        return err;
    }
    return PL_OK;
}

/* Replaces every path; *committed as soon as one of them holds the new file. */
enum pl_err keyring_replace_everywhere(struct keyring *k, const struct pl_buf *image,
                                       bool *committed, struct pl_why *why)
{
    enum pl_err first = PL_OK;
    *committed = false;
    bool replaced[KEYRING_PATH_LIMIT] = {0}, failed[KEYRING_PATH_LIMIT] = {0};
    for (size_t i = 0; i < k->path_count; i++) {
        enum pl_err err = keyring_path_replace(k->paths[i].path, pl_buf_span(image), &replaced[i],
                                               first == PL_OK ? why : NULL);
        failed[i] = err != PL_OK;
        *committed |= replaced[i];
        if (err != PL_OK && first == PL_OK)
            first = err;
    }
    for (size_t i = 0; *committed && i < k->path_count; i++)
        set_behind(k, i, failed[i]);
    return first;
}

enum pl_err keyring_copy_image(struct keyring *k, struct pl_buf *copy, struct pl_why *why)
{
    pl_buf_init(copy, KEYRING_FILE_BYTES_MAX);
    return pl_buf_append_span(copy, pl_buf_span(&k->image)) == PL_OK
               ? PL_OK
               : pl_fail(why, PL_ENOMEM, "out of memory for the keyring");
}

/* The copy becomes the image; the old one, with whatever was scrubbed, is wiped. */
void keyring_adopt(struct keyring *k, struct pl_buf *copy, const uint8_t chain_hash[32],
                   uint64_t new_records)
{
    struct pl_buf old = k->image;
    k->image = *copy;
    pl_buf_wipe(&old);
    memset(copy, 0, sizeof(*copy));
    memcpy(k->chain_hash, chain_hash, PL_SHA256_BYTES);
    k->records += new_records;
}

/* ---- making keys */

static enum pl_err add_key(struct keyring *k, struct keyring_record *record, const uint8_t key[32],
                           struct pl_why *why)
{
    struct pl_buf copy = {0};
    uint8_t wrap[KEYRING_WRAP_BYTES], chain[PL_SHA256_BYTES];
    record->kind = KEYRING_NEW;
    record->wall_ms = pl_wall_ms(k->clock);
    memcpy(record->kek_id, k->kek_id, sizeof(record->kek_id));
    memcpy(chain, k->chain_hash, sizeof(chain));
    enum pl_err err = keyring_wrap(k->keks, k->random, record->subject, record->id, key, wrap);
    if (err != PL_OK) {
        pl_fail(why, err, "cannot wrap a new key: %s", pl_err_word(err));
        goto out;
    }
    err = keyring_catch_up(k, why);
    if (err == PL_OK)
        err = keyring_copy_image(k, &copy, why);
    if (err == PL_OK && (err = keyring_append_wrap(&copy, chain, record, wrap)) != PL_OK)
        pl_fail(why, err, "the keyring is full (%zu bytes)", k->image.len);
    if (err == PL_OK)
        err = append_everywhere(k, &copy, why);
    if (err != PL_OK)
        goto out;
    pthread_mutex_lock(&k->state);
    struct keyring_entry *entry;
    keyring_adopt(k, &copy, chain, 1);
    err = keyring_insert(k, record, &entry);
    if (err == PL_OK)
        err = keyring_hold(k, entry, key);
    keyring_pick_seal_key(k);
    pthread_mutex_unlock(&k->state);
    if (err != PL_OK)
        pl_fail(why, err, "out of memory for a new key; it is on disk and there after a restart");
out:
    pl_wipe(wrap, sizeof(wrap));
    pl_buf_wipe(&copy);
    return err;
}

enum pl_err keyring_new_key(struct keyring *k, uint64_t account, struct pl_why *why)
{
    struct keyring_record record = {.subject = KEYRING_DATA_KEY};
    uint8_t key[32];
    pl_store_u64(record.id, account);
    pthread_mutex_lock(&k->change);
    enum pl_err err;
    if (keyring_find(k, KEYRING_DATA_KEY, record.id) != NULL)
        err = pl_fail(why, PL_EEXISTS, "account %016" PRIx64 " has or had a data key already",
                      account);
    else if ((err = pl_random_fill(k->random, key, sizeof(key))) != PL_OK)
        pl_fail(why, err, "cannot draw a key: %s", pl_err_word(err));
    else
        err = add_key(k, &record, key, why);
    pthread_mutex_unlock(&k->change);
    pl_wipe(key, sizeof(key));
    return err;
}

enum pl_err keyring_new_seal_key(struct keyring *k, uint8_t public_key[PL_X25519_BYTES],
                                 struct pl_why *why)
{
    struct keyring_record record = {.subject = KEYRING_SEAL_KEY};
    uint8_t secret[PL_X25519_BYTES];
    enum pl_err err = pl_x25519_keypair(k->random, secret, record.public_key);
    if (err != PL_OK)
        return pl_fail(why, err, "cannot make a sealing key: %s", pl_err_word(err));
    block_key_id(record.public_key, record.id);
    pthread_mutex_lock(&k->change);
    err = add_key(k, &record, secret, why);
    pthread_mutex_unlock(&k->change);
    pl_wipe(secret, sizeof(secret));
    if (err == PL_OK)
        memcpy(public_key, record.public_key, PL_X25519_BYTES);
    return err;
}

/* ---- destroying */

static enum pl_err destroy_live(struct keyring *k, struct keyring_entry *entry, const char *reason,
                                struct pl_why *why)
{
    struct pl_buf copy = {0};
    uint8_t chain[PL_SHA256_BYTES];
    struct keyring_record record = {.subject = entry->subject};
    memcpy(record.id, entry->id, sizeof(record.id));
    record.destruction.wall_ms = pl_wall_ms(k->clock);
    snprintf(record.destruction.reason, sizeof(record.destruction.reason), "%s", reason);
    memcpy(record.destruction.signer_id, k->signer_id, sizeof(k->signer_id));
    memcpy(chain, k->chain_hash, sizeof(chain));

    /* Before anything is on disk: what is committed there must be known here, or a second
     * destruction of the same key would follow, with which no keyring opens. */
    struct keyring_destruction *destruction = malloc(sizeof(*destruction));
    enum pl_err err = destruction == NULL ? pl_fail(why, PL_ENOMEM, "no memory to destroy a key")
                                          : keyring_copy_image(k, &copy, why);
    if (err == PL_OK) {
        memset(keyring_wrap_at(&copy, entry->wrap_offset), 0, KEYRING_WRAP_BYTES);
        err = keyring_append_destroy(&copy, chain, &record, k->signer);
        if (err != PL_OK)
            pl_fail(why, err, "cannot sign or hold a destruction: %s", pl_err_word(err));
    }
    bool committed = false;
    if (err == PL_OK)
        err = keyring_replace_everywhere(k, &copy, &committed, why);
    if (committed) {
        pthread_mutex_lock(&k->state);
        keyring_adopt(k, &copy, chain, 1);
        *destruction = record.destruction;
        keyring_mark_destroyed(k, entry, destruction);
        keyring_pick_seal_key(k);
        pthread_mutex_unlock(&k->state);
    } else {
        free(destruction);
    }
    pl_buf_wipe(&copy);
    return err;
}

static enum pl_err destroy(struct keyring *k, enum keyring_subject subject, const uint8_t id[8],
                           const char *reason, struct keyring_destruction *out, struct pl_why *why)
{
    char text[17];
    pl_hex_encode(pl_span(id, 8), text);
    pthread_mutex_lock(&k->change);
    struct keyring_entry *entry = keyring_find(k, subject, id);
    enum pl_err err;
    if (entry == NULL)
        err = pl_fail(why, PL_ENOTFOUND, "the keyring never held a key %s", text);
    else if (entry->state == KEYRING_DESTROYED)
        err = keyring_catch_up(k, why);
    else
        err = destroy_live(k, entry, reason, why);
    if (err != PL_OK && entry != NULL && entry->state == KEYRING_DESTROYED)
        pl_fail_in(why, err, "key %s is destroyed, but a copy of it may stand on a path", text);
    if (err == PL_OK && out != NULL)
        *out = *entry->destruction;
    pthread_mutex_unlock(&k->change);
    return err;
}

enum pl_err keyring_destroy(struct keyring *k, uint64_t account, const char *reason,
                            struct keyring_destruction *out, struct pl_why *why)
{
    uint8_t id[8];
    pl_store_u64(id, account);
    return destroy(k, KEYRING_DATA_KEY, id, reason, out, why);
}

enum pl_err keyring_destroy_seal_key(struct keyring *k, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                     const char *reason, struct keyring_destruction *out,
                                     struct pl_why *why)
{
    return destroy(k, KEYRING_SEAL_KEY, id, reason, out, why);
}
