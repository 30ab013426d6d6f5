#include "proto/wire/frame_codec.h"

/* The fixed text is as long as it is so that the whole proof is 64 bytes. */
static const char proof_purpose[16] = "polder link v1 :";

void frame_proof(const uint8_t nonce[FRAME_NONCE_BYTES], const struct pl_id128 *edge,
                 uint8_t out[FRAME_PROOF_BYTES])
{
    memcpy(out, proof_purpose, 16);
    memcpy(out + 16, nonce, FRAME_NONCE_BYTES);
    memcpy(out + 48, edge->bytes, 16);
}

/* ---- encoding: each frame is reserved whole, after which no put can fail */

static enum pl_err begin(struct pl_buf *out, enum frame_type type, size_t body_bytes)
{
    enum pl_err err = pl_buf_reserve(out, 2 + body_bytes);
    if (err != PL_OK)
        return err;
    pl_buf_put_u8(out, (uint8_t)type);
    pl_buf_put_u8(out, FRAME_VERSION);
    return PL_OK;
}

static bool wall_ok(int64_t wall_ms)
{
    return wall_ms >= 0 && wall_ms <= FRAME_WALL_MAX_MS;
}

static void put_id(struct pl_buf *out, const struct pl_id128 *id)
{
    pl_buf_append(out, id->bytes, sizeof(id->bytes));
}

static enum pl_err check_claims(const struct chain_claim *claims, size_t count)
{
    if (count > FRAME_CHAINS_MAX)
        return PL_ELIMIT;
    for (size_t i = 0; i < count; i++)
        if (claims[i].acked > claims[i].next)
            return PL_EINVAL;
    return PL_OK;
}

static void put_claims(struct pl_buf *out, const struct chain_claim *claims, size_t count)
{
    pl_buf_put_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        put_id(out, &claims[i].incarnation);
        pl_buf_put_u64(out, claims[i].acked);
        pl_buf_put_u64(out, claims[i].next);
        pl_buf_put_u64(out, claims[i].acked_events);
        pl_buf_put_u8(out, claims[i].closed);
    }
}

static enum pl_err check_records(const struct chain_record *records, size_t count)
{
    if (count > FRAME_CHAINS_MAX)
        return PL_ELIMIT;
    for (size_t i = 0; i < count; i++)
        if (records[i].contiguous > records[i].highest)
            return PL_EINVAL;
    return PL_OK;
}

static void put_records(struct pl_buf *out, const struct chain_record *records, size_t count)
{
    pl_buf_put_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        put_id(out, &records[i].incarnation);
        pl_buf_put_u64(out, records[i].contiguous);
        pl_buf_put_u64(out, records[i].highest);
        pl_buf_put_u64(out, records[i].events);
        pl_buf_put_u64(out, records[i].stored);
        pl_buf_put_u64(out, records[i].duplicate);
        pl_buf_put_u64(out, records[i].dropped);
    }
}

enum pl_err frame_put_hello(struct pl_buf *out)
{
    return begin(out, FRAME_HELLO, 0);
}

enum pl_err frame_put_prove(struct pl_buf *out, const struct frame_prove *prove,
                            const struct chain_claim *claims, size_t count)
{
    if (!frame_region_ok(prove->region) || !frame_signature_ok(prove->signature) ||
        !wall_ok(prove->wall_ms))
        return PL_EINVAL;
    enum pl_err err = check_claims(claims, count);
    if (err == PL_OK)
        err = begin(out, FRAME_PROVE,
                    16 + FRAME_NONCE_BYTES + 1 + prove->signature.len + 1 + prove->region.len + 8 +
                        2 + count * CLAIM_BYTES);
    if (err != PL_OK)
        return err;
    put_id(out, &prove->edge);
    pl_buf_append(out, prove->nonce, FRAME_NONCE_BYTES);
    pl_buf_put_u8(out, (uint8_t)prove->signature.len);
    pl_buf_append_span(out, prove->signature);
    pl_buf_put_u8(out, (uint8_t)prove->region.len);
    pl_buf_append_span(out, prove->region);
    pl_buf_put_u64(out, (uint64_t)prove->wall_ms);
    put_claims(out, claims, count);
    return PL_OK;
}

enum pl_err frame_put_feed(struct pl_buf *out, const struct frame_feed *feed)
{
    if (feed->wait_ms > FRAME_WAIT_MAX_MS)
        return PL_EINVAL;
    enum pl_err err = begin(out, FRAME_FEED, 16 + 8 + 4);
    if (err != PL_OK)
        return err;
    put_id(out, &feed->epoch);
    pl_buf_put_u64(out, feed->position);
    pl_buf_put_u32(out, feed->wait_ms);
    return PL_OK;
}

enum pl_err frame_put_ping(struct pl_buf *out, int64_t wall_ms, const struct frame_settled *settled,
                           const struct chain_claim *claims, size_t count)
{
    if (!wall_ok(wall_ms))
        return PL_EINVAL;
    enum pl_err err = check_claims(claims, count);
    if (err == PL_OK)
        err = begin(out, FRAME_PING, 8 + 16 + 8 + 2 + count * CLAIM_BYTES);
    if (err != PL_OK)
        return err;
    pl_buf_put_u64(out, (uint64_t)wall_ms);
    put_id(out, &settled->epoch);
    pl_buf_put_u64(out, settled->position);
    put_claims(out, claims, count);
    return PL_OK;
}

enum pl_err frame_put_blocks(struct pl_buf *out)
{
    enum pl_err err = begin(out, FRAME_BLOCKS, 2);
    if (err == PL_OK)
        pl_buf_put_u16(out, 0);
    return err;
}

