/*
 * Blocks from outside. Input that begins with "PLB" is a block as it stands; the corpus holds
 * some that open. Any other input is what an enrolled edge gone hostile could seal: 4 bytes for
 * `events`, 4 for `plain_bytes`, the rest sealed as the body.
 */
#include "proto/wire/block_codec.h"
#include "proto/wire/limits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uint8_t edge_secret[32], edge_public[32], origin_secret[32], origin_public[32];
    struct block_header header;
    struct hpke_context *edge;
    struct block_opener *opener;
    uint8_t block[LIMIT_BLOCK_BYTES];
} world;

static void must(enum pl_err err)
{
    if (err != PL_OK)
        abort();
}

static enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES], uint8_t secret[32])
{
    (void)ctx;
    if (memcmp(id, world.header.seal_key_id, BLOCK_KEY_ID_BYTES) != 0)
        return PL_ENOTFOUND;
    memcpy(secret, world.origin_secret, sizeof(world.origin_secret));
    return PL_OK;
}

static enum pl_err edge_public(void *ctx, const struct pl_id128 *edge, uint8_t public_key[32])
{
    (void)ctx;
    if (!pl_id128_eq(edge, &world.header.edge))
        return PL_ENOTFOUND;
    memcpy(public_key, world.edge_public, sizeof(world.edge_public));
    return PL_OK;
}

static void begin(void)
{
    const struct block_opener_keys keys = {seal_secret, edge_public, NULL};
    uint8_t info[BLOCK_INFO_BYTES];
    /* The keys of the corpus. */
    memset(world.edge_secret, 0x11, sizeof(world.edge_secret));
    memset(world.origin_secret, 0x22, sizeof(world.origin_secret));
    memset(world.header.edge.bytes, 0x33, sizeof(world.header.edge.bytes));
    must(pl_x25519_public(world.edge_secret, world.edge_public));
    must(pl_x25519_public(world.origin_secret, world.origin_public));
    block_key_id(world.origin_public, world.header.seal_key_id);
    block_info(&world.header.edge, world.header.seal_key_id, info);
    must(hpke_setup_auth_sender(&world.edge, HPKE_AES_256_GCM, pl_random_system(),
                                world.origin_public, world.edge_secret, pl_span(info, sizeof(info)),
                                world.header.enc));
    must(block_opener_new(&world.opener, &keys));
}

__attribute__((destructor)) static void end(void)
{
    hpke_free(world.edge);
    block_opener_free(world.opener);
}

static struct pl_span sealed_by_edge(struct pl_span in)
{
    struct pl_reader r = pl_reader(in);
    struct block_header header = world.header;
    uint8_t *body = world.block + BLOCK_HEADER_BYTES;
    header.events = pl_get_u32(&r);
    header.plain_bytes = pl_get_u32(&r);
    if (r.rest.len > LIMIT_BLOCK_BYTES - BLOCK_HEADER_BYTES - PL_AEAD_TAG_BYTES)
        return pl_span(NULL, 0);
    header.sequence = hpke_sequence(world.edge);
    header.sealed_bytes = (uint32_t)(r.rest.len + PL_AEAD_TAG_BYTES);
    block_header_encode(&header, world.block);
    must(hpke_seal(world.edge, pl_span(world.block, BLOCK_HEADER_BYTES), r.rest, body,
                   &header.sequence));
    return pl_span(world.block, BLOCK_HEADER_BYTES + header.sealed_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block_header header;
    struct pl_span body, block = pl_span(data, size);
    struct pl_why why = {0};
    struct pl_buf plain;
    if (world.opener == NULL)
        begin();
    bool hostile = !pl_span_starts(block, PL_SPAN_LIT("PLB"));
    if (hostile)
        block = sealed_by_edge(block);
    enum pl_err err = block_parse(block, &header, &body, &why);
    if (err == PL_OK) {
        uint8_t again[BLOCK_HEADER_BYTES];
        block_header_encode(&header, again);
        if (!pl_span_eq(pl_span(again, sizeof(again)), pl_span(block.data, sizeof(again))))
            abort();
        pl_buf_init(&plain, LIMIT_BLOCK_PLAIN_BYTES);
        err = block_open(world.opener, &header, block, &plain, &why);
        if ((err == PL_OK ? header.plain_bytes : 0) != plain.len)
            abort();
        if (hostile && err != PL_OK && err != PL_ECORRUPT)
            abort(); /* it was sealed by the edge: only its content can be wrong */
        pl_buf_release(&plain);
    }
    if (err != PL_OK && (why.err != err || why.text[0] == '\0'))
        abort();
    return 0;
}
