/* What the uplink's sender sees of the spool. Only its thread runs here. */
#include "edge/spool_internal.h"
#include "proto/base/text.h"

#include <inttypes.h>

#define TRIM_BLOCKS 1024 /* keys one batch deletes at most */
/* A read may fail once and not again. A block that fails so often in a row, a second apart, is
 * lost: waiting for it longer would hold up all that stand behind it. */
#define READ_ATTEMPTS 3
/* Where one is lost, others are: for so long after it the attempts follow each other at once, or
 * a spool with many such blocks would drain one every few seconds. */
#define LOSING_MS (60 * PL_SECOND_MS)

/* ---- trimming */

struct spool_chain spool_chain_copy(struct spool *spool, const struct spool_chain *chain)
{
    pthread_mutex_lock(&spool->lock);
    const struct spool_chain copy = *chain;
    pthread_mutex_unlock(&spool->lock);
    return copy;
}

/* Takes the acked prefix off one chain, at most TRIM_BLOCKS at a time; `settle` held. */
static enum pl_err trim_some(struct spool *spool, struct spool_chain *chain, uint64_t gap)
{
    struct spool_chain after = spool_chain_copy(spool, chain);
    const struct spool_view view = spool_view_of(&after);
    const uint64_t to = gap - view.acked > TRIM_BLOCKS ? view.acked + TRIM_BLOCKS : gap;
    struct spool_tally last;
    enum pl_err err = spool_tally_of(spool, &view, to - 1, &last);
    if (err != PL_OK)
        return err;
    store_batch_clear(spool->trims);
    for (uint64_t n = view.acked; n < to; n++) {
        uint8_t key[SPOOL_KEY_BYTES];
        spool_key(&chain->incarnation, n, key);
        store_batch_delete(spool->trims, spool->config.store, EDGE_BLOCKS,
                           pl_span(key, sizeof(key)));
        store_batch_delete(spool->trims, spool->config.store, EDGE_MARKS,
                           pl_span(key, sizeof(key)));
    }
    after.acked = to;
    after.acked_totals = last.through;
    spool_chain_row_put(spool, spool->trims, &after);
    /* Not synced: a trim that a crash undoes sends blocks again, and the origin knows them. */
    err = store_write(spool->config.store, spool->trims, false, NULL);
    store_batch_clear(spool->trims);
    if (err != PL_OK)
        return err;
    struct spool_mark oldest = {0};
    if (to < view.next)
        (void)spool_mark_get(spool, &view.incarnation, to, &oldest);
    pthread_mutex_lock(&spool->lock);
    spool->counts.trimmed_blocks += to - chain->acked;
    chain->acked = to;
    chain->acked_totals = last.through;
    chain->oldest_ms = to == chain->next ? 0 : oldest.sealed_ms;
    if (to < chain->next && chain->oldest_ms == 0)
        chain->oldest_ms = chain->newest_ms; /* committed meanwhile */
    ackset_advance(&chain->acks, to);
    ackset_advance(&chain->declared, to);
    pthread_mutex_unlock(&spool->lock);
    return PL_OK;
}

void spool_trim(struct spool *spool, struct spool_chain *chain)
{
    enum pl_err err = PL_OK;
    while (err == PL_OK) {
        pthread_mutex_lock(&spool->lock);
        uint64_t gap = ackset_gap(&chain->acks, chain->acked);
        if (gap > chain->next)
            gap = chain->next;
        const bool nothing = gap == chain->acked;
        pthread_mutex_unlock(&spool->lock);
        if (nothing)
            return;
        err = trim_some(spool, chain, gap);
    }
    /* The committer meets the same failure with its next write, says so and recovers. */
    pl_log(spool->config.log, PL_LOG_DEBUG, "spool", "trimming waits: %s", pl_err_word(err));
}

/* ---- chains */

static enum pl_err source_chains(void *ctx, struct chain_claim *out, size_t max, size_t *count)
{
    struct spool *spool = ctx;
    pthread_mutex_lock(&spool->settle);
    for (size_t i = 0; i < spool->chains.count; i++)
        spool_trim(spool, spool->chains.items[i]);
    pthread_mutex_lock(&spool->lock);
    size_t n = 0;
    for (size_t i = 0; i < spool->chains.count; i++) {
        const struct spool_chain *c = spool->chains.items[i];
        /* The live chain keeps its place when there are more old ones than fit. */
        if (n + 1 >= max && i + 1 < spool->chains.count)
            continue;
        if (n == max)
            break;
        out[n++] = (struct chain_claim){
            .incarnation = c->incarnation,
            .acked = c->acked,
            .next = c->next,
            .acked_events = c->acked_totals.events,
            .closed = c->closed,
        };
    }
    pthread_mutex_unlock(&spool->lock);
    pthread_mutex_unlock(&spool->settle);
    spool_look_at_cut(spool);
    *count = n;
    return PL_OK;
}

