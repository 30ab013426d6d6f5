/*
 * mbed: what crypto and pki share of mbedTLS. Private to this room.
 *
 * Promise: an mbedTLS code becomes the pl_err a caller can act on; keys are P-256 or refused.
 */
#ifndef POLDER_PROTO_BASE_MBED_H
#define POLDER_PROTO_BASE_MBED_H

#include "proto/base/buf.h"
#include "proto/base/random.h"

#include <mbedtls/pk.h>

/* An mbedTLS f_rng; ctx is a const struct pl_random *. */
int pl_mbed_rng(void *ctx, unsigned char *out, size_t len);
static inline void *pl_mbed_rng_ctx(const struct pl_random *random)
{
    return (void *)(uintptr_t)random; /* f_rng wants a mutable one; pl_mbed_rng only reads it */
}

/* PL_OK for 0, out of memory and a failed random source by name, everything else `otherwise`. */
enum pl_err pl_mbed_err(int rc, enum pl_err otherwise);

/* Parse one PEM key into an initialised context, which the caller frees either way. PL_EINVAL
 * says what it should have been. */
enum pl_err pl_mbed_private_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why);
enum pl_err pl_mbed_public_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why);
/* As above; a private key serves as its public half. */
enum pl_err pl_mbed_any_key(mbedtls_pk_context *pk, struct pl_span pem, struct pl_why *why);
bool pl_mbed_is_p256(const mbedtls_pk_context *pk);
/* Appends SubjectPublicKeyInfo DER (RFC 5280 section 4.1). */
enum pl_err pl_mbed_public_der(const mbedtls_pk_context *pk, struct pl_buf *spki_der);

#endif
