#include "proto/wire/frame_codec.h"

bool frame_region_ok(struct pl_span region)
{
    for (size_t i = 0; i < region.len; i++)
        if (region.data[i] < 0x21 || region.data[i] > 0x7e)
            return false;
    return region.len >= 1 && region.len <= FRAME_REGION_BYTES;
}

bool frame_signature_ok(struct pl_span signature)
{
    return signature.len >= 1 && signature.len <= PL_SIGNATURE_MAX_BYTES;
}

bool frame_items_ok(struct pl_span items)
{
    struct pl_reader r = pl_reader(items);
    while (r.rest.len > 0 && !r.failed)
        if (pl_get_span(&r, pl_get_u32(&r)).len == 0)
            return false;
    return !r.failed;
}

static enum pl_err wrong(struct pl_why *why, const char *field, const char *what)
{
    return pl_fail_field(why, PL_EINVAL, field, "frame from the other end of the link: %s %s",
                         field, what);
}

static enum pl_err whole(const struct pl_reader *r, struct pl_why *why, const char *field)
{
    return r->failed ? wrong(why, field, "is cut short") : PL_OK;
}

static enum pl_err get_wall(struct pl_reader *r, int64_t *wall_ms, struct pl_why *why)
{
    uint64_t raw = pl_get_u64(r);
    if (r->failed)
        return whole(r, why, "wall_ms");
    if (raw > (uint64_t)FRAME_WALL_MAX_MS)
        return wrong(why, "wall_ms", "is after the year 9999");
    *wall_ms = (int64_t)raw;
    return PL_OK;
}

static struct pl_reader element(const struct frame_list *list, size_t i, size_t bytes)
{
    return pl_reader(pl_span(list->bytes.data + i * bytes, bytes));
}

struct chain_claim frame_claim(const struct frame_list *list, size_t i)
{
    struct pl_reader r = element(list, i, CLAIM_BYTES);
    struct chain_claim claim;
    pl_get_bytes(&r, claim.incarnation.bytes, sizeof(claim.incarnation.bytes));
    claim.acked = pl_get_u64(&r);
    claim.next = pl_get_u64(&r);
    claim.acked_events = pl_get_u64(&r);
    claim.closed = pl_get_u8(&r) != 0;
    return claim;
}

struct chain_record frame_record(const struct frame_list *list, size_t i)
{
    struct pl_reader r = element(list, i, RECORD_BYTES);
    struct chain_record record;
    pl_get_bytes(&r, record.incarnation.bytes, sizeof(record.incarnation.bytes));
    record.contiguous = pl_get_u64(&r);
    record.highest = pl_get_u64(&r);
    record.events = pl_get_u64(&r);
    record.stored = pl_get_u64(&r);
    record.duplicate = pl_get_u64(&r);
    record.dropped = pl_get_u64(&r);
    return record;
}

enum block_verdict frame_verdict(const struct frame_list *list, size_t i)
{
    return (enum block_verdict)list->bytes.data[i];
}

static enum pl_err get_list(struct pl_reader *r, size_t element_bytes, size_t max,
                            struct frame_list *list, const char *field, struct pl_why *why)
{
    list->count = pl_get_u16(r);
    if (list->count > max)
        return wrong(why, field, "holds more than is allowed");
    list->bytes = pl_get_span(r, list->count * element_bytes);
    return whole(r, why, field);
}

static enum pl_err get_claims(struct pl_reader *r, struct frame_list *list, struct pl_why *why)
{
    enum pl_err err = get_list(r, CLAIM_BYTES, FRAME_CHAINS_MAX, list, "claims", why);
    for (size_t i = 0; err == PL_OK && i < list->count; i++) {
        struct chain_claim claim = frame_claim(list, i);
        if (claim.acked > claim.next)
            err = wrong(why, "claims.acked", "is past next");
        else if (list->bytes.data[(i + 1) * CLAIM_BYTES - 1] > 1)
            err = wrong(why, "claims.closed", "is neither 0 nor 1");
    }
    return err;
}

static enum pl_err get_records(struct pl_reader *r, struct frame_list *list, struct pl_why *why)
{
    enum pl_err err = get_list(r, RECORD_BYTES, FRAME_CHAINS_MAX, list, "records", why);
    for (size_t i = 0; err == PL_OK && i < list->count; i++) {
        struct chain_record record = frame_record(list, i);
        if (record.contiguous > record.highest)
            err = wrong(why, "records.contiguous", "is past highest");
    }
    return err;
}

