#include "origin/intake/lost_keys.h"
#include "origin/families.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <pthread.h>
#include <stdlib.h>

#define SILENT_MS      (60 * PL_MINUTE_MS)
#define GIVEN_UP_BYTES (BLOCK_KEY_ID_BYTES + 8)

static const struct pl_span GIVEN_UP_KEY = PL_SPAN_INIT("seal-keys-given-up");

struct lost_keys {
    struct store *store;
    struct keyring *keyring;
    const struct pl_clock *clock;
    pthread_mutex_t giving_up; /* one at a time, over its write too; taken before `lock` */
    pthread_mutex_t lock;      /* what follows; `given_up` is changed with both */
    struct lost_key waiting[LOST_KEYS_MAX];
    size_t waiting_count;
    struct given_up_key given_up[LOST_KEYS_GIVEN_UP_MAX];
    size_t given_up_count;
};

static enum pl_err load(struct lost_keys *l, struct pl_why *why)
{
    struct pl_buf value;
    pl_buf_init(&value, LOST_KEYS_GIVEN_UP_MAX * GIVEN_UP_BYTES);
    enum pl_err err = store_get(l->store, FAMILY_META, GIVEN_UP_KEY, &value);
    if (err == PL_ENOTFOUND)
        err = PL_OK;
    else if (err == PL_OK && value.len % GIVEN_UP_BYTES != 0)
        err = PL_ECORRUPT;
    for (size_t at = 0; err == PL_OK && at < value.len; at += GIVEN_UP_BYTES) {
        struct given_up_key *key = &l->given_up[l->given_up_count++];
        memcpy(key->id, value.data + at, BLOCK_KEY_ID_BYTES);
        key->at_ms = (int64_t)pl_load_u64(value.data + at + BLOCK_KEY_ID_BYTES);
    }
    pl_buf_release(&value);
    return err == PL_OK ? err
                        : pl_fail(why, err, "cannot read which sealing keys were given up: %s",
                                  pl_err_word(err));
}

enum pl_err lost_keys_open(struct lost_keys **out, struct store *store, struct keyring *keyring,
                           const struct pl_clock *clock, struct pl_why *why)
{
    struct lost_keys *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for sealing keys that are lost");
    l->store = store;
    l->keyring = keyring;
    l->clock = clock;
    pthread_mutex_init(&l->giving_up, NULL);
    pthread_mutex_init(&l->lock, NULL);
    enum pl_err err = load(l, why);
    if (err == PL_OK)
        *out = l;
    else
        lost_keys_close(l);
    return err;
}

void lost_keys_close(struct lost_keys *l)
{
    if (l == NULL)
        return;
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->giving_up);
    free(l);
}

/* PL_ENOTFOUND: it never held it. */
static enum pl_err ask_keyring(const struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    uint8_t secret[PL_X25519_BYTES];
    const enum pl_err err = keyring_seal_secret(l->keyring, id, secret);
    pl_wipe(secret, sizeof(secret));
    return err;
}

/* ---- under lock */

static bool is_given_up(const struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    for (size_t i = 0; i < l->given_up_count; i++)
        if (memcmp(l->given_up[i].id, id, BLOCK_KEY_ID_BYTES) == 0)
            return true;
    return false;
}

/* Those of an edge that is away, or that has let go of its blocks; and of `id`, NULL: no others. */
static void forget(struct lost_keys *l, const uint8_t *id)
{
    const int64_t since_ms = pl_mono_ms(l->clock) - SILENT_MS;
    size_t kept = 0;
    for (size_t i = 0; i < l->waiting_count; i++) {
        const struct lost_key *key = &l->waiting[i];
        if (key->heard_ms >= since_ms &&
            (id == NULL || memcmp(key->id, id, BLOCK_KEY_ID_BYTES) != 0))
            l->waiting[kept++] = *key;
    }
    l->waiting_count = kept;
}

static bool is_waiting(const struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    for (size_t i = 0; i < l->waiting_count; i++)
        if (memcmp(l->waiting[i].id, id, BLOCK_KEY_ID_BYTES) == 0)
            return true;
    return false;
}

/* NULL: there is no room for one more. */
static struct lost_key *find_or_add(struct lost_keys *l, const struct block_header *header)
{
    size_t of_edge = 0;
    for (size_t i = 0; i < l->waiting_count; i++) {
        struct lost_key *key = &l->waiting[i];
        if (!pl_id128_eq(&key->edge, &header->edge))
            continue;
        of_edge++;
        if (pl_id128_eq(&key->incarnation, &header->incarnation) &&
            memcmp(key->id, header->seal_key_id, BLOCK_KEY_ID_BYTES) == 0)
            return key;
    }
    if (l->waiting_count == LOST_KEYS_MAX || of_edge == LOST_KEYS_OF_EDGE_MAX)
        return NULL;
    struct lost_key *key = &l->waiting[l->waiting_count++];
    *key = (struct lost_key){.edge = header->edge,
                             .incarnation = header->incarnation,
                             .first = header->number,
                             .last = header->number,
                             .since_ms = pl_wall_ms(l->clock)};
    memcpy(key->id, header->seal_key_id, BLOCK_KEY_ID_BYTES);
    return key;
}

