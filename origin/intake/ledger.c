#include "origin/intake/ledger_state.h"

#include <stdlib.h>

#define HOLE_ALARM_MS    (30 * PL_SECOND_MS)
#define QUARANTINE_BYTES ((size_t)64 << 20)
#define AHEAD_MAX        ((size_t)128 << 10)
#define CHAINS_MAX       ((size_t)64 << 10)

const char *drop_reason_name(enum drop_reason reason)
{
    static const char *const names[DROP_COUNT] = {
        [DROP_MALFORMED] = "malformed",
        [DROP_EXPIRED] = "expired",
        [DROP_DELETED] = "deleted",
        [DROP_UNKNOWN] = "unknown",
        [DROP_ROT] = "rot",
        [DROP_REFUSED] = "refused",
        [DROP_OPTED_OUT] = "opted_out",
        [DROP_ERASED] = "erased",
        [DROP_KEY_DESTROYED] = "key_destroyed",
        [DROP_RESTORED] = "restored",
        [DROP_KEY_LOST] = "key_lost",
    };
    return names[reason];
}

enum pl_err ledger_new(struct ledger **out, const struct ledger_config *config, struct pl_why *why)
{
    struct ledger *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the ledger");
    l->store = config->store;
    l->hole_alarm_ms = config->hole_alarm_ms == 0 ? HOLE_ALARM_MS : config->hole_alarm_ms;
    l->quarantine_bytes_max =
        config->quarantine_bytes_max == 0 ? QUARANTINE_BYTES : config->quarantine_bytes_max;
    l->ahead_max = config->ahead_max == 0 ? AHEAD_MAX : config->ahead_max;
    l->chains_max = config->chains_max == 0 ? CHAINS_MAX : config->chains_max;
    l->clock = config->clock;
    l->log = config->log;
    pthread_mutex_init(&l->lock, NULL);
    pl_buf_init(&l->row, 4 * LIMIT_BLOCK_BYTES);
    enum pl_err err = ledger_load(l, why);
    if (err != PL_OK) {
        ledger_free(l);
        return err;
    }
    *out = l;
    return PL_OK;
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    ledger_forget(l);
    pl_buf_release(&l->row);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- the writer's */

static bool is_zero(const uint8_t hash[BLOCK_HASH_BYTES])
{
    static const uint8_t zeros[BLOCK_HASH_BYTES];
    return memcmp(hash, zeros, BLOCK_HASH_BYTES) == 0;
}

/* A block against what is recorded under its number. */
static enum block_verdict against(const struct ledger_row *row, const struct ledger_block *block)
{
    bool same = memcmp(row->hash, block->hash, BLOCK_HASH_BYTES) == 0;
    /* An edge may lose a block after it was taken here, and may not know its hash any more. */
    if (block->lost)
        return same || row->lost || is_zero(block->hash) ? BLOCK_REPEAT : BLOCK_FORK;
    if (same && row->refused)
        return BLOCK_REFUSED;
    /* Booked as lost, and here after all: not to be forgotten, so kept aside. */
    return same && !row->lost ? BLOCK_REPEAT : BLOCK_FORK;
}

/* PL_ENOTFOUND: there is none. */
static enum pl_err read_row(struct ledger *l, const struct ledger_block *block, uint64_t number,
                            struct ledger_row *row)
{
    uint8_t key[LEDGER_BLOCK_KEY_BYTES];
    ledger_block_key(&block->edge, &block->incarnation, number, key);
    size_t before = l->row.len;
    enum pl_err err = store_get(l->store, FAMILY_LEDGER, pl_span(key, sizeof(key)), &l->row);
    if (err == PL_OK)
        err = ledger_row_decode(pl_span(key, sizeof(key)),
                                pl_span(l->row.data + before, l->row.len - before), row);
    l->row.len = before;
    return err;
}

/* Whether `later` may follow a block with that hash. What is not known is not held against it, nor
 * is what a refused block says of itself or of the one before. */
static bool links(const uint8_t hash[BLOCK_HASH_BYTES], const uint8_t *previous_hash, bool lost)
{
    return is_zero(hash) || lost || memcmp(hash, previous_hash, BLOCK_HASH_BYTES) == 0;
}

static bool fits(const struct ledger_links *chain, const struct ledger_block *block, size_t at)
{
    const struct ledger_row *next = at < chain->ahead_count ? &chain->ahead[at] : NULL;
    if (block->number == 0) {
        if (!block->lost && !is_zero(block->previous_hash))
            return false;
    } else if (block->number == chain->contiguous) {
        if (!links(chain->last_hash, block->previous_hash, block->lost))
            return false;
    } else if (at > 0 && chain->ahead[at - 1].number + 1 == block->number) {
        const struct ledger_row *before = &chain->ahead[at - 1];
        if (!before->refused && !links(before->hash, block->previous_hash, block->lost))
            return false;
    }
    return next == NULL || next->number != block->number + 1 || next->refused ||
           links(block->hash, next->previous_hash, next->lost);
}

/* Like fits, for a lost block that comes after all: its neighbours are on the disk, or lost. */
static enum pl_err fits_lost(struct ledger *l, const struct ledger_block *block, bool *fit)
{
    struct ledger_row row;
    *fit = block->number > 0 || block->lost || is_zero(block->previous_hash);
    enum pl_err err =
        block->number == 0 ? PL_ENOTFOUND : read_row(l, block, block->number - 1, &row);
    if (err == PL_OK && !row.refused)
        *fit = links(row.hash, block->previous_hash, block->lost);
    if (err == PL_OK || err == PL_ENOTFOUND)
        err = read_row(l, block, block->number + 1, &row);
    if (err == PL_OK && !row.refused)
        *fit = *fit && links(block->hash, row.previous_hash, row.lost);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* A block below its chain's contiguous mark. */
static enum pl_err check_old(struct ledger *l, const struct ledger_links *chain,
                             const struct ledger_block *block, enum block_verdict *verdict,
                             struct pl_why *why)
{
    struct ledger_row row;
    bool fit = false;
    enum pl_err err = read_row(l, block, block->number, &row);
    if (err == PL_OK) {
        *verdict = against(&row, block);
    } else if (err == PL_ENOTFOUND && ledger_is_lost(l, chain, block->number)) {
        err = fits_lost(l, block, &fit);
        *verdict = fit ? BLOCK_STORED : BLOCK_REFUSED;
    } else if (err == PL_ENOTFOUND) { /* dropped for its age; nothing of it is new */
        *verdict = BLOCK_REPEAT;
        err = PL_OK;
    }
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "the ledger's row of a block cannot be read: %s",
                                  pl_err_word(err));
}

/* Whether memory holds no more of the chain above a hole. What closes the hole is taken: with it
 * the block is in the run, by the write at hand. */
static bool is_too_far(const struct ledger *l, const struct ledger_links *chain,
                       const struct ledger_block *block, size_t at)
{
    return chain->ahead_count >= l->ahead_max &&
           block->number - chain->contiguous != at - ledger_ahead_at(chain, chain->contiguous);
}

enum pl_err ledger_check(struct ledger *l, const struct ledger_block *block,
                         enum block_verdict *verdict, struct pl_why *why)
{
    struct ledger_links *chain = ledger_find(l, &block->edge, &block->incarnation);
    if (chain == NULL && ledger_is_full(l, &block->edge))
        return pl_fail(
            why, PL_ELIMIT,
            "an edge has begun %zu chains of blocks, a new one with each start: more are "
            "taken when the oldest are %d days old",
            l->chains_max, LEDGER_KEEP_DAYS);
    static const struct ledger_links fresh = {.contiguous = 0};
    const struct ledger_links *c = chain == NULL ? &fresh : chain;
    size_t at = ledger_ahead_at(c, block->number);
    if (at < c->ahead_count && c->ahead[at].number == block->number)
        *verdict = against(&c->ahead[at], block);
    else if (block->number < c->contiguous)
        return check_old(l, c, block, verdict, why);
    else if (is_too_far(l, c, block, at))
        *verdict = BLOCK_RETRY;
    else
        *verdict = fits(c, block, at) && block->number < UINT64_MAX ? BLOCK_STORED : BLOCK_REFUSED;
    return PL_OK;
}

bool ledger_holds(struct ledger *l, const struct ledger_block *block)
{
    const struct ledger_links *chain = ledger_find(l, &block->edge, &block->incarnation);
    if (chain == NULL || block->number < chain->contiguous)
        return chain != NULL;
    size_t at = ledger_ahead_at(chain, block->number);
    return at < chain->ahead_count && chain->ahead[at].number == block->number;
}

enum pl_err ledger_stage(struct ledger *l, const struct ledger_block *block)
{
    struct ledger_links *chain;
    struct ledger_row row = {.number = block->number,
                             .lost = block->lost,
                             .refused = block->refused,
                             .received_ms = pl_wall_ms(l->clock),
                             .staged = block};
    memcpy(row.hash, block->hash, BLOCK_HASH_BYTES);
    memcpy(row.previous_hash, block->previous_hash, BLOCK_HASH_BYTES);
    enum pl_err err = ledger_find_or_add(l, &block->edge, &block->incarnation, &chain);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&l->lock);
    err = ledger_ahead_insert(chain, &row);
    chain->staged += err == PL_OK;
    chain->last_ms = row.received_ms;
    pthread_mutex_unlock(&l->lock);
    if (err == PL_OK && !chain->dirty) {
        chain->dirty = true;
        chain->next_dirty = l->dirty;
        l->dirty = chain;
    }
    return err;
}

