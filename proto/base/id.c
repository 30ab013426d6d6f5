#include "proto/base/id.h"

#include "proto/base/buf.h"
#include "proto/base/text.h"

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

enum pl_err pl_uuid4(const struct pl_random *random, char out[PL_UUID_TEXT])
{
    struct pl_id128 id;
    enum pl_err err = pl_id128_random(random, &id);
    if (err != PL_OK)
        return err;
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40); /* version, RFC 9562 section 4.2 */
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80); /* variant, section 4.1 */
    static const uint8_t group_bytes[] = {4, 2, 2, 2, 6};
    struct pl_span rest = pl_span(id.bytes, sizeof(id.bytes));
    for (size_t i = 0; i < sizeof(group_bytes); i++) {
        if (i > 0)
            *out++ = '-';
        pl_hex_encode(pl_span(rest.data, group_bytes[i]), out);
        out += 2 * group_bytes[i];
        rest = pl_span_from(rest, group_bytes[i]);
    }
    return PL_OK;
}
