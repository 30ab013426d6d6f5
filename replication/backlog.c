#include "replication/backlog.h"

#include <stdlib.h>

#define BACK_OFF_MIN_MS 250
#define BACK_OFF_MAX_MS 4000
#define SOURCE_PAUSE_MS 1000

void backlog_init(struct backlog *b, const struct uplink_source *source, const struct pl_log *log)
{
    *b = (struct backlog){.source = source, .log = log, .back_off_ms = BACK_OFF_MIN_MS};
    pl_buf_init(&b->block, LIMIT_BLOCK_BYTES);
}

void backlog_release(struct backlog *b)
{
    free(b->again);
    pl_buf_release(&b->block);
}

/* The chain's place, a free one if it is new, or -1: all taken, it has to wait. */
static int find_place(const struct backlog *b, const struct pl_id128 *incarnation)
{
    int place = -1;
    for (int i = 0; i < BACKLOG_CHAINS; i++) {
        const struct backlog_chain *c = &b->chains[i];
        if (c->used && pl_id128_eq(&c->claim.incarnation, incarnation))
            return i;
        if (!c->used && place < 0)
            place = i;
    }
    return place;
}

enum pl_err backlog_refresh(struct backlog *b)
{
    struct chain_claim claims[FRAME_CHAINS_MAX];
    size_t count = 0;
    enum pl_err err = b->source->chains(b->source->ctx, claims, FRAME_CHAINS_MAX, &count);
    if (err != PL_OK) {
        pl_log(b->log, PL_LOG_WARN, "uplink", "cannot list the chains to send: %s",
               pl_err_word(err));
        return err;
    }
    for (size_t i = 0; i < BACKLOG_CHAINS; i++)
        b->chains[i].listed = false;
    b->listed = 0;
    for (size_t i = 0; i < count && i < FRAME_CHAINS_MAX; i++) {
        int place = find_place(b, &claims[i].incarnation);
        if (place < 0)
            continue;
        struct backlog_chain *c = &b->chains[place];
        if (!c->used)
            *c = (struct backlog_chain){.used = true, .cursor = claims[i].acked};
        c->claim = claims[i];
        c->listed = true;
        b->order[b->listed++] = (uint16_t)place;
    }
    for (size_t i = 0; i < BACKLOG_CHAINS; i++) {
        struct backlog_chain *c = &b->chains[i];
        if (c->used && !c->listed && c->out == 0)
            c->used = false;
    }
    return PL_OK;
}

size_t backlog_claims(const struct backlog *b, struct chain_claim *out)
{
    for (size_t i = 0; i < b->listed; i++)
        out[i] = b->chains[b->order[i]].claim;
    return b->listed;
}

void backlog_wake(struct backlog *b)
{
    b->dry = false;
}

static void pause_source(struct backlog *b, enum pl_err err, uint64_t number, int64_t now_ms)
{
    b->pause_until_ms = now_ms + SOURCE_PAUSE_MS;
    pl_log(b->log, PL_LOG_ERROR, "uplink", "cannot read block %llu to send: %s; trying again",
           (unsigned long long)number, pl_err_word(err));
}

/* Reads the first unacked block at or after number into the offer. */
static enum pl_err read_offer(struct backlog *b, uint16_t chain, uint64_t number)
{
    struct backlog_chain *c = &b->chains[chain];
    uint64_t asked = number;
    pl_buf_reset(&b->block);
    b->loss = (struct block_loss){.events = 0};
    enum pl_err err =
        b->source->read(b->source->ctx, &c->claim.incarnation, &number, &b->block, &b->loss);
    bool loss = err == PL_ECORRUPT;
    if (loss)
        number = b->loss.number;
    if (err != PL_OK && !loss)
        return err;
    if (number < asked || (!loss && b->block.len == 0))
        return PL_EINVAL; /* going on would send a block twice, or nothing for ever */
    if (loss)
        b->loss.incarnation = c->claim.incarnation;
    size_t bytes =
        BACKLOG_ENTRY_BYTES + (loss ? FRAME_LOSS_BYTES : FRAME_BLOCK_HEAD_BYTES + b->block.len);
    b->offer = (struct backlog_entry){
        .number = number, .bytes = (uint32_t)bytes, .chain = chain, .loss = loss};
    b->offered = true;
    return PL_OK;
}

static void drop_again(struct backlog *b)
{
    const struct backlog_entry *e = &b->again[b->again_head];
    b->out_bytes -= e->bytes;
    b->chains[e->chain].out--;
    b->again_count--;
    b->again_head = b->again_count == 0 ? 0 : b->again_head + 1;
}

/* Those told to retry, as far as they are due. True when one is on offer. */
static bool offer_again(struct backlog *b, int64_t now_ms)
{
    while (b->again_count > 0 && b->again[b->again_head].due_ms <= now_ms) {
        const struct backlog_entry *e = &b->again[b->again_head];
        enum pl_err err = read_offer(b, e->chain, e->number);
        if (err == PL_OK && b->offer.number == e->number) {
            b->offer_is_again = true;
            return true;
        }
        b->offered = false;
        if (err != PL_OK && err != PL_ENOTFOUND) {
            pause_source(b, err, e->number, now_ms);
            return false;
        }
        drop_again(b); /* the source has settled it otherwise */
    }
    return false;
}

