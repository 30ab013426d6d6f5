#include "proto/base/id.h"

#include "proto/base/buf.h"
#include "proto/base/text.h"

#include <stdio.h>

enum pl_err pl_id128_random(const struct pl_random *random, struct pl_id128 *out)
{
    struct pl_id128 id;
    enum pl_err err = pl_random_fill(random, id.bytes, sizeof(id.bytes));
    if (err == PL_OK)
        *out = id;
    return err;
}

void pl_id128_format(const struct pl_id128 *id, char out[PL_ID128_TEXT])
{
    pl_hex_encode(pl_span(id->bytes, sizeof(id->bytes)), out);
}

bool pl_id128_parse(struct pl_span text, struct pl_id128 *out)
{
    return pl_hex_decode_lower(text, out->bytes, sizeof(out->bytes));
}

enum pl_err pl_account_random(const struct pl_random *random, uint64_t *out)
{
    uint8_t bytes[8];
    uint64_t account;
    do {
        enum pl_err err = pl_random_fill(random, bytes, sizeof(bytes));
        if (err != PL_OK)
            return err;
        account = pl_load_u64(bytes);
    } while (account == 0);
    *out = account;
    return PL_OK;
}

void pl_account_format(uint64_t account, char out[PL_ACCOUNT_TEXT])
{
    uint8_t bytes[8];
    pl_store_u64(bytes, account);
    pl_hex_encode(pl_span(bytes, sizeof(bytes)), out);
}

bool pl_account_parse(struct pl_span text, uint64_t *out)
{
    uint8_t bytes[8];
    if (!pl_hex_decode_lower(text, bytes, sizeof(bytes)) || pl_load_u64(bytes) == 0)
        return false;
    *out = pl_load_u64(bytes);
    return true;
}

void pl_uuid_format(struct pl_id128 id, unsigned version, char out[PL_UUID_TEXT])
{
    char hex[PL_ID128_TEXT];
    id.bytes[6] = (uint8_t)((version << 4) | (id.bytes[6] & 0x0f)); /* RFC 9562 section 4.2 */
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));           /* variant, section 4.1 */
    pl_id128_format(&id, hex);
    snprintf(out, PL_UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
}

enum pl_err pl_uuid4(const struct pl_random *random, char out[PL_UUID_TEXT])
{
    struct pl_id128 id;
    enum pl_err err = pl_id128_random(random, &id);
    if (err == PL_OK)
        pl_uuid_format(id, 4, out);
    return err;
}
