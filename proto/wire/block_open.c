#include "proto/base/compress.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include "proto/wire/block_codec.h"
#include "proto/wire/limits.h"

#include <inttypes.h>
#include <stdlib.h>

#define EPOCHS 16

struct epoch {
    struct hpke_context *context; /* NULL: free */
    struct pl_id128 edge;
    uint8_t edge_public[PL_X25519_BYTES];
    uint8_t seal_key_id[BLOCK_KEY_ID_BYTES];
    uint8_t enc[HPKE_ENC_BYTES];
    uint64_t used; /* the opener's turn when it last opened a block */
};

struct block_opener {
    struct block_opener_keys keys;
    struct pl_zstd *zstd;
    struct pl_buf compressed; /* between unsealing and decompression */
    uint64_t turn;
    struct epoch epochs[EPOCHS];
};

enum pl_err block_opener_new(struct block_opener **out, const struct block_opener_keys *keys)
{
    struct block_opener *opener = calloc(1, sizeof(*opener));
    if (opener == NULL)
        return PL_ENOMEM;
    enum pl_err err = pl_zstd_new(&opener->zstd, 1);
    if (err != PL_OK) {
        free(opener);
        return err;
    }
    opener->keys = *keys;
    pl_buf_init(&opener->compressed, LIMIT_BLOCK_BYTES);
    *out = opener;
    return PL_OK;
}

static void forget(struct epoch *epoch)
{
    hpke_free(epoch->context);
    *epoch = (struct epoch){0};
}

void block_opener_forget(struct block_opener *opener)
{
    for (size_t i = 0; i < EPOCHS; i++)
        forget(&opener->epochs[i]);
}

void block_opener_free(struct block_opener *opener)
{
    if (opener == NULL)
        return;
    block_opener_forget(opener);
    pl_buf_wipe(&opener->compressed);
    pl_zstd_free(opener->zstd);
    free(opener);
}

static enum pl_err edge_refused(const struct block_header *header, enum pl_err err,
                                struct pl_why *why)
{
    char edge[PL_ID128_TEXT];
    pl_id128_format(&header->edge, edge);
    if (err == PL_ENOTFOUND)
        return pl_fail_field(why, err, "edge",
                             "block %" PRIu64 " is from edge %s, which is not enrolled here",
                             header->number, edge);
    if (err == PL_EDENIED)
        return pl_fail_field(why, err, "edge",
                             "block %" PRIu64 " is from edge %s, which is revoked", header->number,
                             edge);
    return pl_fail_field(why, err, "edge", "cannot look up edge %s: %s", edge, pl_err_word(err));
}

static enum pl_err key_refused(const struct block_header *header, enum pl_err err,
                               struct pl_why *why)
{
    char id[2 * BLOCK_KEY_ID_BYTES + 1];
    pl_hex_encode(pl_span(header->seal_key_id, BLOCK_KEY_ID_BYTES), id);
    if (err == PL_ENOTFOUND)
        return pl_fail_field(why, err, "seal_key_id",
                             "block %" PRIu64 " is sealed to key %s, which this origin does not "
                             "hold; was it restored without its newest keys?",
                             header->number, id);
    if (err == PL_EEXPIRED)
        return pl_fail_field(why, err, "seal_key_id",
                             "block %" PRIu64 " is sealed to key %s, which has been destroyed",
                             header->number, id);
    return pl_fail_field(why, err, "seal_key_id", "cannot look up seal key %s: %s", id,
                         pl_err_word(err));
}

static enum pl_err seal_refused(const struct block_header *header, enum pl_err err,
                                struct pl_why *why)
{
    char edge[PL_ID128_TEXT];
    pl_id128_format(&header->edge, edge);
    if (err == PL_EAUTH)
        return pl_fail(why, err,
                       "block %" PRIu64 " was not sealed by edge %s for this origin, or has been "
                       "altered since",
                       header->number, edge);
    return pl_fail(why, err, "cannot open block %" PRIu64 " of edge %s: %s", header->number, edge,
                   pl_err_word(err));
}

static struct epoch *find_epoch(struct block_opener *opener, const struct block_header *header)
{
    for (size_t i = 0; i < EPOCHS; i++) {
        struct epoch *e = &opener->epochs[i];
        if (e->context != NULL && memcmp(e->enc, header->enc, sizeof(e->enc)) == 0 &&
            pl_id128_eq(&e->edge, &header->edge) &&
            memcmp(e->seal_key_id, header->seal_key_id, sizeof(e->seal_key_id)) == 0)
            return e;
    }
    return NULL;
}