static enum pl_err write_row(struct ledger *l, struct ledger_links *chain, struct ledger_row *row,
                             struct store_batch *batch)
{
    uint8_t key[LEDGER_BLOCK_KEY_BYTES];
    pthread_mutex_lock(&l->lock); /* ledger_gap reads them */
    row->counts = row->staged->counts;
    row->counts.blocks = 1;
    row->staged = NULL;
    pthread_mutex_unlock(&l->lock);
    ledger_counts_add(&l->staged, &row->counts);
    ledger_block_key(&chain->edge, &chain->incarnation, row->number, key);
    pl_buf_reset(&l->row);
    enum pl_err err = ledger_row_encode(row, &l->row);
    if (err == PL_OK)
        store_batch_put(batch, l->store, FAMILY_LEDGER, pl_span(key, sizeof(key)),
                        pl_buf_span(&l->row));
    return err;
}

static enum pl_err write_chain(struct ledger *l, struct ledger_links *chain,
                               struct store_batch *batch)
{
    /* What was staged mostly stands at the end. */
    for (size_t i = chain->ahead_count; chain->staged > 0 && i-- > 0;) {
        if (chain->ahead[i].staged == NULL)
            continue;
        enum pl_err err = write_row(l, chain, &chain->ahead[i], batch);
        if (err != PL_OK)
            return err;
        chain->staged--;
    }
    pthread_mutex_lock(&l->lock);
    ledger_advance(chain, &l->found);
    pthread_mutex_unlock(&l->lock);
    return ledger_put_chain(l, batch, chain);
}

