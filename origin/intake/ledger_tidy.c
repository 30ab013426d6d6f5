/* What the ledger need not keep. */
#include "origin/intake/ledger_state.h"

#define TIDY_ROWS   100000 /* of a chain, looked at in one call */
#define TIDY_CHAINS 64     /* dropped in one call */

static enum pl_err drop_kept(struct ledger *l, struct store_batch *batch, int64_t before_ms,
                             struct ledger_kept *left)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct ledger_alarm alarm;
    static const struct pl_span all = {NULL, 0};
    enum pl_err err = store_scan_new(&scan, l->store, FAMILY_QUARANTINE, all, all);
    if (err != PL_OK)
        return err;
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK) {
        /* One that cannot be understood cannot be dated either: it would be there for ever, and
         * whose events it holds nobody can tell. */
        const bool damaged = ledger_alarm_decode(key, value, &alarm) != PL_OK;
        if (!damaged && alarm.since_ms >= before_ms) {
            ledger_kept_add(left, alarm.since_ms, key.len + value.len);
            continue;
        }
        if (damaged)
            pl_log(l->log, PL_LOG_ERROR, "ledger",
                   "what was kept of a block is damaged, and is dropped");
        store_batch_delete(batch, l->store, FAMILY_QUARANTINE, key);
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static void forget_kept(struct ledger *l, int64_t before_ms, const struct ledger_kept *stored)
{
    size_t left = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->kept_count; i++)
        if (l->kept[i].since_ms >= before_ms)
            l->kept[left++] = l->kept[i];
    l->kept_count = left;
    l->stored_kept = *stored;
    pthread_mutex_unlock(&l->lock);
}

/* The chain's own row says what these came to. Their times ascend, near enough. */
static enum pl_err drop_rows(struct ledger *l, struct store_batch *batch,
                             const struct ledger_links *chain, int64_t before_ms)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct ledger_row row;
    uint8_t from[LEDGER_BLOCK_KEY_BYTES], to[LEDGER_BLOCK_KEY_BYTES];
    /* A row among lost blocks tells that its own is none of them. For a day longer than it matters,
     * should the clock go back. */
    const bool telling = chain->lost_to > 0 && chain->lost_ms >= before_ms - PL_DAY_MS;
    const uint64_t below = telling ? chain->lost_from : chain->contiguous;
    ledger_block_key(&chain->edge, &chain->incarnation, 0, from);
    ledger_block_key(&chain->edge, &chain->incarnation, below, to);
    enum pl_err err = store_scan_new(&scan, l->store, FAMILY_LEDGER, pl_span(from, sizeof(from)),
                                     pl_span(to, sizeof(to)));
    if (err != PL_OK)
        return err;
    uint64_t end = 0;
    for (size_t i = 0; i < TIDY_ROWS && (err = store_scan_next(scan, &key, &value)) == PL_OK; i++) {
        if ((err = ledger_row_decode(key, value, &row)) != PL_OK || row.received_ms >= before_ms)
            break;
        end = row.number + 1;
    }
    store_scan_free(scan);
    if (end > 0) {
        ledger_block_key(&chain->edge, &chain->incarnation, end, to);
        store_batch_delete_range(batch, l->store, FAMILY_LEDGER, pl_span(from, sizeof(from)),
                                 pl_span(to, sizeof(to)));
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* ---- whole chains */

/* What makes sure that no block of a dropped chain is stored a second time: its edge names every
 * chain of which it still holds a block, or awaits a verdict, each second; this one it has named
 * no more, so its blocks and its row are gone from that edge's disk, and a crash could only have
 * brought them back right after. LEDGER_KEEP_DAYS lie between, longer than dedupe remembers. Chains
 * of edges that were not heard since this process began stay: who is away may come back with them.
 * Only an edge's disk that was restored from a copy so old could send one again. */
static bool may_go(struct ledger *l, const struct ledger_links *chain, int64_t before_ms)
{
    pthread_mutex_lock(&l->lock);
    bool let_go = chain->let_go;
    pthread_mutex_unlock(&l->lock);
    return let_go && !ledger_is_sum(chain) && !chain->dirty && chain->ahead_count == 0 &&
           chain->last_ms < before_ms;
}

/* Its counts go on in the edge's sum, so that nobody's totals shrink. */
static enum pl_err drop_chain(struct ledger *l, struct ledger_links *chain, struct pl_why *why)
{
    static const struct pl_id128 none;
    struct store_batch *batch;
    struct ledger_links *sum;
    uint8_t key[LEDGER_CHAIN_KEY_BYTES], from[LEDGER_BLOCK_KEY_BYTES], to[LEDGER_BLOCK_KEY_BYTES];
    enum pl_err err = ledger_find_or_add(l, &chain->edge, &none, &sum);
    if (err == PL_OK)
        err = store_batch_new(&batch);
    if (err != PL_OK)
        return err;
    struct ledger_links grown = *sum;
    ledger_counts_add(&grown.counts, &chain->counts);
    if (grown.last_ms < chain->last_ms)
        grown.last_ms = chain->last_ms;
    err = ledger_put_chain(l, batch, &grown);
    ledger_chain_key(&chain->edge, &chain->incarnation, key);
    ledger_block_key(&chain->edge, &chain->incarnation, 0, from);
    ledger_block_key(&chain->edge, &chain->incarnation, UINT64_MAX, to);
    store_batch_delete(batch, l->store, FAMILY_CHAINS, pl_span(key, sizeof(key)));
    store_batch_delete_range(batch, l->store, FAMILY_LEDGER, pl_span(from, sizeof(from)),
                             pl_span(to, sizeof(to)));
    if (err == PL_OK)
        err = store_write(l->store, batch, false, why);
    store_batch_free(batch);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&l->lock);
    sum->counts = grown.counts;
    sum->last_ms = grown.last_ms;
    ledger_show(l, sum);
    pthread_mutex_unlock(&l->lock);
    ledger_remove(l, chain);
    return PL_OK;
}

