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

/* PL_EINVAL: empty; PL_ELIMIT: over 512 bytes; PL_ENOMEM. About a microsecond. Any thread. */
enum pl_err id_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], enum id_hash_kind kind,
                    struct pl_span text, uint8_t out[ID_HASH_BYTES]);

#endif
