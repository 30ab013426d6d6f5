/*
 * crypto: the primitives, each behind its standard name. What runs over every byte of every event
 * (AES-GCM, SHA-256) is libcrypto's, everything about keys mbedTLS's; neither is seen elsewhere.
 *
 * Promise: keys given in are copied into wiped-on-release contexts; outputs are written only on
 * success; verification failures are PL_EAUTH and take no data-dependent time. Contexts are
 * single-owner unless a prototype says otherwise; functions without a context may be called from
 * any thread. Nothing here blocks.
 */
#ifndef POLDER_PROTO_BASE_CRYPTO_H
#define POLDER_PROTO_BASE_CRYPTO_H

#include "proto/base/buf.h"
#include "proto/base/random.h"

#define PL_SHA256_BYTES     32
#define PL_AEAD_KEY_BYTES   32
#define PL_AEAD_NONCE_BYTES 12
#define PL_AEAD_TAG_BYTES   16
#define PL_X25519_BYTES     32
#define PL_CMAC_BYTES       16
#define PL_SIV_KEY_BYTES    64
#define PL_SIV_BYTES        16

/* SHA-256 (FIPS 180-4) over parts in order. */
void pl_sha256(const struct pl_span *parts, size_t count, uint8_t out[PL_SHA256_BYTES]);
static inline void pl_sha256_one(struct pl_span in, uint8_t out[PL_SHA256_BYTES])
{
    pl_sha256(&in, 1, out);
}

/* HMAC-SHA-256 (RFC 2104) over parts in order. */
enum pl_err pl_hmac_sha256(struct pl_span key, const struct pl_span *parts, size_t count,
                           uint8_t out[PL_SHA256_BYTES]);

/* HKDF-SHA-256's second half (RFC 5869 section 2.3); the first is one HMAC. out_len <= 255 * 32. */
enum pl_err pl_hkdf_expand(struct pl_span prk, struct pl_span info, uint8_t *out, size_t out_len);

/* AES-GCM (NIST SP 800-38D), 16- or 32-byte keys, 12-byte nonces, 16-byte tags. */
struct pl_aead;
enum pl_err pl_aead_new(struct pl_aead **out, const uint8_t *key, size_t key_bytes);
void pl_aead_free(struct pl_aead *aead);
/* Writes plain.len + 16 bytes to out; out may equal plain.data. */
enum pl_err pl_aead_seal(struct pl_aead *aead, const uint8_t nonce[PL_AEAD_NONCE_BYTES],
                         struct pl_span aad, struct pl_span plain, uint8_t *out);
/* Writes sealed.len - 16 bytes to out; PL_EAUTH and a wiped out when the tag does not verify. */
enum pl_err pl_aead_open(struct pl_aead *aead, const uint8_t nonce[PL_AEAD_NONCE_BYTES],
                         struct pl_span aad, struct pl_span sealed, uint8_t *out);

/* AES-256-CMAC (NIST SP 800-38B): the keyed hash behind storage keys. */
struct pl_cmac;
enum pl_err pl_cmac_new(struct pl_cmac **out, const uint8_t key[32]);
void pl_cmac_free(struct pl_cmac *cmac);
enum pl_err pl_cmac(struct pl_cmac *cmac, struct pl_span in, uint8_t out[PL_CMAC_BYTES]);

/* AES-SIV (RFC 5297), one string of associated data: sealing without a nonce. Keys of 64 bytes, or
 * of 32 for AES-128. Equal inputs give equal outputs, and that is all that sealing twice under the
 * same associated data tells. */
struct pl_siv;
enum pl_err pl_siv_new(struct pl_siv **out, const uint8_t *key, size_t key_bytes);
void pl_siv_free(struct pl_siv *siv);
/* Writes 16 + plain.len bytes to out; out + 16 may equal plain.data. */
enum pl_err pl_siv_seal(struct pl_siv *siv, struct pl_span aad, struct pl_span plain, uint8_t *out);
/* Writes sealed.len - 16 bytes to out, which may equal sealed.data + 16; PL_EAUTH and a wiped out
 * when they do not verify. */
enum pl_err pl_siv_open(struct pl_siv *siv, struct pl_span aad, struct pl_span sealed,
                        uint8_t *out);

/* X25519 (RFC 7748). Secrets are clamped inside; an all-zero shared secret is PL_EAUTH
 * (RFC 9180 section 7.1.4). 0.6 ms each. */
enum pl_err pl_x25519_keypair(const struct pl_random *random, uint8_t secret[PL_X25519_BYTES],
                              uint8_t public_key[PL_X25519_BYTES]);
enum pl_err pl_x25519_public(const uint8_t secret[PL_X25519_BYTES],
                             uint8_t public_key[PL_X25519_BYTES]);
enum pl_err pl_x25519(const uint8_t secret[PL_X25519_BYTES],
                      const uint8_t peer_public[PL_X25519_BYTES], uint8_t shared[PL_X25519_BYTES]);

/* ECDSA over P-256 with SHA-256 (FIPS 186-5); signatures are DER (at most 72 bytes), public keys
 * are SubjectPublicKeyInfo DER. Signing is deterministic (RFC 6979), and of the two values of s
 * that verify the smaller is written. One signer may be shared by threads only behind the caller's
 * lock. */
#define PL_SIGNATURE_MAX_BYTES  80
#define PL_PUBLIC_KEY_MAX_BYTES 128
struct pl_signer;
enum pl_err pl_signer_from_pem(struct pl_signer **out, struct pl_span pem, struct pl_why *why);
void pl_signer_free(struct pl_signer *signer);
enum pl_err pl_signer_public(const struct pl_signer *signer, struct pl_buf *spki_der);
enum pl_err pl_sign(struct pl_signer *signer, struct pl_span message, uint8_t *signature,
                    size_t *signature_len /* in: room, out: used */);
enum pl_err pl_verify(struct pl_span spki_der, struct pl_span message, struct pl_span signature);

#endif