static enum pl_err parse_prove(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    struct frame_prove *prove = &f->prove;
    pl_get_bytes(r, prove->edge.bytes, sizeof(prove->edge.bytes));
    if (r->failed)
        return whole(r, why, "edge");
    pl_get_bytes(r, prove->nonce, sizeof(prove->nonce));
    if (r->failed)
        return whole(r, why, "nonce");
    prove->signature = pl_get_span(r, pl_get_u8(r));
    if (r->failed)
        return whole(r, why, "signature");
    if (!frame_signature_ok(prove->signature))
        return wrong(why, "signature", "is empty or too long");
    prove->region = pl_get_span(r, pl_get_u8(r));
    if (r->failed)
        return whole(r, why, "region");
    if (!frame_region_ok(prove->region))
        return wrong(why, "region", "is not 1 to 15 visible ASCII characters");
    enum pl_err err = get_wall(r, &prove->wall_ms, why);
    return err != PL_OK ? err : get_claims(r, &f->list, why);
}

bool frame_entry_next(struct pl_span *rest, struct frame_entry *entry)
{
    if (rest->len == 0)
        return false;
    struct pl_reader r = pl_reader(*rest);
    *entry = (struct frame_entry){.block = pl_span(NULL, 0)};
    if (pl_get_u8(&r) == ENTRY_BLOCK) {
        entry->block = pl_get_span(&r, pl_get_u32(&r));
    } else {
        pl_get_bytes(&r, entry->loss.incarnation.bytes, sizeof(entry->loss.incarnation.bytes));
        entry->loss.number = pl_get_u64(&r);
        pl_get_bytes(&r, entry->loss.hash, sizeof(entry->loss.hash));
        entry->loss.events = pl_get_u32(&r);
    }
    *rest = r.rest;
    return !r.failed;
}

static enum pl_err check_entry(struct pl_reader *r, struct pl_why *why)
{
    uint8_t kind = pl_get_u8(r);
    if (r->failed)
        return whole(r, why, "entries");
    if (kind != ENTRY_BLOCK && kind != ENTRY_LOSS)
        return wrong(why, "entries.kind", "is neither a block nor a loss");
    if (kind == ENTRY_LOSS) {
        pl_get_span(r, FRAME_LOSS_BYTES - 1);
        return whole(r, why, "entries.loss");
    }
    uint32_t len = pl_get_u32(r);
    if (!r->failed && (len == 0 || len > LIMIT_BLOCK_BYTES))
        return wrong(why, "entries.block", "is empty or larger than a block may be");
    pl_get_span(r, len);
    return whole(r, why, "entries.block");
}

static enum pl_err parse_blocks(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    f->entries = pl_get_u16(r);
    if (f->entries > FRAME_ENTRIES_MAX)
        return wrong(why, "entries", "holds more than is allowed");
    f->entry_bytes = r->rest;
    for (size_t i = 0; i < f->entries; i++) {
        enum pl_err err = check_entry(r, why);
        if (err != PL_OK)
            return err;
    }
    f->entry_bytes.len -= r->rest.len;
    return whole(r, why, "entries");
}

static enum pl_err parse_feed(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    pl_get_bytes(r, f->feed.epoch.bytes, sizeof(f->feed.epoch.bytes));
    f->feed.position = pl_get_u64(r);
    f->feed.wait_ms = pl_get_u32(r);
    if (!r->failed && f->feed.wait_ms > FRAME_WAIT_MAX_MS)
        return wrong(why, "wait_ms", "is over a minute");
    return whole(r, why, "feed");
}

static enum pl_err parse_acks(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    enum pl_err err = get_list(r, 1, FRAME_ENTRIES_MAX, &f->list, "verdicts", why);
    for (size_t i = 0; err == PL_OK && i < f->list.count; i++) {
        uint8_t verdict = f->list.bytes.data[i];
        if (verdict < BLOCK_STORED || verdict > BLOCK_RETRY)
            err = wrong(why, "verdicts", "holds a verdict this build does not know");
    }
    return err;
}

