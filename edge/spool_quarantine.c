/* Blocks that the origin will not take: kept for somebody to look at, but not for ever. */
#include "edge/spool_internal.h"

#include <inttypes.h>

/* As long as accounts live on after their expiry; what is kept may be theirs. */
#define KEEP_MS          (45 * PL_DAY_MS)
#define TIDY_INTERVAL_MS PL_HOUR_MS

/* Beside a block: a verdict alone. The block is gone, and that its chain's counts differ from the
 * origin's for its sake is still known. */
#define VERDICT_BYTES 1

enum pl_err spool_quarantine(struct spool *spool, const struct pl_id128 *incarnation,
                             uint64_t number, enum block_verdict verdict)
{
    uint8_t key[SPOOL_KEY_BYTES];
    struct pl_buf value;
    struct block_header header = {0};
    struct pl_span body;
    struct pl_why why = {0};
    spool_key(incarnation, number, key);
    pl_buf_init(&value, LIMIT_BLOCK_BYTES + VERDICT_BYTES);
    enum pl_err err = pl_buf_put_u8(&value, (uint8_t)verdict);
    if (err == PL_OK)
        err = store_get(spool->config.store, EDGE_BLOCKS, pl_span(key, sizeof(key)), &value);
    if (err == PL_OK)
        err = store_put(spool->config.store, EDGE_QUARANTINE, pl_span(key, sizeof(key)),
                        pl_buf_span(&value), true, &why);
    if (err == PL_OK) {
        (void)block_parse(pl_span_from(pl_buf_span(&value), VERDICT_BYTES), &header, &body, NULL);
        pthread_mutex_lock(&spool->lock);
        struct spool_status *counts = &spool->counts;
        counts->quarantined_blocks++;
        counts->quarantined_bytes += value.len;
        if (counts->quarantined_oldest_ms == 0 || header.sealed_ms < counts->quarantined_oldest_ms)
            counts->quarantined_oldest_ms = header.sealed_ms;
        pthread_mutex_unlock(&spool->lock);
    }
    pl_buf_release(&value);
    return spool_not_there(err) ? PL_OK : err;
}

/* Under the numbers of blocks in quarantine the origin may have counted others, or none. */
bool spool_has_quarantined(struct spool *spool, const struct pl_id128 *incarnation)
{
    struct store_scan *scan;
    struct pl_span key, value;
    uint8_t from[SPOOL_KEY_BYTES], to[SPOOL_KEY_BYTES];
    spool_key(incarnation, 0, from);
    spool_key(incarnation, UINT64_MAX, to);
    if (store_scan_new(&scan, spool->config.store, EDGE_QUARANTINE, pl_span(from, sizeof(from)),
                       pl_span(to, sizeof(to))) != PL_OK)
        return false;
    bool has = store_scan_next(scan, &key, &value) == PL_OK;
    store_scan_free(scan);
    return has;
}

/* ---- age */

struct look {
    struct spool_status kept; /* its quarantined_ numbers */
    bool cut_too;             /* what is from before the cut is dropped as well */
    uint64_t dropped;
    uint64_t bytes; /* of what is dropped */
};

/* What cannot be dated, or only by a clock that was wrong, cannot be told to be young. */
static bool is_old(struct pl_span value, int64_t now_ms, int64_t *sealed_ms)
{
    struct block_header header;
    struct pl_span body;
    if (block_parse(pl_span_from(value, VERDICT_BYTES), &header, &body, NULL) != PL_OK)
        return true;
    *sealed_ms = header.sealed_ms;
    return header.sealed_ms < now_ms - KEEP_MS || header.sealed_ms > now_ms + KEEP_MS;
}

static bool chain_is_known(struct spool *spool, struct pl_span key)
{
    struct pl_id128 incarnation;
    memcpy(incarnation.bytes, key.data, sizeof(incarnation.bytes));
    pthread_mutex_lock(&spool->lock);
    bool known = spool_chains_find(&spool->chains, &incarnation) != NULL;
    pthread_mutex_unlock(&spool->lock);
    return known;
}

static bool is_cut(struct spool *spool, struct pl_span key)
{
    struct pl_id128 incarnation;
    memcpy(incarnation.bytes, key.data, sizeof(incarnation.bytes));
    return spool_is_before_cut(spool, &incarnation,
                               pl_load_u64(key.data + sizeof(incarnation.bytes)));
}

static void look_at(struct spool *spool, struct pl_span key, struct pl_span value, int64_t now_ms,
                    struct look *look)
{
    int64_t sealed_ms;
    const bool block = value.len > VERDICT_BYTES;
    if (block && !is_old(value, now_ms, &sealed_ms) && !(look->cut_too && is_cut(spool, key))) {
        struct spool_status *kept = &look->kept;
        kept->quarantined_blocks++;
        kept->quarantined_bytes += value.len;
        if (kept->quarantined_oldest_ms == 0 || sealed_ms < kept->quarantined_oldest_ms)
            kept->quarantined_oldest_ms = sealed_ms;
        return;
    }
    look->dropped += block;
    look->bytes += block ? value.len : 0;
    if (!chain_is_known(spool, key))
        store_batch_delete(spool->trims, spool->config.store, EDGE_QUARANTINE, key);
    else if (block)
        store_batch_put(spool->trims, spool->config.store, EDGE_QUARANTINE, key,
                        pl_span(value.data, VERDICT_BYTES));
}

/* `settle` held, or nobody else there yet. */
enum pl_err spool_quarantine_tidy(struct spool *spool, bool cut_too)
{
    struct store_scan *scan;
    struct pl_span key, value, all = pl_span(NULL, 0);
    struct look look = {.cut_too = cut_too};
    const int64_t now_ms = pl_wall_ms(spool->config.clock);
    enum pl_err err = store_scan_new(&scan, spool->config.store, EDGE_QUARANTINE, all, all);
    if (err != PL_OK)
        return err;
    store_batch_clear(spool->trims);
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK)
        if (key.len == SPOOL_KEY_BYTES && value.len >= VERDICT_BYTES)
            look_at(spool, key, value, now_ms, &look);
    store_scan_free(scan);
    if (!spool_not_there(err))
        return err;
    if (store_batch_bytes(spool->trims) > 0)
        err = store_write(spool->config.store, spool->trims, true, NULL);
    else
        err = PL_OK;
    store_batch_clear(spool->trims);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&spool->lock);
    spool->counts.quarantined_blocks = look.kept.quarantined_blocks;
    spool->counts.quarantined_bytes = look.kept.quarantined_bytes;
    spool->counts.quarantined_oldest_ms = look.kept.quarantined_oldest_ms;
    pthread_mutex_unlock(&spool->lock);
    if (look.dropped > 0)
        pl_log(spool->config.log, PL_LOG_WARN, "spool",
               "%" PRIu64 " blocks with %" PRIu64 " bytes that the origin refused %s, and are "
               "dropped",
               look.dropped, look.bytes,
               cut_too ? "may hold what is to be deleted" : "have been kept for 45 days");
    return PL_OK;
}

void spool_tidy(struct spool *spool)
{
    const int64_t now_ms = pl_mono_ms(spool->config.clock);
    if (now_ms < spool->tidy_ms)
        return;
    spool->tidy_ms = now_ms + TIDY_INTERVAL_MS;
    pthread_mutex_lock(&spool->settle);
    enum pl_err err = spool_quarantine_tidy(spool, false);
    pthread_mutex_unlock(&spool->settle);
    if (err != PL_OK)
        pl_log(spool->config.log, PL_LOG_WARN, "spool", "the quarantine stays as it is for now: %s",
               pl_err_word(err));
}
