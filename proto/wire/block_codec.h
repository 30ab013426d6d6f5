/*
 * block_codec: what sealing and opening a block share. Private to this room.
 *
 * Promise: encode and block_parse are each other's inverse; SPEC.md, "Block", gives the bytes.
 */
#ifndef POLDER_PROTO_WIRE_BLOCK_CODEC_H
#define POLDER_PROTO_WIRE_BLOCK_CODEC_H

#include "proto/wire/block.h"

#define BLOCK_INFO_LABEL "polder block v1"
#define BLOCK_INFO_BYTES (sizeof(BLOCK_INFO_LABEL) - 1 + 16 + BLOCK_KEY_ID_BYTES)

/* What HPKE calls info: it binds an epoch to the edge's id and the origin's key. */
void block_info(const struct pl_id128 *edge, const uint8_t seal_key_id[BLOCK_KEY_ID_BYTES],
                uint8_t out[BLOCK_INFO_BYTES]);

void block_header_encode(const struct block_header *header, uint8_t out[BLOCK_HEADER_BYTES]);

/* Limits and what must hold between a header's fields: PL_ELIMIT, PL_ECORRUPT. */
enum pl_err block_header_check(const struct block_header *header, struct pl_why *why);

#endif
