#include "proto/base/crypto.h"

#include "proto/base/mbed.h"
#include "proto/base/secret.h"

#include <mbedtls/aes.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <stdlib.h>

static const mbedtls_md_info_t *sha256_info(void)
{
    return mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
}

enum pl_err pl_hmac_sha256(struct pl_span key, const struct pl_span *parts, size_t count,
                           uint8_t out[PL_SHA256_BYTES])
{
    uint8_t mac[PL_SHA256_BYTES];
    mbedtls_md_context_t ctx;
    mbedtls_md_init(&ctx);
    int rc = mbedtls_md_setup(&ctx, sha256_info(), 1);
    if (rc == 0)
        rc = mbedtls_md_hmac_starts(&ctx, key.data, key.len);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mbedtls_md_hmac_update(&ctx, parts[i].data, parts[i].len);
    if (rc == 0)
        rc = mbedtls_md_hmac_finish(&ctx, mac);
    mbedtls_md_free(&ctx);
    if (rc == 0)
        memcpy(out, mac, sizeof(mac));
    pl_wipe(mac, sizeof(mac));
    return pl_mbed_err(rc, PL_EINVAL);
}

enum pl_err pl_hkdf_extract(struct pl_span salt, struct pl_span ikm, uint8_t prk[PL_SHA256_BYTES])
{
    uint8_t key[PL_SHA256_BYTES];
    /* Without a salt RFC 5869 section 2.2 has zeros; mbedTLS wants a NULL for that. */
    int rc = mbedtls_hkdf_extract(sha256_info(), salt.len == 0 ? NULL : salt.data, salt.len,
                                  ikm.data, ikm.len, key);
    if (rc == 0)
        memcpy(prk, key, sizeof(key));
    pl_wipe(key, sizeof(key));
    return pl_mbed_err(rc, PL_EINVAL);
}

enum pl_err pl_hkdf_expand(struct pl_span prk, struct pl_span info, uint8_t *out, size_t out_len)
{
    if (out_len > (size_t)255 * PL_SHA256_BYTES)
        return PL_ELIMIT;
    return pl_mbed_err(
        mbedtls_hkdf_expand(sha256_info(), prk.data, prk.len, info.data, info.len, out, out_len),
        PL_EINVAL);
}

/* mbedtls_cipher_cmac derives the subkeys again for every message, a third of the work for inputs
 * as short as ids; here they are derived once. */
#define AES_BLOCK 16

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

static int encrypt_block(struct pl_cmac *cmac, uint8_t state[AES_BLOCK])
{
    return mbedtls_aes_crypt_ecb(&cmac->aes, MBEDTLS_AES_ENCRYPT, state, state);
}

enum pl_err pl_cmac_new(struct pl_cmac **out, const uint8_t key[32])
{
    struct pl_cmac *cmac = malloc(sizeof(*cmac));
    if (cmac == NULL)
        return PL_ENOMEM;
    mbedtls_aes_init(&cmac->aes);
    uint8_t l[AES_BLOCK] = {0};
    int rc = mbedtls_aes_setkey_enc(&cmac->aes, key, 256);
    if (rc == 0)
        rc = encrypt_block(cmac, l);
    if (rc != 0) {
        pl_cmac_free(cmac);
        return pl_mbed_err(rc, PL_EINVAL);
    }
    double_block(l, cmac->k1);
    double_block(cmac->k1, cmac->k2);
    pl_wipe(l, sizeof(l));
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
    uint8_t state[AES_BLOCK] = {0}, last[AES_BLOCK] = {0};
    while (in.len > AES_BLOCK) {
        xor_block(state, in.data);
        int rc = encrypt_block(cmac, state);
        if (rc != 0)
            return pl_mbed_err(rc, PL_EINVAL);
        in = pl_span_from(in, AES_BLOCK);
    }
    if (in.len > 0)
        memcpy(last, in.data, in.len);
    if (in.len < AES_BLOCK)
        last[in.len] = 0x80;
    xor_block(last, in.len == AES_BLOCK ? cmac->k1 : cmac->k2);
    xor_block(state, last);
    int rc = encrypt_block(cmac, state);
    if (rc == 0)
        memcpy(out, state, sizeof(state));
    return pl_mbed_err(rc, PL_EINVAL);
}
