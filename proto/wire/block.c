#include "proto/wire/block_codec.h"
#include "proto/wire/limits.h"

#include <inttypes.h>

/* The fourth byte is the version of everything that follows it. */
static const uint8_t magic[4] = {'P', 'L', 'B', '1'};

void block_key_id(const uint8_t seal_public[PL_X25519_BYTES], uint8_t id[BLOCK_KEY_ID_BYTES])
{
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(pl_span(seal_public, PL_X25519_BYTES), hash);
    memcpy(id, hash, BLOCK_KEY_ID_BYTES);
}

void block_hash(struct pl_span block, uint8_t hash[BLOCK_HASH_BYTES])
{
    pl_sha256_one(block, hash);
}

void block_info(const struct pl_id128 *edge, const uint8_t seal_key_id[BLOCK_KEY_ID_BYTES],
                uint8_t out[BLOCK_INFO_BYTES])
{
    const size_t label = sizeof(BLOCK_INFO_LABEL) - 1;
    memcpy(out, BLOCK_INFO_LABEL, label);
    memcpy(out + label, edge->bytes, sizeof(edge->bytes));
    memcpy(out + label + sizeof(edge->bytes), seal_key_id, BLOCK_KEY_ID_BYTES);
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
    pl_store_u32(p, v);
    return p + sizeof(v);
}

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
    pl_store_u64(p, v);
    return p + sizeof(v);
}

void block_header_encode(const struct block_header *header, uint8_t out[BLOCK_HEADER_BYTES])
{
    uint8_t *p = put(out, magic, sizeof(magic));
    p = put(p, header->edge.bytes, sizeof(header->edge.bytes));
    p = put(p, header->incarnation.bytes, sizeof(header->incarnation.bytes));
    p = put_u64(p, header->number);
    p = put(p, header->previous_hash, sizeof(header->previous_hash));
    p = put_u32(p, header->events);
    p = put_u32(p, header->plain_bytes);
    p = put_u64(p, (uint64_t)header->sealed_ms);
    p = put(p, header->seal_key_id, sizeof(header->seal_key_id));
    p = put(p, header->enc, sizeof(header->enc));
    p = put_u64(p, header->sequence);
    put_u32(p, header->sealed_bytes);
}

static void header_decode(struct pl_reader *r, struct block_header *header)
{
    pl_get_bytes(r, header->edge.bytes, sizeof(header->edge.bytes));
    pl_get_bytes(r, header->incarnation.bytes, sizeof(header->incarnation.bytes));
    header->number = pl_get_u64(r);
    pl_get_bytes(r, header->previous_hash, sizeof(header->previous_hash));
    header->events = pl_get_u32(r);
    header->plain_bytes = pl_get_u32(r);
    header->sealed_ms = (int64_t)pl_get_u64(r);
    pl_get_bytes(r, header->seal_key_id, sizeof(header->seal_key_id));
    pl_get_bytes(r, header->enc, sizeof(header->enc));
    header->sequence = pl_get_u64(r);
    header->sealed_bytes = pl_get_u32(r);
}

static bool is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

enum pl_err block_header_check(const struct block_header *header, struct pl_why *why)
{
    if (header->events > LIMIT_BLOCK_EVENTS)
        return pl_fail_field(why, PL_ELIMIT, "events",
                             "block %" PRIu64 " claims %" PRIu32 " events, more than %d",
                             header->number, header->events, LIMIT_BLOCK_EVENTS);
    if (header->plain_bytes > LIMIT_BLOCK_PLAIN_BYTES)
        return pl_fail_field(why, PL_ELIMIT, "plain_bytes",
                             "block %" PRIu64 " claims %" PRIu32 " bytes of events, more than %d",
                             header->number, header->plain_bytes, LIMIT_BLOCK_PLAIN_BYTES);
    if (header->sealed_bytes > LIMIT_BLOCK_BYTES - BLOCK_HEADER_BYTES)
        return pl_fail_field(why, PL_ELIMIT, "sealed_bytes",
                             "block %" PRIu64 " claims a body of %" PRIu32
                             " bytes; with its header a block has at most %d",
                             header->number, header->sealed_bytes, LIMIT_BLOCK_BYTES);
    /* An event is at least one byte, and a block without events would prove nothing. */
    if (header->events == 0 || header->events > header->plain_bytes)
        return pl_fail_field(why, PL_ECORRUPT, "events",
                             "block %" PRIu64 " claims %" PRIu32 " events in %" PRIu32 " bytes",
                             header->number, header->events, header->plain_bytes);
    if (header->sealed_bytes <= PL_AEAD_TAG_BYTES)
        return pl_fail_field(why, PL_ECORRUPT, "sealed_bytes",
                             "block %" PRIu64 " claims a body of %" PRIu32 " bytes; a tag has %d",
                             header->number, header->sealed_bytes, PL_AEAD_TAG_BYTES);
    if (header->number == 0 && !is_zero(header->previous_hash, sizeof(header->previous_hash)))
        return pl_fail_field(why, PL_ECORRUPT, "previous_hash",
                             "block 0 names a block before it; a chain begins with zeros");
    return PL_OK;
}

enum pl_err block_parse(struct pl_span block, struct block_header *header, struct pl_span *body,
                        struct pl_why *why)
{
    if (block.len < BLOCK_HEADER_BYTES)
        return pl_fail(why, PL_ECORRUPT, "%zu bytes are too few for a block; its header has %d",
                       block.len, BLOCK_HEADER_BYTES);
    if (memcmp(block.data, magic, 3) != 0)
        return pl_fail_field(why, PL_ECORRUPT, "magic", "not a block: it does not begin with PLB");
    if (block.data[3] != magic[3])
        return pl_fail_field(why, PL_EUNSUPPORTED, "magic",
                             "block version 0x%02x is not known here, only 0x%02x; upgrade this "
                             "node before the one that sent it",
                             block.data[3], magic[3]);
    struct pl_reader r = pl_reader(pl_span_from(block, sizeof(magic)));
    struct block_header read;
    header_decode(&r, &read);
    enum pl_err err = block_header_check(&read, why);
    if (err != PL_OK)
        return err;
    if (r.failed || r.rest.len != read.sealed_bytes)
        return pl_fail_field(why, PL_ECORRUPT, "sealed_bytes",
                             "block %" PRIu64 " has a body of %zu bytes, its header says %" PRIu32,
                             read.number, r.rest.len, read.sealed_bytes);
    *header = read;
    *body = r.rest;
    return PL_OK;
}
