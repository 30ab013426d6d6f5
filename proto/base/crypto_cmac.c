/* AES-CMAC, and AES-SIV, which is made of it. A chain of single blocks is mbedTLS's, which takes
 * 17 ns for one without setting anything up; the counter mode is libcrypto's. */
#include "proto/base/crypto.h"
#include "proto/base/mbed.h"
#include "proto/base/secret.h"

#include <limits.h>
#include <mbedtls/aes.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define AES_BLOCK 16

/* ---- CMAC: mbedtls_cipher_cmac derives the subkeys again for every message, a third of the work
 * for inputs as short as ids; here they are derived once. */

struct pl_cmac {
    mbedtls_aes_context aes;
    uint8_t k1[AES_BLOCK], k2[AES_BLOCK];
};

/* Times x in GF(2^128), NIST SP 800-38B section 6.1, without a branch on the secret. */
static void double_block(const uint8_t in[AES_BLOCK], uint8_t out[AES_BLOCK])
{
    uint64_t high = pl_load_u64(in), low = pl_load_u64(in + 8);
    uint64_t carry = high >> 63;
    pl_store_u64(out, high << 1 | low >> 63);
    pl_store_u64(out + 8, low << 1 ^ (0x87 & (0 - carry)));
}

static void xor_block(uint8_t state[AES_BLOCK], const uint8_t *with)
{
    uint64_t a[2], b[2];
    memcpy(a, state, sizeof(a));
    memcpy(b, with, sizeof(b));
    a[0] ^= b[0];
    a[1] ^= b[1];
    memcpy(state, a, sizeof(a));
}

static int encrypt_block(mbedtls_aes_context *aes, const uint8_t in[AES_BLOCK],
                         uint8_t out[AES_BLOCK])
{
    return mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, in, out);
}

static int cmac_init(struct pl_cmac *cmac, const uint8_t *key, size_t key_bytes)
{
    uint8_t l[AES_BLOCK] = {0};
    mbedtls_aes_init(&cmac->aes);
    int rc = mbedtls_aes_setkey_enc(&cmac->aes, key, (unsigned)(8 * key_bytes));
    if (rc == 0)
        rc = encrypt_block(&cmac->aes, l, l);
    double_block(l, cmac->k1);
    double_block(cmac->k1, cmac->k2);
    pl_wipe(l, sizeof(l));
    return rc;
}

/* Over all whole blocks but the last one; *in is what is left of it, at most a block. */
static int cmac_begin(struct pl_cmac *cmac, uint8_t state[AES_BLOCK], struct pl_span *in)
{
    int rc = 0;
    for (; rc == 0 && in->len > AES_BLOCK; *in = pl_span_from(*in, AES_BLOCK)) {
        xor_block(state, in->data);
        rc = encrypt_block(&cmac->aes, state, state);
    }
    return rc;
}

static int cmac_end(struct pl_cmac *cmac, uint8_t state[AES_BLOCK], struct pl_span in)
{
    uint8_t last[AES_BLOCK] = {0};
    if (in.len > 0)
        memcpy(last, in.data, in.len);
    if (in.len < AES_BLOCK)
        last[in.len] = 0x80;
    xor_block(last, in.len == AES_BLOCK ? cmac->k1 : cmac->k2);
    xor_block(state, last);
    return encrypt_block(&cmac->aes, state, state);
}

/* state: zeros; out: the code. */
static int cmac_whole(struct pl_cmac *cmac, struct pl_span in, uint8_t state[AES_BLOCK])
{
    int rc = cmac_begin(cmac, state, &in);
    return rc == 0 ? cmac_end(cmac, state, in) : rc;
}

enum pl_err pl_cmac_new(struct pl_cmac **out, const uint8_t key[32])
{
    struct pl_cmac *cmac = malloc(sizeof(*cmac));
    if (cmac == NULL)
        return PL_ENOMEM;
    int rc = cmac_init(cmac, key, 32);
    if (rc != 0) {
        pl_cmac_free(cmac);
        return pl_mbed_err(rc, PL_EINVAL);
    }
    *out = cmac;
    return PL_OK;
}

void pl_cmac_free(struct pl_cmac *cmac)
{
    if (cmac == NULL)
        return;
    mbedtls_aes_free(&cmac->aes);
    pl_wipe(cmac, sizeof(*cmac));
    free(cmac);
}

enum pl_err pl_cmac(struct pl_cmac *cmac, struct pl_span in, uint8_t out[PL_CMAC_BYTES])
{
    uint8_t state[AES_BLOCK] = {0};
    int rc = cmac_whole(cmac, in, state);
    if (rc == 0)
        memcpy(out, state, sizeof(state));
    return pl_mbed_err(rc, PL_EINVAL);
}

/* ---- SIV */

struct pl_siv {
    struct pl_cmac mac;
    EVP_CIPHER_CTX *ctr;
    uint8_t start[AES_BLOCK]; /* what S2V makes of no input, doubled */
};

