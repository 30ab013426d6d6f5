/*
 * murmur3: MurmurHash3, x86 variant, 32 bits. No secret goes in and no attacker is kept out: it
 * splits visitors over variants as the snippet does, and checks what Crobox' clients append.
 */
#ifndef POLDER_PROTO_BASE_MURMUR3_H
#define POLDER_PROTO_BASE_MURMUR3_H

#include "proto/base/span.h"

uint32_t pl_murmur3_32(struct pl_span in, uint32_t seed);

#endif
