#include "edge/spool_internal.h"

#define MARK_VERSION 1

void spool_key(const struct pl_id128 *incarnation, uint64_t number, uint8_t out[SPOOL_KEY_BYTES])
{
    memcpy(out, incarnation->bytes, sizeof(incarnation->bytes));
    pl_store_u64(out + sizeof(incarnation->bytes), number);
}

void spool_mark_encode(const struct spool_mark *mark, uint8_t out[SPOOL_MARK_BYTES])
{
    out[0] = MARK_VERSION;
    memcpy(out + 1, mark->hash, BLOCK_HASH_BYTES);
    uint8_t *p = out + 1 + BLOCK_HASH_BYTES;
    pl_store_u32(p, (uint32_t)mark->own.events);
    pl_store_u32(p + 4, (uint32_t)mark->own.bytes);
    pl_store_u64(p + 8, mark->through.events);
    pl_store_u64(p + 16, mark->through.bytes);
    pl_store_u64(p + 24, (uint64_t)mark->sealed_ms);
}

static enum pl_err mark_decode(struct pl_span bytes, struct spool_mark *mark)
{
    struct pl_reader r = pl_reader(bytes);
    if (pl_get_u8(&r) != MARK_VERSION || bytes.len != SPOOL_MARK_BYTES)
        return PL_ECORRUPT;
    pl_get_bytes(&r, mark->hash, sizeof(mark->hash));
    mark->own.events = pl_get_u32(&r);
    mark->own.bytes = pl_get_u32(&r);
    mark->through.events = pl_get_u64(&r);
    mark->through.bytes = pl_get_u64(&r);
    mark->sealed_ms = (int64_t)pl_get_u64(&r);
    return PL_OK;
}

static enum pl_err record_get(struct spool *spool, enum edge_family family,
                              const struct pl_id128 *incarnation, uint64_t number,
                              struct pl_buf *out)
{
    uint8_t key[SPOOL_KEY_BYTES];
    spool_key(incarnation, number, key);
    enum pl_err err = store_get(spool->config.store, family, pl_span(key, sizeof(key)), out);
    return spool_not_there(err) ? PL_ENOTFOUND : err;
}

enum pl_err spool_mark_get(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number,
                           struct spool_mark *mark)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 4096);
    enum pl_err err = record_get(spool, EDGE_MARKS, incarnation, number, &bytes);
    if (err == PL_OK && mark_decode(pl_buf_span(&bytes), mark) != PL_OK)
        err = PL_ENOTFOUND;
    pl_buf_release(&bytes);
    return err;
}

static enum pl_err header_get(struct spool *spool, const struct spool_view *view, uint64_t number,
                              struct block_header *header, size_t *block_bytes)
{
    struct pl_buf bytes;
    struct pl_span body;
    pl_buf_init(&bytes, LIMIT_BLOCK_BYTES);
    enum pl_err err = record_get(spool, EDGE_BLOCKS, &view->incarnation, number, &bytes);
    if (err == PL_OK && (block_parse(pl_buf_span(&bytes), header, &body, NULL) != PL_OK ||
                         header->number != number))
        err = PL_ENOTFOUND;
    *block_bytes = bytes.len;
    pl_buf_release(&bytes);
    return err;
}

struct spool_view spool_view_of(const struct spool_chain *chain)
{
    return (struct spool_view){
        .incarnation = chain->incarnation,
        .acked = chain->acked,
        .next = chain->next,
        .acked_totals = chain->acked_totals,
        .totals = chain->totals,
        .exact = chain->exact,
    };
}

/* A run of neighbours without marks, and what is known of it as a whole. */
struct run {
    uint64_t first, end; /* [first, end) */
    struct spool_totals before;
    struct spool_totals missing; /* held by those whose block is gone as well */
    bool counted;                /* `missing` is exact */
};

static enum pl_err run_begin(struct spool *spool, const struct spool_view *view, uint64_t number,
                             struct run *run)
{
    struct spool_mark mark;
    run->first = number;
    run->before = view->acked_totals;
    for (; run->first > view->acked; run->first--) {
        enum pl_err err = spool_mark_get(spool, &view->incarnation, run->first - 1, &mark);
        if (err == PL_OK) {
            run->before = mark.through;
            break;
        }
        if (err != PL_ENOTFOUND)
            return err;
    }
    return PL_OK;
}

