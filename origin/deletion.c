#include "origin/deletion.h"
#include "origin/families.h"

#define SLICE_KEYS       100000 /* counted before the scan is opened anew, so that it pins little */
#define PURGE_TIMEOUT_MS 2000   /* exports let go of what they pin every 250 ms */

struct range {
    uint8_t from[8];
    struct pl_buf to; /* empty when account is the largest: to the family's end */
};

static enum pl_err range_of(uint64_t account, struct range *range)
{
    pl_store_u64(range->from, account);
    pl_buf_init(&range->to, 16);
    enum pl_err err = store_prefix_end(pl_span(range->from, sizeof(range->from)), &range->to);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* Counts a slice from *at on; *at moves behind it. PL_ENOTFOUND: that was the last. */
static enum pl_err count_slice(struct store *store, struct pl_buf *at, struct pl_span to,
                               struct deletion_report *report)
{
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = store_scan_new(&scan, store, FAMILY_VAULT, pl_buf_span(at), to);
    if (err != PL_OK) {
        return err;
    }
    for (size_t i = 0; i < SLICE_KEYS && (err = store_scan_next(scan, &key, &value)) == PL_OK;
         i++) {
        report->events++;
        report->bytes += key.len + value.len;
        pl_buf_reset(at);
        if ((err = pl_buf_append_span(at, key)) != PL_OK || (err = pl_buf_put_u8(at, 0)) != PL_OK) {
            break;
        }
    }
    store_scan_free(scan);
    return err;
}

static enum pl_err count(struct store *store, const struct range *range,
                         struct deletion_report *report)
{
    struct pl_buf at;
    pl_buf_init(&at, 256);
    enum pl_err err = pl_buf_append(&at, range->from, sizeof(range->from));
    while (err == PL_OK) {
        err = count_slice(store, &at, pl_buf_span(&range->to), report);
    }
    pl_buf_release(&at);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err deletion_begin(struct store *store, struct keyring *keyring, uint64_t account,
                           const char *reason, struct deletion_report *report, struct pl_why *why)
{
    struct range range;
    enum pl_err err = keyring_destroy(keyring, account, reason, &report->key, why);
    if (err != PL_OK || report->begun) {
        return err;
    }
    report->events = report->bytes = 0;
    report->counted = range_of(account, &range) == PL_OK && count(store, &range, report) == PL_OK;
    pl_buf_release(&range.to);
    return PL_OK;
}

enum pl_err deletion_purge(struct store *store, uint64_t account, struct pl_why *why)
{
    static const unsigned families[] = {FAMILY_VAULT, FAMILY_DEDUPE, FAMILY_CONFIGS,
                                        FAMILY_SUPPRESSIONS};
    struct range range;
    enum pl_err err = range_of(account, &range);
    if (err != PL_OK) {
        pl_fail(why, err, "the events to be deleted cannot be found: %s", pl_err_word(err));
    }
    for (size_t i = 0; err == PL_OK && i < sizeof(families) / sizeof(families[0]); i++) {
        err = store_purge_range(store, families[i], pl_span(range.from, sizeof(range.from)),
                                pl_buf_span(&range.to), PURGE_TIMEOUT_MS, why);
    }
    pl_buf_release(&range.to);
    return err;
}
