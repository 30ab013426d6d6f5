/* Opening a keyring: which path is right, what the others need, what the records say. */
#include "origin/keyring/keyring_state.h"

#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum ending { END_ABSENT, END_CLEAN, END_TORN, END_BAD };

struct path_image {
    struct pl_buf bytes;
    enum ending ending;
    size_t whole; /* bytes up to the end of the last record that verifies */
    bool at_last; /* torn or bad: nothing stands behind that record */
};

struct loading {
    struct keyring *k;
    struct path_image images[KEYRING_PATH_LIMIT];
    struct pl_buf signers[KEYRING_PATH_LIMIT * 4]; /* SPKI DER */
    size_t signer_count;
};

static enum pl_err read_path(struct keyring *k, size_t i, struct path_image *image,
                             struct pl_why *why)
{
    enum pl_err err = keyring_path_read(k->paths[i].path, &image->bytes, why);
    if (err == PL_ENOTFOUND) {
        image->ending = END_ABSENT;
        return PL_OK;
    }
    if (err != PL_OK)
        return err;
    struct keyring_walk walk;
    struct keyring_record record;
    err = keyring_walk_begin(&walk, pl_buf_span(&image->bytes));
    if (err == PL_ECORRUPT) /* never overwrite what may be somebody else's */
        return pl_fail(why, err,
                       "%s does not begin as a keyring file: move it away, or correct the path",
                       k->paths[i].path);
    while (err == PL_OK)
        err = keyring_walk_next(&walk, &record);
    image->whole = walk.offset;
    image->at_last = keyring_walk_at_last(&walk);
    if (err == PL_EUNSUPPORTED)
        return pl_fail(why, err, "keyring file %s was written by a newer version of polder-origin",
                       k->paths[i].path);
    image->ending = err == PL_ENOTFOUND ? END_CLEAN : err == PL_EAGAIN ? END_TORN : END_BAD;
    return PL_OK;
}

/* The path whose verified records reach furthest. A crash leaves at least one path whole, because
 * paths are written one after the other: none whole is damage, and guessing would lose keys. */
static enum pl_err choose(struct loading *l, size_t *best, struct pl_why *why)
{
    bool clean = false, found = false;
    for (size_t i = 0; i < l->k->path_count; i++) {
        const struct path_image *image = &l->images[i];
        clean |= image->ending == END_CLEAN;
        if (image->ending != END_ABSENT && (!found || image->whole > l->images[*best].whole))
            *best = i;
        found |= image->ending != END_ABSENT;
    }
    if (!found)
        return pl_fail(why, PL_ENOTFOUND,
                       "no keyring file at %s, nor on the other paths: restore it, or correct the "
                       "paths; without it no stored event can be read",
                       l->k->paths[0].path);
    if (!clean)
        return pl_fail(why, PL_ECORRUPT,
                       "keyring: none of the %zu paths is whole (%s verifies up to byte %zu): "
                       "restore one of them from a copy, and keep the damaged files",
                       l->k->path_count, l->k->paths[*best].path, l->images[*best].whole);
    return PL_OK;
}

/* Whether the file has a key's end behind what both have. */
static bool ends_a_key(const struct path_image *image, const struct path_image *other)
{
    struct keyring_walk mine, theirs;
    struct keyring_record a, b;
    bool same = true;
    if (keyring_walk_begin(&mine, pl_buf_span(&image->bytes)) != PL_OK ||
        keyring_walk_begin(&theirs, pl_buf_span(&other->bytes)) != PL_OK)
        return false;
    while (keyring_walk_next(&mine, &a) == PL_OK) {
        same = same && keyring_walk_next(&theirs, &b) == PL_OK &&
               memcmp(a.chain_hash, b.chain_hash, sizeof(a.chain_hash)) == 0;
        if (!same && a.kind == KEYRING_DESTROY)
            return true;
    }
    return false;
}

/* A key's end is told to the world, and a new key is used, once every path has it: of two that go
 * on differently the one with an end is right, unless both have one. */
