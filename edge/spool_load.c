#include "edge/spool_internal.h"

#include <stdlib.h>

#define ROW_VERSION 1
#define ROW_BYTES   (1 + 8 + 8 + 16 + 1 + 8 + 16)

/* ---- chain rows */

static void put_totals(struct pl_buf *buf, const struct spool_totals *totals)
{
    pl_buf_put_u64(buf, totals->events);
    pl_buf_put_u64(buf, totals->bytes);
}

static struct spool_totals get_totals(struct pl_reader *r)
{
    struct spool_totals totals;
    totals.events = pl_get_u64(r);
    totals.bytes = pl_get_u64(r);
    return totals;
}

/* next and totals count only in the row of a chain that was ended in order; otherwise the records
 * themselves tell. */
static struct pl_span row_encode(const struct spool_chain *chain, uint8_t out[ROW_BYTES])
{
    struct pl_buf buf = {.data = out, .cap = ROW_BYTES, .max_bytes = ROW_BYTES};
    pl_buf_put_u8(&buf, ROW_VERSION);
    pl_buf_put_u64(&buf, chain->serial);
    pl_buf_put_u64(&buf, chain->acked);
    put_totals(&buf, &chain->acked_totals);
    pl_buf_put_u8(&buf, chain->ended);
    pl_buf_put_u64(&buf, chain->next);
    put_totals(&buf, &chain->totals);
    return pl_buf_span(&buf);
}

static bool row_decode(struct pl_span bytes, struct spool_chain *chain)
{
    struct pl_reader r = pl_reader(bytes);
    if (bytes.len != ROW_BYTES || pl_get_u8(&r) != ROW_VERSION)
        return false;
    chain->serial = pl_get_u64(&r);
    chain->acked = pl_get_u64(&r);
    chain->acked_totals = get_totals(&r);
    chain->ended = pl_get_u8(&r) == 1;
    chain->next = pl_get_u64(&r);
    chain->totals = get_totals(&r);
    return true;
}

void spool_chain_row_put(struct spool *spool, struct store_batch *batch,
                         const struct spool_chain *chain)
{
    uint8_t row[ROW_BYTES];
    store_batch_put(batch, spool->config.store, EDGE_CHAINS,
                    pl_span(chain->incarnation.bytes, sizeof(chain->incarnation.bytes)),
                    row_encode(chain, row));
}

enum pl_err spool_chain_write(struct spool *spool, const struct spool_chain *chain, bool sync,
                              struct pl_why *why)
{
    uint8_t row[ROW_BYTES];
    return store_put(spool->config.store, EDGE_CHAINS,
                     pl_span(chain->incarnation.bytes, sizeof(chain->incarnation.bytes)),
                     row_encode(chain, row), sync, why);
}

/* Beside the rows, under a key that no incarnation has: what settled chains had accepted. */
static const struct pl_span settled_key = PL_SPAN_INIT("settled");

enum pl_err spool_load_settled(struct spool *spool)
{
    struct pl_buf value;
    pl_buf_init(&value, 4096);
    enum pl_err err = store_get(spool->config.store, EDGE_CHAINS, settled_key, &value);
    if (err == PL_OK && value.len == 8)
        spool->settled_events = pl_load_u64(value.data);
    pl_buf_release(&value);
    /* A statistic: its loss stops nothing. */
    return spool_not_there(err) ? PL_OK : err;
}

void spool_chain_delete(struct spool *spool, const struct spool_chain *chain)
{
    uint8_t settled[8];
    pl_store_u64(settled, spool->settled_events);
    store_batch_clear(spool->trims);
    store_batch_put(spool->trims, spool->config.store, EDGE_CHAINS, settled_key,
                    pl_span(settled, sizeof(settled)));
    store_batch_delete(spool->trims, spool->config.store, EDGE_CHAINS,
                       pl_span(chain->incarnation.bytes, sizeof(chain->incarnation.bytes)));
    /* A row that stays is met and dropped again at the next start. */
    (void)store_write(spool->config.store, spool->trims, false, NULL);
    store_batch_clear(spool->trims);
}

/* ---- the table of chains */

void spool_chain_free(struct spool_chain *chain)
{
    if (chain == NULL)
        return;
    ackset_release(&chain->acks);
    ackset_release(&chain->declared);
    free(chain);
}

void spool_chains_release(struct spool_chains *chains)
{
    for (size_t i = 0; i < chains->count; i++)
        spool_chain_free(chains->items[i]);
    free(chains->items);
    *chains = (struct spool_chains){0};
}

