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

/* A run that fills a block, or ends the round, is sealed where it lies; what is left of a lane is
 * copied, to share a block with the next one's. */
static enum pl_err add_fill(struct builder *b, const struct lane_fill *fill, bool last)
{
    struct pl_buf *plain = &b->c->plain;
    for (size_t at = 0; at < fill->count;) {
        size_t fit = events_that_fit(fill, at, COLLECTOR_BLOCK_BYTES - plain->len);
        if (fit > LIMIT_BLOCK_EVENTS - b->events)
            fit = LIMIT_BLOCK_EVENTS - b->events;
        const size_t start = at == 0 ? 0 : fill->ends[at - 1];
        at += fit;
        const size_t end = at == 0 ? 0 : fill->ends[at - 1];
        const struct pl_span run = pl_span(fill->bytes.data + start, end - start);
        const bool full = at < fill->count;
        enum pl_err err;
        if (b->events == 0 && (full || last)) {
            err = seal_and_append(b, run, (unsigned)fit);
        } else {
            err = pl_buf_append_span(plain, run);
            b->events += (unsigned)fit;
            if (err == PL_OK && full)
                err = flush_plain(b);
        }
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

static enum pl_err build(struct builder *b)
{
    const struct collector *c = b->c;
    unsigned last = 0;
    for (unsigned i = 0; i < c->config.lanes; i++)
        if (c->took[i])
            last = i;
    for (unsigned i = 0; i < c->config.lanes; i++) {
        enum pl_err err = c->took[i] ? add_fill(b, &c->fills[i], i == last) : PL_OK;
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

static void add_said(const struct collector *c)
{
    for (unsigned i = 0; i < c->config.lanes; i++) {
        const struct pl_buf *said = &c->fills[i].said;
        for (size_t at = 0; c->took[i] && at < said->len; at += sizeof(struct suppression)) {
            struct suppression one;
            memcpy(&one, said->data + at, sizeof(one));
            suppressions_put(c->config.suppressions, spool_batch(c->config.spool), &one);
        }
    }
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
        add_said(c);
    if (err == PL_OK)
        err = spool_commit(c->config.spool, &b.why);
    if (err != PL_OK) {
        spool_abandon(c->config.spool);
        *why = b.why;
    }
    return err;
}