/* Room for one more entry, counted into the frame's head. */
static enum pl_err add_entry(struct pl_buf *out, size_t bytes)
{
    uint16_t count = pl_load_u16(out->data + 2);
    if (count >= FRAME_ENTRIES_MAX)
        return PL_ELIMIT;
    enum pl_err err = pl_buf_reserve(out, bytes);
    if (err == PL_OK)
        pl_store_u16(out->data + 2, (uint16_t)(count + 1));
    return err;
}

enum pl_err frame_add_block(struct pl_buf *out, struct pl_span block)
{
    if (block.len == 0)
        return PL_EINVAL;
    if (block.len > LIMIT_BLOCK_BYTES)
        return PL_ELIMIT;
    enum pl_err err = add_entry(out, FRAME_BLOCK_HEAD_BYTES + block.len);
    if (err != PL_OK)
        return err;
    pl_buf_put_u8(out, ENTRY_BLOCK);
    pl_buf_put_u32(out, (uint32_t)block.len);
    pl_buf_append_span(out, block);
    return PL_OK;
}

enum pl_err frame_add_loss(struct pl_buf *out, const struct block_loss *loss)
{
    enum pl_err err = add_entry(out, FRAME_LOSS_BYTES);
    if (err != PL_OK)
        return err;
    pl_buf_put_u8(out, ENTRY_LOSS);
    put_id(out, &loss->incarnation);
    pl_buf_put_u64(out, loss->number);
    pl_buf_append(out, loss->hash, sizeof(loss->hash));
    pl_buf_put_u32(out, loss->events);
    return PL_OK;
}

enum pl_err frame_put_challenge(struct pl_buf *out, const uint8_t nonce[FRAME_NONCE_BYTES])
{
    enum pl_err err = begin(out, FRAME_CHALLENGE, FRAME_NONCE_BYTES);
    if (err == PL_OK)
        pl_buf_append(out, nonce, FRAME_NONCE_BYTES);
    return err;
}

enum pl_err frame_put_welcome(struct pl_buf *out, int64_t wall_ms,
                              const struct chain_record *records, size_t count)
{
    if (!wall_ok(wall_ms))
        return PL_EINVAL;
    enum pl_err err = check_records(records, count);
    if (err == PL_OK)
        err = begin(out, FRAME_WELCOME, 8 + 2 + count * RECORD_BYTES);
    if (err != PL_OK)
        return err;
    pl_buf_put_u64(out, (uint64_t)wall_ms);
    put_records(out, records, count);
    return PL_OK;
}

enum pl_err frame_put_acks(struct pl_buf *out, const enum block_verdict *verdicts, size_t count)
{
    if (count > FRAME_ENTRIES_MAX)
        return PL_ELIMIT;
    for (size_t i = 0; i < count; i++)
        if (verdicts[i] < BLOCK_STORED || verdicts[i] > BLOCK_RETRY)
            return PL_EINVAL;
    enum pl_err err = begin(out, FRAME_ACKS, 2 + count);
    if (err != PL_OK)
        return err;
    pl_buf_put_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        pl_buf_put_u8(out, (uint8_t)verdicts[i]);
    return PL_OK;
}

enum pl_err frame_put_page(struct pl_buf *out, const struct frame_page *page)
{
    if (!wall_ok(page->wall_ms) || !frame_items_ok(page->items))
        return PL_EINVAL;
    if (page->items.len > FRAME_ITEMS_BYTES)
        return PL_ELIMIT;
    enum pl_err err = begin(out, FRAME_PAGE, 16 + 1 + 8 + 8 + 4 + page->items.len);
    if (err != PL_OK)
        return err;
    put_id(out, &page->epoch);
    pl_buf_put_u8(out, (uint8_t)((page->restart ? FLAG_RESTART : 0) |
                                 (page->caught_up ? FLAG_CAUGHT_UP : 0)));
    pl_buf_put_u64(out, page->position);
    pl_buf_put_u64(out, (uint64_t)page->wall_ms);
    pl_buf_put_u32(out, (uint32_t)page->items.len);
    pl_buf_append_span(out, page->items);
    return PL_OK;
}

enum pl_err frame_put_pong(struct pl_buf *out, int64_t wall_ms, bool caught_up,
                           const struct chain_record *records, size_t count)
{
    if (!wall_ok(wall_ms))
        return PL_EINVAL;
    enum pl_err err = check_records(records, count);
    if (err == PL_OK)
        err = begin(out, FRAME_PONG, 8 + 1 + 2 + count * RECORD_BYTES);
    if (err != PL_OK)
        return err;
    pl_buf_put_u64(out, (uint64_t)wall_ms);
    pl_buf_put_u8(out, caught_up ? FLAG_CAUGHT_UP : 0);
    put_records(out, records, count);
    return PL_OK;
}

enum pl_err frame_put_hello_first(struct pl_buf *out)
{
    return begin(out, FRAME_HELLO_FIRST, 0);
}

enum pl_err frame_put_refused(struct pl_buf *out, enum frame_refusal refusal, const char *sentence)
{
    if (refusal < FRAME_REFUSED_MALFORMED || refusal > FRAME_REFUSED_BUSY)
        return PL_EINVAL;
    size_t len = strnlen(sentence, FRAME_SENTENCE_BYTES);
    enum pl_err err = begin(out, FRAME_REFUSED, 2 + 2 + len);
    if (err != PL_OK)
        return err;
    pl_buf_put_u16(out, (uint16_t)refusal);
    pl_buf_put_u16(out, (uint16_t)len);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)sentence[i];
        pl_buf_put_u8(out, c >= 0x20 && c <= 0x7e ? c : '?');
    }
    return PL_OK;
}
