#include "origin/vault/vault_days.h"

enum pl_err vault_next_day(struct store *store, uint64_t account, int64_t last_day, int64_t *day)
{
    struct vault_key from, end, at;
    struct store_scan *scan;
    struct pl_span key, value;
    vault_key_first(account, *day, &from);
    vault_key_first(account, last_day + 1, &end);
    /* The largest account's last day ends with the family. */
    if (vault_key_account(&end) < account)
        memset(&end, 0xff, sizeof(end));
    enum pl_err err =
        store_scan_new(&scan, store, FAMILY_VAULT, vault_key_span(&from), vault_key_span(&end));
    if (err != PL_OK)
        return err;
    err = store_scan_next(scan, &key, &value);
    if (err == PL_OK && key.len == sizeof(at.bytes)) {
        memcpy(at.bytes, key.data, sizeof(at.bytes));
        *day = vault_key_day(&at);
    }
    store_scan_free(scan);
    return err;
}