static enum pl_err begin_epoch(const struct block_opener *opener, const struct block_header *header,
                               const uint8_t edge_public[PL_X25519_BYTES], struct epoch *out,
                               struct pl_why *why)
{
    uint8_t secret[PL_X25519_BYTES], info[BLOCK_INFO_BYTES];
    enum pl_err err = opener->keys.seal_secret(opener->keys.ctx, header->seal_key_id, secret);
    if (err != PL_OK)
        return key_refused(header, err, why);
    struct epoch epoch = {.edge = header->edge};
    block_info(&header->edge, header->seal_key_id, info);
    err = hpke_setup_auth_receiver(&epoch.context, HPKE_AES_256_GCM, header->enc, secret,
                                   edge_public, pl_span(info, sizeof(info)));
    pl_wipe(secret, sizeof(secret));
    if (err != PL_OK)
        return seal_refused(header, err, why);
    memcpy(epoch.edge_public, edge_public, sizeof(epoch.edge_public));
    memcpy(epoch.seal_key_id, header->seal_key_id, sizeof(epoch.seal_key_id));
    memcpy(epoch.enc, header->enc, sizeof(epoch.enc));
    *out = epoch;
    return PL_OK;
}

static void keep_epoch(struct block_opener *opener, const struct epoch *epoch)
{
    struct epoch *oldest = &opener->epochs[0]; /* a free one was used at turn 0 */
    for (size_t i = 1; i < EPOCHS; i++)
        if (opener->epochs[i].used < oldest->used)
            oldest = &opener->epochs[i];
    forget(oldest);
    *oldest = *epoch;
}

/* Into opener->compressed. Only an epoch that has opened a block is kept, so that blocks which do
 * not open cannot push out those that do. */
static enum pl_err unseal(struct block_opener *opener, const struct block_header *header,
                          struct pl_span aad, struct pl_span body, struct pl_why *why)
{
    uint8_t edge_public[PL_X25519_BYTES];
    enum pl_err err = opener->keys.edge_public(opener->keys.ctx, &header->edge, edge_public);
    if (err != PL_OK)
        return edge_refused(header, err, why);
    pl_buf_reset(&opener->compressed);
    if ((err = pl_buf_reserve(&opener->compressed, body.len)) != PL_OK)
        return seal_refused(header, err, why);

    struct epoch fresh = {0};
    struct epoch *epoch = find_epoch(opener, header);
    if (epoch != NULL && memcmp(epoch->edge_public, edge_public, sizeof(edge_public)) != 0) {
        forget(epoch); /* the edge was enrolled again */
        epoch = NULL;
    }
    if (epoch == NULL) {
        if ((err = begin_epoch(opener, header, edge_public, &fresh, why)) != PL_OK)
            return err;
        epoch = &fresh;
    }
    err = hpke_open(epoch->context, header->sequence, aad, body, opener->compressed.data);
    if (err != PL_OK) {
        forget(&fresh);
        return seal_refused(header, err, why);
    }
    opener->compressed.len = body.len - PL_AEAD_TAG_BYTES;
    epoch->used = ++opener->turn;
    if (epoch == &fresh)
        keep_epoch(opener, &fresh);
    return PL_OK;
}

enum pl_err block_open(struct block_opener *opener, const struct block_header *header,
                       struct pl_span block, struct pl_buf *out, struct pl_why *why)
{
    struct block_header own;
    struct pl_span body;
    uint8_t given[BLOCK_HEADER_BYTES];
    enum pl_err err = block_parse(block, &own, &body, why);
    if (err != PL_OK)
        return err;
    /* What is authenticated are the block's bytes: the caller acts on its header, so it must be
     * the same one. */
    block_header_encode(header, given);
    if (memcmp(given, block.data, sizeof(given)) != 0)
        return pl_fail(why, PL_EINVAL, "block %" PRIu64 " was given with the header of another",
                       own.number);
    if ((err = unseal(opener, &own, pl_span(block.data, BLOCK_HEADER_BYTES), body, why)) != PL_OK)
        return err;

    const size_t start = out->len;
    err = pl_zstd_decompress(opener->zstd, NULL, pl_buf_span(&opener->compressed), own.plain_bytes,
                             out);
    if (err == PL_ENOMEM || (err == PL_ELIMIT && own.plain_bytes > out->max_bytes - start))
        return pl_fail(why, err, "no room for the %" PRIu32 " bytes of block %" PRIu64 "'s events",
                       own.plain_bytes, own.number);
    if (err != PL_OK || out->len - start != own.plain_bytes) {
        out->len = start;
        return pl_fail_field(why, PL_ECORRUPT, "plain_bytes",
                             "the body of block %" PRIu64 " does not unpack to the %" PRIu32
                             " bytes its header says",
                             own.number, own.plain_bytes);
    }
    return PL_OK;
}