static enum pl_err drop_chains(struct ledger *l, int64_t before_ms, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    size_t dropped = 0;
    for (size_t i = l->chain_count; i-- > 0 && dropped < TIDY_CHAINS && err == PL_OK;) {
        struct ledger_links *chain = l->chains[i];
        if (!may_go(l, chain, before_ms))
            continue;
        const size_t before = l->chain_count;
        err = drop_chain(l, chain, why);
        dropped += err == PL_OK;
        i += l->chain_count == before; /* the edge's sum is new, in front of it */
    }
    return err;
}

enum pl_err ledger_tidy(struct ledger *l, struct pl_why *why)
{
    struct store_batch *batch;
    int64_t before_ms = pl_wall_ms(l->clock) - LEDGER_KEEP_DAYS * PL_DAY_MS;
    struct ledger_kept left = {.blocks = 0};
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory for tidying the ledger");
    pthread_mutex_lock(&l->lock);
    const int64_t kept_before_ms = l->let_go_ms > before_ms ? l->let_go_ms : before_ms;
    pthread_mutex_unlock(&l->lock);
    err = drop_kept(l, batch, kept_before_ms, &left);
    const bool looked = err == PL_OK;
    /* What rot hides in one chain must not keep the others. */
    for (size_t i = 0; i < l->chain_count; i++) {
        enum pl_err failed = drop_rows(l, batch, l->chains[i], before_ms);
        err = err == PL_OK ? failed : err;
    }
    if (store_batch_bytes(batch) > 0) {
        enum pl_err failed = store_write(l->store, batch, false, why);
        if (failed == PL_OK && looked)
            forget_kept(l, kept_before_ms, &left);
        err = failed != PL_OK ? failed : err;
    }
    store_batch_free(batch);
    if (err == PL_OK)
        err = drop_chains(l, before_ms, why);
    return err == PL_OK
               ? PL_OK
               : pl_fail(why, err, "old rows of the ledger stay for now: %s", pl_err_word(err));
}
