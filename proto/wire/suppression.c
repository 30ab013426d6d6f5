#include "proto/wire/suppression.h"
#include "proto/wire/event_mask.h"

enum pl_err suppression_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], struct pl_span id,
                             uint8_t out[ID_HASH_BYTES])
{
    struct id_hasher *hasher;
    enum pl_err err = id_hasher_new(&hasher, id_key);
    if (err != PL_OK)
        return err;
    err = suppression_hash_by(hasher, id, out);
    id_hasher_free(hasher);
    return err;
}

enum pl_err suppression_hash_by(struct id_hasher *hasher, struct pl_span id,
                                uint8_t out[ID_HASH_BYTES])
{
    const struct event_mask_policy all = {.kinds = PII_ALL, .id_key = id_hasher_key(hasher)};
    uint8_t room[2 * EVENT_MASK_SCRATCH_ID_BYTES];
    struct pl_buf scratch = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
    struct pl_span stored;
    enum pl_err err = event_mask_stored_id(&all, id, &scratch, &stored);
    return err == PL_OK ? id_hasher_hash(hasher, ID_HASH_ID, stored, out) : err;
}

/* ---- as the store keeps it */

void suppression_key(const struct suppression *s, uint8_t key[SUPPRESSION_KEY_BYTES])
{
    pl_store_u64(key, s->account);
    memcpy(key + 8, s->consent_id.bytes, 16);
}

void suppression_value(const struct suppression *s, uint8_t value[SUPPRESSION_VALUE_BYTES])
{
    memcpy(value, s->id_hash, ID_HASH_BYTES);
    pl_store_u64(value + ID_HASH_BYTES, (uint64_t)s->since_ms);
    value[ID_HASH_BYTES + 8] = s->active;
}

enum pl_err suppression_read(struct pl_span key, struct pl_span value, struct suppression *out)
{
    if (key.len != SUPPRESSION_KEY_BYTES || value.len != SUPPRESSION_VALUE_BYTES ||
        value.data[ID_HASH_BYTES + 8] > 1)
        return PL_ECORRUPT;
    out->account = pl_load_u64(key.data);
    memcpy(out->consent_id.bytes, key.data + 8, 16);
    memcpy(out->id_hash, value.data, ID_HASH_BYTES);
    out->since_ms = (int64_t)pl_load_u64(value.data + ID_HASH_BYTES);
    out->active = value.data[ID_HASH_BYTES + 8] == 1;
    return PL_OK;
}