static enum pl_err fail_fork(const struct loading *l, size_t best, size_t i, struct pl_why *why)
{
    const struct path_image *images = l->images;
    const bool one = ends_a_key(&images[best], &images[i]);
    const bool other = ends_a_key(&images[i], &images[best]);
    const char *right = l->k->paths[one ? best : i].path;
    pl_fail(why, PL_EFORK,
            "keyring files %s and %s tell different stories from byte %zu on or before: one of "
            "them is not this origin's, or was changed; compare them with their backups and remove "
            "the wrong one",
            l->k->paths[best].path, l->k->paths[i].path, images[i].whole);
    if (one != other && why != NULL) {
        const size_t used = strlen(why->text);
        snprintf(why->text + used, sizeof(why->text) - used,
                 " (if both are this origin's, keep %s: it has the end of a key)", right);
    }
    return PL_EFORK;
}

/* Every other path must be an earlier state of the same story. */
static enum pl_err check_same_story(struct loading *l, size_t best, struct pl_why *why)
{
    const struct path_image *b = &l->images[best];
    for (size_t i = 0; i < l->k->path_count; i++) {
        const struct path_image *image = &l->images[i];
        const char *path = l->k->paths[i].path;
        if (image->ending == END_ABSENT || i == best)
            continue;
        /* What ends at `whole` is a chain hash or the header, and as long: where it is equal,
         * everything before it is. */
        if (image->whole >= PL_SHA256_BYTES &&
            memcmp(image->bytes.data + image->whole - PL_SHA256_BYTES,
                   b->bytes.data + image->whole - PL_SHA256_BYTES, PL_SHA256_BYTES) != 0)
            return fail_fork(l, best, i, why);
        if (image->ending == END_BAD && !image->at_last && image->whole == b->whole)
            return pl_fail(why, PL_ECORRUPT,
                           "keyring file %s is damaged at byte %zu, and no other path holds what "
                           "stood there: restore a copy of the whole file",
                           path, image->whole);
    }
    return b->ending == END_BAD && !b->at_last
               ? pl_fail(why, PL_ECORRUPT,
                         "keyring file %s is damaged at byte %zu, and no other path holds what "
                         "stood there: restore a copy of the whole file",
                         l->k->paths[best].path, b->whole)
               : PL_OK;
}

static enum pl_err check_signature(struct loading *l, const struct keyring_record *record,
                                   struct pl_why *why)
{
    struct pl_buf message;
    pl_buf_init(&message, 1024);
    keyring_destroy_message(record, &message);
    const struct keyring_destruction *d = &record->destruction;
    enum pl_err err = PL_EAUTH;
    for (size_t i = 0; err != PL_OK && message.len > 0 && i < l->signer_count; i++) {
        uint8_t id[PL_SHA256_BYTES];
        pl_sha256_one(pl_buf_span(&l->signers[i]), id);
        if (memcmp(id, d->signer_id, 8) == 0)
            err = pl_verify(pl_buf_span(&l->signers[i]), pl_buf_span(&message),
                            pl_span(d->signature, d->signature_len));
    }
    pl_buf_release(&message);
    if (err == PL_OK)
        return PL_OK;
    char id[17];
    pl_hex_encode(pl_span(record->id, 8), id);
    return pl_fail(why, PL_EAUTH,
                   "keyring: the destruction of key %s is not signed by this origin: somebody "
                   "else wrote it, or an earlier signing key is not configured",
                   id);
}

static enum pl_err replay_record(struct loading *l, const struct keyring_record *record,
                                 struct pl_why *why)
{
    struct keyring *k = l->k;
    struct keyring_entry *entry = keyring_find(k, record->subject, record->id);
    if ((record->kind == KEYRING_NEW) != (entry == NULL) ||
        (entry != NULL && entry->state == KEYRING_DESTROYED))
        return pl_fail(why, PL_ECORRUPT,
                       "keyring: the record that ends at byte %zu contradicts an earlier one",
                       record->end_offset);
    if (record->kind == KEYRING_NEW)
        return keyring_insert(k, record, &entry);
    /* Whatever is superseded must be gone from every path. */
    memset(keyring_wrap_at(&k->image, entry->wrap_offset), 0, KEYRING_WRAP_BYTES);
    if (record->kind == KEYRING_REWRAP) {
        entry->wrap_offset = record->wrap_offset;
        memcpy(entry->kek_id, record->kek_id, sizeof(entry->kek_id));
        return PL_OK;
    }
    enum pl_err err = check_signature(l, record, why);
    if (err != PL_OK)
        return err;
    struct keyring_destruction *destruction = malloc(sizeof(*destruction));
    if (destruction == NULL)
        return PL_ENOMEM;
    *destruction = record->destruction;
    keyring_mark_destroyed(k, entry, destruction);
    return PL_OK;
}