enum pl_err spool_chains_add(struct spool_chains *chains, struct spool_chain *chain)
{
    if (chains->count == chains->cap) {
        size_t cap = chains->cap == 0 ? 8 : chains->cap * 2;
        struct spool_chain **items = realloc(chains->items, cap * sizeof(struct spool_chain *));
        if (items == NULL)
            return PL_ENOMEM;
        chains->items = items;
        chains->cap = cap;
    }
    size_t at = chains->count++;
    for (; at > 0 && chains->items[at - 1]->serial > chain->serial; at--)
        chains->items[at] = chains->items[at - 1];
    chains->items[at] = chain;
    return PL_OK;
}

struct spool_chain *spool_chains_find(const struct spool_chains *chains,
                                      const struct pl_id128 *incarnation)
{
    for (size_t i = chains->count; i-- > 0;)
        if (pl_id128_eq(&chains->items[i]->incarnation, incarnation))
            return chains->items[i];
    return NULL;
}

/* ---- finding what is there */

/* The first key of a family at or after incarnation|number. What cannot be read counts as nothing
 * found: the other family and the chain's row answer for it. */
static enum pl_err first_key(struct spool *spool, enum edge_family family,
                             const struct pl_id128 *incarnation, uint64_t number,
                             struct pl_id128 *found_incarnation, uint64_t *found)
{
    uint8_t from[SPOOL_KEY_BYTES];
    struct store_scan *scan;
    struct pl_span key, value;
    spool_key(incarnation, number, from);
    enum pl_err err = store_scan_new(&scan, spool->config.store, family,
                                     pl_span(from, sizeof(from)), pl_span(NULL, 0));
    if (err != PL_OK)
        return err;
    do
        err = store_scan_next(scan, &key, &value);
    while (err == PL_OK && key.len != SPOOL_KEY_BYTES);
    if (err == PL_OK) {
        memcpy(found_incarnation->bytes, key.data, sizeof(found_incarnation->bytes));
        *found = pl_load_u64(key.data + sizeof(found_incarnation->bytes));
    }
    store_scan_free(scan);
    return spool_not_there(err) ? PL_ENOTFOUND : err;
}

/* Is there any number >= `number` in this chain? */
static enum pl_err reaches(struct spool *spool, enum edge_family family,
                           const struct pl_id128 *incarnation, uint64_t number, uint64_t *found)
{
    struct pl_id128 where;
    enum pl_err err = first_key(spool, family, incarnation, number, &where, found);
    return err == PL_OK && !pl_id128_eq(&where, incarnation) ? PL_ENOTFOUND : err;
}

/* One past the largest number, by doubling and halving: the scan goes forward only, and reading
 * a full spool at every start would take minutes. 0 when there is none. */
static enum pl_err end_of(struct spool *spool, enum edge_family family,
                          const struct pl_id128 *incarnation, uint64_t from, uint64_t *end)
{
    uint64_t low = from; /* everything found so far lies below it */
    uint64_t step = 1, found;
    enum pl_err err;
    while ((err = reaches(spool, family, incarnation, low, &found)) == PL_OK) {
        low = found + 1;
        if (found > UINT64_MAX / 4)
            return PL_ECORRUPT;
        if (reaches(spool, family, incarnation, low + step, &found) == PL_OK) {
            low = found + 1;
            step *= 2;
        } else {
            step = step > 1 ? step / 2 : 1;
        }
    }
    *end = low;
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* ---- loading */

static enum pl_err add_found(struct spool_chains *out, const struct spool_chain *found)
{
    struct spool_chain *chain = malloc(sizeof(*chain));
    if (chain == NULL)
        return PL_ENOMEM;
    *chain = *found;
    chain->closed = true;
    enum pl_err err = spool_chains_add(out, chain);
    if (err != PL_OK)
        free(chain);
    return err;
}

static enum pl_err load_rows(struct spool *spool, struct spool_chains *out)
{
    struct store_scan *scan;
    struct pl_span key, value, all = pl_span(NULL, 0);
    enum pl_err err = store_scan_new(&scan, spool->config.store, EDGE_CHAINS, all, all);
    if (err != PL_OK)
        return err;
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK) {
        struct spool_chain row = {0};
        if (key.len != sizeof(row.incarnation.bytes) || !row_decode(value, &row))
            continue; /* adopted below from its records */
        memcpy(row.incarnation.bytes, key.data, key.len);
        err = add_found(out, &row);
        if (err != PL_OK)
            break;
    }
    store_scan_free(scan);
    return spool_not_there(err) ? PL_OK : err;
}

