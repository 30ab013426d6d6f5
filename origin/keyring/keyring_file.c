#include "origin/keyring/keyring_file.h"

#include "proto/base/secret.h"
#include "proto/base/text.h"

/* length(4) | kind(1) subject(1) id(8) wall_ms(8) | rest | chain(32); length counts what follows
 * it. */
#define HEAD_BYTES       18u
#define WRAP_REST        (8u + PL_X25519_BYTES + PL_SHA256_BYTES + KEYRING_WRAP_BYTES)
#define DESTROY_REST_MIN (8u + 1u + 1u)
#define DESTROY_REST_MAX (DESTROY_REST_MIN + KEYRING_REASON_BYTES - 1 + PL_SIGNATURE_MAX_BYTES)
#define RECORD_MAX       (4u + HEAD_BYTES + DESTROY_REST_MAX + PL_SHA256_BYTES)

_Static_assert(WRAP_REST <= DESTROY_REST_MAX, "RECORD_MAX must hold every kind");

void keyring_header(const uint8_t id[16], uint8_t out[KEYRING_HEADER_BYTES])
{
    memset(out, 0, KEYRING_HEADER_BYTES);
    memcpy(out, KEYRING_MAGIC, 8);
    pl_store_u32(out + 8, KEYRING_VERSION);
    memcpy(out + 16, id, 16);
}

enum pl_err keyring_walk_begin(struct keyring_walk *walk, struct pl_span file)
{
    *walk = (struct keyring_walk){.file = file};
    if (file.len < KEYRING_HEADER_BYTES)
        return PL_EAGAIN;
    uint8_t expect[KEYRING_HEADER_BYTES];
    keyring_header(file.data + 16, expect);
    if (memcmp(file.data, KEYRING_MAGIC, 8) != 0)
        return PL_ECORRUPT;
    if (pl_load_u32(file.data + 8) > KEYRING_VERSION)
        return PL_EUNSUPPORTED;
    if (memcmp(file.data, expect, KEYRING_HEADER_BYTES) != 0)
        return PL_ECORRUPT;
    pl_sha256_one(pl_span(file.data, KEYRING_HEADER_BYTES), walk->chain_hash);
    walk->offset = KEYRING_HEADER_BYTES;
    return PL_OK;
}

/* record: from its length field to just before the chain hash; wraps end a record's rest. */
static void chain(const uint8_t previous[PL_SHA256_BYTES], struct pl_span record, bool wrap,
                  uint8_t out[PL_SHA256_BYTES])
{
    struct pl_span covered = record;
    if (wrap)
        covered.len -= KEYRING_WRAP_BYTES;
    pl_sha256((struct pl_span[]){pl_span(previous, PL_SHA256_BYTES), covered}, 2, out);
}

static enum pl_err decode_wrap(struct pl_reader *r, struct keyring_record *record)
{
    if (r->rest.len != WRAP_REST)
        return PL_ECORRUPT;
    pl_get_bytes(r, record->kek_id, 8);
    pl_get_bytes(r, record->public_key, PL_X25519_BYTES);
    pl_get_bytes(r, record->wrap_hash, PL_SHA256_BYTES);
    record->wrap_offset = record->end_offset - PL_SHA256_BYTES - KEYRING_WRAP_BYTES;
    return PL_OK;
}

static enum pl_err decode_destroy(struct pl_reader *r, struct keyring_record *record)
{
    struct keyring_destruction *d = &record->destruction;
    memset(d, 0, sizeof(*d));
    d->wall_ms = record->wall_ms;
    pl_get_bytes(r, d->signer_id, 8);
    size_t reason = pl_get_u8(r);
    if (reason >= sizeof(d->reason))
        return PL_ECORRUPT;
    pl_get_bytes(r, d->reason, reason);
    d->signature_len = pl_get_u8(r);
    if (d->signature_len > sizeof(d->signature))
        return PL_ECORRUPT;
    pl_get_bytes(r, d->signature, d->signature_len);
    memcpy(d->previous_hash, record->previous_hash, PL_SHA256_BYTES);
    memcpy(d->chain_hash, record->chain_hash, PL_SHA256_BYTES);
    return r->failed || r->rest.len != 0 ? PL_ECORRUPT : PL_OK;
}

static enum pl_err decode(struct pl_span body, struct keyring_record *record)
{
    struct pl_reader r = pl_reader(body);
    unsigned kind = pl_get_u8(&r), subject = pl_get_u8(&r);
    pl_get_bytes(&r, record->id, 8);
    record->wall_ms = (int64_t)pl_get_u64(&r);
    record->kind = (enum keyring_kind)kind;
    record->subject = (enum keyring_subject)subject;
    if (subject != KEYRING_DATA_KEY && subject != KEYRING_SEAL_KEY)
        return PL_ECORRUPT;
    return kind == KEYRING_DESTROY ? decode_destroy(&r, record) : decode_wrap(&r, record);
}

enum pl_err keyring_walk_next(struct keyring_walk *walk, struct keyring_record *record)
{
    struct pl_span rest = pl_span_from(walk->file, walk->offset);
    if (rest.len == 0)
        return PL_ENOTFOUND;
    if (rest.len < 4)
        return PL_EAGAIN;
    size_t length = pl_load_u32(rest.data);
    if (length < HEAD_BYTES + DESTROY_REST_MIN + PL_SHA256_BYTES || length > RECORD_MAX - 4)
        return PL_ECORRUPT;
    if (length > rest.len - 4)
        return PL_EAGAIN;

