#include "proto/wire/id_hash.h"
#include "proto/base/crypto.h"
#include "proto/base/secret.h"

#define TEXT_BYTES_MAX 512

_Static_assert(ID_HASH_BYTES == PL_CMAC_BYTES, "a hash is a whole tag");

enum pl_err id_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], enum id_hash_kind kind,
                    struct pl_span text, uint8_t out[ID_HASH_BYTES])
{
    uint8_t input[1 + TEXT_BYTES_MAX];
    struct pl_cmac *cmac;
    if (text.len == 0)
        return PL_EINVAL;
    if (text.len > TEXT_BYTES_MAX)
        return PL_ELIMIT;
    input[0] = (uint8_t)kind;
    memcpy(input + 1, text.data, text.len);
    enum pl_err err = pl_cmac_new(&cmac, id_key);
    if (err == PL_OK) {
        err = pl_cmac(cmac, pl_span(input, 1 + text.len), out);
        pl_cmac_free(cmac);
    }
    pl_wipe(input, 1 + text.len);
    return err;
}
