#include "proto/base/mbed.h"

#include "proto/base/crypto.h"

#include <mbedtls/asn1.h>
#include <mbedtls/cipher.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/pem.h>
#include <mbedtls/x509.h>

#define KEY_FILE_MAX_BYTES (16 * 1024)

int pl_mbed_rng(void *ctx, unsigned char *out, size_t len)
{
    return pl_random_fill(ctx, out, len) == PL_OK ? 0 : MBEDTLS_ERR_ECP_RANDOM_FAILED;
}

enum pl_err pl_mbed_err(int rc, enum pl_err otherwise)
{
    if (rc == 0)
        return PL_OK;
    /* A code is the sum of a high-level one, a multiple of 0x80, and a low-level one below it. */
    int high = -(-rc & 0xff80), low = -(-rc & 0x7f);
    if (low == MBEDTLS_ERR_MPI_ALLOC_FAILED || low == MBEDTLS_ERR_ASN1_ALLOC_FAILED)
        return PL_ENOMEM;
    switch (high) {
    case MBEDTLS_ERR_ECP_ALLOC_FAILED:
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
    case MBEDTLS_ERR_MD_ALLOC_FAILED:
    case MBEDTLS_ERR_CIPHER_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_PEM_ALLOC_FAILED:
        return PL_ENOMEM;
    case MBEDTLS_ERR_ECP_RANDOM_FAILED:
        return PL_EIO;
    default:
        return otherwise;
    }
}

bool pl_mbed_is_p256(const mbedtls_pk_context *pk)
{
    return mbedtls_pk_get_type(pk) == MBEDTLS_PK_ECKEY &&
           mbedtls_pk_ec(*pk)->grp.id == MBEDTLS_ECP_DP_SECP256R1;
}

static enum pl_err not_a_key(int rc, const char *wanted, struct pl_why *why)
{
    enum pl_err err = pl_mbed_err(rc, PL_EINVAL);
    if (err != PL_EINVAL)
        return pl_fail(why, err, "cannot parse the key: %s", pl_err_word(err));
    if (rc == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
        return pl_fail(why, err, "the key is encrypted with a password; give it without one");
    return pl_fail(why, err,
                   "not %s in PEM (ECDSA on P-256; openssl ecparam -genkey -name "
                   "prime256v1 makes one)",
                   wanted);
}

/* mbedTLS tells PEM from DER by a NUL at the end. */
static enum pl_err terminated(struct pl_span pem, struct pl_buf *copy, struct pl_why *why)
{
    pl_buf_init(copy, KEY_FILE_MAX_BYTES);
    enum pl_err err = pl_buf_append_span(copy, pem);
    if (err == PL_OK)
        err = pl_buf_terminate(copy);
    if (err == PL_ELIMIT)
        return pl_fail(why, err, "the key is larger than %d bytes", KEY_FILE_MAX_BYTES);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot parse the key: %s", pl_err_word(err));
}

enum pl_err pl_mbed_private_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why)
{
    struct pl_buf copy;
    enum pl_err err = terminated(pem, &copy, why);
    if (err == PL_OK) {
        int rc = mbedtls_pk_parse_key(pk, copy.data, copy.len + 1, NULL, 0);
        if (rc != 0 || !pl_mbed_is_p256(pk))
            err = not_a_key(rc == 0 ? MBEDTLS_ERR_PK_TYPE_MISMATCH : rc, "a private key", why);
    }
    pl_buf_wipe(&copy);
    return err;
}

enum pl_err pl_mbed_public_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why)
{
    struct pl_buf copy;
    enum pl_err err = terminated(pem, &copy, why);
    if (err == PL_OK) {
        int rc = mbedtls_pk_parse_public_key(pk, copy.data, copy.len + 1);
        if (rc != 0 || !pl_mbed_is_p256(pk))
            err = not_a_key(rc == 0 ? MBEDTLS_ERR_PK_TYPE_MISMATCH : rc, "a public key", why);
    }
    pl_buf_wipe(&copy);
    return err;
}

enum pl_err pl_mbed_any_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why)
{
    struct pl_buf copy;
    enum pl_err err = terminated(pem, &copy, why);
    if (err == PL_OK) {
        int rc = mbedtls_pk_parse_public_key(pk, copy.data, copy.len + 1);
        if (rc != 0) {
            mbedtls_pk_free(pk);
            mbedtls_pk_init(pk);
            rc = mbedtls_pk_parse_key(pk, copy.data, copy.len + 1, NULL, 0);
        }
        if (rc != 0 || !pl_mbed_is_p256(pk))
            err = not_a_key(rc == 0 ? MBEDTLS_ERR_PK_TYPE_MISMATCH : rc, "a public or private key",
                            why);
    }
    pl_buf_wipe(&copy);
    return err;
}

enum pl_err pl_mbed_public_der(const mbedtls_pk_context *pk, struct pl_buf *spki_der)
{
    uint8_t der[PL_PUBLIC_KEY_MAX_BYTES];
    mbedtls_pk_context same = *pk; /* the writer's prototype lacks a const; it only reads */
    int len = mbedtls_pk_write_pubkey_der(&same, der, sizeof(der));
    if (len < 0)
        return pl_mbed_err(len, PL_EINVAL);
    return pl_buf_append(spki_der, der + sizeof(der) - len, (size_t)len); /* written from the end */
}
