/* The ledger's memory: chains, what stands above their holes, and how both are read back. */
#include "origin/intake/ledger_state.h"

#include <stdlib.h>

static int compare(const struct ledger_links *chain, const struct pl_id128 *edge,
                   const struct pl_id128 *incarnation)
{
    int order = memcmp(chain->edge.bytes, edge->bytes, 16);
    return order != 0 ? order : memcmp(chain->incarnation.bytes, incarnation->bytes, 16);
}

size_t ledger_position(const struct ledger *l, const struct pl_id128 *edge,
                       const struct pl_id128 *incarnation)
{
    size_t low = 0, high = l->chain_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(l->chains[middle], edge, incarnation) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct ledger_links *ledger_find(struct ledger *l, const struct pl_id128 *edge,
                                 const struct pl_id128 *incarnation)
{
    size_t at = ledger_position(l, edge, incarnation);
    return at < l->chain_count && compare(l->chains[at], edge, incarnation) == 0 ? l->chains[at]
                                                                                 : NULL;
}

bool ledger_is_full(const struct ledger *l, const struct pl_id128 *edge)
{
    static const struct pl_id128 first;
    struct pl_id128 last;
    memset(last.bytes, 0xff, sizeof(last.bytes));
    return ledger_position(l, edge, &last) - ledger_position(l, edge, &first) >= l->chains_max;
}

static enum pl_err insert_chain(struct ledger *l, struct ledger_links *chain)
{
    size_t at = ledger_position(l, &chain->edge, &chain->incarnation);
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&l->lock);
    if (l->chain_count == l->chain_room) {
        size_t room = l->chain_room == 0 ? 64 : 2 * l->chain_room;
        struct ledger_links **more = realloc(l->chains, room * sizeof(struct ledger_links *));
        if (more == NULL) {
            err = PL_ENOMEM;
        } else {
            l->chains = more;
            l->chain_room = room;
        }
    }
    if (err == PL_OK) {
        memmove(l->chains + at + 1, l->chains + at,
                (l->chain_count++ - at) * sizeof(struct ledger_links *));
        l->chains[at] = chain;
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

enum pl_err ledger_find_or_add(struct ledger *l, const struct pl_id128 *edge,
                               const struct pl_id128 *incarnation, struct ledger_links **out)
{
    struct ledger_links *chain = ledger_find(l, edge, incarnation);
    if (chain == NULL) {
        chain = calloc(1, sizeof(*chain));
        if (chain == NULL)
            return PL_ENOMEM;
        chain->edge = *edge;
        chain->incarnation = *incarnation;
        chain->shown.incarnation = *incarnation;
        enum pl_err err = insert_chain(l, chain);
        if (err != PL_OK) {
            free(chain);
            return err;
        }
    }
    *out = chain;
    return PL_OK;
}

size_t ledger_ahead_at(const struct ledger_links *chain, uint64_t number)
{
    /* Blocks mostly come in order: look at the end first. */
    size_t low = 0, high = chain->ahead_count;
    if (high == 0 || chain->ahead[high - 1].number < number)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (chain->ahead[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum pl_err ledger_ahead_insert(struct ledger_links *chain, const struct ledger_row *row)
{
    if (chain->ahead_count == chain->ahead_room) {
        size_t room = chain->ahead_room == 0 ? 16 : 2 * chain->ahead_room;
        struct ledger_row *more = realloc(chain->ahead, room * sizeof(*more));
        if (more == NULL)
            return PL_ENOMEM;
        chain->ahead = more;
        chain->ahead_room = room;
    }
    size_t at = ledger_ahead_at(chain, row->number);
    memmove(chain->ahead + at + 1, chain->ahead + at,
            (chain->ahead_count++ - at) * sizeof(*chain->ahead));
    chain->ahead[at] = *row;
    if (row->number >= chain->highest)
        chain->highest = row->number + 1;
    return PL_OK;
}

void ledger_take_next(struct ledger_links *chain, const struct ledger_row *row)
{
    ledger_counts_add(&chain->counts, &row->counts);
    if (row->refused)
        memset(chain->last_hash, 0, BLOCK_HASH_BYTES);
    else
        memcpy(chain->last_hash, row->hash, BLOCK_HASH_BYTES);
    chain->contiguous++;
}

/* One that was booked as lost is here. */
static void take_lost(struct ledger_links *chain, const struct ledger_row *row,
                      struct ledger_counts *found)
{
    struct ledger_counts *counts = &chain->counts;
    uint64_t events = counts->dropped[DROP_RESTORED];
    if (row->counts.events < events)
        events = row->counts.events;
    counts->events -= events;
    counts->dropped[DROP_RESTORED] -= events;
    counts->lost_blocks--;
    found->events += events;
    found->lost_blocks++;
    ledger_counts_add(counts, &row->counts);
    if (row->number + 1 == chain->contiguous && !row->refused)
        memcpy(chain->last_hash, row->hash, BLOCK_HASH_BYTES);
}

void ledger_ahead_shift(struct ledger_links *chain, size_t run)
{
    if (run == 0)
        return;
    chain->ahead_count -= run;
    memmove(chain->ahead, chain->ahead + run, chain->ahead_count * sizeof(*chain->ahead));
}

void ledger_advance(struct ledger_links *chain, struct ledger_counts *found)
{
    size_t run = 0;
    for (; run < chain->ahead_count && chain->ahead[run].number <= chain->contiguous; run++) {
        if (chain->ahead[run].number < chain->contiguous)
            take_lost(chain, &chain->ahead[run], found);
        else
            ledger_take_next(chain, &chain->ahead[run]);
    }
    ledger_ahead_shift(chain, run);
}

const struct ledger_links *ledger_earlier(const struct ledger *l, const struct pl_id128 *edge,
                                          const struct pl_id128 *incarnation)
{
    const struct ledger_links *best = NULL;
    for (size_t i = 0; i < l->chain_count; i++) {
        const struct ledger_links *chain = l->chains[i];
        /* Only a chain of whose blocks some opened is its edge's own. */
        if (chain->shown.stored + chain->shown.duplicate > 0 &&
            pl_id128_eq(&chain->incarnation, incarnation) && !pl_id128_eq(&chain->edge, edge) &&
            (best == NULL || chain->shown.contiguous > best->shown.contiguous))
            best = chain;
    }
    return best;
}

/* A chain that stands on an earlier identity's: its blocks go on where the other's end. */
static void go_on(const struct ledger_links *earlier, struct ledger_links *chain)
{
    struct ledger_counts sum = {.blocks = 0};
    uint64_t contiguous = earlier->shown.contiguous;
    for (size_t i = 0; i < chain->ahead_count && chain->ahead[i].number <= contiguous; i++) {
        if (chain->ahead[i].number < contiguous)
            continue;
        ledger_counts_add(&sum, &chain->ahead[i].counts);
        contiguous++;
    }
    chain->told = earlier->shown;
    chain->told.contiguous = contiguous;
    if (chain->highest > chain->told.highest)
        chain->told.highest = chain->highest;
    chain->told.events += sum.events;
    chain->told.stored += sum.stored;
    chain->told.duplicate += sum.duplicate;
    chain->told.dropped += ledger_counts_dropped(&sum);
}

void ledger_show(const struct ledger *l, struct ledger_links *chain)
{
    chain->shown.contiguous = chain->contiguous;
    chain->shown.highest = chain->highest;
    chain->shown.events = chain->counts.events;
    chain->shown.stored = chain->counts.stored;
    chain->shown.duplicate = chain->counts.duplicate;
    chain->shown.dropped = ledger_counts_dropped(&chain->counts);
    chain->shown_ms = chain->last_ms;
    chain->shown_loss = (struct ledger_loss){.blocks = chain->counts.lost_blocks,
                                             .events = chain->counts.dropped[DROP_RESTORED],
                                             .first = chain->lost_from,
                                             .last = chain->lost_to > 0 ? chain->lost_to - 1 : 0,
                                             .since_ms = chain->lost_ms};
    chain->told = chain->shown;
    const struct ledger_links *earlier = NULL;
    if (chain->contiguous == 0 && !ledger_is_sum(chain))
        earlier = ledger_earlier(l, &chain->edge, &chain->incarnation);
    if (earlier != NULL)
        go_on(earlier, chain);
}

void ledger_remove(struct ledger *l, struct ledger_links *chain)
{
    size_t at = ledger_position(l, &chain->edge, &chain->incarnation);
    pthread_mutex_lock(&l->lock);
    memmove(l->chains + at, l->chains + at + 1,
            (--l->chain_count - at) * sizeof(struct ledger_links *));
    pthread_mutex_unlock(&l->lock);
    free(chain->ahead);
    free(chain);
}

void ledger_forget(struct ledger *l)
{
    for (size_t i = 0; i < l->chain_count; i++) {
        free(l->chains[i]->ahead);
        free(l->chains[i]);
    }
    free(l->chains);
    free(l->kept);
}

/* ---- reading back */

typedef enum pl_err (*row_fn)(struct ledger *l, void *arg, struct pl_span key,
                              struct pl_span value);

static enum pl_err each_row(struct ledger *l, unsigned family, struct pl_span from,
                            struct pl_span to, row_fn visit, void *arg)
{
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = store_scan_new(&scan, l->store, family, from, to);
    if (err != PL_OK)
        return err;
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK &&
           (err = visit(l, arg, key, value)) == PL_OK)
        ;
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static enum pl_err load_ahead_row(struct ledger *l, void *arg, struct pl_span key,
                                  struct pl_span value)
{
    struct ledger_links *chain = arg;
    struct ledger_row row;
    enum pl_err err = ledger_row_decode(key, value, &row);
    if (err == PL_OK)
        err = ledger_ahead_insert(chain, &row);
    if (err == PL_OK)
        ledger_counts_add(&l->totals, &row.counts);
    return err;
}

static enum pl_err load_chain(struct ledger *l, void *arg, struct pl_span key, struct pl_span value)
{
    (void)arg;
    struct ledger_links found = {.contiguous = 0}, *chain;
    enum pl_err err = ledger_chain_decode(key, value, &found);
    if (err == PL_OK)
        err = ledger_find_or_add(l, &found.edge, &found.incarnation, &chain);
    if (err != PL_OK)
        return err;
    found.shown.incarnation = found.incarnation;
    *chain = found;
    ledger_counts_add(&l->totals, &chain->counts);
    if (chain->highest > chain->contiguous) {
        uint8_t from[LEDGER_BLOCK_KEY_BYTES], to[LEDGER_BLOCK_KEY_BYTES];
        ledger_block_key(&chain->edge, &chain->incarnation, chain->contiguous, from);
        ledger_block_key(&chain->edge, &chain->incarnation, chain->highest, to);
        err = each_row(l, FAMILY_LEDGER, pl_span(from, sizeof(from)), pl_span(to, sizeof(to)),
                       load_ahead_row, chain);
    }
    return err;
}

static enum pl_err load_kept(struct ledger *l, void *arg, struct pl_span key, struct pl_span value)
{
    (void)arg;
    struct ledger_alarm alarm;
    if (ledger_alarm_decode(key, value, &alarm) == PL_OK)
        ledger_keep_alarm(l, &alarm);
    else /* ledger_tidy drops it */
        alarm.since_ms = 0;
    ledger_kept_add(&l->stored_kept, alarm.since_ms, key.len + value.len);
    return PL_OK;
}

/* Readers go on seeing what they saw until all of the new is there. */
static void take_over(struct ledger *l, struct ledger *fresh)
{
    struct ledger old = {.chains = l->chains, .chain_count = l->chain_count, .kept = l->kept};
    pthread_mutex_lock(&l->lock);
    l->chains = fresh->chains;
    l->chain_count = fresh->chain_count;
    l->chain_room = fresh->chain_room;
    l->kept = fresh->kept;
    l->kept_count = fresh->kept_count;
    l->stored_kept = fresh->stored_kept;
    l->totals = fresh->totals;
    pthread_mutex_unlock(&l->lock);
    l->dirty = NULL;
    memset(&l->staged, 0, sizeof(l->staged));
    memset(&l->found, 0, sizeof(l->found));
    ledger_forget(&old);
}

enum pl_err ledger_load(struct ledger *l, struct pl_why *why)
{
    static const struct pl_span all = {NULL, 0};
    struct ledger fresh = {.store = l->store};
    pthread_mutex_init(&fresh.lock, NULL);
    fresh.kept = calloc(LEDGER_KEPT_MAX, sizeof(*fresh.kept));
    enum pl_err err = fresh.kept == NULL
                          ? PL_ENOMEM
                          : each_row(&fresh, FAMILY_CHAINS, all, all, load_chain, NULL);
    /* Twice: one may stand on what another shows. */
    for (size_t i = 0; err == PL_OK && i < 2 * fresh.chain_count; i++)
        ledger_show(&fresh, fresh.chains[i % fresh.chain_count]);
    if (err == PL_OK)
        err = each_row(&fresh, FAMILY_QUARANTINE, all, all, load_kept, NULL);
    if (err == PL_OK)
        take_over(l, &fresh);
    else
        ledger_forget(&fresh);
    pthread_mutex_destroy(&fresh.lock);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot read the ledger: %s", pl_err_word(err));
}
