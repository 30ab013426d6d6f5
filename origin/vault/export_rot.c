/* Where reading goes on behind a damaged part of the disk. */
#include "origin/vault/export_state.h"

typedef uint8_t key_bytes[VAULT_KEY_BYTES];

/* low + 2^bit, or high where that is less. */
static void step_up(const key_bytes low, unsigned bit, const key_bytes high, key_bytes out)
{
    unsigned carry = 1u << bit % 8;
    memcpy(out, low, VAULT_KEY_BYTES);
    for (size_t i = VAULT_KEY_BYTES - 1 - bit / 8; carry > 0; i--) {
        carry += out[i];
        out[i] = (uint8_t)carry;
        carry >>= 8;
        if (i == 0)
            break;
    }
    if (carry > 0 || memcmp(out, high, VAULT_KEY_BYTES) > 0)
        memcpy(out, high, VAULT_KEY_BYTES);
}

/* Half-way between the two; false when nothing is. */
static bool middle(const key_bytes low, const key_bytes high, key_bytes out)
{
    unsigned carry = 0;
    uint8_t sum[VAULT_KEY_BYTES + 1];
    for (size_t i = VAULT_KEY_BYTES; i-- > 0;) {
        carry += (unsigned)low[i] + high[i];
        sum[i + 1] = (uint8_t)carry;
        carry >>= 8;
    }
    sum[0] = (uint8_t)carry;
    for (size_t i = 0; i < VAULT_KEY_BYTES; i++)
        out[i] = (uint8_t)(sum[i] << 7 | sum[i + 1] >> 1);
    return memcmp(out, low, VAULT_KEY_BYTES) > 0;
}

/* PL_OK: reading from that key on works, be it that nothing is there. */
static enum pl_err can_read_from(struct store *store, const key_bytes from, const key_bytes end)
{
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = store_scan_new(&scan, store, FAMILY_VAULT, pl_span(from, VAULT_KEY_BYTES),
                                     pl_span(end, VAULT_KEY_BYTES));
    if (err != PL_OK)
        return err;
    err = store_scan_next(scan, &key, &value);
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* A block's keys lie close together: look near first, then close in. */
enum pl_err export_way_on(struct store *store, const struct vault_key *bad,
                          const struct vault_key *end, struct vault_key *good)
{
    key_bytes low, between;
    enum pl_err err = PL_ECORRUPT;
    memcpy(low, bad->bytes, sizeof(low));
    for (unsigned bit = 0; err == PL_ECORRUPT && bit < 8 * VAULT_KEY_BYTES; bit += 4) {
        step_up(bad->bytes, bit, end->bytes, good->bytes);
        if (memcmp(good->bytes, end->bytes, VAULT_KEY_BYTES) == 0)
            err = PL_OK;
        else if ((err = can_read_from(store, good->bytes, end->bytes)) == PL_ECORRUPT)
            memcpy(low, good->bytes, sizeof(low));
    }
    while (err == PL_OK && middle(low, good->bytes, between)) {
        err = can_read_from(store, between, end->bytes);
        memcpy(err == PL_OK ? good->bytes : low, between, sizeof(between));
        if (err == PL_ECORRUPT)
            err = PL_OK;
    }
    return err;
}
