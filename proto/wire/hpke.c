#include "proto/wire/hpke.h"

#include "proto/base/secret.h"

#define KEM_X25519_HKDF_SHA256 0x0020
#define KDF_HKDF_SHA256        0x0001
#define MODE_AUTH              0x02

/* Longest info of a labeled expand: kem_context (96; key_schedule_context has 65). */
#define EXPAND_INFO_MAX (2 + 7 + 10 + 16 + 96)

struct suite {
    uint8_t bytes[10];
    size_t len;
};

struct hpke_context {
    struct pl_aead *aead;
    uint64_t sequence;
    bool sender;
    uint8_t base_nonce[PL_AEAD_NONCE_BYTES];
};

/* Everything a set-up derives on its way; lives in locked memory until the context stands. */
struct setup {
    uint8_t ephemeral_secret[PL_X25519_BYTES];
    uint8_t dh[2 * PL_X25519_BYTES];
    uint8_t kem_context[3 * PL_X25519_BYTES]; /* enc, recipient, sender */
    uint8_t prk[PL_SHA256_BYTES];
    uint8_t shared_secret[PL_SHA256_BYTES];
    uint8_t schedule[1 + 2 * PL_SHA256_BYTES];
    uint8_t key[PL_AEAD_KEY_BYTES];
};

static struct suite kem_suite(void)
{
    struct suite s = {.bytes = "KEM", .len = 5};
    pl_store_u16(s.bytes + 3, KEM_X25519_HKDF_SHA256);
    return s;
}

static struct suite hpke_suite(enum hpke_aead aead)
{
    struct suite s = {.bytes = "HPKE", .len = 10};
    pl_store_u16(s.bytes + 4, KEM_X25519_HKDF_SHA256);
    pl_store_u16(s.bytes + 6, KDF_HKDF_SHA256);
    pl_store_u16(s.bytes + 8, (uint16_t)aead);
    return s;
}

/* HKDF-Extract is one HMAC keyed with the salt (RFC 5869 section 2.2): parts spare a copy. */
static enum pl_err labeled_extract(const struct suite *suite, struct pl_span salt,
                                   const char *label, struct pl_span ikm,
                                   uint8_t prk[PL_SHA256_BYTES])
{
    const struct pl_span parts[] = {PL_SPAN_LIT("HPKE-v1"), pl_span(suite->bytes, suite->len),
                                    pl_span_str(label), ikm};
    return pl_hmac_sha256(salt, parts, sizeof(parts) / sizeof(parts[0]), prk);
}

static enum pl_err labeled_expand(const struct suite *suite, const uint8_t prk[PL_SHA256_BYTES],
                                  const char *label, struct pl_span info, uint8_t *out,
                                  size_t out_len)
{
    uint8_t labeled[EXPAND_INFO_MAX];
    const struct pl_span parts[] = {PL_SPAN_LIT("HPKE-v1"), pl_span(suite->bytes, suite->len),
                                    pl_span_str(label), info};
    size_t len = 2;
    pl_store_u16(labeled, (uint16_t)out_len);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len > sizeof(labeled) - len)
            return PL_ELIMIT;
        if (parts[i].len > 0)
            memcpy(labeled + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    return pl_hkdf_expand(pl_span(prk, PL_SHA256_BYTES), pl_span(labeled, len), out, out_len);
}

/* RFC 9180 section 4.1, ExtractAndExpand: from dh and kem_context to shared_secret. */
static enum pl_err kem_derive(struct setup *s)
{
    struct suite suite = kem_suite();
    enum pl_err err =
        labeled_extract(&suite, PL_SPAN_LIT(""), "eae_prk", pl_span(s->dh, sizeof(s->dh)), s->prk);
    if (err == PL_OK)
        err = labeled_expand(&suite, s->prk, "shared_secret",
                             pl_span(s->kem_context, sizeof(s->kem_context)), s->shared_secret,
                             sizeof(s->shared_secret));
    return err;
}

/* RFC 9180 section 5.1, KeySchedule without a PSK: from shared_secret to a context. */
static enum pl_err key_schedule(struct setup *s, enum hpke_aead aead, struct pl_span info,
                                struct hpke_context *context)
{
    const struct pl_span none = PL_SPAN_LIT("");
    const struct pl_span schedule = pl_span(s->schedule, sizeof(s->schedule));
    const struct suite suite = hpke_suite(aead);
    size_t key_bytes = aead == HPKE_AES_128_GCM ? 16 : 32;
    enum pl_err err;

    s->schedule[0] = MODE_AUTH;
    if ((err = labeled_extract(&suite, none, "psk_id_hash", none, s->schedule + 1)) ||
        (err =
             labeled_extract(&suite, none, "info_hash", info, s->schedule + 1 + PL_SHA256_BYTES)) ||
        (err = labeled_extract(&suite, pl_span(s->shared_secret, PL_SHA256_BYTES), "secret", none,
                               s->prk)) ||
        (err = labeled_expand(&suite, s->prk, "key", schedule, s->key, key_bytes)) ||
        (err = labeled_expand(&suite, s->prk, "base_nonce", schedule, context->base_nonce,
                              sizeof(context->base_nonce))))
        return err;
    return pl_aead_new(&context->aead, s->key, key_bytes);
}