/* ---- reading */

static bool find_unacked(struct spool *spool, const struct pl_id128 *incarnation, uint64_t *number,
                         struct spool_view *view)
{
    bool found = false;
    pthread_mutex_lock(&spool->lock);
    const struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    if (chain != NULL) {
        uint64_t n = ackset_gap(&chain->acks, *number > chain->acked ? *number : chain->acked);
        found = n < chain->next;
        if (found)
            *number = n;
        *view = spool_view_of(chain);
    }
    pthread_mutex_unlock(&spool->lock);
    return found;
}

/* Is this what was written under that number? Without a mark the block's own header has to do;
 * its seal tells the origin the rest. */
static enum pl_err check_block(struct spool *spool, const struct spool_view *view, uint64_t number,
                               struct pl_span block)
{
    struct block_header header;
    struct spool_mark mark;
    struct pl_span body;
    uint8_t hash[BLOCK_HASH_BYTES];
    if (block_parse(block, &header, &body, NULL) != PL_OK || header.number != number ||
        !pl_id128_eq(&header.incarnation, &view->incarnation))
        return PL_ECORRUPT;
    enum pl_err err = spool_mark_get(spool, &view->incarnation, number, &mark);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    if (err != PL_OK)
        return err;
    block_hash(block, hash);
    return memcmp(hash, mark.hash, sizeof(hash)) == 0 ? PL_OK : PL_ECORRUPT;
}

/* True the first time. */
static bool count_loss(struct spool *spool, const struct block_loss *loss)
{
    pthread_mutex_lock(&spool->lock);
    struct spool_chain *chain = spool_chains_find(&spool->chains, &loss->incarnation);
    const bool first = chain != NULL && !ackset_has(&chain->declared, loss->number);
    if (first && ackset_add(&chain->declared, loss->number) == PL_OK) {
        spool->counts.lost_blocks++;
        spool->counts.lost_events += loss->events;
    }
    pthread_mutex_unlock(&spool->lock);
    return first;
}

/* False while a block that could not be read is worth another attempt. */
static bool give_up(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number)
{
    bool lost = false;
    pthread_mutex_lock(&spool->lock);
    struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    if (chain != NULL) {
        if (chain->unread != number)
            chain->failed_reads = 0;
        chain->unread = number;
        chain->failed_reads++;
        lost = chain->failed_reads >= READ_ATTEMPTS || ackset_has(&chain->declared, number);
    }
    pthread_mutex_unlock(&spool->lock);
    return lost;
}

static void forget_failures(struct spool *spool, const struct pl_id128 *incarnation)
{
    pthread_mutex_lock(&spool->lock);
    struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    if (chain != NULL)
        chain->failed_reads = 0;
    pthread_mutex_unlock(&spool->lock);
}

/* The block is gone: its mark or its neighbours say what it was. */
static enum pl_err declare_loss(struct spool *spool, const struct spool_view *view, uint64_t number,
                                struct block_loss *loss)
{
    struct spool_tally tally;
    enum pl_err err = spool_tally_of(spool, view, number, &tally);
    if (err != PL_OK)
        return err;
    *loss = (struct block_loss){
        .incarnation = view->incarnation,
        .number = number,
        .events = (uint32_t)(tally.own.events > UINT32_MAX ? UINT32_MAX : tally.own.events),
    };
    memcpy(loss->hash, tally.hash, sizeof(loss->hash));
    if (!count_loss(spool, loss))
        return PL_ECORRUPT;
    char incarnation[PL_ID128_TEXT], hash[2 * BLOCK_HASH_BYTES + 1];
    pl_id128_format(&view->incarnation, incarnation);
    pl_hex_encode(pl_span(tally.hash, sizeof(tally.hash)), hash);
    pl_log(spool->config.log, PL_LOG_ERROR, "spool",
           "a block is lost: the disk does not give back what was written%s; the origin is told. "
           "Check the disk. incarnation=%s number=%" PRIu64 " events=%" PRIu64 " hash=%s",
           tally.counted ? "" : ", nor how many events it held", incarnation, number,
           tally.own.events, hash);
    return PL_ECORRUPT;
}

static enum pl_err read_block(struct spool *spool, const struct spool_view *view, uint64_t number,
                              struct pl_buf *out)
{
    uint8_t key[SPOOL_KEY_BYTES];
    const size_t start = out->len;
    spool_key(&view->incarnation, number, key);
    enum pl_err err = store_get(spool->config.store, EDGE_BLOCKS, pl_span(key, sizeof(key)), out);
    if (err == PL_OK)
        err = check_block(spool, view, number, pl_span_from(pl_buf_span(out), start));
    if (err != PL_OK)
        out->len = start;
    return err;
}