    struct pl_span covered = pl_span(rest.data, 4 + length - PL_SHA256_BYTES);
    unsigned kind = rest.data[4];
    memset(record, 0, sizeof(*record));
    record->end_offset = walk->offset + 4 + length;
    memcpy(record->previous_hash, walk->chain_hash, PL_SHA256_BYTES);
    bool wrap = kind == KEYRING_NEW || kind == KEYRING_REWRAP;
    if (wrap && length != HEAD_BYTES + WRAP_REST + PL_SHA256_BYTES)
        return PL_ECORRUPT;
    chain(walk->chain_hash, covered, wrap, record->chain_hash);
    if (memcmp(record->chain_hash, rest.data + 4 + length - PL_SHA256_BYTES, PL_SHA256_BYTES) != 0)
        return PL_ECORRUPT;
    if (!wrap && kind != KEYRING_DESTROY)
        return PL_EUNSUPPORTED;
    enum pl_err err = decode(pl_span_from(covered, 4), record);
    if (err != PL_OK)
        return err;
    memcpy(walk->chain_hash, record->chain_hash, PL_SHA256_BYTES);
    walk->offset = record->end_offset;
    return PL_OK;
}

bool keyring_walk_at_last(const struct keyring_walk *walk)
{
    struct pl_span rest = pl_span_from(walk->file, walk->offset);
    return rest.len < 4 || 4 + (size_t)pl_load_u32(rest.data) >= rest.len;
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *put_head(uint8_t *p, const struct keyring_record *record)
{
    *p++ = (uint8_t)record->kind;
    *p++ = (uint8_t)record->subject;
    p = put(p, record->id, 8);
    pl_store_u64(p, (uint64_t)record->wall_ms);
    return p + 8;
}

/* bytes hold room for the length in front; p is where the record's rest ends. */
static enum pl_err append(struct pl_buf *file, uint8_t chain_hash[PL_SHA256_BYTES], uint8_t *bytes,
                          uint8_t *p, struct keyring_record *record)
{
    size_t covered = (size_t)(p - bytes);
    pl_store_u32(bytes, (uint32_t)(covered - 4 + PL_SHA256_BYTES));
    memcpy(record->previous_hash, chain_hash, PL_SHA256_BYTES);
    chain(chain_hash, pl_span(bytes, covered), record->kind != KEYRING_DESTROY, record->chain_hash);
    p = put(p, record->chain_hash, PL_SHA256_BYTES);
    enum pl_err err = pl_buf_append(file, bytes, (size_t)(p - bytes));
    if (err != PL_OK)
        return err;
    memcpy(chain_hash, record->chain_hash, PL_SHA256_BYTES);
    record->end_offset = file->len;
    if (record->kind != KEYRING_DESTROY)
        record->wrap_offset = file->len - PL_SHA256_BYTES - KEYRING_WRAP_BYTES;
    return PL_OK;
}

enum pl_err keyring_append_wrap(struct pl_buf *file, uint8_t chain_hash[PL_SHA256_BYTES],
                                struct keyring_record *record,
                                const uint8_t wrap[KEYRING_WRAP_BYTES])
{
    uint8_t bytes[RECORD_MAX];
    pl_sha256_one(pl_span(wrap, KEYRING_WRAP_BYTES), record->wrap_hash);
    uint8_t *p = put_head(bytes + 4, record);
    p = put(p, record->kek_id, 8);
    p = put(p, record->public_key, PL_X25519_BYTES);
    p = put(p, record->wrap_hash, PL_SHA256_BYTES);
    p = put(p, wrap, KEYRING_WRAP_BYTES);
    enum pl_err err = append(file, chain_hash, bytes, p, record);
    pl_wipe(bytes, sizeof(bytes));
    return err;
}

void keyring_destroy_message(const struct keyring_record *record, struct pl_buf *out)
{
    /* Fixed sizes in front, the reason last: no two records share a message. */
    static const char label[] = "polder keyring destroy v1";
    uint8_t head[HEAD_BYTES];
    put_head(head, record);
    pl_buf_reset(out);
    if (pl_buf_append(out, label, sizeof(label)) != PL_OK ||
        pl_buf_append(out, record->previous_hash, PL_SHA256_BYTES) != PL_OK ||
        pl_buf_append(out, head, sizeof(head)) != PL_OK ||
        pl_buf_append(out, record->destruction.signer_id, 8) != PL_OK ||
        pl_buf_append_str(out, record->destruction.reason) != PL_OK)
        pl_buf_reset(out); /* out of memory: an empty message verifies nothing */
}

enum pl_err keyring_append_destroy(struct pl_buf *file, uint8_t chain_hash[PL_SHA256_BYTES],
                                   struct keyring_record *record, struct pl_signer *signer)
{
    uint8_t bytes[RECORD_MAX];
    struct keyring_destruction *d = &record->destruction;
    struct pl_buf message;
    pl_buf_init(&message, 1024);
    record->kind = KEYRING_DESTROY;
    record->wall_ms = d->wall_ms;
    memcpy(record->previous_hash, chain_hash, PL_SHA256_BYTES);
    keyring_destroy_message(record, &message);
    d->signature_len = sizeof(d->signature);
    enum pl_err err = message.len == 0
                          ? PL_ENOMEM
                          : pl_sign(signer, pl_buf_span(&message), d->signature, &d->signature_len);
    pl_buf_release(&message);
    if (err != PL_OK)
        return err;
    size_t reason = strlen(d->reason);
    uint8_t *p = put_head(bytes + 4, record);
    p = put(p, d->signer_id, 8);
    *p++ = (uint8_t)reason;
    p = put(p, d->reason, reason);
    *p++ = (uint8_t)d->signature_len;
    p = put(p, d->signature, d->signature_len);
    err = append(file, chain_hash, bytes, p, record);
    memcpy(d->previous_hash, record->previous_hash, PL_SHA256_BYTES);
    memcpy(d->chain_hash, record->chain_hash, PL_SHA256_BYTES);
    return err;
}