static enum pl_err parse_page(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    struct frame_page *page = &f->page;
    pl_get_bytes(r, page->epoch.bytes, sizeof(page->epoch.bytes));
    uint8_t flags = pl_get_u8(r);
    page->position = pl_get_u64(r);
    if (r->failed)
        return whole(r, why, "position");
    if ((flags & ~(FLAG_RESTART | FLAG_CAUGHT_UP)) != 0)
        return wrong(why, "flags", "holds a bit this build does not know");
    page->restart = (flags & FLAG_RESTART) != 0;
    page->caught_up = (flags & FLAG_CAUGHT_UP) != 0;
    enum pl_err err = get_wall(r, &page->wall_ms, why);
    if (err != PL_OK)
        return err;
    uint32_t len = pl_get_u32(r);
    if (len > FRAME_ITEMS_BYTES)
        return wrong(why, "items", "is larger than a page may be");
    page->items = pl_get_span(r, len);
    if (!r->failed && !frame_items_ok(page->items))
        return wrong(why, "items", "holds an item that is empty or cut short");
    return whole(r, why, "items");
}

static enum pl_err parse_pong(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    enum pl_err err = get_wall(r, &f->wall_ms, why);
    if (err != PL_OK)
        return err;
    uint8_t flags = pl_get_u8(r);
    if ((flags & ~FLAG_CAUGHT_UP) != 0)
        return wrong(why, "flags", "holds a bit this build does not know");
    f->caught_up = flags != 0;
    return get_records(r, &f->list, why);
}

static enum pl_err parse_refused(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    uint16_t refusal = pl_get_u16(r);
    if (!r->failed && (refusal < FRAME_REFUSED_MALFORMED || refusal > FRAME_REFUSED_BUSY))
        return wrong(why, "refusal", "is one this build does not know");
    f->refusal = (enum frame_refusal)refusal;
    uint16_t len = pl_get_u16(r);
    if (len > FRAME_SENTENCE_BYTES)
        return wrong(why, "sentence", "is too long");
    f->sentence = pl_get_span(r, len);
    for (size_t i = 0; i < f->sentence.len; i++)
        if (f->sentence.data[i] < 0x20 || f->sentence.data[i] > 0x7e)
            return wrong(why, "sentence", "is not printable ASCII");
    return whole(r, why, "sentence");
}

static enum pl_err parse_ping(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    enum pl_err err = get_wall(r, &f->wall_ms, why);
    if (err != PL_OK)
        return err;
    pl_get_bytes(r, f->settled.epoch.bytes, sizeof(f->settled.epoch.bytes));
    f->settled.position = pl_get_u64(r);
    err = whole(r, why, "settled");
    return err != PL_OK ? err : get_claims(r, &f->list, why);
}

static enum pl_err parse_body(struct pl_reader *r, struct frame *f, struct pl_why *why)
{
    enum pl_err err;
    switch (f->type) {
    case FRAME_HELLO:
    case FRAME_HELLO_FIRST:
        return PL_OK;
    case FRAME_CHALLENGE:
        pl_get_bytes(r, f->nonce, sizeof(f->nonce));
        return whole(r, why, "nonce");
    case FRAME_PROVE:
        return parse_prove(r, f, why);
    case FRAME_BLOCKS:
        return parse_blocks(r, f, why);
    case FRAME_FEED:
        return parse_feed(r, f, why);
    case FRAME_PING:
        return parse_ping(r, f, why);
    case FRAME_WELCOME:
        err = get_wall(r, &f->wall_ms, why);
        return err != PL_OK ? err : get_records(r, &f->list, why);
    case FRAME_ACKS:
        return parse_acks(r, f, why);
    case FRAME_PAGE:
        return parse_page(r, f, why);
    case FRAME_PONG:
        return parse_pong(r, f, why);
    case FRAME_REFUSED:
        return parse_refused(r, f, why);
    }
    return wrong(why, "type", "is one this build does not know");
}

enum pl_err frame_parse(struct pl_span bytes, struct frame *out, struct pl_why *why)
{
    struct pl_reader r = pl_reader(bytes);
    struct frame f = {.type = (enum frame_type)pl_get_u8(&r)};
    uint8_t version = pl_get_u8(&r);
    if (r.failed)
        return whole(&r, why, "head");
    if (version != FRAME_VERSION)
        return pl_fail_field(why, PL_EUNSUPPORTED, "version",
                             "the other end of the link speaks version %u, this build speaks %u: "
                             "bring both to the same release",
                             version, FRAME_VERSION);
    enum pl_err err = parse_body(&r, &f, why);
    if (err == PL_OK && r.rest.len != 0)
        err = wrong(why, "frame", "goes on after its end");
    if (err == PL_OK)
        *out = f;
    return err;
}
