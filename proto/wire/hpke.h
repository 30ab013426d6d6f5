/*
 * hpke: Hybrid Public Key Encryption (RFC 9180), mode Auth, DHKEM(X25519, HKDF-SHA256),
 * HKDF-SHA256, AES-256-GCM: what seals a block for the origin and proves which edge sealed it.
 *
 * Promise: every seal consumes a sequence number whether or not its result is used, so a nonce
 * is never used twice; opening takes any number in any order. Contexts live in locked memory and
 * are wiped when freed. Single-owner.
 */
#ifndef POLDER_PROTO_WIRE_HPKE_H
#define POLDER_PROTO_WIRE_HPKE_H

#include "proto/base/crypto.h"

#define HPKE_ENC_BYTES 32

enum hpke_aead { HPKE_AES_128_GCM = 0x0001, HPKE_AES_256_GCM = 0x0002 };

struct hpke_context;

/* Fresh encapsulation for the recipient; enc goes with what is sealed. */
enum pl_err hpke_setup_auth_sender(struct hpke_context **out, enum hpke_aead aead,
                                   const struct pl_random *random,
                                   const uint8_t recipient_public[PL_X25519_BYTES],
                                   const uint8_t sender_secret[PL_X25519_BYTES],
                                   struct pl_span info, uint8_t enc[HPKE_ENC_BYTES]);
enum pl_err hpke_setup_auth_receiver(struct hpke_context **out, enum hpke_aead aead,
                                     const uint8_t enc[HPKE_ENC_BYTES],
                                     const uint8_t recipient_secret[PL_X25519_BYTES],
                                     const uint8_t sender_public[PL_X25519_BYTES],
                                     struct pl_span info);
void hpke_free(struct hpke_context *context);

/* Number the next seal will use. */
uint64_t hpke_sequence(const struct hpke_context *context);
/* Writes plain.len + 16 bytes; out may equal plain.data. PL_ELIMIT when numbers are used up;
 * PL_EDENIED on a receiver's context, whose numbers are the sender's (RFC 9180 section 9.8). */
enum pl_err hpke_seal(struct hpke_context *context, struct pl_span aad, struct pl_span plain,
                      uint8_t *out, uint64_t *sequence);
/* Writes sealed.len - 16 bytes; PL_EAUTH when it does not verify. */
enum pl_err hpke_open(struct hpke_context *context, uint64_t sequence, struct pl_span aad,
                      struct pl_span sealed, uint8_t *out);

#endif
