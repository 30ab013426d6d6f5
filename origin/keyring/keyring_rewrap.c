/* Rotation of the key-encryption key. */
#include "origin/keyring/keyring_state.h"

#include "proto/base/secret.h"

#include <stdlib.h>

/* Appends a new wrapping of every live key to copy and scrubs the old one there. offsets[i]: where
 * entry i's wrapping stands now. */
static enum pl_err rewrap_all(struct keyring *k, const struct keyring_keks *keks,
                              struct pl_buf *copy, uint8_t chain[PL_SHA256_BYTES], size_t *offsets,
                              size_t *count)
{
    const uint8_t *current = keks->items[keks->count - 1].id;
    for (size_t i = 0; i < k->entry_count; i++) {
        const struct keyring_entry *e = &k->entries[i];
        offsets[i] = e->wrap_offset;
        if (e->state != KEYRING_LIVE || memcmp(e->kek_id, current, 8) == 0)
            continue;
        struct keyring_record record = {
            .kind = KEYRING_REWRAP, .subject = e->subject, .wall_ms = pl_wall_ms(k->clock)};
        uint8_t wrap[KEYRING_WRAP_BYTES];
        memcpy(record.id, e->id, sizeof(record.id));
        memcpy(record.kek_id, current, sizeof(record.kek_id));
        memcpy(record.public_key, e->public_key, sizeof(record.public_key));
        enum pl_err err = keyring_wrap(keks, k->random, e->subject, e->id, e->key, wrap);
        if (err == PL_OK)
            err = keyring_append_wrap(copy, chain, &record, wrap);
        if (err != PL_OK)
            return err;
        memset(keyring_wrap_at(copy, e->wrap_offset), 0, KEYRING_WRAP_BYTES);
        offsets[i] = record.wrap_offset;
        ++*count;
    }
    return PL_OK;
}

/* Wrappings of locked keys must not lose their way out: they keep needing their old line. */
static void adopt_keks(struct keyring *k, struct keyring_keks *keks, const size_t *offsets)
{
    const uint8_t *current = keks->items[keks->count - 1].id;
    for (size_t i = 0; i < k->entry_count; i++) {
        struct keyring_entry *e = &k->entries[i];
        if (e->state == KEYRING_LIVE)
            memcpy(e->kek_id, current, sizeof(e->kek_id));
        e->wrap_offset = offsets[i];
    }
    memcpy(k->kek_id, current, sizeof(k->kek_id));
}

static enum pl_err check_keks_kept(const struct keyring *k, const struct keyring_keks *keks,
                                   struct pl_why *why)
{
    for (size_t i = 0; i < k->entry_count; i++) {
        const struct keyring_entry *e = &k->entries[i];
        size_t j = 0;
        while (j < keks->count && memcmp(keks->items[j].id, e->kek_id, 8) != 0)
            j++;
        if (e->state == KEYRING_LIVE && j == keks->count)
            return pl_fail(why, PL_EAUTH,
                           "the new key-encryption keys lack the line under which keys are wrapped "
                           "now: append the new line below it, rotate, and only then remove it");
    }
    return PL_OK;
}

enum pl_err keyring_rewrap(struct keyring *k, struct pl_span kek_text, size_t *count,
                           struct pl_why *why)
{
    struct keyring_keks *keks = NULL;
    struct pl_buf copy = {0};
    uint8_t chain[PL_SHA256_BYTES];
    size_t *offsets = NULL, rewrapped = 0;
    bool committed = false;
    pthread_mutex_lock(&k->change);
    memcpy(chain, k->chain_hash, sizeof(chain));
    enum pl_err err = keyring_keks_parse(&keks, kek_text, why);
    if (err == PL_OK)
        err = check_keks_kept(k, keks, why);
    if (err == PL_OK)
        err = keyring_catch_up(k, why);
    if (err == PL_OK)
        err = keyring_copy_image(k, &copy, why);
    if (err != PL_OK)
        goto out;
    offsets = calloc(k->entry_count + 1, sizeof(*offsets));
    err = offsets == NULL ? PL_ENOMEM : rewrap_all(k, keks, &copy, chain, offsets, &rewrapped);
    if (err != PL_OK) {
        pl_fail(why, err, "cannot wrap keys anew: %s", pl_err_word(err));
        goto out;
    }
    if (rewrapped > 0) {
        err = keyring_replace_everywhere(k, &copy, &committed, why);
        if (!committed)
            goto out;
    }
    pthread_mutex_lock(&k->state);
    if (committed)
        keyring_adopt(k, &copy, chain, rewrapped);
    adopt_keks(k, keks, offsets);
    struct keyring_keks *old = k->keks;
    k->keks = keks;
    keks = old;
    pthread_mutex_unlock(&k->state);
    if (count != NULL)
        *count = rewrapped;
out:
    pthread_mutex_unlock(&k->change);
    free(offsets);
    pl_buf_wipe(&copy);
    pl_secret_free(keks, sizeof(*keks));
    return err;
}
