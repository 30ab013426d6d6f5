/*
 * id_hash: the keyed hash that stands for a visitor's id or e-mail address where the text itself
 * must not.
 *
 * Promise: both nodes get the same hash of the same text from an account's id_key (catalog.h);
 * without that key a hash can neither be made nor tried out, and hashes of two accounts have
 * nothing in common.
 */
#ifndef POLDER_PROTO_WIRE_ID_HASH_H
#define POLDER_PROTO_WIRE_ID_HASH_H

#include "proto/wire/catalog.h"

#define ID_HASH_BYTES 16

enum id_hash_kind {
    ID_HASH_ID = 1,    /* a visitor's or user's id, as the client sends it */
    ID_HASH_EMAIL = 2, /* an address, in lower case and without blanks around it */
};

/* For many hashes under one key. Single-owner; freeing wipes the key. */
struct id_hasher;
enum pl_err id_hasher_new(struct id_hasher **out, const uint8_t id_key[CATALOG_ID_KEY_BYTES]);
void id_hasher_free(struct id_hasher *hasher); /* NULL is fine */
const uint8_t *id_hasher_key(const struct id_hasher *hasher);
/* PL_EINVAL: empty; PL_ELIMIT: over 512 bytes. A fraction of a microsecond. */
enum pl_err id_hasher_hash(struct id_hasher *hasher, enum id_hash_kind kind, struct pl_span text,
                           uint8_t out[ID_HASH_BYTES]);

/* One hash: as id_hasher_hash, and PL_ENOMEM. About a microsecond. Any thread. */
enum pl_err id_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], enum id_hash_kind kind,
                    struct pl_span text, uint8_t out[ID_HASH_BYTES]);

#endif
