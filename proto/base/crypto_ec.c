#include "proto/base/crypto.h"
#include "proto/base/mbed.h"
#include "proto/base/secret.h"

#include <mbedtls/asn1write.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <stdlib.h>

/* peer NULL: the base point. Clamping is mbedtls_ecp_read_key's, masking the peer's top bit is
 * mbedtls_ecp_point_read_binary's (RFC 7748 section 5). */
static int x25519(const uint8_t *secret, const uint8_t *peer, uint8_t out[PL_X25519_BYTES])
{
    mbedtls_ecp_keypair key;
    mbedtls_ecp_point point, product;
    mbedtls_ecp_keypair_init(&key);
    mbedtls_ecp_point_init(&point);
    mbedtls_ecp_point_init(&product);
    size_t written;
    int rc = mbedtls_ecp_read_key(MBEDTLS_ECP_DP_CURVE25519, &key, secret, PL_X25519_BYTES);
    if (rc == 0 && peer != NULL)
        rc = mbedtls_ecp_point_read_binary(&key.grp, &point, peer, PL_X25519_BYTES);
    if (rc == 0) /* the random numbers only blind: the result does not depend on them */
        rc = mbedtls_ecp_mul(&key.grp, &product, &key.d, peer == NULL ? &key.grp.G : &point,
                             pl_mbed_rng, pl_mbed_rng_ctx(pl_random_system()));
    if (rc == 0)
        rc = mbedtls_ecp_point_write_binary(&key.grp, &product, MBEDTLS_ECP_PF_UNCOMPRESSED,
                                            &written, out, PL_X25519_BYTES);
    mbedtls_ecp_point_free(&product);
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_keypair_free(&key);
    return rc;
}

enum pl_err pl_x25519_public(const uint8_t secret[PL_X25519_BYTES],
                             uint8_t public_key[PL_X25519_BYTES])
{
    uint8_t out[PL_X25519_BYTES];
    int rc = x25519(secret, NULL, out);
    if (rc == 0)
        memcpy(public_key, out, sizeof(out));
    return pl_mbed_err(rc, PL_EINVAL);
}

enum pl_err pl_x25519_keypair(const struct pl_random *random, uint8_t secret[PL_X25519_BYTES],
                              uint8_t public_key[PL_X25519_BYTES])
{
    uint8_t fresh[PL_X25519_BYTES];
    enum pl_err err = pl_random_fill(random, fresh, sizeof(fresh));
    if (err == PL_OK)
        err = pl_x25519_public(fresh, public_key);
    if (err == PL_OK)
        memcpy(secret, fresh, sizeof(fresh));
    pl_wipe(fresh, sizeof(fresh));
    return err;
}

enum pl_err pl_x25519(const uint8_t secret[PL_X25519_BYTES],
                      const uint8_t peer_public[PL_X25519_BYTES], uint8_t shared[PL_X25519_BYTES])
{
    static const uint8_t zero[PL_X25519_BYTES];
    uint8_t out[PL_X25519_BYTES];
    /* mbedTLS refuses the points of low order, which would give zero; a later one may not. */
    enum pl_err err = pl_mbed_err(x25519(secret, peer_public, out), PL_EAUTH);
    if (err == PL_OK && pl_equal_ct(out, zero, sizeof(out)))
        err = PL_EAUTH;
    if (err == PL_OK)
        memcpy(shared, out, sizeof(out));
    pl_wipe(out, sizeof(out));
    return err;
}

struct pl_signer {
    mbedtls_pk_context pk;
};