enum pl_err ledger_write(struct ledger *l, struct store_batch *batch)
{
    enum pl_err err = PL_OK;
    for (struct ledger_links *c = l->dirty; err == PL_OK && c != NULL; c = c->next_dirty)
        err = write_chain(l, c, batch);
    return err;
}

void ledger_commit(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    for (; l->dirty != NULL; l->dirty = l->dirty->next_dirty) {
        l->dirty->dirty = false;
        ledger_show(l, l->dirty);
    }
    ledger_counts_add(&l->totals, &l->staged);
    l->totals.events -= l->found.events;
    l->totals.dropped[DROP_RESTORED] -= l->found.events;
    l->totals.lost_blocks -= l->found.lost_blocks;
    pthread_mutex_unlock(&l->lock);
    memset(&l->staged, 0, sizeof(l->staged));
    memset(&l->found, 0, sizeof(l->found));
}

enum pl_err ledger_reload(struct ledger *l, struct pl_why *why)
{
    return ledger_load(l, why);
}

/* ---- any thread's */

/* Under lock. */
static void note_named(struct ledger *l, const struct pl_id128 *edge,
                       const struct chain_claim *claims, size_t count)
{
    static const struct pl_id128 first;
    for (size_t i = ledger_position(l, edge, &first);
         i < l->chain_count && pl_id128_eq(&l->chains[i]->edge, edge); i++) {
        bool named = false;
        for (size_t j = 0; j < count && !named; j++)
            named = pl_id128_eq(&l->chains[i]->incarnation, &claims[j].incarnation);
        l->chains[i]->let_go = !named;
    }
}

void ledger_books(struct ledger *l, const struct pl_id128 *edge, const struct chain_claim *claims,
                  size_t count, struct chain_record *records)
{
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < count; i++) {
        const struct ledger_links *chain = ledger_find(l, edge, &claims[i].incarnation);
        const struct ledger_links *earlier =
            chain != NULL ? NULL : ledger_earlier(l, edge, &claims[i].incarnation);
        if (chain != NULL)
            records[i] = chain->told;
        else if (earlier != NULL)
            records[i] = earlier->shown;
        else
            records[i] = (struct chain_record){.incarnation = claims[i].incarnation};
    }
    if (count > 0 && count < FRAME_CHAINS_MAX) /* else there may be more than it could name */
        note_named(l, edge, claims, count);
    pthread_mutex_unlock(&l->lock);
}

void ledger_totals(struct ledger *l, struct ledger_counts *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->totals;
    pthread_mutex_unlock(&l->lock);
}

static int newest_first(const void *a, const void *b)
{
    const struct ledger_links *x = *(const struct ledger_links *const *)a;
    const struct ledger_links *y = *(const struct ledger_links *const *)b;
    return (x->shown_ms < y->shown_ms) - (x->shown_ms > y->shown_ms);
}

size_t ledger_chains(struct ledger *l, struct ledger_chain *out, size_t max)
{
    pthread_mutex_lock(&l->lock);
    size_t count = l->chain_count;
    const struct ledger_links **order = malloc((count + 1) * sizeof(struct ledger_links *));
    for (size_t i = 0; order != NULL && i < count; i++)
        order[i] = l->chains[i];
    if (order != NULL)
        qsort(order, count, sizeof(struct ledger_links *), newest_first);
    for (size_t i = 0; order != NULL && i < count && i < max; i++)
        out[i] = (struct ledger_chain){.edge = order[i]->edge,
                                       .record = order[i]->shown,
                                       .last_ms = order[i]->shown_ms,
                                       .loss = order[i]->shown_loss};
    pthread_mutex_unlock(&l->lock);
    free(order);
    return order == NULL ? 0 : count;
}