static enum pl_err replay(struct loading *l, size_t best, struct pl_why *why)
{
    struct keyring *k = l->k;
    enum pl_err err = pl_buf_append(&k->image, l->images[best].bytes.data, l->images[best].whole);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory for the keyring");
    struct keyring_walk walk;
    struct keyring_record record;
    err = keyring_walk_begin(&walk, pl_buf_span(&k->image));
    while (err == PL_OK && (err = keyring_walk_next(&walk, &record)) == PL_OK) {
        k->records++;
        err = replay_record(l, &record, why);
    }
    memcpy(k->chain_hash, walk.chain_hash, PL_SHA256_BYTES);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    return err == PL_ENOMEM ? pl_fail(why, err, "out of memory for the keyring") : err;
}

/* Live keys: whole bytes from whichever path has them, then unwrapped. */
static enum pl_err unlock_entry(struct loading *l, struct keyring_entry *entry)
{
    struct keyring *k = l->k;
    uint8_t *wrap = keyring_wrap_at(&k->image, entry->wrap_offset);
    size_t end = entry->wrap_offset + KEYRING_WRAP_BYTES;
    for (size_t i = 0;
         !keyring_wrap_is_whole(pl_buf_span(&k->image), entry->wrap_offset) && i < k->path_count;
         i++) {
        if (l->images[i].whole >= end)
            memcpy(wrap, l->images[i].bytes.data + entry->wrap_offset, KEYRING_WRAP_BYTES);
    }
    char id[17];
    pl_hex_encode(pl_span(entry->id, 8), id);
    uint8_t key[32];
    enum pl_err err = PL_EAUTH;
    if (keyring_wrap_is_whole(pl_buf_span(&k->image), entry->wrap_offset))
        err = keyring_unwrap(k->keks, entry->kek_id, entry->subject, entry->id, wrap, key);
    if (err == PL_EAUTH) {
        entry->state = KEYRING_MISSING;
        keyring_alarm(k,
                      "key %s is missing or damaged on every path and was never destroyed: restore "
                      "the keyring from a copy",
                      id);
        return PL_OK;
    }
    if (err == PL_ENOTFOUND) {
        entry->state = KEYRING_LOCKED;
        keyring_alarm(k,
                      "key %s is wrapped under a key-encryption key that is not configured: add "
                      "its line again",
                      id);
        return PL_OK;
    }
    if (err == PL_OK)
        err = keyring_hold(k, entry, key);
    pl_wipe(key, sizeof(key));
    return err;
}

static enum pl_err unlock(struct loading *l, struct pl_why *why)
{
    struct keyring *k = l->k;
    size_t locked = 0, live = 0;
    for (size_t i = 0; i < k->entry_count; i++) {
        struct keyring_entry *entry = &k->entries[i];
        if (entry->state == KEYRING_DESTROYED)
            continue;
        enum pl_err err = unlock_entry(l, entry);
        if (err != PL_OK)
            return pl_fail(why, err, "cannot unwrap the keyring's keys: %s", pl_err_word(err));
        locked += entry->state == KEYRING_LOCKED;
        live += entry->state == KEYRING_LIVE;
    }
    return locked > 0 && live == 0
               ? pl_fail(why, PL_EAUTH,
                         "keyring: no key unwraps under the configured key-encryption keys: the "
                         "key-encryption key file or command is not this keyring's")
               : PL_OK;
}

