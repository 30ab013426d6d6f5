/* Cut-offs: what was sealed up to a moment, and whether all of it has left. */
#include "edge/spool_internal.h"

#define SETTLED_BYTES (16 + 8)

/* Beside the chains' rows, under a key that no incarnation has: epoch | position. */
static const struct pl_span cut_key = PL_SPAN_INIT("cut-off");

bool spool_cut(struct spool *spool)
{
    if (spool->broken)
        return false;
    pthread_mutex_lock(&spool->lock);
    const struct spool_chain *live = spool->chains.items[spool->chains.count - 1];
    spool->cut = (struct spool_cut){.serial = live->serial, .number = live->next, .awaited = true};
    pthread_mutex_unlock(&spool->lock);
    return true;
}

/* Under lock. */
static bool is_past(const struct spool *spool)
{
    const struct spool_cut *cut = &spool->cut;
    for (size_t i = 0; i < spool->chains.count; i++) {
        const struct spool_chain *c = spool->chains.items[i];
        if (c->acked < (c->serial < cut->serial    ? c->next
                        : c->serial == cut->serial ? cut->number
                                                   : 0))
            return false;
    }
    return true;
}

bool spool_is_past_cut(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    const bool past = is_past(spool);
    pthread_mutex_unlock(&spool->lock);
    return past;
}

void spool_look_at_cut(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    const bool call = spool->cut.awaited && is_past(spool);
    if (call)
        spool->cut.awaited = false;
    pthread_mutex_unlock(&spool->lock);
    if (call && spool->config.past_cut != NULL)
        spool->config.past_cut(spool->config.ctx);
}

bool spool_is_before_cut(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number)
{
    pthread_mutex_lock(&spool->lock);
    const struct spool_cut *cut = &spool->cut;
    const struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    const bool before = chain == NULL || chain->serial < cut->serial ||
                        (chain->serial == cut->serial && number < cut->number);
    pthread_mutex_unlock(&spool->lock);
    return before;
}

enum pl_err spool_drop_kept(struct spool *spool, struct pl_why *why)
{
    pthread_mutex_lock(&spool->settle);
    const enum pl_err err = spool_quarantine_tidy(spool, true);
    pthread_mutex_unlock(&spool->settle);
    return err == PL_OK
               ? PL_OK
               : pl_fail(why, err, "the quarantine cannot be emptied: %s", pl_err_word(err));
}

enum pl_err spool_settle(struct spool *spool, const struct frame_settled *at, struct pl_why *why)
{
    uint8_t value[SETTLED_BYTES];
    memcpy(value, at->epoch.bytes, sizeof(at->epoch.bytes));
    pl_store_u64(value + sizeof(at->epoch.bytes), at->position);
    const enum pl_err err = store_put(spool->config.store, EDGE_CHAINS, cut_key,
                                      pl_span(value, sizeof(value)), true, why);
    if (err == PL_OK) {
        pthread_mutex_lock(&spool->lock);
        spool->settled = *at;
        pthread_mutex_unlock(&spool->lock);
    }
    return err;
}

void spool_settled(struct spool *spool, struct frame_settled *out)
{
    pthread_mutex_lock(&spool->lock);
    *out = spool->settled;
    pthread_mutex_unlock(&spool->lock);
}

/* What cannot be read is found out anew: that costs one look at everything. */
enum pl_err spool_load_cut(struct spool *spool)
{
    struct pl_buf value;
    pl_buf_init(&value, 4096);
    const enum pl_err err = store_get(spool->config.store, EDGE_CHAINS, cut_key, &value);
    if (err == PL_OK && value.len == SETTLED_BYTES) {
        memcpy(spool->settled.epoch.bytes, value.data, sizeof(spool->settled.epoch.bytes));
        spool->settled.position = pl_load_u64(value.data + sizeof(spool->settled.epoch.bytes));
    }
    pl_buf_release(&value);
    return spool_not_there(err) ? PL_OK : err;
}
