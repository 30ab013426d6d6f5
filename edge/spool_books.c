/* What the origin says of our chains, compared with what we counted into them. */
#include "edge/spool_internal.h"

#include <inttypes.h>

static bool origin_adds_up(const struct chain_record *r)
{
    return r->stored + r->duplicate + r->dropped == r->events;
}

/* Events that we counted into blocks below `contiguous`; false when that cannot be told. */
static bool our_count(struct spool *spool, const struct spool_chain *chain, uint64_t contiguous,
                      uint64_t *events)
{
    const struct spool_chain copy = spool_chain_copy(spool, chain);
    const struct spool_view view = spool_view_of(&copy);
    struct spool_tally tally;
    if (contiguous == view.acked) {
        *events = view.acked_totals.events;
        return true;
    }
    if (contiguous < view.acked || contiguous > view.next ||
        spool_tally_of(spool, &view, contiguous - 1, &tally) != PL_OK)
        return false;
    *events = tally.through.events;
    return true;
}

/* The answer left the origin after our previous books and before this one, so it must include
 * what was acked then, and need not include what was acked since. */
static enum spool_books judge(struct spool *spool, const struct spool_chain *chain,
                              const struct chain_record *record)
{
    uint64_t events;
    if (!origin_adds_up(record) || record->contiguous < chain->acked_at_books)
        return SPOOL_BOOKS_MISMATCH;
    if (!our_count(spool, chain, record->contiguous, &events))
        return SPOOL_BOOKS_SETTLING;
    return events == record->events ? SPOOL_BOOKS_BALANCED : SPOOL_BOOKS_MISMATCH;
}

/* A crash may cost the last records of a chain after the origin has taken the blocks: then it
 * knows the chain's end better than we do. */
static void adopt_end(struct spool *spool, struct spool_chain *chain,
                      const struct chain_record *record)
{
    if (!chain->closed || record->contiguous <= chain->next || chain->acked != chain->next)
        return;
    pl_log(spool->config.log, PL_LOG_WARN, "spool",
           "the origin holds %" PRIu64 " more blocks of an earlier chain than the disk remembers",
           record->contiguous - chain->next);
    chain->acked = chain->next = record->contiguous;
    chain->acked_totals.events = chain->totals.events = record->events;
    chain->acked_totals.bytes = chain->totals.bytes;
    ackset_advance(&chain->acks, chain->acked);
}

static void log_books(struct spool *spool, const struct spool_chain *chain, enum spool_books books,
                      const struct chain_record *r)
{
    char text[PL_ID128_TEXT];
    pl_id128_format(&chain->incarnation, text);
    if (books == SPOOL_BOOKS_MISMATCH && chain->books != SPOOL_BOOKS_MISMATCH)
        pl_log(spool->config.log, PL_LOG_ERROR, "spool",
               "the books do not balance: edge acked=%" PRIu64 " acked_events=%" PRIu64
               ", origin contiguous=%" PRIu64 " events=%" PRIu64 " stored=%" PRIu64
               " duplicate=%" PRIu64 " dropped=%" PRIu64 " incarnation=%s",
               chain->acked, chain->acked_totals.events, r->contiguous, r->events, r->stored,
               r->duplicate, r->dropped, text);
    else if (books != SPOOL_BOOKS_MISMATCH && chain->books == SPOOL_BOOKS_MISMATCH)
        pl_log(spool->config.log, PL_LOG_INFO, "spool", "the books balance again incarnation=%s",
               text);
}

static void remove_chain(struct spool *spool, struct spool_chain *chain)
{
    size_t kept = 0;
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->chains.count; i++)
        if (spool->chains.items[i] != chain)
            spool->chains.items[kept++] = spool->chains.items[i];
    spool->chains.count = kept;
    spool->settled_events += chain->totals.events;
    pthread_mutex_unlock(&spool->lock);
    spool_chain_delete(spool, chain);
    char text[PL_ID128_TEXT];
    pl_id128_format(&chain->incarnation, text);
    pl_log(spool->config.log, PL_LOG_INFO, "spool",
           "an earlier chain is settled incarnation=%s blocks=%" PRIu64 " events=%" PRIu64, text,
           chain->next, chain->totals.events);
    spool_chain_free(chain);
}

/* A closed chain that the origin holds whole has nothing more to tell; nor has one whose every
 * block has its verdict, where those in quarantine are why the counts differ: they are kept, and
 * named as long as they are. */
static bool is_settled(struct spool *spool, const struct spool_chain *chain,
                       const struct chain_record *record)
{
    const struct spool_chain copy = spool_chain_copy(spool, chain);
    if (!copy.closed || copy.acked != copy.next)
        return false;
    if (copy.books == SPOOL_BOOKS_BALANCED)
        return record->contiguous == copy.next;
    return copy.books == SPOOL_BOOKS_MISMATCH && spool_has_quarantined(spool, &chain->incarnation);
}

static void hear(struct spool *spool, struct spool_chain *chain, const struct chain_record *record)
{
    spool_trim(spool, chain);
    pthread_mutex_lock(&spool->lock);
    adopt_end(spool, chain, record);
    pthread_mutex_unlock(&spool->lock);
    const enum spool_books books = judge(spool, chain, record);
    log_books(spool, chain, books, record);
    pthread_mutex_lock(&spool->lock);
    chain->books = books;
    chain->origin = *record;
    chain->acked_at_books = chain->acked;
    pthread_mutex_unlock(&spool->lock);
    if (is_settled(spool, chain, record))
        remove_chain(spool, chain);
}

void spool_books_heard(void *ctx, const struct chain_record *records, size_t count)
{
    struct spool *spool = ctx;
    pthread_mutex_lock(&spool->settle);
    for (size_t i = 0; i < count; i++) {
        struct spool_chain *chain = spool_chains_find(&spool->chains, &records[i].incarnation);
        if (chain != NULL)
            hear(spool, chain, &records[i]);
    }
    pthread_mutex_unlock(&spool->settle);
}