/* Paths that differ from the merged image get it. */
static enum pl_err restore_paths(struct loading *l, struct pl_why *why)
{
    struct keyring *k = l->k;
    for (size_t i = 0; i < k->path_count; i++) {
        const struct path_image *image = &l->images[i];
        const char *path = k->paths[i].path;
        if (image->ending != END_ABSENT &&
            pl_span_eq(pl_buf_span(&image->bytes), pl_buf_span(&k->image)))
            continue;
        bool replaced;
        enum pl_err err = keyring_path_replace(path, pl_buf_span(&k->image), &replaced, why);
        if (err != PL_OK)
            return pl_fail_in(why, err, "keyring path cannot be restored");
        if (image->ending == END_ABSENT)
            keyring_alarm(k, "keyring file %s was missing; restored from another path", path);
        else if (image->ending == END_BAD || image->whole == k->image.len)
            keyring_alarm(k, "keyring file %s was damaged at byte %zu; restored", path,
                          image->whole);
        else
            pl_log(k->log, PL_LOG_WARN, "keyring",
                   "file %s was behind (%zu of %zu bytes); brought up to date", path, image->whole,
                   k->image.len);
    }
    return PL_OK;
}

static enum pl_err make_new(struct keyring *k, struct pl_why *why)
{
    uint8_t id[16], header[KEYRING_HEADER_BYTES];
    enum pl_err err = pl_random_fill(k->random, id, sizeof(id));
    if (err == PL_OK) {
        keyring_header(id, header);
        pl_sha256_one(pl_span(header, sizeof(header)), k->chain_hash);
        err = pl_buf_append(&k->image, header, sizeof(header));
    }
    if (err != PL_OK)
        return pl_fail(why, err, "cannot make a keyring: %s", pl_err_word(err));
    for (size_t i = 0; err == PL_OK && i < k->path_count; i++) {
        bool replaced;
        err = keyring_path_replace(k->paths[i].path, pl_buf_span(&k->image), &replaced, why);
    }
    return err;
}

static enum pl_err load_signers(struct loading *l, const struct keyring_config *config,
                                struct pl_why *why)
{
    size_t room = sizeof(l->signers) / sizeof(l->signers[0]);
    if (config->earlier_signer_count >= room)
        return pl_fail(why, PL_ELIMIT, "more than %zu earlier signing keys", room - 1);
    enum pl_err err = pl_signer_public(l->k->signer, &l->signers[0]);
    l->signer_count = 1;
    for (size_t i = 0; err == PL_OK && i < config->earlier_signer_count; i++)
        err = pl_buf_append_span(&l->signers[l->signer_count++], config->earlier_signers[i]);
    if (err != PL_OK)
        return pl_fail(why, err, "cannot use the origin's signing keys: %s", pl_err_word(err));
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(pl_buf_span(&l->signers[0]), hash);
    memcpy(l->k->signer_id, hash, sizeof(l->k->signer_id));
    return PL_OK;
}

static enum pl_err load_existing(struct loading *l, struct pl_why *why)
{
    size_t best = 0;
    enum pl_err err = choose(l, &best, why);
    if (err == PL_OK)
        err = check_same_story(l, best, why);
    if (err == PL_OK)
        err = replay(l, best, why);
    if (err == PL_OK)
        err = unlock(l, why);
    if (err == PL_OK)
        err = restore_paths(l, why);
    if (err == PL_OK)
        keyring_pick_seal_key(l->k);
    return err;
}

enum pl_err keyring_load(struct keyring *k, const struct keyring_config *config, struct pl_why *why)
{
    struct loading l = {.k = k};
    for (size_t i = 0; i < KEYRING_PATH_LIMIT; i++)
        pl_buf_init(&l.images[i].bytes, KEYRING_FILE_BYTES_MAX);
    for (size_t i = 0; i < sizeof(l.signers) / sizeof(l.signers[0]); i++)
        pl_buf_init(&l.signers[i], PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = load_signers(&l, config, why);
    bool absent = true;
    for (size_t i = 0; err == PL_OK && i < k->path_count; i++) {
        err = read_path(k, i, &l.images[i], why);
        absent &= l.images[i].ending == END_ABSENT;
    }
    if (err == PL_OK)
        err = absent && config->create ? make_new(k, why) : load_existing(&l, why);
    for (size_t i = 0; i < KEYRING_PATH_LIMIT; i++)
        pl_buf_wipe(&l.images[i].bytes);
    for (size_t i = 0; i < sizeof(l.signers) / sizeof(l.signers[0]); i++)
        pl_buf_release(&l.signers[i]);
    return err;
}
