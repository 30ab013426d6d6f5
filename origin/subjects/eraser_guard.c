/* The end of an erasure's guard: when nothing of before can come any more. */
#include "origin/families.h"
#include "origin/intake/dedupe.h"
#include "origin/subjects/erasures_state.h"

#include <stdlib.h>

#define CLOSE_EVERY_MS    PL_MINUTE_MS
#define MARKERS_PER_BATCH 1024

static bool may_close(struct erasures *e, const struct open_erasure *open)
{
    bool done = e->config.cutoffs == NULL;
    pthread_mutex_lock(&e->lock); /* more ids may come meanwhile */
    const struct erasure now = open->erasure;
    pthread_mutex_unlock(&e->lock);
    if (now.state != ERASURE_GONE || erasure_is_held(&now) ||
        erasures_earliest_ms(e) < now.at_ms + DEDUPE_SWEEP_DAYS * PL_DAY_MS)
        return false;
    if (!done && now.position > 0) {
        struct cutoff_edge *edges = NULL;
        size_t count;
        if (cutoffs_of(e->config.cutoffs, now.position, &edges, &count, &done) != PL_OK)
            return false;
        free(edges);
    }
    return done;
}

/* The message hashes that were kept for it. */
static enum pl_err drop_markers(struct erasures *e, uint64_t account, int64_t until_ms,
                                struct pl_why *why)
{
    struct store *store = e->config.store;
    struct store_scan *scan = NULL;
    struct store_batch *batch = NULL;
    struct pl_span key, value;
    uint8_t from[8], end[8];
    size_t count = 0;
    pl_store_u64(from, account);
    pl_store_u64(end, account + 1);
    enum pl_err err = store_batch_new(&batch);
    if (err == PL_OK)
        err = store_scan_new(&scan, store, FAMILY_DEDUPE, pl_span(from, sizeof(from)),
                             pl_span(end, account == UINT64_MAX ? 0 : sizeof(end)));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (!dedupe_value_is_blank(value, until_ms))
            continue;
        store_batch_delete(batch, store, FAMILY_DEDUPE, key);
        if (++count % MARKERS_PER_BATCH != 0)
            continue;
        err = store_write(store, batch, false, why);
        store_batch_clear(batch);
    }
    store_scan_free(scan);
    if (err == PL_ENOTFOUND)
        err = store_write(store, batch, false, why);
    store_batch_free(batch);
    return err;
}

static enum pl_err close_one(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    enum pl_err err = drop_markers(e, open->erasure.account, open->erasure.at_ms, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&e->changing);
    struct erasure next = open->erasure;
    next.dropped = open->dropped;
    next.identities = (struct identities){.list = NULL};
    next.state = ERASURE_CLOSED;
    next.closed_ms = erasures_now_ms(e);
    /* An id may have come since it was judged. */
    err = open->forgotten || open->erasure.state != ERASURE_GONE
              ? PL_ECLOSED
              : erasures_save(e, &next, true, why);
    if (err == PL_OK) {
        pthread_mutex_lock(&e->lock);
        e->in_hand = NULL;
        erasures_drop(e, open);
        err = erasures_refill(e);
        pthread_mutex_unlock(&e->lock);
    }
    pthread_mutex_unlock(&e->changing);
    return err;
}

/* What arrived since is counted in memory; a crash may lose a minute of it. */
static void save_counts(struct erasures *e)
{
    pthread_mutex_lock(&e->changing);
    for (struct open_erasure *o = e->open; o != NULL; o = o->next) {
        struct erasure next = o->erasure;
        next.dropped = o->dropped;
        if (next.dropped != o->dropped_saved && erasures_become(e, o, &next, false, NULL) == PL_OK)
            o->dropped_saved = next.dropped;
    }
    pthread_mutex_unlock(&e->changing);
}

bool erasures_lift(struct erasures *e)
{
    const int64_t now_ms = pl_mono_ms(e->config.clock);
    bool well = true;
    struct open_erasure *open;
    if (e->closed_mono_ms != 0 && now_ms - e->closed_mono_ms < CLOSE_EVERY_MS)
        return true;
    e->closed_mono_ms = now_ms;
    save_counts(e);
    if (e->around.believed != NULL && !e->around.believed(e->around.ctx))
        return true;
    while (!e->stopping && (open = erasures_take(e, ERASURE_GONE)) != NULL) {
        struct pl_why why = {.err = PL_OK};
        enum pl_err err = may_close(e, open) ? close_one(e, open, &why) : PL_OK;
        if (err != PL_OK && !erasures_is_over(err)) {
            erasures_trouble(e, err, &why);
            well = false;
        }
        erasures_let_go(e);
    }
    return well;
}