enum pl_err pl_siv_new(struct pl_siv **out, const uint8_t *key, size_t key_bytes)
{
    if (key_bytes != 32 && key_bytes != PL_SIV_KEY_BYTES)
        return PL_EINVAL;
    struct pl_siv *siv = calloc(1, sizeof(*siv));
    if (siv == NULL)
        return PL_ENOMEM;
    uint8_t zero[AES_BLOCK] = {0}, state[AES_BLOCK] = {0};
    int rc = cmac_init(&siv->mac, key, key_bytes / 2);
    if (rc == 0)
        rc = cmac_whole(&siv->mac, pl_span(zero, sizeof(zero)), state);
    double_block(state, siv->start);
    siv->ctr = EVP_CIPHER_CTX_new();
    if (rc != 0 || siv->ctr == NULL ||
        EVP_CipherInit_ex(siv->ctr, key_bytes == 32 ? EVP_aes_128_ctr() : EVP_aes_256_ctr(), NULL,
                          key + key_bytes / 2, NULL, 1) != 1) {
        pl_siv_free(siv);
        return PL_ENOMEM; /* what else they could refuse is ruled out above */
    }
    *out = siv;
    return PL_OK;
}

void pl_siv_free(struct pl_siv *siv)
{
    if (siv == NULL)
        return;
    mbedtls_aes_free(&siv->mac.aes);
    EVP_CIPHER_CTX_free(siv->ctr); /* wipes the key schedule */
    pl_wipe(siv, sizeof(*siv));
    free(siv);
}

/* S2V (section 2.4) over aad and plain. */
static int s2v(struct pl_siv *siv, struct pl_span aad, struct pl_span plain, uint8_t v[AES_BLOCK])
{
    uint8_t d[AES_BLOCK] = {0}, tail[2 * AES_BLOCK] = {0};
    int rc = cmac_whole(&siv->mac, aad, d);
    if (rc != 0)
        return rc;
    xor_block(d, siv->start);
    memset(v, 0, AES_BLOCK);
    if (plain.len < AES_BLOCK) {
        double_block(d, d);
        if (plain.len > 0)
            memcpy(tail, plain.data, plain.len);
        tail[plain.len] = 0x80;
        xor_block(tail, d);
        return cmac_whole(&siv->mac, pl_span(tail, AES_BLOCK), v);
    }
    /* d goes into the last 16 bytes, wherever in the blocks they lie. */
    size_t ahead = (plain.len - AES_BLOCK) / AES_BLOCK * AES_BLOCK, rest = plain.len - ahead;
    struct pl_span first = pl_span(plain.data, ahead);
    memcpy(tail, plain.data + ahead, rest);
    xor_block(tail + rest - AES_BLOCK, d);
    rc = cmac_begin(&siv->mac, v, &first);
    if (rc == 0 && ahead > 0) {
        xor_block(v, first.data);
        rc = encrypt_block(&siv->mac.aes, v, v);
    }
    struct pl_span last = pl_span(tail, rest);
    if (rc == 0)
        rc = cmac_begin(&siv->mac, v, &last);
    if (rc == 0)
        rc = cmac_end(&siv->mac, v, last);
    pl_wipe(tail, sizeof(tail));
    return rc;
}

/* CTR (section 2.5), from v with two of its bits off. */
static bool count_through(struct pl_siv *siv, const uint8_t v[AES_BLOCK], struct pl_span in,
                          uint8_t *out)
{
    uint8_t counter[AES_BLOCK];
    int len;
    memcpy(counter, v, sizeof(counter));
    counter[8] &= 0x7f;
    counter[12] &= 0x7f;
    return EVP_CipherInit_ex(siv->ctr, NULL, NULL, NULL, counter, 1) == 1 &&
           (in.len == 0 || EVP_CipherUpdate(siv->ctr, out, &len, in.data, (int)in.len) == 1);
}

enum pl_err pl_siv_seal(struct pl_siv *siv, struct pl_span aad, struct pl_span plain, uint8_t *out)
{
    uint8_t v[AES_BLOCK];
    if (plain.len > INT_MAX)
        return PL_ELIMIT;
    if (s2v(siv, aad, plain, v) != 0 || !count_through(siv, v, plain, out + AES_BLOCK))
        return PL_EINVAL;
    memcpy(out, v, sizeof(v));
    return PL_OK;
}

enum pl_err pl_siv_open(struct pl_siv *siv, struct pl_span aad, struct pl_span sealed, uint8_t *out)
{
    uint8_t told[AES_BLOCK], v[AES_BLOCK];
    if (sealed.len < PL_SIV_BYTES)
        return PL_EAUTH;
    if (sealed.len > INT_MAX)
        return PL_ELIMIT;
    struct pl_span in = pl_span_from(sealed, PL_SIV_BYTES);
    memcpy(told, sealed.data, sizeof(told));
    bool counted = count_through(siv, told, in, out);
    if (counted && s2v(siv, aad, pl_span(out, in.len), v) == 0 && pl_equal_ct(v, told, sizeof(v)))
        return PL_OK;
    pl_wipe(out, in.len);
    return counted ? PL_EAUTH : PL_EINVAL;
}
