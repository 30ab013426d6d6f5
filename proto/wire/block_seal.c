#include "proto/base/compress.h"
#include "proto/base/secret.h"
#include "proto/wire/block_codec.h"
#include "proto/wire/limits.h"

#define EPOCH_MS    (10 * PL_MINUTE_MS)
#define EPOCH_SEALS (UINT64_C(1) << 20)
#define ZSTD_LEVEL  1

/* In locked memory as a whole: it holds the edge's secret. */
struct block_sealer {
    struct pl_id128 edge;
    uint8_t edge_secret[PL_X25519_BYTES];
    uint8_t origin_public[PL_X25519_BYTES];
    uint8_t seal_key_id[BLOCK_KEY_ID_BYTES];
    int64_t epoch_ms;
    uint64_t epoch_seals;
    const struct pl_random *random;
    const struct pl_clock *clock;
    struct pl_zstd *zstd;

    struct hpke_context *epoch; /* NULL: the next seal begins one */
    int64_t epoch_began_ms;     /* monotonic */
    uint8_t enc[HPKE_ENC_BYTES];
};

enum pl_err block_sealer_new(struct block_sealer **out, const struct block_sealer_config *config)
{
    void *p = NULL;
    enum pl_err err = pl_secret_new(&p, sizeof(struct block_sealer));
    if (err != PL_OK)
        return err;
    struct block_sealer *sealer = p;
    err = pl_zstd_new(&sealer->zstd, ZSTD_LEVEL);
    if (err != PL_OK) {
        pl_secret_free(sealer, sizeof(*sealer));
        return err;
    }
    sealer->edge = config->edge;
    memcpy(sealer->edge_secret, config->edge_secret, PL_X25519_BYTES);
    memcpy(sealer->origin_public, config->origin_public, PL_X25519_BYTES);
    block_key_id(sealer->origin_public, sealer->seal_key_id);
    sealer->epoch_ms = config->epoch_ms > 0 ? config->epoch_ms : EPOCH_MS;
    sealer->epoch_seals = config->epoch_seals > 0 ? config->epoch_seals : EPOCH_SEALS;
    sealer->random = config->random;
    sealer->clock = config->clock;
    *out = sealer;
    return PL_OK;
}

static void end_epoch(struct block_sealer *sealer)
{
    hpke_free(sealer->epoch);
    sealer->epoch = NULL;
}

void block_sealer_free(struct block_sealer *sealer)
{
    if (sealer == NULL)
        return;
    end_epoch(sealer);
    pl_zstd_free(sealer->zstd);
    pl_secret_free(sealer, sizeof(*sealer));
}

enum pl_err block_sealer_set_origin(struct block_sealer *sealer,
                                    const uint8_t origin_public[PL_X25519_BYTES])
{
    if (memcmp(sealer->origin_public, origin_public, PL_X25519_BYTES) == 0)
        return PL_OK;
    memcpy(sealer->origin_public, origin_public, PL_X25519_BYTES);
    block_key_id(sealer->origin_public, sealer->seal_key_id);
    end_epoch(sealer);
    return PL_OK;
}

void block_sealer_tick(struct block_sealer *sealer)
{
    if (sealer->epoch != NULL &&
        (pl_mono_ms(sealer->clock) - sealer->epoch_began_ms >= sealer->epoch_ms ||
         hpke_sequence(sealer->epoch) >= sealer->epoch_seals))
        end_epoch(sealer);
}

static enum pl_err epoch_ready(struct block_sealer *sealer)
{
    block_sealer_tick(sealer);
    if (sealer->epoch != NULL)
        return PL_OK;
    uint8_t info[BLOCK_INFO_BYTES];
    block_info(&sealer->edge, sealer->seal_key_id, info);
    sealer->epoch_began_ms = pl_mono_ms(sealer->clock);
    return hpke_setup_auth_sender(&sealer->epoch, HPKE_AES_256_GCM, sealer->random,
                                  sealer->origin_public, sealer->edge_secret,
                                  pl_span(info, sizeof(info)), sealer->enc);
}

/* Fills what the sealer knows. The header is authenticated with the body, so everything in it is
 * settled before the seal: its length is the compressed one and a tag. */
static void complete(const struct block_sealer *sealer, size_t plain_bytes, size_t compressed_bytes,
                     struct block_header *header)
{
    header->edge = sealer->edge;
    header->plain_bytes = (uint32_t)plain_bytes;
    header->sealed_ms = pl_wall_ms(sealer->clock);
    memcpy(header->seal_key_id, sealer->seal_key_id, sizeof(header->seal_key_id));
    memcpy(header->enc, sealer->enc, sizeof(header->enc));
    header->sequence = hpke_sequence(sealer->epoch);
    header->sealed_bytes = (uint32_t)(compressed_bytes + PL_AEAD_TAG_BYTES);
}

/* Header, compressed events, tag: laid out in `out` once and sealed where they lie. */
static enum pl_err append_block(struct block_sealer *sealer, struct block_header *header,
                                struct pl_span plain, struct pl_buf *out)
{
    const size_t start = out->len;
    enum pl_err err = pl_buf_reserve(out, BLOCK_HEADER_BYTES);
    if (err != PL_OK)
        return err;
    out->len += BLOCK_HEADER_BYTES;
    const size_t body = out->len;
    if ((err = pl_zstd_compress(sealer->zstd, NULL, plain, out)) != PL_OK)
        return err;
    const size_t compressed_bytes = out->len - body;
    if (compressed_bytes > LIMIT_BLOCK_BYTES - BLOCK_HEADER_BYTES - PL_AEAD_TAG_BYTES)
        return PL_ELIMIT;
    if ((err = pl_buf_reserve(out, PL_AEAD_TAG_BYTES)) != PL_OK)
        return err;
    complete(sealer, plain.len, compressed_bytes, header);
    if ((err = block_header_check(header, NULL)) != PL_OK)
        return err == PL_ECORRUPT ? PL_EINVAL : err;
    block_header_encode(header, out->data + start);
    out->len += PL_AEAD_TAG_BYTES;
    return hpke_seal(sealer->epoch, pl_span(out->data + start, BLOCK_HEADER_BYTES),
                     pl_span(out->data + body, compressed_bytes), out->data + body,
                     &header->sequence);
}

enum pl_err block_seal(struct block_sealer *sealer, struct block_header *header,
                       struct pl_span plain, struct pl_buf *out, uint8_t hash[BLOCK_HASH_BYTES])
{
    if (plain.len > LIMIT_BLOCK_PLAIN_BYTES)
        return PL_ELIMIT;
    enum pl_err err = epoch_ready(sealer);
    if (err != PL_OK)
        return err;
    const size_t start = out->len;
    struct block_header full = *header;
    err = append_block(sealer, &full, plain, out);
    if (err != PL_OK) {
        out->len = start;
        return err;
    }
    block_hash(pl_span(out->data + start, out->len - start), hash);
    *header = full;
    return PL_OK;
}