static bool offer_new(struct backlog *b, int64_t now_ms)
{
    for (size_t i = 0; i < b->listed; i++) {
        struct backlog_chain *c = &b->chains[b->order[i]];
        if (c->drained)
            continue;
        enum pl_err err = read_offer(b, b->order[i], c->cursor);
        if (err == PL_OK) {
            b->offer_is_again = false;
            return true;
        }
        if (err != PL_ENOTFOUND) {
            pause_source(b, err, c->cursor, now_ms);
            return false;
        }
        c->drained = c->claim.closed;
    }
    return false;
}

static void start_over(struct backlog *b)
{
    while (b->again_count > 0)
        drop_again(b);
    for (size_t i = 0; i < BACKLOG_CHAINS; i++) {
        b->chains[i].cursor = b->chains[i].claim.acked;
        b->chains[i].drained = false;
    }
    b->offered = b->lost = b->dry = false;
}

bool backlog_offer(struct backlog *b, int64_t now_ms)
{
    if (b->lost) {
        if (b->out_count > 0)
            return false;
        start_over(b);
    }
    if (b->offered)
        return true;
    if (now_ms < b->pause_until_ms)
        return false;
    b->pause_until_ms = 0;
    if (offer_again(b, now_ms))
        return true;
    if (b->dry || b->pause_until_ms > 0)
        return false;
    if (offer_new(b, now_ms))
        return true;
    /* A chain may have been opened since they were listed. */
    if (b->pause_until_ms == 0 && backlog_refresh(b) == PL_OK && offer_new(b, now_ms))
        return true;
    b->dry = b->pause_until_ms == 0;
    return false;
}

enum pl_err backlog_take(struct backlog *b, struct pl_buf *frame, struct backlog_entry *entry)
{
    enum pl_err err = b->offer.loss ? frame_add_loss(frame, &b->loss)
                                    : frame_add_block(frame, pl_buf_span(&b->block));
    if (err != PL_OK)
        return err;
    if (b->offer_is_again)
        drop_again(b);
    else
        b->chains[b->offer.chain].cursor = b->offer.number + 1;
    b->chains[b->offer.chain].out++;
    b->out_bytes += b->offer.bytes;
    b->out_count++;
    b->offered = false;
    *entry = b->offer;
    return PL_OK;
}

/* Appends to the waiting ones. */
static enum pl_err wait_again(struct backlog *b, const struct backlog_entry *entry, int64_t due_ms)
{
    /* Half of it at least, so that moving stays cheap on the whole. */
    if (b->again_head >= (b->again_cap + 1) / 2 && b->again_head > 0) {
        memmove(b->again, b->again + b->again_head, b->again_count * sizeof(*b->again));
        b->again_head = 0;
    }
    if (b->again_head + b->again_count == b->again_cap) {
        /* Bounded by the window, of which each entry holds its share. */
        size_t cap = b->again_cap == 0 ? 64 : b->again_cap * 2;
        struct backlog_entry *grown = realloc(b->again, cap * sizeof(*grown));
        if (grown == NULL)
            return PL_ENOMEM;
        b->again = grown;
        b->again_cap = cap;
    }
    struct backlog_entry *e = &b->again[b->again_head + b->again_count++];
    *e = *entry;
    e->due_ms = due_ms;
    return PL_OK;
}

static void back_off(struct backlog *b, const struct backlog_entry *entry, int64_t now_ms)
{
    int64_t due_ms = now_ms + b->back_off_ms;
    size_t last = b->again_head + b->again_count;
    /* One round of retries, one step of back-off: what comes while others wait joins them. */
    if (b->again_count > 0 && b->again[last - 1].due_ms > now_ms)
        due_ms = b->again[last - 1].due_ms;
    else if (b->back_off_ms < BACK_OFF_MAX_MS)
        b->back_off_ms *= 2;
    b->out_count--;
    if (wait_again(b, entry, due_ms) != PL_OK) {
        b->out_bytes -= entry->bytes;
        b->chains[entry->chain].out--;
        b->lost = true;
    }
}

void backlog_settle(struct backlog *b, const struct backlog_entry *entry,
                    enum block_verdict verdict, int64_t now_ms)
{
    if (verdict == BLOCK_RETRY) {
        back_off(b, entry, now_ms);
        return;
    }
    struct backlog_chain *c = &b->chains[entry->chain];
    enum pl_err err =
        b->source->verdict(b->source->ctx, &c->claim.incarnation, entry->number, verdict);
    if (err != PL_OK) {
        pl_log(b->log, PL_LOG_ERROR, "uplink",
               "cannot note the verdict on block %llu: %s; asking the origin again",
               (unsigned long long)entry->number, pl_err_word(err));
        back_off(b, entry, now_ms);
        return;
    }
    b->out_count--;
    b->out_bytes -= entry->bytes;
    c->out--;
    bool good = verdict == BLOCK_STORED || verdict == BLOCK_REPEAT;
    if (good)
        b->back_off_ms = BACK_OFF_MIN_MS;
    b->losses += entry->loss && good;
    b->acked += !entry->loss && good;
    b->repeats += verdict == BLOCK_REPEAT;
    b->forks += verdict == BLOCK_FORK;
    b->refused += verdict == BLOCK_REFUSED;
}

void backlog_lose(struct backlog *b, const struct backlog_entry *entry)
{
    b->out_count--;
    b->out_bytes -= entry->bytes;
    b->chains[entry->chain].out--;
    b->lost = true;
}

int64_t backlog_due_ms(const struct backlog *b)
{
    if (b->pause_until_ms > 0)
        return b->pause_until_ms;
    return b->again_count > 0 ? b->again[b->again_head].due_ms : -1;
}

bool backlog_settled(const struct backlog *b)
{
    return b->dry && !b->offered && !b->lost && b->out_count == 0 && b->again_count == 0;
}
