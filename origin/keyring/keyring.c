#include "origin/keyring/keyring_state.h"

#include "proto/base/secret.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- opening and closing */

static enum pl_err check_config(const struct keyring_config *config, struct pl_why *why)
{
    if (config->path_count < 2 || config->path_count > KEYRING_PATH_LIMIT)
        return pl_fail(why, PL_EINVAL, "the keyring needs two to %d paths, best on different disks",
                       KEYRING_PATH_LIMIT);
    for (size_t i = 0; i < config->path_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(config->paths[i], config->paths[j]) == 0)
                return pl_fail(why, PL_EINVAL, "keyring path %s is named twice", config->paths[i]);
    return PL_OK;
}

enum pl_err keyring_open(struct keyring **out, const struct keyring_config *config,
                         struct pl_why *why)
{
    enum pl_err err = check_config(config, why);
    if (err != PL_OK)
        return err;
    struct keyring *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the keyring");
    k->clock = config->clock;
    k->random = config->random;
    k->log = config->log;
    k->lock_fd = -1;
    pthread_mutex_init(&k->change, NULL);
    pthread_mutex_init(&k->state, NULL);
    pl_buf_init(&k->image, KEYRING_FILE_BYTES_MAX);
    for (size_t i = 0; i < config->path_count; i++) {
        k->paths[i].path = strdup(config->paths[i]);
        if (k->paths[i].path == NULL) {
            err = pl_fail(why, PL_ENOMEM, "out of memory for the keyring");
            goto fail;
        }
        k->path_count++;
    }
    err = keyring_keks_parse(&k->keks, config->kek_text, why);
    if (err != PL_OK)
        goto fail;
    memcpy(k->kek_id, k->keks->items[k->keks->count - 1].id, sizeof(k->kek_id));
    err = pl_signer_from_pem(&k->signer, config->signer_pem, why);
    if (err != PL_OK)
        goto fail;
    err = keyring_path_lock(k->paths[0].path, &k->lock_fd, why);
    if (err == PL_OK)
        err = keyring_load(k, config, why);
    if (err != PL_OK)
        goto fail;
    *out = k;
    return PL_OK;
fail:
    keyring_close(k);
    return err;
}

void keyring_close(struct keyring *k)
{
    if (k == NULL)
        return;
    for (size_t i = 0; i < k->path_count; i++)
        free(k->paths[i].path);
    for (size_t i = 0; i < k->entry_count; i++)
        free(k->entries[i].destruction);
    free(k->entries);
    for (size_t i = 0; i < k->page_count; i++)
        pl_secret_free(k->pages[i], KEYRING_PAGE_BYTES);
    free(k->pages);
    pl_buf_wipe(&k->image);
    pl_secret_free(k->keks, sizeof(*k->keks));
    pl_signer_free(k->signer);
    if (k->lock_fd >= 0)
        close(k->lock_fd);
    pthread_mutex_destroy(&k->change);
    pthread_mutex_destroy(&k->state);
    free(k);
}

/* ---- looking up */

static enum pl_err look_up(struct keyring *k, enum keyring_subject subject, const uint8_t id[8],
                           uint8_t key[32])
{
    enum pl_err err = PL_ECORRUPT;
    pthread_mutex_lock(&k->state);
    const struct keyring_entry *e = keyring_find(k, subject, id);
    if (e == NULL) {
        err = PL_ENOTFOUND;
    } else if (e->state == KEYRING_DESTROYED) {
        err = PL_EEXPIRED;
    } else if (e->state == KEYRING_LIVE) {
        memcpy(key, e->key, 32);
        err = PL_OK;
    }
    pthread_mutex_unlock(&k->state);
    return err;
}

enum pl_err keyring_key(struct keyring *k, uint64_t account, uint8_t key[KEYRING_DATA_KEY_BYTES])
{
    uint8_t id[8];
    pl_store_u64(id, account);
    return look_up(k, KEYRING_DATA_KEY, id, key);
}

enum pl_err keyring_seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                uint8_t secret[PL_X25519_BYTES])
{
    return look_up(ctx, KEYRING_SEAL_KEY, id, secret);
}

enum pl_err keyring_current_seal_key(struct keyring *k, uint8_t public_key[PL_X25519_BYTES])
{
    pthread_mutex_lock(&k->state);
    const struct keyring_entry *e =
        k->has_seal_key ? keyring_find(k, KEYRING_SEAL_KEY, k->seal_id) : NULL;
    if (e != NULL)
        memcpy(public_key, e->public_key, PL_X25519_BYTES);
    pthread_mutex_unlock(&k->state);
    return e == NULL ? PL_ENOTFOUND : PL_OK;
}

uint64_t keyring_generation(const struct keyring *k)
{
    return atomic_load_explicit(&k->generation, memory_order_acquire);
}

enum pl_err keyring_destruction(struct keyring *k, uint64_t account,
                                struct keyring_destruction *out)
{
    uint8_t id[8];
    pl_store_u64(id, account);
    pthread_mutex_lock(&k->state);
    const struct keyring_entry *e = keyring_find(k, KEYRING_DATA_KEY, id);
    bool found = e != NULL && e->destruction != NULL;
    if (found)
        *out = *e->destruction;
    pthread_mutex_unlock(&k->state);
    return found ? PL_OK : PL_ENOTFOUND;
}

enum pl_err keyring_sign(struct keyring *k, struct pl_span message, uint8_t *signature,
                         size_t *signature_len)
{
    pthread_mutex_lock(&k->change);
    enum pl_err err = pl_sign(k->signer, message, signature, signature_len);
    pthread_mutex_unlock(&k->change);
    return err;
}

enum pl_err keyring_signer(struct keyring *k, struct pl_buf *spki_der)
{
    return pl_signer_public(k->signer, spki_der);
}

void keyring_states(struct keyring *k, void (*visit)(void *ctx, const struct keyring_state *state),
                    void *ctx)
{
    pthread_mutex_lock(&k->state);
    for (size_t i = 0; i < k->entry_count; i++) {
        const struct keyring_entry *e = &k->entries[i];
        struct keyring_state s = {
            .seal_key = e->subject == KEYRING_SEAL_KEY,
            .account = e->subject == KEYRING_DATA_KEY ? pl_load_u64(e->id) : 0,
            .state = e->state,
            .created_ms = e->created_ms,
            .destroyed_ms = e->destruction == NULL ? 0 : e->destruction->wall_ms,
        };
        memcpy(s.seal_id, e->id, sizeof(s.seal_id));
        memcpy(s.kek_id, e->kek_id, sizeof(s.kek_id));
        visit(ctx, &s);
    }
    pthread_mutex_unlock(&k->state);
}

void keyring_status(struct keyring *k, struct keyring_status *out)
{
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&k->state);
    for (size_t i = 0; i < k->entry_count; i++) {
        enum keyring_key_state state = k->entries[i].state;
        out->live += state == KEYRING_LIVE;
        out->destroyed += state == KEYRING_DESTROYED;
        out->missing += state == KEYRING_MISSING;
        out->locked += state == KEYRING_LOCKED;
    }
    out->paths = k->path_count;
    for (size_t i = 0; i < k->path_count; i++)
        out->paths_behind += k->paths[i].behind;
    memcpy(out->kek_id, k->kek_id, sizeof(out->kek_id));
    out->records = k->records;
    memcpy(out->chain_hash, k->chain_hash, sizeof(out->chain_hash));
    out->alarms = k->alarms;
    pthread_mutex_unlock(&k->state);
}
