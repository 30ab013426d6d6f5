#include "origin/intake/ledger_state.h"

enum pl_err ledger_events_between(struct ledger *l, const struct pl_id128 *edge,
                                  const struct pl_id128 *incarnation, uint64_t from, uint64_t to,
                                  uint64_t *events)
{
    uint8_t first[LEDGER_BLOCK_KEY_BYTES], end[LEDGER_BLOCK_KEY_BYTES];
    struct store_scan *scan;
    struct ledger_row row;
    struct pl_span key, value;
    uint64_t sum = 0, rows = 0;
    if (from >= to) {
        *events = 0;
        return PL_OK;
    }
    ledger_block_key(edge, incarnation, from, first);
    ledger_block_key(edge, incarnation, to, end);
    enum pl_err err = store_scan_new(&scan, l->store, FAMILY_LEDGER, pl_span(first, sizeof(first)),
                                     pl_span(end, sizeof(end)));
    if (err != PL_OK) {
        return err;
    }
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK &&
           (err = ledger_row_decode(key, value, &row)) == PL_OK) {
        sum += row.counts.events;
        rows++;
    }
    store_scan_free(scan);
    if (err != PL_ENOTFOUND) {
        return err;
    }
    if (rows != to - from) {
        return PL_ENOTFOUND;
    }
    *events = sum;
    return PL_OK;
}

static void add_missing(struct ledger_gap *gap, uint64_t from, uint64_t to)
{
    if (from < to) {
        gap->first = gap->blocks == 0 ? from : gap->first;
        gap->last = to - 1;
        gap->blocks += to - from;
    }
}

void ledger_gap(struct ledger *l, const struct pl_id128 *edge, const struct pl_id128 *incarnation,
                uint64_t from, uint64_t to, struct ledger_gap *out)
{
    *out = (struct ledger_gap){.blocks = 0};
    pthread_mutex_lock(&l->lock);
    const struct ledger_links *chain = ledger_find(l, edge, incarnation);
    for (size_t i = 0; chain != NULL && i < chain->ahead_count; i++) {
        const struct ledger_row *row = &chain->ahead[i];
        if (row->number >= to)
            break;
        if (row->number < from)
            continue;
        add_missing(out, from, row->number);
        out->events += row->counts.events;
        from = row->number + 1;
    }
    pthread_mutex_unlock(&l->lock);
    add_missing(out, from, to);
}