/* What the chain had counted up to the run's end: the next mark says it, or at the chain's end
 * the chain itself. */
static enum pl_err run_end(struct spool *spool, const struct spool_view *view, uint64_t number,
                           struct run *run, struct spool_totals *before_end)
{
    struct spool_mark mark;
    enum pl_err err = PL_ENOTFOUND;
    for (run->end = number + 1; run->end < view->next; run->end++) {
        err = spool_mark_get(spool, &view->incarnation, run->end, &mark);
        if (err != PL_ENOTFOUND)
            break;
    }
    if (err == PL_OK) {
        before_end->events = mark.through.events - mark.own.events;
        before_end->bytes = mark.through.bytes - mark.own.bytes;
    } else if (err == PL_ENOTFOUND) {
        *before_end = view->totals;
    } else {
        return err;
    }
    run->counted = (err == PL_OK || view->exact) && before_end->events >= run->before.events &&
                   before_end->bytes >= run->before.bytes;
    return PL_OK;
}

/* Takes off `missing` what the blocks that are still there account for. */
static enum pl_err run_subtract(struct spool *spool, const struct spool_view *view, struct run *run)
{
    for (uint64_t n = run->first; n < run->end && run->counted; n++) {
        struct block_header header;
        size_t bytes;
        enum pl_err err = header_get(spool, view, n, &header, &bytes);
        if (err == PL_ENOTFOUND)
            continue;
        if (err != PL_OK)
            return err;
        run->counted = run->missing.events >= header.events && run->missing.bytes >= bytes;
        if (run->counted) {
            run->missing.events -= header.events;
            run->missing.bytes -= bytes;
        }
    }
    return PL_OK;
}

static enum pl_err run_of(struct spool *spool, const struct spool_view *view, uint64_t number,
                          struct run *run)
{
    struct spool_totals before_end = {0};
    enum pl_err err = run_begin(spool, view, number, run);
    if (err == PL_OK)
        err = run_end(spool, view, number, run, &before_end);
    run->missing = (struct spool_totals){0};
    if (err != PL_OK || !run->counted)
        return err;
    run->missing.events = before_end.events - run->before.events;
    run->missing.bytes = before_end.bytes - run->before.bytes;
    err = run_subtract(spool, view, run);
    if (!run->counted)
        run->missing = (struct spool_totals){0};
    return err;
}

/* Of several blocks lost in one run nobody can say which held how much: the first is charged
 * with all of it, so that the sum is right. */
static enum pl_err tally_run(struct spool *spool, const struct spool_view *view, uint64_t number,
                             struct spool_tally *out)
{
    struct run run;
    enum pl_err err = run_of(spool, view, number, &run);
    if (err != PL_OK)
        return err;
    bool charged = false;
    out->through = run.before;
    out->counted = run.counted;
    for (uint64_t n = run.first; n <= number; n++) {
        struct block_header header;
        size_t bytes;
        err = header_get(spool, view, n, &header, &bytes);
        if (err == PL_OK) {
            out->own = (struct spool_totals){.events = header.events, .bytes = bytes};
        } else if (err == PL_ENOTFOUND) {
            out->own = charged ? (struct spool_totals){0} : run.missing;
            charged = true;
        } else {
            return err;
        }
        out->through.events += out->own.events;
        out->through.bytes += out->own.bytes;
    }
    return PL_OK;
}

enum pl_err spool_tally_of(struct spool *spool, const struct spool_view *view, uint64_t number,
                           struct spool_tally *out)
{
    struct spool_mark mark;
    enum pl_err err = spool_mark_get(spool, &view->incarnation, number, &mark);
    if (err == PL_OK) {
        *out = (struct spool_tally){.own = mark.own, .through = mark.through, .counted = true};
        memcpy(out->hash, mark.hash, sizeof(out->hash));
        return PL_OK;
    }
    if (err != PL_ENOTFOUND)
        return err;
    *out = (struct spool_tally){0};
    struct block_header after;
    size_t bytes;
    if (number + 1 < view->next && header_get(spool, view, number + 1, &after, &bytes) == PL_OK)
        memcpy(out->hash, after.previous_hash, sizeof(out->hash));
    return tally_run(spool, view, number, out);
}
