#include "edge/spool_internal.h"

#include "proto/base/file.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- opening and closing */

static void log_chains(struct spool *spool, const struct spool_chains *chains)
{
    for (size_t i = 0; i < chains->count; i++) {
        const struct spool_chain *c = chains->items[i];
        char text[PL_ID128_TEXT];
        pl_id128_format(&c->incarnation, text);
        pl_log(spool->config.log, PL_LOG_INFO, "spool",
               "earlier chain to drain incarnation=%s acked=%" PRIu64 " next=%" PRIu64
               " pending_events=%" PRIu64,
               text, c->acked, c->next, c->totals.events - c->acked_totals.events);
    }
}

/* Adds a live chain behind the others and makes its row durable. */
static enum pl_err open_chain(struct spool *spool, struct spool_chains *chains, struct pl_why *why)
{
    struct spool_chain *live = calloc(1, sizeof(*live));
    if (live == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for a chain");
    enum pl_err err = pl_id128_random(spool->config.random, &live->incarnation);
    if (err != PL_OK) {
        free(live);
        return pl_fail(why, err, "no random bytes for a chain's incarnation");
    }
    live->serial = chains->count == 0 ? 1 : chains->items[chains->count - 1]->serial + 1;
    live->exact = true;
    ackset_init(&live->acks, 0);
    ackset_init(&live->declared, 0);
    err = spool_chain_write(spool, live, true, why);
    if (err == PL_OK && (err = spool_chains_add(chains, live)) != PL_OK)
        pl_fail(why, err, "no memory for a chain");
    if (err != PL_OK) {
        spool_chain_free(live);
        return err;
    }
    spool->incarnation = live->incarnation;
    spool->staged_next = 0;
    spool->staged = (struct spool_totals){0};
    spool->staged_ms = 0;
    memset(spool->last_hash, 0, sizeof(spool->last_hash));
    store_batch_clear(spool->marks);
    spool->broken = false;
    return PL_OK;
}

static void destroy(struct spool *spool)
{
    spool_chains_release(&spool->chains);
    store_batch_free(spool->marks);
    store_batch_free(spool->trims);
    pthread_mutex_destroy(&spool->lock);
    pthread_mutex_destroy(&spool->settle);
    free(spool);
}

enum pl_err spool_new(struct spool **out, const struct spool_config *config, struct pl_why *why)
{
    struct spool *spool = calloc(1, sizeof(*spool));
    if (spool == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the spool");
    spool->config = *config;
    pthread_mutex_init(&spool->settle, NULL);
    pthread_mutex_init(&spool->lock, NULL);
    enum pl_err err = store_batch_new(&spool->marks);
    if (err == PL_OK)
        err = store_batch_new(&spool->trims);
    if (err != PL_OK) {
        destroy(spool);
        return pl_fail(why, err, "no memory for the spool");
    }
    /* First what chains of long ago had accepted: loading drops empty chains, and notes it anew. */
    err = spool_load_settled(spool);
    if (err == PL_OK)
        err = spool_load_cut(spool);
    if (err != PL_OK)
        pl_fail(why, err, "cannot read the spool in %s: %s", config->data_dir, pl_err_word(err));
    if (err == PL_OK)
        err = spool_load(spool, &spool->chains, why);
    if (err == PL_OK && (err = spool_quarantine_tidy(spool, false)) != PL_OK)
        pl_fail(why, err, "cannot read what is kept aside: %s", pl_err_word(err));
    if (err == PL_OK)
        log_chains(spool, &spool->chains);
    if (err == PL_OK)
        err = open_chain(spool, &spool->chains, why);
    if (err != PL_OK) {
        destroy(spool);
        return err;
    }
    *out = spool;
    return PL_OK;
}

void spool_free(struct spool *spool)
{
    if (spool == NULL)
        return;
    struct spool_chain *live = spool->chains.items[spool->chains.count - 1];
    struct pl_why why;
    live->ended = true;
    if (live->next == 0)
        spool_chain_delete(spool, live);
    else if (!spool->broken && spool_chain_write(spool, live, true, &why) != PL_OK)
        pl_log(spool->config.log, PL_LOG_WARN, "spool",
               "the end of the chain is not noted, the next start will look for it: %s", why.text);
    destroy(spool);
}

/* ---- writing */

static struct spool_totals pending(const struct spool *spool)
{
    struct spool_totals sum = {0};
    for (size_t i = 0; i < spool->chains.count; i++) {
        const struct spool_chain *c = spool->chains.items[i];
        sum.events += c->totals.events - c->acked_totals.events;
        sum.bytes += c->totals.bytes - c->acked_totals.bytes;
    }
    return sum;
}

enum pl_err spool_room(struct spool *spool, uint64_t bytes, struct pl_why *why)
{
    const struct spool_config *config = &spool->config;
    pthread_mutex_lock(&spool->lock);
    const uint64_t held = pending(spool).bytes + spool->counts.quarantined_bytes;
    pthread_mutex_unlock(&spool->lock);
    if (held + bytes > config->max_bytes)
        return pl_fail(why, PL_ENOSPC,
                       "the spool holds %" PRIu64 " bytes that the origin has not taken, its limit "
                       "spool_max_bytes is %" PRIu64 "; see /replication for why they stay",
                       held, config->max_bytes);
    uint64_t free_bytes;
    enum pl_err err = pl_disk_free(config->data_dir, &free_bytes, why);
    if (err == PL_OK && free_bytes < config->disk_spare_bytes + bytes)
        err = pl_fail(why, PL_ENOSPC,
                      "the file system of %s has %" PRIu64 " bytes free, disk_spare_bytes keeps "
                      "%" PRIu64 "; free some room",
                      config->data_dir, free_bytes, config->disk_spare_bytes);
    return err;
}

void spool_next(struct spool *spool, struct block_header *header)
{
    header->incarnation = spool->incarnation;
    header->number = spool->staged_next;
    memcpy(header->previous_hash, spool->last_hash, sizeof(header->previous_hash));
}

static enum pl_err refuse_broken(struct pl_why *why)
{
    return pl_fail(why, PL_EIO, "the spool waits for recovery after a failed write");
}

enum pl_err spool_append(struct spool *spool, const struct block_header *header,
                         struct pl_span block, const uint8_t hash[BLOCK_HASH_BYTES],
                         struct pl_why *why)
{
    if (spool->broken)
        return refuse_broken(why);
    uint8_t key[SPOOL_KEY_BYTES], bytes[SPOOL_MARK_BYTES];
    spool_key(&header->incarnation, header->number, key);
    enum pl_err err =
        store_put(spool->config.store, EDGE_BLOCKS, pl_span(key, sizeof(key)), block, false, why);
    if (err != PL_OK) {
        spool->broken = true;
        return err;
    }
    pl_histogram_note(&spool->block_bytes, &pl_histogram_sizes, (int64_t)block.len);
    spool->staged_next = header->number + 1;
    spool->staged.events += header->events;
    spool->staged.bytes += block.len;
    memcpy(spool->last_hash, hash, sizeof(spool->last_hash));
    struct spool_mark mark = {
        .own = {.events = header->events, .bytes = block.len},
        .through = spool->staged,
        .sealed_ms = header->sealed_ms,
    };
    if (spool->staged_ms == 0)
        spool->staged_ms = header->sealed_ms;
    memcpy(mark.hash, hash, sizeof(mark.hash));
    spool_mark_encode(&mark, bytes);
    store_batch_put(spool->marks, spool->config.store, EDGE_MARKS, pl_span(key, sizeof(key)),
                    pl_span(bytes, sizeof(bytes)));
    return PL_OK;
}

struct store_batch *spool_batch(struct spool *spool)
{
    return spool->marks;
}

enum pl_err spool_commit(struct spool *spool, struct pl_why *why)
{
    if (spool->broken)
        return refuse_broken(why);
    /* The blocks stand before the marks in the same log: one fsync covers both. */
    const int64_t began_us = pl_elapsed_us();
    enum pl_err err = store_write(spool->config.store, spool->marks, true, why);
    pl_histogram_note(&spool->sync_us, &pl_histogram_times, pl_elapsed_us() - began_us);
    store_batch_clear(spool->marks);
    if (err != PL_OK) {
        spool->broken = true;
        return err;
    }
    pthread_mutex_lock(&spool->lock);
    struct spool_chain *live = spool->chains.items[spool->chains.count - 1];
    if (live->next == live->acked)
        live->oldest_ms = spool->staged_ms;
    live->newest_ms = spool->staged_ms;
    live->next = spool->staged_next;
    live->totals = spool->staged;
    pthread_mutex_unlock(&spool->lock);
    spool->staged_ms = 0;
    return PL_OK;
}

/* ---- after a failure */

void spool_abandon(struct spool *spool)
{
    /* The sender may be taking a settled chain off the table. */
    pthread_mutex_lock(&spool->lock);
    const struct spool_chain *live = spool->chains.items[spool->chains.count - 1];
    if (live->next != spool->staged_next)
        spool->broken = true;
    pthread_mutex_unlock(&spool->lock);
}

/* Verdicts and books learnt so far are not on disk; without them a block would be waited for
 * whose verdict never comes again, and a lost one counted twice. */
static enum pl_err carry(const struct spool_chains *from, struct spool_chains *to)
{
    for (size_t i = 0; i < to->count; i++) {
        struct spool_chain *new = to->items[i];
        const struct spool_chain *old = spool_chains_find(from, &new->incarnation);
        if (old == NULL)
            continue;
        new->books = old->books;
        new->acked_at_books = old->acked_at_books < new->acked ? old->acked_at_books : new->acked;
        new->origin = old->origin;
        for (uint64_t n = new->acked; n < new->next; n++) {
            enum pl_err err = PL_OK;
            if (ackset_has(&old->acks, n))
                err = ackset_add(&new->acks, n);
            if (err == PL_OK && ackset_has(&old->declared, n))
                err = ackset_add(&new->declared, n);
            if (err != PL_OK)
                return err;
        }
    }
    return PL_OK;
}

static enum pl_err reload(struct spool *spool, struct pl_why *why)
{
    struct spool_chains fresh = {0};
    enum pl_err err = spool_load(spool, &fresh, why);
    if (err == PL_OK && (err = carry(&spool->chains, &fresh)) != PL_OK)
        pl_fail(why, err, "no memory for the spool's chains");
    if (err == PL_OK)
        err = open_chain(spool, &fresh, why);
    if (err != PL_OK) {
        spool_chains_release(&fresh);
        spool->broken = true;
        return err;
    }
    pthread_mutex_lock(&spool->lock);
    struct spool_chains old = spool->chains;
    spool->chains = fresh;
    pthread_mutex_unlock(&spool->lock);
    spool_chains_release(&old);
    return PL_OK;
}

/* Whether the write that failed reached the disk is found out by looking, after the store has
 * reopened; whatever is there belongs to the closed chain. Going on in it could give a number a
 * second content if the lost write turned up later: hence the new chain. */
enum pl_err spool_recover(struct spool *spool, struct pl_why *why)
{
    pthread_mutex_lock(&spool->settle);
    enum pl_err err = store_recover(spool->config.store, why);
    if (err == PL_OK && spool->broken)
        err = reload(spool, why);
    pthread_mutex_unlock(&spool->settle);
    return err;
}

/* ---- status */

const char *spool_books_name(enum spool_books books)
{
    static const char *const names[] = {
        [SPOOL_BOOKS_UNKNOWN] = "unknown",
        [SPOOL_BOOKS_SETTLING] = "settling",
        [SPOOL_BOOKS_BALANCED] = "balanced",
        [SPOOL_BOOKS_MISMATCH] = "mismatch",
    };
    return names[books];
}

void spool_status(struct spool *spool, struct spool_status *out)
{
    pthread_mutex_lock(&spool->lock);
    *out = spool->counts;
    const struct spool_totals sum = pending(spool);
    out->pending_events = sum.events;
    out->pending_bytes = sum.bytes;
    out->accepted_events = spool->settled_events;
    out->chains = spool->chains.count;
    for (size_t i = 0; i < spool->chains.count; i++) {
        const struct spool_chain *c = spool->chains.items[i];
        out->pending_blocks += c->next - c->acked;
        out->accepted_events += c->totals.events;
        if (c->oldest_ms != 0 &&
            (out->oldest_pending_ms == 0 || c->oldest_ms < out->oldest_pending_ms))
            out->oldest_pending_ms = c->oldest_ms;
        out->mismatches += c->books == SPOOL_BOOKS_MISMATCH;
        out->unread_chains += c->failed_reads > 0 && !ackset_has(&c->acks, c->unread);
    }
    pthread_mutex_unlock(&spool->lock);
    out->log_rotten = store_log_was_rotten(spool->config.store);
}

void spool_measures(const struct spool *spool, struct spool_measures *out)
{
    *out = (struct spool_measures){.sync_us = {.sum = 0}};
    pl_histogram_sum(&spool->sync_us, &out->sync_us);
    pl_histogram_sum(&spool->block_bytes, &out->block_bytes);
}

size_t spool_chains(struct spool *spool, struct spool_chain_status *out, size_t max)
{
    pthread_mutex_lock(&spool->lock);
    const size_t count = spool->chains.count;
    const size_t first = count > max ? count - max : 0;
    for (size_t i = first; i < count; i++) {
        const struct spool_chain *c = spool->chains.items[i];
        out[i - first] = (struct spool_chain_status){
            .incarnation = c->incarnation,
            .closed = c->closed,
            .acked = c->acked,
            .next = c->next,
            .acked_events = c->acked_totals.events,
            .total_events = c->totals.events,
            .books = c->books,
            .origin = c->origin,
        };
    }
    pthread_mutex_unlock(&spool->lock);
    return count - first;
}