static enum pl_err setup_begin(struct setup **s, struct hpke_context **context, enum hpke_aead aead)
{
    void *p = NULL;
    if (aead != HPKE_AES_128_GCM && aead != HPKE_AES_256_GCM)
        return PL_EUNSUPPORTED;
    enum pl_err err = pl_secret_new(&p, sizeof(**s));
    if (err != PL_OK)
        return err;
    *s = p;
    err = pl_secret_new(&p, sizeof(**context));
    if (err != PL_OK) {
        pl_secret_free(*s, sizeof(**s));
        return err;
    }
    *context = p;
    return PL_OK;
}

/* dh and kem_context are filled; hands over the context or frees it. */
static enum pl_err setup_end(enum pl_err err, struct setup *s, struct hpke_context *context,
                             enum hpke_aead aead, struct pl_span info, struct hpke_context **out)
{
    if (err == PL_OK)
        err = kem_derive(s);
    if (err == PL_OK)
        err = key_schedule(s, aead, info, context);
    pl_secret_free(s, sizeof(*s));
    if (err == PL_OK)
        *out = context;
    else
        hpke_free(context);
    return err;
}

enum pl_err hpke_setup_auth_sender(struct hpke_context **out, enum hpke_aead aead,
                                   const struct pl_random *random,
                                   const uint8_t recipient_public[PL_X25519_BYTES],
                                   const uint8_t sender_secret[PL_X25519_BYTES],
                                   struct pl_span info, uint8_t enc[HPKE_ENC_BYTES])
{
    struct setup *s;
    struct hpke_context *context;
    uint8_t ephemeral_public[PL_X25519_BYTES];
    enum pl_err err = setup_begin(&s, &context, aead);
    if (err != PL_OK)
        return err;
    context->sender = true;
    if ((err = pl_x25519_keypair(random, s->ephemeral_secret, ephemeral_public)) == PL_OK &&
        (err = pl_x25519(s->ephemeral_secret, recipient_public, s->dh)) == PL_OK &&
        (err = pl_x25519(sender_secret, recipient_public, s->dh + PL_X25519_BYTES)) == PL_OK &&
        (err = pl_x25519_public(sender_secret, s->kem_context + 2 * PL_X25519_BYTES)) == PL_OK) {
        memcpy(s->kem_context, ephemeral_public, PL_X25519_BYTES);
        memcpy(s->kem_context + PL_X25519_BYTES, recipient_public, PL_X25519_BYTES);
    }
    err = setup_end(err, s, context, aead, info, out);
    if (err == PL_OK)
        memcpy(enc, ephemeral_public, HPKE_ENC_BYTES);
    return err;
}

enum pl_err hpke_setup_auth_receiver(struct hpke_context **out, enum hpke_aead aead,
                                     const uint8_t enc[HPKE_ENC_BYTES],
                                     const uint8_t recipient_secret[PL_X25519_BYTES],
                                     const uint8_t sender_public[PL_X25519_BYTES],
                                     struct pl_span info)
{
    struct setup *s;
    struct hpke_context *context;
    enum pl_err err = setup_begin(&s, &context, aead);
    if (err != PL_OK)
        return err;
    if ((err = pl_x25519(recipient_secret, enc, s->dh)) == PL_OK &&
        (err = pl_x25519(recipient_secret, sender_public, s->dh + PL_X25519_BYTES)) == PL_OK &&
        (err = pl_x25519_public(recipient_secret, s->kem_context + PL_X25519_BYTES)) == PL_OK) {
        memcpy(s->kem_context, enc, HPKE_ENC_BYTES);
        memcpy(s->kem_context + 2 * PL_X25519_BYTES, sender_public, PL_X25519_BYTES);
    }
    return setup_end(err, s, context, aead, info, out);
}

void hpke_free(struct hpke_context *context)
{
    if (context == NULL)
        return;
    pl_aead_free(context->aead);
    pl_secret_free(context, sizeof(*context));
}

uint64_t hpke_sequence(const struct hpke_context *context)
{
    return context->sequence;
}

/* RFC 9180 section 5.2, ComputeNonce. */
static void nonce_of(const struct hpke_context *context, uint64_t sequence,
                     uint8_t nonce[PL_AEAD_NONCE_BYTES])
{
    uint8_t number[8];
    pl_store_u64(number, sequence);
    memcpy(nonce, context->base_nonce, PL_AEAD_NONCE_BYTES);
    for (size_t i = 0; i < sizeof(number); i++)
        nonce[PL_AEAD_NONCE_BYTES - sizeof(number) + i] ^= number[i];
}

enum pl_err hpke_seal(struct hpke_context *context, struct pl_span aad, struct pl_span plain,
                      uint8_t *out, uint64_t *sequence)
{
    uint8_t nonce[PL_AEAD_NONCE_BYTES];
    if (!context->sender)
        return PL_EDENIED;
    if (context->sequence == UINT64_MAX)
        return PL_ELIMIT;
    uint64_t number = context->sequence++; /* spent, whatever happens below */
    nonce_of(context, number, nonce);
    enum pl_err err = pl_aead_seal(context->aead, nonce, aad, plain, out);
    if (err == PL_OK)
        *sequence = number;
    return err;
}

enum pl_err hpke_open(struct hpke_context *context, uint64_t sequence, struct pl_span aad,
                      struct pl_span sealed, uint8_t *out)
{
    uint8_t nonce[PL_AEAD_NONCE_BYTES];
    nonce_of(context, sequence, nonce);
    return pl_aead_open(context->aead, nonce, aad, sealed, out);
}