/* Chains whose row is lost: their records say all but what was trimmed long ago. */
static enum pl_err adopt(struct spool *spool, enum edge_family family, struct spool_chains *out)
{
    struct spool_chain found = {0};
    struct pl_id128 at = {{0}};
    uint64_t from = 0, number;
    enum pl_err err;
    while ((err = first_key(spool, family, &at, from, &at, &number)) == PL_OK) {
        struct spool_chain *known = spool_chains_find(out, &at);
        found.incarnation = at;
        found.acked = number;
        if (known == NULL)
            err = add_found(out, &found);
        else if (known->serial == 0 && known->acked > number)
            known->acked = number;
        if (err != PL_OK || number == UINT64_MAX)
            return err;
        from = UINT64_MAX;
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* Trims are not synced: what a crash brought back goes again. */
static enum pl_err drop_acked(struct spool *spool, const struct spool_chain *chain,
                              enum edge_family family)
{
    uint64_t found;
    enum pl_err err = reaches(spool, family, &chain->incarnation, 0, &found);
    if (err != PL_OK || found >= chain->acked)
        return err == PL_ENOTFOUND ? PL_OK : err;
    uint8_t from[SPOOL_KEY_BYTES], to[SPOOL_KEY_BYTES];
    spool_key(&chain->incarnation, 0, from);
    spool_key(&chain->incarnation, chain->acked, to);
    store_batch_clear(spool->trims);
    store_batch_delete_range(spool->trims, spool->config.store, family, pl_span(from, sizeof(from)),
                             pl_span(to, sizeof(to)));
    err = store_write(spool->config.store, spool->trims, false, NULL);
    store_batch_clear(spool->trims);
    return err;
}

static enum pl_err complete(struct spool *spool, struct spool_chain *chain)
{
    uint64_t blocks_end, marks_end;
    struct spool_mark mark;
    /* Serial 0 marks an adopted chain; live ones count from 1. */
    if (chain->serial == 0 &&
        spool_mark_get(spool, &chain->incarnation, chain->acked, &mark) == PL_OK) {
        chain->acked_totals.events = mark.through.events - mark.own.events;
        chain->acked_totals.bytes = mark.through.bytes - mark.own.bytes;
    }
    enum pl_err err = end_of(spool, EDGE_BLOCKS, &chain->incarnation, chain->acked, &blocks_end);
    if (err == PL_OK)
        err = end_of(spool, EDGE_MARKS, &chain->incarnation, chain->acked, &marks_end);
    if (err != PL_OK)
        return err;
    uint64_t end = blocks_end > marks_end ? blocks_end : marks_end;
    chain->exact = chain->ended && chain->next >= end;
    if (!chain->exact) {
        chain->ended = false;
        chain->next = end;
        chain->totals = chain->acked_totals;
        if (end > chain->acked) {
            struct spool_view view = spool_view_of(chain);
            struct spool_tally tally;
            err = spool_tally_of(spool, &view, end - 1, &tally);
            if (err == PL_OK)
                chain->totals = tally.through;
        }
    }
    if (err == PL_OK)
        err = drop_acked(spool, chain, EDGE_BLOCKS);
    if (err == PL_OK)
        err = drop_acked(spool, chain, EDGE_MARKS);
    if (err == PL_OK && chain->next > chain->acked &&
        spool_mark_get(spool, &chain->incarnation, chain->acked, &mark) == PL_OK)
        chain->oldest_ms = mark.sealed_ms;
    ackset_init(&chain->acks, chain->acked);
    ackset_init(&chain->declared, chain->acked);
    return err;
}

/* A process that collected nothing leaves nothing to settle. */
static void drop_empty(struct spool *spool, struct spool_chains *chains)
{
    size_t kept = 0;
    for (size_t i = 0; i < chains->count; i++) {
        struct spool_chain *chain = chains->items[i];
        if (chain->next > 0) {
            chains->items[kept++] = chain;
            continue;
        }
        spool_chain_delete(spool, chain);
        spool_chain_free(chain);
    }
    chains->count = kept;
}

enum pl_err spool_load(struct spool *spool, struct spool_chains *out, struct pl_why *why)
{
    struct spool_chains chains = {0};
    enum pl_err err = load_rows(spool, &chains);
    if (err == PL_OK)
        err = adopt(spool, EDGE_MARKS, &chains);
    if (err == PL_OK)
        err = adopt(spool, EDGE_BLOCKS, &chains);
    for (size_t i = 0; i < chains.count && err == PL_OK; i++)
        err = complete(spool, chains.items[i]);
    if (err != PL_OK) {
        spool_chains_release(&chains);
        return pl_fail(why, err, "cannot take up the spool in %s: %s", spool->config.data_dir,
                       pl_err_word(err));
    }
    drop_empty(spool, &chains);
    *out = chains;
    return PL_OK;
}
