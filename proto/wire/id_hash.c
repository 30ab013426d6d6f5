#include "proto/wire/id_hash.h"
#include "proto/base/crypto.h"
#include "proto/base/secret.h"

#include <stdlib.h>

#define TEXT_BYTES_MAX 512

_Static_assert(ID_HASH_BYTES == PL_CMAC_BYTES, "a hash is a whole tag");

struct id_hasher {
    uint8_t key[CATALOG_ID_KEY_BYTES];
    struct pl_cmac *cmac;
};

enum pl_err id_hasher_new(struct id_hasher **out, const uint8_t id_key[CATALOG_ID_KEY_BYTES])
{
    struct id_hasher *hasher = calloc(1, sizeof(*hasher));
    if (hasher == NULL)
        return PL_ENOMEM;
    memcpy(hasher->key, id_key, sizeof(hasher->key));
    enum pl_err err = pl_cmac_new(&hasher->cmac, id_key);
    if (err != PL_OK) {
        id_hasher_free(hasher);
        return err;
    }
    *out = hasher;
    return PL_OK;
}

void id_hasher_free(struct id_hasher *hasher)
{
    if (hasher == NULL)
        return;
    pl_cmac_free(hasher->cmac);
    pl_wipe(hasher->key, sizeof(hasher->key));
    free(hasher);
}

const uint8_t *id_hasher_key(const struct id_hasher *hasher)
{
    return hasher->key;
}

enum pl_err id_hasher_hash(struct id_hasher *hasher, enum id_hash_kind kind, struct pl_span text,
                           uint8_t out[ID_HASH_BYTES])
{
    uint8_t input[1 + TEXT_BYTES_MAX];
    if (text.len == 0)
        return PL_EINVAL;
    if (text.len > TEXT_BYTES_MAX)
        return PL_ELIMIT;
    input[0] = (uint8_t)kind;
    memcpy(input + 1, text.data, text.len);
    enum pl_err err = pl_cmac(hasher->cmac, pl_span(input, 1 + text.len), out);
    pl_wipe(input, 1 + text.len);
    return err;
}

enum pl_err id_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], enum id_hash_kind kind,
                    struct pl_span text, uint8_t out[ID_HASH_BYTES])
{
    struct id_hasher *hasher;
    enum pl_err err = id_hasher_new(&hasher, id_key);
    if (err != PL_OK)
        return err;
    err = id_hasher_hash(hasher, kind, text, out);
    id_hasher_free(hasher);
    return err;
}