/* A disk that does not answer at all has lost nothing: only while it takes writes is a block that
 * it does not give back a lost one. */
static enum pl_err disk_answers(struct spool *spool, const struct pl_id128 *incarnation)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&spool->settle);
    const struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    if (chain != NULL) {
        const struct spool_chain row = spool_chain_copy(spool, chain);
        err = spool_chain_write(spool, &row, true, NULL);
    }
    pthread_mutex_unlock(&spool->settle);
    return err == PL_OK ? PL_OK : PL_EIO;
}

/* After an attempt that failed: PL_OK, PL_ECORRUPT: it is lost, or PL_EIO: later. */
static enum pl_err read_again(struct spool *spool, const struct spool_view *view, uint64_t number,
                              struct pl_buf *out)
{
    const int64_t now_ms = pl_mono_ms(spool->config.clock);
    const bool losing = now_ms < spool->losing_until_ms;
    enum pl_err err = PL_EIO;
    for (int i = 1; i < READ_ATTEMPTS && losing && err == PL_EIO; i++)
        err = read_block(spool, view, number, out);
    if (err != PL_EIO)
        return err;
    if (!give_up(spool, &view->incarnation, number) && !losing)
        return PL_EIO;
    err = disk_answers(spool, &view->incarnation);
    if (err != PL_OK)
        return err;
    spool->losing_until_ms = now_ms + LOSING_MS;
    return PL_ECORRUPT;
}

static enum pl_err source_read(void *ctx, const struct pl_id128 *incarnation, uint64_t *number,
                               struct pl_buf *out, struct block_loss *loss)
{
    struct spool *spool = ctx;
    struct spool_view view;
    uint64_t n = *number;
    if (!find_unacked(spool, incarnation, &n, &view))
        return PL_ENOTFOUND;
    enum pl_err err = read_block(spool, &view, n, out);
    if (err == PL_EIO)
        err = read_again(spool, &view, n, out);
    if (err == PL_OK) {
        forget_failures(spool, incarnation);
        *number = n;
        return PL_OK;
    }
    if (err != PL_ENOTFOUND && err != PL_ECORRUPT)
        return err;
    forget_failures(spool, incarnation);
    err = declare_loss(spool, &view, n, loss);
    if (err == PL_ECORRUPT)
        *number = n;
    return err;
}

/* ---- verdicts */

static void log_verdict(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number,
                        enum block_verdict verdict)
{
    char text[PL_ID128_TEXT];
    pl_id128_format(incarnation, text);
    pl_log(spool->config.log, PL_LOG_ERROR, "spool",
           "the origin %s; the block is kept in quarantine. incarnation=%s number=%" PRIu64,
           verdict == BLOCK_FORK ? "holds another block under this number"
                                 : "refuses a block: it cannot be opened or does not fit its chain",
           text, number);
}

/* True when the number is one that can have a verdict. */
static bool may_settle(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number)
{
    pthread_mutex_lock(&spool->lock);
    const struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    bool may = chain != NULL && number < chain->next && !ackset_has(&chain->acks, number);
    pthread_mutex_unlock(&spool->lock);
    return may;
}

static enum pl_err note_verdict(struct spool *spool, const struct pl_id128 *incarnation,
                                uint64_t number)
{
    pthread_mutex_lock(&spool->lock);
    struct spool_chain *chain = spool_chains_find(&spool->chains, incarnation);
    enum pl_err err = chain == NULL ? PL_OK : ackset_add(&chain->acks, number);
    pthread_mutex_unlock(&spool->lock);
    return err;
}

static enum pl_err source_verdict(void *ctx, const struct pl_id128 *incarnation, uint64_t number,
                                  enum block_verdict verdict)
{
    struct spool *spool = ctx;
    enum pl_err err = PL_OK;
    if (verdict == BLOCK_RETRY)
        return PL_OK;
    pthread_mutex_lock(&spool->settle);
    if (may_settle(spool, incarnation, number)) {
        if (verdict == BLOCK_FORK || verdict == BLOCK_REFUSED) {
            err = spool_quarantine(spool, incarnation, number, verdict);
            if (err == PL_OK)
                log_verdict(spool, incarnation, number, verdict);
        }
        if (err == PL_OK)
            err = note_verdict(spool, incarnation, number);
    }
    pthread_mutex_unlock(&spool->settle);
    return err;
}

static void source_settled(void *ctx, struct frame_settled *out)
{
    spool_settled(ctx, out);
}

struct uplink_source spool_source(struct spool *spool)
{
    return (struct uplink_source){
        .ctx = spool,
        .chains = source_chains,
        .read = source_read,
        .verdict = source_verdict,
        .books = spool_books_heard,
        .settled = source_settled,
    };
}
