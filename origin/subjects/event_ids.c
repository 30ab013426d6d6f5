#include "origin/subjects/event_ids.h"
#include "origin/accounts/account_item.h"
#include "proto/base/secret.h"

#include <stdlib.h>

#define ENTRIES_DEFAULT 64

struct kept {
    uint64_t account;
    struct id_hasher *hasher; /* NULL: a free place */
};

struct id_hashers {
    struct keyring *keyring;
    uint64_t generation;
    size_t count;
    struct kept kept[];
};

enum pl_err id_hashers_new(struct id_hashers **out, struct keyring *keyring, size_t entries)
{
    const size_t count = entries == 0 ? ENTRIES_DEFAULT : entries;
    struct id_hashers *h = calloc(1, sizeof(*h) + count * sizeof(h->kept[0]));
    if (h == NULL)
        return PL_ENOMEM;
    h->keyring = keyring;
    h->generation = keyring_generation(keyring);
    h->count = count;
    *out = h;
    return PL_OK;
}

static void forget(struct kept *kept)
{
    id_hasher_free(kept->hasher);
    *kept = (struct kept){.hasher = NULL};
}

void id_hashers_free(struct id_hashers *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->count; i++)
        forget(&h->kept[i]);
    free(h);
}

void id_hashers_tidy(struct id_hashers *h)
{
    const uint64_t now = keyring_generation(h->keyring);
    if (now == h->generation)
        return;
    for (size_t i = 0; i < h->count; i++)
        forget(&h->kept[i]);
    h->generation = now;
}

enum pl_err id_hashers_of(struct id_hashers *h, uint64_t account, struct id_hasher **out)
{
    uint8_t key[CATALOG_ID_KEY_BYTES];
    id_hashers_tidy(h);
    struct kept *kept = &h->kept[(account * UINT64_C(0x9e3779b97f4a7c15) >> 32) % h->count];
    if (kept->hasher == NULL || kept->account != account) {
        forget(kept);
        enum pl_err err = account_id_key(h->keyring, account, key);
        if (err == PL_OK)
            err = id_hasher_new(&kept->hasher, key);
        pl_wipe(key, sizeof(key));
        if (err != PL_OK)
            return err;
        kept->account = account;
    }
    *out = kept->hasher;
    return PL_OK;
}

enum pl_err id_hashers_event(struct id_hashers *h, const struct event *event, struct event_ids *out)
{
    static const enum event_field fields[EVENT_IDS_COUNT] = {
        [EVENT_IDS_VISITOR] = EVENT_VISITOR_ID,
        [EVENT_IDS_USER] = EVENT_USER_ID,
        [EVENT_IDS_PREVIOUS] = EVENT_PREVIOUS_ID,
        [EVENT_IDS_NETWORK] = EVENT_NETWORK_ID,
    };
    struct id_hasher *hasher;
    out->account = event_u64(event, EVENT_ACCOUNT);
    enum pl_err err = id_hashers_of(h, out->account, &hasher);
    if (err != PL_OK)
        return err;
    for (size_t i = 0; i < EVENT_IDS_COUNT; i++) {
        const struct pl_span id = event_str(event, fields[i]);
        out->id[i].present = id.len > 0;
        out->id[i].failed = id.len > 0 && suppression_hash_by(hasher, id, out->id[i].hash) != PL_OK;
    }
    return PL_OK;
}

size_t id_hashers_kept(const struct id_hashers *h)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        kept += h->kept[i].hasher != NULL;
    return kept;
}
