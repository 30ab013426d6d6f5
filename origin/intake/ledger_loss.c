/* Blocks that an edge was acked and that a restored database lacks. */
#include "origin/intake/ledger_state.h"

#include "proto/wire/limits.h"

/* No edge makes more blocks in one process, and sums of such losses do not overflow. */
#define LOST_BLOCKS_MAX (UINT64_C(1) << 36)

bool ledger_is_lost(const struct ledger *l, const struct ledger_links *chain, uint64_t number)
{
    return number >= chain->lost_from && number < chain->lost_to &&
           chain->lost_ms >= pl_wall_ms(l->clock) - LEDGER_KEEP_DAYS * PL_DAY_MS;
}

void ledger_lose(struct ledger *l, const struct pl_id128 *edge, const struct chain_claim *claim)
{
    pthread_mutex_lock(&l->lock);
    if (l->lost_count < LEDGER_LOST_MAX)
        l->lost[l->lost_count++] = (struct ledger_lost){.edge = *edge, .claim = *claim};
    pthread_mutex_unlock(&l->lock);
}

/* Makes of a chain's copy what it is once all blocks below `acked` count. Returns how many of its
 * rows above the first hole are in the run then. */
static size_t go_on_behind(struct ledger_links *chain, uint64_t acked, uint64_t *missing,
                           uint64_t *end)
{
    size_t run = 0;
    for (;; run++) {
        const struct ledger_row *row = run < chain->ahead_count ? &chain->ahead[run] : NULL;
        const uint64_t to = row != NULL && row->number < acked ? row->number : acked;
        if (chain->contiguous < to) {
            *missing += to - chain->contiguous;
            *end = chain->contiguous = to;
            memset(chain->last_hash, 0, BLOCK_HASH_BYTES);
        }
        if (row == NULL || row->number != chain->contiguous)
            return run;
        ledger_take_next(chain, row);
    }
}

/* The events of blocks behind the lost ones are no part of the claim. */
static uint64_t events_below(const struct ledger_links *chain, uint64_t acked)
{
    uint64_t events = chain->counts.events;
    for (size_t i = 0; i < chain->ahead_count && chain->ahead[i].number < acked; i++)
        events += chain->ahead[i].counts.events;
    return events;
}

static enum pl_err write_chain(struct ledger *l, const struct ledger_links *chain,
                               struct pl_why *why)
{
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK)
        return err;
    err = ledger_put_chain(l, batch, chain);
    if (err == PL_OK)
        err = store_write(l->store, batch, true, why);
    store_batch_free(batch);
    return err;
}

static enum pl_err book(struct ledger *l, const struct ledger_lost *lost, struct pl_why *why)
{
    const struct chain_claim *claim = &lost->claim;
    const int64_t now_ms = pl_wall_ms(l->clock);
    struct ledger_links *chain = ledger_find(l, &lost->edge, &claim->incarnation);
    const bool stands_on_another =
        chain != NULL ? chain->told.contiguous != chain->contiguous
                      : ledger_earlier(l, &lost->edge, &claim->incarnation) != NULL;
    const uint64_t contiguous = chain == NULL ? 0 : chain->contiguous;
    if (chain == NULL && ledger_is_full(l, &lost->edge))
        return PL_OK;
    if (stands_on_another || claim->acked <= contiguous ||
        claim->acked - contiguous > LOST_BLOCKS_MAX)
        return PL_OK;
    enum pl_err err = ledger_find_or_add(l, &lost->edge, &claim->incarnation, &chain);
    if (err != PL_OK)
        return err;
    struct ledger_links grown = *chain;
    uint64_t missing = 0, end = 0;
    const uint64_t here = events_below(chain, claim->acked);
    const uint64_t events = claim->acked_events > here ? claim->acked_events - here : 0;
    const size_t run = go_on_behind(&grown, claim->acked, &missing, &end);
    if (missing == 0 || events > missing * LIMIT_BLOCK_EVENTS)
        return PL_OK;
    const struct ledger_counts more = {
        .events = events, .lost_blocks = missing, .dropped[DROP_RESTORED] = events};
    ledger_counts_add(&grown.counts, &more);
    grown.lost_from = ledger_is_lost(l, chain, chain->lost_from) ? chain->lost_from : contiguous;
    grown.lost_to = end;
    grown.lost_ms = grown.last_ms = now_ms;
    if (grown.highest < grown.contiguous)
        grown.highest = grown.contiguous;
    err = write_chain(l, &grown, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&l->lock);
    grown.let_go = chain->let_go;
    *chain = grown;
    ledger_ahead_shift(chain, run);
    ledger_show(l, chain);
    ledger_counts_add(&l->totals, &more);
    pthread_mutex_unlock(&l->lock);
    return PL_OK;
}

enum pl_err ledger_book_losses(struct ledger *l, struct pl_why *why)
{
    struct ledger_lost lost[LEDGER_LOST_MAX];
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&l->lock);
    const size_t count = l->lost_count;
    memcpy(lost, l->lost, count * sizeof(*lost));
    l->lost_count = 0;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < count && err == PL_OK; i++)
        err = book(l, &lost[i], why);
    return err == PL_OK
               ? PL_OK
               : pl_fail(why, err, "blocks that are lost are not booked yet: %s", pl_err_word(err));
}