enum pl_err pl_signer_from_pem(struct pl_signer **out, struct pl_span pem, struct pl_why *why)
{
    struct pl_signer *signer = malloc(sizeof(*signer));
    if (signer == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for a signing key");
    mbedtls_pk_init(&signer->pk);
    enum pl_err err = pl_mbed_private_key(&signer->pk, pem, why);
    if (err == PL_OK)
        *out = signer;
    else
        pl_signer_free(signer);
    return err;
}

void pl_signer_free(struct pl_signer *signer)
{
    if (signer == NULL)
        return;
    mbedtls_pk_free(&signer->pk); /* wipes the private number */
    free(signer);
}

enum pl_err pl_signer_public(const struct pl_signer *signer, struct pl_buf *spki_der)
{
    return pl_mbed_public_der(&signer->pk, spki_der);
}

/* Where (r, s) verifies, (r, n - s) does, too. Only the one with the smaller s is written, so that
 * there is one form to accept where a signed file must not change in any byte. */
static int make_s_low(const mbedtls_mpi *n, mbedtls_mpi *s)
{
    mbedtls_mpi other;
    mbedtls_mpi_init(&other);
    int rc = mbedtls_mpi_sub_mpi(&other, n, s);
    if (rc == 0 && mbedtls_mpi_cmp_mpi(&other, s) < 0)
        rc = mbedtls_mpi_copy(s, &other);
    mbedtls_mpi_free(&other);
    return rc;
}

/* ECDSA-Sig-Value (RFC 5480, appendix A) at the end of der; its length, or an error below zero. */
static int write_signature(const mbedtls_mpi *r, const mbedtls_mpi *s, uint8_t *der, size_t size)
{
    unsigned char *p = der + size;
    const int s_len = mbedtls_asn1_write_mpi(&p, der, s);
    const int r_len = s_len < 0 ? s_len : mbedtls_asn1_write_mpi(&p, der, r);
    if (r_len < 0)
        return r_len;
    const int len_len = mbedtls_asn1_write_len(&p, der, (size_t)(r_len + s_len));
    const int tag_len =
        len_len < 0
            ? len_len
            : mbedtls_asn1_write_tag(&p, der, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE);
    return tag_len < 0 ? tag_len : r_len + s_len + len_len + tag_len;
}

enum pl_err pl_sign(struct pl_signer *signer, struct pl_span message, uint8_t *signature,
                    size_t *signature_len)
{
    uint8_t hash[PL_SHA256_BYTES], der[MBEDTLS_ECDSA_MAX_LEN];
    mbedtls_ecp_keypair *key = mbedtls_pk_ec(signer->pk);
    mbedtls_mpi r, s;
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    pl_sha256_one(message, hash);
    int rc = mbedtls_ecdsa_sign_det_ext(&key->grp, &r, &s, &key->d, hash, sizeof(hash),
                                        MBEDTLS_MD_SHA256, pl_mbed_rng,
                                        pl_mbed_rng_ctx(pl_random_system()));
    if (rc == 0)
        rc = make_s_low(&key->grp.N, &s);
    if (rc == 0)
        rc = write_signature(&r, &s, der, sizeof(der));
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    if (rc < 0)
        return pl_mbed_err(rc, PL_EINVAL);
    if ((size_t)rc > *signature_len)
        return PL_ELIMIT;
    memcpy(signature, der + sizeof(der) - rc, (size_t)rc);
    *signature_len = (size_t)rc;
    return PL_OK;
}

enum pl_err pl_verify(struct pl_span spki_der, struct pl_span message, struct pl_span signature)
{
    uint8_t hash[PL_SHA256_BYTES];
    enum pl_err err = PL_EINVAL;
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    if (spki_der.len == 0)
        goto out;
    unsigned char *p = (unsigned char *)(uintptr_t)spki_der.data; /* a cursor; nothing is written */
    int rc = mbedtls_pk_parse_subpubkey(&p, spki_der.data + spki_der.len, &pk);
    if (rc != 0) {
        err = pl_mbed_err(rc, PL_EINVAL);
        goto out;
    }
    if (p != spki_der.data + spki_der.len || !pl_mbed_is_p256(&pk))
        goto out;
    pl_sha256_one(message, hash);
    rc = signature.len == 0 ? MBEDTLS_ERR_ECP_VERIFY_FAILED
                            : mbedtls_ecdsa_read_signature(mbedtls_pk_ec(pk), hash, sizeof(hash),
                                                           signature.data, signature.len);
    err = pl_mbed_err(rc, PL_EAUTH);
out:
    mbedtls_pk_free(&pk);
    return err;
}
