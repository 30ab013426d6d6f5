#include "proto/base/crypto.h"

#include "proto/base/mbed.h"
#include "proto/base/secret.h"

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

enum pl_err pl_hkdf_expand(struct pl_span prk, struct pl_span info, uint8_t *out, size_t out_len)
{
    if (out_len > (size_t)255 * PL_SHA256_BYTES)
        return PL_ELIMIT;
    return pl_mbed_err(
        mbedtls_hkdf_expand(sha256_info(), prk.data, prk.len, info.data, info.len, out, out_len),
        PL_EINVAL);
}
