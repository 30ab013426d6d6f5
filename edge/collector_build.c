/* From the events of one round to durable blocks. */
#include "edge/collector_parts.h"

struct builder {
    struct collector *c;
    unsigned events; /* in c->plain */
    struct pl_why why;
};

static enum pl_err seal_and_append(struct builder *b, struct pl_span plain, unsigned events)
{
    struct collector *c = b->c;
    struct block_header header = {.events = events};
    uint8_t hash[BLOCK_HASH_BYTES];
    spool_next(c->config.spool, &header);
    pl_buf_reset(&c->block);
    enum pl_err err = block_seal(c->sealer, &header, plain, &c->block, hash);
    if (err != PL_OK)
        return pl_fail(&b->why, err, "cannot seal a block of %u events: %s", events,
                       pl_err_word(err));
    err = spool_append(c->config.spool, &header, pl_buf_span(&c->block), hash, &b->why);
    if (err != PL_OK)
        return err;
    c->round.blocks++;
    c->round.events += events;
    c->round.plain_bytes += plain.len;
    c->round.block_bytes += c->block.len;
    return PL_OK;
}

static enum pl_err flush_plain(struct builder *b)
{
    if (b->events == 0)
        return PL_OK;
    enum pl_err err = seal_and_append(b, pl_buf_span(&b->c->plain), b->events);
    pl_buf_reset(&b->c->plain);
    b->events = 0;
    return err;
}

/* How many events from `first` on fit into room bytes. */
static size_t events_that_fit(const struct lane_fill *fill, size_t first, size_t room)
{
    const size_t start = first == 0 ? 0 : fill->ends[first - 1];
    size_t low = first, high = fill->count; /* ends[low - 1] fits, ends[high] does not */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (fill->ends[middle] - start <= room)
            low = middle + 1;
        else
            high = middle;
    }
    return low - first;
}

static enum pl_err add_fill(struct builder *b, const struct lane_fill *fill)
{
    struct pl_buf *plain = &b->c->plain;
    for (size_t at = 0; at < fill->count;) {
        size_t fit = events_that_fit(fill, at, COLLECTOR_BLOCK_BYTES - plain->len);
        if (fit > LIMIT_BLOCK_EVENTS - b->events)
            fit = LIMIT_BLOCK_EVENTS - b->events;
        const size_t start = at == 0 ? 0 : fill->ends[at - 1];
        enum pl_err err = PL_OK;
        if (fit > 0)
            err = pl_buf_append(plain, fill->bytes.data + start, fill->ends[at + fit - 1] - start);
        b->events += (unsigned)fit;
        at += fit;
        if (err == PL_OK && at < fill->count)
            err = flush_plain(b);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

static const struct lane_fill *only_fill(const struct collector *c)
{
    const struct lane_fill *only = NULL;
    for (unsigned i = 0; i < c->config.lanes; i++) {
        if (!c->took[i])
            continue;
        if (only != NULL)
            return NULL;
        only = &c->fills[i];
    }
    return only;
}

static enum pl_err build(struct builder *b)
{
    struct collector *c = b->c;
    const struct lane_fill *only = only_fill(c);
    if (only != NULL && only->bytes.len <= COLLECTOR_BLOCK_BYTES &&
        only->count <= LIMIT_BLOCK_EVENTS)
        return seal_and_append(b, pl_buf_span(&only->bytes), (unsigned)only->count);
    for (unsigned i = 0; i < c->config.lanes; i++) {
        enum pl_err err = c->took[i] ? add_fill(b, &c->fills[i]) : PL_OK;
        if (err != PL_OK)
            return err;
    }
    return flush_plain(b);
}

static uint64_t bytes_taken(const struct collector *c)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < c->config.lanes; i++)
        sum += c->took[i] ? c->fills[i].bytes.len : 0;
    return sum;
}

enum pl_err collector_commit(struct collector *c, struct pl_why *why)
{
    struct builder b = {.c = c};
    c->round = (struct collector_stats){0};
    pl_buf_reset(&c->plain);
    enum pl_err err = spool_room(c->config.spool, bytes_taken(c), why);
    if (err != PL_OK)
        return err;
    err = build(&b);
    if (err == PL_OK)
        err = spool_commit(c->config.spool, &b.why);
    if (err != PL_OK) {
        spool_abandon(c->config.spool);
        *why = b.why;
    }
    return err;
}