static void note_waiting(struct lost_keys *l, const struct block_header *header)
{
    forget(l, NULL);
    struct lost_key *key = find_or_add(l, header);
    if (key == NULL)
        return;
    key->heard_ms = pl_mono_ms(l->clock);
    if (header->number < key->first)
        key->first = header->number;
    if (header->number > key->last)
        key->last = header->number;
}

/* ---- any thread's */

bool lost_keys_note(struct lost_keys *l, const struct block_header *header)
{
    if (ask_keyring(l, header->seal_key_id) != PL_ENOTFOUND)
        return false;
    pthread_mutex_lock(&l->lock);
    const bool given_up = is_given_up(l, header->seal_key_id);
    if (!given_up)
        note_waiting(l, header);
    pthread_mutex_unlock(&l->lock);
    return given_up;
}

size_t lost_keys_list(struct lost_keys *l, struct lost_key *out, size_t max)
{
    pthread_mutex_lock(&l->lock);
    forget(l, NULL);
    const size_t count = l->waiting_count;
    for (size_t i = 0; i < count && i < max; i++)
        out[i] = l->waiting[i];
    pthread_mutex_unlock(&l->lock);
    return count;
}

size_t lost_keys_given_up(struct lost_keys *l, struct given_up_key *out, size_t max)
{
    pthread_mutex_lock(&l->lock);
    const size_t count = l->given_up_count;
    for (size_t i = 0; i < count && i < max; i++)
        out[i] = l->given_up[i];
    pthread_mutex_unlock(&l->lock);
    return count;
}

/* Under `giving_up`. */
static enum pl_err check(struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES],
                         struct pl_why *why)
{
    char text[2 * BLOCK_KEY_ID_BYTES + 1];
    pl_hex_encode(pl_span(id, BLOCK_KEY_ID_BYTES), text);
    const enum pl_err known = ask_keyring(l, id);
    if (known == PL_EEXPIRED)
        return pl_fail_field(why, PL_EEXISTS, "key",
                             "key %s is destroyed: blocks for it are dropped already", text);
    if (known == PL_OK)
        return pl_fail_field(why, PL_EEXISTS, "key",
                             "key %s is in the keyring: blocks for it are taken", text);
    if (known != PL_ENOTFOUND)
        return pl_fail_field(why, PL_EEXISTS, "key",
                             "key %s is in the keyring, but cannot be used now: /ready says what "
                             "to do",
                             text);
    pthread_mutex_lock(&l->lock);
    forget(l, NULL);
    const bool waiting = is_waiting(l, id);
    pthread_mutex_unlock(&l->lock);
    if (!waiting)
        return pl_fail_field(why, PL_ENOTFOUND, "key",
                             "no block has come for a key %s within the last hour: polderctl "
                             "keyring lost lists those that blocks wait for",
                             text);
    if (l->given_up_count == LOST_KEYS_GIVEN_UP_MAX)
        return pl_fail_field(why, PL_ELIMIT, "key", "%d keys were given up, and no more can be",
                             LOST_KEYS_GIVEN_UP_MAX);
    return PL_OK;
}

/* Under `giving_up`: the list with one more at its end, on disk. */
static enum pl_err write_with(struct lost_keys *l, const struct given_up_key *more,
                              struct pl_why *why)
{
    uint8_t value[LOST_KEYS_GIVEN_UP_MAX * GIVEN_UP_BYTES];
    for (size_t i = 0; i <= l->given_up_count; i++) {
        const struct given_up_key *key = i < l->given_up_count ? &l->given_up[i] : more;
        memcpy(value + i * GIVEN_UP_BYTES, key->id, BLOCK_KEY_ID_BYTES);
        pl_store_u64(value + i * GIVEN_UP_BYTES + BLOCK_KEY_ID_BYTES, (uint64_t)key->at_ms);
    }
    return store_put(l->store, FAMILY_META, GIVEN_UP_KEY,
                     pl_span(value, (l->given_up_count + 1) * GIVEN_UP_BYTES), true, why);
}

static enum pl_err give_up(struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES],
                           struct pl_why *why)
{
    struct given_up_key key = {.at_ms = pl_wall_ms(l->clock)};
    if (is_given_up(l, id) && ask_keyring(l, id) == PL_ENOTFOUND)
        return PL_OK;
    enum pl_err err = check(l, id, why);
    memcpy(key.id, id, sizeof(key.id));
    if (err == PL_OK)
        err = write_with(l, &key, why);
    if (err == PL_OK) {
        pthread_mutex_lock(&l->lock);
        l->given_up[l->given_up_count++] = key;
        forget(l, id);
        pthread_mutex_unlock(&l->lock);
    }
    return err;
}

enum pl_err lost_keys_give_up(struct lost_keys *l, const uint8_t id[BLOCK_KEY_ID_BYTES],
                              struct pl_why *why)
{
    pthread_mutex_lock(&l->giving_up);
    const enum pl_err err = give_up(l, id, why);
    pthread_mutex_unlock(&l->giving_up);
    return err;
}
